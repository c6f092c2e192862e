// SPDX-License-Identifier: GPL-2.0
/*
 * What is an exit, and what is not, as /proc/<pid>/exithand tells it.
 *
 * event.*: the way in which a process lives and dies makes no difference.  In
 * each case threads that wait in every way there is sleep through all that is
 * not the exit, without so much as being woken, and return at the exit.  Then
 * the same is done with a pidfd: where the two interfaces say the same thing,
 * the same lines of code ask both.
 *
 * way.*: some of the cases once more for each way of waiting alone, lest one
 * of them live on what another has set up.
 *
 * How "it does not happen" is shown: the thing that must not count as an exit
 * is first made to happen completely, and seen from outside (an answer through
 * a pipe, a state in /proc, a return from wait).  A wake-up is issued within
 * it, if at all; where the sign is seen a little earlier than that, see
 * exits_settle() and task_rests().  After that the waiting thread is looked at
 * until it either has returned or is asleep and off its CPU; a thread that was
 * woken is neither until it has made up its mind.  So there is no need to wait
 * some time for something that must not come.
 */
#define _GNU_SOURCE
#include "proc-exithand.h"

/*
 * Lives and deaths.
 */
FIXTURE(event)
{
	struct target t;
	struct watcher w[HOW_COUNT];
	int nr;
};

FIXTURE_VARIANT(event)
{
	enum method first, last;
};

FIXTURE_VARIANT_ADD(event, exithand)
{
	.first = HOW_READ, .last = HOW_URING_READ,
};

FIXTURE_VARIANT_ADD(event, pidfd)
{
	.first = HOW_PIDFD, .last = HOW_PIDFD,
};

FIXTURE_SETUP(event)
{
	/* A target that is gone is an answer, not the end of the test. */
	signal(SIGPIPE, SIG_IGN);
	if (variant->first != HOW_PIDFD)
		exithand_needed(_metadata);
}

FIXTURE_TEARDOWN(event)
{
	target_end(&self->t);
}

/* Threads that wait for the target; how many. */
static int event_watch(struct __test_metadata *_metadata, struct target *t,
		       struct watcher *w, enum method first, enum method last)
{
	enum method how;
	int nr = 0;

	for (how = first; how <= last; how++) {
		/* Without io_uring, way.uring_* say that it was not tried. */
		if (method_usable(how))
			watcher_start(_metadata, &w[nr++], how, t->pid);
	}
	return nr;
}

/* The same, and they are asleep; none if there is no such target. */
static int event_begin(struct __test_metadata *_metadata, struct target *t,
		       struct watcher *w, enum method first, enum method last,
		       enum spawn spawn)
{
	int i, nr;

	if (!target_try(_metadata, t, spawn))
		SKIP(return 0, "cannot make the process: %s",
		     strerror(-t->pid));
	nr = event_watch(_metadata, t, w, first, last);
	for (i = 0; i < nr; i++)
		watcher_sleeps(_metadata, &w[i]);
	return nr;
}

static void event_quiet(struct __test_metadata *_metadata, struct target *t,
			struct watcher *w, int nr, const char *after)
{
	int i;

	for (i = 0; i < nr; i++)
		watcher_quiet(_metadata, &w[i], after);
	if (w->how != HOW_PIDFD)
		exithand_quiet(_metadata, t->pid, after);
}

static void event_returns(struct __test_metadata *_metadata,
			  struct watcher *w, int nr)
{
	int i;

	for (i = 0; i < nr; i++)
		watcher_returns(_metadata, &w[i]);
}

/* Afterwards the same is said for ever, and to those who come late. */
static void event_gone(struct __test_metadata *_metadata, struct target *t,
		       struct watcher *w, int nr)
{
	int i;

	ASSERT_TRUE(eventually(kill(t->pid, 0) == -1 && errno == ESRCH))
		TH_LOG("process %d is not gone", t->pid);
	for (i = 0; i < nr; i++) {
		if (w[i].how != HOW_PIDFD) {
			expect_exited(_metadata, w[i].fd);
			continue;
		}
		EXPECT_EQ(POLL_EXITED | POLLHUP, poll_now(w[i].fd));
	}
	EXPECT_EQ(-ENOENT, exithand_open(t->pid, O_RDONLY));
}

/*
 * Edge-triggered, so that each wake-up counts: a process that has exited may
 * come to where exits are told once more, when its tracer lets it go or when it
 * gets a new parent.  (A pidfd tells it again then.)
 */
static int edge_of(struct __test_metadata *_metadata, int fd)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET };
	int ep = epoll_create1(EPOLL_CLOEXEC);

	ASSERT_LE(0, ep);
	ASSERT_EQ(0, epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev));
	return ep;
}

static bool edge_seen(int ep)
{
	struct epoll_event ev;

	return epoll_wait(ep, &ev, 1, 0) == 1;
}

/* The steps of a test. */
#define BEGIN(spawn)							\
	(self->nr = event_begin(_metadata, &self->t, self->w,		\
				variant->first, variant->last, spawn))
#define WATCH()								\
	(self->nr = event_watch(_metadata, &self->t, self->w,		\
				variant->first, variant->last))
#define QUIET(after)							\
	event_quiet(_metadata, &self->t, self->w, self->nr, after)
#define RETURNS()	event_returns(_metadata, self->w, self->nr)
#define GONE()		event_gone(_metadata, &self->t, self->w, self->nr)
#define EDGE()	edge_of(_metadata, self->w->fd)
#define TOLD_ONCE(ep)							\
	do {								\
		if (self->w->how != HOW_PIDFD)				\
			EXPECT_FALSE(edge_seen(ep))			\
				TH_LOG("told of one exit twice");	\
	} while (0)
#define REAPED(expected)						\
	do {								\
		EXPECT_EQ(expected, target_reap(_metadata, &self->t));	\
		GONE();							\
	} while (0)

#define SEIZE(tid, options)	attach(_metadata, PTRACE_SEIZE, tid, options)
#define ATTACH(tid)		attach(_metadata, PTRACE_ATTACH, tid, 0)

/* What the target is told and has done when this returns. */
#define DO(letter)	target_do(_metadata, &self->t, letter)

/* Not only marked so: the parent has been told. */
#define STOPPED()							\
	ASSERT_TRUE(eventually(task_rests(self->t.pid, self->t.pid, 'T')))

/* The last thing that is said to the target: no answer is expected. */
#define LAST(letter)	ASSERT_TRUE(put_byte(self->t.in, letter))
#define KILL()		ASSERT_EQ(0, kill(self->t.pid, SIGKILL))

TEST_F(event, killed)
{
	if (!BEGIN(SPAWN_FORK))
		return;
	QUIET("nothing at all");
	KILL();
	RETURNS();
	EXPECT_EQ('Z', leader_state(self->t.pid));
	REAPED(SIGKILL);
}

TEST_F(event, exits)
{
	if (!BEGIN(SPAWN_FORK))
		return;
	LAST(DO_EXIT);
	RETURNS();
	REAPED(TARGET_CODE << 8);
}

TEST_F(event, exit_group_by_another_thread)
{
	if (!BEGIN(SPAWN_FORK))
		return;
	DO(DO_STORM);
	LAST(DO_GROUP_EXIT);
	RETURNS();
	REAPED(TARGET_CODE << 8);
}

TEST_F(event, killed_with_many_threads)
{
	if (!BEGIN(SPAWN_FORK))
		return;
	DO(DO_STORM);
	QUIET("the start of threads");
	KILL();
	RETURNS();
	REAPED(SIGKILL);
}

TEST_F(event, killed_while_stopped)
{
	if (!BEGIN(SPAWN_FORK))
		return;
	ASSERT_EQ(0, kill(self->t.pid, SIGSTOP));
	STOPPED();
	QUIET("a stop");
	KILL();
	RETURNS();
	REAPED(SIGKILL);
}

/* Ended before anyone opened: there is nothing left to wait for. */
TEST_F(event, zombie_opened_late)
{
	target_start(_metadata, &self->t);
	LAST(DO_EXIT);
	ASSERT_TRUE(eventually(leader_state(self->t.pid) == 'Z'));
	WATCH();
	RETURNS();
	REAPED(TARGET_CODE << 8);
}

TEST_F(event, thread_exit_is_none)
{
	pid_t tid;

	if (!BEGIN(SPAWN_FORK))
		return;
	ASSERT_TRUE(put_byte(self->t.in, DO_THREAD_WAIT));
	ASSERT_TRUE(get_obj(self->t.out, &tid, sizeof(tid)));
	QUIET("the start of a thread");
	DO(DO_THREAD_WAIT);
	ASSERT_EQ(0, task_state(self->t.pid, tid));
	QUIET("the exit of a thread");
	LAST(DO_EXIT);
	RETURNS();
	REAPED(TARGET_CODE << 8);
}

TEST_F(event, leader_exit_is_none)
{
	if (!BEGIN(SPAWN_FORK))
		return;
	target_leader_first(_metadata, &self->t);
	QUIET("the leader's exit");
	DO(DO_ANSWER);
	/* Now the last thread is the process. */
	LAST(DO_EXIT_THREAD);
	RETURNS();
	REAPED(0);
}

TEST_F(event, leader_exit_then_thread_exit_is_none)
{
	pid_t tid;

	if (!BEGIN(SPAWN_FORK))
		return;
	ASSERT_TRUE(put_byte(self->t.in, DO_THREAD_WAIT));
	ASSERT_TRUE(get_obj(self->t.out, &tid, sizeof(tid)));
	target_leader_first(_metadata, &self->t);
	DO(DO_THREAD_WAIT);
	ASSERT_TRUE(eventually(!task_state(self->t.pid, tid)));
	QUIET("the exit of the leader and of the last thread but one");
	LAST(DO_EXIT_THREAD);
	RETURNS();
	REAPED(0);
}

TEST_F(event, leader_exit_then_exit_group)
{
	if (!BEGIN(SPAWN_FORK))
		return;
	target_leader_first(_metadata, &self->t);
	QUIET("the leader's exit");
	LAST(DO_EXIT);
	RETURNS();
	REAPED(TARGET_CODE << 8);
}

TEST_F(event, leader_exit_then_killed)
{
	if (!BEGIN(SPAWN_FORK))
		return;
	target_leader_first(_metadata, &self->t);
	QUIET("the leader's exit");
	KILL();
	RETURNS();
	REAPED(SIGKILL);
}

/* As above, but the leader is a zombie when the file is opened. */
TEST_F(event, opened_after_leader_exit)
{
	int i;

	target_start(_metadata, &self->t);
	target_leader_first(_metadata, &self->t);
	WATCH();
	for (i = 0; i < self->nr; i++)
		watcher_sleeps(_metadata, &self->w[i]);
	QUIET("an open after the leader's exit");
	LAST(DO_EXIT_THREAD);
	RETURNS();
	REAPED(0);
}

TEST_F(event, exec_is_none)
{
	if (!BEGIN(SPAWN_FORK))
		return;
	DO(DO_EXEC);
	QUIET("exec");
	DO(DO_EXEC);
	QUIET("exec once more");
	LAST(DO_EXIT);
	RETURNS();
	REAPED(TARGET_CODE << 8);
}

TEST_F(event, exec_by_another_thread_is_none)
{
	int i;

	if (!BEGIN(SPAWN_FORK))
		return;
	for (i = 0; i < 3; i++) {
		DO(DO_EXEC_THREAD);
		QUIET("exec by another thread");
	}
	DO(DO_STORM);
	DO(DO_EXEC_THREAD);
	QUIET("exec by one thread of many");
	LAST(DO_EXIT);
	RETURNS();
	REAPED(TARGET_CODE << 8);
}

/* The leader is long dead when another thread takes its place. */
TEST_F(event, exec_after_leader_exit_is_none)
{
	if (!BEGIN(SPAWN_FORK))
		return;
	target_leader_first(_metadata, &self->t);
	QUIET("the leader's exit");
	DO(DO_EXEC);
	ASSERT_NE('Z', leader_state(self->t.pid));
	QUIET("exec after the leader's exit");
	KILL();
	RETURNS();
	REAPED(SIGKILL);
}

TEST_F(event, stop_and_continue_are_none)
{
	int i;

	if (!BEGIN(SPAWN_FORK))
		return;
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, kill(self->t.pid, SIGSTOP));
		STOPPED();
		QUIET("a stop");
		ASSERT_EQ(0, kill(self->t.pid, SIGCONT));
		DO(DO_ANSWER);
		QUIET("a continue");
	}
	LAST(DO_EXIT);
	RETURNS();
	REAPED(TARGET_CODE << 8);
}

TEST_F(event, trace_is_none)
{
	pid_t pid;
	int status;

	if (!BEGIN(SPAWN_FORK))
		return;
	pid = self->t.pid;
	if (!ATTACH(pid))
		return;
	status = tracer_wait(pid);
	ASSERT_TRUE(WIFSTOPPED(status)) TH_LOG("status %#x", status);
	QUIET("attach and trace stop");
	ASSERT_EQ(0, ptrace(PTRACE_CONT, pid, NULL, NULL));
	DO(DO_ANSWER);
	QUIET("continue by the tracer");
	ASSERT_EQ(0, kill(pid, SIGUSR1));
	status = tracer_wait(pid);
	ASSERT_TRUE(WIFSTOPPED(status)) TH_LOG("status %#x", status);
	QUIET("a signal for the tracer");
	ASSERT_EQ(0, ptrace(PTRACE_DETACH, pid, NULL, NULL));
	DO(DO_ANSWER);
	QUIET("detach");
	KILL();
	RETURNS();
	REAPED(SIGKILL);
}

/* A tracer stands between the zombie and its parent: exited all the same. */
TEST_F(event, traced_zombie)
{
	int status, edge;

	if (!BEGIN(SPAWN_FORK))
		return;
	if (!SEIZE(self->t.pid, 0))
		return;
	QUIET("seize");
	edge = EDGE();
	KILL();
	RETURNS();
	EXPECT_TRUE(edge_seen(edge));
	EXPECT_EQ('Z', leader_state(self->t.pid));
	status = tracer_wait(self->t.pid);
	EXPECT_EQ(SIGKILL, status);
	TOLD_ONCE(edge);
	REAPED(SIGKILL);
}

/* The first opener finds the exit, and the kernel does not report it again. */
TEST_F(event, traced_zombie_opened_late)
{
	int edge;

	target_start(_metadata, &self->t);
	if (!SEIZE(self->t.pid, 0))
		return;
	KILL();
	ASSERT_TRUE(eventually(leader_state(self->t.pid) == 'Z'));
	WATCH();
	RETURNS();
	edge = EDGE();
	EXPECT_TRUE(edge_seen(edge));
	ASSERT_EQ(SIGKILL, tracer_wait(self->t.pid));
	TOLD_ONCE(edge);
	REAPED(SIGKILL);
}

/* A traced leader reports its own exit to the tracer; threads live on. */
TEST_F(event, traced_leader_exit_is_none)
{
	int status;

	if (!BEGIN(SPAWN_FORK))
		return;
	if (!SEIZE(self->t.pid, 0))
		return;
	target_leader_first(_metadata, &self->t);
	QUIET("the exit of a traced leader");
	/* The last thread is not traced; its release is the event. */
	LAST(DO_EXIT_THREAD);
	RETURNS();
	EXPECT_EQ('Z', leader_state(self->t.pid));
	status = tracer_wait(self->t.pid);
	EXPECT_EQ(0, status);
	REAPED(0);
}

/*
 * The exec does away with the leader, and wakes its tracer for that; that the
 * leader had exited before it was replaced is told as well.
 */
TEST_F(event, traced_leader_exec_is_none)
{
	int i;

	if (!BEGIN(SPAWN_FORK))
		return;
	for (i = 0; i < 3; i++) {
		if (!SEIZE(self->t.pid, 0))
			return;
		DO(DO_EXEC_THREAD);
		QUIET("exec by another thread under a traced leader");
	}
	KILL();
	RETURNS();
	REAPED(SIGKILL);
}

TEST_F(event, stop_of_a_traced_exit_is_none)
{
	int status;

	if (!BEGIN(SPAWN_FORK))
		return;
	if (!SEIZE(self->t.pid, PTRACE_O_TRACEEXIT))
		return;
	LAST(DO_EXIT);
	status = tracer_wait(self->t.pid);
	ASSERT_EQ(SIGTRAP | PTRACE_EVENT_EXIT << 8, status >> 8);
	QUIET("the stop before an exit");
	ASSERT_EQ(0, ptrace(PTRACE_CONT, self->t.pid, NULL, NULL));
	RETURNS();
	status = tracer_wait(self->t.pid);
	EXPECT_EQ(TARGET_CODE << 8, status);
	REAPED(TARGET_CODE << 8);
}

/*
 * A traced thread stays, dead, until its tracer has waited for it, and the
 * process with it: wait() and a pidfd see it so too.
 */
TEST_F(event, traced_dead_thread_delays)
{
	int status;
	pid_t tid;

	if (!BEGIN(SPAWN_FORK))
		return;
	ASSERT_TRUE(put_byte(self->t.in, DO_THREAD_WAIT));
	ASSERT_TRUE(get_obj(self->t.out, &tid, sizeof(tid)));
	if (!SEIZE(tid, 0))
		return;
	DO(DO_THREAD_WAIT);
	ASSERT_TRUE(eventually(task_state(self->t.pid, tid) == 'Z'));
	QUIET("the exit of a traced thread");
	LAST(DO_EXIT_THREAD);
	ASSERT_TRUE(eventually(leader_state(self->t.pid) == 'Z'));
	QUIET("the leader's exit, with a dead thread left");
	status = tracer_wait(tid);
	EXPECT_EQ(0, status);
	RETURNS();
	REAPED(0);
}

TEST_F(event, tracer_exit_kills)
{
	pid_t tracer, me = getpid();
	int fd[2], status;

	if (!BEGIN(SPAWN_FORK))
		return;
	ASSERT_EQ(0, pipe2(fd, O_CLOEXEC));
	tracer = fork();
	ASSERT_LE(0, tracer);
	if (tracer == 0) {
		die_with_parent(me);
		if (ptrace(PTRACE_SEIZE, self->t.pid, NULL,
			   PTRACE_O_EXITKILL))
			_exit(1);
		put_byte(fd[1], 'y');
		thread_pause(NULL);
	}
	close(fd[1]);
	if (get_byte(fd[0]) != 'y') {
		waitpid(tracer, NULL, 0);
		SKIP(return, "cannot trace");
	}
	QUIET("seize by another process");
	ASSERT_EQ(0, kill(tracer, SIGKILL));
	RETURNS();
	ASSERT_EQ(tracer, waitpid(tracer, &status, 0));
	REAPED(SIGKILL);
}

TEST_F(event, vfork_child_exits)
{
	if (!BEGIN(SPAWN_VFORK))
		return;
	QUIET("vfork");
	LAST(DO_EXIT);
	RETURNS();
	REAPED(TARGET_CODE << 8);
}

TEST_F(event, vfork_child_execs_and_exits)
{
	if (!BEGIN(SPAWN_VFORK))
		return;
	DO(DO_EXEC);
	QUIET("exec of a vfork child");
	LAST(DO_EXIT);
	RETURNS();
	REAPED(TARGET_CODE << 8);
}

/* The memory lives on in another process; the process does not. */
TEST_F(event, shared_memory_outlives_it)
{
	if (!BEGIN(SPAWN_SHARED_VM))
		return;
	KILL();
	RETURNS();
	EXPECT_EQ(0, kill(self->t.keeper, 0));
	REAPED(SIGKILL);
}

TEST_F(event, parent_ignores_sigchld)
{
	if (!BEGIN(SPAWN_IGNORED))
		return;
	KILL();
	RETURNS();
	GONE();
}

TEST_F(event, parent_ignores_sigchld_and_leader_exits_first)
{
	if (!BEGIN(SPAWN_IGNORED))
		return;
	target_leader_first(_metadata, &self->t);
	QUIET("the leader's exit");
	LAST(DO_EXIT_THREAD);
	RETURNS();
	GONE();
}

TEST_F(event, parent_has_nocldwait)
{
	if (!BEGIN(SPAWN_NOCLDWAIT))
		return;
	LAST(DO_EXIT);
	RETURNS();
	GONE();
}

TEST_F(event, autoreaped)
{
	if (!BEGIN(SPAWN_AUTOREAP))
		return;
	LAST(DO_EXIT);
	RETURNS();
	GONE();
}

/* The keeper has inherited it when this begins. */
TEST_F(event, orphan_exits)
{
	if (!BEGIN(SPAWN_ORPHAN))
		return;
	DO(DO_ANSWER);
	LAST(DO_EXIT);
	RETURNS();
	REAPED(TARGET_CODE << 8);
}

/* The parent exits, and the process becomes ours. */
static void keeper_quits(struct __test_metadata *_metadata, struct target *t)
{
	ASSERT_TRUE(put_byte(t->kin, KEEPER_QUIT));
	ASSERT_EQ(t->keeper, waitpid(t->keeper, NULL, 0));
	t->keeper = 0;
}

TEST_F(event, reparenting_is_none)
{
	int status;

	ASSERT_EQ(0, prctl(PR_SET_CHILD_SUBREAPER, 1));
	if (!BEGIN(SPAWN_FORK))
		return;
	DO(DO_STAY);
	keeper_quits(_metadata, &self->t);
	QUIET("the parent's exit");
	KILL();
	RETURNS();
	ASSERT_EQ(self->t.pid, waitpid(self->t.pid, &status, 0));
	EXPECT_EQ(SIGKILL, status);
	GONE();
}

/* The kernel tells the new parent of a zombie; it was an exit before. */
TEST_F(event, zombie_reparented)
{
	int status, edge;

	ASSERT_EQ(0, prctl(PR_SET_CHILD_SUBREAPER, 1));
	if (!BEGIN(SPAWN_FORK))
		return;
	edge = EDGE();
	KILL();
	RETURNS();
	EXPECT_TRUE(edge_seen(edge));
	keeper_quits(_metadata, &self->t);
	TOLD_ONCE(edge);
	EXPECT_EQ(POLL_EXITED, poll_now(self->w->fd));
	ASSERT_EQ(self->t.pid, waitpid(self->t.pid, &status, 0));
	EXPECT_EQ(SIGKILL, status);
	GONE();
}

/* The same, with a tracer that has not let the zombie go yet. */
TEST_F(event, traced_zombie_reparented)
{
	int edge;

	ASSERT_EQ(0, prctl(PR_SET_CHILD_SUBREAPER, 1));
	if (!BEGIN(SPAWN_FORK))
		return;
	if (!SEIZE(self->t.pid, 0))
		return;
	edge = EDGE();
	KILL();
	RETURNS();
	EXPECT_TRUE(edge_seen(edge));
	keeper_quits(_metadata, &self->t);
	EXPECT_EQ(POLL_EXITED, poll_now(self->w->fd));
	ASSERT_EQ(SIGKILL, tracer_wait(self->t.pid));
	TOLD_ONCE(edge);
	GONE();
}

TEST_F(event, pidns_init)
{
	if (geteuid())
		SKIP(return, "needs root for a pid namespace");
	if (!BEGIN(SPAWN_PIDNS))
		return;
	QUIET("nothing at all");
	KILL();
	RETURNS();
	REAPED(SIGKILL);
}

/* With the exit all of its files are closed, */
TEST_F(event, files_are_closed)
{
	struct target *t = &self->t;

	if (!BEGIN(SPAWN_FORK))
		return;
	DO(DO_STORM);
	KILL();
	RETURNS();
	/* The target alone held the other ends of these two. */
	EXPECT_EQ(-1, write(t->in, "", 1));
	EXPECT_EQ(EPIPE, errno);
	EXPECT_EQ(POLLHUP, poll_now(t->out) & (POLLIN | POLLHUP));
	REAPED(SIGKILL);
}

/*
 * and its memory is let go: a file cannot be sealed against writing as long as
 * someone has it mapped for that.
 */
TEST_F(event, memory_is_gone)
{
	int fd = memfd_create("exithand", MFD_ALLOW_SEALING);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, 1 << 16));
	ASSERT_EQ(TARGET_MAP_FD, dup2(fd, TARGET_MAP_FD));
	if (!BEGIN(SPAWN_FORK))
		return;
	DO(DO_MAP);
	DO(DO_STORM);
	ASSERT_EQ(-1, fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
	ASSERT_EQ(EBUSY, errno);
	KILL();
	RETURNS();
	EXPECT_EQ(0, fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE))
		TH_LOG("the target's memory is still there");
	REAPED(SIGKILL);
}

/*
 * One way of waiting at a time.
 */
FIXTURE(way)
{
	struct target t;
	struct watcher w;
};

FIXTURE_VARIANT(way)
{
	enum method how;
};

FIXTURE_VARIANT_ADD(way, read) { .how = HOW_READ };
FIXTURE_VARIANT_ADD(way, poll) { .how = HOW_POLL };
FIXTURE_VARIANT_ADD(way, select) { .how = HOW_SELECT };
FIXTURE_VARIANT_ADD(way, epoll) { .how = HOW_EPOLL };
FIXTURE_VARIANT_ADD(way, uring_poll) { .how = HOW_URING_POLL };
FIXTURE_VARIANT_ADD(way, uring_read) { .how = HOW_URING_READ };

FIXTURE_SETUP(way)
{
	signal(SIGPIPE, SIG_IGN);
	if (!exithand_needed(_metadata))
		return;
	if (!method_usable(variant->how))
		SKIP(return, "no %s", how_name[variant->how]);
	target_start(_metadata, &self->t);
}

FIXTURE_TEARDOWN(way)
{
	target_end(&self->t);
}

TEST_F(way, of_a_kill)
{
	watcher_start(_metadata, &self->w, variant->how, self->t.pid);
	watcher_sleeps(_metadata, &self->w);
	KILL();
	watcher_returns(_metadata, &self->w);
	EXPECT_EQ(SIGKILL, target_reap(_metadata, &self->t));
	expect_exited(_metadata, self->w.fd);
}

TEST_F(way, of_a_zombie)
{
	LAST(DO_EXIT);
	ASSERT_TRUE(eventually(leader_state(self->t.pid) == 'Z'));
	watcher_start(_metadata, &self->w, variant->how, self->t.pid);
	watcher_returns(_metadata, &self->w);
}

/* The leader, an exec, and the last thread, in this order. */
TEST_F(way, of_a_leader_that_exits_first)
{
	watcher_start(_metadata, &self->w, variant->how, self->t.pid);
	watcher_sleeps(_metadata, &self->w);
	target_leader_first(_metadata, &self->t);
	watcher_quiet(_metadata, &self->w, "the leader's exit");
	DO(DO_EXEC);
	watcher_quiet(_metadata, &self->w, "exec after the leader's exit");
	target_leader_first(_metadata, &self->t);
	watcher_quiet(_metadata, &self->w, "the exit of another leader");
	LAST(DO_EXIT_THREAD);
	watcher_returns(_metadata, &self->w);
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], OBEY_ARG))
		return obey_main(argc, argv);
	return test_harness_run(argc, argv);
}
