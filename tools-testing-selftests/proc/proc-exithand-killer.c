// SPDX-License-Identifier: GPL-2.0
/*
 * Kill processes of a memory cgroup, the largest first, until the cgroup uses
 * at most GOAL bytes: an example of Documentation/filesystems/exithand.rst.
 *
 *	proc-exithand-killer CGROUP GOAL
 *
 * Exits with 0 if the goal is reached, with 1 if no process is left to kill and
 * with 2 after an error.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Returns the number in the file, or 0 if there is none or no file. */
static unsigned long long number(const char *path, const char *format)
{
	FILE *f = fopen(path, "re");
	unsigned long long n = 0;

	if (!f)
		return 0;
	if (fscanf(f, format, &n) != 1)
		n = 0;
	fclose(f);
	return n;
}

/* Returns the PID of the largest process, or 0 if there is none. */
static pid_t find_largest(void)
{
	unsigned long long pages, most = 0;
	FILE *f = fopen("cgroup.procs", "re");
	pid_t pid, largest = 0;
	char path[32];

	while (f && fscanf(f, "%d", &pid) == 1) {
		snprintf(path, sizeof(path), "/proc/%d/statm", pid);
		pages = number(path, "%*u %llu");
		if (pages > most) {
			most = pages;
			largest = pid;
		}
	}
	if (f)
		fclose(f);
	return largest;
}

static bool is_member(pid_t pid)
{
	FILE *f = fopen("cgroup.procs", "re");
	pid_t member = 0;

	while (f && member != pid && fscanf(f, "%d", &member) == 1)
		;
	if (f)
		fclose(f);
	return member == pid;
}

/* Returns false if the process has exited or left the cgroup before. */
static bool kill_and_wait(pid_t pid)
{
	struct pollfd exithand = { .events = POLLIN };
	bool killed = false;
	char path[32];
	int dir;

	/*
	 * The directory stays bound to the process.  Once the process is gone,
	 * its use fails and cannot reach another process with the same PID.
	 */
	snprintf(path, sizeof(path), "/proc/%d", pid);
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	exithand.fd = openat(dir, "exithand", O_RDONLY | O_CLOEXEC);

	/*
	 * If the cgroup lists the PID after the directory was opened, the
	 * process of the directory is a member, or is gone.
	 */
	if (exithand.fd >= 0 && is_member(pid))
		killed = !syscall(SYS_pidfd_send_signal, dir, SIGKILL, NULL, 0);

	/* The process gives its memory back when it exits, not before. */
	if (killed && poll(&exithand, 1, 10000) != 1)
		errx(2, "%d does not exit", pid);

	close(exithand.fd);
	close(dir);
	return killed;
}

int main(int argc, char **argv)
{
	unsigned long long goal = 0;
	char *end = NULL;
	int failed = 0;
	pid_t pid;

	if (argc == 3)
		goal = strtoull(argv[2], &end, 10);
	if (!end || *end || end == argv[2])
		errx(2, "usage: proc-exithand-killer CGROUP GOAL");
	if (chdir(argv[1]) || access("memory.current", R_OK))
		err(2, "%s", argv[1]);

	while (number("memory.current", "%llu") > goal) {
		pid = find_largest();
		if (!pid)
			errx(1, "no process is left to kill");
		if (kill_and_wait(pid))
			printf("killed %d\n", pid);
		else if (++failed == 1000)
			errx(2, "cannot kill %d", pid);
	}
	return 0;
}
