// SPDX-License-Identifier: GPL-2.0
/*
 * The exit status of a process, as /proc/<pid>/exithand shows it in fdinfo.
 *
 * The oracle is what the parent of the process, the keeper, gets from wait().
 * It is always asked, and what it should say is stated as well.  The values of
 * Tgid and NStgid are compared with those of Pid and NSpid of a pidfd, and so
 * is the status once the process has been reaped.
 *
 * death.*: ways to die, each seen by who was there before and by who came late.
 * traced.*, core.*: where the status of the process is not that of its leader.
 * life.*: what is no exit has no status, and races with what is one.
 * right.*: whose open file shows the status, and whose does not.
 * holder.*, pidns.*: from where the file is read.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <linux/capability.h>
#include <linux/coredump.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include "proc-exithand.h"

#define EXITED(code)	((code) << 8)
#define DUMPED(sig)	((sig) | 0x80)

/* In place of a status. */
#define ALIVE		(-1)
#define UNSEEN		(-2)	/* exited, but the file does not show how */

/*
 * struct pidfd_info as first published, which every kernel that has one takes.
 * <linux/pidfd.h> has it too, and cannot be included together with <fcntl.h>.
 */
struct pidfd_exit_info {
	__u64 mask;
	__u64 cgroupid;
	__u32 ids[11];
	__s32 exit_code;
};

#define PIDFD_GET_EXIT_INFO	_IOWR(0xFF, 11, struct pidfd_exit_info)
#define PIDFD_INFO_HAS_EXIT	8

/* What a pidfd has for the status, ALIVE if nothing. */
static int pidfd_status(int pidfd)
{
	struct pidfd_exit_info info = { .mask = PIDFD_INFO_HAS_EXIT };

	if (ioctl(pidfd, PIDFD_GET_EXIT_INFO, &info) ||
	    !(info.mask & PIDFD_INFO_HAS_EXIT))
		return ALIVE;
	return info.exit_code;
}

struct text {
	char buf[512];
};

/* The fdinfo of a file from the line that starts with @first on. */
static const char *shown_from(struct text *t, const char *first,
			      const char *who, int fd)
{
	char *p = NULL;

	if (slurp(t->buf, sizeof(t->buf), "/proc/%s/fdinfo/%d", who, fd) > 0)
		p = strstr(t->buf, first);
	return p ? p + 1 : "nothing\n";
}

/* What fdinfo shows for exithand files only. */
static const char *shown_by(struct text *t, const char *who, int fd)
{
	return shown_from(t, "\nTgid:", who, fd);
}

static const char *shown(struct text *t, int fd)
{
	return shown_by(t, "self", fd);
}

/* What it should show for a process with these PIDs. */
static const char *expected(struct text *t, const char *tgid,
			    const char *nstgid, int status)
{
	int len = snprintf(t->buf, sizeof(t->buf),
			   "Tgid:\t%s\nNStgid:\t%s\nExited:\t%d\n", tgid,
			   nstgid, status != ALIVE);

	if (status != ALIVE && status != UNSEEN)
		snprintf(t->buf + len, sizeof(t->buf) - len,
			 "ExitStatus:\t%d\n", status);
	return t->buf;
}

/* The same for a process that has one PID, or none (0), or none any more (-1). */
static const char *expected_pid(struct text *t, pid_t pid, int status)
{
	char nr[16];

	snprintf(nr, sizeof(nr), "%d", pid);
	return expected(t, nr, nr, status);
}

/* @who, "self" or a PID, is the holder of both files. */
static void expect_shows_by(struct __test_metadata *_metadata, const char *who,
			    int fd, int pidfd, int status, const char *when)
{
	struct text is, should, pids;
	char pid[16], nspid[64];
	int n;

	/* An exit that is reported although it is none has been, by then. */
	exits_settle();
	n = sscanf(shown_from(&pids, "\nPid:", who, pidfd),
		   "Pid:\t%15[^\n]\nNSpid:\t%63[^\n]", pid, nspid);
	ASSERT_EQ(2, n) TH_LOG("a pidfd shows %s", pids.buf);
	EXPECT_STREQ(expected(&should, pid, nspid, status),
		     shown_by(&is, who, fd))
		TH_LOG("%s, read in /proc/%s", when, who);
}

static void expect_shows(struct __test_metadata *_metadata, int fd, int pidfd,
			 int status, const char *when)
{
	expect_shows_by(_metadata, "self", fd, pidfd, status, when);
}

/* All that is known for good, now that the process has been reaped. */
static void expect_gone(struct __test_metadata *_metadata, int fd, int pidfd,
			int status)
{
	struct text is, should;

	expect_shows(_metadata, fd, pidfd, status, "after the reaping");
	EXPECT_STREQ(expected_pid(&should, -1, status), shown(&is, fd));
}

/*
 * The target execs at the start, and is this then.  Other than before it takes
 * a number with each letter.  The letters mean the same.
 */
struct order {
	char what;
	unsigned char nr;
};

#define DO_SIGNAL		'k'	/* send itself that signal */
#define DO_SIGNAL_THREAD	'K'	/* another thread does so */
#define DO_THREAD_EXIT		't'	/* a thread comes and exits with @nr */
#define DO_NO_CORE		'n'	/* no core will be dumped */
#define DO_DUMPABLE		'u'	/* 1: can be traced by its user, 0: not */
#define DO_BECOME_USER		'U'	/* give up root */

struct orders {
	int in, out;
	struct order now;
};

static void obey_orders(struct orders *o);

static void *thread_orders(void *arg)
{
	struct orders *o = arg;

	if (!put_byte(o->out, o->now.what))
		_exit(124);
	obey_orders(o);
	return NULL;
}

/* The user and group that own nothing here. */
#define NOBODY 65534

/* Root becomes someone else, whose /proc/self is his own; others stay. */
static bool become_user(void)
{
	if (geteuid())
		return true;
	return !setresgid(NOBODY, NOBODY, NOBODY) &&
	       !setresuid(NOBODY, NOBODY, NOBODY) &&
	       /* setresuid() has cleared both. */
	       !prctl(PR_SET_DUMPABLE, 1) && !prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static void signal_self(int sig)
{
	signal(sig, SIG_DFL);
	raise(sig);
}

static void *thread_order(void *arg)
{
	struct orders *o = arg;

	switch (o->now.what) {
	case DO_GROUP_EXIT:
		_exit(o->now.nr);
	case DO_SIGNAL_THREAD:
		signal_self(o->now.nr);
		break;
	case DO_THREAD_EXIT:
		syscall(__NR_exit, o->now.nr);
		break;
	}
	return NULL;
}

/* Has every thread but one been released? */
static bool alone(pid_t pid)
{
	char buf[4096];

	return slurp(buf, sizeof(buf), "/proc/%d/status", pid) > 0 &&
	       strstr(buf, "\nThreads:\t1\n");
}

static void obey_orders(struct orders *o)
{
	const struct rlimit no_core = { 1, 1 };	/* by a pipe, neither */
	struct obey exec = { .in = o->in, .out = o->out };
	pthread_t thread;
	int nr;

	while (read(o->in, &o->now, sizeof(o->now)) == sizeof(o->now)) {
		switch (o->now.what) {
		case DO_EXIT:
			_exit(o->now.nr);
		case DO_EXIT_THREAD:
			syscall(__NR_exit, o->now.nr);
			break;
		case DO_GROUP_EXIT:
		case DO_SIGNAL_THREAD:
			pthread_create(&thread, NULL, thread_order, o);
			thread_pause(NULL);
			break;
		case DO_THREAD_EXIT:
			pthread_create(&thread, NULL, thread_order, o);
			while (!alone(getpid()))
				relax();
			break;
		case DO_LEADER_FIRST:
			/* The next order is for the other thread. */
			nr = o->now.nr;
			pthread_create(&thread, NULL, thread_orders, o);
			syscall(__NR_exit, nr);
			break;
		case DO_SIGNAL:
			signal_self(o->now.nr);
			break;
		case DO_NO_CORE:
			setrlimit(RLIMIT_CORE, &no_core);
			break;
		case DO_DUMPABLE:
			prctl(PR_SET_DUMPABLE, o->now.nr);
			break;
		case DO_BECOME_USER:
			if (!become_user())
				_exit(119);
			break;
		case DO_EXEC:
			obey_exec(&exec, o->now.what);
			break;
		case DO_EXEC_THREAD:
			pthread_create(&thread, NULL, thread_exec, &exec);
			thread_pause(NULL);
			break;
		}
		if (!put_byte(o->out, o->now.what))
			break;
	}
	_exit(123);
}

static int orders_main(int argc, char **argv)
{
	struct orders o;

	if (argc != 5)
		return 122;
	o.in = atoi(argv[2]);
	o.out = atoi(argv[3]);
	if (!put_byte(o.out, argv[4][0]))
		return 124;
	obey_orders(&o);
	return 0;
}

/* An order that ends the target: no answer is expected. */
static void order_last(struct __test_metadata *_metadata, struct target *t,
		       char what, int nr)
{
	struct order o = { .what = what, .nr = nr };

	ASSERT_EQ(sizeof(o), write(t->in, &o, sizeof(o)));
}

static void order(struct __test_metadata *_metadata, struct target *t,
		  char what, int nr)
{
	int c;

	order_last(_metadata, t, what, nr);
	c = get_byte(t->out);
	ASSERT_EQ(what, c)
		TH_LOG("target %d did not do '%c' %d", t->pid, what, nr);
}

static void order_leader_first(struct __test_metadata *_metadata,
			       struct target *t, int code)
{
	order(_metadata, t, DO_LEADER_FIRST, code);
	ASSERT_TRUE(eventually(leader_state(t->pid) == 'Z'))
		TH_LOG("leader %d is %c, not a zombie", t->pid,
		       leader_state(t->pid) ?: '?');
}

/* The target, ready for orders, and a pidfd of it. */
static bool start(struct __test_metadata *_metadata, struct target *t,
		  int *pidfd, enum spawn how)
{
	if (!target_try(_metadata, t, how))
		SKIP(return false, "cannot make the process: %s",
		     strerror(-t->pid));
	target_do(_metadata, t, DO_EXEC);
	*pidfd = pidfd_of(t->pid);
	ASSERT_LE(0, *pidfd) TH_LOG("pidfd_open: %s", strerror(errno));
	return true;
}

static int open_target(struct __test_metadata *_metadata, struct target *t)
{
	int fd = exithand_open(t->pid, O_RDONLY);

	ASSERT_LE(0, fd) TH_LOG("open: %s", strerror(-fd));
	return fd;
}

/* A pidfd knows as well, and does not depend on what is tested here. */
static void await_exit(struct __test_metadata *_metadata, int pidfd)
{
	ASSERT_EQ(POLLIN, poll_bounded(pidfd) & POLLIN)
		TH_LOG("the target lives on");
	exits_settle();
}

#define START(how)	start(_metadata, &self->t, &self->pidfd, how)
#define OPEN()		open_target(_metadata, &self->t)
#define ORDER(what, nr)	order(_metadata, &self->t, what, nr)
#define LAST(what, nr)	order_last(_metadata, &self->t, what, nr)
#define LEADER_FIRST(code) order_leader_first(_metadata, &self->t, code)
#define SHOWS(fd, status, when)						\
	expect_shows(_metadata, fd, self->pidfd, status, when)
#define AWAIT_EXIT()	await_exit(_metadata, self->pidfd)
#define REAPED(status)							\
	EXPECT_EQ(status, target_reap(_metadata, &self->t))
#define GONE(fd, status) expect_gone(_metadata, fd, self->pidfd, status)

/*
 * Ways to die.
 */
FIXTURE(death)
{
	struct target t;
	int pidfd;
};

FIXTURE_VARIANT(death)
{
	struct order orders[4];	/* the last one ends it */
	int status;
};

FIXTURE_VARIANT_ADD(death, exit_0)
{
	.orders = { { DO_EXIT, 0 } }, .status = EXITED(0),
};

FIXTURE_VARIANT_ADD(death, exit_7)
{
	.orders = { { DO_EXIT, 7 } }, .status = EXITED(7),
};

FIXTURE_VARIANT_ADD(death, exit_255)
{
	.orders = { { DO_EXIT, 255 } }, .status = EXITED(255),
};

FIXTURE_VARIANT_ADD(death, exit_of_the_only_thread)
{
	.orders = { { DO_EXIT_THREAD, 9 } }, .status = EXITED(9),
};

FIXTURE_VARIANT_ADD(death, sigkill)
{
	.orders = { { DO_SIGNAL, SIGKILL } }, .status = SIGKILL,
};

FIXTURE_VARIANT_ADD(death, sigterm)
{
	.orders = { { DO_SIGNAL, SIGTERM } }, .status = SIGTERM,
};

FIXTURE_VARIANT_ADD(death, sigkill_by_another_thread)
{
	.orders = { { DO_SIGNAL_THREAD, SIGKILL } }, .status = SIGKILL,
};

FIXTURE_VARIANT_ADD(death, sigsegv_without_core)
{
	.orders = { { DO_NO_CORE }, { DO_SIGNAL, SIGSEGV } },
	.status = SIGSEGV,
};

FIXTURE_VARIANT_ADD(death, group_exit_by_another_thread)
{
	.orders = { { DO_GROUP_EXIT, 7 } }, .status = EXITED(7),
};

FIXTURE_VARIANT_ADD(death, thread_first)
{
	.orders = { { DO_THREAD_EXIT, 5 }, { DO_EXIT_THREAD, 3 } },
	.status = EXITED(3),
};

FIXTURE_VARIANT_ADD(death, leader_first)
{
	.orders = { { DO_LEADER_FIRST, 3 }, { DO_EXIT_THREAD, 5 } },
	.status = EXITED(5),
};

FIXTURE_VARIANT_ADD(death, leader_first_with_0)
{
	.orders = { { DO_LEADER_FIRST, 0 }, { DO_EXIT_THREAD, 5 } },
	.status = EXITED(5),
};

FIXTURE_VARIANT_ADD(death, leader_first_then_0)
{
	.orders = { { DO_LEADER_FIRST, 3 }, { DO_EXIT_THREAD, 0 } },
	.status = EXITED(0),
};

FIXTURE_VARIANT_ADD(death, leader_first_then_group_exit)
{
	.orders = { { DO_LEADER_FIRST, 3 }, { DO_EXIT, 5 } },
	.status = EXITED(5),
};

FIXTURE_VARIANT_ADD(death, leader_first_then_sigkill)
{
	.orders = { { DO_LEADER_FIRST, 3 }, { DO_SIGNAL, SIGKILL } },
	.status = SIGKILL,
};

FIXTURE_VARIANT_ADD(death, leader_first_then_sigsegv_without_core)
{
	.orders = { { DO_NO_CORE },
		    { DO_LEADER_FIRST, 3 },
		    { DO_SIGNAL, SIGSEGV } },
	.status = SIGSEGV,
};

FIXTURE_VARIANT_ADD(death, after_exec)
{
	.orders = { { DO_EXEC }, { DO_EXIT, 7 } }, .status = EXITED(7),
};

FIXTURE_VARIANT_ADD(death, after_exec_by_another_thread)
{
	.orders = { { DO_EXEC_THREAD }, { DO_EXIT, 7 } },
	.status = EXITED(7),
};

/* That leader's status is nobody's: another one takes its place. */
FIXTURE_VARIANT_ADD(death, after_leader_first_and_exec)
{
	.orders = { { DO_LEADER_FIRST, 3 }, { DO_EXEC }, { DO_EXIT, 7 } },
	.status = EXITED(7),
};

FIXTURE_SETUP(death)
{
	signal(SIGPIPE, SIG_IGN);
	if (exithand_needed(_metadata))
		START(SPAWN_FORK);
}

FIXTURE_TEARDOWN(death)
{
	target_end(&self->t);
}

/* Carries out the orders; if there is a file, it must know of no exit yet. */
static void die(struct __test_metadata *_metadata, struct target *t,
		const struct order *o, int fd, int pidfd)
{
	char when[32];

	for (; o[1].what; o++) {
		if (o->what == DO_LEADER_FIRST)
			order_leader_first(_metadata, t, o->nr);
		else
			order(_metadata, t, o->what, o->nr);
		snprintf(when, sizeof(when), "after '%c' %d", o->what, o->nr);
		if (fd >= 0)
			expect_shows(_metadata, fd, pidfd, ALIVE, when);
	}
	order_last(_metadata, t, o->what, o->nr);
}

TEST_F(death, of_a_watched_process)
{
	int fd, late;

	fd = OPEN();
	SHOWS(fd, ALIVE, "at the start");
	die(_metadata, &self->t, variant->orders, fd, self->pidfd);
	ASSERT_EQ(POLL_EXITED, poll_bounded(fd));
	EXPECT_EQ('Z', leader_state(self->t.pid));
	SHOWS(fd, variant->status, "as a zombie");
	late = OPEN();
	SHOWS(late, variant->status, "opened late");
	REAPED(variant->status);
	GONE(fd, variant->status);
	GONE(late, variant->status);
	EXPECT_EQ(variant->status, pidfd_status(self->pidfd));
}

TEST_F(death, of_a_process_that_nobody_watched)
{
	int fd, again;

	die(_metadata, &self->t, variant->orders, -1, self->pidfd);
	AWAIT_EXIT();
	fd = OPEN();
	SHOWS(fd, variant->status, "opened late");
	again = OPEN();
	SHOWS(again, variant->status, "opened once more");
	REAPED(variant->status);
	GONE(fd, variant->status);
	GONE(again, variant->status);
	EXPECT_EQ(variant->status, pidfd_status(self->pidfd));
}

/*
 * Nobody waits for these: there is no other way to learn of their status but
 * a pidfd.
 */
FIXTURE(unreaped)
{
	struct target t;
	int pidfd;
};

FIXTURE_VARIANT(unreaped)
{
	enum spawn how;
};

FIXTURE_VARIANT_ADD(unreaped, parent_ignores_sigchld)
{
	.how = SPAWN_IGNORED,
};

FIXTURE_VARIANT_ADD(unreaped, parent_has_nocldwait)
{
	.how = SPAWN_NOCLDWAIT,
};

FIXTURE_VARIANT_ADD(unreaped, autoreaped)
{
	.how = SPAWN_AUTOREAP,
};

FIXTURE_SETUP(unreaped)
{
	signal(SIGPIPE, SIG_IGN);
	if (exithand_needed(_metadata))
		START(variant->how);
}

FIXTURE_TEARDOWN(unreaped)
{
	target_end(&self->t);
}

static bool pid_is_free(pid_t pid)
{
	return kill(pid, 0) == -1 && errno == ESRCH;
}

TEST_F(unreaped, exits)
{
	int fd = OPEN();

	LAST(DO_EXIT, 5);
	ASSERT_EQ(POLL_EXITED, poll_bounded(fd));
	ASSERT_TRUE(eventually(pid_is_free(self->t.pid)));
	GONE(fd, EXITED(5));
	EXPECT_EQ(EXITED(5), pidfd_status(self->pidfd));
}

TEST_F(unreaped, leader_exits_first)
{
	int fd = OPEN();

	LEADER_FIRST(3);
	SHOWS(fd, ALIVE, "after the leader's exit");
	LAST(DO_EXIT_THREAD, 5);
	ASSERT_EQ(POLL_EXITED, poll_bounded(fd));
	ASSERT_TRUE(eventually(pid_is_free(self->t.pid)));
	GONE(fd, EXITED(5));
	EXPECT_EQ(EXITED(5), pidfd_status(self->pidfd));
}

/*
 * With a tracer there is time to look, and to make one thread the last.
 */
FIXTURE(traced)
{
	struct target t;
	int pidfd;
};

FIXTURE_SETUP(traced)
{
	signal(SIGPIPE, SIG_IGN);
	if (exithand_needed(_metadata))
		START(SPAWN_FORK);
}

FIXTURE_TEARDOWN(traced)
{
	target_end(&self->t);
}

#define SEIZE(tid, options)	attach(_metadata, PTRACE_SEIZE, tid, options)

/* The tracer has not let the parent have it. */
TEST_F(traced, zombie)
{
	int fd = OPEN(), late;

	if (!SEIZE(self->t.pid, 0))
		return;
	SHOWS(fd, ALIVE, "after seize");
	LAST(DO_EXIT, 7);
	ASSERT_EQ(POLL_EXITED, poll_bounded(fd));
	SHOWS(fd, EXITED(7), "as a zombie for the tracer");
	late = OPEN();
	SHOWS(late, EXITED(7), "opened late");
	EXPECT_EQ(EXITED(7), tracer_wait(self->t.pid));
	SHOWS(fd, EXITED(7), "as a zombie for the parent");
	REAPED(EXITED(7));
	GONE(fd, EXITED(7));
	GONE(late, EXITED(7));
}

TEST_F(traced, leader_exits_first)
{
	int fd = OPEN();

	if (!SEIZE(self->t.pid, 0))
		return;
	LEADER_FIRST(3);
	SHOWS(fd, ALIVE, "after the exit of a traced leader");
	LAST(DO_EXIT_THREAD, 5);
	ASSERT_EQ(POLL_EXITED, poll_bounded(fd));
	SHOWS(fd, EXITED(5), "as a zombie for the tracer");
	EXPECT_EQ(EXITED(5), tracer_wait(self->t.pid));
	REAPED(EXITED(5));
	GONE(fd, EXITED(5));
}

/* The stop before an exit: the leader cannot go on, others can. */
static void held_at_exit(struct __test_metadata *_metadata, struct target *t)
{
	int status = tracer_wait(t->pid);

	ASSERT_EQ(SIGTRAP | PTRACE_EVENT_EXIT << 8, status >> 8)
		TH_LOG("status %#x", status);
}

static void let_go(struct __test_metadata *_metadata, struct target *t)
{
	ASSERT_TRUE(eventually(alone(t->pid)));
	ASSERT_EQ(0, ptrace(PTRACE_CONT, t->pid, NULL, NULL));
}

/*
 * The leader is on its way out with 3, the other thread follows with 5 and
 * overtakes it.  It is 5 for wait(), by whatever way the leader then goes.
 */
TEST_F(traced, leader_is_overtaken)
{
	int fd = OPEN(), late;

	if (!SEIZE(self->t.pid, PTRACE_O_TRACEEXIT))
		return;
	ORDER(DO_LEADER_FIRST, 3);
	held_at_exit(_metadata, &self->t);
	SHOWS(fd, ALIVE, "with the leader on its way out");
	LAST(DO_EXIT_THREAD, 5);
	ASSERT_TRUE(eventually(alone(self->t.pid)));
	SHOWS(fd, ALIVE, "with only the leader left, on its way out");
	let_go(_metadata, &self->t);
	ASSERT_EQ(POLL_EXITED, poll_bounded(fd));
	SHOWS(fd, EXITED(5), "as a zombie for the tracer");
	late = OPEN();
	SHOWS(late, EXITED(5), "opened late");
	EXPECT_EQ(EXITED(5), tracer_wait(self->t.pid));
	REAPED(EXITED(5));
	GONE(fd, EXITED(5));
	GONE(late, EXITED(5));
	TH_LOG("a pidfd says %#x", pidfd_status(self->pidfd));
}

/* As above, by a process that nobody watched. */
TEST_F(traced, leader_is_overtaken_and_nobody_watched)
{
	int fd;

	if (!SEIZE(self->t.pid, PTRACE_O_TRACEEXIT))
		return;
	ORDER(DO_LEADER_FIRST, 3);
	held_at_exit(_metadata, &self->t);
	LAST(DO_EXIT_THREAD, 5);
	let_go(_metadata, &self->t);
	AWAIT_EXIT();
	fd = OPEN();
	SHOWS(fd, EXITED(5), "opened late");
	EXPECT_EQ(EXITED(5), tracer_wait(self->t.pid));
	REAPED(EXITED(5));
	GONE(fd, EXITED(5));
}

/* Some thread that is not the leader, 0 if there is none. */
static pid_t other_thread(pid_t pid)
{
	struct dirent *entry;
	char path[32];
	pid_t tid = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		tid = atoi(entry->d_name);	/* 0 for the dots */
		if (tid && tid != pid)
			break;
		tid = 0;
	}
	if (dir)
		closedir(dir);
	return tid;
}

/*
 * The last thread is dead, but traced, and so kept: it is our own wait() for it
 * that makes this an exit, and we are none of the process.
 */
TEST_F(traced, last_thread_is_let_go_by_its_tracer)
{
	int fd = OPEN();
	pid_t tid;

	LEADER_FIRST(3);
	tid = other_thread(self->t.pid);
	ASSERT_LT(0, tid);
	if (!SEIZE(tid, 0))
		return;
	LAST(DO_EXIT_THREAD, 5);
	ASSERT_TRUE(eventually(task_state(self->t.pid, tid) == 'Z'));
	SHOWS(fd, ALIVE, "with a dead thread left");
	EXPECT_EQ(EXITED(5), tracer_wait(tid));
	EXPECT_EQ(POLL_EXITED, poll_bounded(fd));
	SHOWS(fd, EXITED(5), "as a zombie");
	REAPED(EXITED(5));
	GONE(fd, EXITED(5));
}

/*
 * Core dumps, of which we are told by a socket, and say that one was made.
 */
FIXTURE(core)
{
	struct target t;
	int pidfd;
	struct core_socket sock;
};

FIXTURE_SETUP(core)
{
	signal(SIGPIPE, SIG_IGN);
	if (!exithand_needed(_metadata))
		return;
	if (!core_socket_open(_metadata, &self->sock))
		SKIP(return, "cannot have cores sent to a socket: %s",
		     strerror(errno));
	START(SPAWN_FORK);
	core_socket_not_for_us(_metadata);
}

FIXTURE_TEARDOWN_PARENT(core)
{
	core_socket_close(&self->sock);
}

/* The kernel asks what to do about a core; the file by which it does. */
static int core_asked(struct __test_metadata *_metadata,
		      struct core_socket *sock)
{
	int fd = core_socket_accept(_metadata, sock);
	struct coredump_req req;

	ASSERT_EQ(COREDUMP_REQ_SIZE_VER0,
		  recv(fd, &req, COREDUMP_REQ_SIZE_VER0, MSG_WAITALL));
	ASSERT_TRUE(req.mask & COREDUMP_USERSPACE);
	return fd;
}

/* We have done it, is the answer. */
static void core_done(struct __test_metadata *_metadata, int fd)
{
	struct coredump_ack ack = {
		.size = COREDUMP_ACK_SIZE_VER0,
		.mask = COREDUMP_USERSPACE,
	};

	ASSERT_EQ(ack.size, send(fd, &ack, ack.size, MSG_NOSIGNAL));
	ASSERT_EQ(COREDUMP_MARK_REQACK, get_byte(fd));
	close(fd);
}

TEST_F(core, dumped)
{
	int fd = OPEN(), late, core;

	LAST(DO_SIGNAL, SIGSEGV);
	core = core_asked(_metadata, &self->sock);
	SHOWS(fd, ALIVE, "during a core dump");
	core_done(_metadata, core);
	ASSERT_EQ(POLL_EXITED, poll_bounded(fd));
	SHOWS(fd, DUMPED(SIGSEGV), "as a zombie");
	late = OPEN();
	SHOWS(late, DUMPED(SIGSEGV), "opened late");
	REAPED(DUMPED(SIGSEGV));
	GONE(fd, DUMPED(SIGSEGV));
	GONE(late, DUMPED(SIGSEGV));
	EXPECT_EQ(DUMPED(SIGSEGV), pidfd_status(self->pidfd));
	target_end(&self->t);
}

TEST_F(core, dumped_and_nobody_watched)
{
	int fd;

	LAST(DO_SIGNAL, SIGABRT);
	core_done(_metadata, core_asked(_metadata, &self->sock));
	AWAIT_EXIT();
	fd = OPEN();
	SHOWS(fd, DUMPED(SIGABRT), "opened late");
	REAPED(DUMPED(SIGABRT));
	GONE(fd, DUMPED(SIGABRT));
	target_end(&self->t);
}

TEST_F(core, refused)
{
	int fd = OPEN();

	LAST(DO_SIGNAL, SIGSEGV);
	close(core_asked(_metadata, &self->sock));
	ASSERT_EQ(POLL_EXITED, poll_bounded(fd));
	SHOWS(fd, SIGSEGV, "as a zombie");
	REAPED(SIGSEGV);
	GONE(fd, SIGSEGV);
	EXPECT_EQ(SIGSEGV, pidfd_status(self->pidfd));
	target_end(&self->t);
}

TEST_F(core, dumped_after_leader_exit)
{
	int fd = OPEN();

	LEADER_FIRST(3);
	LAST(DO_SIGNAL, SIGSEGV);
	core_done(_metadata, core_asked(_metadata, &self->sock));
	ASSERT_EQ(POLL_EXITED, poll_bounded(fd));
	SHOWS(fd, DUMPED(SIGSEGV), "as a zombie");
	REAPED(DUMPED(SIGSEGV));
	GONE(fd, DUMPED(SIGSEGV));
	target_end(&self->t);
}

/*
 * The leader is on its way out already while the core is dumped, and has not
 * heard that one was; so what it takes along lacks the flag.
 */
TEST_F(core, dumped_by_another_thread)
{
	int fd = OPEN(), late;

	if (SEIZE(self->t.pid, PTRACE_O_TRACEEXIT)) {
		LAST(DO_SIGNAL_THREAD, SIGSEGV);
		core_done(_metadata, core_asked(_metadata, &self->sock));
		held_at_exit(_metadata, &self->t);
		let_go(_metadata, &self->t);
		ASSERT_EQ(POLL_EXITED, poll_bounded(fd));
		SHOWS(fd, DUMPED(SIGSEGV), "as a zombie for the tracer");
		late = OPEN();
		SHOWS(late, DUMPED(SIGSEGV), "opened late");
		EXPECT_EQ(DUMPED(SIGSEGV), tracer_wait(self->t.pid));
		REAPED(DUMPED(SIGSEGV));
		GONE(fd, DUMPED(SIGSEGV));
		GONE(late, DUMPED(SIGSEGV));
		TH_LOG("a pidfd says %#x", pidfd_status(self->pidfd));
	}
	target_end(&self->t);
}

/*
 * What is no exit, and when the exit comes.
 */
FIXTURE(life)
{
	struct target t;
	int pidfd;
};

FIXTURE_SETUP(life)
{
	signal(SIGPIPE, SIG_IGN);
	if (exithand_needed(_metadata))
		START(SPAWN_FORK);
}

FIXTURE_TEARDOWN(life)
{
	target_end(&self->t);
}

/* The line of each file comes first, ours after it, and there is no more. */
TEST_F(life, format)
{
	char is[512], should[512];
	unsigned long long ino;
	int fd = OPEN(), start = 0, n;

	ASSERT_LT(0, slurp(is, sizeof(is), "/proc/self/fdinfo/%d", fd));
	n = sscanf(is, "pos: 0 flags: %*o mnt_id: %*d %nino: %llu", &start,
		   &ino);
	ASSERT_EQ(1, n) TH_LOG("%s", is);
	snprintf(should, sizeof(should), "ino:\t%llu\n"
		 "Tgid:\t%d\nNStgid:\t%d\nExited:\t0\n", ino, self->t.pid,
		 self->t.pid);
	EXPECT_STREQ(should, is + start);

	LAST(DO_EXIT, 7);
	REAPED(EXITED(7));
	ASSERT_LT(0, slurp(is, sizeof(is), "/proc/self/fdinfo/%d", fd));
	snprintf(should, sizeof(should), "ino:\t%llu\n"
		 "Tgid:\t-1\nNStgid:\t-1\nExited:\t1\nExitStatus:\t1792\n",
		 ino);
	EXPECT_STREQ(should, is + start);
}

/*
 * No line begins with "Pid:" or "NSpid:": glibc's pidfd_getpid() and systemd's
 * pidfd_get_pid() take any file that has such a line for a pidfd.
 */
TEST_F(life, is_not_taken_for_a_pidfd)
{
	struct text t;
	int fd = OPEN();

	EXPECT_STREQ("nothing\n", shown_from(&t, "\nPid:", "self", fd));
	EXPECT_STREQ("nothing\n", shown_from(&t, "\nNSpid:", "self", fd));
	LAST(DO_EXIT, 7);
	REAPED(EXITED(7));
	EXPECT_STREQ("nothing\n", shown_from(&t, "\nPid:", "self", fd));
	EXPECT_STREQ("nothing\n", shown_from(&t, "\nNSpid:", "self", fd));
}

TEST_F(life, stop_and_continue)
{
	int fd = OPEN();

	ASSERT_EQ(0, kill(self->t.pid, SIGSTOP));
	ASSERT_TRUE(eventually(task_rests(self->t.pid, self->t.pid, 'T')));
	SHOWS(fd, ALIVE, "after a stop");
	ASSERT_EQ(0, kill(self->t.pid, SIGCONT));
	ORDER(DO_ANSWER, 0);
	SHOWS(fd, ALIVE, "after a continue");
	ASSERT_EQ(0, kill(self->t.pid, SIGSTOP));
	ASSERT_TRUE(eventually(task_rests(self->t.pid, self->t.pid, 'T')));
	ASSERT_EQ(0, kill(self->t.pid, SIGKILL));
	ASSERT_EQ(POLL_EXITED, poll_bounded(fd));
	/* Nothing that is sent to a zombie makes a difference. */
	ASSERT_EQ(0, kill(self->t.pid, SIGCONT));
	ASSERT_EQ(0, kill(self->t.pid, SIGTERM));
	SHOWS(fd, SIGKILL, "as a zombie");
	SHOWS(OPEN(), SIGKILL, "opened late");
	REAPED(SIGKILL);
	GONE(fd, SIGKILL);
}

#define EXECS 50

/* Looks without a pause while one thread after another execs. */
TEST_F(life, execs_without_end)
{
	struct pollfd pfd = { .fd = self->t.out, .events = POLLIN };
	struct text is, should;
	int fd = OPEN(), looks = 0, i;

	expected_pid(&should, self->t.pid, ALIVE);
	for (i = 0; i < EXECS; i++) {
		LAST(DO_EXEC_THREAD, 0);
		do {
			ASSERT_STREQ(should.buf, shown(&is, fd))
				TH_LOG("in exec %d, look %d", i, looks);
			looks++;
		} while (poll(&pfd, 1, 0) == 0);
		ASSERT_EQ(DO_EXEC_THREAD, get_byte(self->t.out));
	}
	TH_LOG("%d looks in %d execs", looks, EXECS);
	LAST(DO_EXIT, 7);
	REAPED(EXITED(7));
	GONE(fd, EXITED(7));
}

#define ROUNDS 100

/* Looks without a pause while a process exits, and is reaped at once. */
TEST(exit_step_by_step)
{
	enum { LIVES, IS_ZOMBIE, IS_GONE, STEPS };
	int i, fd, step, last, seen[STEPS] = { 0 };
	struct text is, should[STEPS];
	const char *text;
	struct target t;

	signal(SIGPIPE, SIG_IGN);
	if (!exithand_needed(_metadata))
		return;
	for (i = 0; i < ROUNDS; i++) {
		target_start(_metadata, &t);
		expected_pid(&should[LIVES], t.pid, ALIVE);
		expected_pid(&should[IS_ZOMBIE], t.pid, EXITED(TARGET_CODE));
		expected_pid(&should[IS_GONE], -1, EXITED(TARGET_CODE));
		fd = exithand_open(t.pid, O_RDONLY);
		ASSERT_LE(0, fd);
		ASSERT_TRUE(put_byte(t.kin, KEEPER_REAP));
		ASSERT_TRUE(put_byte(t.in, DO_EXIT));
		for (last = LIVES; last != IS_GONE; last = step) {
			text = shown(&is, fd);
			for (step = last; step < STEPS; step++)
				if (!strcmp(should[step].buf, text))
					break;
			ASSERT_NE(STEPS, step)
				TH_LOG("round %d, step %d, then: %s", i, last,
				       text);
			seen[step]++;
		}
		close(fd);
		target_end(&t);
	}
	TH_LOG("seen: %d times alive, %d as a zombie, %d gone", seen[LIVES],
	       seen[IS_ZOMBIE], seen[IS_GONE]);
}

/*
 * Two processes hold the file.
 */
FIXTURE(holder)
{
	struct target t;
	int pidfd;
};

FIXTURE_SETUP(holder)
{
	signal(SIGPIPE, SIG_IGN);
	if (exithand_needed(_metadata))
		START(SPAWN_FORK);
}

FIXTURE_TEARDOWN(holder)
{
	target_end(&self->t);
}

/* Looks before and after; @steps tells it when. */
static void child_looks(struct __test_metadata *_metadata, int fd, int pidfd,
			int status, int steps, int answers)
{
	expect_shows(_metadata, fd, pidfd, ALIVE, "in the child, at the start");
	ASSERT_TRUE(put_byte(answers, 'l'));
	ASSERT_EQ('z', get_byte(steps));
	expect_shows(_metadata, fd, pidfd, status, "in the child, as a zombie");
	ASSERT_TRUE(put_byte(answers, 'z'));
	ASSERT_EQ('r', get_byte(steps));
	expect_gone(_metadata, fd, pidfd, status);
}

static void child_ends(struct __test_metadata *_metadata, pid_t child)
{
	int status = -1;

	ASSERT_TRUE(eventually(waitpid(child, &status, WNOHANG) == child));
	EXPECT_EQ(0, status) TH_LOG("the child: wait status %#x", status);
}

/* It has the same file by fork; and we can look into its fdinfo, too. */
TEST_F(holder, another_process)
{
	int fd = OPEN(), steps[2], answers[2];
	pid_t child, me = getpid();
	struct text mine, theirs;
	char who[16];

	ASSERT_EQ(0, pipe(steps));
	ASSERT_EQ(0, pipe(answers));
	child = fork();
	ASSERT_LE(0, child);
	if (child == 0) {
		die_with_parent(me);
		child_looks(_metadata, fd, self->pidfd, EXITED(7), steps[0],
			    answers[1]);
		_exit(0);
	}
	ASSERT_EQ('l', get_byte(answers[0]));
	LAST(DO_EXIT, 7);
	ASSERT_EQ(POLL_EXITED, poll_bounded(fd));
	SHOWS(fd, EXITED(7), "as a zombie");
	ASSERT_TRUE(put_byte(steps[1], 'z'));
	ASSERT_EQ('z', get_byte(answers[0]));
	/* The file of the child, looked at by us. */
	snprintf(who, sizeof(who), "%d", child);
	EXPECT_STREQ(shown(&mine, fd), shown_by(&theirs, who, fd));
	REAPED(EXITED(7));
	EXPECT_STREQ(shown(&mine, fd), shown_by(&theirs, who, fd));
	ASSERT_TRUE(put_byte(steps[1], 'r'));
	child_ends(_metadata, child);
	GONE(fd, EXITED(7));
}

/*
 * Whose file shows the status: the check is made once, at open, and its result
 * belongs to the open file, whoever reads it later.  Run by root, the opener is
 * an ordinary user if not said otherwise; run by a user, it is that user.
 */
FIXTURE(right)
{
	struct target t;
	int pidfd;
};

FIXTURE_VARIANT(right)
{
	bool of_root;		/* the process; otherwise of the opener's user */
	bool by_root;		/* is the first file opened */
	bool undumpable;	/* the process, when the first file is opened */
	bool changes;		/* that, before the second is opened */
	bool shown[2];		/* in the first file; in one opened after the exit */
};

FIXTURE_VARIANT_ADD(right, own)
{
	.shown = { true, true },
};

FIXTURE_VARIANT_ADD(right, own_undumpable)
{
	.undumpable = true,
};

FIXTURE_VARIANT_ADD(right, own_until_undumpable)
{
	.changes = true, .shown = { true, false },
};

FIXTURE_VARIANT_ADD(right, own_once_dumpable)
{
	.undumpable = true, .changes = true, .shown = { false, true },
};

FIXTURE_VARIANT_ADD(right, of_root)
{
	.of_root = true,
};

FIXTURE_VARIANT_ADD(right, of_root_passed_on)
{
	.of_root = true, .by_root = true, .shown = { true, false },
};

/* Can root become a user, and may it read that user's fdinfo? */
static bool has_users(void)
{
	int status = -1;
	pid_t child;

	if (prctl(PR_CAPBSET_READ, CAP_SYS_PTRACE) != 1)
		return false;
	child = fork();
	if (child == 0)
		_exit(!become_user());
	waitpid(child, &status, 0);
	return status == 0;
}

FIXTURE_SETUP(right)
{
	signal(SIGPIPE, SIG_IGN);
	if (!exithand_needed(_metadata))
		return;
	if (geteuid() ? variant->of_root : !has_users())
		SKIP(return, "needs root, and to become a user");
	if (!START(SPAWN_FORK))
		return;
	if (!variant->of_root)
		ORDER(DO_BECOME_USER, 0);
	ORDER(DO_DUMPABLE, !variant->undumpable);
}

FIXTURE_TEARDOWN(right)
{
	target_end(&self->t);
}

/* The filesystem user and group, by whose right files are opened. */
static int user_opens(struct __test_metadata *_metadata, struct target *t)
{
	bool root = !geteuid();
	int fd;

	if (root) {
		ASSERT_EQ(0, setegid(NOBODY));
		ASSERT_EQ(0, seteuid(NOBODY));
	}
	fd = open_target(_metadata, t);
	if (root) {
		ASSERT_EQ(0, seteuid(0));
		ASSERT_EQ(0, setegid(0));
	}
	return fd;
}

/* We look, and a user who gets the file, and we into the fdinfo of that user. */
static void all_look(struct __test_metadata *_metadata, int fd, int pidfd,
		     int status, const char *when)
{
	pid_t child, me = getpid();
	int answers[2];
	char who[16];

	expect_shows(_metadata, fd, pidfd, status, when);
	ASSERT_EQ(0, pipe(answers));
	child = fork();
	ASSERT_LE(0, child);
	if (child == 0) {
		ASSERT_TRUE(become_user());
		die_with_parent(me);
		expect_shows(_metadata, fd, pidfd, status, when);
		ASSERT_TRUE(put_byte(answers[1], 'l'));
		thread_pause(NULL);
	}
	ASSERT_EQ('l', get_byte(answers[0]));
	snprintf(who, sizeof(who), "%d", child);
	expect_shows_by(_metadata, who, fd, pidfd, status, when);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	close(answers[0]);
	close(answers[1]);
}

TEST_F(right, belongs_to_the_open_file)
{
	int fds[2], status[2], i;

	for (i = 0; i < 2; i++)
		status[i] = variant->shown[i] ? EXITED(7) : UNSEEN;
	fds[0] = variant->by_root ? OPEN() : user_opens(_metadata, &self->t);
	all_look(_metadata, fds[0], self->pidfd, ALIVE, "before the exit");
	if (variant->changes)
		ORDER(DO_DUMPABLE, variant->undumpable);
	LAST(DO_EXIT, 7);
	AWAIT_EXIT();
	fds[1] = user_opens(_metadata, &self->t);
	for (i = 0; i < 2; i++)
		all_look(_metadata, fds[i], self->pidfd, status[i],
			 i ? "opened late" : "as a zombie");
	REAPED(EXITED(7));
	for (i = 0; i < 2; i++)
		all_look(_metadata, fds[i], self->pidfd, status[i],
			 i ? "opened late, reaped" : "reaped");
}

/*
 * From where.
 */
FIXTURE(pidns)
{
	struct target t;
	int pidfd;
};

FIXTURE_SETUP(pidns)
{
	signal(SIGPIPE, SIG_IGN);
	if (!exithand_needed(_metadata))
		return;
	if (geteuid())
		SKIP(return, "needs root for a pid namespace");
}

FIXTURE_TEARDOWN(pidns)
{
	target_end(&self->t);
}

/* It has a number here, and one there. */
TEST_F(pidns, process_in_one_below)
{
	char pid[16], pids[32];
	struct text is, should;
	int fd;

	if (!START(SPAWN_PIDNS))
		return;
	fd = OPEN();
	snprintf(pid, sizeof(pid), "%d", self->t.pid);
	snprintf(pids, sizeof(pids), "%d\t1", self->t.pid);
	EXPECT_STREQ(expected(&should, pid, pids, ALIVE), shown(&is, fd));
	SHOWS(fd, ALIVE, "at the start");
	LAST(DO_EXIT, 7);
	ASSERT_EQ(POLL_EXITED, poll_bounded(fd));
	EXPECT_STREQ(expected(&should, pid, pids, EXITED(7)), shown(&is, fd));
	SHOWS(fd, EXITED(7), "as a zombie");
	REAPED(EXITED(7));
	GONE(fd, EXITED(7));
}

/*
 * It has none there; what becomes of it can be seen all the same.  It is the
 * procfs that counts, not the namespace of who reads.
 */
TEST_F(pidns, looked_at_from_one_below)
{
	struct text is, should;
	int fd, steps[2], answers[2];
	pid_t child;

	if (!START(SPAWN_FORK))
		return;
	fd = OPEN();
	ASSERT_EQ(0, pipe(steps));
	ASSERT_EQ(0, pipe(answers));
	ASSERT_EQ(0, unshare(CLONE_NEWPID));
	child = fork();
	ASSERT_LE(0, child);
	if (child == 0) {
		die_with_parent(0);
		ASSERT_EQ(1, getpid());
		EXPECT_STREQ(expected_pid(&should, self->t.pid, ALIVE),
			     shown(&is, fd));
		ASSERT_EQ(0, unshare(CLONE_NEWNS));
		ASSERT_EQ(0, mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
		ASSERT_EQ(0, mount("proc", "/proc", "proc", 0, NULL));
		EXPECT_STREQ(expected_pid(&should, 0, ALIVE), shown(&is, fd));
		child_looks(_metadata, fd, self->pidfd, EXITED(7), steps[0],
			    answers[1]);
		_exit(0);
	}
	ASSERT_EQ('l', get_byte(answers[0]));
	LAST(DO_EXIT, 7);
	ASSERT_EQ(POLL_EXITED, poll_bounded(fd));
	ASSERT_TRUE(put_byte(steps[1], 'z'));
	ASSERT_EQ('z', get_byte(answers[0]));
	REAPED(EXITED(7));
	ASSERT_TRUE(put_byte(steps[1], 'r'));
	child_ends(_metadata, child);
	GONE(fd, EXITED(7));
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], OBEY_ARG))
		return orders_main(argc, argv);
	return test_harness_run(argc, argv);
}
