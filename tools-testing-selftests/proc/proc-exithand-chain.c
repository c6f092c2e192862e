// SPDX-License-Identifier: GPL-2.0
/*
 * A process that execs itself without end, each time from a thread that is not
 * the leader: what proc-exithand-races looks at.
 *
 * Small and static, because the more often it execs the better.
 *
 * Arguments: where questions come from, where answers go, this program (all of
 * them open files), and how many execs there have been.  A byte asks for that
 * number; at the end of file it exits.
 *
 * With "once" and a word in the place of the number, it says that it is ready,
 * waits for anything to read, and execs only once; then it exits if the word
 * is "exit", and else stays.
 */
#define _GNU_SOURCE
#include <linux/types.h>
#include <linux/sched.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	/*
	 * A thread on the stack of the leader, which waits until the thread
	 * execs, and does not come back then.
	 */
	struct clone_args args = {
		.flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND |
			 CLONE_THREAD | CLONE_VFORK,
	};
	char count_arg[16], ticks[8], c;
	struct pollfd pfd = { .events = POLLIN };
	struct timespec ts = { 0 };
	unsigned int count;
	int out, exe;
	bool once;

	if (argc < 5)
		return 1;
	pfd.fd = atoi(argv[1]);
	out = atoi(argv[2]);
	exe = atoi(argv[3]);
	count = strtoul(argv[4], NULL, 10);
	once = !strcmp(argv[4], "once");

	if (!strcmp(argv[4], "exit"))
		return 0;
	if (!strcmp(argv[4], "stay"))
		for (;;)
			pause();

	if (syscall(__NR_clone3, &args, sizeof(args)) != 0)
		return 2;

	if (once) {
		if (argc != 6 || write(out, "r", 1) != 1)
			_exit(6);
		if (read(pfd.fd, ticks, sizeof(ticks)) < 0)
			_exit(7);
		argv[4] = argv[5];
		syscall(__NR_execveat, exe, "", argv, environ, AT_EMPTY_PATH);
		_exit(8);
	}

	while (poll(&pfd, 1, 0) == 1) {
		if (read(pfd.fd, &c, 1) != 1)
			_exit(3);
		if (write(out, &count, sizeof(count)) != sizeof(count))
			_exit(4);
	}
	/* Others have to get at the CPU, and to be anywhere when we go on. */
	ts.tv_nsec = (count * 1664525U + 1013904223U) % 200000U;
	nanosleep(&ts, NULL);

	snprintf(count_arg, sizeof(count_arg), "%u", count + 1);
	argv[4] = count_arg;
	syscall(__NR_execveat, exe, "", argv, environ, AT_EMPTY_PATH);
	_exit(5);
}
