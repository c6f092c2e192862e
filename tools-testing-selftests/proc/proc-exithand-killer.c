// SPDX-License-Identifier: GPL-2.0
/*
 * Kill processes of a memory cgroup, the largest first, until it is down to
 * GOAL bytes: an example of the use of /proc/<pid>/exithand.
 *
 *	proc-exithand-killer CGROUP GOAL
 *
 * A process that has been sent SIGKILL gives its memory back when it gets round
 * to dying, and that may take a while.  Whoever looks at the cgroup before that
 * kills the next one in vain.  At the end of file of exithand, the process has
 * let go of its memory.
 *
 * Each process is dealt with by its directory in /proc, opened once.  That
 * stays bound to the process: should it exit meanwhile, what is done to the
 * directory fails, and does not hit the next one of that number.
 *
 * For comparison, what there is without exithand:
 *
 *	proc-exithand-killer -p MS CGROUP GOAL	look every MS milliseconds
 *	proc-exithand-killer -n CGROUP GOAL	do not wait
 *
 * Exits with 0 if the goal is reached, 1 if nobody is left to be killed, 2 if
 * something else is wrong.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A process that has not died by then is stuck in the kernel. */
#define PATIENCE_MS	10000

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

enum how { WAIT, POLL, DO_NOT_WAIT };

static const char *cgroup;

/* Who was sent the signal and not waited for. */
static pid_t dying[1024];
static size_t nr_dying;

static FILE *cgroup_open(const char *name)
{
	char path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", cgroup, name);
	f = fopen(path, "re");
	if (!f)
		err(2, "%s", path);
	return f;
}

static unsigned long long memory_in_use(void)
{
	FILE *f = cgroup_open("memory.current");
	unsigned long long bytes;

	if (fscanf(f, "%llu", &bytes) != 1)
		errx(2, "%s/memory.current has no number", cgroup);
	fclose(f);
	return bytes;
}

static bool is_member(pid_t pid)
{
	FILE *f = cgroup_open("cgroup.procs");
	pid_t member;
	bool is = false;

	while (!is && fscanf(f, "%d", &member) == 1)
		is = member == pid;
	fclose(f);
	return is;
}

/* In pages, and 0 if it is gone. */
static unsigned long resident(int proc_dir)
{
	int fd = openat(proc_dir, "statm", O_RDONLY | O_CLOEXEC);
	unsigned long pages = 0;
	char buf[128];
	ssize_t len;

	if (fd < 0)
		return 0;
	len = read(fd, buf, sizeof(buf) - 1);
	close(fd);
	if (len <= 0)
		return 0;
	buf[len] = '\0';
	return sscanf(buf, "%*u %lu", &pages) == 1 ? pages : 0;
}

static bool is_dying(pid_t pid)
{
	for (size_t i = 0; i < nr_dying; i++)
		if (dying[i] == pid)
			return true;
	return false;
}

/* The directory of the largest process, or -1 if there is none. */
static int open_largest(pid_t *largest)
{
	FILE *f = cgroup_open("cgroup.procs");
	unsigned long pages, most = 0;
	int dir, found = -1;
	char path[32];
	pid_t pid;

	while (fscanf(f, "%d", &pid) == 1) {
		if (is_dying(pid))
			continue;
		snprintf(path, sizeof(path), "/proc/%d", pid);
		dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (dir < 0)
			continue;
		pages = resident(dir);
		if (pages <= most) {
			close(dir);
			continue;
		}
		if (found >= 0)
			close(found);
		most = pages;
		found = dir;
		*largest = pid;
	}
	fclose(f);
	return found;
}

static void wait_for_exit(int exithand, pid_t pid)
{
	struct pollfd pfd = { .fd = exithand, .events = POLLIN };
	int n;

	do
		n = poll(&pfd, 1, PATIENCE_MS);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		err(2, "poll");
	if (!n)
		errx(2, "%d does not die", pid);
}

/* Without exithand: a zombie has let go of its memory, too. */
static void poll_for_exit(int dir, pid_t pid, int interval_ms)
{
	for (int ms = 0; resident(dir); ms += interval_ms) {
		if (ms >= PATIENCE_MS)
			errx(2, "%d does not die", pid);
		usleep(interval_ms * 1000);
	}
}

/* False if it was gone before, or somewhere else. */
static bool kill_one(int dir, pid_t pid, enum how how, int interval_ms)
{
	int exithand = -1;
	bool killed;

	if (how == WAIT) {
		exithand = openat(dir, "exithand", O_RDONLY | O_CLOEXEC);
		if (exithand < 0 && errno == ENOENT && resident(dir))
			errx(2, "this kernel has no /proc/<pid>/exithand");
		if (exithand < 0)
			return false;
	}

	/*
	 * The number is looked up again after the directory was opened.  If it
	 * is listed, it is the one of our process or that is gone.
	 */
	killed = is_member(pid) &&
		 !syscall(SYS_pidfd_send_signal, dir, SIGKILL, NULL, 0);

	if (killed && how == WAIT)
		wait_for_exit(exithand, pid);
	else if (killed && how == POLL)
		poll_for_exit(dir, pid, interval_ms);
	else if (killed && nr_dying < ARRAY_SIZE(dying))
		dying[nr_dying++] = pid;

	if (exithand >= 0)
		close(exithand);
	return killed;
}

static void bad_arguments(void)
{
	errx(2, "usage: proc-exithand-killer [-n | -p MS] CGROUP GOAL");
}

int main(int argc, char **argv)
{
	int dir, opt, interval_ms = 0, killed = 0, tries = 0;
	enum how how = WAIT;
	unsigned long long goal;
	char *end;
	pid_t pid = 0;

	while ((opt = getopt(argc, argv, "np:")) != -1) {
		if (opt == 'n') {
			how = DO_NOT_WAIT;
		} else if (opt == 'p') {
			how = POLL;
			interval_ms = atoi(optarg);
		} else {
			bad_arguments();
		}
	}
	if (argc != optind + 2 || (how == POLL && interval_ms <= 0))
		bad_arguments();
	cgroup = argv[optind];
	goal = strtoull(argv[optind + 1], &end, 10);
	if (*end || end == argv[optind + 1])
		bad_arguments();

	while (memory_in_use() > goal) {
		dir = open_largest(&pid);
		if (dir < 0) {
			fprintf(stderr, "nobody is left in %s\n", cgroup);
			return 1;
		}
		if (kill_one(dir, pid, how, interval_ms)) {
			printf("killed %d\n", pid);
			killed++;
			tries = 0;
		} else if (++tries == 1000) {
			errx(2, "cannot kill %d", pid);
		}
		close(dir);
	}
	printf("%d killed, %llu bytes in use\n", killed, memory_in_use());
	return 0;
}
