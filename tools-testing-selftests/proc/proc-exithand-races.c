// SPDX-License-Identifier: GPL-2.0
/*
 * Races of /proc/<pid>/exithand with the exit, the reaping and the exec of the
 * process.
 *
 * - race.*: two sides on two CPUs do one thing each at about the same time, in
 *   many rounds. Each test reports how many rounds hit the race, and fails if
 *   none did. The rounds must not leave slab objects behind.
 * - exited_file_outlives_its_process: an open file owns what it reports.
 */
#define _GNU_SOURCE
#include <linux/elf.h>
#include <linux/membarrier.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>

#include "proc-exithand.h"

/*
 * How long a test goes on. A run stops after RUN_MS, but not before it has met
 * the race once and has made RUN_ROUNDS rounds, or those of the variant.
 * RUN_LIMIT_MS ends it anyway.
 */
#define RUN_MS		1000
#define RUN_ROUNDS	200
#define RUN_LIMIT_MS	10000

/* The longest time from the start of an exec to the exit after it. */
#define EXEC_ALARM_US	500

/* How many processes may live at a time. */
#define PROCESSES	100
#define STACK		(16 << 10)

static __u64 after_ms(unsigned int ms)
{
	return now_ns() + ms * 1000000ULL;
}

/* Pins a task to one of the first two CPUs that this program may use. */
static bool pin_to(pid_t tid, int nr)
{
	static cpu_set_t all;
	cpu_set_t one;
	int cpu;

	if (!CPU_COUNT(&all))
		sched_getaffinity(0, sizeof(all), &all);
	CPU_ZERO(&one);
	for (cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &all) && nr-- == 0)
			CPU_SET(cpu, &one);
	return !sched_setaffinity(tid, sizeof(one), &one);
}

/*
 * How the two sides of a race meet.
 *
 * In every other pair of rounds the delay is random. In the others it follows the
 * outcome: it grows when side A was early, and shrinks when it was late. On a busy
 * machine random delays alone hardly ever hit an exit.
 */
struct meeting {
	unsigned int round;
	unsigned int arrived;	/* of both sides, in all rounds */
	__u64 met[2];		/* when each side saw the other */
	int aim;		/* the delay of side A in ns; if negative, of side B */
	int delay;		/* of this round */
	unsigned int seed;
};

/* In ns. The skew is the time between the moments when the sides see each other. */
#define MIN_RANDOM	(-100000)
#define MAX_RANDOM	300000
#define MAX_AIM		1000000
#define MAX_SKEW	50000

static bool meet_aimed(struct meeting *m)
{
	return m->round / 2 % 2;
}

static void meet_next(struct meeting *m)
{
	m->round++;
	m->delay = m->aim;
	if (!meet_aimed(m))
		m->delay = MIN_RANDOM + rand_r(&m->seed) % (MAX_RANDOM - MIN_RANDOM);
}

/* Waits until both sides are here, and then for the delay. */
static void meet(struct meeting *m, int side)
{
	int delay = side ? -m->delay : m->delay;

	__atomic_add_fetch(&m->arrived, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&m->arrived, __ATOMIC_SEQ_CST) < 2 * m->round)
		;
	m->met[side] = now_ns();
	while ((int)(now_ns() - m->met[side]) < delay)
		;
}

/*
 * Side A should come later or earlier, by a random step. If a side lost its CPU
 * while it waited for the other, the round says nothing about delays.
 */
static void meet_adjust(struct meeting *m, bool later)
{
	int step = rand_r(&m->seed) % (abs(m->aim) / 3 + 2000);
	__s64 skew = m->met[0] - m->met[1];

	if (!meet_aimed(m) || llabs(skew) > MAX_SKEW)
		return;
	if (abs(m->aim) < MAX_AIM || (later ? m->aim < 0 : m->aim >= 0))
		m->aim += later ? step : -step;
}

/*
 * A program to exec. It has no interpreter and no library, so the exec is short.
 */
#define IMAGE_ADDR	0x400000

#ifdef __LP64__
#define elf_hdr		elf64_hdr
#define elf_phdr	elf64_phdr
#else
#define elf_hdr		elf32_hdr
#define elf_phdr	elf32_phdr
#endif

static void image_main(void)
{
	for (;;)
		;
}

static int image_open(void)
{
	struct {
		struct elf_hdr ehdr;
		struct elf_phdr phdr;
		char code[64];
	} image = { 0 };
	char path[32];
	int fd, ro;

	/* The header of this program says for which machine it is. */
	fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, &image.ehdr, sizeof(image.ehdr)) != sizeof(image.ehdr))
		return -1;
	close(fd);
	image.ehdr.e_type = ET_EXEC;
	image.ehdr.e_entry = IMAGE_ADDR + (image.code - (char *)&image);
	image.ehdr.e_phoff = (char *)&image.phdr - (char *)&image;
	image.ehdr.e_phnum = 1;
	image.phdr.p_type = PT_LOAD;
	image.phdr.p_flags = PF_R | PF_X;
	image.phdr.p_vaddr = IMAGE_ADDR;
	image.phdr.p_filesz = sizeof(image);
	image.phdr.p_memsz = sizeof(image);
	image.phdr.p_align = 0x1000;
	memcpy(image.code, (void *)image_main, sizeof(image.code));

	fd = memfd_create("image", MFD_CLOEXEC);
	if (fd < 0 || write(fd, &image, sizeof(image)) != sizeof(image))
		return -1;
	/* A file that is open for writing cannot be executed. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ro = open(path, O_RDONLY | O_CLOEXEC);
	close(fd);
	return ro;
}

/*
 * Slab objects that stay behind.
 *
 * A watch and an open file come from kmalloc(). The other caches are left out,
 * because other processes may fill them meanwhile.
 */
#define SLABS 256

struct slabs {
	int nr;
	struct {
		char name[40];
		long objects;
	} cache[SLABS];
};

static void slabs_read(struct slabs *s)
{
	FILE *f = fopen("/proc/slabinfo", "r");
	char line[512], *name;

	s->nr = 0;
	while (f && s->nr < SLABS && fgets(line, sizeof(line), f)) {
		name = s->cache[s->nr].name;
		if (sscanf(line, "%39s %ld", name, &s->cache[s->nr].objects) == 2 &&
		    (!strcmp(name, "task_struct") || !strncmp(name, "kmalloc-", 8)))
			s->nr++;
	}
	if (f)
		fclose(f);
}

/* Finds a cache that has grown by more than @limit objects since @old; or -1. */
static int slabs_grown(const struct slabs *old, struct slabs *new, long limit)
{
	char path[96];
	int i;

	slabs_read(new);
	for (i = 0; i < old->nr && i < new->nr; i++) {
		if (new->cache[i].objects - old->cache[i].objects <= limit)
			continue;
		/* KASAN keeps freed objects until the cache is shrunk. */
		snprintf(path, sizeof(path), "/sys/kernel/slab/%s/shrink", new->cache[i].name);
		put_file(path, "1");
		slabs_read(new);
		if (new->cache[i].objects - old->cache[i].objects > limit)
			return i;
	}
	return -1;
}

/*
 * Two sides that race, in rounds. Side A is a thread. Side B is the process of
 * the round itself or, if there is b(), the main thread.
 */
struct race {
	const struct _fixture_variant_race *how;
	struct meeting m;
	pid_t me;
	pid_t pid;		/* of this round's process */
	pid_t exec_tid;		/* its thread that execs */
	int image;		/* what that thread execs */
	int fd[2];		/* what side A and side B have opened, or -errno */
	int pidfd;
	int ret;		/* what side A's wait returned, or -errno */
	bool slept;		/* side A's wait did not return at once */
	bool before, after;	/* was the event over when side A began and ended? */
	bool b_done;		/* b() has returned */
	unsigned int polls, pidfd_false;
	int go[2], done[2];	/* pipes to and from side A */
	pthread_t thread;
	pid_t tid;		/* of side A */
};

FIXTURE(race)
{
	struct race r;
};

enum race_process {
	PAUSES,
	EXITS,			/* as side B */
	EXECS,			/* as side B */
	EXECS_AND_EXITS,	/* in odd rounds; in even ones it stays */
	ZOMBIE,
};

FIXTURE_VARIANT(race)
{
	enum race_process process;
	bool opened;			/* side A's file is open before the round */
	bool may_fail;			/* open() may not find the process */
	bool b_second;			/* b() starts when side A sleeps, on its CPU */
	void (*a)(struct race *r);
	void (*b)(struct race *r);
	/* Whether the event that a() races with is over. */
	bool (*over)(struct race *r);
	unsigned int rounds;
};

/* The thread that execs; it is not the leader. */
static int race_exec(void *arg)
{
	static const char * const argv[] = { "exithand-exec", NULL };
	struct itimerval alarm = { .it_value.tv_sec = BOUND_MS / 1000 };
	struct race *r = arg;

	/* A new thread does not inherit the parent death signal; an exec may drop it. */
	die_with_parent(r->me);
	r->exec_tid = sys_gettid();
	/* In odd rounds SIGALRM ends the process during the exec or soon after it. */
	if (r->how->process == EXECS_AND_EXITS && r->m.round % 2) {
		alarm.it_value.tv_sec = 0;
		alarm.it_value.tv_usec = 1 + rand_r(&r->m.seed) % EXEC_ALARM_US;
	}
	meet(&r->m, 1);
	setitimer(ITIMER_REAL, &alarm, NULL);
	syscall(__NR_execveat, r->image, "", argv, argv + 1, AT_EMPTY_PATH);
	_exit(125);
}

/*
 * The process of a round. It shares our memory, to be fast, and the errno of the
 * main thread. Like all processes here it dies with us.
 */
static int process_main(void *arg)
{
	static char stack[STACK] __attribute__((aligned(16)));
	struct race *r = arg;

	die_with_parent(r->me);
	pin_to(0, r->how->b_second ? 0 : 1);
	switch (r->how->process) {
	case EXECS:
	case EXECS_AND_EXITS:
		clone(race_exec, stack + STACK, CLONE_VM | CLONE_FS | CLONE_FILES |
		      CLONE_SIGHAND | CLONE_THREAD, r);
		break;
	case PAUSES:
		break;
	case EXITS:
		meet(&r->m, 1);
		_exit(0);
	case ZOMBIE:
		_exit(0);
	}
	for (;;)
		syscall(__NR_ppoll, NULL, 0, NULL, NULL, 0);
	return 0;
}

/* Each process that lives needs a stack of its own. @nr selects it. */
static pid_t process_start(struct race *r, int nr)
{
	static char stack[PROCESSES][STACK] __attribute__((aligned(16)));

	r->me = getpid();
	return clone(process_main, stack[nr + 1], CLONE_VM | SIGCHLD, r);
}

static void a_open(struct race *r)
{
	r->fd[0] = exithand_open(r->pid, O_RDONLY);
}

static long voluntary_switches(void)
{
	struct rusage ru;

	getrusage(RUSAGE_THREAD, &ru);
	return ru.ru_nvcsw;
}

static void a_read(struct race *r)
{
	long switches = voluntary_switches();
	char c;

	r->ret = read(r->fd[0], &c, 1);
	if (r->ret < 0)
		r->ret = -errno;
	r->slept = voluntary_switches() != switches;
}

static void a_poll(struct race *r)
{
	struct pollfd pfd = { .fd = r->fd[0], .events = POLL_ALL };
	long switches = voluntary_switches();

	r->ret = poll(&pfd, 1, -1) == 1 ? pfd.revents - POLL_EXITED : -errno;
	r->slept = voluntary_switches() != switches;
}

static void a_open_read(struct race *r)
{
	a_open(r);
	if (r->fd[0] >= 0)
		a_read(r);
}

static void a_open_poll(struct race *r)
{
	a_open(r);
	if (r->fd[0] >= 0)
		a_poll(r);
}

/* A pidfd has rare false events during an exec. The test only counts them. */
static void a_poll_twice(struct race *r)
{
	do {
		r->ret = poll_now(r->fd[0]);
		r->pidfd_false += poll_now(r->pidfd) != 0;
		r->polls++;
	} while (r->ret == 0 && !r->how->over(r));
}

static void b_open(struct race *r)
{
	r->fd[1] = exithand_open(r->pid, O_RDONLY);
}

static void b_reap(struct race *r)
{
	waitpid(r->pid, NULL, 0);
}

/*
 * Side A is asleep in read() on this CPU, with SCHED_BATCH: a wake-up of it does
 * not preempt this thread. So the exit and the signal both come before it runs.
 */
static void b_kill_and_signal(struct race *r)
{
	__u64 end = after_ms(BOUND_MS);

	r->fd[1] = exithand_open(r->pid, O_RDONLY);
	kill(r->pid, SIGKILL);
	while (poll_now(r->fd[1]) == 0 && now_ns() < end)
		;
	pthread_kill(r->thread, SIGUSR1);
}

static bool over_exit(struct race *r)
{
	siginfo_t si = { .si_pid = 0 };

	waitid(P_PID, r->pid, &si, WEXITED | WNOHANG | WNOWAIT);
	return si.si_pid == r->pid;
}

static bool over_reaping(struct race *r)
{
	return kill(r->pid, 0) != 0;
}

static bool over_exec(struct race *r)
{
	return syscall(__NR_tgkill, r->pid, r->exec_tid, 0) != 0;
}

static bool over_b(struct race *r)
{
	return __atomic_load_n(&r->b_done, __ATOMIC_ACQUIRE);
}

/* The exit must wake a reader that looked at the latch just before. */
FIXTURE_VARIANT_ADD(race, read_at_exit) {
	.process = EXITS, .opened = true, .a = a_read, .over = over_exit,
};

FIXTURE_VARIANT_ADD(race, poll_at_exit) {
	.process = EXITS, .opened = true, .a = a_poll, .over = over_exit,
};

/* An exit during open() must reach the new file. */
FIXTURE_VARIANT_ADD(race, open_read_at_exit) {
	.process = EXITS, .a = a_open_read, .over = over_exit,
};

FIXTURE_VARIANT_ADD(race, open_poll_at_exit) {
	.process = EXITS, .a = a_open_poll, .over = over_exit,
};

/* open() finds a zombie, or no process. */
FIXTURE_VARIANT_ADD(race, open_at_reaping) {
	.process = ZOMBIE, .may_fail = true, .a = a_open, .b = b_reap, .over = over_reaping,
};

/*
 * In an exec from a non-leader thread there are two leaders for a moment, one of
 * them dead. That is no exit. open() may not find the process, but must not take
 * it for a thread. If the process exits after the exec, the file knows of it.
 */
FIXTURE_VARIANT_ADD(race, open_at_exec) {
	.process = EXECS_AND_EXITS, .may_fail = true, .a = a_open, .over = over_exec,
	.rounds = 1000,		/* It takes some hundred to find the inode of a former leader. */
};

FIXTURE_VARIANT_ADD(race, poll_at_exec) {
	.process = EXECS, .opened = true, .a = a_poll_twice, .over = over_exec,
};

/* Both openers allocate a watch. The loser must use the other one and free its own. */
FIXTURE_VARIANT_ADD(race, two_first_opens) {
	.a = a_open, .b = b_open, .over = over_b,
};

/* A signal after the exit does not make the read fail with EINTR. */
FIXTURE_VARIANT_ADD(race, signal_after_exit) {
	.opened = true, .b_second = true, .a = a_read, .b = b_kill_and_signal, .over = over_b,
};

static void no_op(int sig)
{
}

static void *side_a(void *arg)
{
	struct sched_param param = { 0 };
	struct race *r = arg;
	char c;

	r->tid = sys_gettid();
	pin_to(0, r->how->b_second ? 1 : 0);
	if (r->how->b_second)
		sched_setscheduler(0, SCHED_BATCH, &param);
	for (;;) {
		/* The signal of the last round may come late. */
		while (read(r->go[0], &c, 1) != 1)
			;
		if (!r->how->b_second)
			meet(&r->m, 0);
		r->before = r->how->over(r);
		r->how->a(r);
		r->after = r->how->over(r);
		put_byte(r->done[1], 'd');
	}
	return NULL;
}

FIXTURE_SETUP(race)
{
	struct sigaction sa = { .sa_handler = no_op };
	struct race *r = &self->r;

	if (!exithand_needed(_metadata))
		return;
	if (!pin_to(0, 1))
		SKIP(return, "needs two CPUs");
	pin_to(0, variant->b ? 1 : 0);
	r->how = variant;
	r->image = image_open();
	ASSERT_LE(0, r->image);
	ASSERT_EQ(0, pipe(r->go));
	ASSERT_EQ(0, pipe(r->done));
	ASSERT_EQ(0, sigaction(SIGUSR1, &sa, NULL));
	ASSERT_EQ(0, pthread_create(&r->thread, NULL, side_a, r));
}

FIXTURE_TEARDOWN(race)
{
	/* The process of the last round and side A die with us. */
}

static int race_files(struct race *r)
{
	return r->how->over == over_b ? 2 : 1;
}

/* Checks the files of a reaped process, or the errors of their opens. */
static void race_check_files(struct __test_metadata *_metadata, struct race *r)
{
	char buf[256] = "";
	int i;

	for (i = 0; i < race_files(r); i++) {
		if (r->fd[i] < 0) {
			ASSERT_TRUE(r->how->may_fail)
				TH_LOG("round %u: open: %s", r->m.round, strerror(-r->fd[i]));
			ASSERT_TRUE(r->fd[i] == -ENOENT || r->fd[i] == -ESRCH ||
				    r->fd[i] == -ESTALE)
				TH_LOG("round %u: open: %s", r->m.round, strerror(-r->fd[i]));
			continue;
		}
		ASSERT_EQ(POLL_EXITED, poll_bounded(r->fd[i]))
			TH_LOG("round %u: file %d does not report the exit", r->m.round, i);
		ASSERT_EQ(0, read_now(r->fd[i]));
		if (r->how->process == ZOMBIE) {
			slurp(buf, sizeof(buf), "/proc/self/fdinfo/%d", r->fd[i]);
			ASSERT_NE(NULL, strstr(buf, "\nExitStatus:\t"))
				TH_LOG("round %u: no status: %s", r->m.round, buf);
		}
		close(r->fd[i]);
	}
}

/* Plays a round. Did the event happen while side A was in its call? */
static bool race_round(struct __test_metadata *_metadata, struct race *r)
{
	bool lives = r->how->b == b_open || r->how->process == EXECS ||
		     (r->how->process == EXECS_AND_EXITS && r->m.round % 2 == 0);
	siginfo_t si;
	bool early;
	int i;

	r->b_done = false;
	r->slept = false;
	r->ret = 0;
	r->pid = process_start(r, 0);
	ASSERT_LT(0, r->pid);
	if (r->how->opened) {
		a_open(r);
		ASSERT_LE(0, r->fd[0]);
	}
	if (r->how->a == a_poll_twice) {
		r->pidfd = pidfd_of(r->pid);
		ASSERT_LE(0, r->pidfd);
	}
	if (r->how->process == ZOMBIE)
		ASSERT_EQ(0, waitid(P_PID, r->pid, &si, WEXITED | WNOWAIT));

	ASSERT_TRUE(put_byte(r->go[1], 'g'));
	if (r->how->b_second)
		ASSERT_TRUE(eventually(task_blocked(getpid(), r->tid)));
	if (r->how->b) {
		if (!r->how->b_second)
			meet(&r->m, 1);
		r->how->b(r);
		__atomic_store_n(&r->b_done, true, __ATOMIC_RELEASE);
	}
	ASSERT_EQ('d', get_byte(r->done[0]))
		TH_LOG("round %u: side A still waits, process %d is %c", r->m.round, r->pid,
		       leader_state(r->pid) ?: '?');
	ASSERT_EQ(0, r->ret)
		TH_LOG("round %u: %s", r->m.round,
		       r->ret < 0 ? strerror(-r->ret) : "wrong events, or not EOF");
	if (r->how->over == over_exit) {
		ASSERT_TRUE(r->after)
			TH_LOG("round %u: side A returned before the exit", r->m.round);
	}
	if (lives) {
		ASSERT_TRUE(eventually(r->how->over(r)));
		for (i = 0; i < race_files(r); i++) {
			if (r->fd[i] < 0)
				continue;
			ASSERT_EQ(0, poll_now(r->fd[i]))
				TH_LOG("round %u: process %d lives", r->m.round, r->pid);
		}
		ASSERT_EQ(0, kill(r->pid, SIGKILL));
	}
	if (r->how->process != ZOMBIE)
		ASSERT_EQ(0, waitid(P_PID, r->pid, &si, WEXITED));
	race_check_files(_metadata, r);
	if (r->how->a == a_poll_twice)
		close(r->pidfd);
	if (r->how->b_second)
		return r->after;
	/* If side A went to sleep, it had finished its checks before the event. */
	early = !r->after || (r->how->over == over_exit && r->slept);
	meet_adjust(&r->m, early || (!r->before && r->m.round % 2));
	return !r->before && !early;
}

/* How many rounds hit the race. */
static unsigned int race_run(struct __test_metadata *_metadata, struct race *r)
{
	__u64 end = after_ms(RUN_MS), limit = after_ms(RUN_LIMIT_MS);
	unsigned int hits = 0, first = r->m.round, rounds = r->how->rounds ?: RUN_ROUNDS;

	while (now_ns() < end || ((!hits || r->m.round - first < rounds) && now_ns() < limit)) {
		meet_next(&r->m);
		hits += race_round(_metadata, r);
	}
	return hits;
}

/* Four runs of at most RUN_LIMIT_MS, and more on a busy machine. */
TEST_F_TIMEOUT(race, is_harmless, 60)
{
	struct slabs *old = calloc(2, sizeof(*old)), *new = old + 1;
	struct race *r = &self->r;
	unsigned int hits, first, rounds, limit;
	int leaked, i;

	/* The first run fills the caches. */
	ASSERT_NE(NULL, old);
	hits = race_run(_metadata, r);
	first = r->m.round;
	slabs_read(old);
	for (i = 0, leaked = 0; leaked >= 0 && i < 3; i++) {
		hits += race_run(_metadata, r);
		/* Other processes use these caches, too. A few rounds prove no leak. */
		rounds = r->m.round - first;
		limit = (rounds > RUN_ROUNDS ? rounds : RUN_ROUNDS) / 4;
		leaked = slabs_grown(old, new, limit);
	}
	/* RCU frees some objects late. */
	if (leaked >= 0)
		eventually((leaked = slabs_grown(old, new, limit)) < 0);
	EXPECT_GT(0, leaked)
		TH_LOG("%s: %ld objects before, %ld objects after %u rounds",
		       old->cache[leaked].name, old->cache[leaked].objects,
		       new->cache[leaked].objects, rounds);
	ksft_print_msg("%u of %u rounds hit the race%s\n", hits, r->m.round,
		       old->nr ? "" : "; slabinfo is not readable");
	if (r->polls)
		ksft_print_msg("%u false events of a pidfd in %u polls\n", r->pidfd_false,
			       r->polls);
	EXPECT_LT(0, hits)
		TH_LOG("no round hit the race");
	free(old);
}

/*
 * A file must own the watch of its exited process. If it did not, the watch
 * would now belong to one of the processes that were watched later.
 */
TEST(exited_file_outlives_its_process)
{
	const struct _fixture_variant_race how = { .process = PAUSES };
	struct race race = { .how = &how };
	int old[PROCESSES], new[PROCESSES], i;
	pid_t pid;

	if (!exithand_needed(_metadata))
		return;
	for (i = 0; i < PROCESSES; i++) {
		pid = process_start(&race, i);
		ASSERT_LT(0, pid);
		old[i] = exithand_open(pid, O_RDONLY);
		ASSERT_LE(0, old[i]);
		ASSERT_EQ(0, kill(pid, SIGKILL));
		ASSERT_EQ(pid, waitpid(pid, NULL, 0));
	}
	/* After two grace periods RCU has freed what belonged to the processes. */
	for (i = 0; i < 2; i++)
		syscall(__NR_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
	for (i = 0; i < PROCESSES; i++) {
		pid = process_start(&race, i);
		ASSERT_LT(0, pid);
		new[i] = exithand_open(pid, O_RDONLY);
		ASSERT_LE(0, new[i]);
	}
	for (i = 0; i < PROCESSES; i++) {
		ASSERT_EQ(POLL_EXITED, poll_now(old[i]));
		ASSERT_EQ(0, read_now(old[i]));
		ASSERT_EQ(0, poll_now(new[i]));
		ASSERT_EQ(-EAGAIN, read_now(new[i]));
	}
	/* The processes of @new die with us. */
}

TEST_HARNESS_MAIN
