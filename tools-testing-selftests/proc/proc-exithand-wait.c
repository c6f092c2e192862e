// SPDX-License-Identifier: GPL-2.0
/*
 * Wait for a process to exit: an example of
 * Documentation/filesystems/exithand.rst, run by proc-exithand-shell.sh.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Returns a descriptor that becomes readable when @pid exits, or -1. */
static int watch(int pid)
{
	char path[64];
	int fd, tries;

	snprintf(path, sizeof(path), "/proc/%d/exithand", pid);

	/*
	 * During an exec by a non-leader thread, open() can fail with each of
	 * these errors although the process lives.  So try again.
	 */
	for (tries = 0; tries < 5; tries++) {
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0)
			return fd;
		if (errno != ENOENT && errno != ESRCH && errno != ESTALE)
			return -1;
	}

	/* Does the kernel have the file at all? */
	if (access("/proc/self/exithand", F_OK))
		return syscall(SYS_pidfd_open, pid, 0);
	errno = ESRCH;
	return -1;
}

/* Accepts decimal numbers from @min to INT_MAX only. */
static int number(const char *arg, int min, int *value)
{
	char *end;
	long long n = strtoll(arg, &end, 10);

	if (end == arg || *end || n < min || n > INT_MAX)
		return -1;
	*value = n;
	return 0;
}

int main(int argc, char **argv)
{
	struct pollfd pfd = { .events = POLLIN };
	int pid, limit = -1, n;

	if (argc < 2 || argc > 3 || number(argv[1], 1, &pid) ||
	    (argc == 3 && number(argv[2], 0, &limit)))
		errx(2, "usage: %s PID [MILLISECONDS]", argv[0]);

	pfd.fd = watch(pid);
	if (pfd.fd < 0)
		err(2, "%d", pid);

	n = poll(&pfd, 1, limit);
	if (n < 0)
		err(2, "poll");
	printf("%d: %s\n", pid, n ? "exited" : "still running");
	return n ? 0 : 1;
}
