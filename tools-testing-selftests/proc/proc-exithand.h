/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of /proc/<pid>/exithand share: a process to watch that is
 * not our child and does what it is told, threads that wait in a known way,
 * and ways to see what a task is doing without sleeping and hoping.
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

/* On an emulated machine, and with all checkers on, too. */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT 180

/*
 * How long something that must happen may take before the test is a failure.
 * Nothing that passes comes near it, not even on an emulated machine.
 */
#define BOUND_MS 10000

/* Whatever poll() can say; what is not asked for is not answered. */
#define POLL_ALL (POLLIN | POLLPRI | POLLOUT | POLLRDNORM | POLLRDBAND | \
		  POLLWRNORM | POLLWRBAND | POLLRDHUP | POLLHUP | POLLERR)

/* All that an exithand file ever says. */
#define POLL_EXITED (POLLIN | POLLRDNORM)

static inline __u64 now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/* Between two looks at something that is about to happen. */
static inline void relax(void)
{
	const struct timespec ts = { .tv_nsec = 200000 };

	nanosleep(&ts, NULL);
}

/* Evaluates @cond until it is true, at most for BOUND_MS; true if it was. */
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

/* Opens the exithand file of @pid; -errno on failure. */
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

/* One poll() for everything, without waiting; what it said, or -errno. */
static inline int poll_now(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLL_ALL };
	int ret = poll(&pfd, 1, 0);

	return ret < 0 ? -errno : pfd.revents;
}

static inline int poll_bounded(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLL_ALL };
	int ret = poll(&pfd, 1, BOUND_MS);

	return ret < 0 ? -errno : pfd.revents;
}

/* A read that never waits, whatever the file's flags; -errno on failure. */
static inline int read_now(int fd)
{
	char buf[16];
	struct iovec iov = { .iov_base = buf, .iov_len = sizeof(buf) };
	ssize_t ret = preadv2(fd, &iov, 1, -1, RWF_NOWAIT);

	return ret < 0 ? -errno : ret;
}

/* Takes one byte from a pipe; -1 if none comes. */
static inline int get_byte(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	unsigned char c;

	if (poll(&pfd, 1, BOUND_MS) != 1 || read(fd, &c, 1) != 1)
		return -1;
	return c;
}

static inline bool get_obj(int fd, void *obj, size_t size)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	return poll(&pfd, 1, BOUND_MS) == 1 &&
	       read(fd, obj, size) == (ssize_t)size;
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

/* Reads a whole small file below /proc; its length, or -1. */
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

/* The state letter of a task, 0 if it is gone. */
static inline char task_state(pid_t pid, pid_t tid)
{
	char buf[512], *p;

	if (slurp(buf, sizeof(buf), "/proc/%d/task/%d/stat", pid, tid) <= 0)
		return 0;
	p = strrchr(buf, ')');
	return p && p[1] == ' ' ? p[2] : 0;
}

static inline char leader_state(pid_t pid)
{
	return task_state(pid, pid);
}

/*
 * Is the task in this state, and off its CPU?  The state letter alone changes
 * before that; what is shown in "syscall" is "running" until the task has been
 * switched out.
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

/* Is it asleep, such that a signal would wake it? */
static inline bool task_blocked(pid_t pid, pid_t tid)
{
	return task_rests(pid, tid, 'S');
}

/*
 * An exit shows in /proc a moment before the kernel has told everybody, which
 * it does under tasklist_lock.  wait() takes that too, so what is seen before
 * this call is complete after it.
 */
static inline void exits_settle(void)
{
	siginfo_t si;

	waitid(P_ALL, 0, &si, WEXITED | WNOHANG | WNOWAIT);
}

/* How often the task has gone to sleep, -1 if that cannot be told. */
static inline long task_sleeps(pid_t pid, pid_t tid)
{
	static const char key[] = "\nvoluntary_ctxt_switches:";
	char buf[4096], *p;

	if (slurp(buf, sizeof(buf), "/proc/%d/task/%d/status", pid, tid) <= 0)
		return -1;
	p = strstr(buf, key);
	return p ? atol(p + sizeof(key) - 1) : -1;
}

/* Nothing that a test starts outlives it. */
static inline void die_with_parent(pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(126);
}

/*
 * The process that is watched.
 *
 * It is a child of a keeper, which is our child, so it is never our own.  Both
 * obey single letters from a pipe and answer when they are done, so that each
 * step of a test has happened when the next one begins.
 */
struct target {
	pid_t pid;
	pid_t keeper;
	int in, out;		/* to and from the process */
	int kin, kout;		/* to and from the keeper */
};

/* The target's letters. */
#define DO_ANSWER	'a'	/* just that */
#define DO_EXIT		'e'	/* exit_group() by the thread that obeys */
#define DO_EXIT_THREAD	'E'	/* exit() by the thread that obeys */
#define DO_GROUP_EXIT	'g'	/* exit_group() by another thread */
#define DO_LEADER_FIRST	'L'	/* the leader exits, another thread obeys on */
#define DO_STORM	's'	/* 16 threads come and stay */
#define DO_THREAD_WAIT	'w'	/* a thread comes, and goes when told again */
#define DO_EXEC		'x'	/* exec by the thread that obeys */
#define DO_EXEC_THREAD	'X'	/* exec by another thread */
#define DO_ABORT	'c'	/* a fatal signal that dumps core */
#define DO_STAY		'd'	/* no longer dies with its parent */
#define DO_MAP		'm'	/* map TARGET_MAP_FD, shared and writable */

/* The keeper's letters. */
#define KEEPER_REAP	'r'	/* wait for the target, answer with the status */
#define KEEPER_QUIT	'q'	/* exit without waiting for it */

/* DO_EXIT's and DO_GROUP_EXIT's exit code. */
#define TARGET_CODE	7

/* A file that the target has inherited, of one page at least. */
#define TARGET_MAP_FD	100

/* The first argument of this program when the target execs it. */
#define OBEY_ARG	"--obey"

#define STORM_THREADS	16
#define STACK_SIZE	(64 << 10)

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
	/* Not of "self", whose leader may be gone and have no exe. */
	execl("/proc/thread-self/exe", "exithand-target", OBEY_ARG, in, out,
	      first, NULL);
	_exit(125);
}

static inline void obey(struct obey *o);

static inline void *thread_obey(void *arg)
{
	obey(arg);
	return NULL;
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

static inline void *thread_exit_group(void *arg)
{
	_exit(TARGET_CODE);
	return arg;
}

struct thread_wait {
	int out;
	pid_t tid;
	bool go;
};

static inline void *thread_wait(void *arg)
{
	struct thread_wait *w = arg;

	w->tid = sys_gettid();
	if (write(w->out, &w->tid, sizeof(w->tid)) < 0)
		_exit(124);
	while (!__atomic_load_n(&w->go, __ATOMIC_ACQUIRE))
		relax();
	syscall(__NR_exit, 0);
	return NULL;
}

/* Does what the letters say, until there are no more of them. */
static inline void obey(struct obey *o)
{
	static struct thread_wait waiting;
	pthread_t thread;
	ssize_t n;
	pid_t tid;
	char c;
	int i;

	if (o->first && !put_byte(o->out, o->first))
		_exit(124);
	o->first = 0;

	for (;;) {
		n = read(o->in, &c, 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n != 1)
			_exit(123);

		switch (c) {
		case DO_EXIT:
			_exit(TARGET_CODE);
		case DO_EXIT_THREAD:
			syscall(__NR_exit, 0);
			break;
		case DO_GROUP_EXIT:
			pthread_create(&thread, NULL, thread_exit_group, NULL);
			thread_pause(NULL);
			break;
		case DO_LEADER_FIRST:
			o->first = c;
			pthread_create(&thread, NULL, thread_obey, o);
			/* Not pthread_exit(): that would run atexit() last. */
			syscall(__NR_exit, 0);
			break;
		case DO_STORM:
			for (i = 0; i < STORM_THREADS; i++)
				pthread_create(&thread, NULL, thread_pause,
					       NULL);
			break;
		case DO_THREAD_WAIT:
			if (!waiting.tid) {
				/* Its number is the answer. */
				waiting.out = o->out;
				pthread_create(&thread, NULL, thread_wait,
					       &waiting);
				continue;
			}
			/* Gone means released, not just joined. */
			tid = waiting.tid;
			__atomic_store_n(&waiting.go, true, __ATOMIC_RELEASE);
			while (task_state(getpid(), tid) != 0 &&
			       task_state(getpid(), tid) != 'Z')
				relax();
			break;
		case DO_EXEC:
			obey_exec(o, c);
			break;
		case DO_EXEC_THREAD:
			pthread_create(&thread, NULL, thread_exec, o);
			thread_pause(NULL);
			break;
		case DO_MAP:
			if (mmap(NULL, 1, PROT_READ | PROT_WRITE, MAP_SHARED,
				 TARGET_MAP_FD, 0) == MAP_FAILED)
				_exit(120);
			break;
		case DO_STAY:
			/* It goes by the end of file then. */
			prctl(PR_SET_PDEATHSIG, 0);
			break;
		case DO_ABORT:
			signal(SIGSEGV, SIG_DFL);
			raise(SIGSEGV);
			break;
		}
		if (!put_byte(o->out, c))
			_exit(124);
	}
}

/* main() of a target that has called exec. */
static inline int obey_main(int argc, char **argv)
{
	struct obey o;

	if (argc != 5)
		return 122;
	o.in = atoi(argv[2]);
	o.out = atoi(argv[3]);
	o.first = argv[4][0];
	obey(&o);
	return 0;
}

/* How the keeper makes its child, and what it does about SIGCHLD. */
enum spawn {
	SPAWN_FORK,
	SPAWN_VFORK,		/* the keeper hears nothing until exec or exit */
	SPAWN_SHARED_VM,	/* CLONE_VM without CLONE_THREAD */
	SPAWN_AUTOREAP,		/* CLONE_AUTOREAP */
	SPAWN_ORPHAN,		/* the parent exits, the keeper inherits it */
	SPAWN_IGNORED,		/* the keeper ignores SIGCHLD */
	SPAWN_NOCLDWAIT,	/* the keeper has SA_NOCLDWAIT */
	SPAWN_PIDNS,		/* init of a pid namespace of its own */
};

/* Not in every installed header yet. */
#ifndef CLONE_AUTOREAP
#define CLONE_AUTOREAP 0x400000000ULL
#endif

static inline pid_t sys_clone3(struct clone_args *args)
{
	return syscall(__NR_clone3, args, sizeof(*args));
}

struct spawn_pipes {
	int in[2], out[2], kin[2], kout[2];
	pid_t keeper;
};

static inline int target_main(void *arg)
{
	struct spawn_pipes *p = arg;
	struct obey o = { .in = p->in[0], .out = p->out[1] };

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	obey(&o);
	return 0;
}

static inline pid_t keeper_spawn(enum spawn how, struct spawn_pipes *p)
{
	struct clone_args args = { .flags = CLONE_AUTOREAP };
	struct sigaction sa = { .sa_handler = SIG_DFL };
	pid_t pid, parent;
	char *stack;
	int fd[2];

	switch (how) {
	case SPAWN_SHARED_VM:
		stack = malloc(STACK_SIZE);
		return clone(target_main, stack + STACK_SIZE,
			     CLONE_VM | SIGCHLD, p);
	case SPAWN_VFORK:
		pid = vfork();
		if (pid == 0) {
			/* The keeper cannot tell who we are: it is waiting. */
			pid = getpid();
			if (write(p->kout[1], &pid, sizeof(pid)) < 0)
				_exit(121);
			target_main(p);
		}
		return pid;
	case SPAWN_AUTOREAP:
		pid = sys_clone3(&args);
		break;
	case SPAWN_ORPHAN:
		prctl(PR_SET_CHILD_SUBREAPER, 1);
		if (pipe(fd))
			return -1;
		parent = fork();
		if (parent == 0) {
			parent = getpid();
			pid = fork();
			if (pid == 0) {
				/* Until then, its death would be ours. */
				while (getppid() == parent)
					relax();
				die_with_parent(p->keeper);
				target_main(p);
			}
			if (write(fd[1], &pid, sizeof(pid)) < 0)
				_exit(121);
			_exit(0);
		}
		if (!get_obj(fd[0], &pid, sizeof(pid)))
			return -1;
		close(fd[0]);
		close(fd[1]);
		waitpid(parent, NULL, 0);
		return pid;
	case SPAWN_PIDNS:
		if (unshare(CLONE_NEWPID))
			return -1;
		pid = fork();
		if (pid == 0) {
			/* Here our parent has no number to be checked. */
			target_main(p);
		}
		return pid;
	case SPAWN_IGNORED:
		signal(SIGCHLD, SIG_IGN);
		pid = fork();
		break;
	case SPAWN_NOCLDWAIT:
		sa.sa_flags = SA_NOCLDWAIT;
		sigaction(SIGCHLD, &sa, NULL);
		pid = fork();
		break;
	default:
		pid = fork();
	}
	if (pid == 0) {
		die_with_parent(p->keeper);
		target_main(p);
	}
	return pid;
}

static inline void keeper_main(enum spawn how, struct spawn_pipes *p)
{
	int status;
	pid_t pid;
	char c;

	p->keeper = getpid();
	pid = keeper_spawn(how, p);
	if (pid < 0)
		pid = -errno;
	if (how != SPAWN_VFORK || pid < 0)
		if (write(p->kout[1], &pid, sizeof(pid)) < 0)
			_exit(121);
	if (pid < 0)
		_exit(0);
	/* Only the target and the test hold the ends of their pipes. */
	close(p->in[0]);
	close(p->out[1]);

	while (read(p->kin[0], &c, 1) == 1) {
		if (c == KEEPER_QUIT)
			_exit(0);
		status = -1;
		if (waitpid(pid, &status, 0) != pid)
			status = -errno;
		if (write(p->kout[1], &status, sizeof(status)) < 0)
			break;
	}
	_exit(0);
}

/* Starts a target; false, with a pid of -errno, if the keeper could not. */
static inline bool target_try(struct __test_metadata *_metadata,
			      struct target *t, enum spawn how)
{
	struct spawn_pipes p;
	pid_t me = getpid();

	/* Inherited through exec, and needed there. */
	ASSERT_EQ(0, pipe(p.in));
	ASSERT_EQ(0, pipe(p.out));
	ASSERT_EQ(0, pipe2(p.kin, O_CLOEXEC));
	ASSERT_EQ(0, pipe2(p.kout, O_CLOEXEC));

	t->keeper = fork();
	ASSERT_LE(0, t->keeper);
	if (t->keeper == 0) {
		die_with_parent(me);
		/* Or no one would ever see an end of file. */
		close(p.in[1]);
		close(p.out[0]);
		close(p.kin[1]);
		close(p.kout[0]);
		keeper_main(how, &p);
	}
	close(p.in[0]);
	close(p.out[1]);
	close(p.kin[0]);
	close(p.kout[1]);
	t->in = p.in[1];
	t->out = p.out[0];
	t->kin = p.kin[1];
	t->kout = p.kout[0];

	ASSERT_TRUE(get_obj(t->kout, &t->pid, sizeof(t->pid)))
		TH_LOG("the keeper of the target did not start it");
	return t->pid > 0;
}

static inline void target_start(struct __test_metadata *_metadata,
				struct target *t)
{
	ASSERT_TRUE(target_try(_metadata, t, SPAWN_FORK))
		TH_LOG("no target: %s", strerror(-t->pid));
}

/* Tells the target to do something that does not end it, and waits for it. */
static inline void target_do(struct __test_metadata *_metadata,
			     struct target *t, char letter)
{
	int c;

	ASSERT_TRUE(put_byte(t->in, letter));
	c = get_byte(t->out);
	ASSERT_EQ(letter, c)
		TH_LOG("target %d did not do '%c'", t->pid, letter);
}

/* The leader's exit is complete when it shows as a zombie. */
static inline void target_leader_first(struct __test_metadata *_metadata,
				       struct target *t)
{
	target_do(_metadata, t, DO_LEADER_FIRST);
	ASSERT_TRUE(eventually(leader_state(t->pid) == 'Z'))
		TH_LOG("leader %d is %c, not a zombie", t->pid,
		       leader_state(t->pid) ?: '?');
}

/* Lets the keeper wait for the target; the status that wait() gave. */
static inline int target_reap(struct __test_metadata *_metadata,
			      struct target *t)
{
	int status;

	ASSERT_TRUE(put_byte(t->kin, KEEPER_REAP));
	ASSERT_TRUE(get_obj(t->kout, &status, sizeof(status)))
		TH_LOG("target %d could not be reaped", t->pid);
	return status;
}

/* Kills it and has it reaped: afterwards its number is free. */
static inline void target_gone(struct __test_metadata *_metadata,
			       struct target *t)
{
	int status;

	ASSERT_EQ(0, kill(t->pid, SIGKILL));
	status = target_reap(_metadata, t);
	ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		TH_LOG("target %d: wait status %#x", t->pid, status);
}

/* Ends what is left of a target; the test is over. */
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

/* Waits for a task that we trace; its status, -1 if nothing comes. */
static inline int tracer_wait(pid_t tid)
{
	int status = -1;

	if (!eventually(waitpid(tid, &status, __WALL | WNOHANG)))
		return -1;
	return status;
}

static inline bool attach(struct __test_metadata *_metadata, int request,
			  pid_t tid, unsigned long options)
{
	if (ptrace(request, tid, NULL, options))
		SKIP(return false, "cannot trace: %s", strerror(errno));
	return true;
}

/*
 * For clone() with CLONE_VM, on a stack of its own: a process that does nothing,
 * and touches no errno while it does.
 */
static inline int paused_target(void *arg)
{
	syscall(__NR_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	for (;;)
		syscall(__NR_ppoll, NULL, 0, NULL, NULL, 0);
	return 0;
}

/*
 * Core dumps, which go to a socket of ours, and wait there for an answer.
 */
#define CORE_PATTERN "/proc/sys/kernel/core_pattern"

struct core_socket {
	char pattern[256];	/* of the system, to be put back */
	struct sockaddr_un addr;
	int fd;
};

/* False, with errno, if cores cannot be had so. */
static inline bool core_socket_open(struct __test_metadata *_metadata,
				    struct core_socket *c)
{
	char pattern[sizeof(c->addr.sun_path) + 2];

	c->addr.sun_family = AF_UNIX;
	snprintf(c->addr.sun_path, sizeof(c->addr.sun_path),
		 "/tmp/exithand-%d.socket", getpid());
	snprintf(pattern, sizeof(pattern), "@@%s", c->addr.sun_path);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ASSERT_LE(0, c->fd);
	ASSERT_EQ(0, bind(c->fd, (void *)&c->addr, sizeof(c->addr)))
		TH_LOG("bind %s: %s", c->addr.sun_path, strerror(errno));
	ASSERT_EQ(0, listen(c->fd, 1));
	if (slurp(c->pattern, sizeof(c->pattern), CORE_PATTERN) > 0 &&
	    put_file(CORE_PATTERN, pattern))
		return true;
	c->pattern[0] = '\0';
	return false;
}

/*
 * To be called when the target has been started: an assertion that fails dumps
 * core, and that one would wait there for an answer from itself.
 */
static inline void core_socket_not_for_us(struct __test_metadata *_metadata)
{
	ASSERT_EQ(0, prctl(PR_SET_DUMPABLE, 0));
}

/* In the parent, which is there whatever becomes of the test. */
static inline void core_socket_close(struct core_socket *c)
{
	if (c->pattern[0])
		put_file(CORE_PATTERN, c->pattern);
	unlink(c->addr.sun_path);
}

/* The kernel has something to say of a core; the file for the answer. */
static inline int core_socket_accept(struct __test_metadata *_metadata,
				     struct core_socket *c)
{
	struct pollfd pfd = { .fd = c->fd, .events = POLLIN };

	ASSERT_EQ(1, poll(&pfd, 1, BOUND_MS));
	pfd.fd = accept(c->fd, NULL, NULL);
	ASSERT_LE(0, pfd.fd);
	ASSERT_EQ(1, poll(&pfd, 1, BOUND_MS));
	return pfd.fd;
}

/*
 * io_uring, as little of it as will do: a few requests, and their answers.
 */
struct ring {
	int fd;
	unsigned int queued;	/* requests that are not submitted yet */
	struct io_uring_params p;
	struct io_uring_sqe *sqes;
	char *mem;
	size_t len;
};

/* Does the kernel have io_uring, and for us? */
static inline bool ring_usable(void)
{
	struct io_uring_params p = { 0 };
	int fd;

	if (access("/proc/sys/kernel/io_uring_disabled", F_OK))
		return false;
	fd = syscall(__NR_io_uring_setup, 1, &p);
	if (fd < 0)
		return errno != EPERM;
	close(fd);
	return true;
}

static inline void ring_open(struct __test_metadata *_metadata, struct ring *r)
{
	size_t sq, cq;

	memset(r, 0, sizeof(*r));
	r->fd = syscall(__NR_io_uring_setup, 4, &r->p);
	ASSERT_LE(0, r->fd) TH_LOG("io_uring_setup: %s", strerror(errno));

	/* One mapping holds both rings since 5.4. */
	sq = r->p.sq_off.array + r->p.sq_entries * sizeof(unsigned int);
	cq = r->p.cq_off.cqes + r->p.cq_entries * sizeof(struct io_uring_cqe);
	r->len = sq > cq ? sq : cq;
	r->mem = mmap(NULL, r->len, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd,
		      IORING_OFF_SQ_RING);
	ASSERT_NE(MAP_FAILED, r->mem);
	r->sqes = mmap(NULL, r->p.sq_entries * sizeof(*r->sqes),
		       PROT_READ | PROT_WRITE, MAP_SHARED, r->fd,
		       IORING_OFF_SQES);
	ASSERT_NE(MAP_FAILED, r->sqes);
}

static inline void ring_close(struct ring *r)
{
	munmap(r->sqes, r->p.sq_entries * sizeof(*r->sqes));
	munmap(r->mem, r->len);
	close(r->fd);
}

static inline struct io_uring_sqe *ring_next(struct ring *r, int op, int fd)
{
	unsigned int *tail = (void *)(r->mem + r->p.sq_off.tail);
	unsigned int *array = (void *)(r->mem + r->p.sq_off.array);
	unsigned int i = (*tail + r->queued++) & (r->p.sq_entries - 1);
	struct io_uring_sqe *sqe = &r->sqes[i];

	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = op;
	sqe->fd = fd;
	array[i] = i;
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

static inline struct io_uring_sqe *ring_read(struct ring *r, int fd, void *buf,
					     size_t len)
{
	struct io_uring_sqe *sqe = ring_next(r, IORING_OP_READ, fd);

	sqe->addr = (uintptr_t)buf;
	sqe->len = len;
	sqe->off = -1;
	return sqe;
}

/* Submits all requests that ring_next() gave, and waits for @wait answers. */
static inline int ring_enter(struct ring *r, bool submit, unsigned int wait)
{
	unsigned int *tail = (void *)(r->mem + r->p.sq_off.tail);
	unsigned int n = submit ? r->queued : 0;

	r->queued -= n;
	__atomic_store_n(tail, *tail + n, __ATOMIC_RELEASE);
	return syscall(__NR_io_uring_enter, r->fd, n, wait,
		       IORING_ENTER_GETEVENTS, NULL, 0);
}

/* Takes one answer, if there is one. */
static inline bool ring_get(struct ring *r, struct io_uring_cqe *cqe)
{
	unsigned int *head = (void *)(r->mem + r->p.cq_off.head);
	unsigned int *tail = (void *)(r->mem + r->p.cq_off.tail);
	struct io_uring_cqe *cqes = (void *)(r->mem + r->p.cq_off.cqes);

	if (*head == __atomic_load_n(tail, __ATOMIC_ACQUIRE))
		return false;
	*cqe = cqes[*head & (r->p.cq_entries - 1)];
	__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
	return true;
}

/*
 * A thread that waits for the exit of a process, in one system call.
 */
enum method {
	HOW_READ,
	HOW_POLL,
	HOW_SELECT,
	HOW_EPOLL,
	HOW_URING_POLL,
	HOW_URING_READ,
	HOW_PIDFD,		/* poll() of a pidfd: the oracle */
	HOW_COUNT,
};

static const char * const how_name[] = {
	[HOW_READ] = "read",
	[HOW_POLL] = "poll",
	[HOW_SELECT] = "select",
	[HOW_EPOLL] = "epoll",
	[HOW_URING_POLL] = "io_uring poll",
	[HOW_URING_READ] = "io_uring read",
	[HOW_PIDFD] = "poll of a pidfd",
};

struct watcher {
	enum method how;
	int fd;
	int events;		/* what to poll for */
	int aux;		/* the epoll file */
	struct ring ring;
	bool started, done;
	pthread_t thread;
	pid_t tid;
	long ret;		/* what the call returned, or -errno */
	int seen;		/* the events that it reported */
	long sleeps;		/* how often the thread had slept by then */
};

static inline void *watcher_main(void *arg)
{
	struct pollfd pfd = { 0 };
	struct epoll_event ev = { 0 };
	struct io_uring_cqe cqe = { 0 };
	struct watcher *w = arg;
	fd_set rd, wr, ex;
	char buf[16];
	long ret;

	w->tid = sys_gettid();
	pfd.fd = w->fd;
	pfd.events = w->events;
	FD_ZERO(&rd);
	FD_ZERO(&wr);
	FD_ZERO(&ex);
	FD_SET(w->fd, &rd);
	FD_SET(w->fd, &wr);
	FD_SET(w->fd, &ex);
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
		break;
	case HOW_POLL:
	case HOW_PIDFD:
		ret = poll(&pfd, 1, -1);
		w->seen = pfd.revents;
		break;
	case HOW_SELECT:
		ret = select(w->fd + 1, &rd, &wr, &ex, NULL);
		w->seen = (FD_ISSET(w->fd, &rd) ? POLLIN : 0) |
			  (FD_ISSET(w->fd, &wr) ? POLLOUT : 0) |
			  (FD_ISSET(w->fd, &ex) ? POLLPRI : 0);
		break;
	case HOW_EPOLL:
		ret = epoll_wait(w->aux, &ev, 1, -1);
		w->seen = ev.events;
		break;
	default:
		ret = ring_enter(&w->ring, true, 1);
	}
	w->ret = ret < 0 ? -errno : ret;
	if (w->how == HOW_URING_POLL || w->how == HOW_URING_READ) {
		if (!ring_get(&w->ring, &cqe))
			cqe.res = -ENODATA;
		w->ret = cqe.res;
		w->seen = cqe.res;
	}
	__atomic_store_n(&w->done, true, __ATOMIC_RELEASE);
	return NULL;
}

static inline bool watcher_done(struct watcher *w)
{
	return __atomic_load_n(&w->done, __ATOMIC_ACQUIRE);
}

/* Has the thread returned from its wait, or is it asleep in it? */
static inline bool watcher_settled(struct watcher *w)
{
	return watcher_done(w) ||
	       (__atomic_load_n(&w->started, __ATOMIC_ACQUIRE) &&
		task_blocked(getpid(), w->tid));
}

static inline bool method_usable(enum method how)
{
	return (how != HOW_URING_POLL && how != HOW_URING_READ) ||
	       ring_usable();
}

/* Starts to wait on @fd. */
static inline void watcher_start_fd(struct __test_metadata *_metadata,
				    struct watcher *w, enum method how, int fd)
{
	struct epoll_event ev = { .events = POLL_ALL };

	memset(w, 0, sizeof(*w));
	w->how = how;
	w->fd = fd;
	w->events = POLL_ALL;
	switch (how) {
	case HOW_EPOLL:
		w->aux = epoll_create1(EPOLL_CLOEXEC);
		ASSERT_LE(0, w->aux);
		ASSERT_EQ(0, epoll_ctl(w->aux, EPOLL_CTL_ADD, fd, &ev));
		break;
	case HOW_URING_POLL:
	case HOW_URING_READ:
		ring_open(_metadata, &w->ring);
		break;
	default:
		break;
	}
	ASSERT_EQ(0, pthread_create(&w->thread, NULL, watcher_main, w));
}

static inline void watcher_start(struct __test_metadata *_metadata,
				 struct watcher *w, enum method how, pid_t pid)
{
	int fd;

	if (how == HOW_PIDFD) {
		fd = pidfd_of(pid);
		fd = fd < 0 ? -errno : fd;
	} else {
		fd = exithand_open(pid, O_RDONLY);
	}
	ASSERT_LE(0, fd)
		TH_LOG("open for %s of process %d: %s", how_name[how], pid,
		       strerror(-fd));
	watcher_start_fd(_metadata, w, how, fd);
}

/* The thread waits; @after says what has just not been an exit. */
static inline void watcher_waits(struct __test_metadata *_metadata,
				 struct watcher *w, const char *after)
{
	exits_settle();
	ASSERT_TRUE(eventually(watcher_settled(w)))
		TH_LOG("%s: neither returned nor asleep after %s: state %c",
		       how_name[w->how], after,
		       task_state(getpid(), w->tid) ?: '?');
	ASSERT_FALSE(watcher_done(w))
		TH_LOG("%s: returned %ld (events %#x) after %s",
		       how_name[w->how], w->ret, w->seen, after);
}

static inline void watcher_sleeps(struct __test_metadata *_metadata,
				  struct watcher *w)
{
	watcher_waits(_metadata, w, "the start");
	w->sleeps = task_sleeps(getpid(), w->tid);
}

/*
 * The thread still waits, after something that is complete and not an exit,
 * and has not been woken; other calls on the file know of no exit either.
 */
static inline void watcher_quiet(struct __test_metadata *_metadata,
				 struct watcher *w, const char *after)
{
	watcher_waits(_metadata, w, after);
	EXPECT_EQ(0, poll_now(w->fd))
		TH_LOG("%s: ready after %s", how_name[w->how], after);
	if (w->how == HOW_PIDFD)
		return;

	/* It would have gone to sleep once more. */
	EXPECT_EQ(w->sleeps, task_sleeps(getpid(), w->tid))
		TH_LOG("%s: woken by %s", how_name[w->how], after);
	EXPECT_EQ(-EAGAIN, read_now(w->fd))
		TH_LOG("%s: not EAGAIN after %s", how_name[w->how], after);
}

/* Nor is there an exit for those who open the file only now. */
static inline void exithand_quiet(struct __test_metadata *_metadata, pid_t pid,
				  const char *after)
{
	int fd = exithand_open(pid, O_RDONLY);

	ASSERT_LE(0, fd)
		TH_LOG("open after %s: %s", after, strerror(-fd));
	EXPECT_EQ(0, poll_now(fd))
		TH_LOG("opened late, ready after %s", after);
	EXPECT_EQ(-EAGAIN, read_now(fd))
		TH_LOG("opened late, not EAGAIN after %s", after);
	close(fd);
}

/* The file says that the process has exited, in each way it has. */
static inline void expect_exited(struct __test_metadata *_metadata, int fd)
{
	struct pollfd pfd = { .fd = fd, .events = 0 };
	char buf[8];

	EXPECT_EQ(POLL_EXITED, poll_now(fd));
	EXPECT_EQ(0, poll(&pfd, 1, 0))
		TH_LOG("unasked: events %#x", pfd.revents);
	EXPECT_EQ(0, read_now(fd));
	if (poll_now(fd) == POLL_EXITED) {	/* or it might wait */
		EXPECT_EQ(0, read(fd, buf, sizeof(buf)));
		EXPECT_EQ(0, read(fd, buf, sizeof(buf)));
	}
}

static inline bool watcher_join(struct watcher *w)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec += BOUND_MS / 1000;
	return pthread_timedjoin_np(w->thread, NULL, &ts) == 0;
}

/* The wait ends, within bounds, and says exactly what it should. */
static inline void watcher_returns(struct __test_metadata *_metadata,
				   struct watcher *w)
{
	ASSERT_TRUE(watcher_join(w))
		TH_LOG("%s: still waits after the exit, state %c",
		       how_name[w->how], task_state(getpid(), w->tid) ?: '?');

	switch (w->how) {
	case HOW_READ:
	case HOW_URING_READ:
		EXPECT_EQ(0, w->ret)
			TH_LOG("%s: %s", how_name[w->how],
			       w->ret < 0 ? strerror(-w->ret) : "no EOF");
		break;
	case HOW_POLL:
	case HOW_EPOLL:
		EXPECT_EQ(1, w->ret);
		EXPECT_EQ(POLL_EXITED, w->seen);
		break;
	case HOW_SELECT:
		EXPECT_EQ(1, w->ret);
		EXPECT_EQ(POLLIN, w->seen);
		break;
	case HOW_URING_POLL:
		EXPECT_EQ(POLL_EXITED, w->ret);
		break;
	case HOW_PIDFD:
		/* HUP comes with the reaping, which may be over by now. */
		EXPECT_EQ(1, w->ret);
		EXPECT_EQ(POLL_EXITED, w->seen & ~POLLHUP);
		return;
	default:
		break;
	}
	expect_exited(_metadata, w->fd);
}

#endif /* __PROC_EXITHAND_H */
