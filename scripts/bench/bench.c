// SPDX-License-Identifier: GPL-2.0
/*
 * Count the instructions of exits and of waiting for them. This program runs in
 * the guest of `make bench`. scripts/bench/bench.py reads its output.
 *
 *	bench REPETITIONS CASE...
 *
 * QEMU's -icount turns the time-stamp counter into a counter of instructions,
 * which jumps ahead while the only CPU is idle. So every duration below is a
 * number of instructions. Each line of output is the value of one round: case,
 * file, way, waiters of the process and of others, metric, repetition, value.
 *
 * In most rounds a *target* exits. It is a child of this program and shares its
 * memory and files, which makes the exit as cheap as possible. The target stores
 * the counter in `last_words` and calls exit_group(). Parent and target run at
 * the highest priority, waiters at a lower one. The thread `settle` has the
 * lowest priority, so it runs only when all others sleep. Each metric counts
 * from last_words:
 *
 *	exit	until waitid() has reported the zombie: the exit and its wake-ups
 *	reaped	until the target is reaped
 *	settled	until every task sleeps again
 *	told	until the only waiter has returned from its system call (case reader)
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#define MANY		10240	/* processes, at most */
#define OWN_MAX		1024	/* waiters of one process, at most */
#define OUTPUT_MAX	(8 << 20)	/* bytes, of one repetition */
#define STACK		8192
#define PRIORITY	50
#define LOW_PRIORITY	10
#define SIZE(a)		(sizeof(a) / sizeof((a)[0]))

static bool have_exithand;
static const char *const files[] = { "pidfd", "exithand" };

#define MUST(call) ({						\
	long must_ = (long)(call);				\
	if (must_ == -1)					\
		err(1, "line %d: %s", __LINE__, #call);		\
	must_; })

static uint64_t now(void)
{
	_mm_lfence();
	return __rdtsc();
}

static void put(const char *path, int number)
{
	int fd = MUST(open(path, O_WRONLY | O_CLOEXEC));

	MUST(dprintf(fd, "%d", number));
	close(fd);
}

/* The current case and repetition. A negative repetition prints nothing. */
static const char *case_;
static char what[128];
static int repetition, repetitions;

/* Name the next figures. Return false if this kernel lacks the file that they need. */
static bool begin(const char *file, const char *way, int own, int other)
{
	snprintf(what, sizeof(what), "%s\t%s\t%s\t%d\t%d", case_, file, way, own, other);
	return have_exithand || !strstr(what, "exithand");
}

static void add(const char *metric, double value)
{
	if (repetition >= 0)
		printf("%s\t%s\t%d\t%.0f\n", what, metric, repetition, value);
}

/* -- processes -- */

/*
 * The cost of freeing a PID depends on the PID and on its neighbors. So each
 * kind of process uses PIDs of its own, which are the same in each round.
 */
enum { NEIGHBOR = 20000, TARGET, OTHERS = 24000, WAITERS = 40000, LIVES = 10000 };

static void next_pid(int pid)
{
	put("/proc/sys/kernel/ns_last_pid", pid - 1);
}

static char stacks[MANY][STACK] __attribute__((aligned(16)));
static volatile uint64_t last_words;
static int release_pipe[2];

static int target(void *unused)
{
	char c;

	/* Leave errno alone: the parent shares it. */
	MUST(read(release_pipe[0], &c, 1));
	last_words = now();
	return syscall(SYS_exit_group, 0);
}

static int bystander(void *unused)
{
	return pause();
}

static pid_t start(int (*run)(void *), int n)
{
	return MUST(clone(run, stacks[n] + STACK - 64,
			  CLONE_VM | CLONE_FILES | CLONE_FS | SIGCHLD, NULL));
}

static void reap(pid_t pid)
{
	int status;

	MUST(waitpid(pid, &status, 0));
}

static void kill_all(const pid_t *pid, int n)
{
	for (int i = 0; i < n; i++)
		MUST(kill(pid[i], SIGKILL));
	for (int i = 0; i < n; i++)
		reap(pid[i]);
}

static int open_file(const char *file, pid_t pid)
{
	char path[64];

	if (!strncmp(file, "pidfd", 5))
		return MUST(syscall(SYS_pidfd_open, pid, 0));
	snprintf(path, sizeof(path), "/proc/%d/exithand", pid);
	return MUST(open(path, O_RDONLY | O_CLOEXEC));
}

/* If @way says so, look at /proc/PID. Then procfs must drop inodes when the process is reaped. */
#define LOOKED_AT "/proc/PID looked at"
static void look_at(const char *way, pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (strstr(way, LOOKED_AT))
		MUST(access(path, F_OK));
}

static pid_t others[MANY];
static int other_fds[MANY];

/* Start a process group of @n processes. Open the file of each unless @file is NULL. */
static void start_others(const char *file, const char *way, int n)
{
	next_pid(OTHERS);
	for (int i = 0; i < n; i++) {
		others[i] = start(bystander, i + 1);
		MUST(setpgid(others[i], others[0]));
		look_at(way, others[i]);
		other_fds[i] = file ? open_file(file, others[i]) : -1;
	}
}

static void set_priority(int priority)
{
	struct sched_param param = { .sched_priority = priority };

	MUST(sched_setscheduler(0, priority ? SCHED_FIFO : SCHED_OTHER, &param));
}

/* -- threads -- */

struct waiter {
	sem_t go;
	const char *way;	/* poll, read or epoll */
	int fd;
	volatile uint64_t told;	/* when the wait ended, 0 while it waits */
};

static struct waiter own_waiters[OWN_MAX + MANY], *const other_waiters = own_waiters + OWN_MAX;
static sem_t settle_go, settle_done;
static uint64_t settled_at;

/* Wait until the process exits. */
static void wait_by(const char *way, int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	struct epoll_event event;
	char c;

	if (!strncmp(way, "poll", 4))
		MUST(poll(&pfd, 1, -1));
	else if (!strncmp(way, "epoll", 5))
		MUST(epoll_wait(fd, &event, 1, -1));
	else
		MUST(read(fd, &c, 1));
}

static void *waiter(void *arg)
{
	struct waiter *w = arg;

	set_priority(LOW_PRIORITY);
	while (!sem_wait(&w->go)) {
		wait_by(w->way, w->fd);
		w->told = now();
	}
	return NULL;
}

static void *settle_thread(void *unused)
{
	set_priority(0);
	while (!sem_wait(&settle_go)) {
		settled_at = now();
		sem_post(&settle_done);
	}
	return NULL;
}

static pthread_t new_thread(void *(*run)(void *), void *arg)
{
	pthread_t thread;

	MUST(pthread_create(&thread, NULL, run, arg) ? -1 : 0);
	return thread;
}

/* Sleep until all other tasks sleep, and return the counter at that point. */
static uint64_t settle(void)
{
	sem_post(&settle_go);
	sem_wait(&settle_done);
	return settled_at;
}

/* Let the kernel do its deferred work. An idle CPU counts no instructions. */
static void rest(void)
{
	usleep(40000);
	settle();
}

static void end_others(int n)
{
	kill_all(others, n);
	rest();
	for (int i = 0; i < n; i++)
		close(other_fds[i]);
	rest();
}

static void let_wait(struct waiter *w, const char *way, int fd)
{
	if (!w->way) {
		next_pid(WAITERS + (w - own_waiters));
		sem_init(&w->go, 0, 0);
		new_thread(waiter, w);
	}
	w->way = way;
	w->fd = fd;
	w->told = 0;
	sem_post(&w->go);
}

static void expect(const struct waiter *w, int n, bool waits, const char *or_else)
{
	for (int i = 0; i < n; i++)
		if (!w[i].told != waits)
			errx(1, "%s: %s", what, or_else);
}

/* -- cases: exits -- */

/* Waits for the other processes, or is -1. */
static int other_epfd = -1;

/*
 * Measure the exit of a process with @own waiters, while @other processes have
 * one waiter each. If @way is poll or read, each waiter is a thread. If it is
 * epoll, each waiter is an entry of one epoll instance, and no thread wakes up.
 * In the case "reader", the parent sleeps and the only waiter is a thread, in
 * epoll_wait() if @way is epoll.
 */
static void exits(const char *file, const char *way, int own, int other, int rounds)
{
	bool reader = !strcmp(case_, "reader"), epoll = !strcmp(way, "epoll");
	int threads = epoll && !reader ? 0 : own;
	static int fds[OWN_MAX];

	if (!begin(file, way, own, other))
		return;
	/* The first two rounds fill the caches. */
	for (int round = -2; round < rounds; round++) {
		int epfd = MUST(epoll_create1(EPOLL_CLOEXEC));
		struct epoll_event event = { .events = EPOLLIN };
		uint64_t zombie = 0, reaped = 0, settled;
		siginfo_t info;
		pid_t pid;

		next_pid(TARGET);
		pid = start(target, 0);
		look_at(way, pid);
		for (int i = 0; i < own; i++) {
			fds[i] = open_file(file, pid);
			if (epoll)
				MUST(epoll_ctl(epfd, EPOLL_CTL_ADD, fds[i], &event));
			else
				let_wait(&own_waiters[i], way, fds[i]);
		}
		if (epoll && reader)
			let_wait(own_waiters, way, epfd);
		rest();
		expect(own_waiters, threads, true, "told before the exit");

		MUST(write(release_pipe[1], "x", 1));
		if (!reader) {
			MUST(waitid(P_PID, pid, &info, WEXITED | WNOWAIT));
			zombie = now();
			reap(pid);
			reaped = now();
		}
		settled = settle();

		expect(own_waiters, threads, false, "not told of the exit");
		if (epoll && !reader && epoll_wait(epfd, &event, 1, 0) != 1)
			errx(1, "%s: not told of the exit", what);
		/* epoll_wait() polls each file that had a wake-up, even a false one. */
		if (epoll_wait(other_epfd, &event, 1, 0) > 0)
			errx(1, "%s: told of another exit", what);
		if (reader)
			reap(pid);
		for (int i = 0; i < own; i++)
			close(fds[i]);
		close(epfd);
		rest();
		if (round >= 0 && reader) {
			add("told", own_waiters[0].told - last_words);
		} else if (round >= 0) {
			add("exit", zombie - last_words);
			add("reaped", reaped - last_words);
			add("settled", settled - last_words);
		}
	}
}

/* The cases watched and reader. The second one has only the last five rows. */
static void case_one(void)
{
	static const char *const rows[][2] = {
		{ "none", "" }, { "none", LOOKED_AT }, { "pidfd", "poll, " LOOKED_AT },
		{ "pidfd", "poll" }, { "pidfd", "epoll" },
		{ "exithand", "poll" }, { "exithand", "epoll" }, { "exithand", "read" },
	};

	for (size_t i = strcmp(case_, "reader") ? 0 : 3; i < SIZE(rows); i++)
		exits(rows[i][0], rows[i][1], strcmp(rows[i][0], "none") != 0, 0, 20);
}

/* Each number of waiters, by poll and by epoll, of both files. */
static void case_own(void)
{
	static const int own[] = { 1, 2, 4, 16, 64, 256, 1000 };

	for (size_t i = 0; i < 4 * SIZE(own); i++)
		exits(files[i % 2], i & 2 ? "epoll" : "poll", own[i / 4], 0, 6);
}

/* All repetitions use the same processes, because it takes long to start them. */
static void case_other(void)
{
	static const int other[] = { 0, 1, 10, 100, 1000, 10000 };
	struct epoll_event event = { .events = EPOLLIN };

	for (size_t c = 0; c < 4 * SIZE(other); c++) {
		const char *file = files[c % 2], *way = c & 2 ? "epoll" : "poll";
		int n = other[c / 4];

		if (!begin(file, way, 1, n))
			continue;
		start_others(file, "", n);
		if (c & 2)
			other_epfd = MUST(epoll_create1(EPOLL_CLOEXEC));
		for (int i = 0; i < n; i++) {
			if (c & 2)
				MUST(epoll_ctl(other_epfd, EPOLL_CTL_ADD, other_fds[i], &event));
			else
				let_wait(&other_waiters[i], way, other_fds[i]);
		}
		rest();
		for (repetition = -1; repetition < repetitions; repetition++)
			exits(file, way, 1, n, 6);
		expect(other_waiters, c & 2 ? 0 : n, true, "told of another exit");
		end_others(n);
		expect(other_waiters, n, false, "not told of the exit");
		close(other_epfd);
		other_epfd = -1;
	}
}

/* One signal kills many processes, which are autoreaped. One epoll loop learns of all exits. */
static void case_burst(void)
{
	static const char *const rows[][2] = { { "pidfd", "" }, { "pidfd", LOOKED_AT }, { "exithand", "" } };
	struct epoll_event event = { .events = EPOLLIN }, events[64];
	int n = 10000;

	signal(SIGCHLD, SIG_IGN);
	for (size_t r = 0; r < SIZE(rows); r++) {
		int epfd, told = 0;
		uint64_t before;

		if (!begin(rows[r][0], rows[r][1], 1, n))
			continue;
		epfd = MUST(epoll_create1(EPOLL_CLOEXEC));
		start_others(rows[r][0], rows[r][1], n);
		for (int i = 0; i < n; i++) {
			event.data.fd = other_fds[i];
			MUST(epoll_ctl(epfd, EPOLL_CTL_ADD, event.data.fd, &event));
		}
		rest();

		before = now();
		MUST(kill(-others[0], SIGKILL));
		while (told < n) {
			int ready = MUST(epoll_wait(epfd, events, SIZE(events), -1));

			for (int i = 0; i < ready; i++)
				told += !close(events[i].data.fd);	/* else it stays ready */
		}
		add("total", now() - before);
		close(epfd);
		rest();
	}
	signal(SIGCHLD, SIG_DFL);
}

/* -- cases: others -- */

/* Check that the counter counts instructions: the loop has 1000000. */
static void case_instrument(void)
{
	begin("", "", 0, 0);
	for (int i = 0; i < 10; i++) {
		uint64_t loops = 500000, before = now();

		asm volatile("1: dec %0; jnz 1b" : "+r"(loops) : : "cc");
		add("ticks of 1000000 instructions", now() - before);
	}
}

static void one_life(const char *way)
{
	pid_t pid;

	if (!strcmp(way, "thread")) {
		pthread_join(new_thread((void *(*)(void *))(void *)getpid, NULL), NULL);
		return;
	}
	pid = MUST(!strcmp(way, "vfork") ? vfork() : fork());
	if (!pid) {
		if (!strcmp(way, "exec"))
			execl(program_invocation_name, program_invocation_name, "--exit", NULL);
		_exit(0);
	}
	reap(pid);
}

/* Create processes, one at a time, for which only the parent waits. */
static void case_unwatched(void)
{
	static const struct { const char *way; int n; } lives[] = {
		{ "vfork", 4000 }, { "fork", 600 }, { "exec", 200 }, { "thread", 2000 },
	};

	for (size_t l = 0; l < SIZE(lives); l++) {
		next_pid(LIVES);
		begin("none", lives[l].way, 0, 0);
		for (int i = -lives[l].n / 8; i < lives[l].n; i++) {
			uint64_t before = now(), life;

			one_life(lives[l].way);
			life = now() - before;
			if (i >= 0)
				add("life", life);
		}
	}
}

/* Measure @code, which is a system call or open() and close(), for each of n processes. */
#define CALLS(name, code) do {						\
	begin(files[f], name, 0, 0);					\
	for (int i = 0; i < n; i++) {					\
		uint64_t before_ = now();				\
		code;							\
		add("call", now() - before_);				\
	}								\
	rest();								\
} while (0)

static void case_calls(void)
{
	int n = 400;
	char c;

	for (size_t f = 0; f < SIZE(files); f++) {
		struct pollfd pfd = { .events = POLLIN };

		if (!begin(files[f], "", 0, 0))
			continue;
		start_others(NULL, "", n);
		rest();
		CALLS("open and close, the first", close(open_file(files[f], others[i])));
		pfd.fd = open_file(files[f], others[0]);
		CALLS("open and close, a later one", close(open_file(files[f], others[0])));
		CALLS("poll, before", MUST(poll(&pfd, 1, 0)));
		MUST(fcntl(pfd.fd, F_SETFL, O_NONBLOCK));
		if (f)
			CALLS("read, before", (void)!read(pfd.fd, &c, 1));
		close(pfd.fd);
		end_others(n);
	}
}

static uint64_t cpu_time(void)
{
	struct timespec t;

	MUST(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t));
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

/*
 * A program waits for a process that lives for one to two seconds. With -icount,
 * the CPU time of the program in nanoseconds is its number of instructions.
 */
static void case_polling(void)
{
	static const struct { const char *way; int us; } rows[] = {
		{ "stat every 1 ms", 1000 }, { "stat every 10 ms", 10000 },
		{ "stat every 100 ms", 100000 }, { "stat every 1 s", 1000000 },
		{ "pidfd, poll", 0 }, { "exithand, poll", 0 }, { "exithand, read", 0 },
	};
	struct { uint64_t cpu, told; } *shared;

	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (size_t r = 0; r < SIZE(rows); r++) {
		const char *way = rows[r].way;

		for (int round = 0; round < 20 && begin("", way, 0, 0); round++) {
			pid_t pid = start(target, 0), watcher;
			struct stat st;
			char path[64];

			snprintf(path, sizeof(path), "/proc/%d", pid);
			watcher = MUST(fork());
			if (!watcher) {
				uint64_t before = cpu_time();

				if (!rows[r].us)
					wait_by(strchr(way, ',') + 2, open_file(way, pid));
				else
					while (!stat(path, &st))
						usleep(rows[r].us);
				shared->told = now();
				shared->cpu = cpu_time() - before;
				_exit(0);
			}
			/* The lifetime is not a multiple of any polling interval. */
			usleep(1000000 + round * 53177 % 1000000);
			MUST(write(release_pipe[1], "x", 1));
			reap(pid);
			reap(watcher);
			add("cpu", shared->cpu);
			add("late", shared->told - last_words);
		}
	}
}

#define GROUP	"/sys/fs/cgroup/bench"

enum { HOGS = 16, MIB = 4 };
#define GOAL	36700160	/* bytes: half of the hogs, and a little more for page tables */

/* Start a process that has MIB MiB of memory in the cgroup, and is stopped. */
static pid_t start_hog(void)
{
	pid_t pid = MUST(fork());

	if (!pid) {
		put(GROUP "/cgroup.procs", 0);
		MUST(mmap(NULL, MIB << 20, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0));
		raise(SIGSTOP);
	}
	MUST(waitpid(pid, NULL, WUNTRACED));
	return pid;
}

static unsigned long read_number(const char *path, const char *format)
{
	FILE *f = fopen(path, "re");
	unsigned long number = 0;

	if (!f || fscanf(f, format, &number) != 1)
		number = 0;
	if (f)
		fclose(f);
	return number;
}

/*
 * Kill hogs until the memory in use is at most GOAL. After each kill, wait by exithand
 * if @ms is -1. If @ms is positive, check every @ms milliseconds whether the hog still
 * has memory. If @ms is 0, do not wait.
 */
static int kill_hogs(const pid_t *hog, int ms)
{
	int killed = 0, fd = -1;
	char path[64];

	while (killed < HOGS && read_number(GROUP "/memory.current", "%lu") > GOAL) {
		pid_t pid = hog[killed++];

		if (ms < 0)
			fd = open_file("exithand", pid);
		MUST(kill(pid, SIGKILL));
		if (ms < 0) {
			wait_by("poll", fd);
			close(fd);
		}
		snprintf(path, sizeof(path), "/proc/%d/statm", pid);
		while (ms > 0 && read_number(path, "%*u %lu"))
			usleep(ms * 1000);
	}
	return killed;
}

/* The processes of a cgroup use twice the memory that the killer allows. */
static void case_killer(void)
{
	static const struct { const char *way; int ms; } rows[] = {
		{ "does not wait", 0 }, { "looks every 1 ms", 1 }, { "looks every 10 ms", 10 },
		{ "looks every 100 ms", 100 }, { "waits by exithand", -1 },
	};

	mkdir(GROUP, 0755);
	for (size_t r = 0; r < SIZE(rows); r++) {
		for (int round = 0; round < 5 && begin("", rows[r].way, 0, 0); round++) {
			pid_t hog[HOGS];
			uint64_t before;
			int killed;

			for (int i = 0; i < HOGS; i++)
				hog[i] = start_hog();
			rest();
			before = now();
			killed = kill_hogs(hog, rows[r].ms);
			add("time", now() - before);
			add("killed", killed);
			rest();
			kill_all(hog, HOGS);
			rest();
		}
	}
}

static const struct { const char *name; void (*run)(void); int priority; } cases[] = {
	{ "instrument", case_instrument, PRIORITY }, { "unwatched", case_unwatched, 0 },
	{ "polling", case_polling, 0 }, { "killer", case_killer, 0 }, { "calls", case_calls, PRIORITY },
	{ "watched", case_one, PRIORITY }, { "reader", case_one, PRIORITY }, { "own", case_own, PRIORITY },
	{ "burst", case_burst, PRIORITY }, { "other", case_other, PRIORITY },
};

int main(int argc, char **argv)
{
	pthread_attr_t attr;

	if (argc < 3)
		return 0;	/* case_unwatched() starts this program. */
	repetitions = atoi(argv[1]);
	have_exithand = !access("/proc/self/exithand", F_OK);

	/* Do not write during a measurement. The buffer is shared, so fork() does not copy it. */
	setvbuf(stdout, mmap(NULL, OUTPUT_MAX, PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS, -1, 0), _IOFBF, OUTPUT_MAX);
	put("/proc/sys/kernel/sched_rt_runtime_us", -1);
	put("/proc/sys/kernel/pid_max", 100000);
	put("/proc/sys/kernel/threads-max", 100000);
	MUST(pipe2(release_pipe, O_CLOEXEC));
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 32768);
	pthread_setattr_default_np(&attr);
	sem_init(&settle_go, 0, 0);
	sem_init(&settle_done, 0, 0);
	new_thread(settle_thread, NULL);
	set_priority(PRIORITY);
	next_pid(NEIGHBOR);
	start(bystander, MANY - 1);

	for (int i = 2; i < argc; i++) {
		for (size_t c = 0; c < SIZE(cases); c++) {
			if (strcmp(argv[i], cases[c].name))
				continue;
			case_ = cases[c].name;
			fprintf(stderr, "   %s\n", case_);
			set_priority(cases[c].priority);
			/* The first repetition fills the caches. case_other() has its own loop. */
			for (repetition = -1; repetition < repetitions; repetition++) {
				rest();
				cases[c].run();
				fflush(stdout);
			}
		}
	}
	return 0;
}
