// SPDX-License-Identifier: GPL-2.0
/*
 * /proc/<pid>/exithand under load: processes that die in every way there is,
 * watched in every way there is, many at a time and without end.
 *
 * Arguments, or variables of the environment:
 *   N=		how many watched exits; without it, as many as there is time for
 *   SECONDS=	how long at most; DEFAULT_SECONDS if there is no N either
 *   SEED=	which choices are made; random, and printed, if not given
 *   ROUND=	the round to begin with: what went wrong in it is then near
 *
 * A lane is a process that goes through one round after the other; there is one
 * lane more than there are CPUs.  In a round, TARGETS processes are started,
 * opened and handed to the lane's crew, threads that each wait for some of them
 * in one way.  Then they die, one by one or many at once, while files are
 * closed, and while some of the crew are only about to open theirs.  A
 * neighbour, another process, is the parent of some of the targets and has
 * waiters of its own, which get their files through a socket.  When everybody
 * has been told, the targets are reaped, and some of the files are kept for
 * later rounds.
 *
 * All choices of a round follow from the seed and its number, whichever lane
 * it falls to.  What the scheduler makes of them is not repeatable.
 *
 * What is looked at:
 *
 * - No one is told too early.  A target sets a flag with its last instruction
 *   before the system call that ends it (or he who kills it does).  Whoever is
 *   told looks at the flag first, and then asks wait() or, of processes that
 *   are not his children, a pidfd, which must both know of the exit by then:
 *   they are told before us, or under the same lock.
 * - Everyone is told, and of nothing but the end of file, or EPOLLIN.  If for
 *   BOUND_MS nobody in a lane is told of anything, those who still wait never
 *   will be.
 * - It stays like that when the process has been reaped and its number belongs
 *   to another one.
 * - Of a file that has been closed, epoll says nothing.
 * - Nothing stays behind, see leak_test().
 *
 * Targets are cheap where they can be: they share the memory and files of their
 * lane and have a small stack each.
 */
#define _GNU_SOURCE
#include <limits.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

#include "proc-exithand.h"

#define DEFAULT_SECONDS	20

#define TARGETS		32	/* processes of a round */
#define CREW		12	/* threads that wait, in a lane */
#define REMOTE		2	/* and in its neighbour */
#define CREW_MAX	8	/* what one of them waits for */
#define WATCHES		((CREW + REMOTE) * CREW_MAX)
#define GRAVES		2	/* files that are closed before their exit */
#define KEPT		16	/* files that are kept */
#define LANES_MAX	8
#define STACK		(8 << 10)
#define COMPLAINTS	24	/* that are printed */

/* The first argument of this program when a target execs it. */
#define DIE_ARG		"--die"

/* How a target dies. */
enum death {
	DEATH_EXIT,		/* shares the memory of its parent */
	DEATH_KILL,		/* the same, perhaps with another thread */
	DEATH_GROUP_EXIT,	/* exit_group() by another thread */
	DEATH_LEADER_FIRST,	/* the leader exits, later the last thread */
	DEATH_IGNORED,		/* its parent ignores SIGCHLD */
	DEATH_ORPHAN,		/* its parent has exited before */
	DEATH_FORK,		/* has memory of its own */
	DEATH_AUTOREAP,		/* CLONE_AUTOREAP */
	DEATH_VFORK,		/* its parent waits until then */
	DEATH_EXEC,		/* execs from another thread, then exits */
	DEATH_TRACED,		/* by another process than its parent */
	DEATH_TRACED_THREAD,	/* waits for the tracer of its other thread */
	DEATH_PIDNS,		/* init of a pid namespace */
	DEATHS
};

static const char * const death_name[] = {
	[DEATH_EXIT] = "shared_memory",
	[DEATH_KILL] = "killed",
	[DEATH_GROUP_EXIT] = "exit_group_by_a_thread",
	[DEATH_LEADER_FIRST] = "leader_first",
	[DEATH_IGNORED] = "sigchld_ignored",
	[DEATH_ORPHAN] = "orphan",
	[DEATH_FORK] = "forked",
	[DEATH_AUTOREAP] = "autoreaped",
	[DEATH_VFORK] = "vfork_child",
	[DEATH_EXEC] = "exec_by_a_thread",
	[DEATH_TRACED] = "traced",
	[DEATH_TRACED_THREAD] = "traced_thread",
	[DEATH_PIDNS] = "pidns_init",
};

/* Most are cheap.  Of all kinds there is one every DEATHS rounds at least. */
static const __u8 death_light[] = {
	DEATH_EXIT, DEATH_EXIT, DEATH_EXIT, DEATH_EXIT, DEATH_EXIT, DEATH_EXIT,
	DEATH_KILL, DEATH_KILL, DEATH_KILL, DEATH_KILL,
	DEATH_GROUP_EXIT, DEATH_GROUP_EXIT,
	DEATH_LEADER_FIRST, DEATH_LEADER_FIRST,
	DEATH_IGNORED,
	DEATH_ORPHAN,
};

/* How one waits. */
enum way {
	WAY_READ,
	WAY_NONBLOCK,
	WAY_POLL,
	WAY_SELECT,
	WAY_EPOLL,
	WAY_EPOLL_EDGE,
	WAY_EPOLL_ONESHOT,
	WAY_EPOLL_EXCLUSIVE,
	WAY_URING_POLL,
	WAY_URING_READ,
	WAYS
};

static const char * const way_name[] = {
	[WAY_READ] = "read",
	[WAY_NONBLOCK] = "nonblocking_read",
	[WAY_POLL] = "poll",
	[WAY_SELECT] = "select",
	[WAY_EPOLL] = "epoll",
	[WAY_EPOLL_EDGE] = "epoll_edge",
	[WAY_EPOLL_ONESHOT] = "epoll_oneshot",
	[WAY_EPOLL_EXCLUSIVE] = "epoll_exclusive",
	[WAY_URING_POLL] = "io_uring_poll",
	[WAY_URING_READ] = "io_uring_read",
};

/* Where the file comes from, and what becomes of it. */
enum file {
	FILE_SELF,		/* opened by who waits, perhaps late */
	FILE_SHARED,		/* the target's, for all that want it */
	FILE_OWN,		/* opened early for this one only */
	FILE_DUP,		/* a dup() of the target's */
	FILE_SENT,		/* got through a socket */
	FILE_CLOSED,		/* OWN or DUP, and closed meanwhile */
	FILE_GRAVE,		/* in an epoll file, and closed */
	FILE_REAPED,		/* FILE_SHARED, after the reaping */
	FILE_REUSED,		/* kept until the number is used again */
	FILES
};

static const char * const file_name[] = {
	[FILE_SELF] = "opened_late",
	[FILE_SHARED] = "shared",
	[FILE_OWN] = "opened_early",
	[FILE_DUP] = "dup",
	[FILE_SENT] = "sent_to_another_process",
	[FILE_CLOSED] = "closed_while_waited_for",
	[FILE_GRAVE] = "closed_in_epoll",
	[FILE_REAPED] = "after_the_reaping",
	[FILE_REUSED] = "after_reuse_of_the_number",
};

/* Variants of a target. */
#define BIT_MASS	1	/* dies together with others */
#define BIT_FREE	2	/* DEATH_EXIT: as soon as it likes */
#define BIT_SIGHAND	4	/* shares signal handlers with its parent */
#define BIT_KILL	8	/* is killed, if it may end in either way */
#define BIT_THREAD	16	/* another thread, or child, or way to exit */

struct slot {
	__u32 dying;		/* the flag */
	__u32 go;
	__u32 *word;		/* what to wait for: go, or the lane's mass */
	pid_t pid, tid;
	bool broken;		/* could not do what it should */
	__u8 lane, death, bits, code;
	bool shared;		/* somebody wants fd */
	int fd, pidfd;
	char exec_fd[12], exec_offset[12];
	char *argv[5];		/* of what it execs */
	char *stack[3];		/* their ends */
};

struct watch {
	__u8 slot, file;
	bool closed;		/* meanwhile */
	bool given;		/* FILE_SENT: what is sent is the target's */
	bool done;
	int fd;
};

struct crew {
	__u32 call;		/* another one for each round */
	__u8 way, nr, max, watch[CREW_MAX];
	bool remote;
	int sock[2], epoll;
	struct ring ring;
	struct lane *lane;
};

struct lane {
	pid_t pid;
	__u32 round;
	__u32 left;		/* of the crew have not answered all */
	__u32 unborn;		/* targets that are not there yet */
	__u32 busy;		/* of those who start targets */
	__u32 mass;
	__u32 call[3];		/* to those who start targets */
	__u32 progress;
	bool failed;
	const char *phase;	/* what it is about to do */
	__u32 exits;
	int grave, blank;	/* an epoll file; a file that cannot be used */
	int last_pid;		/* /proc/sys/kernel/ns_last_pid, or -1 */
	pid_t neighbour;
	struct crew crew[CREW + REMOTE];
	struct watch watch[WATCHES];
	unsigned int watches;
	struct { int fd; pid_t pid; } kept[KEPT];
	struct slot slot[TARGETS];
};

/* Memory that all processes here share. */
static struct shared {
	__u64 seed, digest;
	__u32 next, last;	/* rounds: the next one; the end */
	bool stop, reuse;
	__u32 complaints;
	int fd, exe;		/* this memory; this program */
	int pidns_flags;
	/* Why there is none of it, NULL if there is. */
	const char *no_death[DEATHS], *no_way[WAYS];
	__u32 death[DEATHS], way[WAYS], file[FILES], pair[WAYS][DEATHS];
	__u32 bad_death[DEATHS], bad_way[WAYS], bad_file[FILES];
	struct lane lane[LANES_MAX];
} *shared;

/* All the stacks: as they are mapped, they are aligned. */
static char (*stacks)[LANES_MAX][TARGETS][3][STACK];

static struct __test_metadata no_metadata;

#define load(p)		__atomic_load_n(p, __ATOMIC_ACQUIRE)
#define store(p, v)	__atomic_store_n(p, v, __ATOMIC_RELEASE)
#define add(p, v)	__atomic_add_fetch(p, v, __ATOMIC_ACQ_REL)

/* Evaluates to what the call returned, or to -errno. */
#define RET(call) ({ long __ret = (call); __ret < 0 ? -errno : __ret; })

static long futex(__u32 *word, int op, __u32 val, const struct timespec *ts)
{
	return syscall(__NR_futex, word, op, val, ts, NULL, 0);
}

static void wake(__u32 *word)
{
	futex(word, FUTEX_WAKE, 0x7fffffff, NULL);
}

/* Adds to a word that somebody waits for. */
static void call(__u32 *word)
{
	add(word, 1);
	wake(word);
}

/* Waits for the next call. */
static void answer_call(__u32 *word, __u32 *seen)
{
	while (load(word) == *seen)
		futex(word, FUTEX_WAIT, *seen, NULL);
	(*seen)++;
}

/* One of several has done its part; the last one tells who waits for all. */
static void part_done(__u32 *word)
{
	if (!add(word, -1))
		wake(word);
}

/*
 * Choices.
 */
struct rng {
	__u64 state, digest;
};

/* The golden ratio: an odd number without a pattern. */
#define GOLDEN 0x9e3779b97f4a7c15ULL

static __u64 mix(__u64 x)
{
	x = (x ^ x >> 32) * GOLDEN;
	x = (x ^ x >> 29) * GOLDEN;
	return x ^ x >> 32;
}

static unsigned int below(struct rng *rng, unsigned int n)
{
	unsigned int chosen;

	rng->state += GOLDEN;
	chosen = (mix(rng->state) >> 32) % n;
	rng->digest = mix(rng->digest + chosen + 1);
	return chosen;
}

/*
 * What is wrong.
 */
static __printf(5, 6) void complain(struct lane *l, const struct slot *s,
				    int way, int file, const char *fmt, ...)
{
	bool killed = s && s->death != DEATH_KILL && (s->bits & BIT_KILL);
	char text[192];
	va_list ap;

	l->failed = true;
	store(&shared->stop, true);
	if (s)
		add(&shared->bad_death[s->death], 1);
	if (way >= 0)
		add(&shared->bad_way[way], 1);
	if (file >= 0)
		add(&shared->bad_file[file], 1);
	if (add(&shared->complaints, 1) > COMPLAINTS)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	ksft_print_msg("round %u, seed %llu: process %d (%s%s), %s, %s: %s\n",
		       l->round, (unsigned long long)shared->seed,
		       s ? s->pid : 0, s ? death_name[s->death] : "any",
		       killed ? ", killed" : "",
		       way >= 0 ? way_name[way] : "nobody waiting",
		       file >= 0 ? file_name[file] : "none", text);
}

/*
 * The targets.
 *
 * They are on a stack of 8 KiB, and many share the memory, so the thread-local
 * errno too, of the thread that has made them: it does not look at its own.
 */
static void target_await(struct slot *s)
{
	/* An orphan has no parent to die with. */
	const struct timespec ts = { .tv_sec = 120 };

	while (!load(s->word))
		if (futex(s->word, FUTEX_WAIT, 0,
			  s->death == DEATH_ORPHAN ? &ts : NULL) &&
		    errno == ETIMEDOUT)
			syscall(__NR_exit_group, 1);
}

static void target_stay(void)
{
	for (;;)
		syscall(__NR_ppoll, NULL, 0, NULL, NULL, 0);
}

static void target_die(struct slot *s, int call, int code)
{
	store(&s->dying, 1);
	syscall(call, code);
}

static void target_broken(struct slot *s)
{
	store(&s->broken, true);
	syscall(__NR_exit_group, 1);
}

/* Another thread of a target. */
static int target_thread(void *arg)
{
	struct slot *s = arg;

	switch (s->death) {
	case DEATH_GROUP_EXIT:
		target_await(s);
		target_die(s, __NR_exit_group, s->code);
		break;
	case DEATH_LEADER_FIRST:
		if (s->bits & BIT_KILL)
			break;
		target_await(s);
		if (s->bits & BIT_THREAD)
			target_die(s, __NR_exit_group, s->code);
		target_die(s, __NR_exit, s->code);
		break;
	case DEATH_EXEC:
		target_await(s);
		syscall(__NR_execveat, shared->exe, "", s->argv, s->argv + 4,
			AT_EMPTY_PATH);
		target_broken(s);
		break;
	case DEATH_TRACED_THREAD:
		target_await(s);
		syscall(__NR_exit, s->code);
		break;
	}
	target_stay();
	return 0;
}

/* What it has execed. */
static int target_exec_main(char **argv)
{
	struct slot *s;
	long offset = atol(argv[3]), page = sysconf(_SC_PAGESIZE);
	char *mem;

	mem = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_SHARED,
		   atoi(argv[2]), offset & -page);
	if (mem == MAP_FAILED)
		return 1;
	s = (struct slot *)(mem + (offset & (page - 1)));
	if (s->bits & BIT_KILL)
		target_stay();
	target_die(s, __NR_exit_group, s->code);
	return 0;
}

/* A child of the init of a pid namespace, which dies with it. */
static int target_child(void *arg)
{
	target_stay();
	return 0;
}

static void target_clone(struct slot *s, int (*fn)(void *), int flags)
{
	if (clone(fn, s->stack[1], flags | CLONE_VM | CLONE_FS |
		  CLONE_FILES | CLONE_PARENT_SETTID, s, &s->tid) < 0)
		target_broken(s);
}

static int slot_main(void *arg)
{
	const int thread = CLONE_SIGHAND | CLONE_THREAD;
	struct slot *s = arg;
	struct lane *l = &shared->lane[s->lane];

	if (s->death != DEATH_ORPHAN)
		syscall(__NR_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);

	switch (s->death) {
	case DEATH_KILL:
		if (s->bits & BIT_THREAD)
			target_clone(s, target_thread, thread);
		target_stay();
		break;
	case DEATH_GROUP_EXIT:
		target_clone(s, target_thread, thread);
		target_stay();
		break;
	case DEATH_LEADER_FIRST:
		target_clone(s, target_thread, thread);
		/* The last one's code counts, which may be this one. */
		syscall(__NR_exit, s->code);
		break;
	case DEATH_EXEC:
		target_clone(s, target_thread, thread);
		if (s->bits & BIT_THREAD)
			syscall(__NR_exit, s->code);
		target_stay();
		break;
	case DEATH_TRACED_THREAD:
		target_clone(s, target_thread, thread);
		part_done(&l->unborn);
		target_await(s);
		/* Not yet: the other thread is there until it is waited for. */
		syscall(__NR_exit, s->code);
		break;
	case DEATH_VFORK:
		part_done(&l->unborn);
		break;
	case DEATH_PIDNS:
		if (s->bits & BIT_THREAD)
			target_clone(s, target_child, SIGCHLD);
		break;
	}
	if (s->bits & BIT_KILL)
		target_stay();
	if (!(s->bits & BIT_FREE))
		target_await(s);
	target_die(s, __NR_exit, s->code);
	return 0;
}

/*
 * Those who start targets: two threads of the lane, and its neighbour.
 */
enum maker {
	MAKER_LANE,
	MAKER_VFORK,		/* is held up by its child */
	MAKER_NEIGHBOUR,	/* ignores SIGCHLD */
	MAKERS
};

static enum maker maker_of(const struct slot *s)
{
	switch (s->death) {
	case DEATH_VFORK:
		return MAKER_VFORK;
	case DEATH_IGNORED:
	case DEATH_TRACED:
		return MAKER_NEIGHBOUR;
	default:
		return MAKER_LANE;
	}
}

/* Is it a child of the lane, or will be? */
static bool is_child(const struct slot *s)
{
	return maker_of(s) != MAKER_NEIGHBOUR && s->death != DEATH_AUTOREAP;
}

/* Is there a zombie until the lane waits for it? */
static bool is_kept(const struct slot *s)
{
	return s->death != DEATH_IGNORED && s->death != DEATH_AUTOREAP;
}

/* An orphan's parent. */
static int orphan_parent(void *arg)
{
	struct slot *s = arg;

	if (clone(slot_main, s->stack[0], CLONE_VM | CLONE_FS |
		  CLONE_FILES | CLONE_PARENT_SETTID | SIGCHLD, s, &s->pid) < 0)
		s->pid = -1;
	return 0;
}

static void target_start_one(struct slot *s)
{
	int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_PARENT_SETTID |
		    SIGCHLD;
	struct clone_args args = { .flags = CLONE_AUTOREAP };
	pid_t pid = -1;

	switch (s->death) {
	case DEATH_FORK:
		pid = fork();
		if (pid == 0)
			_exit(slot_main(s));
		break;
	case DEATH_AUTOREAP:
		pid = sys_clone3(&args);
		if (pid == 0)
			_exit(slot_main(s));
		break;
	case DEATH_ORPHAN:
		/* When it has been waited for, the target is ours. */
		pid = clone(orphan_parent, s->stack[2], CLONE_VM |
			    CLONE_VFORK | CLONE_FILES | SIGCHLD, s);
		if (pid > 0 && waitpid(pid, NULL, __WALL) == pid)
			pid = s->pid;
		break;
	case DEATH_PIDNS:
		flags |= shared->pidns_flags;
		if (flags & CLONE_NEWUSER)
			flags &= ~CLONE_FS;
		break;
	case DEATH_VFORK:
		flags |= CLONE_VFORK;
		break;
	}
	if (s->bits & BIT_SIGHAND)
		flags |= CLONE_SIGHAND;
	if (s->death != DEATH_FORK && s->death != DEATH_AUTOREAP &&
	    s->death != DEATH_ORPHAN)
		pid = clone(slot_main, s->stack[0], flags, s,
			    &s->pid);
	s->pid = pid < 0 ? -errno : pid;
}

static void make_targets(struct lane *l, enum maker maker)
{
	struct slot *s;

	for (s = l->slot; s < l->slot + TARGETS; s++) {
		if (maker_of(s) != maker)
			continue;
		target_start_one(s);
		/* These say it themselves, but for those that do not exist. */
		if ((s->death == DEATH_VFORK && s->pid > 0) ||
		    (s->death == DEATH_TRACED_THREAD && s->pid > 0))
			continue;
		part_done(&l->unborn);
	}
}

struct maker_arg {
	struct lane *lane;
	enum maker maker;
};

static void *maker_main(void *arg)
{
	struct maker_arg *m = arg;
	__u32 seen = 0;

	for (;;) {
		answer_call(&m->lane->call[m->maker], &seen);
		make_targets(m->lane, m->maker);
		part_done(&m->lane->busy);
	}
	return NULL;
}

/*
 * The crew.
 */

/* What a parent, or a pidfd, says of a target. */
static bool slot_is_over(struct slot *s)
{
	siginfo_t si = { 0 };

	if (s->pidfd >= 0)
		return poll_now(s->pidfd) & POLLIN;
	return !waitid(P_PID, s->pid, &si, WEXITED | WNOHANG | WNOWAIT) &&
	       si.si_pid == s->pid;
}

static int watch_file(const struct watch *w)
{
	return w->closed ? FILE_CLOSED : w->file;
}

/* Somebody was told of an exit; @right: in the right words. */
static void told(struct crew *c, struct watch *w, bool right, long answer)
{
	struct lane *l = c->lane;
	struct slot *s = &l->slot[w->slot];
	int file = watch_file(w);
	bool dying = load(&s->dying);

	if (load(&s->broken))
		complain(l, s, c->way, file, "it failed to do its part");
	else if (!right)
		complain(l, s, c->way, file, "answer %ld (%#lx)%s%s", answer,
			 answer, answer < 0 ? ": " : "",
			 answer < 0 ? strerror(-answer) : "");
	else if (!dying)
		complain(l, s, c->way, file, "before the exit");
	else if (!c->remote && !slot_is_over(s))
		complain(l, s, c->way, file, "before %s",
			 s->pidfd >= 0 ? "a pidfd" : "wait() knew");
	store(&w->done, true);
	add(&l->progress, 1);
	__atomic_fetch_add(&shared->pair[c->way][s->death], 1,
			   __ATOMIC_RELAXED);
	__atomic_fetch_add(&shared->file[file], 1, __ATOMIC_RELAXED);
}

/* The file was closed before it could be waited for. */
static void withdrawn(struct crew *c, struct watch *w)
{
	store(&w->done, true);
	add(&c->lane->progress, 1);
}

/* The same for all that are left: the call as such has failed. */
static void all_told(struct crew *c, long answer)
{
	int i;

	for (i = 0; i < c->nr; i++)
		if (!c->lane->watch[c->watch[i]].done)
			told(c, &c->lane->watch[c->watch[i]], false, answer);
}

/* Opens the file of a target that may be in the middle of an exec. */
static int open_slot(struct slot *s, int flags)
{
	__u64 end = 0;
	int fd;

	for (;;) {
		fd = exithand_open(s->pid, flags);
		if (s->death != DEATH_EXEC ||
		    (fd != -ENOENT && fd != -ESRCH && fd != -ESTALE))
			return fd;
		if (!end)
			end = now_ns() + BOUND_MS * 1000000ULL;
		else if (now_ns() > end)
			return fd;
		sched_yield();
	}
}

static bool send_one(int sock, int fd)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { .head = {
		.cmsg_level = SOL_SOCKET,
		.cmsg_type = SCM_RIGHTS,
		.cmsg_len = CMSG_LEN(sizeof(int)),
	} };
	struct iovec iov = { .iov_base = "f", .iov_len = 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control),
	};

	memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
	return sendmsg(sock, &msg, MSG_NOSIGNAL) == 1;
}

static int receive_one(int sock)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	char c;
	struct iovec iov = { .iov_base = &c, .iov_len = 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control),
	};
	int fd;

	if (recvmsg(sock, &msg, MSG_CMSG_CLOEXEC) != 1 ||
	    !msg.msg_controllen || control.head.cmsg_type != SCM_RIGHTS)
		return -EIO;
	memcpy(&fd, CMSG_DATA(&control.head), sizeof(fd));
	return fd;
}

static struct watch *crew_watch(struct crew *c, int i)
{
	return &c->lane->watch[c->watch[i]];
}

static void crew_read(struct crew *c)
{
	struct watch *w;
	char buf[16];
	ssize_t ret;
	int i;

	for (i = 0; i < c->nr; i++) {
		w = crew_watch(c, i);
		if (w->done)
			continue;
		ret = read(w->fd, buf, sizeof(buf));
		if (ret < 0 && errno == EBADF && w->closed)
			withdrawn(c, w);
		else
			told(c, w, ret == 0, ret < 0 ? -errno : ret);
	}
}

static void crew_nonblock(struct crew *c)
{
	struct watch *w;
	char buf[16];
	ssize_t ret;
	int i, events;

	for (i = 0; i < c->nr; i++) {
		w = crew_watch(c, i);
		if (w->done)
			continue;
		ret = read(w->fd, buf, sizeof(buf));
		if (ret < 0 && errno == EAGAIN) {
			struct pollfd pfd = {
				.fd = w->fd, .events = POLL_ALL,
			};

			events = poll(&pfd, 1, -1) < 0 ? -errno : pfd.revents;
			if (events != POLL_EXITED) {
				told(c, w, false, events);
				continue;
			}
			ret = read(w->fd, buf, sizeof(buf));
		}
		told(c, w, ret == 0, ret < 0 ? -errno : ret);
	}
}

static void crew_poll(struct crew *c)
{
	struct pollfd pfd[CREW_MAX];
	struct watch *w;
	int i, left = 0;

	for (i = 0; i < c->nr; i++) {
		w = crew_watch(c, i);
		pfd[i].fd = w->done ? -1 : w->fd;
		pfd[i].events = POLL_ALL;
		left += !w->done;
	}
	while (left) {
		if (poll(pfd, c->nr, -1) <= 0) {
			all_told(c, -errno);
			return;
		}
		for (i = 0; i < c->nr; i++) {
			if (pfd[i].fd < 0 || !pfd[i].revents)
				continue;
			w = crew_watch(c, i);
			if (pfd[i].revents == POLLNVAL && w->closed)
				withdrawn(c, w);
			else
				told(c, w, pfd[i].revents == POLL_EXITED,
				     pfd[i].revents);
			pfd[i].fd = -1;
			left--;
		}
	}
}

static void crew_select(struct crew *c)
{
	struct watch *w;
	fd_set rd, wr, ex;
	int i, max, left;

	for (;;) {
		FD_ZERO(&rd);
		FD_ZERO(&wr);
		FD_ZERO(&ex);
		max = -1;
		left = 0;
		for (i = 0; i < c->nr; i++) {
			w = crew_watch(c, i);
			if (w->done)
				continue;
			FD_SET(w->fd, &rd);
			FD_SET(w->fd, &wr);
			FD_SET(w->fd, &ex);
			max = w->fd > max ? w->fd : max;
			left++;
		}
		if (!left)
			return;
		if (select(max + 1, &rd, &wr, &ex, NULL) <= 0) {
			all_told(c, -errno);
			return;
		}
		for (i = 0; i < c->nr; i++) {
			int seen;

			w = crew_watch(c, i);
			if (w->done)
				continue;
			seen = (FD_ISSET(w->fd, &rd) ? POLLIN : 0) |
			       (FD_ISSET(w->fd, &wr) ? POLLOUT : 0) |
			       (FD_ISSET(w->fd, &ex) ? POLLPRI : 0);
			if (seen)
				told(c, w, seen == POLLIN, seen);
		}
	}
}

static const __u32 epoll_flags[WAYS] = {
	[WAY_EPOLL] = POLL_ALL,
	[WAY_EPOLL_EDGE] = POLL_ALL | EPOLLET,
	[WAY_EPOLL_ONESHOT] = POLL_ALL | EPOLLONESHOT,
	/* All that may be asked for with this one. */
	[WAY_EPOLL_EXCLUSIVE] = EPOLLIN | EPOLLEXCLUSIVE,
};

static void crew_epoll(struct crew *c)
{
	const bool exclusive = c->way == WAY_EPOLL_EXCLUSIVE;
	const __u32 want = exclusive ? EPOLLIN : POLL_EXITED;
	const bool level = c->way == WAY_EPOLL || exclusive;
	struct epoll_event ev[CREW_MAX], again;
	bool member[CREW_MAX] = { 0 };
	int i, n, left = 0, last = -1, more = 0;
	struct watch *w;

	for (i = 0; i < c->nr; i++) {
		w = crew_watch(c, i);
		if (w->done)
			continue;
		ev->events = epoll_flags[c->way];
		ev->data.u32 = i;
		if (epoll_ctl(c->epoll, EPOLL_CTL_ADD, w->fd, ev)) {
			told(c, w, false, -errno);
			continue;
		}
		member[i] = true;
		left++;
	}
	while (left) {
		n = epoll_wait(c->epoll, ev, CREW_MAX, -1);
		if (n <= 0) {
			all_told(c, -errno);
			break;
		}
		while (n--) {
			i = ev[n].data.u32;
			w = crew_watch(c, i);
			if (w->done) {
				/*
				 * An edge that came just when it was added may
				 * be told twice.
				 */
				if (c->way != WAY_EPOLL_EDGE || ++more > c->nr)
					told(c, w, false, ev[n].events);
				continue;
			}
			told(c, w, ev[n].events == want, ev[n].events);
			left--;
			last = i;
			/* The last one is still needed. */
			if (level && left) {
				epoll_ctl(c->epoll, EPOLL_CTL_DEL, w->fd, NULL);
				member[i] = false;
			}
		}
	}
	/* What is asked again is told again, and a oneshot only then. */
	if (last >= 0) {
		w = crew_watch(c, last);
		if (c->way == WAY_EPOLL_ONESHOT &&
		    epoll_wait(c->epoll, &again, 1, 0) != 0)
			told(c, w, false, again.events);
		again.events = epoll_flags[c->way];
		again.data.u32 = last;
		if (!level &&
		    epoll_ctl(c->epoll, EPOLL_CTL_MOD, w->fd, &again))
			told(c, w, false, -errno);
		n = epoll_wait(c->epoll, ev, CREW_MAX, 0);
		while (n > 0 && ev[n - 1].data.u32 != (__u32)last)
			n--;
		if (n <= 0 || ev[n - 1].events != want)
			told(c, w, false, n <= 0 ? n : (long)ev[n - 1].events);
	}
	for (i = 0; i < c->nr; i++)
		if (member[i] && epoll_ctl(c->epoll, EPOLL_CTL_DEL,
					   crew_watch(c, i)->fd, NULL))
			told(c, crew_watch(c, i), false, -errno);
}

static void crew_uring(struct crew *c)
{
	const long want = c->way == WAY_URING_POLL ? POLL_EXITED : 0;
	struct io_uring_cqe cqe;
	struct io_uring_sqe *sqe;
	char buf[CREW_MAX][16];
	struct watch *w;
	int i, left = 0;

	for (i = 0; i < c->nr; i++) {
		w = crew_watch(c, i);
		if (w->done)
			continue;
		if (c->way == WAY_URING_POLL)
			sqe = ring_poll(&c->ring, w->fd, POLL_ALL);
		else
			sqe = ring_read(&c->ring, w->fd, buf[i],
					sizeof(buf[i]));
		sqe->user_data = i;
		if (ring_enter(&c->ring, true, 0) != 1) {
			all_told(c, -errno);
			return;
		}
		left++;
	}
	while (left) {
		if (!ring_get(&c->ring, &cqe)) {
			if (ring_enter(&c->ring, false, 1) < 0) {
				all_told(c, -errno);
				return;
			}
			continue;
		}
		w = crew_watch(c, cqe.user_data);
		if (cqe.res == -EBADF && w->closed)
			withdrawn(c, w);
		else
			told(c, w, cqe.res == want, cqe.res);
		left--;
	}
}

static void crew_open(struct crew *c)
{
	int i, flags = c->way == WAY_NONBLOCK ? O_NONBLOCK : 0;
	struct watch *w;

	for (i = 0; i < c->nr; i++) {
		w = crew_watch(c, i);
		if (c->remote)
			w->fd = receive_one(c->sock[1]);
		else if (w->file == FILE_SELF)
			w->fd = open_slot(&c->lane->slot[w->slot], flags);
		if (w->fd < 0)
			told(c, w, false, w->fd);
	}
}

static void crew_close(struct crew *c)
{
	struct watch *w;
	int i;

	for (i = 0; i < c->nr; i++) {
		w = crew_watch(c, i);
		if (w->fd >= 0 && (c->remote || w->file == FILE_SELF))
			close(w->fd);
	}
}

static void *crew_main(void *arg)
{
	struct crew *c = arg;
	__u32 seen = 0;

	c->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (c->epoll < 0)
		complain(c->lane, NULL, WAY_EPOLL, -1, "%s", strerror(errno));
	if (!shared->no_way[WAY_URING_POLL])
		ring_open(&no_metadata, &c->ring);

	for (;;) {
		answer_call(&c->call, &seen);
		crew_open(c);
		switch (c->way) {
		case WAY_READ:
			crew_read(c);
			break;
		case WAY_NONBLOCK:
			crew_nonblock(c);
			break;
		case WAY_POLL:
			crew_poll(c);
			break;
		case WAY_SELECT:
			crew_select(c);
			break;
		case WAY_URING_POLL:
		case WAY_URING_READ:
			crew_uring(c);
			break;
		default:
			crew_epoll(c);
		}
		crew_close(c);
		part_done(&c->lane->left);
	}
	return NULL;
}

/*
 * A round.
 */
static bool crew_has(const struct lane *l, const struct crew *c, int slot)
{
	int i;

	for (i = 0; i < c->nr; i++)
		if (l->watch[c->watch[i]].slot == slot)
			return true;
	return false;
}

/* Who of @nr from @start on can take one more; NULL if there is nobody. */
static struct crew *crew_find(struct lane *l, int from, int nr, int start,
			      int slot, bool need)
{
	struct crew *c;
	int i;

	for (i = 0; i < nr; i++) {
		c = &l->crew[from + (start + i) % nr];
		if (c->nr < (need ? CREW_MAX : c->max) && !crew_has(l, c, slot))
			return c;
	}
	return NULL;
}

static void plan_watch(struct lane *l, struct rng *rng, int slot, bool first)
{
	static const __u8 files[] = {
		FILE_SELF, FILE_SELF, FILE_SELF, FILE_SELF,
		FILE_SHARED, FILE_SHARED, FILE_SHARED,
		FILE_OWN, FILE_DUP, FILE_SENT,
	};
	/* As many numbers, whatever comes of them. */
	int file = files[below(rng, ARRAY_SIZE(files))];
	int near = below(rng, CREW), far = below(rng, REMOTE);
	bool may = below(rng, 2);
	struct slot *s = &l->slot[slot];
	struct crew *c = NULL;
	struct watch *w;

	if (file == FILE_SENT) {
		c = crew_find(l, CREW, REMOTE, far, slot, false);
		if (!c)
			file = FILE_OWN;
	}
	if (!c)
		c = crew_find(l, 0, CREW, near, slot, false);
	if (!c && first)
		c = crew_find(l, 0, CREW, near, slot, true);
	if (!c)
		return;
	if (file == FILE_SELF && !is_kept(s))
		file = FILE_OWN;
	if ((file == FILE_SHARED || file == FILE_DUP) && c->way == WAY_NONBLOCK)
		file = FILE_OWN;

	c->watch[c->nr++] = l->watches;
	w = &l->watch[l->watches++];
	*w = (struct watch) { .slot = slot, .file = file, .fd = -1 };
	if (file == FILE_SENT)
		w->given = may && c->way != WAY_NONBLOCK;
	/* These do not need the number any more once they wait. */
	if (file == FILE_OWN || file == FILE_DUP)
		w->closed = may && !first &&
			(c->way == WAY_READ || c->way == WAY_POLL ||
			 c->way == WAY_URING_POLL || c->way == WAY_URING_READ);
	if (file == FILE_SHARED || file == FILE_DUP || w->given)
		s->shared = true;
}

static void plan_slot(struct lane *l, struct rng *rng, struct slot *s,
		      int death)
{
	static const __u8 bits[DEATHS] = {
		[DEATH_EXIT] = BIT_MASS | BIT_FREE,
		[DEATH_KILL] = BIT_THREAD,
		[DEATH_GROUP_EXIT] = BIT_MASS,
		[DEATH_LEADER_FIRST] = BIT_MASS | BIT_KILL | BIT_THREAD,
		[DEATH_IGNORED] = BIT_MASS | BIT_KILL,
		[DEATH_ORPHAN] = BIT_MASS | BIT_KILL,
		[DEATH_FORK] = BIT_MASS | BIT_KILL,
		[DEATH_AUTOREAP] = BIT_MASS | BIT_KILL,
		[DEATH_VFORK] = BIT_MASS | BIT_KILL,
		[DEATH_EXEC] = BIT_MASS | BIT_KILL | BIT_THREAD,
		[DEATH_TRACED] = BIT_MASS | BIT_KILL,
		[DEATH_TRACED_THREAD] = BIT_MASS,
		[DEATH_PIDNS] = BIT_MASS | BIT_KILL | BIT_THREAD,
	};
	int i;

	s->death = shared->no_death[death] ? DEATH_EXIT : death;
	s->bits = below(rng, 32) & (bits[s->death] | BIT_SIGHAND);
	/* Not as often as not. */
	if (below(rng, 2))
		s->bits &= ~(BIT_FREE | BIT_SIGHAND);
	/* The end of a pid namespace has its init ignore SIGCHLD. */
	if (s->death == DEATH_PIDNS)
		s->bits &= ~BIT_SIGHAND;
	if (s->death == DEATH_KILL)
		s->bits |= BIT_KILL;
	if (s->bits & (BIT_KILL | BIT_FREE))
		s->bits &= ~BIT_MASS;
	s->code = below(rng, 256);
	s->lane = l - shared->lane;
	s->dying = 0;
	s->go = 0;
	s->word = s->bits & BIT_MASS ? &l->mass : &s->go;
	s->argv[0] = "exithand-target";
	s->argv[1] = DIE_ARG;
	s->argv[2] = s->exec_fd;
	s->argv[3] = s->exec_offset;
	s->argv[4] = NULL;
	for (i = 0; i < 3; i++)
		s->stack[i] = (*stacks)[s->lane][s - l->slot][i] + STACK;
	s->pid = 0;
	s->tid = 0;
	s->broken = false;
	s->shared = false;
	s->fd = -1;
	s->pidfd = -1;
	snprintf(s->exec_fd, sizeof(s->exec_fd), "%d", shared->fd);
	snprintf(s->exec_offset, sizeof(s->exec_offset), "%ld",
		 (long)((char *)s - (char *)shared));
}

static void plan_round(struct lane *l, struct rng *rng)
{
	unsigned int i, forced = below(rng, TARGETS), death;
	struct crew *c;

	for (c = l->crew; c < l->crew + CREW + REMOTE; c++) {
		c->way = below(rng, WAYS);
		if (shared->no_way[c->way])
			c->way = WAY_POLL;
		c->max = 1 << below(rng, 4);
		c->nr = 0;
	}
	for (i = 0; i < TARGETS; i++) {
		death = death_light[below(rng, ARRAY_SIZE(death_light))];
		if (i == forced)
			death = l->round % DEATHS;
		plan_slot(l, rng, &l->slot[i], death);
	}
	/* Each has at least one whose file is not closed, and so is watched. */
	l->watches = 0;
	for (i = 0; i < TARGETS; i++)
		plan_watch(l, rng, i, true);
	for (i = 0; i < TARGETS; i++)
		if (below(rng, 2))
			plan_watch(l, rng, i, false);
	for (i = 0; i < TARGETS; i++)
		if (below(rng, 4) == 0)
			plan_watch(l, rng, i, false);
}

/* Waits, as long as there is progress, for a number to become 0. */
static bool becomes_zero(struct lane *l, __u32 *word)
{
	const struct timespec tick = { .tv_sec = 1 };
	__u32 left, last = ~0, progress = load(&l->progress);
	__u64 end = 0;

	while ((left = load(word)) != 0) {
		if (left != last || progress != load(&l->progress)) {
			last = left;
			progress = load(&l->progress);
			end = now_ns() + BOUND_MS * 1000000ULL;
		} else if (now_ns() > end) {
			return false;
		}
		futex(word, FUTEX_WAIT, left, &tick);
	}
	return true;
}

static bool makers_run(struct lane *l)
{
	bool used[MAKERS] = { 0 };
	struct slot *s;
	int i;

	store(&l->mass, 0);
	store(&l->unborn, TARGETS);
	for (s = l->slot; s < l->slot + TARGETS; s++)
		used[maker_of(s)] = true;
	for (i = 0; i < MAKERS; i++)
		if (used[i]) {
			add(&l->busy, 1);
			call(&l->call[i]);
		}
	if (!becomes_zero(l, &l->unborn)) {
		complain(l, NULL, -1, -1, "%u processes do not start",
			 load(&l->unborn));
		return false;
	}
	for (s = l->slot; s < l->slot + TARGETS; s++) {
		if (s->pid > 0)
			continue;
		complain(l, s, -1, -1, "could not start it: %s",
			 strerror(-s->pid));
		return false;
	}
	return true;
}

/* The file of a process that is gone still says so. */
static void check_gone(struct lane *l, struct slot *s, int fd, int file)
{
	int events = poll_now(fd), ret = read_now(fd);

	if (events != POLL_EXITED || ret)
		complain(l, s, -1, file, "poll() %#x, read() %d", events, ret);
	__atomic_fetch_add(&shared->file[file], 1, __ATOMIC_RELAXED);
}

/* The next process is to have a number whose file was kept. */
static void ask_reuse(struct lane *l, struct rng *rng)
{
	unsigned int i, from = below(rng, KEPT);
	char text[16];
	int len;

	for (i = from; i < from + KEPT && l->last_pid >= 0; i++) {
		if (l->kept[i % KEPT].fd < 0)
			continue;
		len = snprintf(text, sizeof(text), "%d",
			       l->kept[i % KEPT].pid - 1);
		if (pwrite(l->last_pid, text, len, 0) != len)
			complain(l, NULL, -1, FILE_REUSED, "ns_last_pid: %s",
				 strerror(errno));
		break;
	}
}

/* Is a number in use again that belonged to one whose file was kept? */
static void check_reuse(struct lane *l)
{
	int i, n;

	for (i = 0; i < KEPT; i++) {
		if (l->kept[i].fd < 0)
			continue;
		for (n = 0; n < TARGETS; n++)
			if (l->slot[n].pid == l->kept[i].pid)
				check_gone(l, &l->slot[n], l->kept[i].fd,
					   FILE_REUSED);
	}
}

static bool open_files(struct lane *l)
{
	struct slot *s;
	struct watch *w;
	struct crew *c;
	pid_t traced;
	int i, flags;

	for (s = l->slot; s < l->slot + TARGETS; s++) {
		if (s->shared) {
			s->fd = exithand_open(s->pid, O_RDONLY);
			if (s->fd < 0) {
				complain(l, s, -1, FILE_SHARED, "open: %s",
					 strerror(-s->fd));
				return false;
			}
			/* Nobody has been told to exit yet. */
			if (!(s->bits & BIT_FREE) && poll_now(s->fd) != 0)
				complain(l, s, -1, FILE_SHARED,
					 "ready when it is opened");
		}
		if (!is_child(s) && s->death != DEATH_TRACED) {
			s->pidfd = pidfd_of(s->pid);
			if (s->pidfd < 0)
				complain(l, s, -1, -1, "pidfd_open: %s",
					 strerror(errno));
		}
		traced = s->death == DEATH_TRACED ? s->pid :
			 s->death == DEATH_TRACED_THREAD ? s->tid : 0;
		if (traced && ptrace(PTRACE_SEIZE, traced, NULL, NULL))
			complain(l, s, -1, -1, "ptrace: %s", strerror(errno));
	}
	for (c = l->crew; c < l->crew + CREW + REMOTE; c++) {
		flags = c->way == WAY_NONBLOCK ? O_NONBLOCK : 0;
		for (i = 0; i < c->nr; i++) {
			w = crew_watch(c, i);
			s = &l->slot[w->slot];
			if (w->file == FILE_SELF)
				continue;
			if (w->file == FILE_SHARED || w->given)
				w->fd = s->fd;
			else if (w->file == FILE_DUP)
				w->fd = RET(fcntl(s->fd, F_DUPFD_CLOEXEC, 0));
			else
				w->fd = exithand_open(s->pid, flags);
			if (w->fd < 0 ||
			    (c->remote && !send_one(c->sock[0], w->fd))) {
				complain(l, s, c->way, w->file, "open: %s",
					 strerror(w->fd < 0 ? -w->fd : errno));
				return false;
			}
			if (c->remote && !w->given)
				close(w->fd);
		}
	}
	return !l->failed;
}

enum act {
	ACT_CREW,		/* somebody begins to wait */
	ACT_GO,			/* a target ends itself */
	ACT_KILL,
	ACT_MASS,		/* many end themselves */
	ACT_CLOSE,
	ACT_GRAVE,
	ACT_NAP,
};

struct action {
	__u8 act, arg;
};

static void act(struct lane *l, struct action a, unsigned int nap, int *grave)
{
	const struct timespec ts = { .tv_nsec = nap * 1000 };
	struct slot *s = &l->slot[a.arg];

	switch (a.act) {
	case ACT_CREW:
		call(&l->crew[a.arg].call);
		break;
	case ACT_GO:
		store(&s->go, 1);
		wake(&s->go);
		break;
	case ACT_KILL:
		store(&s->dying, 1);
		kill(s->pid, SIGKILL);
		break;
	case ACT_MASS:
		store(&l->mass, 1);
		wake(&l->mass);
		break;
	case ACT_CLOSE:
		/* The number stays in use, and fit for nothing. */
		dup3(l->blank, l->watch[a.arg].fd, O_CLOEXEC);
		break;
	case ACT_GRAVE:
		close(grave[a.arg]);
		break;
	case ACT_NAP:
		if (a.arg)
			nanosleep(&ts, NULL);
		else
			sched_yield();
	}
}

/* Everything that happens meanwhile, in any order. */
static void act_all(struct lane *l, struct rng *rng, int *grave)
{
	struct action a[256], tmp;
	unsigned int i, nr = 0, first, k;
	bool crew_first = below(rng, 4);
	struct slot *s;

	store(&l->left, 0);
	for (i = 0; i < CREW + REMOTE; i++) {
		if (!l->crew[i].nr)
			continue;
		a[nr++] = (struct action) { ACT_CREW, i };
		add(&l->left, 1);
	}
	first = crew_first ? nr : 0;
	for (i = 0; i < TARGETS; i++) {
		s = &l->slot[i];
		if (s->bits & BIT_KILL)
			a[nr++] = (struct action) { ACT_KILL, i };
		if (s->bits & (BIT_MASS | BIT_FREE) ||
		    (s->bits & BIT_KILL && s->death != DEATH_EXEC))
			continue;
		a[nr++] = (struct action) { ACT_GO, i };
	}
	for (i = 0; i < l->watches; i++)
		if (l->watch[i].closed)
			a[nr++] = (struct action) { ACT_CLOSE, i };
	for (i = 0; i < GRAVES; i++)
		a[nr++] = (struct action) { ACT_GRAVE, i };
	a[nr++] = (struct action) { .act = ACT_MASS };
	a[nr++] = (struct action) { ACT_NAP, 0 };
	a[nr++] = (struct action) { ACT_NAP, 1 };

	for (i = nr - 1; i > first; i--) {
		k = first + below(rng, i - first + 1);
		tmp = a[i];
		a[i] = a[k];
		a[k] = tmp;
	}
	for (i = 0; i < nr; i++)
		act(l, a[i], below(rng, 300), grave);

	/* The tracer is the last one that is waited for. */
	for (s = l->slot; s < l->slot + TARGETS; s++) {
		if (s->death != DEATH_TRACED_THREAD)
			continue;
		store(&s->dying, 1);
		if (waitpid(s->tid, NULL, __WALL) != s->tid)
			complain(l, s, -1, -1, "no exit of its thread: %s",
				 strerror(errno));
	}
}

/* Nobody is told of anything any more. */
static void nobody_told(struct lane *l)
{
	struct watch *w;
	struct slot *s;
	struct crew *c;
	int i, events;

	for (c = l->crew; c < l->crew + CREW + REMOTE; c++) {
		for (i = 0; i < c->nr; i++) {
			w = crew_watch(c, i);
			s = &l->slot[w->slot];
			if (load(&w->done))
				continue;
			if (c->remote || w->closed || w->fd < 0) {
				complain(l, s, c->way, watch_file(w),
					 "not told");
				continue;
			}
			events = poll_now(w->fd);
			complain(l, s, c->way, watch_file(w),
				 "not told; poll() now says %#x, %s %s", events,
				 s->pidfd < 0 ? "wait()" : "a pidfd",
				 slot_is_over(s) ? "exited" : "alive");
			/* Those behind it have not had their turn. */
			if (c->way == WAY_READ || c->way == WAY_NONBLOCK)
				break;
		}
	}
}

static void reap(struct lane *l, struct slot *s)
{
	int status, expected = s->bits & BIT_KILL ? SIGKILL : s->code << 8;

	if (!is_kept(s))
		return;
	if (waitpid(s->pid, &status, __WALL) != s->pid)
		complain(l, s, -1, -1, "waitpid: %s", strerror(errno));
	else if (status != expected)
		complain(l, s, -1, -1, "wait status %#x, not %#x", status,
			 expected);
}

static void close_files(struct lane *l, struct rng *rng)
{
	unsigned int from = below(rng, TARGETS), at = below(rng, KEPT), i;
	bool keep = !below(rng, 2) || l->kept[at].fd < 0;
	struct watch *w;
	struct slot *s;

	for (i = 0; i < l->watches; i++) {
		w = &l->watch[i];
		if (w->file == FILE_OWN || w->file == FILE_DUP)
			close(w->fd);
	}
	for (i = from; i < from + TARGETS; i++) {
		s = &l->slot[i % TARGETS];
		if (s->pidfd >= 0)
			close(s->pidfd);
		if (s->fd < 0)
			continue;
		check_gone(l, s, s->fd, FILE_REAPED);
		if (keep) {
			keep = false;
			if (l->kept[at].fd >= 0)
				close(l->kept[at].fd);
			l->kept[at].fd = s->fd;
			l->kept[at].pid = s->pid;
		} else {
			close(s->fd);
		}
	}
	at = l->round % KEPT;
	if (l->kept[at].fd >= 0)
		check_gone(l, NULL, l->kept[at].fd, FILE_REAPED);
}

static void round_run(struct lane *l)
{
	struct rng rng = { .state = mix(shared->seed + mix(l->round + 1)) };
	struct epoll_event ev;
	int grave[GRAVES], i;
	struct slot *s;

	plan_round(l, &rng);

	l->phase = "the start of the processes";
	ask_reuse(l, &rng);
	if (!makers_run(l))
		return;
	check_reuse(l);

	l->phase = "open";
	if (!open_files(l))
		return;
	for (i = 0; i < GRAVES; i++) {
		s = &l->slot[below(&rng, TARGETS)];
		ev.events = epoll_flags[WAY_EPOLL + below(&rng, 4)];
		ev.data.u32 = s - l->slot;
		grave[i] = exithand_open(s->pid, O_RDONLY);
		if (grave[i] < 0 ||
		    epoll_ctl(l->grave, EPOLL_CTL_ADD, grave[i], &ev)) {
			complain(l, s, -1, FILE_GRAVE, "open: %s",
				 strerror(grave[i] < 0 ? -grave[i] : errno));
			return;
		}
	}

	l->phase = "the end of the processes";
	act_all(l, &rng, grave);
	if (!becomes_zero(l, &l->left)) {
		nobody_told(l);
		return;
	}

	l->phase = "wait()";
	for (s = l->slot; s < l->slot + TARGETS; s++)
		reap(l, s);
	l->phase = "close";
	close_files(l, &rng);
	/* A parent held up by its child still has to come back. */
	if (!becomes_zero(l, &l->busy)) {
		complain(l, NULL, -1, -1, "a vfork() does not return");
		return;
	}
	/* All that could still have had these files open has exited. */
	if (epoll_wait(l->grave, &ev, 1, 0) != 0)
		complain(l, &l->slot[ev.data.u32], -1, FILE_GRAVE,
			 "epoll tells of a closed file: %#x", ev.events);
	add(&shared->file[FILE_GRAVE], GRAVES);

	for (s = l->slot; s < l->slot + TARGETS; s++)
		add(&shared->death[s->death], 1);
	add(&l->exits, TARGETS);
	__atomic_fetch_add(&shared->digest, mix(rng.digest), __ATOMIC_RELAXED);
}

/*
 * The lanes.
 */
static void crew_start(struct lane *l, int from, int nr)
{
	pthread_t thread;
	int i;

	for (i = from; i < from + nr; i++)
		if (pthread_create(&thread, NULL, crew_main, &l->crew[i]))
			complain(l, NULL, -1, -1, "cannot start a thread");
}

static void neighbour_main(struct lane *l)
{
	struct maker_arg arg = { l, MAKER_NEIGHBOUR };

	die_with_parent(l->pid);
	signal(SIGCHLD, SIG_IGN);
	crew_start(l, CREW, REMOTE);
	maker_main(&arg);
}

static void lane_main(struct lane *l)
{
	struct maker_arg arg[] = {
		{ l, MAKER_LANE }, { l, MAKER_VFORK },
	};
	pthread_t thread;
	int i;

	l->pid = getpid();
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	for (i = 0; i < KEPT; i++)
		l->kept[i].fd = -1;
	for (i = 0; i < CREW + REMOTE; i++) {
		l->crew[i].lane = l;
		l->crew[i].remote = i >= CREW;
		if (i >= CREW && socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC,
					    0, l->crew[i].sock))
			complain(l, NULL, -1, FILE_SENT, "socketpair: %s",
				 strerror(errno));
	}
	l->neighbour = fork();
	if (l->neighbour == 0)
		neighbour_main(l);
	l->grave = epoll_create1(EPOLL_CLOEXEC);
	l->blank = open("/", O_PATH | O_CLOEXEC);
	l->last_pid = shared->reuse ?
		open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC) : -1;
	if (l->neighbour < 0 || l->grave < 0 || l->blank < 0)
		complain(l, NULL, -1, -1, "cannot begin: %s", strerror(errno));
	crew_start(l, 0, CREW);
	for (i = 0; i < 2; i++)
		if (pthread_create(&thread, NULL, maker_main, &arg[i]))
			complain(l, NULL, -1, -1, "cannot start a thread");

	while (!l->failed && !load(&shared->stop)) {
		l->round = __atomic_fetch_add(&shared->next, 1,
					      __ATOMIC_RELAXED);
		if (l->round >= shared->last)
			break;
		round_run(l);
	}
	/* What is left has no more business here. */
	if (l->neighbour > 0) {
		kill(l->neighbour, SIGKILL);
		waitpid(l->neighbour, NULL, 0);
	}
	_exit(l->failed);
}

/* The lanes' process group: all that they start is in it. */
static pid_t lanes_group;

static void lanes_kill(void)
{
	if (lanes_group > 0)
		kill(-lanes_group, SIGKILL);
}

static void on_signal(int sig)
{
	lanes_kill();
	_exit(128 + sig);
}

static __u32 exits(int lanes)
{
	__u32 sum = 0;
	int i;

	for (i = 0; i < lanes; i++)
		sum += load(&shared->lane[i].exits);
	return sum;
}

/* What the user sees of it. */
struct clock {
	__u64 start, end, next;
	__u32 before;		/* exits of earlier lanes */
};

static void clock_show(struct clock *ck, int lanes, bool last)
{
	__u64 now = now_ns(), ms = (now - ck->start) / 1000000;
	__u32 nr = ck->before + exits(lanes);

	if (!last && now < ck->next)
		return;
	ck->next = now + 10000000000ULL;
	ksft_print_msg("%u exits watched in %llu s, %llu per second\n", nr,
		       (unsigned long long)ms / 1000,
		       (unsigned long long)nr * 1000 / (ms ?: 1));
}

/* Do the lanes get on? */
static void lanes_look(int lanes)
{
	static __u64 since[LANES_MAX];
	static __u32 last[LANES_MAX];
	struct lane *l;
	__u32 sum;
	int i;

	for (i = 0; i < lanes; i++) {
		l = &shared->lane[i];
		sum = load(&l->progress) + load(&l->exits);
		if (!since[i] || sum != last[i]) {
			last[i] = sum;
			since[i] = now_ns();
		}
		if (now_ns() - since[i] < 3 * BOUND_MS * 1000000ULL)
			continue;
		since[i] = 0;
		complain(l, NULL, -1, -1, "a lane does not get beyond %s",
			 l->phase ?: "its start");
		lanes_kill();
	}
}

/* Goes through the rounds up to @last, or until the time is over. */
static void lanes_run(struct clock *ck, int lanes, __u32 last)
{
	pid_t pid, pids[LANES_MAX];
	int i, left = lanes, status;

	shared->last = last;
	lanes_group = 0;
	for (i = 0; i < lanes; i++) {
		memset(&shared->lane[i], 0, offsetof(struct lane, slot));
		pid = fork();
		if (pid < 0)
			ksft_exit_fail_perror("fork");
		if (pid == 0) {
			setpgid(0, lanes_group);
			die_with_parent(getppid());
			lane_main(&shared->lane[i]);
		}
		pids[i] = pid;
		setpgid(pid, lanes_group);
		if (!lanes_group)
			lanes_group = pid;
	}
	while (left) {
		pid = waitpid(-1, &status, WNOHANG);
		if (pid > 0) {
			for (i = 0; i < lanes; i++)
				if (pids[i] == pid)
					break;
			if (i == lanes)		/* an orphan's orphan */
				continue;
			left--;
			if (status && !shared->stop)
				complain(&shared->lane[i], NULL, -1, -1,
					 "a lane died, status %#x", status);
			continue;
		}
		if (ck->end && now_ns() > ck->end)
			store(&shared->stop, true);
		lanes_look(lanes);
		clock_show(ck, lanes, false);
		usleep(50000);
	}
	lanes_kill();
	while (waitpid(-1, NULL, 0) > 0)
		;
	lanes_group = 0;
	ck->before += exits(lanes);
}

/*
 * Which kinds there are, for us.
 */
static int probe_child(void *arg)
{
	return 0;
}

static bool probe_clone(int flags)
{
	pid_t pid = clone(probe_child, (*stacks)[0][0][0] + STACK,
			  flags | SIGCHLD, NULL);

	return pid > 0 && waitpid(pid, NULL, 0) == pid;
}

/* A process to try things on; it goes with us, or when it is killed. */
static pid_t probe_fork(void)
{
	pid_t pid, me = getpid();

	pid = fork();
	if (pid == 0) {
		die_with_parent(me);
		target_stay();
	}
	return pid;
}

static void probe(void)
{
	struct clone_args args = { .flags = CLONE_AUTOREAP };
	char text[16];
	pid_t pid;
	int fd, len;

	shared->pidns_flags = CLONE_NEWPID;
	if (!probe_clone(CLONE_NEWPID)) {
		shared->pidns_flags |= CLONE_NEWUSER;
		if (!probe_clone(shared->pidns_flags))
			shared->no_death[DEATH_PIDNS] = "no pid namespaces";
	}

	pid = sys_clone3(&args);
	if (pid == 0)
		_exit(0);
	if (pid < 0)
		shared->no_death[DEATH_AUTOREAP] = "no CLONE_AUTOREAP";

	pid = probe_fork();
	if (pid < 0)
		ksft_exit_fail_perror("fork");
	if (ptrace(PTRACE_SEIZE, pid, NULL, NULL)) {
		shared->no_death[DEATH_TRACED] = "cannot trace";
		shared->no_death[DEATH_TRACED_THREAD] = "cannot trace";
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, __WALL);

	if (shared->exe < 0)
		shared->no_death[DEATH_EXEC] = "no memfd_create";

	if (!ring_usable()) {
		shared->no_way[WAY_URING_POLL] = "no io_uring";
		shared->no_way[WAY_URING_READ] = "no io_uring";
	}

	fd = open("/proc/sys/kernel/ns_last_pid", O_RDWR | O_CLOEXEC);
	len = fd < 0 ? -1 : read(fd, text, sizeof(text));
	shared->reuse = len > 0 && pwrite(fd, text, len, 0) == len;
	close(fd);
}

/* This program, in a file that is quick to exec. */
static int own_copy(void)
{
	int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), to;
	ssize_t len;

	to = memfd_create("exithand-target", MFD_CLOEXEC);
	if (from < 0 || to < 0)
		return -1;
	while ((len = sendfile(to, from, NULL, 1 << 20)) > 0)
		;
	close(from);
	return len < 0 ? -1 : to;
}

/*
 * What stays behind.
 */
#define CACHES 512

struct cache {
	char name[40];
	long objects;
};

/*
 * Asks for all that is free to be given back.  What waits for RCU is free two
 * grace periods later.  What the allocator has at hand for each CPU counts as
 * in use, as does what KASAN keeps in quarantine, until a cache is shrunk.
 */
static bool caches_settle(const struct cache *cache, int nr)
{
	char path[96];
	bool all = true;
	int i, fd;

	for (i = 0; i < 2; i++)
		syscall(__NR_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
	for (i = 0; i < nr; i++) {
		snprintf(path, sizeof(path), "/sys/kernel/slab/%s/shrink",
			 cache[i].name);
		fd = open(path, O_WRONLY | O_CLOEXEC);
		if (fd < 0 || write(fd, "1", 1) != 1)
			all = false;
		if (fd >= 0)
			close(fd);
	}
	return all;
}

/* The objects of each slab cache there is; how many caches. */
static int caches_count(struct cache *cache)
{
	char line[512];
	int nr = 0;
	FILE *f;

	f = fopen("/proc/slabinfo", "re");
	if (!f)
		return 0;
	while (nr < CACHES && fgets(line, sizeof(line), f))
		if (sscanf(line, "%39s %ld", cache[nr].name,
			   &cache[nr].objects) == 2)
			nr++;
	fclose(f);
	return nr;
}

static struct cache *cache_of(struct cache *cache, int nr, const char *name)
{
	int i;

	for (i = 0; i < nr; i++)
		if (!strcmp(cache[i].name, name))
			return &cache[i];
	return NULL;
}

/* By how much a cache has grown since. */
static long cache_growth(const struct cache *now, struct cache *before, int nr)
{
	const struct cache *b = cache_of(before, nr, now->name);

	return now->objects - (b ? b->objects : 0);
}

static struct leaks {
	struct cache before[CACHES], after[CACHES];
	int nr, nr_after;
	__u32 exits;
	bool shrunk;
} leaks;

/* What is there when all has been given back that will be. */
static void leak_begin(__u32 exits)
{
	int i, same, look = 0;
	long sum, last = 0;

	leaks.nr = caches_count(leaks.before);
	for (same = 0; leaks.nr && same < 3 && look < 50; same++) {
		leaks.shrunk = caches_settle(leaks.before, leaks.nr);
		leaks.nr = caches_count(leaks.before);
		for (i = sum = 0; i < leaks.nr; i++)
			sum += leaks.before[i].objects;
		if (!last || sum < last) {
			last = sum;
			same = 0;
		}
		usleep(100000);
		look++;
	}
	leaks.exits = exits;
}

/*
 * As many objects as before, but for a few.  When the caches have been shrunk,
 * what is counted is what is in use.  That has nothing to do with how many
 * processes there were, but others in the system may begin to use a few, such
 * as workers of the kernel that are there for some minutes after they had
 * something to do.  Caches that cannot be shrunk may have hundreds at hand.
 */
#define LEAK_MIN 32
#define LEAK_MIN_UNSHRUNK 1000
#define LEAK_SHARE 1000		/* of so many exits, one may leave an object */

/* Is there a cache with more objects than there were and may be? */
static bool leak_found(__u32 exits)
{
	static const char * const shown[] = {
		"task_struct", "signal_cache", "pid", "filp",
	};
	long limit, growth, most, most_kmalloc;
	int i, at, at_kmalloc, found = 0;
	struct cache *a, *b;
	__u64 end;

	exits -= leaks.exits;
	limit = leaks.shrunk ? LEAK_MIN : LEAK_MIN_UNSHRUNK;
	if (limit < exits / LEAK_SHARE)
		limit = exits / LEAK_SHARE;
	end = now_ns() + BOUND_MS * 1000000ULL;
	do {
		/* What is done in a work item or two may come later still. */
		leaks.shrunk &= caches_settle(leaks.before, leaks.nr);
		leaks.nr_after = caches_count(leaks.after);
		at = 0;
		at_kmalloc = 0;
		most = LONG_MIN;
		most_kmalloc = LONG_MIN;
		for (i = 0; i < leaks.nr_after; i++) {
			growth = cache_growth(&leaks.after[i], leaks.before,
					      leaks.nr);
			if (growth > most) {
				most = growth;
				at = i;
			}
			if (!strncmp(leaks.after[i].name, "kmalloc-cg-", 11) &&
			    growth > most_kmalloc) {
				most_kmalloc = growth;
				at_kmalloc = i;
			}
		}
	} while (most > limit && now_ns() < end);

	for (i = 0; i < (int)ARRAY_SIZE(shown); i++) {
		b = cache_of(leaks.before, leaks.nr, shown[i]);
		a = cache_of(leaks.after, leaks.nr_after, shown[i]);
		if (a && b)
			ksft_print_msg("%s: %ld before, %ld after\n", shown[i],
				       b->objects, a->objects);
		else
			ksft_print_msg("%s: merged into another cache\n",
				       shown[i]);
		found += a && b;
	}
	ksft_print_msg("most in kmalloc-cg-*, where watches are: %+ld (%s)\n",
		       most_kmalloc, leaks.after[at_kmalloc].name);
	ksft_print_msg("most of all: %+ld (%s) in %u exits, allowed %ld%s\n",
		       most, leaks.after[at].name, exits, limit, leaks.shrunk ?
		       "" : ", as caches could not be shrunk");
	/* Without any of these it would not have been a test. */
	return !found || most > limit;
}

/*
 * Others may have used more just then, but a leak is there each time.  Returns
 * the result, and why there is none.
 */
static int leak_test(struct clock *ck, int lanes, const char **why)
{
	__u32 rounds = ck->before / TARGETS;
	int again;

	*why = leaks.nr ? "cut short" : "no readable /proc/slabinfo";
	if (rounds > LEAK_MIN * LEAK_SHARE / TARGETS)
		rounds = LEAK_MIN * LEAK_SHARE / TARGETS;
	ck->end = 0;
	for (again = 0; leaks.nr && !shared->complaints; again++) {
		if (!leak_found(ck->before)) {
			*why = NULL;
			return KSFT_PASS;
		}
		if (again == 2) {
			*why = NULL;
			return KSFT_FAIL;
		}
		leak_begin(ck->before);
		store(&shared->stop, false);
		lanes_run(ck, lanes, shared->next + rounds);
	}
	return KSFT_SKIP;
}

/*
 * The report.
 */
static void report(const char *kind, const char *name, __u32 count, __u32 bad,
		   const char *none)
{
	char full[80];

	snprintf(full, sizeof(full), "%s.%s", kind, name);
	if (bad)
		ksft_print_msg("%s: wrong %u times\n", full, bad);
	else if (!count && !none && !shared->complaints)
		ksft_print_msg("%s: never came up\n", full);
	if (!bad && !count && (none || shared->complaints))
		ksft_test_result_code(KSFT_SKIP, full, "%s",
				      none ?: "cut short");
	else
		ksft_test_result(!bad && count, "%s\n", full);
}

static void report_all(__u32 nr, __u32 wanted)
{
	const char *no_reuse = shared->reuse ? NULL :
		"cannot choose the number of a process";
	unsigned int i, n, pairs = 0, all = 0;

	/* Whatever was wrong has just been said. */
	if (nr < wanted)
		ksft_print_msg("%u of %u exits\n", nr, wanted);
	ksft_test_result(nr >= wanted && !shared->complaints,
			 "all.exits_watched\n");
	for (i = 0; i < WAYS; i++)
		for (n = 0; n < DEATHS; n++) {
			shared->way[i] += shared->pair[i][n];
			pairs += shared->pair[i][n] != 0;
			all += !shared->no_way[i] && !shared->no_death[n];
		}
	ksft_print_msg("%u of %u combinations of death and way to wait\n",
		       pairs, all);
	for (i = 0; i < DEATHS; i++)
		report("death", death_name[i], shared->death[i],
		       shared->bad_death[i], shared->no_death[i]);
	for (i = 0; i < WAYS; i++)
		report("way", way_name[i], shared->way[i], shared->bad_way[i],
		       shared->no_way[i]);
	for (i = 0; i < FILES; i++)
		report("file", file_name[i], shared->file[i],
		       shared->bad_file[i], i == FILE_REUSED ? no_reuse : NULL);
}

/* "N=5", among the arguments or in the environment. */
static const char *setting(int argc, char **argv, const char *name)
{
	size_t len = strlen(name);
	int i;

	for (i = 1; i < argc; i++)
		if (!strncmp(argv[i], name, len) && argv[i][len] == '=')
			return argv[i] + len + 1;
	return getenv(name);
}

static __u64 number(int argc, char **argv, const char *name, __u64 otherwise)
{
	const char *text = setting(argc, argv, name);
	char *end;
	__u64 value;

	if (!text || !*text)
		return otherwise;
	value = strtoull(text, &end, 0);
	if (*end)
		ksft_exit_fail_msg("%s=%s: give digits\n", name, text);
	return value;
}

int main(int argc, char **argv)
{
	int lanes = sysconf(_SC_NPROCESSORS_ONLN) + 1;
	__u64 n, seconds, seed, first, rounds;
	struct clock ck = { 0 };
	__u32 warm = DEATHS;
	const char *why;
	int fd, leak;

	if (argc == 4 && !strcmp(argv[1], DIE_ARG))
		return target_exec_main(argv);

	ksft_print_header();
	if (!exithand_supported())
		ksft_exit_skip("no /proc/<pid>/exithand\n");
	ksft_set_plan(DEATHS + WAYS + FILES + 2);

	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		seed = now_ns();
	n = number(argc, argv, "N", 0);
	seconds = number(argc, argv, "SECONDS", n ? 0 : DEFAULT_SECONDS);
	seed = number(argc, argv, "SEED", seed);
	first = number(argc, argv, "ROUND", 0);
	lanes = lanes > LANES_MAX ? LANES_MAX : lanes;

	/* Not closed by exec, as it is needed by what is execed. */
	fd = memfd_create("exithand-stress", 0);
	if (fd < 0 || ftruncate(fd, sizeof(*shared)))
		ksft_exit_fail_perror("memfd_create");
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED,
		      fd, 0);
	if (shared == MAP_FAILED)
		ksft_exit_fail_perror("mmap");
	stacks = mmap(NULL, sizeof(*stacks), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (stacks == MAP_FAILED)
		ksft_exit_fail_perror("mmap");
	shared->fd = fd;
	shared->exe = own_copy();
	shared->seed = seed;
	shared->next = first;
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	signal(SIGHUP, on_signal);
	probe();

	/* Each kind once, after which all is in place that will be used. */
	rounds = (n + TARGETS - 1) / TARGETS;
	if (!n || rounds > UINT_MAX - first)
		rounds = UINT_MAX - first;
	if (rounds < 2 * warm)
		rounds = 2 * warm;
	ksft_print_msg("seed %llu, from round %llu on, %d lanes\n",
		       (unsigned long long)seed, (unsigned long long)first,
		       lanes);
	ck.start = now_ns();
	ck.next = ck.start + 10000000000ULL;
	lanes_run(&ck, lanes, first + warm);
	leak_begin(ck.before);
	shared->next = first + warm;
	if (seconds)
		ck.end = ck.start + seconds * 1000000000ULL;
	if (!shared->complaints)
		lanes_run(&ck, lanes, first + rounds);
	clock_show(&ck, 0, true);
	ksft_print_msg("%u rounds, choices %016llx\n", ck.before / TARGETS,
		       (unsigned long long)shared->digest);

	leak = leak_test(&ck, lanes, &why);
	report_all(ck.before, n);
	ksft_test_result_code(leak, "leak.no_object_for_each_exit",
			      why ? "%s" : NULL, why);
	ksft_finished();
}
