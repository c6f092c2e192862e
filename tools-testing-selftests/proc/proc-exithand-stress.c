// SPDX-License-Identifier: GPL-2.0
/*
 * /proc/<pid>/exithand under stress: many processes die at once, in many ways, while threads
 * wait for them in many ways.  Settings, from the environment:
 *   N		the number of exits; without it, as many as there is time for
 *   SECONDS	the time limit; DEFAULT_SECONDS if there is no N either
 *   SEED	the seed of all choices; the default changes from run to run, and is printed
 *   ROUND	the first round, to reproduce a failure sooner
 *
 * The test runs one lane more than there are CPUs.  A lane is a process with WAITERS threads, and
 * its child, the driver.  In a round, the driver starts TARGETS processes, and the waiters open
 * some of the files.  The driver and most targets share the memory of their lane, so that they
 * start and end fast.  Then, in random order, the driver ends the targets and starts the waits.
 * The waiters open the other files just before they wait.  Last, the driver reaps the targets, and
 * the waiters check the files again.  The choices of a round follow from SEED and the round.
 *
 * - No wait may return early.  A target sets its dying flag just before the system call that ends
 *   it; the driver sets it before it kills.  When a wait returns, the flag must be set, and a
 *   pidfd must be ready, too, because the kernel wakes the pollers of pidfds first.
 * - Every wait must return.  If no waiter returns for BOUND_MS, the others have missed an exit.
 * - Before the exit, after it, and after the reaping, the events of poll(), the result of read()
 *   and fdinfo must be exact.  The status in fdinfo must be the one that wait() returns.
 *
 * Leaks are not checked here.  kmemleak finds them, on a kernel that has it.
 */
#define _GNU_SOURCE
#include <limits.h>
#include <semaphore.h>
#include <sys/mman.h>

#include "proc-exithand.h"

#define DEFAULT_SECONDS	20
#define TARGETS		16
#define WAITERS		TARGETS	/* each waiter begins with another target */
#define WATCHES		4	/* files of a waiter, at most */
#define LANES_MAX	8
#define ROUNDS_MIN	24	/* whatever the time limit, so that each row comes up */
#define COMPLAINTS	24	/* printed, at most */
#define STACK		(16 << 10)	/* of a target */
#define NONE		INT_MIN	/* a line of fdinfo, or a status, that is not there */
#define DIE_ARG		"--die"	/* the first argument of this program when a target execs it */

/* The rows of the table of counts.  Each row is a test. */
enum row {
	DEATH_EXITS,
	DEATH_KILLED,
	DEATH_GROUP_EXIT,	/* exit_group() by another thread */
	DEATH_LEADER_FIRST,	/* the leader exits, later the last thread */
	DEATH_ORPHAN,		/* its first parent exits before it */
	DEATH_VFORK,		/* its first parent exits right after it */
	DEATH_TRACED,		/* by another process than its parent */
	DEATH_IGNORED,		/* its parent ignores SIGCHLD */
	DEATH_AUTOREAP,		/* CLONE_AUTOREAP */
	DEATH_EXEC,		/* exec by another thread, then exit */
	WAY_READ,
	WAY_POLL,
	WAY_SELECT,
	WAY_EPOLL,
	WAY_EDGE,
	WAY_ONESHOT,
	WAY_EXCLUSIVE,
	WAY_URING_POLL,
	WAY_URING_READ,
	FILE_LATE,		/* opened just before the wait, perhaps after the exit */
	FILE_EARLY,		/* opened before the exit */
	FILE_CLOSED,		/* the same, and perhaps closed before the exit */
	FILE_PASSED,		/* opened by the target, for all waiters that want it */
	ROWS
};

#define WAYS	(FILE_LATE - WAY_READ)
#define FILES	(ROWS - FILE_LATE)

struct slot {			/* a target */
	sem_t go;
	__u32 dying;
	pid_t pid, parent;	/* until it starts, pid is its first parent's */
	int death, code;
	int status, waited;	/* expected; from wait(), or NONE */
	bool kill, variant, opens, forked;
	int fd;			/* FILE_PASSED, in the target */
};

struct watch {
	struct slot *slot;
	int file, fd, pidfd;
	bool done;
};

struct waiter {
	sem_t go;
	int way, nr;
	struct watch watch[WATCHES];
	int epoll;
	struct ring ring;
};

struct lane {
	__u32 round;
	bool ignore;		/* the driver ignores SIGCHLD in this round */
	sem_t done;		/* for the driver, by waiters and targets */
	int blank;		/* a file on which waits fail with EBADF */
	struct waiter waiter[WAITERS];
	struct slot slot[TARGETS];
};

/* Memory that all processes of this test share. */
static struct shared {
	__u64 start, until;	/* ns */
	__u32 seed, next, least, end;	/* rounds, but for seed */
	__u32 exits, complaints;
	bool stop;
	int fd;			/* of this memory; survives exec */
	const char *missing[ROWS];	/* why a row is skipped */
	__u32 count[ROWS + 1], wrong[ROWS + 1];
	struct lane lane[LANES_MAX];
} *shared;

static struct lane *lane;	/* of this process */
static unsigned int choice;	/* state of rand_r() */
static char stacks[1 + TARGETS][2][STACK];	/* first, the stack of the driver */
static struct __test_metadata no_metadata;

#define load(p)		__atomic_load_n(p, __ATOMIC_ACQUIRE)
#define store(p, v)	__atomic_store_n(p, v, __ATOMIC_RELEASE)
#define add(p, v)	__atomic_add_fetch(p, v, __ATOMIC_ACQ_REL)

#define for_each_slot(s)	for (s = lane->slot; s < lane->slot + TARGETS; s++)
#define for_each_waiter(w)	for (w = lane->waiter; w < lane->waiter + WAITERS; w++)
#define for_each_watch(v, w)	for (v = (w)->watch; v < (w)->watch + (w)->nr; v++)

/*
 * The ways to wait.  Each of these functions waits for one of the files that are left, and
 * returns it and the answer: the result of read(), or the events.  If it fails, it returns NULL.
 */
static struct watch *watch_left(struct waiter *w)
{
	struct watch *v;

	for_each_watch(v, w)
		if (!v->done)
			return v;
	return NULL;
}

static struct watch *wait_read(struct waiter *w, long *answer)
{
	struct watch *v = watch_left(w);
	char buf[16];

	*answer = read(v->fd, buf, sizeof(buf));
	return *answer < 0 ? NULL : v;
}

static struct watch *wait_poll(struct waiter *w, long *answer)
{
	struct pollfd pfd[WATCHES];
	int i;

	for (i = 0; i < w->nr; i++) {
		pfd[i].fd = w->watch[i].done ? -1 : w->watch[i].fd;
		pfd[i].events = POLL_ALL;
	}
	if (poll(pfd, w->nr, -1) <= 0)
		return NULL;
	for (i = 0; !pfd[i].revents; i++)
		;
	*answer = pfd[i].revents;
	return &w->watch[i];
}

static struct watch *wait_select(struct waiter *w, long *answer)
{
	struct watch *v;
	fd_set set;

	FD_ZERO(&set);
	for_each_watch(v, w)
		if (!v->done)
			FD_SET(v->fd, &set);
	if (select(FD_SETSIZE, &set, NULL, NULL, NULL) <= 0)
		return NULL;
	for (v = w->watch; !FD_ISSET(v->fd, &set); v++)
		;
	*answer = POLLIN;
	return v;
}

static struct watch *wait_epoll(struct waiter *w, long *answer)
{
	struct epoll_event ev;
	struct watch *v;

	if (epoll_wait(w->epoll, &ev, 1, -1) != 1)
		return NULL;
	if (ev.data.u64 >> 32 != lane->round) {
		errno = ESTALE;		/* a file of an earlier round, closed since */
		return NULL;
	}
	v = &w->watch[(__u32)ev.data.u64];
	epoll_ctl(w->epoll, EPOLL_CTL_DEL, v->fd, NULL);
	*answer = ev.events;
	return v;
}

static struct watch *wait_uring(struct waiter *w, long *answer)
{
	struct io_uring_cqe cqe;

	while (!ring_get(&w->ring, &cqe))
		if (ring_enter(&w->ring, false, 1) < 0)
			return NULL;
	*answer = cqe.res;
	return &w->watch[cqe.user_data];
}

static const struct {
	const char *name;
	struct watch *(*wait)(struct waiter *w, long *answer);
	long right;		/* answer */
	__u32 epoll;		/* events */
} rows[ROWS + 1] = {
	[DEATH_EXITS] = { "death.exits" },
	[DEATH_KILLED] = { "death.killed" },
	[DEATH_GROUP_EXIT] = { "death.exit_group_by_a_thread" },
	[DEATH_LEADER_FIRST] = { "death.leader_first" },
	[DEATH_ORPHAN] = { "death.orphan" },
	[DEATH_VFORK] = { "death.vfork_child" },
	[DEATH_TRACED] = { "death.traced" },
	[DEATH_IGNORED] = { "death.sigchld_ignored" },
	[DEATH_AUTOREAP] = { "death.autoreaped" },
	[DEATH_EXEC] = { "death.exec_by_a_thread" },
	[WAY_READ] = { "way.read", wait_read, 0 },
	[WAY_POLL] = { "way.poll", wait_poll, POLL_EXITED },
	[WAY_SELECT] = { "way.select", wait_select, POLLIN },
	[WAY_EPOLL] = { "way.epoll", wait_epoll, POLL_EXITED, POLL_ALL },
	[WAY_EDGE] = { "way.epoll_edge", wait_epoll, POLL_EXITED, POLL_ALL | EPOLLET },
	[WAY_ONESHOT] = { "way.epoll_oneshot", wait_epoll, POLL_EXITED, POLL_ALL | EPOLLONESHOT },
	[WAY_EXCLUSIVE] = { "way.epoll_exclusive", wait_epoll, POLLIN, POLLIN | EPOLLEXCLUSIVE },
	[WAY_URING_POLL] = { "way.io_uring_poll", wait_uring, POLL_EXITED },
	[WAY_URING_READ] = { "way.io_uring_read", wait_uring, 0 },
	[FILE_LATE] = { "file.opened_late" },
	[FILE_EARLY] = { "file.opened_early" },
	[FILE_CLOSED] = { "file.closed_meanwhile" },
	[FILE_PASSED] = { "file.passed_by_the_target" },
	[ROWS] = { "-" },
};

/* @s may be NULL, @way and @file may be ROWS. */
static __printf(4, 5) void complain(const struct slot *s, int way, int file, const char *fmt, ...)
{
	int death = s ? s->death : ROWS;
	char text[160];
	va_list ap;

	store(&shared->stop, true);
	add(&shared->wrong[death], 1);
	add(&shared->wrong[way], 1);
	add(&shared->wrong[file], 1);
	if (add(&shared->complaints, 1) > COMPLAINTS)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	/* One call, as other threads print, too. */
	printf("# round %u, process %d: %s%s, %s, %s: %s\n", lane ? lane->round : 0, s ? s->pid : 0,
	       rows[death].name, s && s->kill ? " (kill)" : "", rows[way].name, rows[file].name,
	       text);
}

/* Is it a zombie until the driver reaps it? */
static bool slot_is_kept(const struct slot *s)
{
	return !lane->ignore && s->death != DEATH_AUTOREAP;
}

static int fdinfo_line(const char *info, const char *key)
{
	const char *line = strstr(info, key);

	return line ? atoi(line + strlen(key)) : NONE;
}

/* Compares what a file says with what it must say.  @tgid is NONE if it may have been reaped. */
static void check_file(const struct slot *s, int fd, int way, int file, bool exited, int tgid)
{
	int events = poll_now(fd), ret = read_now(fd), flag, status, pid;
	char info[1024] = "";

	slurp(info, sizeof(info), "/proc/self/fdinfo/%d", fd);
	flag = fdinfo_line(info, "\nExited:");
	status = fdinfo_line(info, "\nExitStatus:");
	pid = fdinfo_line(info, "\nTgid:");
	if (events != (exited ? POLL_EXITED : 0) || ret != (exited ? 0 : -EAGAIN) ||
	    flag != exited || status != (exited ? s->status : NONE) ||
	    (tgid != NONE && pid != tgid))
		complain(s, way, file,
			 "%s exit: poll() %#x, read() %d, Exited %d, ExitStatus %#x, Tgid %d",
			 exited ? "after the" : "before the", events, ret, flag, status, pid);
}

/* A wait has returned. */
static void check_answer(const struct waiter *w, struct watch *v, long answer)
{
	struct slot *s = v->slot;
	bool dying = load(&s->dying);

	if (v->file == FILE_CLOSED && (answer == -EBADF || answer == POLLNVAL)) {
		/* Closed before the wait began. */
	} else if (answer != rows[w->way].right || !dying) {
		complain(s, w->way, v->file, "returned %ld (%#lx) %s the exit", answer, answer,
			 dying ? "after" : "before");
	} else {
		if (!(poll_now(v->pidfd) & POLLIN))
			complain(s, w->way, v->file, "returned before the pidfd was ready");
		if (v->file != FILE_CLOSED)
			check_file(s, v->fd, w->way, v->file, true, NONE);
		add(&shared->count[w->way], 1);
		add(&shared->count[v->file], 1);
	}
	store(&v->done, true);
}

/* Skips the row from now on if the call has failed with EPERM. */
static bool permitted(int row, long ret)
{
	if (ret < 0 && errno == EPERM)
		shared->missing[row] = "no permission";
	return !shared->missing[row];
}

static void watch_open(struct waiter *w, struct watch *v)
{
	struct slot *s = v->slot;

	v->pidfd = pidfd_of(s->pid);
	if (v == w->watch && s->death == DEATH_TRACED &&
	    !permitted(DEATH_TRACED, ptrace(PTRACE_SEIZE, s->pid, NULL, NULL)))
		s->death = DEATH_EXITS;
	if (v->file == FILE_LATE)
		return;
	if (v->file == FILE_PASSED) {
		v->fd = syscall(__NR_pidfd_getfd, v->pidfd, s->fd, 0);
		if (!permitted(FILE_PASSED, v->fd))
			v->file = FILE_EARLY;
	}
	if (v->file != FILE_PASSED)
		v->fd = exithand_open(s->pid, O_RDONLY);
	check_file(s, v->fd, w->way, v->file, false, s->pid);
}

/* Opens the file if it is not open yet, and registers it.  Returns 0 or -errno. */
static int watch_begin(struct waiter *w, struct watch *v)
{
	struct epoll_event ev = { .events = rows[w->way].epoll };
	struct io_uring_sqe *sqe;
	static char buf[16];

	/* An open may fail while another thread than the leader execs. */
	if (v->file == FILE_LATE)
		eventually((v->fd = exithand_open(v->slot->pid, O_RDONLY)) >= 0 ||
			   v->fd == -EINVAL || v->slot->death != DEATH_EXEC);
	if (v->fd < 0)
		return v->fd;
	if (ev.events) {
		ev.data.u64 = (__u64)lane->round << 32 | (v - w->watch);
		if (epoll_ctl(w->epoll, EPOLL_CTL_ADD, v->fd, &ev))
			return -errno;
		/* If it is closed before the exit, no event comes. */
		v->done = v->file == FILE_CLOSED;
	} else if (rows[w->way].wait == wait_uring) {
		sqe = w->way == WAY_URING_POLL ? ring_poll(&w->ring, v->fd, POLL_ALL) :
		      ring_read(&w->ring, v->fd, buf, sizeof(buf));
		sqe->user_data = v - w->watch;
		if (ring_enter(&w->ring, true, 0) != 1)
			return -errno;
	}
	return 0;
}

static void watch_close(struct waiter *w, struct watch *v)
{
	if (v->file != FILE_CLOSED)
		check_file(v->slot, v->fd, w->way, v->file, true,
			   slot_is_kept(v->slot) ? -1 : NONE);
	close(v->fd);
	close(v->pidfd);
}

/* The part of a waiter between the early opens and the reaping. */
static void waiter_wait(struct waiter *w)
{
	struct waiter *next = &lane->waiter[(w - lane->waiter + 1) % WAITERS];
	struct slot *s = w->watch->slot;
	struct watch *v;
	long answer;
	int status;

	for_each_watch(v, w) {
		answer = watch_begin(w, v);
		if (answer < 0)
			check_answer(w, v, answer);
	}
	while (watch_left(w)) {
		v = rows[w->way].wait(w, &answer);
		check_answer(w, v ?: watch_left(w), v ? answer : -errno);
	}
	if (s->death == DEATH_TRACED &&
	    (waitpid(s->pid, &status, __WALL) != s->pid || status != s->status))
		complain(s, ROWS, ROWS, "the tracer did not get the status");
	/* The descriptor stays in use, so no other file gets it. */
	for_each_watch(v, next)
		if (v->file == FILE_CLOSED)
			dup3(lane->blank, v->fd, O_CLOEXEC);
}

static void *waiter_main(void *arg)
{
	struct waiter *w = arg;
	struct watch *v;

	w->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (!shared->missing[WAY_URING_POLL])
		ring_open(&no_metadata, &w->ring);
	for (;;) {
		sem_wait(&w->go);
		for_each_watch(v, w)
			watch_open(w, v);
		sem_post(&lane->done);

		sem_wait(&w->go);
		waiter_wait(w);
		sem_post(&lane->done);

		sem_wait(&w->go);
		for_each_watch(v, w)
			watch_close(w, v);
		sem_post(&lane->done);
	}
	return NULL;
}

/* The targets. */

static void slot_die(struct slot *s)
{
	while (s->kill)
		pause();
	store(&s->dying, 1);
	syscall(s->variant ? __NR_exit_group : __NR_exit, s->code);
}

static int slot_thread(void *arg)
{
	struct slot *s = arg;
	char fd[12], offset[24];

	die_with_parent(s->parent);
	sem_wait(&s->go);
	if (s->death == DEATH_EXEC) {
		snprintf(fd, sizeof(fd), "%d", shared->fd);
		snprintf(offset, sizeof(offset), "%td", (char *)s - (char *)shared);
		execl("/proc/thread-self/exe", "exithand-target", DIE_ARG, fd, offset, NULL);
		_exit(125);
	}
	slot_die(s);
	return 0;
}

/* This program, when a target has called exec. */
static int slot_exec_main(char **argv)
{
	struct slot *s;

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, atoi(argv[2]), 0);
	if (shared == MAP_FAILED)
		return 124;
	s = (struct slot *)((char *)shared + atol(argv[3]));
	die_with_parent(s->parent);
	slot_die(s);
	return 123;
}

/* @fn runs on a stack of its own, in the memory of its parent. */
static pid_t slot_clone(struct slot *s, int (*fn)(void *), int stack, int flags)
{
	return clone(fn, stacks[1 + s - lane->slot][stack] + STACK, CLONE_VM | flags, s);
}

static int slot_main(void *arg)
{
	struct slot *s = arg;
	bool thread = s->death == DEATH_GROUP_EXIT || s->death == DEATH_LEADER_FIRST ||
		      s->death == DEATH_EXEC || (s->death == DEATH_KILLED && s->variant);

	while (s->death == DEATH_ORPHAN && getppid() == s->pid)
		relax();
	die_with_parent(s->parent);
	s->pid = getpid();
	if (s->opens)
		s->fd = exithand_open(s->pid, O_RDONLY);
	if (thread && slot_clone(s, slot_thread, 1, CLONE_SIGHAND | CLONE_THREAD) < 0)
		_exit(122);
	sem_post(&lane->done);
	if (s->death == DEATH_LEADER_FIRST || (s->death == DEATH_EXEC && s->variant))
		syscall(__NR_exit, s->code);
	while (thread)
		pause();
	sem_wait(&s->go);
	slot_die(s);
	return 121;
}

static int slot_parent_main(void *arg)
{
	struct slot *s = arg;

	s->pid = getpid();
	if (s->death == DEATH_VFORK) {
		die_with_parent(s->parent);
		s->parent = s->pid;
	}
	slot_clone(s, slot_main, 0, s->death == DEATH_VFORK ? CLONE_VFORK | SIGCHLD : SIGCHLD);
	return 0;
}

static void slot_start(struct slot *s)
{
	bool parent = s->death == DEATH_ORPHAN || s->death == DEATH_VFORK;
	int (*fn)(void *) = parent ? slot_parent_main : slot_main;
	struct clone_args args = { .flags = CLONE_AUTOREAP };
	pid_t pid;

	s->parent = getpid();
	if (s->death == DEATH_AUTOREAP)
		pid = sys_clone3(&args);
	else
		pid = s->forked ? fork() : slot_clone(s, fn, parent, SIGCHLD);
	if (pid < 0)
		complain(s, ROWS, ROWS, "cannot start a target: %s", strerror(errno));
	if (pid == 0)
		_exit(fn(s));
}

/* The driver. */

static unsigned int below(unsigned int n)
{
	return rand_r(&choice) % n;
}

static void plan_slot(struct slot *s)
{
	memset(s, 0, sizeof(*s));
	sem_init(&s->go, 1, 0);
	/* The first target is an expensive one. */
	s->death = s > lane->slot ? below(DEATH_ORPHAN) :
		   DEATH_ORPHAN + lane->round % (WAY_READ - DEATH_ORPHAN);
	s->forked = !below(64);
	if (shared->missing[s->death])
		s->death = DEATH_EXITS;
	if (lane->ignore && s->death == DEATH_EXITS)
		s->death = DEATH_IGNORED;
	s->kill = !below(5) || s->death == DEATH_KILLED;
	s->variant = below(2) || s->death == DEATH_GROUP_EXIT;
	s->code = below(256);
	s->status = s->kill ? SIGKILL : s->code << 8;
	s->waited = NONE;
}

static void plan_watch(const struct waiter *w, struct watch *v)
{
	int death = v->slot->death;

	v->file = FILE_LATE + below(FILES);
	v->fd = -1;
	v->done = false;
	/*
	 * Each target has a waiter that keeps its file open.  select() fails if one is closed.
	 * A leader that exits first cannot pass a file.
	 */
	if ((v->file == FILE_CLOSED && (v == w->watch || w->way == WAY_SELECT)) ||
	    (v->file == FILE_LATE && !slot_is_kept(v->slot)) ||
	    (v->file == FILE_PASSED && (death == DEATH_LEADER_FIRST || death == DEATH_EXEC)) ||
	    shared->missing[v->file])
		v->file = FILE_EARLY;
	if (v->file == FILE_PASSED)
		v->slot->opens = true;
}

static void plan_round(void)
{
	unsigned int step;
	struct waiter *w;
	struct watch *v;
	struct slot *s;

	choice = shared->seed + lane->round * 2654435761U;
	lane->ignore = !below(4);
	for_each_slot(s)
		plan_slot(s);
	for_each_waiter(w) {
		w->way = WAY_READ + below(WAYS);
		if (shared->missing[w->way])
			w->way = WAY_POLL;
		w->nr = 1 + below(WATCHES);
		step = 1 + 2 * below(TARGETS / 2);
		for_each_watch(v, w) {
			v->slot = &lane->slot[(w - lane->waiter + (v - w->watch) * step) % TARGETS];
			plan_watch(w, v);
		}
	}
}

static void slot_end(struct slot *s)
{
	if (!s->kill || s->death == DEATH_EXEC)
		sem_post(&s->go);
	if (s->kill) {
		store(&s->dying, 1);
		kill(s->pid, SIGKILL);
	}
}

/* Starts the waits and ends the targets.  In three rounds of four, the waits come first. */
static void act_all(void)
{
	unsigned int order[WAITERS + TARGETS], nr, first, i, k;

	for (nr = 0; nr < ARRAY_SIZE(order); nr++)
		order[nr] = nr;
	first = below(4) ? WAITERS : 0;
	for (i = 0; i < nr; i++) {
		k = i < first ? i : i + below(nr - i);
		if (order[k] < WAITERS)
			sem_post(&lane->waiter[order[k]].go);
		else
			slot_end(&lane->slot[order[k] - WAITERS]);
		order[k] = order[i];
		if (!below(8))
			usleep(below(300));
	}
}

/* Waits until @nr of the others are done, BOUND_MS for each. */
static bool await_done(int nr)
{
	struct timespec end;

	while (nr--) {
		clock_gettime(CLOCK_MONOTONIC, &end);
		end.tv_sec += BOUND_MS / 1000;
		if (sem_clockwait(&lane->done, CLOCK_MONOTONIC, &end))
			return false;
	}
	return true;
}

static bool waiters_go(void)
{
	struct waiter *w;

	for_each_waiter(w)
		sem_post(&w->go);
	return await_done(WAITERS);
}

static void reap(void)
{
	struct slot *s;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, __WALL)) > 0)
		for_each_slot(s)
			if (s->pid == pid)
				s->waited = status;
	for_each_slot(s) {
		if (s->waited != (slot_is_kept(s) ? s->status : NONE))
			complain(s, ROWS, ROWS, "wait status %#x, not %#x", s->waited, s->status);
		add(&shared->count[s->death], 1);
	}
	add(&shared->exits, TARGETS);
}

static void round_run(void)
{
	struct waiter *w;
	struct watch *v;
	struct slot *s;

	plan_round();
	signal(SIGCHLD, lane->ignore ? SIG_IGN : SIG_DFL);
	for_each_slot(s)
		slot_start(s);
	if (!await_done(TARGETS) || !waiters_go()) {
		complain(NULL, ROWS, ROWS, "the targets do not start, or an open does not return");
		return;
	}
	act_all();
	if (await_done(WAITERS)) {
		reap();
		if (!waiters_go())
			complain(NULL, ROWS, ROWS, "a close does not return");
		return;
	}
	for_each_waiter(w)
		for_each_watch(v, w)
			if (!load(&v->done))
				complain(v->slot, w->way, v->file, "has not returned");
}

static void show_rate(void)
{
	__u64 ms = (now_ns() - shared->start) / 1000000;

	ksft_print_msg("%u exits watched in %llu s, %llu per second\n", shared->exits, ms / 1000,
		       shared->exits * 1000ULL / (ms ?: 1));
}

static int driver_main(void *arg)
{
	die_with_parent(*(pid_t *)arg);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	for (;;) {
		lane->round = add(&shared->next, 1) - 1;
		if (load(&shared->stop) || lane->round >= shared->end ||
		    (lane->round >= shared->least && now_ns() > shared->until))
			break;
		round_run();
		if (lane->round % 1024 == 1023)
			show_rate();
	}
	return 0;
}

static void lane_main(void)
{
	pid_t me = getpid();
	pthread_t unused;
	struct waiter *w;
	int status = 1;

	sem_init(&lane->done, 1, 0);
	lane->blank = open("/", O_PATH | O_CLOEXEC);
	for_each_waiter(w) {
		sem_init(&w->go, 1, 0);
		if (pthread_create(&unused, NULL, waiter_main, w))
			_exit(1);
	}
	/* A process of its own, so that its children are not those of the waiters. */
	waitpid(clone(driver_main, stacks[0][0] + sizeof(stacks[0]), CLONE_VM | SIGCHLD, &me),
		&status, 0);
	_exit(status != 0);
}

static __u64 setting(const char *name, __u64 otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

int main(int argc, char **argv)
{
	long lanes = sysconf(_SC_NPROCESSORS_ONLN) + 1;
	__u64 n, seconds;
	int i, fd, status;
	pid_t me = getpid();

	if (argc == 4 && !strcmp(argv[1], DIE_ARG))
		return slot_exec_main(argv);

	ksft_print_header();
	if (!exithand_supported())
		ksft_exit_skip("no /proc/<pid>/exithand\n");
	ksft_set_plan(1 + ROWS);

	fd = memfd_create("exithand-stress", 0);
	if (fd < 0 || ftruncate(fd, sizeof(*shared)))
		ksft_exit_fail_perror("memfd_create");
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (shared == MAP_FAILED)
		ksft_exit_fail_perror("mmap");
	shared->fd = fd;
	shared->seed = setting("SEED", (__u32)now_ns());
	shared->next = setting("ROUND", 0);
	shared->least = shared->next + ROUNDS_MIN;
	n = setting("N", 0);
	seconds = setting("SECONDS", n ? 0 : DEFAULT_SECONDS);
	shared->start = now_ns();
	shared->until = seconds ? shared->start + seconds * 1000000000ULL : ULLONG_MAX;
	shared->end = shared->least + (n ? n / TARGETS : INT_MAX);
	shared->missing[WAY_URING_POLL] = ring_usable() ? NULL : "no io_uring";
	shared->missing[WAY_URING_READ] = shared->missing[WAY_URING_POLL];
	ksft_print_msg("seed %u, from round %u on, %ld lanes\n", shared->seed, shared->next, lanes);
	for (i = 0; i < lanes && i < LANES_MAX; i++) {
		if (fork() == 0) {
			die_with_parent(me);
			lane = &shared->lane[i];
			lane_main();
		}
	}
	while (wait(&status) > 0)
		if (status)
			complain(NULL, ROWS, ROWS, "a lane ended with status %#x", status);
	show_rate();
	ksft_test_result(shared->exits >= n && !shared->complaints, "all.exits_watched\n");
	for (i = 0; i < ROWS; i++) {
		if (shared->missing[i] && !shared->wrong[i]) {
			ksft_test_result_code(KSFT_SKIP, rows[i].name, "%s", shared->missing[i]);
			continue;
		}
		ksft_print_msg("%s: %u times, %u wrong\n", rows[i].name, shared->count[i],
			       shared->wrong[i]);
		ksft_test_result(shared->count[i] && !shared->wrong[i], "%s\n", rows[i].name);
	}
	ksft_finished();
}
