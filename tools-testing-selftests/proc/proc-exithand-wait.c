// SPDX-License-Identifier: GPL-2.0
/*
 * The example of Documentation/filesystems/exithand.rst, see there.  It is run by
 * proc-exithand-shell.sh.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A descriptor that becomes readable when @pid has exited, or -1. */
static int watch(int pid)
{
	char path[64];
	int fd, tries;

	snprintf(path, sizeof(path), "/proc/%d/exithand", pid);

	/*
	 * While the process replaces itself by exec, each of these errors
	 * can be seen although it lives on.  Only a repeated one counts.
	 */
	for (tries = 0; tries < 5; tries++) {
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0)
			return fd;
		if (errno != ENOENT && errno != ESRCH && errno != ESTALE)
			return -1;
	}

	if (access("/proc/self/exithand", F_OK) == 0) {
		errno = ESRCH;          /* the kernel has the file */
		return -1;
	}
	return syscall(SYS_pidfd_open, pid, 0);
}

/* Accepts decimal numbers from @min to INT_MAX only. */
static int number(const char *arg, int min, int *value)
{
	char *end;
	long n;

	errno = 0;
	n = strtol(arg, &end, 10);
	if (errno || end == arg || *end || n < min || n > INT_MAX)
		return -1;
	*value = n;
	return 0;
}

int main(int argc, char **argv)
{
	struct pollfd pfd = { .events = POLLIN };
	int pid, limit = -1, n;

	if (argc < 2 || argc > 3 || number(argv[1], 1, &pid) ||
	    (argc == 3 && number(argv[2], 0, &limit))) {
		fprintf(stderr, "usage: %s PID [MILLISECONDS]\n", argv[0]);
		return 2;
	}

	pfd.fd = watch(pid);
	if (pfd.fd < 0) {
		perror(argv[1]);
		return 2;
	}

	do {                        /* a signal starts the limit anew */
		n = poll(&pfd, 1, limit);
	} while (n < 0 && errno == EINTR);
	if (n < 0) {
		perror("poll");
		return 2;
	}
	if (n == 0) {
		printf("%d: still running\n", pid);
		return 1;
	}
	if (!(pfd.revents & POLLIN)) {
		fprintf(stderr, "%d: unexpected poll events %#x\n", pid,
			(unsigned int)pfd.revents);
		return 2;
	}
	printf("%d: exited\n", pid);
	if (close(pfd.fd)) {
		perror("close");
		return 2;
	}
	return 0;
}
