// SPDX-License-Identifier: GPL-2.0
/*
 * /proc/<pid>/exithand against an exit, or an exec, that happens meanwhile.
 *
 * - rounds.*: a process exits while another opens its exithand file and goes
 *   to sleep on it.  The exit must not slip between the look at the process
 *   and the sleep.  Chance would not find that gap, so the exit is aimed at
 *   it: the one who waits sets a timer and goes on to wait; at a moment that
 *   moves through the whole of open, read and poll the timer wakes the
 *   process, which has real-time priority on the same CPU, and takes the CPU
 *   away until it is dead.  In every other round it does so on another CPU,
 *   for the gaps that only real concurrency opens.
 * - exec.*: a process execs from a thread that is not the leader, again and
 *   again, and for a moment each time there are two leaders, of which one is
 *   dead.  That must not be taken for an exit, by a file that is open or by
 *   one that is being opened.
 * - openers.*: two open the file of a process, each before the other has.
 * - herd.*: many wait for one exit, and one has a signal to take, too.
 * - leak.*: what opening, waiting and closing leave behind.
 * - nomem.*: what an open does that gets no memory.
 *
 * Without the privilege for real-time priorities the same is done, with less
 * aim.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <linux/membarrier.h>
#include <semaphore.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/timerfd.h>

#include "proc-exithand.h"

/* Not in every installed header yet; what it asks for is the default. */
#ifndef MFD_EXEC
#define MFD_EXEC 0
#endif

/* The CPUs that we may use: as it was before the first thread was pinned. */
static cpu_set_t all_cpus;

static void __attribute__((constructor)) find_cpus(void)
{
	sched_getaffinity(0, sizeof(all_cpus), &all_cpus);
}

/* Pins the calling thread to a CPU, 0 or 1, if there are two. */
static void pin_to(int nr)
{
	cpu_set_t one;
	int cpu;

	CPU_ZERO(&one);
	for (cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &all_cpus))
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		if (nr-- == 0)
			break;
	}
	sched_setaffinity(0, sizeof(one), &one);
}

static bool set_realtime(bool on)
{
	struct sched_param param = { .sched_priority = on ? 10 : 0 };

	return !sched_setscheduler(0, on ? SCHED_FIFO : SCHED_OTHER, &param);
}

static unsigned int next_random(unsigned int *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

/*
 * When to do something so that it hits the middle of something else: how long
 * it takes to set a timer, and how late it comes, is not known, so the aim is
 * taken from what came of it the last times.  What takes long itself, on
 * another CPU, has to start before that something else does: then the delay is
 * negative.
 */
struct aim {
	int delay;		/* ns */
	unsigned int step, min, max, length, same;
	bool late;
};

#define AIM_LIMIT (50 * 1000 * 1000)

static void aim_start(struct aim *aim, unsigned int length)
{
	*aim = (struct aim) {
		.delay = 2 * length,
		.step = length,
		.min = length / 64 + 1,
		.max = 4 * length,
		.length = length,
	};
}

/*
 * At the place where the outcome changes; or, if it is to be @before that,
 * anywhere in what leads there.
 */
static int aim_delay(struct aim *aim, bool before, unsigned int *seed)
{
	int delay = aim->delay + next_random(seed) % (2 * aim->step);

	return before ? delay - next_random(seed) % (3 * aim->length) : delay;
}

static void aim_shoot(int timer, int delay)
{
	struct itimerspec it = { .it_value.tv_nsec = delay > 0 ? delay : 1 };
	__u64 start = now_ns();

	timerfd_settime(timer, 0, &it, NULL);
	while (delay < 0 && now_ns() - start < (__u64)-delay)
		;
}

/* Smaller steps when it goes to and fro, larger ones when it does not. */
static void aim_adjust(struct aim *aim, bool late)
{
	if (late != aim->late) {
		aim->late = late;
		aim->same = 0;
		if (aim->step > aim->min)
			aim->step /= 2;
	} else if (++aim->same == 5) {
		aim->same = 0;
		if (aim->step < aim->max)
			aim->step *= 2;
	}
	if (!late && aim->delay < AIM_LIMIT)
		aim->delay += aim->step;
	if (late && aim->delay > -AIM_LIMIT)
		aim->delay -= aim->step;
}

/*
 * What stays allocated.
 */
#define LEAK_CACHES 512

struct leak_cache {
	char name[40];
	long objects;
};

static struct leak_cache leak_before[LEAK_CACHES], leak_after[LEAK_CACHES];

/* The objects of each slab cache there is; how many caches. */
static int leak_count(struct leak_cache *cache)
{
	char line[512];
	int nr = 0;
	FILE *f;

	f = fopen("/proc/slabinfo", "r");
	if (!f)
		return 0;
	while (nr < LEAK_CACHES && fgets(line, sizeof(line), f))
		if (sscanf(line, "%39s %ld", cache[nr].name,
			   &cache[nr].objects) == 2)
			nr++;
	fclose(f);
	return nr;
}

/* The first cache that has grown by more than @limit, NULL if there is none. */
static struct leak_cache *leak_find(int nr, long limit)
{
	struct leak_cache *before = leak_before, *after = leak_after;
	bool shrunk = false;
	char path[96];
	int i;

	for (;;) {
		if (leak_count(after) != nr)
			return NULL;
		for (i = 0; i < nr; i++)
			if (after[i].objects - before[i].objects > limit)
				break;
		if (i == nr)
			return NULL;
		if (shrunk)
			return &after[i];
		/* KASAN keeps what has been freed, until it is asked not to. */
		snprintf(path, sizeof(path), "/sys/kernel/slab/%s/shrink",
			 after[i].name);
		shrunk = put_file(path, "1");
		if (!shrunk)
			return &after[i];
	}
}

/*
 * @run, which handles @n processes, leaves no object of each of them behind.
 * The allocator keeps some objects at hand, so a few more or less mean nothing.
 * Others may allocate, too, but a leak is there each time.
 */
static void expect_no_leak(struct __test_metadata *_metadata, int n,
			   void (*run)(struct __test_metadata *_metadata,
				       void *arg), void *arg)
{
	struct leak_cache *leaked = NULL;
	int again, nr;

	/* The first run fills the caches. */
	run(_metadata, arg);
	for (again = 0; again < 3; again++) {
		nr = leak_count(leak_before);
		run(_metadata, arg);
		/* RCU frees some of them a little later. */
		if (eventually(!leak_find(nr, n / 2)))
			return;
		leaked = leak_find(nr, n / 2);
		if (!leaked)
			return;
		TH_LOG("%s: %ld objects after %d processes, %ld before",
		       leaked->name, leaked->objects, n,
		       leak_before[leaked - leak_after].objects);
	}
	EXPECT_EQ(NULL, leaked);
}

/*
 * One exit a round.
 */
#define ROUNDS 10000

/* A round differs from the next in these ways. */
#define ROUND_OTHER_CPU		1	/* exits on another CPU */
#define ROUND_KILLED		2	/* is killed; else exits by itself */
#define ROUND_OPENED		4	/* was opened before */
#define ROUND_ELSEWHERE		8	/* aims at another gap, see below */
#define ROUND_MODES		16
#define ROUND_BEFORE		16	/* does not aim that well */

struct rounds {
	bool use_poll, stop;
	int timer, mode, fd;
	int delay;		/* ns until the exit */
	pid_t pid;
	sem_t go, done;
	/* The answers. */
	int ret;
	bool slept, over;
	char *stack;		/* of the process that exits */
};

FIXTURE(rounds)
{
	struct rounds *r;
};

FIXTURE_VARIANT(rounds)
{
	bool use_poll;
};

FIXTURE_VARIANT_ADD(rounds, read) { .use_poll = false };
FIXTURE_VARIANT_ADD(rounds, poll) { .use_poll = true };

FIXTURE_SETUP(rounds)
{
	if (!exithand_needed(_metadata))
		return;
	self->r = calloc(1, sizeof(*self->r));
	ASSERT_NE(NULL, self->r);
	self->r->use_poll = variant->use_poll;
	self->r->stack = malloc(STACK_SIZE);
	ASSERT_NE(NULL, self->r->stack);
}

FIXTURE_TEARDOWN(rounds)
{
	/* All that is left is a child, which goes with us. */
}

static long voluntary_switches(void)
{
	struct rusage ru;

	getrusage(RUSAGE_THREAD, &ru);
	return ru.ru_nvcsw;
}

/* Waits for the exit; 0 if it was told of one. */
static int wait_for_exit(struct rounds *r, int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLL_ALL };
	char c;
	int ret;

	if (!r->use_poll) {
		ret = read(fd, &c, 1);
		return ret < 0 ? -errno : ret;
	}
	ret = poll(&pfd, 1, -1);
	return ret != 1 ? -errno : pfd.revents != POLL_EXITED;
}

/* The thread that waits.  Its fate is to be interrupted at any place. */
static void *rounds_waiter(void *arg)
{
	struct rounds *r = arg;
	long switches;

	pin_to(0);
	for (;;) {
		while (sem_wait(&r->go))
			;
		if (r->stop)
			return NULL;
		switches = voluntary_switches();
		aim_shoot(r->timer, r->delay);

		if (!(r->mode & ROUND_OPENED))
			r->fd = exithand_open(r->pid, O_RDONLY);
		r->over = (r->mode & ROUND_ELSEWHERE) &&
			poll_now(r->fd) == POLL_EXITED;
		r->ret = r->fd < 0 ? r->fd : wait_for_exit(r, r->fd);

		r->slept = voluntary_switches() != switches;
		sem_post(&r->done);
	}
}

/* The process that exits.  It shares memory and errno with the test. */
static int rounds_target(void *arg)
{
	struct rounds *r = arg;
	char buf[8];

	syscall(__NR_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (r->mode & ROUND_OTHER_CPU)
		pin_to(1);
	if (!(r->mode & ROUND_KILLED))
		syscall(__NR_read, r->timer, buf, sizeof(buf));
	else
		syscall(__NR_ppoll, NULL, 0, NULL, NULL, 0);
	syscall(__NR_exit, 0);
	return 0;
}

static bool sem_wait_bounded(sem_t *sem)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec += BOUND_MS / 1000;
	while (sem_timedwait(sem, &ts))
		if (errno != EINTR)
			return false;
	return true;
}

/* How long open and a read that does not wait take at best, in ns. */
static unsigned int path_length(bool use_poll)
{
	__u64 start, length, best = 1000000;
	int i, fd;

	for (i = 0; i < 200; i++) {
		start = now_ns();
		fd = open("/proc/self/exithand", O_RDONLY);
		if (use_poll)
			poll_now(fd);
		else
			read_now(fd);
		close(fd);
		length = now_ns() - start;
		if (length < best)
			best = length;
	}
	return best;
}

/*
 * The exit is aimed at going to sleep, such that it comes too late for that in
 * half of the rounds; or at the open (ROUND_ELSEWHERE), such that half of them
 * find that it has been; but with ROUND_BEFORE anywhere before these.
 */
TEST_F_TIMEOUT(rounds, no_exit_is_missed, 900)
{
	unsigned int seed = 1, length, slept = 0, over = 0, i;
	struct aim aim[ROUND_MODES], *shot;
	struct rounds *r = self->r;
	bool realtime, before, late;
	pthread_t thread;
	siginfo_t si;
	char buf[8];

	r->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	ASSERT_LE(0, r->timer);
	ASSERT_EQ(0, sem_init(&r->go, 0, 0));
	ASSERT_EQ(0, sem_init(&r->done, 0, 0));
	ASSERT_EQ(0, pthread_create(&thread, NULL, rounds_waiter, r));
	pin_to(0);
	length = path_length(r->use_poll);
	for (i = 0; i < ROUND_MODES; i++)
		aim_start(&aim[i], length);
	realtime = set_realtime(true);

	for (i = 0; i < ROUNDS; i++) {
		r->mode = i % (2 * ROUND_MODES);
		before = r->mode & ROUND_BEFORE;
		shot = &aim[r->mode % ROUND_MODES];
		r->delay = aim_delay(shot, before, &seed);
		r->pid = clone(rounds_target, r->stack + STACK_SIZE,
			       CLONE_VM | SIGCHLD, r);
		ASSERT_LT(0, r->pid);
		if (r->mode & ROUND_OPENED) {
			r->fd = exithand_open(r->pid, O_RDONLY);
			ASSERT_LE(0, r->fd);
		}
		sem_post(&r->go);
		if (r->mode & ROUND_KILLED) {
			ASSERT_EQ(8, read(r->timer, buf, sizeof(buf)));
			ASSERT_EQ(0, kill(r->pid, SIGKILL));
		}
		ASSERT_TRUE(sem_wait_bounded(&r->done))
			TH_LOG("round %u (mode %d): still waits, %d is %c, delay %d of %u ns",
			       i, r->mode, r->pid,
			       leader_state(r->pid) ?: '?', r->delay, length);
		ASSERT_EQ(0, r->ret)
			TH_LOG("round %u (mode %d): %s", i, r->mode,
			       r->ret < 0 ? strerror(-r->ret) : "not EOF");
		/* Nor was it told too early. */
		si.si_pid = 0;
		ASSERT_EQ(0, waitid(P_PID, r->pid, &si,
				    WEXITED | WNOHANG | WNOWAIT));
		ASSERT_EQ(r->pid, si.si_pid)
			TH_LOG("round %u (mode %d): told of an exit, process %d is %c",
			       i, r->mode, r->pid,
			       leader_state(r->pid) ?: '?');
		ASSERT_EQ(r->pid, waitpid(r->pid, NULL, 0));
		close(r->fd);

		late = r->mode & ROUND_ELSEWHERE ? !r->over : r->slept;
		if (!before)
			aim_adjust(shot, late);
		slept += r->slept;
		over += r->over;
	}
	r->stop = true;
	sem_post(&r->go);
	pthread_join(thread, NULL);
	ksft_print_msg("%u rounds%s of %u ns: asleep before the exit %u, opened after it %u\n",
		       i, realtime ? "" : " without real-time priority", length,
		       slept, over);
}

/*
 * A process that execs from a thread without end.
 */
#define CHAIN "proc-exithand-chain"

/*
 * Its program, in memory: that is fast wherever this directory is.  A file
 * descriptor, or -1.
 */
static int chain_open(void)
{
	char path[4096];
	ssize_t len;
	int fd, mem;

	len = readlink("/proc/self/exe", path, sizeof(path));
	while (len > 0 && path[len - 1] != '/')
		len--;
	if (len <= 0 || len + sizeof(CHAIN) > sizeof(path))
		return -1;
	memcpy(path + len, CHAIN, sizeof(CHAIN));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	mem = memfd_create(CHAIN, MFD_EXEC);
	do
		len = sendfile(mem, fd, NULL, 1 << 20);
	while (len > 0);
	close(fd);
	if (len < 0 || mem < 0)
		return -1;
	/* One that is open for writing cannot be executed. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", mem);
	fd = open(path, O_RDONLY);
	close(mem);
	return fd;
}

static void chain_start(int in, int out, int exe)
{
	char path[32], arg[3][16];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", exe);
	snprintf(arg[0], sizeof(arg[0]), "%d", in);
	snprintf(arg[1], sizeof(arg[1]), "%d", out);
	snprintf(arg[2], sizeof(arg[2]), "%d", exe);
	prctl(PR_SET_TIMERSLACK, 1);
	execl(path, CHAIN, arg[0], arg[1], arg[2], "0", NULL);
	_exit(125);
}

FIXTURE(exec)
{
	pid_t pid;
	int in, out;
	bool mount;		/* may mount procfs */
};

FIXTURE_VARIANT(exec)
{
	int cpu;		/* of the process */
};

/*
 * On the CPU of those who look at it, it goes through the whole exec while
 * they stand still in the middle of something; on another, both go on.
 */
FIXTURE_VARIANT_ADD(exec, same_cpu) { .cpu = 0 };
FIXTURE_VARIANT_ADD(exec, other_cpu) { .cpu = 1 };

FIXTURE_SETUP(exec)
{
	int in[2], out[2], exe;
	pid_t me = getpid();

	if (!exithand_needed(_metadata))
		return;
	signal(SIGPIPE, SIG_IGN);
	if (variant->cpu && CPU_COUNT(&all_cpus) < 2)
		ksft_print_msg("there is one CPU, so this is same_cpu again\n");
	exe = chain_open();
	ASSERT_LE(0, exe) TH_LOG("cannot load " CHAIN);
	/* On a /proc of our own we may do as we like. */
	self->mount = !geteuid() && !unshare(CLONE_NEWNS) &&
		!mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
		!mount("proc", "/proc", "proc", 0, NULL);
	ASSERT_EQ(0, pipe(in));
	ASSERT_EQ(0, pipe(out));
	self->pid = fork();
	ASSERT_LE(0, self->pid);
	if (self->pid == 0) {
		die_with_parent(me);
		close(in[1]);
		close(out[0]);
		pin_to(variant->cpu);
		set_realtime(true);
		chain_start(in[0], out[1], exe);
	}
	close(in[0]);
	close(out[1]);
	close(exe);
	self->in = in[1];
	self->out = out[0];
}

FIXTURE_TEARDOWN(exec)
{
	if (self->pid > 0) {
		kill(self->pid, SIGKILL);
		waitpid(self->pid, NULL, 0);
	}
}

/* How many times the process has called exec. */
static unsigned int exec_count(struct __test_metadata *_metadata, int in,
			       int out)
{
	unsigned int count;

	ASSERT_TRUE(put_byte(in, DO_ANSWER));
	ASSERT_TRUE(get_obj(out, &count, sizeof(count)))
		TH_LOG("the process no longer answers");
	return count;
}

#define EXECS() exec_count(_metadata, self->in, self->out)

/* How long the loops below go on, and for how many execs at least. */
#define EXEC_SECONDS	2
#define EXEC_MIN	100

#define KEPT 64

struct exec_looper {
	pid_t pid;
	bool stop, mount, pidfd;
	pthread_t thread;
	unsigned int calls;
	/* What open said. */
	unsigned int opened, enoent, esrch, estale, einval, other;
	int other_errno;
	/* What was wrong with what was open. */
	unsigned int false_read, false_poll, again;
	int kept[KEPT];
};

static void exec_loopers_run(struct __test_metadata *_metadata, int in,
			     int out, struct exec_looper *l, int nr,
			     void *(*fn)(void *))
{
	__u64 end = now_ns() + EXEC_SECONDS * 1000000000ULL;
	unsigned int first, count;
	int i;

	first = exec_count(_metadata, in, out);
	for (i = 0; i < nr; i++)
		ASSERT_EQ(0, pthread_create(&l[i].thread, NULL, fn, &l[i]));
	do {
		relax();
		count = exec_count(_metadata, in, out) - first;
	} while (now_ns() < end || count < EXEC_MIN);
	for (i = 0; i < nr; i++)
		__atomic_store_n(&l[i].stop, true, __ATOMIC_RELEASE);
	for (i = 0; i < nr; i++)
		pthread_join(l[i].thread, NULL);
	ksft_print_msg("%u execs, %u and %u calls\n", count, l[0].calls,
		       l[1].calls);
}

/* A procfs that nobody else has seen yet, for this thread. */
static bool fresh_proc(void)
{
	return !umount2("/proc", MNT_DETACH) &&
	       !mount("proc", "/proc", "proc", 0, NULL);
}

/*
 * Most opens find in the dcache what the first has looked up, and nothing about
 * an exec in the middle of a lookup can be learned from them.  A remount drops
 * it, but for what is open; so files are kept each with a procfs of its own.
 */
static void *open_loop(void *arg)
{
	struct exec_looper *l = arg;
	unsigned int seed = 1, i;
	int fd;

	pin_to(0);
	if (l->mount)
		l->mount = !unshare(CLONE_NEWNS) && fresh_proc();
	for (i = 0; i < KEPT; i++)
		l->kept[i] = -1;
	while (!__atomic_load_n(&l->stop, __ATOMIC_ACQUIRE)) {
		if (l->mount)
			mount(NULL, "/proc", NULL, MS_REMOUNT, NULL);
		l->calls++;
		fd = exithand_open(l->pid, O_RDONLY | O_NONBLOCK);
		if (fd < 0) {
			switch (-fd) {
			case ENOENT:
				l->enoent++;
				break;
			case ESRCH:
				l->esrch++;
				break;
			case ESTALE:
				l->estale++;
				break;
			case EINVAL:
				l->einval++;
				break;
			default:
				l->other++;
				l->other_errno = -fd;
			}
			continue;
		}
		l->opened++;
		if (read_now(fd) != -EAGAIN)
			l->false_read++;
		if (poll_now(fd) != 0)
			l->false_poll++;
		/* Some of them are kept to the end. */
		i = next_random(&seed) % (8 * KEPT);
		if (i >= KEPT) {
			close(fd);
			continue;
		}
		if (l->kept[i] >= 0)
			close(l->kept[i]);
		l->kept[i] = fd;
		if (l->mount)
			fresh_proc();
	}
	return NULL;
}

/*
 * An open gives a file of the process, or seldom an error that says that it
 * is gone; never one that says that it has exited or is a thread.  And each
 * of these files knows of the exit when it comes.
 */
TEST_F_TIMEOUT(exec, open_is_never_wrong, 600)
{
	struct exec_looper l[2] = {
		{ .pid = self->pid, .mount = self->mount },
		{ .pid = self->pid },
	};
	unsigned int i, n;

	exec_loopers_run(_metadata, self->in, self->out, l, 2, open_loop);
	ASSERT_EQ(0, kill(self->pid, SIGKILL));
	for (i = 0; i < 2; i++) {
		ksft_print_msg("open: %u, ENOENT %u, ESRCH %u, ESTALE %u\n",
			       l[i].opened, l[i].enoent, l[i].esrch,
			       l[i].estale);
		EXPECT_LT(0, l[i].opened);
		EXPECT_EQ(0, l[i].einval);
		EXPECT_EQ(0, l[i].other)
			TH_LOG("open: %s", strerror(l[i].other_errno));
		EXPECT_EQ(0, l[i].false_read);
		EXPECT_EQ(0, l[i].false_poll);
		for (n = 0; n < KEPT; n++) {
			if (l[i].kept[n] < 0)
				continue;
			ASSERT_EQ(POLL_EXITED, poll_bounded(l[i].kept[n]))
				TH_LOG("a file opened during an exec knows of no exit");
			ASSERT_EQ(0, read_now(l[i].kept[n]));
			close(l[i].kept[n]);
		}
	}
}

static bool poll_open(struct exec_looper *l)
{
	l->kept[0] = l->pidfd ? pidfd_of(l->pid) :
				exithand_open(l->pid, O_RDONLY);
	return l->kept[0] >= 0;
}

static void *poll_loop(void *arg)
{
	struct exec_looper *l = arg;
	int fd;

	pin_to(0);
	/* In the middle of an exec, open may be refused. */
	if (!eventually(poll_open(l)))
		return NULL;
	fd = l->kept[0];
	while (!__atomic_load_n(&l->stop, __ATOMIC_ACQUIRE)) {
		l->calls++;
		if (poll_now(fd) == 0)
			continue;
		l->false_poll++;
		/* Not even true for good? */
		if (poll_now(fd) == 0)
			l->again++;
	}
	return NULL;
}

/*
 * The oracle is not asked here: what a pidfd says of a process in the middle
 * of an exec is for the record.
 */
TEST_F_TIMEOUT(exec, poll_is_never_wrong, 600)
{
	struct exec_looper l[2] = {
		{ .pid = self->pid },
		{ .pid = self->pid, .pidfd = true },
	};

	exec_loopers_run(_metadata, self->in, self->out, l, 2, poll_loop);
	ksft_print_msg("exithand: %u false POLLIN\n", l[0].false_poll);
	ksft_print_msg("pidfd: %u false POLLIN, %u of them gone at once\n",
		       l[1].false_poll, l[1].again);
	ASSERT_LE(0, l[0].kept[0]);
	EXPECT_EQ(0, l[0].false_poll);
	ASSERT_EQ(0, kill(self->pid, SIGKILL));
	EXPECT_EQ(POLL_EXITED, poll_bounded(l[0].kept[0]));
}

/*
 * The first open of a process, in whose middle it execs, and then lives on or
 * exits at once.  Only the first one has to have the exit reported: the others
 * find what it has left.
 */
#define FIRST_ROUNDS 600

static pid_t first_start(int timer, int out, int exe, bool exits)
{
	char path[32], arg[3][16];
	pid_t pid;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", exe);
	snprintf(arg[0], sizeof(arg[0]), "%d", timer);
	snprintf(arg[1], sizeof(arg[1]), "%d", out);
	snprintf(arg[2], sizeof(arg[2]), "%d", exe);
	pid = vfork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		set_realtime(true);
		execl(path, CHAIN, arg[0], arg[1], arg[2], "once",
		      exits ? "exit" : "stay", NULL);
		_exit(125);
	}
	return pid;
}

/* A thread of the process that is not its leader. */
static pid_t other_thread(pid_t pid)
{
	struct dirent *entry;
	char path[32];
	pid_t tid = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && (entry = readdir(dir)))
		if (atoi(entry->d_name) > 0 && atoi(entry->d_name) != pid)
			tid = atoi(entry->d_name);
	if (dir)
		closedir(dir);
	return tid;
}

TEST_F_TIMEOUT(exec, first_open_is_never_wrong, 600)
{
	unsigned int i, seed = 1, opened = 0, over = 0;
	const struct itimerspec none = { 0 };
	struct aim aim;
	int timer, out[2], fd, exe;
	siginfo_t si;
	bool exits, before, early;
	pid_t pid, tid;

	/* The process that the fixture has made is not needed here. */
	ASSERT_EQ(0, kill(self->pid, SIGKILL));
	exe = chain_open();
	ASSERT_LE(0, exe);
	timer = timerfd_create(CLOCK_MONOTONIC, 0);
	ASSERT_LE(0, timer);
	ASSERT_EQ(0, pipe(out));
	pin_to(0);
	aim_start(&aim, path_length(false));

	for (i = 0; i < FIRST_ROUNDS; i++) {
		exits = i % 4 != 0;
		before = i / 4 % 2;
		/* Who was killed has not waited for it. */
		timerfd_settime(timer, 0, &none, NULL);
		/* It inherits the CPU. */
		pin_to(variant->cpu);
		pid = first_start(timer, out[1], exe, exits);
		ASSERT_LT(0, pid);
		pin_to(0);
		ASSERT_EQ('r', get_byte(out[0]));
		ASSERT_TRUE(eventually(task_state(pid, pid) != 'R'));
		tid = other_thread(pid);
		ASSERT_LT(0, tid);

		aim_shoot(timer, aim_delay(&aim, before, &seed));
		fd = exithand_open(pid, O_RDONLY | O_NONBLOCK);
		/* The thread has the leader's number by now, or is no more. */
		early = syscall(__NR_tgkill, pid, tid, 0) != 0;
		if (!before)
			aim_adjust(&aim, !early);
		over += early;
		EXPECT_TRUE(fd >= 0 || fd == -ENOENT || fd == -ESRCH ||
			    fd == -ESTALE)
			TH_LOG("round %u: open: %s", i, strerror(-fd));
		opened += fd >= 0;
		if (exits) {
			/* When this returns, all that wait have been told. */
			ASSERT_EQ(0, waitid(P_PID, pid, &si,
					    WEXITED | WNOWAIT));
		} else if (fd >= 0) {
			EXPECT_EQ(0, poll_now(fd))
				TH_LOG("round %u: exited, but lives", i);
			ASSERT_EQ(0, kill(pid, SIGKILL));
		} else {
			ASSERT_EQ(0, kill(pid, SIGKILL));
		}
		if (fd >= 0) {
			ASSERT_EQ(POLL_EXITED, poll_bounded(fd))
				TH_LOG("round %u: it %s, and no one was told",
				       i, exits ? "exec'd and exited" :
						  "was killed after exec");
			close(fd);
		}
		ASSERT_EQ(pid, waitpid(pid, NULL, 0));
	}
	ksft_print_msg("%u rounds, %u opened, %u exec'd meanwhile\n", i, opened,
		       over);
}

struct exec_sleeper {
	int fd, ret;
	bool use_poll, done;
	pid_t tid;
	pthread_t thread;
};

static void *exec_sleep(void *arg)
{
	struct exec_sleeper *s = arg;
	char c;

	__atomic_store_n(&s->tid, sys_gettid(), __ATOMIC_RELEASE);
	if (s->use_poll) {
		struct pollfd pfd = { .fd = s->fd, .events = POLL_ALL };

		s->ret = poll(&pfd, 1, -1) != 1 ? -errno :
			pfd.revents != POLL_EXITED;
	} else {
		s->ret = read(s->fd, &c, 1);
	}
	__atomic_store_n(&s->done, true, __ATOMIC_RELEASE);
	return NULL;
}

static bool exec_open(struct exec_sleeper *s, pid_t pid)
{
	s->fd = exithand_open(pid, O_RDONLY);
	return s->fd >= 0;
}

static bool exec_done(struct exec_sleeper *s)
{
	return __atomic_load_n(&s->done, __ATOMIC_ACQUIRE);
}

static bool exec_settled(struct exec_sleeper *s)
{
	pid_t tid = __atomic_load_n(&s->tid, __ATOMIC_ACQUIRE);

	return exec_done(s) || (tid && task_blocked(getpid(), tid));
}

/* Whoever sleeps through one exec sleeps through many, and is not woken. */
TEST_F_TIMEOUT(exec, sleeper_is_not_woken, 600)
{
	struct exec_sleeper s[2] = {
		{ .use_poll = false },
		{ .use_poll = true },
	};
	unsigned int first, count;
	long sleeps[2];
	int i;

	for (i = 0; i < 2; i++) {
		/* In the middle of an exec, open may be refused. */
		ASSERT_TRUE(eventually(exec_open(&s[i], self->pid)));
		ASSERT_EQ(0, pthread_create(&s[i].thread, NULL, exec_sleep,
					    &s[i]));
		ASSERT_TRUE(eventually(exec_settled(&s[i])));
		sleeps[i] = task_sleeps(getpid(), s[i].tid);
	}
	first = EXECS();
	do {
		relax();
		count = EXECS() - first;
	} while (count < EXEC_MIN);

	ksft_print_msg("%u execs\n", count);
	for (i = 0; i < 2; i++) {
		EXPECT_FALSE(exec_done(&s[i]));
		EXPECT_EQ(sleeps[i], task_sleeps(getpid(), s[i].tid))
			TH_LOG("woken by an exec");
	}
	ASSERT_EQ(0, kill(self->pid, SIGKILL));
	for (i = 0; i < 2; i++) {
		ASSERT_TRUE(eventually(exec_done(&s[i])));
		EXPECT_EQ(0, s[i].ret);
	}
}

/*
 * Two threads open the file of a process that nobody has opened before, at the
 * same time.  The process takes the watch of one of them.  The other one has to
 * find that, and to free its own.
 */
#define OPENER_ROUNDS 300

struct opener {
	int cpu, fd;
	pid_t pid;
	bool stop;
	unsigned int *ready;	/* how many are at the open, of both */
	sem_t go, done;
	pthread_t thread;
};

struct openers {
	struct opener o[2];
	unsigned int ready;
	char *stack;
};

FIXTURE(openers)
{
	struct openers both;
};

FIXTURE_SETUP(openers)
{
	if (!exithand_needed(_metadata))
		return;
	self->both.stack = malloc(STACK_SIZE);
	ASSERT_NE(NULL, self->both.stack);
}

FIXTURE_TEARDOWN(openers)
{
	/* All that is left is a child, which goes with us. */
}

static void *opener_main(void *arg)
{
	struct opener *o = arg;

	pin_to(o->cpu);
	for (;;) {
		while (sem_wait(&o->go))
			;
		if (o->stop)
			return NULL;
		__atomic_add_fetch(o->ready, 1, __ATOMIC_RELEASE);
		while (__atomic_load_n(o->ready, __ATOMIC_ACQUIRE) != 2)
			;
		o->fd = exithand_open(o->pid, O_RDONLY);
		sem_post(&o->done);
	}
}

static void openers_run(struct __test_metadata *_metadata, void *arg)
{
	struct openers *both = arg;
	struct opener *o = both->o;
	int round, i;
	pid_t pid;

	for (round = 0; round < OPENER_ROUNDS; round++) {
		pid = clone(paused_target, both->stack + STACK_SIZE,
			    CLONE_VM | SIGCHLD, NULL);
		ASSERT_LT(0, pid);
		both->ready = 0;
		for (i = 0; i < 2; i++) {
			o[i].pid = pid;
			sem_post(&o[i].go);
		}
		for (i = 0; i < 2; i++) {
			ASSERT_TRUE(sem_wait_bounded(&o[i].done));
			ASSERT_LE(0, o[i].fd);
			ASSERT_EQ(0, poll_now(o[i].fd));
		}
		ASSERT_EQ(0, kill(pid, SIGKILL));
		for (i = 0; i < 2; i++) {
			ASSERT_EQ(POLL_EXITED, poll_bounded(o[i].fd))
				TH_LOG("round %d: opener %d was not told",
				       round, i);
			close(o[i].fd);
		}
		ASSERT_EQ(pid, waitpid(pid, NULL, 0));
	}
}

TEST_F_TIMEOUT(openers, both_are_told, 600)
{
	struct opener *o = self->both.o;
	int i;

	for (i = 0; i < 2; i++) {
		o[i].cpu = i;
		o[i].ready = &self->both.ready;
		ASSERT_EQ(0, sem_init(&o[i].go, 0, 0));
		ASSERT_EQ(0, sem_init(&o[i].done, 0, 0));
		ASSERT_EQ(0, pthread_create(&o[i].thread, NULL, opener_main,
					    &o[i]));
	}
	expect_no_leak(_metadata, OPENER_ROUNDS, openers_run,
		       &self->both);
	for (i = 0; i < 2; i++) {
		o[i].stop = true;
		sem_post(&o[i].go);
		pthread_join(o[i].thread, NULL);
	}
}

/*
 * Many who wait for one exit.
 *
 * They are told one after the other, by one who may not be interrupted
 * meanwhile, and on another CPU the first of them looks at what it is told of
 * while the last ones are still asleep.  It must be true by then.
 */
#define HERD 64

struct herd_waiter {
	int fd, ret;
	bool use_poll, done;
	pid_t tid;
	pthread_t thread;
};

FIXTURE(herd)
{
	struct herd_waiter *w;
	struct target t;
};

FIXTURE_SETUP(herd)
{
	if (!exithand_needed(_metadata))
		return;
	self->w = calloc(HERD, sizeof(*self->w));
	ASSERT_NE(NULL, self->w);
}

FIXTURE_TEARDOWN(herd)
{
	target_end(&self->t);
}

static void *herd_wait(void *arg)
{
	struct herd_waiter *w = arg;
	struct pollfd pfd = { .fd = w->fd, .events = POLL_ALL };
	char c;

	pin_to(1);
	set_realtime(true);
	__atomic_store_n(&w->tid, sys_gettid(), __ATOMIC_RELEASE);
	if (w->use_poll)
		w->ret = poll(&pfd, 1, -1) != 1 ? -errno :
			pfd.revents != POLL_EXITED;
	else
		w->ret = read(w->fd, &c, 1);
	__atomic_store_n(&w->done, true, __ATOMIC_RELEASE);
	return NULL;
}

/* Keeps that CPU from sleeping, and gives way to all others. */
static void *herd_spin(void *arg)
{
	struct sched_param param = { 0 };
	bool *stop = arg;

	pin_to(1);
	sched_setscheduler(0, SCHED_IDLE, &param);
	while (!__atomic_load_n(stop, __ATOMIC_ACQUIRE))
		;
	return NULL;
}

static bool herd_done(struct herd_waiter *w)
{
	return __atomic_load_n(&w->done, __ATOMIC_ACQUIRE);
}

static bool herd_settled(struct herd_waiter *w)
{
	pid_t tid = __atomic_load_n(&w->tid, __ATOMIC_ACQUIRE);

	return herd_done(w) || (tid && task_blocked(getpid(), tid));
}

static bool herd_all_done(struct herd_waiter *w)
{
	int i;

	for (i = 0; i < HERD; i++)
		if (!herd_done(&w[i]))
			return false;
	return true;
}

TEST_F_TIMEOUT(herd, every_waiter_of_many_returns, 600)
{
	struct herd_waiter *w = self->w;
	int round, i, missing;
	bool stop = false;
	pthread_t spinner;

	/* The target is on this CPU, they are on the other. */
	pin_to(0);
	ASSERT_EQ(0, pthread_create(&spinner, NULL, herd_spin, &stop));
	for (round = 0; round < 6; round++) {
		target_start(_metadata, &self->t);
		memset(w, 0, HERD * sizeof(*w));
		for (i = 0; i < HERD; i++) {
			/* Readers would take turns at the lock of the queue. */
			w[i].use_poll = round % 2 == 0;
			w[i].fd = exithand_open(self->t.pid, O_RDONLY);
			ASSERT_LE(0, w[i].fd);
			ASSERT_EQ(0, pthread_create(&w[i].thread, NULL,
						    herd_wait, &w[i]));
		}
		for (i = 0; i < HERD; i++) {
			ASSERT_TRUE(eventually(herd_settled(&w[i])));
			ASSERT_FALSE(herd_done(&w[i]));
		}
		ASSERT_EQ(0, kill(self->t.pid, SIGKILL));
		if (!eventually(herd_all_done(w))) {
			for (i = missing = 0; i < HERD; i++)
				missing += !herd_done(&w[i]);
			EXPECT_EQ(0, missing)
				TH_LOG("%d of %d still wait", missing, HERD);
			return;
		}
		for (i = 0; i < HERD; i++) {
			pthread_join(w[i].thread, NULL);
			EXPECT_EQ(0, w[i].ret);
			close(w[i].fd);
		}
		target_end(&self->t);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	pthread_join(spinner, NULL);
}

static void no_op(int sig)
{
}

static bool pin_task(pid_t tid, int cpu)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	return !sched_setaffinity(tid, sizeof(one), &one);
}

/*
 * The exit wakes the reader, who does not get at the CPU before he has a signal
 * as well.  What he was waiting for has happened: that is not interrupted.
 */
TEST_F(herd, exit_counts_before_a_signal)
{
	struct sigaction sa = { .sa_handler = no_op };
	struct watcher w;
	__u64 end;
	int fd;

	target_start(_metadata, &self->t);
	fd = exithand_open(self->t.pid, O_RDONLY);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, sigaction(SIGUSR1, &sa, NULL));
	watcher_start(_metadata, &w, HOW_READ, self->t.pid);
	watcher_sleeps(_metadata, &w);
	if (!pin_task(w.tid, 0) || !pin_task(0, 0) ||
	    !pin_task(self->t.pid, 1) || !set_realtime(true))
		SKIP(return, "needs two CPUs and the right to real-time priority");

	/* Not a moment of sleep from here, or the reader runs. */
	ASSERT_EQ(0, kill(self->t.pid, SIGKILL));
	end = now_ns() + 500000000ULL;
	while (poll_now(fd) == 0 && now_ns() < end)
		;
	exits_settle();
	ASSERT_EQ(0, pthread_kill(w.thread, SIGUSR1));
	set_realtime(false);
	ASSERT_EQ(POLL_EXITED, poll_now(fd));
	ASSERT_TRUE(watcher_join(&w));
	EXPECT_EQ(0, w.ret)
		TH_LOG("%s", strerror(-w.ret));
}

/*
 * Nothing stays behind.
 */
#define REUSED		100	/* processes at a time */
#define LEAK_STACK	(8 << 10)
#define LEAK_PROCESSES	600

FIXTURE(leak)
{
	char *stack;
};

FIXTURE_SETUP(leak)
{
	if (!exithand_needed(_metadata))
		return;
	self->stack = malloc(REUSED * LEAK_STACK);
	ASSERT_NE(NULL, self->stack);
}

FIXTURE_TEARDOWN(leak)
{
	free(self->stack);
}

/* Processes that are opened, looked at and closed, before and after. */
static void leak_run(struct __test_metadata *_metadata, void *stack)
{
	int i, early, late;
	siginfo_t si;
	char c;
	pid_t pid;

	for (i = 0; i < LEAK_PROCESSES; i++) {
		pid = clone(paused_target, stack + LEAK_STACK, CLONE_VM | SIGCHLD,
			    NULL);
		ASSERT_LT(0, pid);
		early = exithand_open(pid, O_RDONLY);
		ASSERT_LE(0, early);
		ASSERT_EQ(0, poll_now(early));
		ASSERT_EQ(-EAGAIN, read_now(early));
		if (i % 2) {
			close(early);
			early = exithand_open(pid, O_RDONLY);
			ASSERT_LE(0, early);
		}
		ASSERT_EQ(0, kill(pid, SIGKILL));
		ASSERT_EQ(0, read(early, &c, 1));
		late = exithand_open(pid, O_RDONLY);
		ASSERT_LE(0, late);
		ASSERT_EQ(POLL_EXITED, poll_now(late));
		close(late);
		ASSERT_EQ(pid, waitpid(pid, NULL, 0));
		ASSERT_EQ(0, read(early, &c, 1));
		close(early);

		/* One that nobody opens before it is dead. */
		pid = clone(paused_target, stack + LEAK_STACK,
			    CLONE_VM | SIGCHLD, NULL);
		ASSERT_LT(0, pid);
		ASSERT_EQ(0, kill(pid, SIGKILL));
		ASSERT_EQ(0, waitid(P_PID, pid, &si, WEXITED | WNOWAIT));
		late = exithand_open(pid, O_RDONLY);
		ASSERT_LE(0, late);
		ASSERT_EQ(POLL_EXITED, poll_now(late));
		close(late);
		ASSERT_EQ(pid, waitpid(pid, NULL, 0));
	}
}

TEST_F_TIMEOUT(leak, no_object_for_each_process, 600)
{
	int i, nr, found = 0;

	if (access("/proc/slabinfo", R_OK))
		SKIP(return, "no readable /proc/slabinfo");

	expect_no_leak(_metadata, LEAK_PROCESSES, leak_run, self->stack);
	nr = leak_count(leak_after);
	for (i = 0; i < nr; i++) {
		if (strcmp(leak_after[i].name, "task_struct") &&
		    strcmp(leak_after[i].name, "signal_cache"))
			continue;
		ksft_print_msg("%s: %ld before, %ld after\n",
			       leak_after[i].name, leak_before[i].objects,
			       leak_after[i].objects);
		found++;
	}
	/* Without these two it would not have been a test. */
	EXPECT_EQ(2, found);
}

/*
 * What a file knows of its process stays as long as the file.  Were it gone
 * with the process, it would by now belong to one that lives.
 */
TEST_F_TIMEOUT(leak, exited_file_outlives_its_process, 600)
{
	int old[REUSED], new[REUSED], i;
	pid_t pid;

	for (i = 0; i < REUSED; i++) {
		pid = clone(paused_target, self->stack + LEAK_STACK,
			    CLONE_VM | SIGCHLD, NULL);
		ASSERT_LT(0, pid);
		old[i] = exithand_open(pid, O_RDONLY);
		ASSERT_LE(0, old[i]);
		ASSERT_EQ(0, kill(pid, SIGKILL));
		ASSERT_EQ(pid, waitpid(pid, NULL, 0));
	}
	/* Two grace periods: what belongs to the processes has been freed. */
	for (i = 0; i < 2; i++)
		syscall(__NR_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
	for (i = 0; i < REUSED; i++) {
		pid = clone(paused_target, self->stack + (i + 1) * LEAK_STACK,
			    CLONE_VM | SIGCHLD, NULL);
		ASSERT_LT(0, pid);
		new[i] = exithand_open(pid, O_RDONLY);
		ASSERT_LE(0, new[i]);
	}
	for (i = 0; i < REUSED; i++) {
		ASSERT_EQ(POLL_EXITED, poll_now(old[i]));
		ASSERT_EQ(0, read_now(old[i]));
		ASSERT_EQ(0, poll_now(new[i]));
		ASSERT_EQ(-EAGAIN, read_now(new[i]));
	}
	/* The others go with us. */
}

/*
 * Each allocation of an open fails once.
 *
 * fail-nth makes the nth one from now on fail that this thread asks for.
 */
#define FAILSLAB "/sys/kernel/debug/failslab/"

FIXTURE(nomem)
{
	int nth;
	char wait[8], verbose[8];	/* the settings from before */
	char *stack;
};

FIXTURE_SETUP(nomem)
{
	if (!exithand_needed(_metadata))
		return;
	self->stack = malloc(LEAK_STACK);
	ASSERT_NE(NULL, self->stack);
	self->nth = open("/proc/self/fail-nth", O_RDWR | O_CLOEXEC);
	if (self->nth < 0)
		SKIP(return, "no CONFIG_FAULT_INJECTION");
	if (slurp(self->wait, sizeof(self->wait), FAILSLAB "ignore-gfp-wait") <= 0 ||
	    slurp(self->verbose, sizeof(self->verbose), FAILSLAB "verbose") <= 0)
		SKIP(return, "no " FAILSLAB ", or not for us");
	/* Those that may sleep, too; and it is no news for the console. */
	ASSERT_TRUE(put_file(FAILSLAB "ignore-gfp-wait", "N"));
	ASSERT_TRUE(put_file(FAILSLAB "verbose", "0"));
}

FIXTURE_TEARDOWN(nomem)
{
	if (self->verbose[0]) {
		put_file(FAILSLAB "ignore-gfp-wait", self->wait);
		put_file(FAILSLAB "verbose", self->verbose);
	}
	free(self->stack);
}

static pid_t nomem_target(char *stack)
{
	return clone(paused_target, stack + LEAK_STACK, CLONE_VM | SIGCHLD, NULL);
}

/* Opens, with the nth allocation failing; *failed if there were as many. */
static int nomem_open(int fail_nth, pid_t pid, unsigned int nth, bool *failed)
{
	char path[64], value[16];
	int fd, len;

	snprintf(path, sizeof(path), "/proc/%d/exithand", pid);
	len = snprintf(value, sizeof(value), "%u", nth);
	if (pwrite(fail_nth, value, len, 0) != len)
		return -EIO;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	fd = fd < 0 ? -errno : fd;
	len = pread(fail_nth, value, sizeof(value) - 1, 0);
	pwrite(fail_nth, "0", 1, 0);
	if (len <= 0)
		return -EIO;
	value[len] = '\0';
	*failed = strtoul(value, NULL, 10) == 0;
	return fd;
}

/*
 * Lets one allocation after the other fail; how many opens failed by that.  The
 * name was looked up before, so that all of them are open's.
 */
static unsigned int nomem_opens(struct __test_metadata *_metadata, int fail_nth,
				char *stack, bool first)
{
	unsigned int nth, errors = 0;
	int fd, again, watched;
	bool failed = true;
	char path[64];
	struct stat st;
	pid_t pid;

	for (nth = 1; failed; nth++) {
		pid = nomem_target(stack);
		ASSERT_LT(0, pid);
		snprintf(path, sizeof(path), "/proc/%d/exithand", pid);
		ASSERT_EQ(0, stat(path, &st));
		watched = first ? -1 : exithand_open(pid, O_RDONLY);

		fd = nomem_open(fail_nth, pid, nth, &failed);
		errors += fd < 0;
		if (fd < 0) {
			ASSERT_TRUE(failed && fd == -ENOMEM)
				TH_LOG("allocation %u: %s", nth, strerror(-fd));
		}
		/* It is as if it had never been tried. */
		again = exithand_open(pid, O_RDONLY);
		ASSERT_LE(0, again)
			TH_LOG("after allocation %u had failed: %s", nth,
			       strerror(-again));
		ASSERT_EQ(0, poll_now(again));
		ASSERT_EQ(0, kill(pid, SIGKILL));
		ASSERT_EQ(POLL_EXITED, poll_bounded(again));
		if (fd >= 0)
			ASSERT_EQ(POLL_EXITED, poll_now(fd));
		close(fd);
		close(again);
		close(watched);
		ASSERT_EQ(pid, waitpid(pid, NULL, 0));
		ASSERT_GT(100, nth);
	}
	return errors;
}

struct nomem_args {
	int fail_nth;
	char *stack;
};

#define NOMEM_ROUNDS 60

static void nomem_run(struct __test_metadata *_metadata, void *arg)
{
	struct nomem_args *args = arg;
	int i;

	for (i = 0; i < NOMEM_ROUNDS; i++)
		nomem_opens(_metadata, args->fail_nth, args->stack, true);
}

TEST_F_TIMEOUT(nomem, open_fails_and_can_be_done_again, 600)
{
	struct nomem_args args = { self->nth, self->stack };
	unsigned int first, later;

	later = nomem_opens(_metadata, self->nth, self->stack, false);
	first = nomem_opens(_metadata, self->nth, self->stack, true);
	ksft_print_msg("allocations: %u by the first open, %u by a later one\n",
		       first, later);
	/* Or the watch was not among them. */
	EXPECT_LT(later, first);

	expect_no_leak(_metadata, NOMEM_ROUNDS, nomem_run, &args);
}

TEST_HARNESS_MAIN
