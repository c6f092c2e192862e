// SPDX-License-Identifier: GPL-2.0
/*
 * Count the instructions of exits and of waiting for them. This program runs in
 * the guest of `make bench`. scripts/bench/bench.py reads its output.
 *
 *	bench CASE...
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
 * lowest priority, so it runs only when all others sleep. These metrics count
 * from last_words:
 *
 *	exit	until waitid() has reported the zombie: the exit and its wake-ups
 *	told	until the only waiter has returned from its system call (case reader)
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <x86intrin.h>

#define MANY		10240	/* processes, at most */
#define OWN_MAX		1024	/* threads that wait for one process, at most */
#define EPOLL_MAX	100000	/* entries of epoll for one process, at most */
#define OUTPUT_MAX	(8 << 20)	/* bytes, of one repetition */
#define REPETITIONS	5
#define ROUNDS		6	/* exits, in one repetition */
#define STACK		8192
#define PRIORITY	50
#define LOW_PRIORITY	10
#define SIZE(a)		(sizeof(a) / sizeof((a)[0]))

static bool have_exithand, reads;
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
	int fd = MUST(open(path, O_WRONLY));

	MUST(dprintf(fd, "%d", number));
	close(fd);
}

/* The current case and repetition. A negative repetition prints nothing. */
static const char *case_;
static char what[128];
static int repetition;

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

	if (!strcmp(file, "pidfd"))
		return MUST(syscall(SYS_pidfd_open, pid, 0));
	snprintf(path, sizeof(path), "/proc/%d/exithand", pid);
	return MUST(open(path, O_RDONLY));
}

static pid_t others[MANY];
static int other_fds[MANY];

/* Start a process group of @n processes, and open the file of each. */
static void start_others(const char *file, int n)
{
	next_pid(OTHERS);
	for (int i = 0; i < n; i++) {
		others[i] = start(bystander, i + 1);
		MUST(setpgid(others[i], others[0]));
		other_fds[i] = open_file(file, others[i]);
	}
}

static void set_priority(int priority)
{
	struct sched_param param = { .sched_priority = priority };

	MUST(sched_setscheduler(0, priority ? SCHED_FIFO : SCHED_OTHER, &param));
}

/* -- threads -- */

struct waiter {
	bool started;
	sem_t go;
	int fd;
	volatile uint64_t told;	/* when the wait ended, 0 while it waits */
};

static struct waiter own_waiters[OWN_MAX + MANY], *const other_waiters = own_waiters + OWN_MAX;
static sem_t settle_go, settle_done;

/* Wait until the process exits. */
static void wait_for_exit(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	char c;

	MUST(reads ? read(fd, &c, 1) : poll(&pfd, 1, -1));
}

static void *waiter(void *arg)
{
	struct waiter *w = arg;

	set_priority(LOW_PRIORITY);
	while (!sem_wait(&w->go)) {
		wait_for_exit(w->fd);
		w->told = now();
	}
	return NULL;
}

static void *settle_thread(void *unused)
{
	set_priority(0);
	while (!sem_wait(&settle_go))
		sem_post(&settle_done);
	return NULL;
}

static void new_thread(void *(*run)(void *), void *arg)
{
	pthread_t thread;

	MUST(pthread_create(&thread, NULL, run, arg) ? -1 : 0);
}

/* Sleep until all other tasks sleep. */
static void settle(void)
{
	sem_post(&settle_go);
	sem_wait(&settle_done);
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

/* Wait for @fd by an entry of @epfd, or by the thread @w if @epfd is -1. */
static void add_waiter(int epfd, struct waiter *w, int fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

	if (epfd != -1) {
		MUST(epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event));
		return;
	}
	if (!w->started) {
		next_pid(WAITERS + (w - own_waiters));
		sem_init(&w->go, 0, 0);
		new_thread(waiter, w);
		w->started = true;
	}
	w->fd = fd;
	w->told = 0;
	sem_post(&w->go);
}

/* -- cases: exits -- */

/*
 * Measure one exit of a process with @own waiters. The others wait by @other_epfd. In
 * the case "reader", the parent sleeps, and only the waiter wakes up.
 */
static uint64_t one_exit(const char *file, int own, bool epoll, int other_epfd)
{
	int epfd = epoll ? MUST(epoll_create1(0)) : -1;
	static int fds[EPOLL_MAX];
	struct epoll_event event;
	uint64_t seen = 0;
	siginfo_t info;
	pid_t pid;

	next_pid(TARGET);
	pid = start(target, 0);
	for (int i = 0; i < own; i++) {
		fds[i] = epoll && i ? MUST(dup(fds[0])) : open_file(file, pid);
		add_waiter(epfd, &own_waiters[i % OWN_MAX], fds[i]);
	}
	rest();

	MUST(write(release_pipe[1], "x", 1));
	if (strcmp(case_, "reader")) {
		MUST(waitid(P_PID, pid, &info, WEXITED | WNOWAIT));
		seen = now();
	}
	settle();
	reap(pid);

	for (int i = 0; i < own; i++)
		if (!epoll && !own_waiters[i].told)
			errx(1, "%s: exit not reported", what);
	if (epoll && epoll_wait(epfd, &event, 1, 0) != 1)
		errx(1, "%s: exit not reported", what);
	/* Forget false wake-ups of the others, so that the next exit has them again. */
	if (epoll && epoll_wait(other_epfd, &event, 1, 0))
		errx(1, "%s: another exit reported", what);
	for (int i = 0; i < own; i++)
		close(fds[i]);
	close(epfd);
	rest();
	return (seen ? seen : own_waiters[0].told) - last_words;
}

/*
 * Measure exits of processes with @own waiters, while @other processes have one waiter
 * each. If @way is poll, each waiter is a thread. If it is epoll, each waiter is an
 * entry of an epoll instance, and no thread wakes up. All repetitions use the same
 * other processes, because it takes long to start them.
 */
static void exits(const char *file, const char *way, int own, int other)
{
	bool epoll = !strcmp(way, "epoll");
	int epfd = epoll ? MUST(epoll_create1(0)) : -1;

	if (!begin(file, way, own, other))
		return;
	/* A pidfd cannot be read. */
	reads = !strcmp(way, "read") && !strcmp(file, "exithand");
	start_others(file, other);
	for (int i = 0; i < other; i++)
		add_waiter(epfd, &other_waiters[i], other_fds[i]);
	rest();
	/* The first repetition and the first two rounds fill the caches. */
	for (repetition = -1; repetition < REPETITIONS; repetition++) {
		for (int round = -2; round < (own > OWN_MAX ? ROUNDS / 2 : ROUNDS); round++) {
			uint64_t instructions = one_exit(file, own, epoll, epfd);

			if (round >= 0)
				add(strcmp(case_, "reader") ? "exit" : "told", instructions);
		}
	}
	end_others(other);
	close(epfd);
}

static void case_watched(void)
{
	exits("none", "", 0, 0);
}

static void case_reader(void)
{
	for (size_t i = 0; i < 2 * SIZE(files); i++)
		exits(files[i % 2], i & 2 ? "read" : "poll", 1, 0);
}

/* Each number of waiters, by poll and by epoll, of both files. */
static void case_own(void)
{
	static const int own[] = { 1, 10, 100, 1000, 10000, EPOLL_MAX };

	for (size_t i = 0; i < 4 * SIZE(own); i++) {
		if (i & 2 || own[i / 4] <= OWN_MAX)
			exits(files[i % 2], i & 2 ? "epoll" : "poll", own[i / 4], 0);
	}
}

static void case_other(void)
{
	static const int other[] = { 0, 1, 10, 100, 1000, 10000 };

	for (size_t i = 0; i < 4 * SIZE(other); i++)
		exits(files[i % 2], i & 2 ? "epoll" : "poll", 1, other[i / 4]);
}

/* One signal kills many processes, which are autoreaped. One epoll loop learns of all exits. */
static void case_burst(void)
{
	struct epoll_event events[64];
	int n = 10000;

	signal(SIGCHLD, SIG_IGN);
	for (size_t f = 0; f < SIZE(files); f++) {
		int epfd, told = 0;
		uint64_t before;

		if (!begin(files[f], "", 1, n))
			continue;
		epfd = MUST(epoll_create1(0));
		start_others(files[f], n);
		for (int i = 0; i < n; i++)
			add_waiter(epfd, NULL, other_fds[i]);
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

/* Create @n processes, one at a time, for which only the parent waits. */
static void lives(const char *way, int n)
{
	next_pid(LIVES);
	begin("none", way, 0, 0);
	for (int i = -n / 8; i < n; i++) {
		uint64_t before = now();
		pid_t pid = MUST(!strcmp(way, "vfork") ? vfork() : fork());

		if (!pid)
			_exit(0);
		reap(pid);
		if (i >= 0)
			add("life", now() - before);
	}
}

static void case_unwatched(void)
{
	lives("vfork", 4000);
	lives("fork", 600);
}

/* Measure calls for a process that has an open file already. */
static void case_calls(void)
{
	for (size_t f = 0; f < SIZE(files); f++) {
		struct pollfd pfd = { .events = POLLIN };

		if (!begin(files[f], "", 0, 0))
			continue;
		start_others(files[f], 1);
		pfd.fd = other_fds[0];
		rest();
		for (int i = 0; i < 400; i++) {
			uint64_t before = now(), closed, polled;

			close(open_file(files[f], others[0]));
			closed = now();
			MUST(poll(&pfd, 1, 0));
			polled = now();
			begin(files[f], "open and close, a later one", 0, 0);
			add("call", closed - before);
			begin(files[f], "poll, before", 0, 0);
			add("call", polled - closed);
		}
		end_others(1);
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
	FILE *f = fopen(path, "r");
	unsigned long number;

	if (!f || fscanf(f, format, &number) != 1)
		err(1, "%s", path);
	fclose(f);
	return number;
}

/* Kill a hog. Then wait by exithand, or check every 10 ms whether it has memory, or do not wait. */
static void kill_hog(pid_t pid, bool waits, bool looks)
{
	int fd = waits ? open_file("exithand", pid) : -1;
	char path[64];

	MUST(kill(pid, SIGKILL));
	if (waits)
		wait_for_exit(fd);
	close(fd);
	snprintf(path, sizeof(path), "/proc/%d/statm", pid);
	while (looks && read_number(path, "%*u %lu"))
		usleep(10000);
}

/* The processes of a cgroup use twice the memory that the killer allows. */
static void case_killer(void)
{
	static const char *const ways[] = { "does not wait", "looks every 10 ms", "waits by exithand" };

	mkdir(GROUP, 0755);
	for (size_t w = 0; w < SIZE(ways); w++) {
		for (int round = 0; round < 5 && begin("", ways[w], 0, 0); round++) {
			pid_t hog[HOGS];
			uint64_t before;
			int killed = 0;

			for (int i = 0; i < HOGS; i++)
				hog[i] = start_hog();
			rest();
			before = now();
			while (killed < HOGS && read_number(GROUP "/memory.current", "%lu") > GOAL)
				kill_hog(hog[killed++], w == 2, w == 1);
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
	{ "killer", case_killer, 0 }, { "calls", case_calls, PRIORITY },
	{ "watched", case_watched, PRIORITY }, { "reader", case_reader, PRIORITY },
	{ "own", case_own, PRIORITY }, { "burst", case_burst, PRIORITY }, { "other", case_other, PRIORITY },
};

int main(int argc, char **argv)
{
	pthread_attr_t attr;

	have_exithand = !access("/proc/self/exithand", F_OK);

	/* Do not write during a measurement. The buffer is shared, so fork() does not copy it. */
	setvbuf(stdout, mmap(NULL, OUTPUT_MAX, PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS, -1, 0), _IOFBF, OUTPUT_MAX);
	put("/proc/sys/kernel/sched_rt_runtime_us", -1);
	put("/proc/sys/kernel/pid_max", 100000);
	put("/proc/sys/kernel/threads-max", 100000);
	MUST(pipe(release_pipe));
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 32768);
	pthread_setattr_default_np(&attr);
	sem_init(&settle_go, 0, 0);
	sem_init(&settle_done, 0, 0);
	new_thread(settle_thread, NULL);
	set_priority(PRIORITY);
	next_pid(NEIGHBOR);
	start(bystander, MANY - 1);

	for (int i = 1; i < argc; i++) {
		for (size_t c = 0; c < SIZE(cases); c++) {
			if (strcmp(argv[i], cases[c].name))
				continue;
			case_ = cases[c].name;
			fprintf(stderr, "   %s\n", case_);
			set_priority(cases[c].priority);
			/* The first repetition fills the caches. exits() has its own loop. */
			for (repetition = -1; repetition < REPETITIONS; repetition++) {
				rest();
				cases[c].run();
				fflush(stdout);
			}
		}
	}
	return 0;
}
