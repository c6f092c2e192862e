// SPDX-License-Identifier: GPL-2.0
/*
 * Tests what is an exit and what is not, and the exit status of each exit.
 *
 * Each EVENT() below is the life of one process: steps that are not an exit, the step that is the
 * exit, and what happens to the zombie. Each is played twice:
 *
 * - watched: Threads wait from the start, in read() and in poll(). They sleep through all that is
 *   no exit, without a single wake-up, and return at the exit.
 * - opened_late: Nobody opens the file before the exit.
 *
 * fdinfo and the parent must both get the status that the table has.
 *
 * To show that something is not an exit, the test first makes it happen completely. It sees that
 * from outside: by an answer through a pipe, a state in /proc, or a return from wait(). A false
 * wake-up would come before that sign. (If a sign comes too early, exits_settle() and task_rests()
 * wait for the rest.) Then the test looks at the waiting thread until it has returned, or is asleep
 * and off its CPU. A woken thread runs until it returns or sleeps again. So the test needs no fixed
 * delay to see that nothing happens.
 */
#define _GNU_SOURCE
#include <linux/coredump.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "proc-exithand.h"

#define EXITED(code)	((code) << 8)
#define DUMPED(sig)	((sig) | 0x80)
#define ALIVE		(-1)

/* wait() returns these for a process that its tracer has stopped. */
#define STOPPED(sig)	((sig) << 8 | 0x7f)
#define HELD_AT_EXIT	STOPPED(SIGTRAP | PTRACE_EVENT_EXIT << 8)

/* A file that the process inherits. */
#define MAP_FD		100

#define STORM_THREADS	16

enum step_type {
	END,
	/* A thread of the process obeys these, and answers. */
	ANSWER,			/* does nothing else */
	CHILD,			/* forks a child that exits, and reaps it */
	EXEC,
	LEADER_EXIT,		/* exits, and a new thread obeys from now on */
	MAP,			/* maps MAP_FD, shared and writable */
	NO_CORE,		/* lets no core be dumped */
	STAY,			/* no longer dies with its parent */
	STORM,			/* starts many threads, which stay */
	THREAD,			/* starts a thread, which obeys until it exits */
	/* The thread cannot answer after these. */
	EXIT,			/* exit_group() */
	EXIT_THREAD,		/* exit() */
	SIGNAL,			/* sends itself a signal */
	/* The test does these. */
	KILL,			/* sends a signal */
	PARENT_QUITS,		/* The test becomes the parent. */
	WATCH,			/* The threads start to wait here. */
	ALL_IS_GONE,		/* checks the files and the memory of the process */
	SEIZE,			/* traces the thread that obeys, with these options */
	PTRACE,			/* a request to the traced thread */
	TRACER_WAITS,		/* expects this status from wait() */
	CORE_ASKED,		/* The kernel asks the test what to do about a core. */
	CORE_DONE,		/* The test has dumped it. */
	CORE_REFUSED,
};

struct step {
	enum step_type type;
	const char *name;
	bool by_thread;		/* by a new thread, while the one that obeys pauses */
	int nr;			/* exit code, signal, option, request, or status */
};

#define DO(type, ...)	{ type, #type " " #__VA_ARGS__, false, ##__VA_ARGS__ }
#define THREAD_DOES(type, ...)	\
	{ type, #type " " #__VA_ARGS__ " by another thread", true, ##__VA_ARGS__ }

/*
 * The process.
 */
struct process {
	struct obey pipes;
	struct step step;
};

static void obey_step(struct process *p, int nr);
static void obey_steps(struct process *p);

static void *thread_main(void *arg)
{
	struct process *p = arg;

	if (p->step.by_thread)
		obey_step(p, p->step.nr);
	else
		obey_steps(p);
	return NULL;
}

static pthread_t in_thread(void *(*function)(void *), struct process *p)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, function, p))
		_exit(119);
	return thread;
}

static void obey_step(struct process *p, int nr)
{
	const struct rlimit no_core = { 1, 1 };	/* not through a pipe, either */
	int i;

	switch (p->step.type) {
	case CHILD:
		if (fork() == 0)
			_exit(nr);
		wait(NULL);
		break;
	case EXEC:
		obey_exec(&p->pipes, DO_EXEC);
		break;
	case LEADER_EXIT:
		in_thread(thread_main, p);
		/* pthread_exit() in the last thread would be exit(). */
		syscall(__NR_exit, nr);
		break;
	case MAP:
		if (mmap(NULL, 1, PROT_READ | PROT_WRITE, MAP_SHARED, MAP_FD, 0) == MAP_FAILED)
			_exit(120);
		break;
	case NO_CORE:
		setrlimit(RLIMIT_CORE, &no_core);
		break;
	case STAY:
		/* It exits when it finds the end of its pipe. */
		prctl(PR_SET_PDEATHSIG, 0);
		break;
	case STORM:
		for (i = 0; i < STORM_THREADS; i++)
			in_thread(thread_pause, p);
		break;
	case THREAD:
		pthread_join(in_thread(thread_main, p), NULL);
		break;
	case EXIT:
		_exit(nr);
	case EXIT_THREAD:
		syscall(__NR_exit, nr);
		break;
	case SIGNAL:
		signal(nr, SIG_DFL);
		raise(nr);
		break;
	default:
		break;
	}
}

static void obey_steps(struct process *p)
{
	const pid_t tid = sys_gettid();

	/* The answer is the TID of the thread that obeys next. */
	while (write(p->pipes.out, &tid, sizeof(tid)) == sizeof(tid) &&
	       read(p->pipes.in, &p->step, sizeof(p->step)) == sizeof(p->step)) {
		if (p->step.by_thread) {
			in_thread(thread_main, p);
			thread_pause(NULL);
		}
		obey_step(p, p->step.nr);
	}
	_exit(123);
}

/* main() of the process after exec. */
static int process_main(int argc, char **argv)
{
	struct process p = { 0 };

	if (argc != 5)
		return 122;
	p.pipes.in = atoi(argv[2]);
	p.pipes.out = atoi(argv[3]);
	obey_steps(&p);
	return 0;
}

/*
 * The test.
 */
struct play {
	/* from the table */
	int status;
	const struct step *steps, *then;
	unsigned int ways;
	bool autoreaped;

	struct target t;
	int pidfd;
	pid_t tid;		/* of the thread that obeys */
	int threads;		/* that THREAD has started */
	pid_t traced;
	struct core_socket sock;
	int core;		/* the kernel's question */
	struct watcher w[HOW_COUNT];
	int nr;			/* of these */
};

/* Is there a step of these types? */
static bool has_step(const struct step *s, enum step_type first, enum step_type last)
{
	for (; s->type != END; s++)
		if (s->type >= first && s->type <= last)
			return true;
	return false;
}

/* Tracing depends on Yama, seccomp and capabilities. */
static bool may_trace(void)
{
	pid_t me = getpid(), child = fork();
	bool ok;

	if (child < 0)
		return false;
	if (child == 0) {
		die_with_parent(me);
		thread_pause(NULL);
	}
	ok = ptrace(PTRACE_SEIZE, child, NULL, NULL) == 0;
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	return ok;
}

/* Have all threads but one been released? */
static bool alone(pid_t pid)
{
	char buf[4096];

	return slurp(buf, sizeof(buf), "/proc/%d/status", pid) > 0 &&
	       strstr(buf, "\nThreads:\t1\n");
}

/* Has the thread exited, or does its tracer hold it in its exit? */
static bool thread_ended(pid_t pid, pid_t tid)
{
	char state = task_state(pid, tid);

	return !state || state == 'Z' || state == 't';
}

/* Tells the process to take a step. */
static void order(struct __test_metadata *_metadata, struct play *p, const struct step *s)
{
	bool answers = s->type < EXIT;

	ASSERT_EQ(sizeof(*s), write(p->t.in, s, sizeof(*s)));
	if (s->type == LEADER_EXIT || s->type == EXIT || s->type == EXIT_THREAD)
		ASSERT_TRUE(eventually(thread_ended(p->t.pid, p->tid)))
			TH_LOG("%s: thread %d has not ended", s->name, p->tid);
	if (s->type == THREAD)
		p->threads++;
	if (s->type == EXIT_THREAD && p->threads) {
		/* The thread that started this one obeys again. */
		p->threads--;
		answers = true;
	}
	if (answers)
		ASSERT_TRUE(get_obj(p->t.out, &p->tid, sizeof(p->tid)))
			TH_LOG("process %d did not do %s", p->t.pid, s->name);
}

static void take_step(struct __test_metadata *_metadata, struct play *p, const struct step *s)
{
	struct coredump_ack ack = { COREDUMP_ACK_SIZE_VER0, .mask = COREDUMP_USERSPACE };
	struct coredump_req req;
	pid_t pid = p->t.pid;

	switch (s->type) {
	case KILL:
		ASSERT_EQ(0, kill(pid, s->nr));
		/* Wait until it has notified its parent. */
		if (s->nr == SIGSTOP)
			ASSERT_TRUE(eventually(task_rests(pid, pid, 'T')));
		break;
	case PARENT_QUITS:
		ASSERT_TRUE(put_byte(p->t.kin, KEEPER_QUIT));
		ASSERT_TRUE(eventually(waitpid(p->t.keeper, NULL, WNOHANG)));
		p->t.keeper = 0;
		break;
	case ALL_IS_GONE:
		/* The keeper closes its ends of the pipes before it waits for us. */
		ASSERT_TRUE(eventually(task_blocked(p->t.keeper, p->t.keeper)));
		EXPECT_EQ(POLLHUP, poll_now(p->t.out) & POLLHUP)
			TH_LOG("the files of the process are still open");
		/* A file that is mapped for writing cannot be sealed. */
		EXPECT_EQ(0, fcntl(MAP_FD, F_ADD_SEALS, F_SEAL_WRITE))
			TH_LOG("the memory of the process is still there");
		break;
	case SEIZE:
		p->traced = p->tid;
		ASSERT_EQ(0, ptrace(PTRACE_SEIZE, p->traced, NULL, s->nr));
		break;
	case PTRACE:
		/* A leader that is held at its exit is to be the last thread. */
		ASSERT_TRUE(eventually(alone(pid)));
		p->traced = pid;
		ASSERT_EQ(0, ptrace(s->nr, pid, NULL, NULL));
		break;
	case TRACER_WAITS:
		EXPECT_EQ(s->nr, tracer_wait(p->traced));
		break;
	case CORE_ASKED:
		p->core = core_socket_accept(_metadata, &p->sock);
		ASSERT_TRUE(get_obj(p->core, &req, COREDUMP_REQ_SIZE_VER0));
		ASSERT_TRUE(req.mask & COREDUMP_USERSPACE);
		break;
	case CORE_DONE:
		ASSERT_EQ(ack.size, send(p->core, &ack, ack.size, MSG_NOSIGNAL));
		ASSERT_EQ(COREDUMP_MARK_REQACK, get_byte(p->core));
		close(p->core);
		break;
	case CORE_REFUSED:
		close(p->core);
		break;
	default:
		order(_metadata, p, s);
	}
	if (s->type == MAP)
		ASSERT_EQ(-1, fcntl(MAP_FD, F_ADD_SEALS, F_SEAL_WRITE));
}

/* The lines of fdinfo about the exit. */
static void expect_shows(struct __test_metadata *_metadata, int fd, int status,
			 const char *when)
{
	char is[512] = "", should[64] = "Exited:\t0\n";
	char *p;

	if (status != ALIVE)
		snprintf(should, sizeof(should), "Exited:\t1\nExitStatus:\t%d\n", status);
	slurp(is, sizeof(is), "/proc/self/fdinfo/%d", fd);
	p = strstr(is, "Exited:");
	EXPECT_STREQ(should, p ?: is)
		TH_LOG("after %s", when);
}

/* Starts the threads that wait. */
static void watch(struct __test_metadata *_metadata, struct play *p, bool late)
{
	enum method how;
	int i;

	for (how = HOW_READ; how <= HOW_URING_READ; how++) {
		if (p->ways & 1 << how)
			watcher_start(_metadata, &p->w[p->nr++], how, p->t.pid);
	}
	for (i = 0; i < p->nr && !late; i++)
		watcher_sleeps(_metadata, &p->w[i]);
}

static void expect_quiet(struct __test_metadata *_metadata, struct play *p, const char *after)
{
	int i;

	for (i = 0; i < p->nr; i++)
		watcher_quiet(_metadata, &p->w[i], after);
	exithand_quiet(_metadata, p->t.pid, after);
	expect_shows(_metadata, p->w->fd, ALIVE, after);
}

/* The steps of the zombie, until it is reaped. */
static void play_zombie(struct __test_metadata *_metadata, struct play *p)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET };
	int fd, edge = epoll_create1(EPOLL_CLOEXEC), status = -1;
	const struct step *s;

	EXPECT_EQ('Z', leader_state(p->t.pid));
	ASSERT_EQ(0, epoll_ctl(edge, EPOLL_CTL_ADD, p->w->fd, &ev));
	EXPECT_EQ(1, epoll_wait(edge, &ev, 1, 0));
	expect_shows(_metadata, p->w->fd, p->status, "the exit");
	for (s = p->then; s->type != END; s++) {
		take_step(_metadata, p, s);
		expect_shows(_metadata, p->w->fd, p->status, s->name);
	}

	fd = exithand_open(p->t.pid, O_RDONLY);
	ASSERT_LE(0, fd);
	expect_shows(_metadata, fd, p->status, "a late open");
	if (p->t.keeper)
		status = target_reap(_metadata, &p->t);
	else
		ASSERT_TRUE(eventually(waitpid(p->t.pid, &status, WNOHANG)));
	EXPECT_EQ(p->status, status)
		TH_LOG("wait status %#x", status);
	expect_shows(_metadata, fd, p->status, "the reaping");
	/*
	 * The kernel calls do_notify_parent() again for a zombie when its tracer reaps
	 * or detaches it, or when it gets a new parent.
	 */
	EXPECT_EQ(0, epoll_wait(edge, &ev, 1, 0))
		TH_LOG("one exit reported twice");
}

static void play(struct __test_metadata *_metadata, struct play *p, bool late)
{
	const struct step *s = p->steps;
	int i;

	if (has_step(p->steps, CORE_ASKED, CORE_ASKED)) {
		if (!core_socket_open(_metadata, &p->sock))
			SKIP(return, "cannot have cores sent to a socket: %s", strerror(errno));
		core_socket_not_for_us(_metadata);
	}
	if (!late && !has_step(p->steps, WATCH, WATCH))
		watch(_metadata, p, late);
	for (; s[1].type != END; s++) {
		if (s->type != WATCH)
			take_step(_metadata, p, s);
		else if (!late)
			watch(_metadata, p, late);
		if (p->nr)
			expect_quiet(_metadata, p, s->name);
	}
	take_step(_metadata, p, s);
	if (late) {
		/* Learn of the exit from a pidfd, which is not under test. */
		ASSERT_EQ(POLLIN, poll_bounded(p->pidfd) & POLLIN)
			TH_LOG("the process lives on");
		exits_settle();
		if (!p->autoreaped)
			watch(_metadata, p, late);
	}
	for (i = 0; i < p->nr; i++)
		watcher_returns(_metadata, &p->w[i]);
	if (!p->autoreaped)
		play_zombie(_metadata, p);

	ASSERT_TRUE(eventually(kill(p->t.pid, 0) == -1 && errno == ESRCH))
		TH_LOG("process %d is not gone", p->t.pid);
	for (i = 0; i < p->nr; i++) {
		expect_exited(_metadata, p->w[i].fd);
		expect_shows(_metadata, p->w[i].fd, p->status, "the end");
	}
	EXPECT_EQ(-ENOENT, exithand_open(p->t.pid, O_RDONLY));
	target_end(&p->t);
}

/*
 * The lives.
 */
FIXTURE(event)
{
	struct play play;
};

FIXTURE_VARIANT(event)
{
	int status;
	struct step steps[10];	/* The last one is the exit. */
	struct step then[3];	/* steps of the zombie */
	enum spawn spawn;
	unsigned int ways;	/* of waiting: bits of enum method, 0 for read and poll */
};

FIXTURE_SETUP(event)
{
	struct play *p = &self->play;
	enum method how;

	/* If the process is gone, a write to it fails, and the test goes on. */
	signal(SIGPIPE, SIG_IGN);
	if (!exithand_needed(_metadata))
		return;
	p->status = variant->status;
	p->steps = variant->steps;
	p->then = variant->then;
	p->ways = variant->ways ?: 1 << HOW_READ | 1 << HOW_POLL;
	p->autoreaped = variant->spawn == SPAWN_IGNORED || variant->spawn == SPAWN_AUTOREAP ||
			variant->spawn == SPAWN_NOCLDWAIT;
	for (how = HOW_READ; how <= HOW_URING_READ; how++) {
		if (p->ways & 1 << how && !method_usable(how))
			SKIP(return, "no %s", how_name[how]);
	}
	if (has_step(p->steps, SEIZE, PTRACE) && !may_trace())
		SKIP(return, "cannot trace");
	ASSERT_EQ(0, prctl(PR_SET_CHILD_SUBREAPER, 1));
	ASSERT_EQ(MAP_FD, dup2(memfd_create("exithand", MFD_ALLOW_SEALING), MAP_FD));
	ASSERT_EQ(0, ftruncate(MAP_FD, 1 << 16));

	if (!target_try(_metadata, &p->t, variant->spawn)) {
		ASSERT_TRUE(variant->spawn == SPAWN_PIDNS || variant->spawn == SPAWN_AUTOREAP);
		SKIP(return, "cannot make the process: %s", strerror(-p->t.pid));
	}
	p->pidfd = pidfd_of(p->t.pid);
	ASSERT_LE(0, p->pidfd);
	/* After exec the process knows the steps, but shares no memory with its parent. */
	if (variant->spawn != SPAWN_VFORK && variant->spawn != SPAWN_SHARED_VM) {
		ASSERT_TRUE(put_byte(p->t.in, DO_EXEC));
		ASSERT_TRUE(get_obj(p->t.out, &p->tid, sizeof(p->tid)));
	}
}

FIXTURE_TEARDOWN(event)
{
	target_end(&self->play.t);
}

TEST_F(event, watched)
{
	play(_metadata, &self->play, false);
}

TEST_F(event, opened_late)
{
	play(_metadata, &self->play, true);
}

#define EVENT(name)	FIXTURE_VARIANT_ADD(event, name)

/* One thread. */
EVENT(killed) { SIGKILL, { DO(ANSWER), DO(KILL, SIGKILL) } };
EVENT(exits_0) { EXITED(0), { DO(EXIT, 0) } };
EVENT(exits_255) { EXITED(255), { DO(EXIT, 255) } };
EVENT(only_thread_exits) { EXITED(9), { DO(EXIT_THREAD, 9) } };
EVENT(sigsegv_without_core) { SIGSEGV, { DO(NO_CORE), DO(SIGNAL, SIGSEGV) } };
EVENT(stop_and_continue) { EXITED(7), {
	DO(KILL, SIGSTOP), DO(KILL, SIGCONT), DO(ANSWER),
	DO(KILL, SIGSTOP), DO(KILL, SIGCONT), DO(ANSWER), DO(EXIT, 7),
} };
EVENT(killed_while_stopped) { SIGKILL, {
	DO(KILL, SIGSTOP), DO(KILL, SIGKILL),
}, { DO(KILL, SIGCONT), DO(KILL, SIGTERM) } };
EVENT(exit_of_a_child_is_none) { EXITED(7), { DO(CHILD, 5), DO(EXIT, 7) } };

/* Several threads. */
EVENT(sigkill_by_thread) { SIGKILL, { THREAD_DOES(SIGNAL, SIGKILL) } };
EVENT(exit_group_by_thread) { EXITED(7), { DO(STORM), THREAD_DOES(EXIT, 7) } };
EVENT(thread_exit_is_none) { EXITED(3), { DO(THREAD), DO(EXIT_THREAD, 5), DO(EXIT_THREAD, 3) } };
EVENT(files_and_memory_gone) { SIGKILL, {
	DO(MAP), DO(STORM), DO(KILL, SIGKILL),
}, { DO(ALL_IS_GONE) } };

/* The leader exits first. The status is that of the last thread. */
EVENT(leader_exit_is_none) { EXITED(5), { DO(LEADER_EXIT, 3), DO(EXIT_THREAD, 5) } };
EVENT(leader_then_0) { EXITED(0), { DO(LEADER_EXIT, 3), DO(EXIT_THREAD, 0) } };
EVENT(leader_then_thread_exits) { EXITED(5), {
	DO(LEADER_EXIT, 3), DO(THREAD), DO(EXIT_THREAD, 4), DO(EXIT_THREAD, 5),
} };
EVENT(leader_then_exit_group) { EXITED(5), { DO(LEADER_EXIT, 3), DO(EXIT, 5) } };
EVENT(leader_then_killed) { SIGKILL, { DO(LEADER_EXIT, 3), DO(KILL, SIGKILL) } };
EVENT(opened_after_leader_exit) { EXITED(5), {
	DO(LEADER_EXIT, 3), DO(WATCH), DO(EXIT_THREAD, 5),
} };

/* Exec. */
EVENT(exec_is_none) { EXITED(7), { DO(EXEC), DO(EXEC), DO(EXIT, 7) } };
EVENT(exec_by_thread) { EXITED(7), {
	THREAD_DOES(EXEC), THREAD_DOES(EXEC), DO(STORM), THREAD_DOES(EXEC), DO(EXIT, 7),
} };
EVENT(exec_after_leader_exit) { SIGKILL, {
	DO(LEADER_EXIT, 3), DO(EXEC), DO(LEADER_EXIT, 4), DO(EXEC), DO(KILL, SIGKILL),
} };

/* A tracer. */
EVENT(trace_is_none) { SIGKILL, {
	DO(PTRACE, PTRACE_ATTACH), DO(TRACER_WAITS, STOPPED(SIGSTOP)),
	DO(PTRACE, PTRACE_CONT), DO(ANSWER), DO(KILL, SIGUSR1), DO(TRACER_WAITS, STOPPED(SIGUSR1)),
	DO(PTRACE, PTRACE_DETACH), DO(ANSWER), DO(KILL, SIGKILL),
} };
EVENT(traced_zombie) { EXITED(7), { DO(SEIZE), DO(EXIT, 7) }, { DO(TRACER_WAITS, EXITED(7)) } };
EVENT(traced_leader_exits) { EXITED(5), {
	DO(SEIZE), DO(LEADER_EXIT, 3), DO(EXIT_THREAD, 5),
}, { DO(TRACER_WAITS, EXITED(5)) } };
EVENT(traced_leader_execs) { SIGKILL, {
	DO(SEIZE), THREAD_DOES(EXEC), DO(SEIZE), THREAD_DOES(EXEC), DO(SEIZE), THREAD_DOES(EXEC),
	DO(KILL, SIGKILL),
} };
EVENT(stop_before_traced_exit) { EXITED(7), {
	DO(SEIZE, PTRACE_O_TRACEEXIT), DO(EXIT, 7), DO(TRACER_WAITS, HELD_AT_EXIT),
	DO(PTRACE, PTRACE_CONT),
}, { DO(TRACER_WAITS, EXITED(7)) } };
/* The other thread calls exit() after the leader, and ends before it. */
EVENT(leader_is_overtaken) { EXITED(5), {
	DO(SEIZE, PTRACE_O_TRACEEXIT), DO(LEADER_EXIT, 3), DO(TRACER_WAITS, HELD_AT_EXIT),
	DO(EXIT_THREAD, 5), DO(PTRACE, PTRACE_CONT),
}, { DO(TRACER_WAITS, EXITED(5)) } };
/* A dead thread stays until its tracer has waited for it. That is the exit then. */
EVENT(dead_thread_delays) { EXITED(3), {
	DO(THREAD), DO(SEIZE), DO(EXIT_THREAD, 5), DO(EXIT_THREAD, 3), DO(TRACER_WAITS, EXITED(3)),
} };
EVENT(last_thread_delays) { EXITED(5), {
	DO(LEADER_EXIT, 3), DO(SEIZE), DO(EXIT_THREAD, 5), DO(TRACER_WAITS, EXITED(5)),
} };
EVENT(opened_with_dead_thread) { EXITED(5), {
	DO(LEADER_EXIT, 3), DO(SEIZE), DO(EXIT_THREAD, 5), DO(WATCH), DO(TRACER_WAITS, EXITED(5)),
} };

/* A core dump. */
EVENT(core_dumped) { DUMPED(SIGSEGV), {
	DO(STORM), DO(SIGNAL, SIGSEGV), DO(CORE_ASKED), DO(CORE_DONE),
} };
EVENT(opened_in_core_dump) { DUMPED(SIGABRT), {
	DO(SIGNAL, SIGABRT), DO(CORE_ASKED), DO(WATCH), DO(CORE_DONE),
} };
EVENT(core_refused) { SIGSEGV, { DO(SIGNAL, SIGSEGV), DO(CORE_ASKED), DO(CORE_REFUSED) } };
EVENT(core_after_leader_exit) { DUMPED(SIGSEGV), {
	DO(LEADER_EXIT, 3), DO(SIGNAL, SIGSEGV), DO(CORE_ASKED), DO(CORE_DONE),
} };
/* The leader is in its exit before the core is dumped. Its exit code lacks the flag. */
EVENT(core_by_thread) { DUMPED(SIGSEGV), {
	DO(SEIZE, PTRACE_O_TRACEEXIT), THREAD_DOES(SIGNAL, SIGSEGV),
	DO(CORE_ASKED), DO(CORE_DONE), DO(TRACER_WAITS, HELD_AT_EXIT), DO(PTRACE, PTRACE_CONT),
}, { DO(TRACER_WAITS, DUMPED(SIGSEGV)) } };

/* Parents. Some let the kernel reap the process. */
EVENT(vfork_child) { SIGKILL, { DO(KILL, SIGKILL) }, .spawn = SPAWN_VFORK };
EVENT(memory_lives_on) { SIGKILL, { DO(KILL, SIGKILL) }, .spawn = SPAWN_SHARED_VM };
EVENT(parent_ignores_sigchld) { EXITED(5), { DO(EXIT, 5) }, .spawn = SPAWN_IGNORED };
EVENT(ignored_leader_exits) { EXITED(5), {
	DO(LEADER_EXIT, 3), DO(EXIT_THREAD, 5),
}, .spawn = SPAWN_IGNORED };
EVENT(parent_has_nocldwait) { EXITED(5), { DO(EXIT, 5) }, .spawn = SPAWN_NOCLDWAIT };
EVENT(autoreaped) { EXITED(5), { DO(EXIT, 5) }, .spawn = SPAWN_AUTOREAP };
EVENT(autoreaped_leader_exits) { EXITED(5), {
	DO(LEADER_EXIT, 3), DO(EXIT_THREAD, 5),
}, .spawn = SPAWN_AUTOREAP };
EVENT(orphan) { EXITED(7), { DO(ANSWER), DO(EXIT, 7) }, .spawn = SPAWN_ORPHAN };
EVENT(reparenting_is_none) { SIGKILL, { DO(STAY), DO(PARENT_QUITS), DO(KILL, SIGKILL) } };
EVENT(zombie_reparented) { SIGKILL, { DO(KILL, SIGKILL) }, { DO(PARENT_QUITS) } };
EVENT(traced_zombie_reparented) { SIGKILL, { DO(SEIZE), DO(KILL, SIGKILL) }, { DO(PARENT_QUITS) } };
EVENT(pidns_init) { SIGKILL, { DO(ANSWER), DO(KILL, SIGKILL) }, .spawn = SPAWN_PIDNS };

/* The other ways of waiting, and each way alone. */
#define WAY(how) { EXITED(5), {						\
	DO(LEADER_EXIT, 3), DO(EXEC), DO(LEADER_EXIT, 4), DO(EXIT_THREAD, 5),	\
}, .ways = 1 << (how) }

EVENT(way_read) WAY(HOW_READ);
EVENT(way_poll) WAY(HOW_POLL);
EVENT(way_select) WAY(HOW_SELECT);
EVENT(way_epoll) WAY(HOW_EPOLL);
EVENT(way_uring_poll) WAY(HOW_URING_POLL);
EVENT(way_uring_read) WAY(HOW_URING_READ);

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], OBEY_ARG))
		return process_main(argc, argv);
	return test_harness_run(argc, argv);
}
