// SPDX-License-Identifier: GPL-2.0
/*
 * Tests the fdinfo of /proc/<pid>/exithand: its lines, the PIDs in them, and the right to see the
 * exit status. proc-exithand-events tests the status itself, for each way to exit.
 */
#define _GNU_SOURCE
#include <linux/capability.h>
#include <sys/mount.h>

#include "proc-exithand.h"

#define STATUS		(TARGET_CODE << 8)	/* of each process here */
#define ALIVE		(-1)			/* in place of a status */
#define UNSEEN		(-2)			/* exited, and the status is not shown */

struct text {
	char buf[512];
};

/* The lines of fdinfo for a process with this PID, and with these further ones. */
static const char *lines(struct text *t, pid_t pid, const char *below, int status)
{
	int len = snprintf(t->buf, sizeof(t->buf), "Tgid:\t%d\nNStgid:\t%d%s\nExited:\t%d\n",
			   pid, pid, below, status != ALIVE);

	if (status >= 0)
		snprintf(t->buf + len, sizeof(t->buf) - len, "ExitStatus:\t%d\n", status);
	return t->buf;
}

/* The fdinfo of a file that the process @who has, from the line @first on. */
static const char *shown(struct text *t, const char *who, int fd, const char *first)
{
	char *p = NULL;

	if (slurp(t->buf, sizeof(t->buf), "/proc/%s/fdinfo/%d", who, fd) > 0)
		p = strstr(t->buf, first);
	return p ?: "nothing\n";
}

static void expect_lines(struct __test_metadata *_metadata, int fd, pid_t pid,
			 const char *below, int status, const char *when)
{
	struct text is, should;

	EXPECT_STREQ(lines(&should, pid, below, status), shown(&is, "self", fd, "Tgid:"))
		TH_LOG("%s", when);
}

static int open_file(struct __test_metadata *_metadata, pid_t pid)
{
	int fd = exithand_open(pid, O_RDONLY);

	ASSERT_LE(0, fd)
		TH_LOG("open: %s", strerror(-fd));
	return fd;
}

/*
 * The lines.
 */
FIXTURE(fdinfo)
{
	struct target t;
	int fd;
};

FIXTURE_SETUP(fdinfo)
{
	signal(SIGPIPE, SIG_IGN);
	if (!exithand_needed(_metadata))
		return;
	target_start(_metadata, &self->t);
	self->fd = open_file(_metadata, self->t.pid);
}

FIXTURE_TEARDOWN(fdinfo)
{
	target_end(&self->t);
}

/* The lines of all files come first. After those of exithand there are none. */
static void expect_format(struct __test_metadata *_metadata, int fd, pid_t pid, int status)
{
	struct text is, should;
	int start = 0, n;

	shown(&is, "self", fd, "");
	n = sscanf(is.buf, "pos: 0 flags: %*o mnt_id: %*d ino: %*u %n", &start);
	ASSERT_EQ(0, n)
		TH_LOG("%s", is.buf);
	EXPECT_STREQ(lines(&should, pid, "", status), is.buf + start);
}

TEST_F(fdinfo, format)
{
	expect_format(_metadata, self->fd, self->t.pid, ALIVE);
	ASSERT_TRUE(put_byte(self->t.in, DO_EXIT));
	ASSERT_EQ(POLL_EXITED, poll_bounded(self->fd));
	expect_format(_metadata, self->fd, self->t.pid, STATUS);
	EXPECT_EQ(STATUS, target_reap(_metadata, &self->t));
	expect_format(_metadata, self->fd, -1, STATUS);
}

/* glibc and systemd take any file whose fdinfo has a "Pid:" line for a pidfd. */
TEST_F(fdinfo, is_not_taken_for_a_pidfd)
{
	struct text t;

	EXPECT_STREQ("nothing\n", shown(&t, "self", self->fd, "\nPid:"));
	EXPECT_STREQ("nothing\n", shown(&t, "self", self->fd, "\nNSpid:"));
}

/* Looks without a pause while one thread after another execs. */
TEST_F(fdinfo, exec_changes_nothing)
{
	struct pollfd answer = { .fd = self->t.out, .events = POLLIN };
	int i;

	for (i = 0; i < 20; i++) {
		ASSERT_TRUE(put_byte(self->t.in, DO_EXEC_THREAD));
		do {
			expect_lines(_metadata, self->fd, self->t.pid, "", ALIVE, "in an exec");
		} while (poll(&answer, 1, 0) == 0 && __test_passed(_metadata));
		ASSERT_EQ(DO_EXEC_THREAD, get_byte(self->t.out));
	}
}

/* Reads fdinfo while a process exits and is reaped. A Tgid of -1 implies Exited 1. */
TEST_F(fdinfo, exit_step_by_step)
{
	enum { LIVES, IS_ZOMBIE, IS_GONE, STEPS } step, last;
	struct text is, should[STEPS];
	__u64 end;
	int i;

	for (i = 0; i < 30; i++) {
		lines(&should[LIVES], self->t.pid, "", ALIVE);
		lines(&should[IS_ZOMBIE], self->t.pid, "", STATUS);
		lines(&should[IS_GONE], -1, "", STATUS);
		ASSERT_TRUE(put_byte(self->t.kin, KEEPER_REAP));
		ASSERT_TRUE(put_byte(self->t.in, DO_EXIT));
		end = now_ns() + BOUND_MS * 1000000ULL;
		for (last = LIVES; last != IS_GONE && now_ns() < end; last = step) {
			shown(&is, "self", self->fd, "");
			step = last;
			while (step < STEPS && !strstr(is.buf, should[step].buf))
				step++;
			ASSERT_NE(STEPS, step)
				TH_LOG("round %d, step %d, then: %s", i, last, is.buf);
		}
		ASSERT_EQ(IS_GONE, last);

		close(self->fd);
		target_end(&self->t);
		target_start(_metadata, &self->t);
		self->fd = open_file(_metadata, self->t.pid);
	}
}

/*
 * PID namespaces.
 */
FIXTURE(pidns)
{
	struct target t;
	int fd;
};

FIXTURE_VARIANT(pidns)
{
	enum spawn spawn;
	const char *below;	/* the PIDs below that of the procfs */
	bool other_reader;	/* in a namespace below */
	bool other_procfs;	/* of that namespace, where the process has no PID */
};

FIXTURE_VARIANT_ADD(pidns, of_process) { .spawn = SPAWN_PIDNS, .below = "\t1" };
FIXTURE_VARIANT_ADD(pidns, of_reader) { .below = "", .other_reader = true };
FIXTURE_VARIANT_ADD(pidns, of_procfs) { .below = "", .other_reader = true, .other_procfs = true };

FIXTURE_SETUP(pidns)
{
	signal(SIGPIPE, SIG_IGN);
	if (!exithand_needed(_metadata))
		return;
	if (!target_try(_metadata, &self->t, variant->spawn))
		SKIP(return, "cannot make the process: %s", strerror(-self->t.pid));
	if (variant->other_reader && unshare(CLONE_NEWPID))
		SKIP(return, "no PID namespace: %s", strerror(errno));
	self->fd = open_file(_metadata, self->t.pid);
}

FIXTURE_TEARDOWN(pidns)
{
	target_end(&self->t);
}

static bool mount_proc(void)
{
	return !unshare(CLONE_NEWNS) && !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
	       !mount("proc", "/proc", "proc", 0, NULL);
}

/* The namespace of the procfs counts, not that of the reader. */
TEST_F(pidns, shows_pids)
{
	pid_t reader, pid = variant->other_procfs ? 0 : self->t.pid;
	int status;

	reader = fork();
	ASSERT_LE(0, reader);
	if (reader == 0) {
		if (variant->other_procfs && !mount_proc())
			SKIP(_exit(0), "cannot mount proc: %s", strerror(errno));
		expect_lines(_metadata, self->fd, pid, variant->below, ALIVE, "alive");
		ASSERT_TRUE(put_byte(self->t.in, DO_EXIT));
		ASSERT_EQ(POLL_EXITED, poll_bounded(self->fd));
		expect_lines(_metadata, self->fd, pid, variant->below, STATUS, "as a zombie");
		EXPECT_EQ(STATUS, target_reap(_metadata, &self->t));
		expect_lines(_metadata, self->fd, -1, "", STATUS, "reaped");
		_exit(0);
	}
	ASSERT_TRUE(eventually(waitpid(reader, &status, WNOHANG)));
	EXPECT_EQ(0, status);
}

/*
 * The right to see the status. The kernel checks it at the open and keeps the result in the open
 * file. If root runs this test, the opener is NOBODY, or root if .by_root is set.
 */
FIXTURE(right)
{
	pid_t pid;
	int ctl;
};

FIXTURE_VARIANT(right)
{
	bool of_root;		/* The process runs as root, not as the opener. */
	bool by_root;		/* the first open */
	bool undumpable;	/* the process, at the first open */
	bool changes;		/* .undumpable changes before the second open */
	bool first;		/* The first file shows the status. */
	bool late;		/* One that is opened after the exit does. */
};

FIXTURE_VARIANT_ADD(right, own) { .first = true, .late = true };
FIXTURE_VARIANT_ADD(right, own_undumpable) { .undumpable = true };
FIXTURE_VARIANT_ADD(right, own_until_undumpable) { .changes = true, .first = true };
FIXTURE_VARIANT_ADD(right, own_once_dumpable) { .undumpable = true, .changes = true, .late = true };
FIXTURE_VARIANT_ADD(right, of_root) { .of_root = true };
FIXTURE_VARIANT_ADD(right, of_root_passed_on) { .of_root = true, .by_root = true, .first = true };

#define NOBODY 65534

/* Root becomes a user that can read its own /proc/self. A user stays one. */
static bool become_user(void)
{
	if (geteuid())
		return true;
	return !setresgid(NOBODY, NOBODY, NOBODY) && !setresuid(NOBODY, NOBODY, NOBODY) &&
	       /* setresuid() has cleared both. */
	       !prctl(PR_SET_DUMPABLE, 1) && !prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* Can root become a user for a while, and read the fdinfo of a user? */
static bool has_users(void)
{
	return prctl(PR_CAPBSET_READ, CAP_SYS_PTRACE) == 1 &&
	       !setegid(NOBODY) && !seteuid(NOBODY) && !seteuid(0) && !setegid(0);
}

FIXTURE_SETUP(right)
{
	pid_t me = getpid();
	int ctl[2];

	signal(SIGPIPE, SIG_IGN);
	if (!exithand_needed(_metadata))
		return;
	if (geteuid() ? variant->of_root : !has_users())
		SKIP(return, "needs root, and to become a user");
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, ctl));
	self->ctl = ctl[0];
	self->pid = fork();
	ASSERT_LE(0, self->pid);
	if (self->pid == 0) {
		die_with_parent(me);
		if (!variant->of_root && !become_user())
			_exit(1);
		prctl(PR_SET_DUMPABLE, !variant->undumpable);
		put_byte(ctl[1], 'r');
		get_byte(ctl[1]);
		if (variant->changes)
			prctl(PR_SET_DUMPABLE, variant->undumpable);
		put_byte(ctl[1], 'c');
		get_byte(ctl[1]);
		_exit(TARGET_CODE);
	}
	ASSERT_EQ('r', get_byte(self->ctl));
}

FIXTURE_TEARDOWN(right)
{
	if (self->pid > 0)
		kill(self->pid, SIGKILL);
}

/* The open is by right of the filesystem user and group. */
static int user_opens(struct __test_metadata *_metadata, pid_t pid)
{
	int fd;

	if (geteuid())
		return open_file(_metadata, pid);
	ASSERT_EQ(0, setegid(NOBODY));
	ASSERT_EQ(0, seteuid(NOBODY));
	fd = open_file(_metadata, pid);
	ASSERT_EQ(0, seteuid(0));
	ASSERT_EQ(0, setegid(0));
	return fd;
}

static void expect_status(struct __test_metadata *_metadata, const char *who, int fd,
			  int status, const char *when)
{
	struct text is, should;

	EXPECT_STREQ(strstr(lines(&should, 0, "", status), "Exited:"),
		     shown(&is, who, fd, "Exited:"))
		TH_LOG("%s, read in /proc/%s", when, who);
}

/* Checks fdinfo as the test, as an unprivileged child, and as the test in its /proc. */
static void all_look(struct __test_metadata *_metadata, int fd, int status, const char *when)
{
	pid_t child, me = getpid();
	int answers[2];
	char who[16];

	expect_status(_metadata, "self", fd, status, when);
	ASSERT_EQ(0, pipe(answers));
	child = fork();
	ASSERT_LE(0, child);
	if (child == 0) {
		die_with_parent(me);
		ASSERT_TRUE(become_user());
		expect_status(_metadata, "self", fd, status, when);
		ASSERT_TRUE(put_byte(answers[1], 'l'));
		thread_pause(NULL);
	}
	ASSERT_EQ('l', get_byte(answers[0]));
	snprintf(who, sizeof(who), "%d", child);
	expect_status(_metadata, who, fd, status, when);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

TEST_F(right, belongs_to_the_open_file)
{
	int first = variant->first ? STATUS : UNSEEN;
	int second = variant->late ? STATUS : UNSEEN;
	int fd, late, status;

	if (variant->by_root)
		fd = open_file(_metadata, self->pid);
	else
		fd = user_opens(_metadata, self->pid);
	all_look(_metadata, fd, ALIVE, "before the exit");
	ASSERT_TRUE(put_byte(self->ctl, 'c'));
	ASSERT_EQ('c', get_byte(self->ctl));
	ASSERT_TRUE(put_byte(self->ctl, 'e'));
	ASSERT_EQ(POLL_EXITED, poll_bounded(fd));

	late = user_opens(_metadata, self->pid);
	all_look(_metadata, fd, first, "as a zombie");
	all_look(_metadata, late, second, "opened late");
	ASSERT_EQ(self->pid, waitpid(self->pid, &status, 0));
	self->pid = 0;
	EXPECT_EQ(STATUS, status);
	all_look(_metadata, fd, first, "reaped");
	all_look(_metadata, late, second, "opened late, reaped");
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], OBEY_ARG))
		return obey_main(argc, argv);
	return test_harness_run(argc, argv);
}
