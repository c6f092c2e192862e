// SPDX-License-Identifier: GPL-2.0
/*
 * Tests the calls on /proc/<pid>/exithand: the results of open, read, poll and
 * other calls before the exit, after it, and after the process was reaped.
 *
 * proc-exithand-events tests which events are an exit. proc-exithand-races tests
 * what happens at the same time.
 */
#define _GNU_SOURCE
#include <linux/posix_types.h>
#include <linux/aio_abi.h>
#include <dirent.h>
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "proc-exithand.h"

/* The first argument of this program when it only reads a file. */
#define READER_ARG "--read"

/* Evaluates to what the call returned, or to -errno. */
#define RET(call) ({ long __ret = (call); __ret < 0 ? -errno : __ret; })

/* The states of a target. */
enum state { LIVE, ZOMBIE, REAPED, STATES };

static void target_become(struct __test_metadata *_metadata, struct target *t, enum state state)
{
	if (state == ZOMBIE) {
		ASSERT_EQ(0, kill(t->pid, SIGKILL));
		ASSERT_TRUE(eventually(leader_state(t->pid) == 'Z'));
		exits_settle();
	}
	if (state == REAPED)
		target_reap(_metadata, t);
}

/* Starts a target, unless the test is skipped because there is no such file. */
static bool target_needed(struct __test_metadata *_metadata, struct target *t)
{
	/* A write to a target that is gone must not kill the test. */
	signal(SIGPIPE, SIG_IGN);
	if (!exithand_needed(_metadata))
		return false;
	target_start(_metadata, t);
	return true;
}

static int open_target(struct __test_metadata *_metadata, struct target *t, int flags)
{
	int fd = exithand_open(t->pid, flags);

	ASSERT_LE(0, fd) TH_LOG("open: %s", strerror(-fd));
	return fd;
}

#define OPEN(flags)	open_target(_metadata, &self->t, flags)
#define BECOME(state)	target_become(_metadata, &self->t, state)
#define KILL()		ASSERT_EQ(0, kill(self->t.pid, SIGKILL))

static bool private_mounts(void)
{
	return !unshare(CLONE_NEWNS) && !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
}

static pid_t fork_pausing(void)
{
	pid_t parent = getpid(), pid = fork();

	if (pid == 0) {
		die_with_parent(parent);
		thread_pause(NULL);
	}
	return pid;
}

/* Sends a file over a socket, or receives one if @fd is -1. Returns the file, or -1. */
static int pass_fd(int sock, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 }, c = 'x';
	struct iovec iov = { .iov_base = &c, .iov_len = 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	if (fd >= 0) {
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(fd));
		memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
		return sendmsg(sock, &msg, MSG_NOSIGNAL) == 1 ? fd : -1;
	}
	if (!readable(sock) || recvmsg(sock, &msg, 0) != 1 || !CMSG_FIRSTHDR(&msg))
		return -1;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

FIXTURE(file)
{
	struct target t;
	struct watcher w[5];
	char group[64];		/* a cgroup, removed after the test */
};

FIXTURE_SETUP(file)
{
	target_needed(_metadata, &self->t);
}

FIXTURE_TEARDOWN(file)
{
	target_end(&self->t);
}

/* A program that reads every file of a directory never meets this one. */
TEST_F(file, is_world_readable_but_not_listed)
{
	DIR *dir = opendir("/proc/self");
	struct dirent *entry;
	struct stat st;
	int n;

	ASSERT_NE(NULL, dir);
	for (n = 0; (entry = readdir(dir)); n++)
		EXPECT_STRNE("exithand", entry->d_name);
	EXPECT_LT(20, n);
	ASSERT_EQ(0, fstatat(dirfd(dir), "exithand", &st, 0));
	EXPECT_EQ(S_IFREG | 0444, st.st_mode) TH_LOG("mode %#o", st.st_mode);
	EXPECT_EQ(0, st.st_size);
}

/* Each path opens the same process until it is reaped. */
TEST_F(file, is_opened_again)
{
	static const int gone[] = { -ENOENT, -ESRCH, -ESTALE, -ESTALE };
	int i, nr = 3, dir, fd = OPEN(O_RDONLY);
	char path[4][64] = { [3] = "/proc/uptime" };	/* any file can be mounted on */
	enum state state;

	snprintf(path[0], sizeof(path[0]), "/proc/%d", self->t.pid);
	dir = open(path[0], O_PATH | O_DIRECTORY);
	ASSERT_LE(0, dir);
	snprintf(path[0], sizeof(path[0]), "/proc/%d/exithand", self->t.pid);
	snprintf(path[1], sizeof(path[1]), "/proc/self/fd/%d/exithand", dir);
	snprintf(path[2], sizeof(path[2]), "/proc/self/fd/%d", fd);
	if (private_mounts() && !mount(path[0], path[3], NULL, MS_BIND, NULL))
		nr = 4;
	for (state = LIVE; state < STATES; state++) {
		BECOME(state);
		for (i = 0; i < nr; i++) {
			fd = RET(open(path[i], O_RDONLY));
			if (state == ZOMBIE)
				expect_exited(_metadata, fd);
			else
				EXPECT_EQ(state == REAPED ? gone[i] : 0, fd < 0 ? fd : poll_now(fd))
					TH_LOG("%s", path[i]);
		}
	}
}

/*
 * fanotify opens the file when its event is read. No lookup then turns an errno
 * of the kernel's own (EOPENSTALE, 518) into ESTALE.
 */
TEST_F(file, fanotify_reports_a_known_errno)
{
	struct fanotify_event_metadata event;
	char path[32];
	int group;

	group = fanotify_init(FAN_CLASS_NOTIF | FAN_REPORT_FD_ERROR | FAN_NONBLOCK, O_RDONLY);
	if (group < 0)
		SKIP(return, "no fanotify: %s", strerror(errno));
	snprintf(path, sizeof(path), "/proc/%d/exithand", self->t.pid);
	ASSERT_EQ(0, fanotify_mark(group, FAN_MARK_ADD, FAN_OPEN, AT_FDCWD, path));
	OPEN(O_RDONLY);
	ASSERT_EQ(sizeof(event), read(group, &event, sizeof(event)));
	EXPECT_EQ(0, poll_now(event.fd));
	OPEN(O_RDONLY);
	BECOME(ZOMBIE);
	BECOME(REAPED);
	ASSERT_EQ(sizeof(event), read(group, &event, sizeof(event)));
	EXPECT_EQ(-ESTALE, event.fd);
}

static void *thread_until_byte(void *arg)
{
	pid_t tid = sys_gettid();
	int *sock = arg;

	if (write(*sock, &tid, sizeof(tid)) < 0 || read(*sock, &tid, 1) < 0)
		_exit(1);
	syscall(__NR_exit, 0);
	return NULL;
}

/* procfs finds /proc/<tid>, too, although it does not list it. */
TEST_F(file, thread_is_einval)
{
	pid_t child, tid, me = getpid();
	int fd, sock[2];
	pthread_t thread;
	char path[64];

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, sock));
	child = fork();
	ASSERT_LE(0, child);
	if (child == 0) {
		die_with_parent(me);
		_exit(pthread_create(&thread, NULL, thread_until_byte, &sock[1]) || pause());
	}
	ASSERT_TRUE(get_obj(sock[0], &tid, sizeof(tid)));
	EXPECT_EQ(-EINVAL, exithand_open(tid, O_RDONLY));
	ASSERT_LE(0, exithand_open(child, O_RDONLY));
	/* It does not matter that the process has a watch. */
	EXPECT_EQ(-EINVAL, exithand_open(tid, O_RDONLY));
	/* There is no such file for each thread. */
	snprintf(path, sizeof(path), "/proc/%d/task/%d/exithand", child, child);
	EXPECT_EQ(-ENOENT, RET(open(path, O_RDONLY)));

	/* A tracer keeps a thread that has exited. */
	if (!attach(_metadata, PTRACE_SEIZE, tid, 0))
		return;
	ASSERT_TRUE(put_byte(sock[0], 'x'));
	ASSERT_TRUE(eventually(task_state(child, tid) == 'Z'));
	fd = exithand_open(tid, O_RDONLY);
	EXPECT_TRUE(fd == -EINVAL || fd == -ESTALE) TH_LOG("a dead thread: %d", fd);
	ASSERT_EQ(0, tracer_wait(tid));
	EXPECT_EQ(-ENOENT, exithand_open(tid, O_RDONLY));
}

TEST_F(file, kernel_thread_lives)
{
	char buf[512];
	int fd;

	/* A kernel thread without a parent, a process group, and a session. */
	if (slurp(buf, sizeof(buf), "/proc/2/stat") <= 0 || !strstr(buf, "(kthreadd) S 0 0 0 "))
		SKIP(return, "process 2 is not kthreadd");
	fd = exithand_open(2, O_RDONLY);
	ASSERT_LE(0, fd) TH_LOG("open: %s", strerror(-fd));
	EXPECT_EQ(0, poll_now(fd));
	EXPECT_EQ(-EAGAIN, read_now(fd));
}

/*
 * A child has a watch of its own, and its exit is not an exit of its parent. A
 * process that reads its own file can be killed.
 */
TEST_F(file, child_is_another_process)
{
	pid_t child, me = getpid();
	int status, fd[2];
	char c;

	fd[0] = exithand_open(me, O_RDONLY);
	ASSERT_LE(0, fd[0]);
	child = fork();
	ASSERT_LE(0, child);
	if (child == 0) {
		die_with_parent(me);
		_exit(read(exithand_open(getpid(), O_RDONLY), &c, 1) != 0);
	}
	ASSERT_TRUE(eventually(task_blocked(child, child)));
	fd[1] = exithand_open(child, O_RDONLY);
	ASSERT_EQ(0, poll_now(fd[1]));
	ASSERT_EQ(0, kill(child, SIGKILL));
	EXPECT_EQ(POLL_EXITED, poll_bounded(fd[1]));
	exits_settle();
	EXPECT_EQ(0, poll_now(fd[0])) TH_LOG("the exit of a child");
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(SIGKILL, status);
	EXPECT_EQ(0, poll_now(fd[0])) TH_LOG("the reaping of a child");
	exithand_quiet(_metadata, me, "the exit of a child");
}

/* O_NONBLOCK belongs to the open file. fcntl() sets and clears it. */
TEST_F(file, reads_that_do_not_wait)
{
	int nb = OPEN(O_RDONLY | O_NONBLOCK), fd = OPEN(O_RDONLY), other = OPEN(O_RDONLY);
	char buf[2][8];
	struct iovec iov[2] = { { buf[0], sizeof(buf[0]) }, { buf[1], sizeof(buf[1]) } };
	struct iovec nothing = { 0 };
	enum state state;
	long result;

	ASSERT_EQ(0, fcntl(other, F_SETFL, O_NONBLOCK));
	/* If one of the calls blocks, this ends the test before its timeout. */
	alarm(BOUND_MS / 1000);
	for (state = LIVE; state < STATES; state++) {
		BECOME(state);
		result = state == LIVE ? -EAGAIN : 0;
		EXPECT_EQ(result, RET(read(nb, buf, sizeof(buf))));
		EXPECT_EQ(result, RET(read(other, buf, sizeof(buf))));
		EXPECT_EQ(result, RET(preadv2(fd, iov, 2, -1, RWF_NOWAIT)));
		/* A read of zero bytes returns 0 in every state. */
		EXPECT_EQ(0, RET(read(nb, buf, 0)));
		EXPECT_EQ(0, RET(read(fd, buf, 0)));
		EXPECT_EQ(0, RET(readv(fd, &nothing, 1)));
		EXPECT_EQ(0, RET(preadv2(fd, &nothing, 1, -1, RWF_NOWAIT)));
		if (state == LIVE) {
			ASSERT_EQ(0, fcntl(other, F_SETFL, 0));
			watcher_start_fd(_metadata, self->w, HOW_READ, other);
			watcher_sleeps(_metadata, self->w);
		}
	}
	watcher_returns(_metadata, self->w);
}

static int handled;

static void handler(int sig)
{
	__atomic_add_fetch(&handled, 1, __ATOMIC_RELEASE);
}

/*
 * One of several readers of one file gets a signal, and the others are not woken.
 * In an ordinary file the first reader would hold the lock of the position, and
 * the others would wait for that lock uninterruptibly.
 */
TEST_F(file, signal_for_one_of_many_readers)
{
	struct sigaction sa = { .sa_handler = handler, .sa_flags = SA_RESTART };
	struct watcher *w = self->w;
	int i, fd = OPEN(O_RDONLY);

	for (i = 0; i < 4; i++)
		watcher_start_fd(_metadata, &w[i], i == 3 ? HOW_POLL : HOW_READ, fd);
	for (i = 0; i < 4; i++)
		watcher_sleeps(_metadata, &w[i]);
	EXPECT_EQ(-ESPIPE, RET(lseek(fd, 0, SEEK_SET)));
	EXPECT_EQ(-EAGAIN, read_now(fd));

	ASSERT_EQ(0, sigaction(SIGUSR1, &sa, NULL));
	ASSERT_EQ(0, pthread_kill(w[0].thread, SIGUSR1));
	ASSERT_TRUE(eventually(__atomic_load_n(&handled, __ATOMIC_ACQUIRE) == 1));
	watcher_waits(_metadata, &w[0], "a signal with SA_RESTART");
	sa.sa_flags = 0;
	ASSERT_EQ(0, sigaction(SIGUSR1, &sa, NULL));
	ASSERT_EQ(0, pthread_kill(w[0].thread, SIGUSR1));
	ASSERT_TRUE(watcher_join(&w[0])) TH_LOG("no signal ends the read");
	EXPECT_EQ(-EINTR, w[0].ret);
	watcher_start_fd(_metadata, &w[0], HOW_READ, fd);
	watcher_sleeps(_metadata, &w[0]);
	for (i = 1; i < 4; i++)
		watcher_unwoken(_metadata, &w[i], "a signal for another thread");
	KILL();
	for (i = 0; i < 4; i++)
		watcher_returns(_metadata, &w[i]);
}

/* ps -l shows the function that a reader waits in. */
TEST_F(file, reader_has_a_wchan)
{
	static const char name[] = "exithand_read_iter";
	char buf[128];

	watcher_start(_metadata, self->w, HOW_READ, self->t.pid);
	watcher_sleeps(_metadata, self->w);
	if (slurp(buf, sizeof(buf), "/proc/self/task/%d/wchan", self->w->tid) <= 0 ||
	    !strcmp(buf, "0"))
		SKIP(return, "no wchan");
	EXPECT_EQ(0, strncmp(buf, name, strlen(name))) TH_LOG("wchan: %s", buf);
}

/* A call that the file does not support fails after the exit as well. */
TEST_F(file, other_calls_fail)
{
	int fd = OPEN(O_RDONLY | O_NONBLOCK), rdwr, nr, p[2];
	enum state state;
	off_t off;

	/* Mode 0444 keeps all but root from opening it for writing. */
	rdwr = exithand_open(self->t.pid, O_RDWR);
	EXPECT_TRUE(rdwr == -EACCES || (rdwr >= 0 && !geteuid())) TH_LOG("O_RDWR: %d", rdwr);
	ASSERT_EQ(0, pipe2(p, O_CLOEXEC | O_NONBLOCK));
	ASSERT_TRUE(put_byte(p[1], 'x'));
	for (state = LIVE; state < STATES; state++) {
		BECOME(state);
		EXPECT_EQ(-ESPIPE, RET(lseek(fd, 0, SEEK_SET)));
		EXPECT_EQ(-ESPIPE, RET(lseek(fd, 0, SEEK_CUR)));
		EXPECT_EQ(-ESPIPE, RET(lseek(fd, 0, SEEK_END)));
		EXPECT_EQ(-ESPIPE, RET(pread(fd, &nr, 1, 0)));
		EXPECT_EQ(-ESPIPE, RET(pread(fd, &nr, 1, 1)));
		EXPECT_EQ(-EINVAL, RET(splice(fd, NULL, p[1], NULL, 16, SPLICE_F_NONBLOCK)));
		EXPECT_EQ(-EINVAL, RET(sendfile(p[1], fd, NULL, 16)));
		/* With an offset, each of these two fails in its own way. */
		off = 0;
		EXPECT_EQ(-EINVAL, RET(splice(fd, &off, p[1], NULL, 16, SPLICE_F_NONBLOCK)));
		EXPECT_EQ(-ESPIPE, RET(sendfile(p[1], fd, &off, 16)));
		EXPECT_EQ(-EBADF, RET(splice(p[0], NULL, fd, NULL, 16, SPLICE_F_NONBLOCK)));
		EXPECT_EQ(-EBADF, RET(write(fd, "x", 1)));
		EXPECT_EQ(rdwr < 0 ? -EBADF : -EINVAL, RET(write(rdwr, "x", 1)));
		EXPECT_EQ(MAP_FAILED, mmap(NULL, 1, PROT_READ, MAP_PRIVATE, fd, 0));
		EXPECT_EQ(ENODEV, errno);
		EXPECT_EQ(-ENOTTY, RET(ioctl(fd, TIOCGWINSZ, &nr)));
	}
}

/* The events that epoll has, or gets within @ms. */
static int epoll_for(int ep, int ms)
{
	struct epoll_event ev = { 0 };
	int ret = epoll_wait(ep, &ev, 1, ms);

	return ret < 0 ? -errno : (int)ev.events;
}

static int epoll_of(struct __test_metadata *_metadata, int fd, __u32 events)
{
	struct epoll_event ev = { .events = events };
	int ep = epoll_create1(EPOLL_CLOEXEC);

	ASSERT_LE(0, ep);
	ASSERT_EQ(0, epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev));
	return ep;
}

TEST_F(file, epoll)
{
	enum { LEVEL, EDGE, ONESHOT, DELETED, CLOSED, NESTED, NR };
	static const __u32 flags[NR] = {
		[EDGE] = EPOLLET, [ONESHOT] = EPOLLONESHOT, [CLOSED] = EPOLLET,
	};
	struct epoll_event ev = { .events = POLL_ALL };
	int i, ep[NR], fd = OPEN(O_RDONLY), closed = OPEN(O_RDONLY);

	for (i = 0; i < NESTED; i++)
		ep[i] = epoll_of(_metadata, i == CLOSED ? closed : fd, POLL_ALL | flags[i]);
	ep[NESTED] = epoll_of(_metadata, ep[LEVEL], EPOLLIN);
	ASSERT_EQ(0, epoll_ctl(ep[DELETED], EPOLL_CTL_DEL, fd, NULL));
	close(closed);
	for (i = 0; i < NR; i++)
		EXPECT_EQ(0, epoll_for(ep[i], 0));
	KILL();
	EXPECT_EQ(EPOLLIN, epoll_for(ep[NESTED], BOUND_MS));
	for (i = LEVEL; i <= ONESHOT; i++)
		EXPECT_EQ(POLL_EXITED, epoll_for(ep[i], BOUND_MS));
	/* One wake-up made all of them ready. The reaping is no event. */
	BECOME(REAPED);
	for (i = LEVEL; i < NESTED; i++)
		EXPECT_EQ(i == LEVEL ? POLL_EXITED : 0, epoll_for(ep[i], 0));
	ASSERT_EQ(0, epoll_ctl(ep[ONESHOT], EPOLL_CTL_MOD, fd, &ev));
	ASSERT_EQ(0, epoll_ctl(ep[DELETED], EPOLL_CTL_ADD, fd, &ev));
	EXPECT_EQ(POLL_EXITED, epoll_for(ep[ONESHOT], 0));
	EXPECT_EQ(POLL_EXITED, epoll_for(ep[DELETED], 0));
}

/* An exit wakes the pollers of the process that requested one of its events. */
TEST_F(file, wakes_only_matching_pollers)
{
	static const int events[] = { POLLPRI, POLL_ALL, POLLIN, POLLRDNORM, POLL_ALL };
	struct watcher *w = self->w;
	int i, fd;

	for (i = 0; i < 5; i++) {
		fd = i == 1 ? exithand_open(getpid(), O_RDONLY) : OPEN(O_RDONLY);
		watcher_start_for(_metadata, &w[i], HOW_POLL, fd, events[i]);
		watcher_sleeps(_metadata, &w[i]);
	}
	KILL();
	for (i = 2; i < 5; i++)
		watcher_returns(_metadata, &w[i]);
	/* All were woken at the same time, if at all. */
	watcher_unwoken(_metadata, &w[0], "an event that it did not request");
	watcher_unwoken(_metadata, &w[1], "the exit of another process");
}

/* A call in progress keeps its file open. */
TEST_F(file, closed_under_a_reader)
{
	int i, fd[2] = { dup(OPEN(O_RDONLY)), OPEN(O_RDONLY) };
	struct watcher *w = self->w;

	for (i = 0; i < 2; i++) {
		watcher_start_fd(_metadata, &w[i], HOW_READ, fd[i]);
		watcher_sleeps(_metadata, &w[i]);
	}
	ASSERT_EQ(0, close(fd[0]));
	ASSERT_EQ(fd[1], dup2(STDIN_FILENO, fd[1]));
	watcher_waits(_metadata, &w[0], "close");
	watcher_waits(_metadata, &w[1], "dup2");
	KILL();
	for (i = 0; i < 2; i++) {
		ASSERT_TRUE(watcher_join(&w[i]));
		EXPECT_EQ(0, w[i].ret);
	}
}

static void group_undo(void *arg)
{
	char *group = arg;

	eventually(!rmdir(group) || errno == ENOENT);
}

/* The memory that is charged to a cgroup for kernel objects in use, or -1. */
static long charged(const char *group)
{
	char buf[8192];

	if (slurp(buf, sizeof(buf), "%s/memory.stat", group) <= 0)
		return -1;
	return number_after(buf, "\nslab_unreclaimable ");
}

/*
 * The watches stay when the files are closed, and when the opener has exited. Forks
 * are slow on a debugging kernel, hence the timeout.
 */
TEST_F_TIMEOUT(file, watch_is_charged_to_the_opener, 120)
{
	pid_t pid[256], child, me = getpid();
	char path[96];
	int fd, status;
	size_t i;

	snprintf(self->group, sizeof(self->group), "/sys/fs/cgroup/exithand-%d", me);
	undo_later(_metadata, group_undo, self->group);
	if (mkdir(self->group, 0755) || charged(self->group) < 0)
		SKIP(return, "no cgroup of our own with a memory controller");
	for (i = 0; i < ARRAY_SIZE(pid); i++) {
		pid[i] = fork_pausing();
		ASSERT_LT(0, pid[i]);
	}
	child = fork();
	ASSERT_LE(0, child);
	if (child == 0) {
		die_with_parent(me);
		snprintf(path, sizeof(path), "%s/cgroup.procs", self->group);
		if (!put_file(path, "0"))
			_exit(1);
		for (i = 0; i < ARRAY_SIZE(pid); i++) {
			fd = exithand_open(pid[i], O_RDONLY);
			if (fd < 0 || close(fd))
				_exit(2);
		}
		_exit(0);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	ASSERT_EQ(0, status);
	/*
	 * A watch takes 64 bytes. Up to a page for each CPU is charged late, so this
	 * looks for half.
	 */
	EXPECT_TRUE(eventually(charged(self->group) >= (long)ARRAY_SIZE(pid) * 32))
		TH_LOG("%ld bytes", charged(self->group));
}

/*
 * Another process that reads the file until the exit.
 */
FIXTURE(reader)
{
	struct target t;
	pid_t pid;
	int fd, sock[2];	/* the file, and ends of the test and of the reader */
	char group[64], freeze[96];
};

FIXTURE_VARIANT(reader)
{
	/* How the reader gets the file. Returns its exit code. */
	int (*body)(struct _test_data_reader *self, const struct _fixture_variant_reader *v);
	/* Acts on the sleeping reader. Returns false if the test is skipped. */
	bool (*meanwhile)(struct __test_metadata *_metadata, struct _test_data_reader *self,
			  const struct _fixture_variant_reader *v);
	const char *option;
	int errors[2];
};

static int reader_waits(int fd, int sock)
{
	char c;

	if (poll_now(fd) != 0 || read_now(fd) != -EAGAIN || !put_byte(sock, 'y'))
		return 11;
	if (read(fd, &c, 1) != 0)
		return 12;
	return poll_now(fd) == POLL_EXITED && read_now(fd) == 0 ? 0 : 13;
}

static int inherits(struct _test_data_reader *self, const struct _fixture_variant_reader *v)
{
	return reader_waits(self->fd, self->sock[1]);
}

static int receives(struct _test_data_reader *self, const struct _fixture_variant_reader *v)
{
	close(self->fd);
	return reader_waits(pass_fd(self->sock[1], -1), self->sock[1]);
}

static int execs(struct _test_data_reader *self, const struct _fixture_variant_reader *v)
{
	char fd[16], sock[16];

	fcntl(self->fd, F_SETFD, 0);
	snprintf(fd, sizeof(fd), "%d", self->fd);
	snprintf(sock, sizeof(sock), "%d", self->sock[1]);
	execl("/proc/self/exe", "exithand-reader", READER_ARG, fd, sock, NULL);
	return 14;
}

/* Another user opens the file in another instance of procfs, or in the same one. */
static int opens(struct _test_data_reader *self, const struct _fixture_variant_reader *v)
{
	const int nobody = 65534;
	int fd, error;

	if (v->option && (!private_mounts() || mount("proc", "/proc", "proc", 0, v->option)))
		return KSFT_SKIP;
	/* setresuid() clears the signal at the death of the parent. */
	if (geteuid() || setresgid(nobody, nobody, nobody) || setresuid(nobody, nobody, nobody) ||
	    prctl(PR_SET_PDEATHSIG, SIGKILL))
		return KSFT_SKIP;
	fd = exithand_open(self->t.pid, O_RDONLY);
	error = fd < 0 ? fd : 0;
	if (error != v->errors[0] && error != v->errors[1])
		return -error;
	return reader_waits(fd < 0 ? self->fd : fd, self->sock[1]);
}

/* A read of Linux AIO blocks in io_submit(). A poll does not. */
static int uses_aio(struct _test_data_reader *self, const struct _fixture_variant_reader *v)
{
	bool poll = v->option;
	char buf[16];
	struct iocb iocb = {
		.aio_lio_opcode = poll ? IOCB_CMD_POLL : IOCB_CMD_PREAD,
		.aio_fildes = self->fd,
		.aio_buf = poll ? POLL_ALL : (uintptr_t)buf,
		.aio_nbytes = poll ? 0 : sizeof(buf),
	}, *list = &iocb;
	struct io_event event;
	aio_context_t ctx = 0;

	if (syscall(__NR_io_setup, 1, &ctx))
		return KSFT_SKIP;
	put_byte(self->sock[1], 'y');
	return syscall(__NR_io_submit, ctx, 1, &list) != 1 ||
	       syscall(__NR_io_getevents, ctx, 1, 1, &event, NULL) != 1 ||
	       event.res != (poll ? POLL_EXITED : 0);
}

static bool is_stopped(struct __test_metadata *_metadata, struct _test_data_reader *self,
		       const struct _fixture_variant_reader *v)
{
	int status;

	ASSERT_EQ(0, kill(self->pid, SIGSTOP));
	ASSERT_EQ(self->pid, waitpid(self->pid, &status, WUNTRACED));
	ASSERT_TRUE(WIFSTOPPED(status));
	ASSERT_EQ(0, kill(self->pid, SIGCONT));
	return true;
}

static bool is_traced(struct __test_metadata *_metadata, struct _test_data_reader *self,
		      const struct _fixture_variant_reader *v)
{
	if (!attach(_metadata, PTRACE_SEIZE, self->pid, 0))
		return false;
	ASSERT_EQ(0, ptrace(PTRACE_INTERRUPT, self->pid, 0, 0));
	ASSERT_TRUE(WIFSTOPPED(tracer_wait(self->pid)));
	ASSERT_EQ(0, ptrace(PTRACE_DETACH, self->pid, 0, 0));
	return true;
}

static void freezer_undo(void *arg)
{
	struct _test_data_reader *self = arg;

	/* Each version of cgroups knows one of the two. */
	put_file(self->freeze, "0");
	put_file(self->freeze, "THAWED");
	group_undo(self->group);
}

/*
 * Suspend, and the freezer of cgroup v1, which works like suspend, freeze a task
 * in its sleep if the sleep is freezable. They, and cgroup v2, chase any other
 * task out of its system call, which then restarts.
 */
static bool is_frozen(struct __test_metadata *_metadata, struct _test_data_reader *self,
		      const struct _fixture_variant_reader *v)
{
	bool v1 = v->option;
	const char *root = v1 ? "/tmp" : "/sys/fs/cgroup";
	char path[96], buf[256];
	long sleeps;
	int i;

	if (v1 && (!private_mounts() || mount("freezer", root, "cgroup", 0, v->option)))
		SKIP(return false, "no freezer: %s", strerror(errno));
	snprintf(self->group, sizeof(self->group), "%s/exithand-%d", root, getpid());
	snprintf(self->freeze, sizeof(self->freeze), "%s/%s", self->group,
		 v1 ? "freezer.state" : "cgroup.freeze");
	undo_later(_metadata, freezer_undo, self);
	if (mkdir(self->group, 0755) || access(self->freeze, W_OK))
		SKIP(return false, "no cgroup of our own: %s", strerror(errno));
	snprintf(path, sizeof(path), "%s/cgroup.procs", self->group);
	snprintf(buf, sizeof(buf), "%d", self->pid);
	ASSERT_TRUE(put_file(path, buf));
	for (i = 0; i < 2; i++) {
		ASSERT_TRUE(eventually(task_blocked(self->pid, self->pid)));
		sleeps = task_sleeps(self->pid, self->pid);
		ASSERT_TRUE(put_file(self->freeze, v1 ? "FROZEN" : "1"));
		ASSERT_TRUE(eventually(slurp(buf, sizeof(buf), "%s/%s", self->group,
					     v1 ? "freezer.state" : "cgroup.events") > 0 &&
				       strstr(buf, v1 ? "FROZEN" : "frozen 1")))
			TH_LOG("the reader does not freeze");
		/* It sees an exit that happens in the meantime. */
		if (i == 1)
			BECOME(ZOMBIE);
		ASSERT_EQ(0, waitpid(self->pid, NULL, WNOHANG));
		ASSERT_TRUE(put_file(self->freeze, v1 ? "THAWED" : "0"));
		if (i == 1)
			break;
		ASSERT_TRUE(eventually(task_blocked(self->pid, self->pid)));
		if (v1)
			EXPECT_EQ(sleeps, task_sleeps(self->pid, self->pid))
				TH_LOG("woken to be frozen");
	}
	return true;
}

FIXTURE_VARIANT_ADD(reader, inherits_the_file) { inherits };
FIXTURE_VARIANT_ADD(reader, receives_the_file) { receives };
FIXTURE_VARIANT_ADD(reader, execs) { execs };
FIXTURE_VARIANT_ADD(reader, reads_by_aio) { uses_aio };
FIXTURE_VARIANT_ADD(reader, polls_by_aio) { uses_aio, NULL, "poll" };
FIXTURE_VARIANT_ADD(reader, is_another_user) { opens };
FIXTURE_VARIANT_ADD(reader, has_plain_procfs) { opens, NULL, "" };
FIXTURE_VARIANT_ADD(reader, has_subset_pid) { opens, NULL, "subset=pid" };
FIXTURE_VARIANT_ADD(reader, has_hidepid_noaccess)
{
	opens, NULL, "hidepid=noaccess", { -EPERM, -EPERM },
};

FIXTURE_VARIANT_ADD(reader, has_hidepid_invisible)
{
	opens, NULL, "hidepid=invisible", { -ENOENT, -ENOENT },
};

/* The error depends on whether the lookup is cached. */
FIXTURE_VARIANT_ADD(reader, has_hidepid_ptraceable)
{
	opens, NULL, "hidepid=ptraceable", { -ENOENT, -EPERM },
};

FIXTURE_VARIANT_ADD(reader, is_stopped) { inherits, is_stopped };
FIXTURE_VARIANT_ADD(reader, is_traced) { inherits, is_traced };
FIXTURE_VARIANT_ADD(reader, is_frozen) { inherits, is_frozen };
FIXTURE_VARIANT_ADD(reader, is_frozen_in_its_sleep) { inherits, is_frozen, "freezer" };

FIXTURE_SETUP(reader)
{
	target_needed(_metadata, &self->t);
}

FIXTURE_TEARDOWN(reader)
{
	target_end(&self->t);
}

TEST_F(reader, sees_the_exit)
{
	int status = -1, fd = OPEN(O_RDONLY);
	pid_t me = getpid();

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, self->sock));
	self->fd = OPEN(O_RDONLY);
	self->pid = fork();
	ASSERT_LE(0, self->pid);
	if (self->pid == 0) {
		die_with_parent(me);
		close(self->sock[0]);
		_exit(variant->body(self, variant));
	}
	close(self->sock[1]);
	/* This fails if the reader has exited already, to be skipped. */
	pass_fd(self->sock[0], self->fd);
	close(self->fd);
	if (get_byte(self->sock[0]) != 'y') {
		ASSERT_TRUE(eventually(waitpid(self->pid, &status, WNOHANG) == self->pid));
		ASSERT_EQ(KSFT_SKIP << 8, status);
		SKIP(return, "no support, or no permission");
	}
	ASSERT_TRUE(eventually(task_blocked(self->pid, self->pid)));
	if (variant->meanwhile && !variant->meanwhile(_metadata, self, variant))
		return;
	if (leader_state(self->t.pid) != 'Z') {
		ASSERT_TRUE(eventually(task_blocked(self->pid, self->pid)));
		ASSERT_EQ(0, waitpid(self->pid, &status, WNOHANG));
		KILL();
	}
	ASSERT_TRUE(eventually(waitpid(self->pid, &status, WNOHANG) == self->pid))
		TH_LOG("the reader still waits");
	EXPECT_EQ(0, status) TH_LOG("the reader: wait status %#x", status);
	expect_exited(_metadata, fd);
}

/*
 * io_uring.
 */
FIXTURE(uring)
{
	struct target t;
	struct ring ring;
};

FIXTURE_VARIANT(uring)
{
	int op, answer;
	int flags;		/* of the request */
	int linked;		/* the answer of a NOP that is linked to it */
	int oflags;		/* of the open */
	int offset, rw_flags, multi;
};

FIXTURE_VARIANT_ADD(uring, poll) { IORING_OP_POLL_ADD, POLL_EXITED };
FIXTURE_VARIANT_ADD(uring, poll_linked) { IORING_OP_POLL_ADD, POLL_EXITED, IOSQE_IO_LINK };
FIXTURE_VARIANT_ADD(uring, poll_multishot)
{
	IORING_OP_POLL_ADD, POLL_EXITED, .multi = IORING_POLL_ADD_MULTI,
};

FIXTURE_VARIANT_ADD(uring, read) { IORING_OP_READ };
FIXTURE_VARIANT_ADD(uring, read_async) { IORING_OP_READ, 0, IOSQE_ASYNC };
FIXTURE_VARIANT_ADD(uring, read_nonblock) { IORING_OP_READ, .oflags = O_NONBLOCK };
FIXTURE_VARIANT_ADD(uring, read_rwf_nowait) { IORING_OP_READ, .rw_flags = RWF_NOWAIT };
/* Unlike pread(), it takes any offset. */
FIXTURE_VARIANT_ADD(uring, read_at_offset) { IORING_OP_READ, .offset = 1 };
/* A read of 0 bytes is a short one to io_uring, and ends a chain of links. */
FIXTURE_VARIANT_ADD(uring, read_linked) { IORING_OP_READ, 0, IOSQE_IO_LINK, -ECANCELED };
FIXTURE_VARIANT_ADD(uring, read_hardlinked) { IORING_OP_READ, 0, IOSQE_IO_HARDLINK };

FIXTURE_SETUP(uring)
{
	if (!target_needed(_metadata, &self->t))
		return;
	if (!ring_usable())
		SKIP(return, "no io_uring");
	ring_open(_metadata, &self->ring);
}

FIXTURE_TEARDOWN(uring)
{
	target_end(&self->t);
}

/* Returns the answer that comes within bounds, or -ETIME. */
static int ring_soon(struct ring *r, struct io_uring_cqe *cqe)
{
	return eventually(ring_enter(r, false, 0) >= 0 && ring_get(r, cqe)) ? cqe->res : -ETIME;
}

/*
 * A read that would block is armed as a poll, even with O_NONBLOCK. No kernel
 * thread waits for it, unless IOSQE_ASYNC asks for one.
 */
static void uring_exit(struct __test_metadata *_metadata, struct _test_data_uring *self,
		       const struct _fixture_variant_uring *v, bool late)
{
	bool linked = v->flags & (IOSQE_IO_LINK | IOSQE_IO_HARDLINK);
	int i, fd = OPEN(O_RDONLY | v->oflags);
	struct ring *r = &self->ring;
	struct io_uring_sqe *sqe;
	struct io_uring_cqe cqe;
	char buf[4096];

	if (late)
		BECOME(ZOMBIE);
	if (v->op == IORING_OP_POLL_ADD) {
		sqe = ring_poll(r, fd, POLL_ALL);
		sqe->len = v->multi;
	} else {
		sqe = ring_read(r, fd, buf, 16);
		sqe->rw_flags = v->rw_flags;
		sqe->off = v->offset ?: -1;
	}
	sqe->flags = v->flags;
	if (linked)
		ring_next(r, IORING_OP_NOP, -1)->user_data = 1;
	ASSERT_EQ(1 + linked, ring_enter(r, true, 0));
	if (!late && v->rw_flags) {
		EXPECT_EQ(-EAGAIN, ring_soon(r, &cqe));
		return;
	}
	if (!late) {
		ASSERT_EQ(0, kill(self->t.pid, SIGSTOP));
		ASSERT_EQ(0, kill(self->t.pid, SIGCONT));
		target_do(_metadata, &self->t, DO_EXEC_THREAD);
		ASSERT_EQ(0, ring_enter(r, false, 0));
		EXPECT_FALSE(ring_get(r, &cqe)) TH_LOG("answer %d before the exit", cqe.res);
		ASSERT_LT(0, slurp(buf, sizeof(buf), "/proc/self/status"));
		EXPECT_TRUE(strstr(buf, "\nThreads:\t1\n") || v->flags == IOSQE_ASYNC)
			TH_LOG("a thread waits");
		KILL();
	}
	for (i = 0; i < 1 + linked; i++) {
		ASSERT_NE(-ETIME, ring_soon(r, &cqe));
		EXPECT_EQ(cqe.user_data ? v->linked : v->answer, cqe.res);
	}
	if (v->multi)
		EXPECT_TRUE(cqe.flags & IORING_CQE_F_MORE);
	/* The reaping is no event, even if a poll is still armed. */
	BECOME(REAPED);
	EXPECT_EQ(0, ring_enter(r, false, 0));
	EXPECT_FALSE(ring_get(r, &cqe)) TH_LOG("answer %d after the exit", cqe.res);
}

TEST_F(uring, waits_for_the_exit)
{
	uring_exit(_metadata, self, variant, false);
}

TEST_F(uring, answers_after_the_exit)
{
	uring_exit(_metadata, self, variant, true);
}

/* Before the exit one poll is cancelled, and the ring of another one is closed. */
TEST_F(file, uring_poll_taken_back)
{
	struct io_uring_cqe cqe;
	struct ring ring[2];
	int i, fd = OPEN(O_RDONLY), other = OPEN(O_RDONLY);

	if (!ring_usable())
		SKIP(return, "no io_uring");
	for (i = 0; i < 2; i++) {
		ring_open(_metadata, &ring[i]);
		ring_poll(&ring[i], fd, POLL_ALL)->user_data = 1;
		ASSERT_EQ(1, ring_enter(&ring[i], true, 0));
	}
	ring_close(&ring[1]);
	close(fd);
	ring_next(ring, IORING_OP_POLL_REMOVE, -1)->addr = 1;
	ASSERT_EQ(1, ring_enter(ring, true, 0));
	for (i = 0; i < 2; i++) {
		ASSERT_NE(-ETIME, ring_soon(ring, &cqe));
		EXPECT_EQ(cqe.user_data ? -ECANCELED : 0, cqe.res);
	}
	KILL();
	EXPECT_EQ(POLL_EXITED, poll_bounded(other));
	ASSERT_EQ(0, ring_enter(ring, false, 0));
	EXPECT_FALSE(ring_get(ring, &cqe));
}

/* A workqueue puts the files that are registered with io_uring, perhaps after EOF. */
TEST_F(file, uring_puts_registered_files_later)
{
	pid_t child, me = getpid();
	struct ring ring;
	int fd, p[2];
	__u64 start;

	if (!ring_usable())
		SKIP(return, "no io_uring");
	ASSERT_EQ(0, pipe(p));
	child = fork();
	ASSERT_LE(0, child);
	if (child == 0) {
		die_with_parent(me);
		ring_open(_metadata, &ring);
		_exit(syscall(__NR_io_uring_register, ring.ring_fd, IORING_REGISTER_FILES, &p[1],
			      1) || !put_byte(p[1], 'y') || close(p[1]) || pause());
	}
	close(p[1]);
	ASSERT_EQ('y', get_byte(p[0]));
	fd = exithand_open(child, O_RDONLY);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, kill(child, SIGKILL));
	ASSERT_EQ(POLL_EXITED, poll_bounded(fd));
	start = now_ns();
	EXPECT_EQ(POLLHUP, poll_bounded(p[0]));
	TH_LOG("the file was put %llu us after the event", (now_ns() - start) / 1000);
}

/* Tests a recycled PID, and a process without a PID in this namespace. */
static int pidns_init(struct __test_metadata *_metadata, struct target *t, int stranger)
{
	struct clone_args args = { .exit_signal = SIGCHLD, .set_tid_size = 1 };
	int fd, dir, again;
	char path[32];
	pid_t pid;

	die_with_parent(0);
	if (!private_mounts() || mount("proc", "/proc", "proc", 0, NULL))
		return KSFT_SKIP;
	pid = fork_pausing();
	fd = exithand_open(pid, O_RDONLY);
	ASSERT_LE(0, fd);
	snprintf(path, sizeof(path), "/proc/%d", pid);
	dir = open(path, O_PATH | O_DIRECTORY);
	ASSERT_LE(0, dir);
	EXPECT_EQ(0, poll_now(fd) | poll_now(stranger));
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, NULL, 0));
	args.set_tid = (uintptr_t)&pid;
	again = sys_clone3(&args);
	if (again == 0)
		thread_pause(NULL);
	ASSERT_EQ(pid, again) TH_LOG("clone3: %s", strerror(errno));

	/* The first process is dead, and the second one lives. */
	expect_exited(_metadata, fd);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	EXPECT_EQ(-ESTALE, RET(open(path, O_RDONLY)));
	EXPECT_EQ(-ESRCH, RET(openat(dir, "exithand", O_RDONLY)));
	exithand_quiet(_metadata, pid, "the PID is used again");

	/* A process that has no PID here. */
	EXPECT_EQ(-EAGAIN, read_now(stranger));
	ASSERT_TRUE(put_byte(t->in, DO_EXIT));
	EXPECT_EQ(POLL_EXITED, poll_bounded(stranger));
	expect_exited(_metadata, stranger);
	return 0;
}

TEST_F(file, pid_namespaces)
{
	int fd, status, stranger = OPEN(O_RDONLY);
	pid_t init;

	if (unshare(CLONE_NEWPID))
		SKIP(return, "no PID namespace: %s", strerror(errno));
	init = fork();
	ASSERT_LE(0, init);
	if (init == 0)
		_exit(pidns_init(_metadata, &self->t, stranger));
	fd = exithand_open(init, O_RDONLY);
	ASSERT_LE(0, fd);
	EXPECT_EQ(POLL_EXITED, poll_bounded(fd));
	ASSERT_EQ(init, waitpid(init, &status, WNOHANG));
	if (status == KSFT_SKIP << 8)
		SKIP(return, "no procfs of a PID namespace");
	EXPECT_EQ(0, status);
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], OBEY_ARG))
		return obey_main(argc, argv);
	if (argc == 4 && !strcmp(argv[1], READER_ARG))
		return reader_waits(atoi(argv[2]), atoi(argv[3]));
	return test_harness_run(argc, argv);
}
