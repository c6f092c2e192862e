// SPDX-License-Identifier: GPL-2.0
/* One event source of systemd's event loop for each process. */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-event.h>

static void must(int error)
{
	if (error < 0)
		errx(1, "%s", strerror(-error));
}

static int exits, all;

static int exited(sd_event_source *source, int fd, uint32_t revents, void *unused)
{
	must(sd_event_source_set_enabled(source, SD_EVENT_OFF));
	return ++exits < all ? 0 : sd_event_exit(sd_event_source_get_event(source), 0);
}

int main(int argc, char **argv)
{
	sd_event *event;

	must(sd_event_new(&event));
	for (all = argc - 1; *++argv;) {
		int fd = open(*argv, O_RDONLY);

		if (fd < 0)
			err(1, "%s", *argv);
		must(sd_event_add_io(event, NULL, fd, EPOLLIN, exited, NULL));
	}
	must(sd_event_loop(event));
	printf("%d exits\n", exits);
	return 0;
}
