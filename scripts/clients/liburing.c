// SPDX-License-Identifier: GPL-2.0
/* One read of io_uring for each process. The kernel arms poll for a file that would block. */
#include <err.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
	struct io_uring ring;
	struct io_uring_cqe *cqe;
	static char byte;
	int i;

	if (io_uring_queue_init(512, &ring, 0))
		err(1, "io_uring_queue_init");
	for (i = 1; i < argc; i++) {
		int fd = open(argv[i], O_RDONLY);

		if (fd < 0)
			err(1, "%s", argv[i]);
		io_uring_prep_read(io_uring_get_sqe(&ring), fd, &byte, 1, 0);
		io_uring_submit(&ring);
	}
	for (i = 1; i < argc; i++) {
		int error = io_uring_wait_cqe(&ring, &cqe);

		if (error || cqe->res)
			errx(1, "%s", strerror(error ? -error : -cqe->res));
		io_uring_cqe_seen(&ring, cqe);
	}
	printf("%d exits\n", argc - 1);
	return 0;
}
