/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Shared by the tests of /proc/<pid>/exithand: a process to watch, threads that
 * wait for its exit, and ways to see what a task does without a fixed sleep.
 */
#ifndef __PROC_EXITHAND_H
#define __PROC_EXITHAND_H

#include <errno.h>
#include <fcntl.h>
#include <linux/posix_types.h>
#include <linux/stddef.h>
#include <linux/io_uring.h>
#include <linux/sched.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "../../include/io_uring/mini_liburing.h"

/*
 * If something that must happen takes longer than this, the test has failed.
 * It takes much less time when it happens, even on an emulated machine.
 */
#define BOUND_MS 10000

/* All events that poll() knows. It never reports one that was not requested. */
#define POLL_ALL (POLLIN | POLLPRI | POLLOUT | POLLRDNORM | POLLRDBAND | \
		  POLLWRNORM | POLLWRBAND | POLLRDHUP | POLLHUP | POLLERR)

/* The only events that an exithand file reports. */
#define POLL_EXITED (POLLIN | POLLRDNORM)

static inline __u64 now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/* The pause between two looks at something that is about to happen. */
static inline void relax(void)
{
	const struct timespec ts = { .tv_nsec = 200000 };

	nanosleep(&ts, NULL);
}

/* Evaluates @cond until it is true, for at most BOUND_MS. Returns the last value. */
#define eventually(cond) ({						\
	__u64 __end = now_ns() + BOUND_MS * 1000000ULL;		\
	bool __ok;							\
									\
	while (!(__ok = (cond)) && now_ns() < __end)			\
		relax();						\
	__ok;								\
})

static inline int pidfd_of(pid_t pid)
{
	return syscall(__NR_pidfd_open, pid, 0);
}

/* Opens the exithand file of @pid. Returns -errno on failure. */
static inline int exithand_open(pid_t pid, int flags)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/exithand", pid);
	fd = open(path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static inline bool exithand_supported(void)
{
	return access("/proc/self/exithand", F_OK) == 0;
}

/* Skips the test if the kernel does not have the file. */
static inline bool exithand_needed(struct __test_metadata *_metadata)
{
	if (!exithand_supported())
		SKIP(return false, "no /proc/<pid>/exithand");
	return true;
}

/* Returns the events that poll() reports within @ms, or -errno. */
static inline int poll_for(int fd, int ms)
{
	struct pollfd pfd = { .fd = fd, .events = POLL_ALL };
	int ret = poll(&pfd, 1, ms);

	return ret < 0 ? -errno : pfd.revents;
}

#define poll_now(fd)		poll_for(fd, 0)
#define poll_bounded(fd)	poll_for(fd, BOUND_MS)

/* A read that never blocks, whatever the flags of the file. -errno on failure. */
static inline int read_now(int fd)
{
	char buf[16];
	struct iovec iov = { .iov_base = buf, .iov_len = sizeof(buf) };
	ssize_t ret = preadv2(fd, &iov, 1, -1, RWF_NOWAIT);

	return ret < 0 ? -errno : ret;
}

/* Waits for something to read or to accept. */
static inline bool readable(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	return poll(&pfd, 1, BOUND_MS) == 1;
}

static inline bool get_obj(int fd, void *obj, size_t size)
{
	return readable(fd) && read(fd, obj, size) == (ssize_t)size;
}

/* Takes one byte from a pipe. Returns -1 if none comes. */
static inline int get_byte(int fd)
{
	unsigned char c;

	return get_obj(fd, &c, 1) ? c : -1;
}

static inline bool put_byte(int fd, char c)
{
	return write(fd, &c, 1) == 1;
}

static inline bool put_file(const char *path, const char *what)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok;

	if (fd < 0)
		return false;
	ok = write(fd, what, strlen(what)) > 0;
	close(fd);
	return ok;
}

/* Reads a whole small file below /proc. Returns its length, or -1. */
static inline ssize_t slurp(char *buf, size_t size, const char *fmt, ...)
{
	char path[96];
	va_list ap;
	ssize_t len;
	int fd;

	va_start(ap, fmt);
	vsnprintf(path, sizeof(path), fmt, ap);
	va_end(ap);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	len = read(fd, buf, size - 1);
	close(fd);
	if (len >= 0)
		buf[len] = '\0';
	return len;
}

/* Returns the state letter of a task, or 0 if the task is gone. */
static inline char task_state(pid_t pid, pid_t tid)
{
	char buf[512], *p;

	if (slurp(buf, sizeof(buf), "/proc/%d/task/%d/stat", pid, tid) <= 0)
		return 0;
	p = strrchr(buf, ')');
	return p && p[1] == ' ' ? p[2] : 0;
}

#define leader_state(pid) task_state(pid, pid)

/*
 * Is the task in this state, and off its CPU? The state letter alone changes
 * earlier. "syscall" shows "running" until the task has been switched out.
 */
static inline bool task_rests(pid_t pid, pid_t tid, char state)
{
	char buf[256];
	ssize_t len;

	if (task_state(pid, tid) != state)
		return false;
	len = slurp(buf, sizeof(buf), "/proc/%d/task/%d/syscall", pid, tid);
	if (len < 0 && errno == ENOENT)		/* not on every architecture */
		return task_state(pid, tid) == state;
	return len > 0 && strncmp(buf, "running", 7);
}

/* Is the task asleep, so that a signal would wake it? */
#define task_blocked(pid, tid) task_rests(pid, tid, 'S')

/*
 * /proc shows an exit a moment before the kernel has finished reporting it,
 * which it does under tasklist_lock. wait() takes that lock, too.
 */
static inline void exits_settle(void)
{
	siginfo_t si;

	waitid(P_ALL, 0, &si, WEXITED | WNOHANG | WNOWAIT);
}

/* Returns the number that follows @key, or -1. */
static inline long number_after(const char *buf, const char *key)
{
	const char *p = strstr(buf, key);

	return p ? atol(p + strlen(key)) : -1;
}

/* Returns how often the task has gone to sleep, or -1. */
static inline long task_sleeps(pid_t pid, pid_t tid)
{
	char buf[4096];

	if (slurp(buf, sizeof(buf), "/proc/%d/task/%d/status", pid, tid) <= 0)
		return -1;
	return number_after(buf, "\nvoluntary_ctxt_switches:");
}

/* A child calls this so that it does not outlive the test. */
static inline void die_with_parent(pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(126);
}

/*
 * Calls @undo(@arg) when the test process has exited, even if it was killed.
 * A process in a new session does it: the harness kills a process group.
 */
static inline void undo_later(struct __test_metadata *_metadata, void (*undo)(void *arg), void *arg)
{
	struct pollfd pfd = { .fd = pidfd_of(getpid()), .events = POLLIN };
	pid_t pid;

	ASSERT_LE(0, pfd.fd);
	pid = fork();
	ASSERT_LE(0, pid);
	if (pid == 0) {
		setsid();
		poll(&pfd, 1, -1);
		undo(arg);
		_exit(0);
	}
	close(pfd.fd);
	ASSERT_TRUE(eventually(getsid(pid) == pid));
}

/*
 * The watched process, or target.
 *
 * It is a child of a keeper, which is a child of the test. Both obey letters
 * from a pipe, and answer each when it has been done.
 */
struct target {
	pid_t pid;
	pid_t keeper;
	int in, out;		/* to and from the target */
	int kin, kout;		/* to and from the keeper */
};

/* Letters for the target. */
#define DO_EXIT		'e'	/* exit_group(TARGET_CODE) */
#define DO_EXEC		'x'	/* exec by the thread that obeys */
#define DO_EXEC_THREAD	'X'	/* exec by another thread */

#define TARGET_CODE	7

/* Letters for the keeper. */
#define KEEPER_REAP	'r'	/* wait for the target, answer with the status */
#define KEEPER_QUIT	'q'	/* exit without waiting for it */

/* The first argument of this program when the target execs it. */
#define OBEY_ARG	"--obey"

struct obey {
	int in, out;
	char first;		/* a letter to answer at the start, or 0 */
};

static inline pid_t sys_gettid(void)
{
	return syscall(__NR_gettid);
}

static inline void obey_exec(const struct obey *o, char letter)
{
	char first[2] = { letter };
	char in[16], out[16];

	snprintf(in, sizeof(in), "%d", o->in);
	snprintf(out, sizeof(out), "%d", o->out);
	/* The leader of "self" may be gone, and then it has no exe. */
	execl("/proc/thread-self/exe", "exithand-target", OBEY_ARG, in, out, first, NULL);
	_exit(125);
}

static inline void *thread_pause(void *arg)
{
	for (;;)
		pause();
	return arg;
}

static inline void *thread_exec(void *arg)
{
	obey_exec(arg, DO_EXEC_THREAD);
	return NULL;
}

/* Does what the letters say. Exits at the end of file. */
static inline void obey(struct obey *o)
{
	pthread_t thread;
	char c;

	if (o->first && !put_byte(o->out, o->first))
		_exit(124);
	o->first = 0;

	while (read(o->in, &c, 1) == 1) {
		switch (c) {
		case DO_EXIT:
			_exit(TARGET_CODE);
		case DO_EXEC:
			obey_exec(o, c);
			break;
		case DO_EXEC_THREAD:
			pthread_create(&thread, NULL, thread_exec, o);
			thread_pause(NULL);
			break;
		}
		if (!put_byte(o->out, c))
			_exit(124);
	}
	_exit(123);
}

/* main() of a target that has called exec. */
static inline int obey_main(int argc, char **argv)
{
	struct obey o = { atoi(argv[2]), atoi(argv[3]), argv[4][0] };

	obey(&o);
	return 0;
}

/* How the keeper makes the target, and what it does about SIGCHLD. */
enum spawn {
	SPAWN_FORK,
	SPAWN_VFORK,		/* the keeper obeys only after exec or exit */
	SPAWN_SHARED_VM,	/* CLONE_VM without CLONE_THREAD */
	SPAWN_AUTOREAP,		/* CLONE_AUTOREAP */
	SPAWN_ORPHAN,		/* the parent exits, the keeper inherits the target */
	SPAWN_IGNORED,		/* the keeper ignores SIGCHLD */
	SPAWN_NOCLDWAIT,	/* the keeper has SA_NOCLDWAIT */
	SPAWN_PIDNS,		/* the target is init of a PID namespace of its own */
};

/* Older headers do not have this. */
#ifndef CLONE_AUTOREAP
#define CLONE_AUTOREAP 0x400000000ULL
#endif

static inline pid_t sys_clone3(struct clone_args *args)
{
	return syscall(__NR_clone3, args, sizeof(*args));
}

enum { PIPE_IN, PIPE_OUT, PIPE_KIN, PIPE_KOUT, PIPES };

struct spawn_pipes {
	int fd[PIPES][2];	/* the target and the keeper have fd[i][i % 2] */
	pid_t parent;		/* of the target, as it sees it */
};

static inline int target_main(void *arg)
{
	struct spawn_pipes *p = arg;
	struct obey o = { .in = p->fd[PIPE_IN][0], .out = p->fd[PIPE_OUT][1] };
	char self[16] = "";
	pid_t pid;

	die_with_parent(p->parent);
	/* The PID in the namespace of the test, whose procfs this is. */
	pid = readlink("/proc/self", self, sizeof(self) - 1) > 0 ? atoi(self) : -errno;
	if (write(p->fd[PIPE_KOUT][1], &pid, sizeof(pid)) < 0)
		_exit(121);
	obey(&o);
	return 0;
}

/* The target itself sends its PID. Returns -1 if there is no target. */
static inline pid_t keeper_spawn(enum spawn how, struct spawn_pipes *p)
{
	struct sigaction sa = { .sa_handler = SIG_DFL, .sa_flags = SA_NOCLDWAIT };
	struct clone_args args = { .flags = CLONE_AUTOREAP };
	static char stack[64 << 10] __attribute__((aligned(16)));
	pid_t pid;

	p->parent = getpid();
	switch (how) {
	case SPAWN_SHARED_VM:
		return clone(target_main, stack + sizeof(stack), CLONE_VM | SIGCHLD, p);
	case SPAWN_VFORK:
		pid = vfork();
		break;
	case SPAWN_AUTOREAP:
		pid = sys_clone3(&args);
		break;
	case SPAWN_ORPHAN:
		prctl(PR_SET_CHILD_SUBREAPER, 1);
		pid = fork();
		if (pid)
			return waitpid(pid, NULL, 0);
		pid = getpid();
		if (fork())
			_exit(0);
		/* Set no death signal before that parent is gone. */
		while (getppid() == pid)
			relax();
		pid = 0;
		break;
	case SPAWN_PIDNS:
		p->parent = 0;
		pid = unshare(CLONE_NEWPID) ? -1 : fork();
		break;
	case SPAWN_IGNORED:
		signal(SIGCHLD, SIG_IGN);
		pid = fork();
		break;
	case SPAWN_NOCLDWAIT:
		sigaction(SIGCHLD, &sa, NULL);
		pid = fork();
		break;
	default:
		pid = fork();
	}
	if (pid == 0)
		target_main(p);
	return pid;
}

static inline void keeper_main(enum spawn how, struct spawn_pipes *p)
{
	int status;
	char c;

	if (keeper_spawn(how, p) < 0) {
		status = -errno;
		_exit(write(p->fd[PIPE_KOUT][1], &status, sizeof(status)) < 0);
	}
	/* Only the target and the test hold the ends of their pipes. */
	close(p->fd[PIPE_IN][0]);
	close(p->fd[PIPE_OUT][1]);

	while (read(p->fd[PIPE_KIN][0], &c, 1) == 1 && c != KEEPER_QUIT) {
		/* It has no other child. */
		if (waitpid(-1, &status, 0) < 0)
			status = -errno;
		if (write(p->fd[PIPE_KOUT][1], &status, sizeof(status)) < 0)
			break;
	}
	_exit(0);
}

/* Starts a target. If the keeper cannot, returns false, and the PID is -errno. */
static inline bool target_try(struct __test_metadata *_metadata, struct target *t, enum spawn how)
{
	struct spawn_pipes p;
	pid_t me = getpid();
	int i;

	/* The target needs the first two after an exec. */
	for (i = 0; i < PIPES; i++)
		ASSERT_EQ(0, pipe2(p.fd[i], i < PIPE_KIN ? 0 : O_CLOEXEC));
	t->keeper = fork();
	ASSERT_LE(0, t->keeper);
	for (i = 0; i < PIPES; i++)
		close(p.fd[i][t->keeper ? i % 2 : !(i % 2)]);
	if (t->keeper == 0) {
		die_with_parent(me);
		keeper_main(how, &p);
	}
	t->in = p.fd[PIPE_IN][1];
	t->out = p.fd[PIPE_OUT][0];
	t->kin = p.fd[PIPE_KIN][1];
	t->kout = p.fd[PIPE_KOUT][0];

	ASSERT_TRUE(get_obj(t->kout, &t->pid, sizeof(t->pid)))
		TH_LOG("the keeper of the target did not start it");
	return t->pid > 0;
}

static inline void target_start(struct __test_metadata *_metadata, struct target *t)
{
	ASSERT_TRUE(target_try(_metadata, t, SPAWN_FORK))
		TH_LOG("no target: %s", strerror(-t->pid));
}

/* Has the target do something that does not end it. */
static inline void target_do(struct __test_metadata *_metadata, struct target *t, char letter)
{
	int c;

	ASSERT_TRUE(put_byte(t->in, letter));
	c = get_byte(t->out);
	ASSERT_EQ(letter, c) TH_LOG("target %d did not do '%c'", t->pid, letter);
}

/* The keeper waits for the target. Returns the wait status. */
static inline int target_reap(struct __test_metadata *_metadata, struct target *t)
{
	int status;

	ASSERT_TRUE(put_byte(t->kin, KEEPER_REAP));
	ASSERT_TRUE(get_obj(t->kout, &status, sizeof(status)))
		TH_LOG("target %d could not be reaped", t->pid);
	return status;
}

/* Ends what is left of a target. */
static inline void target_end(struct target *t)
{
	if (t->keeper <= 0)
		return;
	kill(t->keeper, SIGKILL);	/* the target follows */
	waitpid(t->keeper, NULL, 0);
	close(t->in);
	close(t->out);
	close(t->kin);
	close(t->kout);
	t->keeper = 0;
}

/* Waits for a task that we trace. Returns its status, or -1 if none comes. */
static inline int tracer_wait(pid_t tid)
{
	int status = -1;

	return eventually(waitpid(tid, &status, __WALL | WNOHANG)) ? status : -1;
}

/* Skips the test if it may not trace, unless it has failed already. */
static inline bool attach(struct __test_metadata *_metadata, int request,
			  pid_t tid, unsigned long options)
{
	if (!ptrace(request, tid, NULL, options))
		return true;
	ASSERT_EQ(0, _metadata->exit_code);
	SKIP(return false, "cannot trace: %s", strerror(errno));
}

/*
 * Core dumps that the kernel sends to a socket of the test.
 */
#define CORE_PATTERN "/proc/sys/kernel/core_pattern"

struct core_socket {
	char pattern[256];	/* of the system, to be put back */
	struct sockaddr_un addr;
	int fd;
};

static inline void core_socket_undo(void *arg)
{
	struct core_socket *c = arg;

	put_file(CORE_PATTERN, c->pattern);
	unlink(c->addr.sun_path);
}

/* Returns false, and sets errno, if the test cannot have the core dumps. */
static inline bool core_socket_open(struct __test_metadata *_metadata, struct core_socket *c)
{
	char pattern[sizeof(c->addr.sun_path) + 2];

	if (access(CORE_PATTERN, W_OK))
		return false;
	/* Another test may not have put it back yet. */
	ASSERT_TRUE(eventually(slurp(c->pattern, sizeof(c->pattern), CORE_PATTERN) > 0 &&
			       strncmp(c->pattern, "@@/tmp/exithand-", 16)));
	c->addr.sun_family = AF_UNIX;
	snprintf(c->addr.sun_path, sizeof(c->addr.sun_path), "/tmp/exithand-%d", getpid());
	snprintf(pattern, sizeof(pattern), "@@%s", c->addr.sun_path);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ASSERT_LE(0, c->fd);
	undo_later(_metadata, core_socket_undo, c);
	ASSERT_EQ(0, bind(c->fd, (void *)&c->addr, sizeof(c->addr)))
		TH_LOG("bind %s: %s", c->addr.sun_path, strerror(errno));
	ASSERT_EQ(0, listen(c->fd, 1));
	return put_file(CORE_PATTERN, pattern);
}

/*
 * Call this when the target has been started. An assertion that fails dumps
 * core, and the dump of the test would wait for an answer from the test.
 */
static inline void core_socket_not_for_us(struct __test_metadata *_metadata)
{
	ASSERT_EQ(0, prctl(PR_SET_DUMPABLE, 0));
}

/* Waits for a core dump. Returns the file for the answer. */
static inline int core_socket_accept(struct __test_metadata *_metadata, struct core_socket *c)
{
	int fd;

	ASSERT_TRUE(readable(c->fd));
	fd = accept(c->fd, NULL, NULL);
	ASSERT_LE(0, fd);
	ASSERT_TRUE(readable(fd));
	return fd;
}

/*
 * io_uring.
 */
#define ring io_uring

/* Does the kernel have io_uring, and may we use it? */
static inline bool ring_usable(void)
{
	struct io_uring_params p = { 0 };
	int fd = io_uring_setup(1, &p);

	/* The kernel has none, or a policy forbids it. */
	if (fd < 0)
		return false;
	close(fd);
	return true;
}

static inline void ring_open(struct __test_metadata *_metadata, struct ring *r)
{
	ASSERT_EQ(0, io_uring_queue_init(4, r, 0)) TH_LOG("io_uring_setup: %s", strerror(errno));
}

static inline void ring_close(struct ring *r)
{
	/* io_uring_queue_exit() leaves this mapping, which keeps the ring open. */
	munmap((void *)((uintptr_t)r->cq.khead & -4096), r->cq.ring_sz);
	io_uring_queue_exit(r);
}

static inline struct io_uring_sqe *ring_next(struct ring *r, int op, int fd)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(r);

	if (!sqe)
		abort();		/* more requests than the queue has room for */
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = op;
	sqe->fd = fd;
	return sqe;
}

static inline struct io_uring_sqe *ring_poll(struct ring *r, int fd, __u32 events)
{
	struct io_uring_sqe *sqe = ring_next(r, IORING_OP_POLL_ADD, fd);

	if (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__)
		events = events << 16 | events >> 16;
	sqe->poll32_events = events;
	return sqe;
}

static inline struct io_uring_sqe *ring_read(struct ring *r, int fd, void *buf, size_t len)
{
	struct io_uring_sqe *sqe = ring_next(r, IORING_OP_READ, fd);

	sqe->addr = (uintptr_t)buf;
	sqe->len = len;
	sqe->off = -1;
	return sqe;
}

/* Submits the requests if @submit is set. Waits for @wait completions. */
static inline int ring_enter(struct ring *r, bool submit, unsigned int wait)
{
	int ret = submit ? io_uring_submit(r) : 0;

	if (ret >= 0 && (wait || !submit) &&
	    io_uring_enter(r->ring_fd, 0, wait, IORING_ENTER_GETEVENTS, NULL) < 0)
		return -1;
	return ret;
}

/* Takes one answer, if there is one. */
static inline bool ring_get(struct ring *r, struct io_uring_cqe *cqe)
{
	struct io_uring_cq *cq = &r->cq;

	if (*cq->khead == __atomic_load_n(cq->ktail, __ATOMIC_ACQUIRE))
		return false;
	*cqe = cq->cqes[*cq->khead & *cq->kring_mask];
	io_uring_cqe_seen(r);
	return true;
}

/*
 * A watcher is a thread that waits for the exit of a process, in one system call.
 */
enum method {
	HOW_READ,
	HOW_POLL,
	HOW_SELECT,
	HOW_EPOLL,
	HOW_URING_POLL,
	HOW_URING_READ,
	HOW_COUNT,
};

static const char * const how_name[] = {
	[HOW_READ] = "read",
	[HOW_POLL] = "poll",
	[HOW_SELECT] = "select",
	[HOW_EPOLL] = "epoll",
	[HOW_URING_POLL] = "io_uring poll",
	[HOW_URING_READ] = "io_uring read",
};

struct watcher {
	enum method how;
	int fd;
	int events;		/* to poll for */
	int aux;		/* the epoll file */
	struct ring ring;
	bool started, done;
	pthread_t thread;
	pid_t tid;
	long ret;		/* of a read; or the events of a poll; or -errno */
	long sleeps;		/* how often the thread had slept by then */
};

static inline void *watcher_main(void *arg)
{
	struct watcher *w = arg;
	struct pollfd pfd = { .fd = w->fd, .events = w->events };
	struct epoll_event ev = { 0 };
	struct io_uring_cqe cqe = { 0 };
	fd_set set[3];
	char buf[16];
	long ret, said = 0;
	int i;

	w->tid = sys_gettid();
	for (i = 0; i < 3; i++) {
		FD_ZERO(&set[i]);
		FD_SET(w->fd, &set[i]);
	}
	if (w->how == HOW_URING_POLL)
		ring_poll(&w->ring, w->fd, w->events);
	if (w->how == HOW_URING_READ)
		ring_read(&w->ring, w->fd, buf, sizeof(buf));

	/* From here to "done", the thread sleeps in this one call only. */
	__atomic_store_n(&w->started, true, __ATOMIC_RELEASE);
	errno = 0;
	switch (w->how) {
	case HOW_READ:
		ret = read(w->fd, buf, sizeof(buf));
		said = ret;
		break;
	case HOW_POLL:
		ret = poll(&pfd, 1, -1);
		said = pfd.revents;
		break;
	case HOW_SELECT:
		ret = select(w->fd + 1, &set[0], &set[1], &set[2], NULL);
		said = (FD_ISSET(w->fd, &set[0]) ? POLLIN : 0) |
		       (FD_ISSET(w->fd, &set[1]) ? POLLOUT : 0) |
		       (FD_ISSET(w->fd, &set[2]) ? POLLPRI : 0);
		break;
	case HOW_EPOLL:
		ret = epoll_wait(w->aux, &ev, 1, -1);
		said = ev.events;
		break;
	default:
		ret = ring_enter(&w->ring, true, 1);
		said = ring_get(&w->ring, &cqe) ? cqe.res : -ENODATA;
	}
	w->ret = ret < 0 ? -errno : said;
	__atomic_store_n(&w->done, true, __ATOMIC_RELEASE);
	return NULL;
}

#define watcher_done(w) __atomic_load_n(&(w)->done, __ATOMIC_ACQUIRE)

/* Has the thread returned from its call, or is it asleep in it? */
static inline bool watcher_settled(struct watcher *w)
{
	return watcher_done(w) || (__atomic_load_n(&w->started, __ATOMIC_ACQUIRE) &&
				   task_blocked(getpid(), w->tid));
}

static inline bool method_usable(enum method how)
{
	return (how != HOW_URING_POLL && how != HOW_URING_READ) || ring_usable();
}

/* Starts to wait for these events of @fd. */
static inline void watcher_start_for(struct __test_metadata *_metadata, struct watcher *w,
				     enum method how, int fd, int events)
{
	struct epoll_event ev = { .events = events };

	*w = (struct watcher) { .how = how, .fd = fd, .events = events };
	if (how == HOW_EPOLL) {
		w->aux = epoll_create1(EPOLL_CLOEXEC);
		ASSERT_LE(0, w->aux);
		ASSERT_EQ(0, epoll_ctl(w->aux, EPOLL_CTL_ADD, fd, &ev));
	}
	if (how == HOW_URING_POLL || how == HOW_URING_READ)
		ring_open(_metadata, &w->ring);
	ASSERT_EQ(0, pthread_create(&w->thread, NULL, watcher_main, w));
}

#define watcher_start_fd(_metadata, w, how, fd) \
	watcher_start_for(_metadata, w, how, fd, POLL_ALL)

static inline void watcher_start(struct __test_metadata *_metadata,
				 struct watcher *w, enum method how, pid_t pid)
{
	int fd = exithand_open(pid, O_RDONLY);

	ASSERT_LE(0, fd)
		TH_LOG("open for %s of process %d: %s", how_name[how], pid, strerror(errno));
	watcher_start_fd(_metadata, w, how, fd);
}

/* The thread waits. @after names what has just happened and is no exit. */
static inline void watcher_waits(struct __test_metadata *_metadata,
				 struct watcher *w, const char *after)
{
	exits_settle();
	ASSERT_TRUE(eventually(watcher_settled(w)))
		TH_LOG("%s: neither returned nor asleep after %s: state %c",
		       how_name[w->how], after, task_state(getpid(), w->tid) ?: '?');
	ASSERT_FALSE(watcher_done(w))
		TH_LOG("%s: returned %ld after %s", how_name[w->how], w->ret, after);
}

static inline void watcher_sleeps(struct __test_metadata *_metadata, struct watcher *w)
{
	watcher_waits(_metadata, w, "the start");
	w->sleeps = task_sleeps(getpid(), w->tid);
}

/* The thread still waits, and was not woken either. */
static inline void watcher_unwoken(struct __test_metadata *_metadata, struct watcher *w,
				   const char *after)
{
	watcher_waits(_metadata, w, after);
	EXPECT_EQ(w->sleeps, task_sleeps(getpid(), w->tid))
		TH_LOG("%s: woken by %s", how_name[w->how], after);
}

/* The thread was not woken, and other calls report no exit. */
static inline void watcher_quiet(struct __test_metadata *_metadata, struct watcher *w,
				 const char *after)
{
	watcher_unwoken(_metadata, w, after);
	EXPECT_EQ(0, poll_now(w->fd)) TH_LOG("%s: ready after %s", how_name[w->how], after);
	EXPECT_EQ(-EAGAIN, read_now(w->fd))
		TH_LOG("%s: not EAGAIN after %s", how_name[w->how], after);
}

/* A file that is opened now does not report an exit. */
static inline void exithand_quiet(struct __test_metadata *_metadata, pid_t pid, const char *after)
{
	int fd = exithand_open(pid, O_RDONLY);

	ASSERT_LE(0, fd) TH_LOG("open after %s: %s", after, strerror(-fd));
	EXPECT_EQ(0, poll_now(fd)) TH_LOG("opened late, ready after %s", after);
	EXPECT_EQ(-EAGAIN, read_now(fd)) TH_LOG("opened late, not EAGAIN after %s", after);
	close(fd);
}

/* The file reports the exit by each call, again and again. */
static inline void expect_exited(struct __test_metadata *_metadata, int fd)
{
	struct pollfd pfd = { .fd = fd, .events = 0 };
	char buf[8];

	EXPECT_EQ(POLL_EXITED, poll_now(fd));
	EXPECT_EQ(0, poll(&pfd, 1, 0)) TH_LOG("not requested: events %#x", pfd.revents);
	EXPECT_EQ(0, read_now(fd));
	if (poll_now(fd) == POLL_EXITED) {	/* otherwise it might block */
		EXPECT_EQ(0, read(fd, buf, sizeof(buf)));
		EXPECT_EQ(0, read(fd, buf, sizeof(buf)));
	}
}

static inline bool watcher_join(struct watcher *w)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	ts.tv_sec += BOUND_MS / 1000;
	return pthread_clockjoin_np(w->thread, NULL, CLOCK_MONOTONIC, &ts) == 0;
}

/* The call returns, within bounds, with the right result. */
static inline void watcher_returns(struct __test_metadata *_metadata, struct watcher *w)
{
	long expected = w->events & POLL_EXITED;

	ASSERT_TRUE(watcher_join(w))
		TH_LOG("%s: still waits after the exit, state %c", how_name[w->how],
		       task_state(getpid(), w->tid) ?: '?');
	if (w->how == HOW_READ || w->how == HOW_URING_READ)
		expected = 0;
	if (w->how == HOW_SELECT)
		expected = POLLIN;
	EXPECT_EQ(expected, w->ret)
		TH_LOG("%s: %s", how_name[w->how], w->ret < 0 ? strerror(-w->ret) : "wrong");
	expect_exited(_metadata, w->fd);
}

#endif /* __PROC_EXITHAND_H */
