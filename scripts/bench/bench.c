// SPDX-License-Identifier: GPL-2.0
/*
 * What scripts/bench/bench.py runs in the guest: how many instructions things take.
 *
 *	bench REPETITIONS quick|full KILLER [CASE...]
 *
 * QEMU's -icount makes the time-stamp counter one of instructions (and lets it
 * jump ahead when the only CPU is idle), so what is timed here is counted.
 * Prints a JSON object for each sample, which is the result of `n` rounds.
 *
 * Most rounds go like this: TARGETS are processes that share our memory and
 * files, so that their exit is the cheapest there is. One leaves the counter in
 * `last_words` and calls exit_group(). We are its parent and run at the highest
 * priority, as it does; who else waits for it runs at a lower one; and below all
 * of them is the thread `settle`, which only gets to run when everybody has gone
 * back to sleep. This gives:
 *
 *	exit	from the last words until waitid() has told us of the zombie: the
 *		exit, with all wake-ups that it does
 *	reaped	until we have reaped it
 *	told	until the last of its own waiters is out of its system call
 *	settled	until everybody sleeps again
 *
 * With BENCH_WALL in the environment it is time that is measured, in ns.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/cn_proc.h>
#include <linux/connector.h>
#include <linux/netlink.h>
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
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#define MANY		10240	/* processes, at most */
#define OWN_MAX		1024	/* waiters of one process, at most */
#define ROUNDS_MAX	8192
#define STACK		8192
#define PRIORITY	50
#define LOW_PRIORITY	10
#define SIZE(a)		(sizeof(a) / sizeof((a)[0]))

static bool quick, have_exithand, wall;
static int repetition;

#define MUST(call) ({						\
	long must_ = (long)(call);				\
	if (must_ == -1)					\
		err(1, "line %d: %s", __LINE__, #call);		\
	must_; })

/* A pthread function, which returns its errno. */
#define OK(call) do {						\
	errno = (call);						\
	if (errno)						\
		err(1, "line %d: %s", __LINE__, #call);		\
} while (0)

static uint64_t now(void)
{
	struct timespec t;

	if (!wall) {
		_mm_lfence();
		return __rdtsc();
	}
	MUST(clock_gettime(CLOCK_MONOTONIC, &t));
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static void put(const char *path, const char *text)
{
	int fd = MUST(open(path, O_WRONLY | O_CLOEXEC));

	MUST(write(fd, text, strlen(text)));
	close(fd);
}

/* -- samples -- */

struct sample {
	const char *case_, *file, *way, *metric;
	int own, other;
	int n;
	double v[ROUNDS_MAX];
};

static void add(struct sample *s, double value)
{
	if (s->n == ROUNDS_MAX)
		errx(1, "too many rounds");
	s->v[s->n++] = value;
}

static int compare(const void *a, const void *b)
{
	double d = *(const double *)a - *(const double *)b;

	return (d > 0) - (d < 0);
}

static void report(struct sample *s)
{
	double sum = 0;

	if (!s->n)
		errx(1, "%s %s: nothing was measured", s->case_, s->metric);
	if (repetition < 0) {
		s->n = 0;
		return;
	}
	for (int i = 0; i < s->n; i++)
		sum += s->v[i];
	qsort(s->v, s->n, sizeof(s->v[0]), compare);
	printf("{\"case\": \"%s\", \"file\": \"%s\", \"way\": \"%s\", \"own\": %d, \"other\": %d, "
	       "\"metric\": \"%s\", \"repetition\": %d, \"n\": %d, \"mean\": %.3f, "
	       "\"min\": %.0f, \"median\": %.1f, \"max\": %.0f}\n",
	       s->case_, s->file, s->way, s->own, s->other, s->metric, repetition,
	       s->n, sum / s->n, s->v[0], (s->v[(s->n - 1) / 2] + s->v[s->n / 2]) / 2,
	       s->v[s->n - 1]);
	s->n = 0;
}

/* A compound literal of this size would be on the stack. */
static void begin(struct sample *s, const char *case_, const char *file, const char *way,
		  const char *metric, int own, int other)
{
	s->case_ = case_;
	s->file = file;
	s->way = way;
	s->metric = metric;
	s->own = own;
	s->other = other;
	s->n = 0;
}

static void report_one(const char *case_, const char *file, const char *way, const char *metric,
		       double value)
{
	static struct sample s;

	begin(&s, case_, file, way, metric, 0, 0);
	add(&s, value);
	report(&s);
}

/* -- processes -- */

/*
 * What it takes to free a number depends on the number, and on its neighbours.
 * So it is the same one each time.
 */
enum { NEIGHBOUR = 20000, TARGET, OTHERS = 24000, WAITERS = 40000, LIVES = 10000 };

static void next_pid(int pid)
{
	char number[16];

	snprintf(number, sizeof(number), "%d", pid - 1);
	put("/proc/sys/kernel/ns_last_pid", number);
}

static char stacks[MANY][STACK] __attribute__((aligned(16)));
static volatile uint64_t last_words;
static int release_pipe[2];

static int target(void *pipe)
{
	char c;

	/* No errno here: it is shared, too. */
	while (read((int)(intptr_t)pipe, &c, 1) != 1)
		;
	last_words = now();
	syscall(SYS_exit_group, 0);
	return 0;
}

static int bystander(void *unused)
{
	(void)unused;
	for (;;)
		pause();
	return 0;
}

static pid_t start(int (*what)(void *), int n)
{
	return MUST(clone(what, stacks[n] + STACK - 64,
			  CLONE_VM | CLONE_FILES | CLONE_FS | SIGCHLD,
			  (void *)(intptr_t)release_pipe[0]));
}

static void wait_for_zombie(pid_t pid)
{
	siginfo_t info;

	while (waitid(P_PID, pid, &info, WEXITED | WNOWAIT))
		if (errno != EINTR)
			err(1, "waitid");
}

static void reap(pid_t pid)
{
	while (waitpid(pid, NULL, 0) < 0)
		if (errno != EINTR)
			err(1, "waitpid");
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
	return MUST(open(path, O_RDONLY | O_CLOEXEC));
}

static void set_priority(int priority)
{
	struct sched_param param = { .sched_priority = priority };

	MUST(sched_setscheduler(0, priority ? SCHED_FIFO : SCHED_OTHER, &param));
}

/* -- who waits -- */

enum how { POLL, READ, EPOLL, WAITPID, CONNECTOR };

struct waiter {
	pthread_t thread;
	sem_t go;
	bool started;
	enum how how;
	int fd;			/* or the number, for waitpid() */
	volatile bool waits;
	uint64_t told;
};

static struct waiter own_waiters[OWN_MAX], other_waiters[MANY];
static sem_t settle_go, settle_done;
static uint64_t settled_at;

/* What the proc connector tells of: the number of a process that exits, or 0. */
static pid_t connector_exit(int fd)
{
	char buf[256] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct cn_msg *msg = NLMSG_DATA((struct nlmsghdr *)buf);
	struct proc_event *event = (struct proc_event *)msg->data;

	if (recv(fd, buf, sizeof(buf), 0) <= 0)
		return -1;
	if (event->what != PROC_EVENT_EXIT ||
	    event->event_data.exit.process_pid != event->event_data.exit.process_tgid)
		return 0;
	return event->event_data.exit.process_pid;
}

static void tell_connector(int fd, enum proc_cn_mcast_op op)
{
	char buf[NLMSG_SPACE(sizeof(struct cn_msg) + sizeof(op))]
		__attribute__((aligned(NLMSG_ALIGNTO))) = {};
	struct nlmsghdr *head = (struct nlmsghdr *)buf;
	struct cn_msg *msg = NLMSG_DATA(head);

	head->nlmsg_len = NLMSG_LENGTH(sizeof(*msg) + sizeof(op));
	head->nlmsg_type = NLMSG_DONE;
	msg->id.idx = CN_IDX_PROC;
	msg->id.val = CN_VAL_PROC;
	msg->len = sizeof(op);
	memcpy(msg->data, &op, sizeof(op));
	MUST(send(fd, buf, head->nlmsg_len, 0));
}

static int open_connector(void)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = CN_IDX_PROC };
	int size = 64 << 20, fd;

	fd = MUST(socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_CONNECTOR));
	MUST(setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)));
	MUST(bind(fd, (struct sockaddr *)&address, sizeof(address)));
	tell_connector(fd, PROC_CN_MCAST_LISTEN);
	return fd;
}

/* A mere close would leave the kernel with a listener to tell of each exit. */
static void close_connector(int fd)
{
	tell_connector(fd, PROC_CN_MCAST_IGNORE);
	close(fd);
}

/* False if a signal has called it off. */
static bool wait_for(enum how how, int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	struct epoll_event event;
	pid_t pid = 0;
	int n = -1;
	char c;

	switch (how) {
	case POLL:
		n = poll(&pfd, 1, -1) - 1;
		break;
	case READ:
		n = read(fd, &c, 1);
		break;
	case EPOLL:
		n = epoll_wait(fd, &event, 1, -1) - 1;
		break;
	case WAITPID:
		n = waitpid(fd, NULL, 0) - fd;
		break;
	case CONNECTOR:
		while (pid >= 0 && pid != TARGET)
			pid = connector_exit(fd);
		n = pid - TARGET;
		break;
	}
	if (n && errno != EINTR)
		err(1, "a waiter");
	return !n;
}

static void *waiter(void *arg)
{
	struct waiter *w = arg;

	set_priority(LOW_PRIORITY);
	for (;;) {
		sem_wait(&w->go);
		if (wait_for(w->how, w->fd))
			w->told = now();
		w->waits = false;
	}
	return NULL;
}

static void call_off(int unused)
{
	(void)unused;
}

static void *settle_thread(void *unused)
{
	(void)unused;
	set_priority(0);
	for (;;) {
		sem_wait(&settle_go);
		settled_at = now();
		sem_post(&settle_done);
	}
	return NULL;
}

static void new_thread(pthread_t *thread, void *(*what)(void *), void *arg)
{
	pthread_attr_t attr;

	OK(pthread_attr_init(&attr));
	OK(pthread_attr_setstacksize(&attr, 32768));
	OK(pthread_create(thread, &attr, what, arg));
	pthread_attr_destroy(&attr);
}

/* Until everybody but us sleeps; when that was. */
static uint64_t settle(void)
{
	sem_post(&settle_go);
	while (sem_wait(&settle_done))
		;
	return settled_at;
}

/* Time for what the kernel does later: it costs nothing while we sleep, if we count. */
static void rest(void)
{
	usleep(wall ? 10000 : 40000);
	settle();
}

static void need_waiters(struct waiter *w, int n)
{
	int number = w == own_waiters ? WAITERS : WAITERS + OWN_MAX;

	for (int i = 0; i < n; i++) {
		if (w[i].started)
			continue;
		next_pid(number + i);
		sem_init(&w[i].go, 0, 0);
		new_thread(&w[i].thread, waiter, &w[i]);
		w[i].started = true;
	}
}

static void wait_in(struct waiter *w, enum how how, int fd)
{
	w->how = how;
	w->fd = fd;
	w->told = 0;
	w->waits = true;
	sem_post(&w->go);
}

/* -- cases -- */

/*
 * What procfs keeps of a process that somebody has looked at, it drops when that
 * is reaped.
 */
#define LOOKED_AT "/proc/PID looked at"

/* Other processes, of which each has one waiter. */
static pid_t others[MANY];
static int other_fds[MANY], other_epfd = -1;

static void start_others(const char *file, int n)
{
	next_pid(OTHERS);
	for (int i = 0; i < n; i++) {
		others[i] = start(bystander, i + 1);
		other_fds[i] = open_file(file, others[i]);
	}
	rest();
}

static void watch_others(bool epoll, int n)
{
	struct epoll_event event = { .events = EPOLLIN };

	if (epoll)
		other_epfd = MUST(epoll_create1(EPOLL_CLOEXEC));
	else
		need_waiters(other_waiters, n);
	for (int i = 0; i < n; i++) {
		if (epoll)
			MUST(epoll_ctl(other_epfd, EPOLL_CTL_ADD, other_fds[i], &event));
		else
			wait_in(&other_waiters[i], POLL, other_fds[i]);
	}
	rest();
}

static void unwatch_others(bool epoll, int n)
{
	if (epoll) {
		close(other_epfd);
		other_epfd = -1;
	}
	for (int i = 0; !epoll && i < n; i++)
		OK(pthread_kill(other_waiters[i].thread, SIGUSR1));
	rest();
	for (int i = 0; !epoll && i < n; i++)
		if (other_waiters[i].waits)
			errx(1, "a waiter does not let itself be called off");
}

static void end_others(int n)
{
	kill_all(others, n);
	rest();
	for (int i = 0; i < n; i++)
		close(other_fds[i]);
	rest();
}

/* Whoever waits for another process must still do so. */
static void check_others(const char *file, bool epoll, int n)
{
	struct epoll_event event;

	/* This has epoll look at what it was woken for in vain. */
	if (epoll && other_epfd >= 0 && epoll_wait(other_epfd, &event, 1, 0))
		errx(1, "%s epoll: told of another's exit", file);
	for (int i = 0; !epoll && i < n; i++)
		if (!other_waiters[i].waits)
			errx(1, "%s: told of another's exit", file);
}

/*
 * The exit of a process with `own` waiters, while the `other` ones are watched.
 * `way` is how they wait: a task each in poll or read, or entries of one epoll
 * instance, where nobody is woken.
 */
static void exits(const char *case_, const char *file, const char *way, int own, int other,
		  int rounds)
{
	static struct sample exit_, reaped, told, settled;
	static int fds[OWN_MAX];
	bool epoll = !strcmp(way, "epoll");
	enum how how = strcmp(way, "read") ? POLL : READ;
	bool looked_at = strstr(way, LOOKED_AT);

	begin(&exit_, case_, file, way, "exit", own, other);
	begin(&reaped, case_, file, way, "reaped", own, other);
	begin(&told, case_, file, way, "told", own, other);
	begin(&settled, case_, file, way, "settled", own, other);

	if (!epoll)
		need_waiters(own_waiters, own);

	/* The first two fill the caches. */
	for (int round = -2; round < rounds; round++) {
		int epfd = MUST(epoll_create1(EPOLL_CLOEXEC));
		struct epoll_event event = { .events = EPOLLIN };
		uint64_t zombie, gone, all_settled, last = 0;
		char path[64];
		pid_t pid;

		next_pid(TARGET);
		pid = start(target, 0);
		if (pid != TARGET)
			errx(1, "the number %d is taken", TARGET);

		snprintf(path, sizeof(path), "/proc/%d/stat", pid);
		if (looked_at)
			MUST(access(path, F_OK));
		for (int i = 0; i < own; i++) {
			fds[i] = open_file(file, pid);
			if (epoll)
				MUST(epoll_ctl(epfd, EPOLL_CTL_ADD, fds[i], &event));
			else
				wait_in(&own_waiters[i], how, fds[i]);
		}
		rest();
		for (int i = 0; !epoll && i < own; i++)
			if (!own_waiters[i].waits)
				errx(1, "%s %s: told before the exit", file, way);

		MUST(write(release_pipe[1], "x", 1));
		wait_for_zombie(pid);
		zombie = now();
		reap(pid);
		gone = now();
		all_settled = settle();

		for (int i = 0; !epoll && i < own; i++) {
			if (own_waiters[i].waits)
				errx(1, "%s %s: not told of the exit", file, way);
			if (own_waiters[i].told > last)
				last = own_waiters[i].told;
		}
		if (epoll && epoll_wait(epfd, &event, 1, 0) != !!own)
			errx(1, "%s epoll: not told of the exit", file);
		check_others(file, epoll, other);

		if (round >= 0) {
			add(&exit_, zombie - last_words);
			add(&reaped, gone - last_words);
			add(&settled, all_settled - last_words);
			if (last)
				add(&told, last - last_words);
		}
		for (int i = 0; i < own; i++)
			close(fds[i]);
		close(epfd);
		rest();
	}
	report(&exit_);
	report(&reaped);
	report(&settled);
	if (told.n)
		report(&told);
}

/*
 * From the last words of a process until its only reader is out of its system
 * call, while nobody else waits for it and its parent sleeps.
 */
static void case_reader(void)
{
	static const struct { const char *file, *way; enum how how; } ways[] = {
		{ "pidfd", "poll", POLL }, { "pidfd", "epoll", EPOLL },
		{ "waitpid", "", WAITPID }, { "connector", "", CONNECTOR },
		{ "exithand", "poll", POLL }, { "exithand", "epoll", EPOLL },
		{ "exithand", "read", READ },
	};
	static struct sample told;
	struct epoll_event event = { .events = EPOLLIN };
	struct waiter *w = own_waiters;
	int rounds = quick ? 10 : 20;

	need_waiters(w, 1);
	for (size_t i = 0; i < SIZE(ways) - 3 * !have_exithand; i++) {
		enum how how = ways[i].how;
		bool file = how < WAITPID;
		int connector = how == CONNECTOR ? open_connector() : -1;

		begin(&told, "reader", ways[i].file, ways[i].way, "told", 1, 0);
		for (int round = -2; round < rounds; round++) {
			int epfd = MUST(epoll_create1(EPOLL_CLOEXEC)), fd = -1;
			pid_t pid;

			next_pid(TARGET);
			pid = start(target, 0);
			if (file)
				fd = open_file(ways[i].file, pid);
			if (how == EPOLL)
				MUST(epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event));
			wait_in(w, how, how == EPOLL ? epfd : how == WAITPID ? pid :
				how == CONNECTOR ? connector : fd);
			rest();
			if (!w->waits)
				errx(1, "%s: told before the exit", ways[i].file);

			MUST(write(release_pipe[1], "x", 1));
			settle();
			if (w->waits)
				errx(1, "%s: not told of the exit", ways[i].file);
			if (round >= 0)
				add(&told, w->told - last_words);
			if (how != WAITPID)
				reap(pid);
			if (file)
				close(fd);
			close(epfd);
			rest();
		}
		report(&told);
		if (how == CONNECTOR)
			close_connector(connector);
	}
}

/*
 * Many processes are killed at once, and reap themselves; one loop hears of all
 * of them. For each in its turn it closes the file, as it must, or epoll would
 * tell of it again.
 */
static void case_burst(void)
{
	static const struct { const char *file, *way; } by[] = {
		{ "pidfd", "" }, { "pidfd", LOOKED_AT }, { "connector", "" }, { "exithand", "" },
	};
	static pid_t pid[MANY];
	static struct sample total;
	pid_t exited;
	struct epoll_event event = { .events = EPOLLIN }, events[64];
	int n = quick ? 1000 : 10000;
	char path[64];

	signal(SIGCHLD, SIG_IGN);
	for (size_t f = 0; f < SIZE(by) - !have_exithand; f++) {
		bool connector = !strcmp(by[f].file, "connector"), looked_at = by[f].way[0];
		int epfd = MUST(epoll_create1(EPOLL_CLOEXEC)), netlink = -1, told = 0;
		uint64_t before;

		next_pid(OTHERS);
		for (int i = 0; i < n; i++) {
			pid[i] = start(bystander, i + 1);
			MUST(setpgid(pid[i], pid[0]));
		}
		if (connector) {
			netlink = open_connector();
			MUST(fcntl(netlink, F_SETFL, O_NONBLOCK));
			MUST(epoll_ctl(epfd, EPOLL_CTL_ADD, netlink, &event));
		}
		for (int i = 0; !connector && i < n; i++) {
			snprintf(path, sizeof(path), "/proc/%d/stat", pid[i]);
			if (looked_at)
				MUST(access(path, F_OK));
			event.data.fd = open_file(by[f].file, pid[i]);
			MUST(epoll_ctl(epfd, EPOLL_CTL_ADD, event.data.fd, &event));
		}
		rest();

		before = now();
		MUST(kill(-pid[0], SIGKILL));
		while (told < n) {
			int ready = MUST(epoll_wait(epfd, events, SIZE(events), -1));

			for (int i = 0; !connector && i < ready; i++)
				told += !close(events[i].data.fd);
			while (connector && (exited = connector_exit(netlink)) >= 0)
				told += exited > 0;
			if (connector && errno != EAGAIN)
				err(1, "the proc connector");
		}
		begin(&total, "burst", by[f].file, by[f].way, "total", 1, n);
		add(&total, now() - before);
		report(&total);
		if (connector)
			close_connector(netlink);
		close(epfd);
		rest();
	}
	signal(SIGCHLD, SIG_DFL);
}

/* The counter must count instructions: a loop of known length. */
static void case_instrument(void)
{
	static struct sample s;
	uint64_t before, loops;

	begin(&s, "instrument", "", "", "ticks of 1000000 instructions", 0, 0);
	for (int i = 0; i < 10; i++) {
		loops = 500000;
		before = now();
		asm volatile("1: dec %0; jnz 1b" : "+r"(loops) : : "cc");
		add(&s, now() - before);
	}
	report(&s);
}

static void one_life(const char *way, char *self)
{
	pid_t pid;

	if (!strcmp(way, "thread")) {
		pthread_t thread;

		new_thread(&thread, (void *(*)(void *))(void *)getpid, NULL);
		OK(pthread_join(thread, NULL));
		return;
	}
	pid = MUST(!strcmp(way, "vfork") ? vfork() : fork());
	if (!pid) {
		if (!strcmp(way, "exec"))
			execl(self, self, "--exit", NULL);
		_exit(0);
	}
	reap(pid);
}

/*
 * Processes that nobody waits for but their parent, one after the other. In the
 * mean is all, also what the kernel does later, as there is no idle time in which
 * it could; and interrupts. The median is without those.
 */
static void case_unwatched(char *self)
{
	static const struct { const char *way; int n; } ways[] = {
		{ "vfork", 4000 }, { "fork", 600 }, { "exec", 200 }, { "thread", 2000 },
	};
	static struct sample s;

	set_priority(0);
	for (size_t w = 0; w < SIZE(ways); w++) {
		int n = quick ? ways[w].n / 2 : ways[w].n;
		uint64_t before;

		next_pid(LIVES);
		begin(&s, "unwatched", "none", ways[w].way, "life", 0, 0);
		for (int i = -n / 8; i < n; i++) {
			before = now();
			one_life(ways[w].way, self);
			if (i >= 0)
				add(&s, now() - before);
		}
		report(&s);
	}
	set_priority(PRIORITY);
}

static void case_watched(void)
{
	int rounds = quick ? 10 : 20;

	exits("watched", "none", "", 0, 0, rounds);
	exits("watched", "none", LOOKED_AT, 0, 0, rounds);
	exits("watched", "pidfd", "poll", 1, 0, rounds);
	exits("watched", "pidfd", "poll, " LOOKED_AT, 1, 0, rounds);
	exits("watched", "pidfd", "epoll", 1, 0, rounds);
	if (!have_exithand)
		return;
	exits("watched", "exithand", "poll", 1, 0, rounds);
	exits("watched", "exithand", "epoll", 1, 0, rounds);
	exits("watched", "exithand", "read", 1, 0, rounds);
}

static const char *const files[] = { "pidfd", "exithand" };

static void case_own(void)
{
	static const int full[] = { 1, 2, 4, 16, 64, 256, 1000 }, few[] = { 1, 16, 256 };

	for (size_t f = 0; f < SIZE(files) - !have_exithand; f++) {
		for (size_t i = 0; i < (quick ? SIZE(few) : SIZE(full)); i++) {
			int n = quick ? few[i] : full[i];

			exits("own", files[f], "poll", n, 0, quick ? 3 : 6);
			exits("own", files[f], "epoll", n, 0, quick ? 3 : 6);
		}
	}
}

/* Making so many processes takes long: all repetitions are with the same ones. */
static void case_other(int repetitions)
{
	static const int full[] = { 0, 1, 10, 100, 1000, 10000 }, few[] = { 0, 10, 300 };
	bool be_quick = quick;
	int rounds = be_quick ? 3 : 6;

	for (size_t f = 0; f < SIZE(files) - !have_exithand; f++) {
		for (size_t i = 0; i < (be_quick ? SIZE(few) : SIZE(full)); i++) {
			int n = be_quick ? few[i] : full[i];

			start_others(files[f], n);
			watch_others(false, n);
			for (repetition = -1; repetition < repetitions; repetition++) {
				exits("other", files[f], "poll", 1, n, rounds);
				exits("other, unwatched", files[f], "poll", 0, n, rounds);
			}
			unwatch_others(false, n);
			watch_others(true, n);
			for (repetition = -1; repetition < repetitions; repetition++)
				exits("other", files[f], "epoll", 1, n, rounds);
			unwatch_others(true, n);
			end_others(n);
		}
	}
}

/* One system call, or a pair of them that belong together, n times. */
#define CALLS(file, name, n, code) do {					\
	static struct sample s_;					\
	begin(&s_, "calls", file, name, "call", 0, 0);			\
	for (int i = 0; i < (n); i++) {					\
		uint64_t before_ = now();				\
		code;							\
		add(&s_, now() - before_);				\
	}								\
	report(&s_);							\
	rest();								\
} while (0)

static void case_calls(void)
{
	int n = quick ? 100 : 400, epfd = MUST(epoll_create1(EPOLL_CLOEXEC));
	struct epoll_event event = { .events = EPOLLIN };
	static pid_t fresh[512];
	pid_t pid = start(bystander, 0), dead = start(bystander, 1);
	char path[64], c;

	snprintf(path, sizeof(path), "/proc/%d", pid);
	CALLS("", "stat of /proc/PID", n, ({ struct stat st; MUST(stat(path, &st)); }));
	CALLS("", "kill(PID, 0)", n, MUST(kill(pid, 0)));

	for (size_t f = 0; f < SIZE(files) - !have_exithand; f++) {
		const char *file = files[f];
		bool ours = f == 1;
		int fd, dead_fd;
		struct pollfd pfd = { .events = POLLIN }, dead_pfd = { .events = POLLIN };

		for (int i = 0; i < n; i++)
			fresh[i] = start(bystander, 2 + i);
		rest();
		CALLS(file, "open and close, the first", n, close(open_file(file, fresh[i])));
		fd = open_file(file, pid);
		CALLS(file, "open and close, a later one", n, close(open_file(file, pid)));
		dead_fd = open_file(file, dead);
		if (f + 1 == SIZE(files) - !have_exithand) {
			kill_all(&dead, 1);
			dead = 0;
		} else {
			MUST(kill(dead, SIGKILL));
			wait_for_zombie(dead);
		}
		rest();
		pfd.fd = fd;
		dead_pfd.fd = dead_fd;
		CALLS(file, "poll, before", n, MUST(poll(&pfd, 1, 0)));
		CALLS(file, "poll, after", n, MUST(poll(&dead_pfd, 1, 0)));
		CALLS(file, "epoll, add and delete", n, {
			MUST(epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event));
			MUST(epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL));
		});
		if (ours) {
			MUST(fcntl(fd, F_SETFL, O_NONBLOCK));
			CALLS(file, "read, before", n, (void)!read(fd, &c, 1));
			CALLS(file, "read, after", n, MUST(read(dead_fd, &c, 1)));
		}
		close(fd);
		close(dead_fd);
		kill_all(fresh, n);
		rest();
	}
	kill_all(&pid, 1);
	close(epfd);
}

/*
 * Somebody waits for a process that lives for a second. What that costs him is
 * CPU time, as while he sleeps the clock runs, or jumps: in nanoseconds, which
 * are instructions. And how late he knows of the exit.
 */
static void case_polling(void)
{
	static const struct { const char *way; int us; } ways[] = {
		{ "stat every 1 ms", 1000 }, { "stat every 10 ms", 10000 },
		{ "stat every 20 ms", 20000 }, { "stat every 100 ms", 100000 },
		{ "stat every 1 s", 1000000 }, { "pidfd, poll", 0 },
		{ "exithand, poll", 0 }, { "exithand, read", 0 },
	};
	static struct sample cpu, late;
	static struct { uint64_t cpu, told; } *shared;
	int rounds = quick ? 5 : 20;

	if (!shared)
		shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	set_priority(0);
	for (size_t w = 0; w < SIZE(ways) - 2 * !have_exithand; w++) {
		const char *way = ways[w].way;

		begin(&cpu, "polling", "", way, "cpu", 0, 0);
		begin(&late, "polling", "", way, "late", 0, 0);
		for (int round = 0; round < rounds; round++) {
			pid_t pid = start(target, 0), watcher;
			char path[64], c;

			snprintf(path, sizeof(path), "/proc/%d", pid);
			watcher = MUST(fork());
			if (!watcher) {
				struct timespec before, after;
				struct stat st;

				MUST(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before));
				if (ways[w].us) {
					while (!stat(path, &st))
						usleep(ways[w].us);
				} else {
					struct pollfd pfd = { .events = POLLIN };

					pfd.fd = open_file(strncmp(way, "pidfd", 5) ? "exithand" : "pidfd", pid);
					if (strstr(way, "read"))
						MUST(read(pfd.fd, &c, 1));
					else
						MUST(poll(&pfd, 1, -1));
				}
				shared->told = now();
				MUST(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after));
				shared->cpu = (after.tv_sec - before.tv_sec) * 1000000000ULL +
					      after.tv_nsec - before.tv_nsec;
				_exit(0);
			}
			/* Not in step with any of the intervals. */
			usleep(1000000 + round * 53177 % 1000000);
			MUST(write(release_pipe[1], "x", 1));
			reap(pid);
			reap(watcher);
			add(&cpu, shared->cpu);
			add(&late, shared->told - last_words);
		}
		report(&cpu);
		report(&late);
	}
	set_priority(PRIORITY);
}

/* -- memory -- */

#define CGROUPS	"/tmp/bench-cgroups"

static void mount_cgroups(void)
{
	if (mkdir(CGROUPS, 0755) && errno != EEXIST)
		err(1, CGROUPS);
	MUST(mount("none", CGROUPS, "cgroup2", 0, NULL));
	put(CGROUPS "/cgroup.subtree_control", "+memory");
}

struct slab {
	char name[64];
	long active, objsize, slabs, pages, per_slab;
};

static int read_slabs(struct slab *slabs, int max)
{
	FILE *f = fopen("/proc/slabinfo", "re");
	char line[512];
	int n = 0;

	if (!f)
		err(1, "/proc/slabinfo");
	while (n < max && fgets(line, sizeof(line), f)) {
		struct slab *s = &slabs[n];

		if (sscanf(line, "%63s %ld %*d %ld %ld %ld : tunables %*d %*d %*d : slabdata %*d %ld",
			   s->name, &s->active, &s->objsize, &s->per_slab, &s->pages,
			   &s->slabs) == 6)
			n++;
	}
	fclose(f);
	return n;
}

/* Objects that are free, but kept for the CPU, count as in use. */
static void shrink_slabs(void)
{
	DIR *dir = opendir("/sys/kernel/slab");
	struct dirent *entry;
	char path[320];

	if (!dir)
		err(1, "/sys/kernel/slab");
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/sys/kernel/slab/%s/shrink", entry->d_name);
		put(path, "1");
	}
	closedir(dir);
}

static long slab_attribute(const char *cache, const char *name)
{
	char path[128];
	FILE *f;
	long value;

	snprintf(path, sizeof(path), "/sys/kernel/slab/%s/%s", cache, name);
	f = fopen(path, "re");
	if (!f || fscanf(f, "%ld", &value) != 1)
		err(1, "%s", path);
	fclose(f);
	return value;
}

/* What the objects of all caches take, more than they did before, per file. */
static void case_memory(void)
{
	static struct slab before[512], after[512];
	static const char *const attributes[] = { "object_size", "slab_size", "objs_per_slab" };
	enum { N = 1000 };
	static pid_t pid[N];
	static int fd[N];

	for (size_t i = 0; i < SIZE(attributes); i++) {
		report_one("memory", "", "signal_cache", attributes[i],
			   slab_attribute("signal_cache", attributes[i]));
		report_one("memory", "", "pid", attributes[i],
			   slab_attribute("pid", attributes[i]));
	}

	for (size_t f = 0; f < SIZE(files) - !have_exithand; f++) {
		double total = 0;
		int nr;

		for (int i = 0; i < N; i++)
			pid[i] = start(bystander, i);
		rest();
		shrink_slabs();
		nr = read_slabs(before, SIZE(before));
		for (int i = 0; i < N; i++)
			fd[i] = open_file(files[f], pid[i]);
		rest();
		shrink_slabs();
		if (read_slabs(after, SIZE(after)) != nr)
			errx(1, "the slab caches are not the same any more");
		for (int i = 0; i < nr; i++) {
			double bytes = (double)(after[i].active - before[i].active) *
				       before[i].objsize / N;

			total += bytes;
			if (bytes > 4)
				report_one("memory", files[f], before[i].name, "bytes per file", bytes);
		}
		report_one("memory", files[f], "all caches", "bytes per file", total);
		for (int i = 0; i < N; i++)
			close(fd[i]);
		kill_all(pid, N);
		rest();
	}
}

#define GROUP	CGROUPS "/bench"

/*
 * Bytes of the kernel's objects that a cgroup is charged with, as they were when
 * the kernel last added them up: it does so every two seconds.
 */
static double charged(const char *group)
{
	char path[128], line[128];
	double bytes = -1;
	FILE *f;

	snprintf(path, sizeof(path), CGROUPS "/%s/memory.stat", group);
	f = fopen(path, "re");
	if (!f)
		err(1, "%s", path);
	while (bytes < 0 && fgets(line, sizeof(line), f))
		sscanf(line, "slab %lf", &bytes);
	fclose(f);
	if (bytes < 0)
		errx(1, "%s has no slab", path);
	return bytes;
}

static void join(const char *group, const char *who)
{
	char path[128];

	snprintf(path, sizeof(path), CGROUPS "/%s/cgroup.procs", group);
	put(path, who);
}

/*
 * Who pays: processes of one cgroup are opened by a process of another, and then
 * by one of a third. What the later opener does not pay is once for a process.
 */
static void case_charged(void)
{
	static const char *const groups[] = { "watched", "first opener", "later opener" };
	enum { N = 1000 };
	static pid_t pid[N];
	double before[SIZE(groups)];
	char path[128], number[16], c;

	mount_cgroups();
	for (size_t g = 0; g < SIZE(groups); g++) {
		snprintf(path, sizeof(path), CGROUPS "/%s", groups[g]);
		MUST(mkdir(path, 0755));
	}
	for (size_t f = 0; f < SIZE(files) - !have_exithand; f++) {
		int go[SIZE(groups)][2], done[2];
		pid_t opener[SIZE(groups)];

		for (int i = 0; i < N; i++) {
			pid[i] = start(bystander, i);
			snprintf(number, sizeof(number), "%d", pid[i]);
			join("watched", number);
		}
		MUST(pipe2(done, O_CLOEXEC));
		for (size_t g = 1; g < SIZE(groups); g++) {
			MUST(pipe2(go[g], O_CLOEXEC));
			opener[g] = MUST(fork());
			if (opener[g])
				continue;
			join(groups[g], "0");
			/* The table of open files has its room before. */
			MUST(fcntl(0, F_DUPFD, 4 * N));
			MUST(write(done[1], "x", 1));
			MUST(read(go[g][0], &c, 1));
			for (int i = 0; i < N; i++)
				open_file(files[f], pid[i]);
			MUST(write(done[1], "x", 1));
			for (;;)
				pause();
		}
		MUST(read(done[0], &c, 1));
		MUST(read(done[0], &c, 1));
		sleep(3);
		for (size_t g = 0; g < SIZE(groups); g++)
			before[g] = charged(groups[g]);
		for (size_t g = 1; g < SIZE(groups); g++) {
			MUST(write(go[g][1], "x", 1));
			MUST(read(done[0], &c, 1));
		}
		sleep(3);
		for (size_t g = 0; g < SIZE(groups); g++)
			report_one("charged", files[f], groups[g], "bytes per file",
				   (charged(groups[g]) - before[g]) / N);
		for (size_t g = 1; g < SIZE(groups); g++) {
			kill_all(&opener[g], 1);
			close(go[g][0]);
			close(go[g][1]);
		}
		close(done[0]);
		close(done[1]);
		kill_all(pid, N);
		rest();
	}
	for (size_t g = 0; g < SIZE(groups); g++) {
		snprintf(path, sizeof(path), CGROUPS "/%s", groups[g]);
		MUST(rmdir(path));
	}
	MUST(umount2(CGROUPS, MNT_DETACH));
}

/* -- the memory cgroup -- */

/*
 * Processes of a cgroup have taken twice the memory that they may have; the
 * example of the documentation kills as many as it takes.
 */
static void case_killer(const char *killer)
{
	static const struct { const char *way, *option, *value; } ways[] = {
		{ "does not wait", "-n", NULL },
		{ "looks every 1 ms", "-p", "1" },
		{ "looks every 10 ms", "-p", "10" },
		{ "looks every 100 ms", "-p", "100" },
		{ "waits by exithand", NULL, NULL },
	};
	enum { HOGS = 16, MIB = 4 };
	static struct sample killed, time, cpu;
	int rounds = quick ? 2 : 5;

	mount_cgroups();
	MUST(mkdir(GROUP, 0755));
	set_priority(0);

	for (size_t w = 0; w < SIZE(ways) - !have_exithand; w++) {
		begin(&killed, "killer", "", ways[w].way, "killed", 0, 0);
		begin(&time, "killer", "", ways[w].way, "time", 0, 0);
		begin(&cpu, "killer", "", ways[w].way, "cpu", 0, 0);
		for (int round = 0; round < rounds; round++) {
			pid_t hog[HOGS], pid;
			int ready[2], status, left;
			struct rusage usage;
			uint64_t before, after;
			char c;

			MUST(pipe2(ready, O_CLOEXEC));
			for (int i = 0; i < HOGS; i++) {
				hog[i] = MUST(fork());
				if (!hog[i]) {
					char *memory;

					prctl(PR_SET_PDEATHSIG, SIGKILL);
					put(GROUP "/cgroup.procs", "0");
					memory = mmap(NULL, MIB << 20, PROT_READ | PROT_WRITE,
						      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
					memset(memory, 1, MIB << 20);
					MUST(write(ready[1], "x", 1));
					for (;;)
						pause();
				}
			}
			for (int i = 0; i < HOGS; i++)
				MUST(read(ready[0], &c, 1));
			rest();

			before = now();
			pid = MUST(vfork());
			if (!pid) {
				/* Half of them, and a little more for the page tables. */
				char goal[32] = "36700160";
				int null = open("/dev/null", O_WRONLY);

				dup2(null, 1);
				if (!ways[w].option)
					execl(killer, killer, GROUP, goal, NULL);
				else if (!ways[w].value)
					execl(killer, killer, ways[w].option, GROUP, goal, NULL);
				else
					execl(killer, killer, ways[w].option, ways[w].value,
					      GROUP, goal, NULL);
				_exit(127);
			}
			MUST(wait4(pid, &status, 0, &usage));
			after = now();
			/* With nobody left to be killed it ends with 1. */
			if (!WIFEXITED(status) || WEXITSTATUS(status) > 1)
				errx(1, "%s: status %#x", killer, status);
			rest();
			left = 0;
			for (int i = 0; i < HOGS; i++)
				if (!waitpid(hog[i], NULL, WNOHANG))
					left++;
				else
					hog[i] = 0;
			for (int i = 0; i < HOGS; i++)
				if (hog[i])
					kill_all(&hog[i], 1);
			close(ready[0]);
			close(ready[1]);
			rest();
			add(&killed, HOGS - left);
			add(&time, after - before);
			add(&cpu, (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e9 +
				  (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e3);
		}
		report(&killed);
		report(&time);
		report(&cpu);
	}
	set_priority(PRIORITY);
	rmdir(GROUP);
	umount2(CGROUPS, MNT_DETACH);
}

int main(int argc, char **argv)
{
	/* Those that fork come before those that make many threads. */
	static const char *const cases[] = {
		"instrument", "unwatched", "polling", "killer", "charged", "calls", "memory",
		"watched", "reader", "own", "burst", "other",
	};
	struct rlimit limit = { 32768, 32768 };
	struct sigaction action = { .sa_handler = call_off };
	pthread_t thread;
	int repetitions;
	bool be_quick;

	if (argc > 1 && !strcmp(argv[1], "--exit"))
		return 0;
	if (argc < 4)
		errx(1, "usage: bench REPETITIONS quick|full KILLER [CASE...]");
	repetitions = atoi(argv[1]);
	be_quick = !strcmp(argv[2], "quick");
	wall = getenv("BENCH_WALL");
	have_exithand = !access("/proc/self/exithand", F_OK);

	MUST(setrlimit(RLIMIT_NOFILE, &limit));
	MUST(sigaction(SIGUSR1, &action, NULL));
	put("/proc/sys/kernel/sched_rt_runtime_us", "-1");
	put("/proc/sys/kernel/pid_max", "100000");
	put("/proc/sys/kernel/threads-max", "100000");
	MUST(pipe2(release_pipe, O_CLOEXEC));
	sem_init(&settle_go, 0, 0);
	sem_init(&settle_done, 0, 0);
	new_thread(&thread, settle_thread, NULL);
	set_priority(PRIORITY);
	next_pid(NEIGHBOUR);
	start(bystander, MANY - 1);

	for (size_t c = 0; c < SIZE(cases); c++) {
		bool wanted = argc == 4;

		for (int i = 4; i < argc; i++)
			wanted |= !strcmp(argv[i], cases[c]);
		if (!wanted)
			continue;
		fprintf(stderr, "   %s\n", cases[c]);
		if (!strcmp(cases[c], "other")) {
			quick = be_quick;
			case_other(repetitions);
			fflush(stdout);
			continue;
		}
		/* The first one fills the caches, and is not told. */
		for (repetition = -1; repetition < repetitions; repetition++) {
			quick = repetition < 0 || be_quick;
			rest();
			switch (c) {
			case 0: case_instrument(); break;
			case 1: case_unwatched(argv[0]); break;
			case 2: case_polling(); break;
			case 3: case_killer(argv[3]); break;
			case 4: case_charged(); break;
			case 5: case_calls(); break;
			case 6: case_memory(); break;
			case 7: case_watched(); break;
			case 8: case_reader(); break;
			case 9: case_own(); break;
			case 10: case_burst(); break;
			}
		}
		fflush(stdout);
	}
	return 0;
}
