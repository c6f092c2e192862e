// SPDX-License-Identifier: GPL-2.0
/*
 * /proc/<pid>/exithand says when a process has exited, to anyone who may see
 * it in procfs.
 *
 * Here is shown what it is to a program.  file.*: what open, read, poll and
 * the other calls answer, before the exit, after it, and after the number of
 * the process is free again.  The other fixtures: what needs mounts and
 * namespaces, other users, or settings of the whole system.  What counts as an
 * exit is the matter of proc-exithand-events, and what happens at the same
 * time of proc-exithand-races.
 */
#define _GNU_SOURCE
#include <linux/posix_types.h>
#include <linux/aio_abi.h>
#include <dirent.h>
#include <sys/fanotify.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>

#include "proc-exithand.h"

/* Not in every installed header yet. */
#ifndef FAN_REPORT_FD_ERROR
#define FAN_REPORT_FD_ERROR 0x2000
#endif

/* The first argument of this program when it only waits on a file. */
#define READER_ARG "--read"

/*
 * The calls.
 */
FIXTURE(file)
{
	struct target t;
	struct watcher w, v;
	char group[64];		/* a cgroup that goes with the test */
};

FIXTURE_SETUP(file)
{
	signal(SIGPIPE, SIG_IGN);
	if (!exithand_needed(_metadata))
		return;
	target_start(_metadata, &self->t);
}

FIXTURE_TEARDOWN(file)
{
	target_end(&self->t);
	if (self->group[0])
		rmdir(self->group);
}

static int open_target(struct __test_metadata *_metadata, struct target *t,
		       int flags)
{
	int fd = exithand_open(t->pid, flags);

	ASSERT_LE(0, fd) TH_LOG("open: %s", strerror(-fd));
	return fd;
}

#define OPEN(flags) open_target(_metadata, &self->t, flags)

/* Ends the target, after which it is a zombie. */
static void target_zombie(struct __test_metadata *_metadata, struct target *t)
{
	ASSERT_EQ(0, kill(t->pid, SIGKILL));
	ASSERT_TRUE(eventually(leader_state(t->pid) == 'Z'));
}

/*
 * For calls that must not wait: if one does, the test ends here and not at its
 * time limit.
 */
static void calls_are_bounded(struct __test_metadata *_metadata)
{
	struct itimerval it = { .it_value.tv_sec = BOUND_MS / 1000 };

	ASSERT_EQ(0, setitimer(ITIMER_REAL, &it, NULL));
}

/* Evaluates to what the call returned, or to -errno. */
#define RET(call) ({ long __ret = (call); __ret < 0 ? -errno : __ret; })

/* The user and group that own nothing here. */
#define NOBODY 65534

static void become_nobody(void)
{
	if (setresgid(NOBODY, NOBODY, NOBODY) ||
	    setresuid(NOBODY, NOBODY, NOBODY))
		_exit(127);
	/* Cleared by the above. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static bool send_fd(int sock, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { .iov_base = "x", .iov_len = 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	return sendmsg(sock, &msg, 0) == 1;
}

static int recv_fd(int sock)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 }, c;
	struct iovec iov = { .iov_base = &c, .iov_len = 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	struct pollfd pfd = { .fd = sock, .events = POLLIN };
	int fd;

	if (poll(&pfd, 1, BOUND_MS) != 1 || recvmsg(sock, &msg, 0) != 1 ||
	    !CMSG_FIRSTHDR(&msg))
		return -1;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

/* What a child does with a file that it has got in some way; an exit code. */
static int child_waits(int fd)
{
	char c;

	if (poll_now(fd) != 0 || read_now(fd) != -EAGAIN)
		return 1;
	if (read(fd, &c, 1) != 0)
		return 2;
	return poll_now(fd) == POLL_EXITED && read_now(fd) == 0 ? 0 : 3;
}

/* The child sleeps in child_waits(), and returns from it with the exit. */
static void child_sees_exit(struct __test_metadata *_metadata,
			    struct target *t, pid_t child)
{
	int status = -1;

	ASSERT_TRUE(eventually(task_blocked(child, child)));
	ASSERT_EQ(0, waitpid(child, &status, WNOHANG));
	ASSERT_EQ(0, kill(t->pid, SIGKILL));
	ASSERT_TRUE(eventually(waitpid(child, &status, WNOHANG) == child))
		TH_LOG("the child still waits");
	EXPECT_EQ(0, status)
		TH_LOG("the child: wait status %#x", status);
}

TEST_F(file, is_regular_and_world_readable)
{
	struct stat st;
	char buf[8];
	int fd;

	fd = OPEN(O_RDONLY | O_NONBLOCK);
	ASSERT_EQ(0, fstat(fd, &st));
	EXPECT_EQ(S_IFREG | 0444, st.st_mode)
		TH_LOG("mode %#o", st.st_mode);
	EXPECT_EQ(0, st.st_size);

	/* Our own is like any other. */
	fd = open("/proc/self/exithand", O_RDONLY | O_NONBLOCK);
	ASSERT_LE(0, fd);
	EXPECT_EQ(-EAGAIN, RET(read(fd, buf, sizeof(buf))));
}

/* Programs that read every file of a directory never meet this one. */
TEST_F(file, is_found_but_not_listed)
{
	char path[2][32] = { "/proc/self" };
	struct dirent *entry;
	DIR *dir;
	int i, n;

	snprintf(path[1], sizeof(path[1]), "/proc/%d", self->t.pid);
	for (i = 0; i < ARRAY_SIZE(path); i++) {
		dir = opendir(path[i]);
		ASSERT_NE(NULL, dir);
		for (n = 0; (entry = readdir(dir)); n++)
			EXPECT_STRNE("exithand", entry->d_name);
		EXPECT_LT(20, n);
		EXPECT_EQ(0, faccessat(dirfd(dir), "exithand", R_OK, 0));
		closedir(dir);
	}
}

/* No listed file blocks a reader that did not ask for O_NONBLOCK. */
TEST_F(file, listed_files_can_be_read)
{
	DIR *dir = opendir("/proc/self");
	struct dirent *entry;
	char buf[4096];
	int fd, n = 0;

	ASSERT_NE(NULL, dir);
	calls_are_bounded(_metadata);
	while ((entry = readdir(dir))) {
		if (entry->d_type != DT_REG)
			continue;
		fd = openat(dirfd(dir), entry->d_name, O_RDONLY);
		/* Many of them fail, e.g. "mem" at address 0. */
		n += fd >= 0 && read(fd, buf, sizeof(buf)) >= 0;
		close(fd);
	}
	closedir(dir);
	EXPECT_LT(10, n);
}

/* Without any privilege, of a process of another user. */
TEST_F(file, other_user_waits)
{
	pid_t child, me = getpid();
	int status, fd;

	if (geteuid())
		SKIP(return, "needs root to become someone else");
	child = fork();
	ASSERT_LE(0, child);
	if (child == 0) {
		die_with_parent(me);
		if (setresgid(65534, 65534, 65534) ||
		    setresuid(65534, 65534, 65534) ||
		    kill(self->t.pid, 0) == 0)
			_exit(1);
		/* That has cleared it. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		fd = exithand_open(self->t.pid, O_RDONLY);
		if (fd < 0)
			_exit(-fd);
		_exit(poll_now(fd) == 0 && poll_bounded(fd) == POLL_EXITED &&
		      read_now(fd) == 0 ? 0 : 2);
	}
	ASSERT_TRUE(eventually(task_blocked(child, child)));
	ASSERT_EQ(0, kill(self->t.pid, SIGKILL));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
}

TEST_F(file, gone_is_enoent)
{
	target_gone(_metadata, &self->t);
	EXPECT_EQ(-ENOENT, exithand_open(self->t.pid, O_RDONLY));
	EXPECT_EQ(-ENOENT, exithand_open(self->t.pid, O_RDONLY | O_NONBLOCK));
}

/* The directory was opened in time, the file was not. */
TEST_F(file, gone_below_an_open_directory)
{
	char path[32];
	int dir, fd;

	snprintf(path, sizeof(path), "/proc/%d", self->t.pid);
	dir = open(path, O_PATH | O_DIRECTORY);
	ASSERT_LE(0, dir);
	fd = openat(dir, "exithand", O_RDONLY);
	ASSERT_LE(0, fd);
	target_gone(_metadata, &self->t);
	EXPECT_EQ(-ESRCH, RET(openat(dir, "exithand", O_RDONLY)));
}

/* @path leads to the file itself, not by way of the name of the process. */
static void open_again(struct __test_metadata *_metadata, struct target *t,
		       int fd, const char *path)
{
	int again;

	again = open(path, O_RDONLY);
	ASSERT_LE(0, again);
	EXPECT_EQ(0, poll_now(again));

	target_zombie(_metadata, t);
	expect_exited(_metadata, again);
	close(again);
	again = open(path, O_RDONLY);
	ASSERT_LE(0, again);
	expect_exited(_metadata, again);

	target_reap(_metadata, t);
	EXPECT_EQ(-ESTALE, RET(open(path, O_RDONLY)));
	expect_exited(_metadata, fd);
}

TEST_F(file, open_file_is_opened_again)
{
	int fd = OPEN(O_RDONLY);
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	open_again(_metadata, &self->t, fd, path);
}

TEST_F(file, bind_mount_is_opened_again)
{
	static const char on[] = "/proc/uptime";	/* any file will do */
	int fd = OPEN(O_RDONLY);
	char path[32];

	if (unshare(CLONE_NEWNS))
		SKIP(return, "no mount namespace: %s", strerror(errno));
	ASSERT_EQ(0, mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	snprintf(path, sizeof(path), "/proc/%d/exithand", self->t.pid);
	ASSERT_EQ(0, mount(path, on, NULL, MS_BIND, NULL))
		TH_LOG("mount: %s", strerror(errno));
	open_again(_metadata, &self->t, fd, on);
}

/*
 * fanotify opens the file when its event is read, without a lookup that could
 * turn an errno of the kernel's own (EOPENSTALE, 518) into ESTALE.
 */
TEST_F(file, fanotify_reports_a_known_errno)
{
	struct fanotify_event_metadata event;
	char path[32];
	int group;

	group = fanotify_init(FAN_CLASS_NOTIF | FAN_REPORT_FD_ERROR |
			      FAN_NONBLOCK, O_RDONLY);
	if (group < 0)
		SKIP(return, "no fanotify: %s", strerror(errno));
	snprintf(path, sizeof(path), "/proc/%d/exithand", self->t.pid);
	ASSERT_EQ(0, fanotify_mark(group, FAN_MARK_ADD, FAN_OPEN, AT_FDCWD,
				   path));
	OPEN(O_RDONLY);
	ASSERT_EQ(sizeof(event), read(group, &event, sizeof(event)));
	EXPECT_EQ(0, poll_now(event.fd));
	OPEN(O_RDONLY);
	target_gone(_metadata, &self->t);
	ASSERT_EQ(sizeof(event), read(group, &event, sizeof(event)));
	EXPECT_EQ(-ESTALE, event.fd);
}

/* procfs shows /proc/<tid> too, though not in the listing. */
TEST_F(file, thread_is_einval)
{
	pthread_t thread;
	char path[64];
	pid_t tid;

	ASSERT_TRUE(put_byte(self->t.in, DO_THREAD_WAIT));
	ASSERT_TRUE(get_obj(self->t.out, &tid, sizeof(tid)));
	EXPECT_EQ(-EINVAL, exithand_open(tid, O_RDONLY));
	EXPECT_EQ(-EINVAL, exithand_open(tid, O_RDONLY | O_NONBLOCK));
	EXPECT_LE(0, exithand_open(self->t.pid, O_RDONLY));
	/* Nor is it to be had now that the process is watched. */
	EXPECT_EQ(-EINVAL, exithand_open(tid, O_RDONLY));

	/* And there is none for each thread. */
	snprintf(path, sizeof(path), "/proc/%d/task/%d/exithand", self->t.pid,
		 tid);
	EXPECT_EQ(-ENOENT, RET(open(path, O_RDONLY)));
	snprintf(path, sizeof(path), "/proc/%d/task/%d/exithand", self->t.pid,
		 self->t.pid);
	EXPECT_EQ(-ENOENT, RET(open(path, O_RDONLY)));
	EXPECT_EQ(-ENOENT, RET(open("/proc/thread-self/exithand", O_RDONLY)));

	/* A thread of our own. */
	ASSERT_EQ(0, pthread_create(&thread, NULL, thread_pause, NULL));
	memset(&self->w, 0, sizeof(self->w));
	watcher_start(_metadata, &self->w, HOW_READ, self->t.pid);
	watcher_sleeps(_metadata, &self->w);
	EXPECT_EQ(-EINVAL, exithand_open(self->w.tid, O_RDONLY));
	EXPECT_LE(0, exithand_open(getpid(), O_RDONLY));
}

/* A thread that has exited, and is kept by its tracer, is no process either. */
TEST_F(file, dead_thread_is_no_process)
{
	pid_t tid;
	int fd;

	ASSERT_TRUE(put_byte(self->t.in, DO_THREAD_WAIT));
	ASSERT_TRUE(get_obj(self->t.out, &tid, sizeof(tid)));
	if (!attach(_metadata, PTRACE_SEIZE, tid, 0))
		return;
	target_do(_metadata, &self->t, DO_THREAD_WAIT);
	ASSERT_TRUE(eventually(task_state(self->t.pid, tid) == 'Z'));
	fd = exithand_open(tid, O_RDONLY);
	EXPECT_TRUE(fd == -EINVAL || fd == -ESTALE)
		TH_LOG("expected EINVAL or ESTALE, saw %d", fd);
	ASSERT_EQ(0, tracer_wait(tid));
	EXPECT_EQ(-ENOENT, exithand_open(tid, O_RDONLY));
}

TEST_F(file, kernel_thread_lives)
{
	char buf[512], *p;
	int fd;

	if (slurp(buf, sizeof(buf), "/proc/2/stat") <= 0)
		SKIP(return, "no process 2");
	p = strrchr(buf, ')');
	ASSERT_NE(NULL, p);
	/* ") S ppid pgrp session": kthreadd has none of them. */
	if (strncmp(p + 3, " 0 0 0 ", 7))
		SKIP(return, "process 2 is no kernel thread");
	fd = exithand_open(2, O_RDONLY);
	ASSERT_LE(0, fd) TH_LOG("open: %s", strerror(-fd));
	EXPECT_EQ(0, poll_now(fd));
	EXPECT_EQ(-EAGAIN, read_now(fd));
}

/*
 * A kernel thread that looks after the pressure triggers of one cgroup, or of
 * the system, and is none of the @nr in @known; 0 if there is none.
 */
static pid_t find_psimon(const pid_t *known, int nr)
{
	struct dirent *entry;
	char buf[512];
	pid_t pid = 0;
	DIR *dir;
	int i;

	dir = opendir("/proc");
	while (dir && !pid && (entry = readdir(dir))) {
		pid = atoi(entry->d_name);
		for (i = 0; i < nr; i++)
			if (known[i] == pid)
				pid = 0;
		if (pid &&
		    (slurp(buf, sizeof(buf), "/proc/%d/stat", pid) <= 0 ||
		     !strstr(buf, " (psimon) ") || !strstr(buf, ") S 2 ")))
			pid = 0;
	}
	if (dir)
		closedir(dir);
	return pid;
}

/* Of those, that of a cgroup of our own comes and goes at our will. */
TEST_F(file, kernel_thread_exits)
{
	static const char trigger[] = "some 150000 1000000";
	pid_t known[64], pid = 0;
	char path[96];
	int psi, nr = 0;

	snprintf(self->group, sizeof(self->group), "/sys/fs/cgroup/exithand-%d",
		 getpid());
	if (mkdir(self->group, 0755))
		SKIP(return, "no cgroup of our own: %s", strerror(errno));
	snprintf(path, sizeof(path), "%s/cpu.pressure", self->group);
	psi = open(path, O_RDWR | O_CLOEXEC);
	if (psi < 0)
		SKIP(return, "no %s: %s", path, strerror(errno));
	/* Others, udevd for one, may have theirs. */
	while (nr < 64 && (known[nr] = find_psimon(known, nr)))
		nr++;
	if (write(psi, trigger, sizeof(trigger)) < 0)
		SKIP(return, "no pressure trigger: %s", strerror(errno));
	ASSERT_TRUE(eventually((pid = find_psimon(known, nr)) != 0));
	watcher_start(_metadata, &self->w, HOW_READ, pid);
	watcher_start(_metadata, &self->v, HOW_POLL, pid);
	watcher_sleeps(_metadata, &self->w);
	watcher_sleeps(_metadata, &self->v);
	ASSERT_EQ(0, close(psi));
	watcher_returns(_metadata, &self->w);
	watcher_returns(_metadata, &self->v);
}

TEST_F(file, read_nonblock)
{
	char buf[8];
	int fd;

	calls_are_bounded(_metadata);
	fd = OPEN(O_RDONLY | O_NONBLOCK);
	EXPECT_EQ(-EAGAIN, RET(read(fd, buf, sizeof(buf))));
	EXPECT_EQ(-EAGAIN, RET(read(fd, buf, 1)));
	target_zombie(_metadata, &self->t);
	EXPECT_EQ(0, RET(read(fd, buf, sizeof(buf))));
	target_reap(_metadata, &self->t);
	EXPECT_EQ(0, RET(read(fd, buf, sizeof(buf))));
	expect_exited(_metadata, fd);
}

/* O_NONBLOCK belongs to the open file and can come and go. */
TEST_F(file, read_nonblock_by_fcntl)
{
	char buf[8];
	int fd;

	calls_are_bounded(_metadata);
	fd = OPEN(O_RDONLY);
	ASSERT_EQ(0, fcntl(fd, F_SETFL, O_NONBLOCK));
	EXPECT_EQ(-EAGAIN, RET(read(fd, buf, sizeof(buf))));
	ASSERT_EQ(0, fcntl(fd, F_SETFL, 0));
	watcher_start_fd(_metadata, &self->w, HOW_READ, fd);
	watcher_sleeps(_metadata, &self->w);
	ASSERT_EQ(0, kill(self->t.pid, SIGKILL));
	watcher_returns(_metadata, &self->w);
}

TEST_F(file, read_rwf_nowait)
{
	char buf[2][8];
	struct iovec iov[2] = {
		{ .iov_base = buf[0], .iov_len = sizeof(buf[0]) },
		{ .iov_base = buf[1], .iov_len = sizeof(buf[1]) },
	};
	int fd;

	calls_are_bounded(_metadata);
	fd = OPEN(O_RDONLY);
	EXPECT_EQ(-EAGAIN, RET(preadv2(fd, iov, 2, -1, RWF_NOWAIT)));
	target_zombie(_metadata, &self->t);
	EXPECT_EQ(0, RET(preadv2(fd, iov, 2, -1, RWF_NOWAIT)));
	EXPECT_EQ(0, RET(preadv2(fd, iov, 2, -1, 0)));
	EXPECT_EQ(0, RET(readv(fd, iov, 2)));
	target_reap(_metadata, &self->t);
	EXPECT_EQ(0, RET(preadv2(fd, iov, 2, -1, RWF_NOWAIT)));
}

/* Nothing is ever copied: a bad buffer is looked at by the system call alone. */
TEST_F(file, read_needs_no_buffer)
{
	int fd;

	fd = OPEN(O_RDONLY | O_NONBLOCK);
	EXPECT_EQ(-EAGAIN, RET(syscall(__NR_read, fd, 16, 100)));
	EXPECT_EQ(-EFAULT, RET(syscall(__NR_read, fd, -4096L, 100)));
	target_zombie(_metadata, &self->t);
	EXPECT_EQ(0, RET(syscall(__NR_read, fd, 16, 100)));
	EXPECT_EQ(-EFAULT, RET(syscall(__NR_read, fd, -4096L, 100)));
}

TEST_F(file, has_no_direct_io)
{
	EXPECT_EQ(-EINVAL, exithand_open(self->t.pid, O_RDONLY | O_DIRECT));
}

TEST_F(file, read_of_nothing_returns_at_once)
{
	struct iovec iov = { .iov_base = NULL, .iov_len = 0 };
	int fd, nb;
	char c;

	calls_are_bounded(_metadata);
	fd = OPEN(O_RDONLY);
	nb = OPEN(O_RDONLY | O_NONBLOCK);
	EXPECT_EQ(0, RET(read(fd, &c, 0)));
	EXPECT_EQ(0, RET(read(fd, NULL, 0)));
	EXPECT_EQ(0, RET(read(nb, &c, 0)));
	EXPECT_EQ(0, RET(readv(fd, &iov, 1)));
	EXPECT_EQ(0, RET(readv(fd, &iov, 0)));
	EXPECT_EQ(0, RET(preadv2(fd, &iov, 1, -1, RWF_NOWAIT)));
	/* It says nothing about the process. */
	EXPECT_EQ(-EAGAIN, read_now(fd));
	EXPECT_EQ(0, poll_now(fd));
}

static int handled;

static void handler(int sig)
{
	__atomic_add_fetch(&handled, 1, __ATOMIC_RELEASE);
}

static bool handled_once(void)
{
	return __atomic_load_n(&handled, __ATOMIC_ACQUIRE) == 1;
}

TEST_F(file, signal_interrupts_read)
{
	struct sigaction sa = { .sa_handler = handler };

	ASSERT_EQ(0, sigaction(SIGUSR1, &sa, NULL));
	watcher_start(_metadata, &self->w, HOW_READ, self->t.pid);
	watcher_sleeps(_metadata, &self->w);
	ASSERT_EQ(0, pthread_kill(self->w.thread, SIGUSR1));
	ASSERT_TRUE(watcher_join(&self->w));
	EXPECT_EQ(-EINTR, self->w.ret);
	EXPECT_TRUE(handled_once());

	/* That has spoilt nothing. */
	watcher_start_fd(_metadata, &self->w, HOW_READ,
			 self->w.fd);
	watcher_sleeps(_metadata, &self->w);
	ASSERT_EQ(0, kill(self->t.pid, SIGKILL));
	watcher_returns(_metadata, &self->w);
}

TEST_F(file, signal_restarts_read)
{
	struct sigaction sa = { .sa_handler = handler, .sa_flags = SA_RESTART };

	ASSERT_EQ(0, sigaction(SIGUSR1, &sa, NULL));
	watcher_start(_metadata, &self->w, HOW_READ, self->t.pid);
	watcher_sleeps(_metadata, &self->w);
	ASSERT_EQ(0, pthread_kill(self->w.thread, SIGUSR1));
	ASSERT_TRUE(eventually(handled_once()));
	watcher_waits(_metadata, &self->w, "a signal with SA_RESTART");
	ASSERT_EQ(0, kill(self->t.pid, SIGKILL));
	watcher_returns(_metadata, &self->w);
}

/* The reader, not the target, is stopped and continued. */
TEST_F(file, stopped_reader_reads_on)
{
	pid_t child, me = getpid();
	int fd, status;
	char c;

	fd = OPEN(O_RDONLY);
	child = fork();
	ASSERT_LE(0, child);
	if (child == 0) {
		die_with_parent(me);
		status = RET(read(fd, &c, 1));
		_exit(-status);
	}
	ASSERT_TRUE(eventually(task_blocked(child, child)));
	ASSERT_EQ(0, kill(child, SIGSTOP));
	ASSERT_EQ(child, waitpid(child, &status, WUNTRACED));
	ASSERT_TRUE(WIFSTOPPED(status));
	ASSERT_EQ(0, kill(child, SIGCONT));
	ASSERT_TRUE(eventually(task_blocked(child, child)));
	ASSERT_EQ(0, waitpid(child, &status, WNOHANG));
	ASSERT_EQ(0, kill(self->t.pid, SIGKILL));
	ASSERT_TRUE(eventually(waitpid(child, &status, WNOHANG) == child));
	EXPECT_EQ(0, status);
}

/* A tracer comes to the reader and leaves it, after which it reads on. */
TEST_F(file, traced_reader_reads_on)
{
	static const int requests[] = { PTRACE_SEIZE, PTRACE_ATTACH };
	pid_t child, me = getpid();
	int fd, i;

	fd = OPEN(O_RDONLY);
	child = fork();
	ASSERT_LE(0, child);
	if (child == 0) {
		die_with_parent(me);
		_exit(child_waits(fd));
	}
	for (i = 0; i < ARRAY_SIZE(requests); i++) {
		ASSERT_TRUE(eventually(task_blocked(child, child)));
		if (!attach(_metadata, requests[i], child, 0))
			return;
		if (requests[i] == PTRACE_SEIZE)
			ptrace(PTRACE_INTERRUPT, child, 0, 0);
		ASSERT_TRUE(WIFSTOPPED(tracer_wait(child)));
		ASSERT_EQ(0, ptrace(PTRACE_DETACH, child, 0, 0));
	}
	child_sees_exit(_metadata, &self->t, child);
}

/* ps -l and traces name the function that a reader waits in. */
TEST_F(file, reader_has_a_wchan)
{
	static const char name[] = "exithand_read_iter";
	char buf[128];

	watcher_start(_metadata, &self->w, HOW_READ, self->t.pid);
	watcher_sleeps(_metadata, &self->w);
	if (slurp(buf, sizeof(buf), "/proc/self/task/%d/wchan",
		  self->w.tid) <= 0 || !strcmp(buf, "0"))
		SKIP(return, "no wchan");
	EXPECT_EQ(0, strncmp(buf, name, strlen(name)))
		TH_LOG("wchan: %s", buf);
}

static bool is_frozen(const char *group)
{
	char buf[256];

	return slurp(buf, sizeof(buf), "%s/cgroup.events", group) > 0 &&
	       strstr(buf, "frozen 1");
}

/* It can be frozen, and what happens meanwhile is not lost. */
TEST_F(file, frozen_reader_reads_on)
{
	char group[64], procs[96], freeze[96], pid[16];
	pid_t child, me = getpid();
	int fd, status = -1;

	snprintf(group, sizeof(group), "/sys/fs/cgroup/exithand-%d", me);
	snprintf(procs, sizeof(procs), "%s/cgroup.procs", group);
	snprintf(freeze, sizeof(freeze), "%s/cgroup.freeze", group);
	fd = OPEN(O_RDONLY);
	child = fork();
	ASSERT_LE(0, child);
	if (child == 0) {
		die_with_parent(me);
		_exit(child_waits(fd));
	}
	if (mkdir(group, 0755))
		SKIP(return, "no cgroup of our own: %s", strerror(errno));
	/* Nothing below returns early: the group has to go. */
	snprintf(pid, sizeof(pid), "%d", child);
	EXPECT_TRUE(put_file(procs, pid));
	EXPECT_TRUE(eventually(task_blocked(child, child)));
	EXPECT_TRUE(put_file(freeze, "1"));
	EXPECT_TRUE(eventually(is_frozen(group)))
		TH_LOG("the reader does not freeze");
	EXPECT_EQ(0, kill(self->t.pid, SIGKILL));
	EXPECT_TRUE(eventually(leader_state(self->t.pid) == 'Z'));
	EXPECT_TRUE(is_frozen(group));
	EXPECT_EQ(0, waitpid(child, &status, WNOHANG));
	EXPECT_TRUE(put_file(freeze, "0"));
	EXPECT_TRUE(eventually(waitpid(child, &status, WNOHANG) == child));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, rmdir(group));
}

/*
 * Suspend, and the freezer of the first cgroups, which works like it, freeze a
 * task where it sleeps, if that is fit for it.  Any other they have to chase
 * out of the call, and it has to make it again afterwards.
 */
TEST_F(file, frozen_in_its_sleep)
{
	char dir[] = "/tmp/exithand-XXXXXX", buf[32];
	char group[64], procs[96], freeze[96], pid[16];
	pid_t child, me = getpid();
	int fd, status = -1;
	long sleeps;

	if (geteuid())
		SKIP(return, "needs root to mount the freezer");
	fd = OPEN(O_RDONLY);
	child = fork();
	ASSERT_LE(0, child);
	if (child == 0) {
		die_with_parent(me);
		_exit(child_waits(fd));
	}
	ASSERT_NE(NULL, mkdtemp(dir));
	if (mount("freezer", dir, "cgroup", 0, "freezer")) {
		rmdir(dir);
		SKIP(return, "no freezer: %s", strerror(errno));
	}
	/* Nothing below returns early: all of this has to go. */
	snprintf(group, sizeof(group), "%s/%d", dir, me);
	snprintf(procs, sizeof(procs), "%s/cgroup.procs", group);
	snprintf(freeze, sizeof(freeze), "%s/freezer.state", group);
	EXPECT_EQ(0, mkdir(group, 0755));
	snprintf(pid, sizeof(pid), "%d", child);
	EXPECT_TRUE(put_file(procs, pid));
	EXPECT_TRUE(eventually(task_blocked(child, child)));
	sleeps = task_sleeps(child, child);
	EXPECT_TRUE(put_file(freeze, "FROZEN"));
	EXPECT_TRUE(eventually(slurp(buf, sizeof(buf), "%s", freeze) > 0 &&
			       !strcmp(buf, "FROZEN\n")))
		TH_LOG("the reader does not freeze");
	EXPECT_TRUE(put_file(freeze, "THAWED"));
	EXPECT_TRUE(eventually(task_blocked(child, child)));
	EXPECT_EQ(sleeps, task_sleeps(child, child))
		TH_LOG("woken to be frozen");
	EXPECT_EQ(0, waitpid(child, &status, WNOHANG));
	EXPECT_EQ(0, kill(self->t.pid, SIGKILL));
	EXPECT_TRUE(eventually(waitpid(child, &status, WNOHANG) == child));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, rmdir(group));
	EXPECT_EQ(0, umount(dir));
	EXPECT_EQ(0, rmdir(dir));
}

/* A process that waits for itself waits for good, but can be killed. */
TEST_F(file, reader_of_itself_can_be_killed)
{
	pid_t child, me = getpid();
	int fd, status;
	char c;

	child = fork();
	ASSERT_LE(0, child);
	if (child == 0) {
		die_with_parent(me);
		fd = open("/proc/self/exithand", O_RDONLY);
		_exit(fd < 0 ? 1 : read(fd, &c, 1) ? 2 : 3);
	}
	ASSERT_TRUE(eventually(task_blocked(child, child)));
	fd = exithand_open(child, O_RDONLY);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, kill(child, SIGKILL));
	EXPECT_EQ(POLL_EXITED, poll_bounded(fd));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(SIGKILL, status);
}

TEST_F(file, has_no_position)
{
	char c;
	int fd, i;

	fd = OPEN(O_RDONLY | O_NONBLOCK);
	for (i = 0; i < 2; i++) {
		EXPECT_EQ(-ESPIPE, RET(lseek(fd, 0, SEEK_SET)));
		EXPECT_EQ(-ESPIPE, RET(lseek(fd, 0, SEEK_CUR)));
		EXPECT_EQ(-ESPIPE, RET(lseek(fd, 0, SEEK_END)));
		EXPECT_EQ(-ESPIPE, RET(pread(fd, &c, 1, 0)));
		EXPECT_EQ(-ESPIPE, RET(pread(fd, &c, 1, 1)));
		target_zombie(_metadata, &self->t);
	}
}

TEST_F(file, cannot_be_written)
{
	struct iovec iov = { .iov_base = "x", .iov_len = 1 };
	int fd;

	fd = OPEN(O_RDONLY);
	EXPECT_EQ(-EBADF, RET(write(fd, "x", 1)));
	EXPECT_EQ(-EBADF, RET(writev(fd, &iov, 1)));

	/* Mode 0444 keeps all but root from trying. */
	fd = exithand_open(self->t.pid, O_WRONLY);
	if (geteuid()) {
		EXPECT_EQ(-EACCES, fd);
		EXPECT_EQ(-EACCES, exithand_open(self->t.pid, O_RDWR));
	} else {
		ASSERT_LE(0, fd);
		EXPECT_EQ(-EINVAL, RET(write(fd, "x", 1)));
		EXPECT_EQ(-EINVAL, RET(writev(fd, &iov, 1)));
		EXPECT_EQ(-EBADF, RET(read(fd, &iov, 1)));
		fd = OPEN(O_RDWR);
		EXPECT_EQ(-EINVAL, RET(write(fd, "x", 1)));
		EXPECT_EQ(-EAGAIN, read_now(fd));
	}
}

TEST_F(file, cannot_be_spliced)
{
	int fd, i, p[2];
	off_t off;

	fd = OPEN(O_RDONLY | O_NONBLOCK);
	ASSERT_EQ(0, pipe2(p, O_CLOEXEC | O_NONBLOCK));
	for (i = 0; i < 2; i++) {
		EXPECT_EQ(-EINVAL, RET(splice(fd, NULL, p[1], NULL, 16,
					      SPLICE_F_NONBLOCK)));
		EXPECT_EQ(-EINVAL, RET(sendfile(p[1], fd, NULL, 16)));
		/* With an offset, each has its own word for that. */
		off = 0;
		EXPECT_EQ(-EINVAL, RET(splice(fd, &off, p[1], NULL, 16,
					      SPLICE_F_NONBLOCK)));
		EXPECT_EQ(-ESPIPE, RET(sendfile(p[1], fd, &off, 16)));
		target_zombie(_metadata, &self->t);
	}
	/* Neither the other way. */
	ASSERT_TRUE(put_byte(p[1], 'x'));
	EXPECT_EQ(-EBADF, RET(splice(p[0], NULL, fd, NULL, 16,
				     SPLICE_F_NONBLOCK)));
}

/* Unasked for, nothing is said: HUP and ERR would be. */
TEST_F(file, poll_never_hangs_up)
{
	struct pollfd pfd = { .events = 0 };
	int i;

	pfd.fd = OPEN(O_RDONLY);
	EXPECT_EQ(0, poll_now(pfd.fd));
	target_zombie(_metadata, &self->t);
	for (i = 0; i < 2; i++) {
		EXPECT_EQ(POLL_EXITED, poll_now(pfd.fd));
		pfd.events = 0;
		EXPECT_EQ(0, poll(&pfd, 1, 0));
		pfd.events = POLLOUT | POLLPRI | POLLRDBAND | POLLRDHUP;
		EXPECT_EQ(0, poll(&pfd, 1, 0));
		pfd.events = POLLIN;
		EXPECT_EQ(1, poll(&pfd, 1, 0));
		EXPECT_EQ(POLLIN, pfd.revents);
		pfd.events = POLLRDNORM;
		EXPECT_EQ(1, poll(&pfd, 1, 0));
		EXPECT_EQ(POLLRDNORM, pfd.revents);
		if (i == 0)
			target_reap(_metadata, &self->t);
	}
}

/* Takes what epoll has now; its events, 0 for nothing. */
static int epoll_now(int ep)
{
	struct epoll_event ev = { 0 };
	int ret = epoll_wait(ep, &ev, 1, 0);

	return ret < 0 ? -errno : ret == 1 ? ev.events : 0;
}

static int epoll_soon(int ep)
{
	struct epoll_event ev = { 0 };
	int ret = epoll_wait(ep, &ev, 1, BOUND_MS);

	return ret < 0 ? -errno : ret == 1 ? ev.events : 0;
}

static int epoll_of(struct __test_metadata *_metadata, int fd, __u32 flags)
{
	struct epoll_event ev = { .events = flags };
	int ep = epoll_create1(EPOLL_CLOEXEC);

	ASSERT_LE(0, ep);
	ASSERT_EQ(0, epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev));
	return ep;
}

#define EPOLL(fd, flags) epoll_of(_metadata, fd, flags)

TEST_F(file, epoll_level)
{
	int fd, ep;

	fd = OPEN(O_RDONLY);
	ep = EPOLL(fd, POLL_ALL);
	EXPECT_EQ(0, epoll_now(ep));
	ASSERT_EQ(0, kill(self->t.pid, SIGKILL));
	EXPECT_EQ(POLL_EXITED, epoll_soon(ep));
	EXPECT_EQ(POLL_EXITED, epoll_now(ep));
	target_reap(_metadata, &self->t);
	EXPECT_EQ(POLL_EXITED, epoll_now(ep));
}

/* One edge, and the reaping is not another. */
TEST_F(file, epoll_edge)
{
	int fd, ep;
	char c;

	calls_are_bounded(_metadata);
	fd = OPEN(O_RDONLY | O_NONBLOCK);
	ep = EPOLL(fd, POLL_ALL | EPOLLET);
	EXPECT_EQ(0, epoll_now(ep));
	EXPECT_EQ(-EAGAIN, RET(read(fd, &c, 1)));
	EXPECT_EQ(0, epoll_now(ep));
	ASSERT_EQ(0, kill(self->t.pid, SIGKILL));
	EXPECT_EQ(POLL_EXITED, epoll_soon(ep));
	EXPECT_EQ(0, epoll_now(ep));
	EXPECT_EQ(0, RET(read(fd, &c, 1)));
	target_reap(_metadata, &self->t);
	EXPECT_EQ(0, epoll_now(ep));
}

TEST_F(file, epoll_oneshot)
{
	struct epoll_event ev = { .events = POLL_ALL | EPOLLONESHOT };
	int fd, ep;

	fd = OPEN(O_RDONLY);
	ep = EPOLL(fd, POLL_ALL | EPOLLONESHOT);
	EXPECT_EQ(0, epoll_now(ep));
	ASSERT_EQ(0, kill(self->t.pid, SIGKILL));
	EXPECT_EQ(POLL_EXITED, epoll_soon(ep));
	EXPECT_EQ(0, epoll_now(ep));
	target_reap(_metadata, &self->t);
	EXPECT_EQ(0, epoll_now(ep));
	ASSERT_EQ(0, epoll_ctl(ep, EPOLL_CTL_MOD, fd, &ev));
	EXPECT_EQ(POLL_EXITED, epoll_now(ep));
	EXPECT_EQ(0, epoll_now(ep));
}

TEST_F(file, epoll_exclusive)
{
	int fd, ep[2];

	fd = OPEN(O_RDONLY);
	ep[0] = EPOLL(fd, EPOLLIN | EPOLLEXCLUSIVE);
	ep[1] = EPOLL(fd, EPOLLIN | EPOLLEXCLUSIVE);
	EXPECT_EQ(0, epoll_now(ep[0]));
	ASSERT_EQ(0, kill(self->t.pid, SIGKILL));
	EXPECT_EQ(EPOLLIN, epoll_soon(ep[0]) | epoll_soon(ep[1]));
}

TEST_F(file, epoll_added_late_and_deleted_early)
{
	struct epoll_event ev = { .events = POLL_ALL };
	int fd, ep, other;

	fd = OPEN(O_RDONLY);
	ep = EPOLL(fd, POLL_ALL);
	ASSERT_EQ(0, epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL));
	other = EPOLL(fd, POLL_ALL);
	ASSERT_EQ(0, kill(self->t.pid, SIGKILL));
	/* Who hears of it has heard it after the one who must not. */
	EXPECT_EQ(POLL_EXITED, epoll_soon(other));
	EXPECT_EQ(0, epoll_now(ep));
	ASSERT_EQ(0, epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev));
	EXPECT_EQ(POLL_EXITED, epoll_now(ep));
	/* The last close takes it out again. */
	close(fd);
	EXPECT_EQ(0, epoll_now(ep));
	EXPECT_EQ(0, epoll_now(other));
}

/* The wake-up goes through one epoll file to another. */
TEST_F(file, epoll_nested)
{
	int fd, ep, outer;

	fd = OPEN(O_RDONLY);
	ep = EPOLL(fd, POLL_ALL);
	outer = EPOLL(ep, EPOLLIN);
	EXPECT_EQ(0, epoll_now(outer));
	ASSERT_EQ(0, kill(self->t.pid, SIGKILL));
	EXPECT_EQ(EPOLLIN, epoll_soon(outer));
	EXPECT_EQ(POLL_EXITED, epoll_now(ep));
}

/* Closed while epoll is in the queue; then the target exits. */
TEST_F(file, closed_below_epoll)
{
	int fd, ep, other;

	fd = OPEN(O_RDONLY);
	other = OPEN(O_RDONLY);
	ep = EPOLL(fd, POLL_ALL | EPOLLET);
	close(fd);
	ASSERT_EQ(0, kill(self->t.pid, SIGKILL));
	EXPECT_EQ(POLL_EXITED, poll_bounded(other));
	EXPECT_EQ(0, epoll_now(ep));
}

/*
 * An exit wakes those who wait for it.  Who has asked for other events is not
 * woken, because the wake-up says which it is; nor is who waits for another
 * process.  Nobody could tell but from how often they have slept.
 */
TEST_F(file, wakes_only_who_waits_for_it)
{
	struct target other = { 0 };
	struct watcher same = { 0 };
	int fd;

	target_start(_metadata, &other);

	/* Waits for other events of the same process. */
	fd = OPEN(O_RDONLY);
	self->w = (struct watcher) {
		.how = HOW_POLL, .fd = fd, .events = POLLPRI,
	};
	ASSERT_EQ(0, pthread_create(&self->w.thread, NULL, watcher_main,
				    &self->w));
	watcher_sleeps(_metadata, &self->w);

	/* Waits for the exit of another process. */
	watcher_start(_metadata, &self->v, HOW_POLL, other.pid);
	watcher_sleeps(_metadata, &self->v);

	/* Waits for this. */
	watcher_start(_metadata, &same, HOW_POLL, self->t.pid);
	watcher_sleeps(_metadata, &same);

	ASSERT_EQ(0, kill(self->t.pid, SIGKILL));
	watcher_returns(_metadata, &same);
	/* All of them were woken at the same time, if at all. */
	watcher_waits(_metadata, &self->w, "an event that it did not ask for");
	EXPECT_EQ(self->w.sleeps, task_sleeps(getpid(), self->w.tid))
		TH_LOG("woken by an event that it did not ask for");
	watcher_waits(_metadata, &self->v, "the exit of another process");
	EXPECT_EQ(self->v.sleeps, task_sleeps(getpid(), self->v.tid))
		TH_LOG("woken by the exit of another process");

	ASSERT_EQ(0, kill(other.pid, SIGKILL));
	watcher_returns(_metadata, &self->v);
	target_end(&other);
}

/*
 * Were the file an ordinary one, the first reader would hold the lock of its
 * position, and the others wait for that lock, asleep too deeply to be killed.
 */
TEST_F(file, many_threads_read_one_file)
{
	struct watcher w[5];
	int fd, i;

	fd = OPEN(O_RDONLY);
	for (i = 0; i < ARRAY_SIZE(w); i++)
		watcher_start_fd(_metadata, &w[i],
				 i == 4 ? HOW_POLL : HOW_READ, fd);
	for (i = 0; i < ARRAY_SIZE(w); i++)
		watcher_sleeps(_metadata, &w[i]);
	/* Nor does anyone else who uses the file wait behind them. */
	EXPECT_EQ(-ESPIPE, RET(lseek(fd, 0, SEEK_SET)));
	EXPECT_EQ(-EAGAIN, read_now(fd));

	ASSERT_EQ(0, kill(self->t.pid, SIGKILL));
	for (i = 0; i < ARRAY_SIZE(w); i++)
		watcher_returns(_metadata, &w[i]);
}

/* One of several readers leaves; the others are as before. */
TEST_F(file, signal_interrupts_one_reader_of_many)
{
	struct sigaction sa = { .sa_handler = handler };
	struct watcher w[3];
	int fd, i;

	ASSERT_EQ(0, sigaction(SIGUSR1, &sa, NULL));
	fd = OPEN(O_RDONLY);
	for (i = 0; i < ARRAY_SIZE(w); i++) {
		watcher_start_fd(_metadata, &w[i], HOW_READ, fd);
		watcher_sleeps(_metadata, &w[i]);
	}
	ASSERT_EQ(0, pthread_kill(w[1].thread, SIGUSR1));
	ASSERT_TRUE(watcher_join(&w[1]));
	EXPECT_EQ(-EINTR, w[1].ret);
	watcher_waits(_metadata, &w[0], "a signal for another thread");
	watcher_waits(_metadata, &w[2], "a signal for another thread");
	ASSERT_EQ(0, kill(self->t.pid, SIGKILL));
	watcher_returns(_metadata, &w[0]);
	watcher_returns(_metadata, &w[2]);
}

/* The wait goes on: the file is open as long as the call. */
TEST_F(file, closed_under_a_reader)
{
	int fd, copy;

	fd = OPEN(O_RDONLY);
	watcher_start_fd(_metadata, &self->w, HOW_READ, fd);
	watcher_sleeps(_metadata, &self->w);
	ASSERT_EQ(0, close(fd));
	watcher_waits(_metadata, &self->w, "close");

	copy = OPEN(O_RDONLY);
	watcher_start_fd(_metadata, &self->v, HOW_READ, copy);
	watcher_sleeps(_metadata, &self->v);
	ASSERT_EQ(copy, dup2(STDIN_FILENO, copy));
	watcher_waits(_metadata, &self->v, "dup2");

	ASSERT_EQ(0, kill(self->t.pid, SIGKILL));
	ASSERT_TRUE(watcher_join(&self->w));
	EXPECT_EQ(0, self->w.ret);
	ASSERT_TRUE(watcher_join(&self->v));
	EXPECT_EQ(0, self->v.ret);
}

TEST_F(file, duplicates_are_one)
{
	int fd, copy;

	fd = OPEN(O_RDONLY);
	copy = dup(fd);
	ASSERT_LE(0, copy);
	EXPECT_EQ(0, poll_now(copy));
	close(fd);
	EXPECT_EQ(0, poll_now(copy));
	watcher_start_fd(_metadata, &self->w, HOW_READ, copy);
	watcher_sleeps(_metadata, &self->w);
	ASSERT_EQ(0, kill(self->t.pid, SIGKILL));
	watcher_returns(_metadata, &self->w);
}

TEST_F(file, inherited_by_fork)
{
	pid_t child, me = getpid();
	int fd = OPEN(O_RDONLY);

	child = fork();
	ASSERT_LE(0, child);
	if (child == 0) {
		die_with_parent(me);
		_exit(child_waits(fd));
	}
	child_sees_exit(_metadata, &self->t, child);
	expect_exited(_metadata, fd);
}

TEST_F(file, passed_over_a_socket)
{
	pid_t child, me = getpid();
	int fd, sock[2];

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, sock));
	child = fork();
	ASSERT_LE(0, child);
	if (child == 0) {
		die_with_parent(me);
		fd = recv_fd(sock[1]);
		if (!put_byte(sock[1], 'y'))
			_exit(4);
		_exit(child_waits(fd));
	}
	fd = OPEN(O_RDONLY);
	ASSERT_TRUE(send_fd(sock[0], fd));
	ASSERT_EQ('y', get_byte(sock[0]));
	/* Now only the child holds it. */
	close(fd);
	child_sees_exit(_metadata, &self->t, child);
}

/* The holder execs; the file is not close-on-exec. */
TEST_F(file, kept_through_exec)
{
	pid_t child, me = getpid();
	char path[32], arg[16];
	int fd;

	fd = OPEN(O_RDONLY);
	ASSERT_EQ(0, fcntl(fd, F_SETFD, 0));
	child = fork();
	ASSERT_LE(0, child);
	if (child == 0) {
		die_with_parent(me);
		snprintf(arg, sizeof(arg), "%d", fd);
		execl("/proc/self/exe", "exithand-reader", READER_ARG, arg,
		      NULL);
		_exit(120);
	}
	/* The image has changed when it sleeps in the read. */
	ASSERT_TRUE(eventually(slurp(path, sizeof(path), "/proc/%d/cmdline",
				     child) > 0 &&
			       !strcmp(path, "exithand-reader")));
	child_sees_exit(_metadata, &self->t, child);
}

TEST_F(file, open_without_a_free_descriptor)
{
	struct rlimit old, lim;
	int fd;

	fd = OPEN(O_RDONLY);
	ASSERT_EQ(0, getrlimit(RLIMIT_NOFILE, &old));
	lim = old;
	lim.rlim_cur = 0;
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &lim));
	EXPECT_EQ(-EMFILE, exithand_open(self->t.pid, O_RDONLY));
	EXPECT_EQ(-EMFILE, exithand_open(self->t.keeper, O_RDONLY));
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &old));
	/* What was open is, and what failed can be done again. */
	EXPECT_EQ(0, poll_now(fd));
	EXPECT_EQ(0, poll_now(OPEN(O_RDONLY)));
	ASSERT_EQ(0, kill(self->t.pid, SIGKILL));
	EXPECT_EQ(POLL_EXITED, poll_bounded(fd));
}

/*
 * A memory cgroup without memory.
 *
 * The kernel reports each time on its console that it found nobody to kill.
 */
#define MEM_FILES	8192
#define MEM_PROCESSES	8
#define MEM_STACK	(8 << 10)

struct mem {
	int ready[2], go[2];
	pid_t pid[MEM_PROCESSES + 1];	/* the last one is watched already */
	/* What open said: at last; of one not opened before; and afterwards. */
	int full[MEM_PROCESSES], first[MEM_PROCESSES], again[MEM_PROCESSES];
	unsigned int files;
};

/* Runs in the group.  A page fault would be stuck, so there must be none. */
static int mem_opener(struct mem *m)
{
	static int fds[MEM_FILES];
	struct rlimit lim = { MEM_FILES + 64, MEM_FILES + 64 };
	int i, fd;

	/* Nor shall the table of files grow. */
	if (setrlimit(RLIMIT_NOFILE, &lim) ||
	    dup2(m->go[0], MEM_FILES + 32) < 0 ||
	    !put_file("/proc/self/oom_score_adj", "-1000") ||
	    mlockall(MCL_CURRENT))
		return 1;
	if (!put_byte(m->ready[1], 0) || get_byte(m->go[0]) < 0)
		return 2;

	for (i = 0; i < MEM_PROCESSES; i++) {
		do {
			fd = exithand_open(m->pid[MEM_PROCESSES], O_RDONLY);
			if (fd >= 0)
				fds[m->files++] = fd;
		} while (fd >= 0 && m->files < MEM_FILES);
		m->full[i] = fd;
		if (m->files == 0)
			return 3;
		/* Room for a file, and not for what its first open needs. */
		close(fds[--m->files]);
		m->first[i] = exithand_open(m->pid[i], O_RDONLY);
	}
	if (!put_byte(m->ready[1], 0) || get_byte(m->go[0]) < 0)
		return 4;

	for (i = 0; i < MEM_PROCESSES; i++)
		m->again[i] = exithand_open(m->pid[i], O_RDONLY);
	if (!put_byte(m->ready[1], 0))
		return 5;
	/* All of these are told. */
	for (i = 0; i < MEM_PROCESSES; i++)
		if (m->again[i] >= 0 && poll_bounded(m->again[i]) != POLL_EXITED)
			return 6;
	for (fd = 0; (unsigned int)fd < m->files; fd++)
		if (poll_bounded(fds[fd]) != POLL_EXITED)
			return 7;
	return 0;
}

static bool mem_limit(const char *group, const char *limit)
{
	char path[96];
	int fd;
	bool ok;

	/* With O_NONBLOCK nobody is killed for it before it is reached. */
	snprintf(path, sizeof(path), "%s/memory.max", group);
	fd = open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK);
	ok = fd >= 0 && write(fd, limit, strlen(limit)) > 0;
	close(fd);
	return ok;
}

static bool mem_answer(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	return poll(&pfd, 1, BOUND_MS) == 1 && get_byte(fd) == 0;
}

TEST_F(file, open_without_memory_in_the_cgroup)
{
	static const char root[] = "/sys/fs/cgroup";
	char group[64], path[96], buf[256];
	int i, failed = 0, status = -1;
	pid_t child, me = getpid();
	struct stat st;
	struct mem *m;
	char *stacks;
	bool was_on;

	if (geteuid())
		SKIP(return, "needs root to set a limit");
	m = mmap(NULL, sizeof(*m), PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	stacks = malloc((MEM_PROCESSES + 1) * MEM_STACK);
	ASSERT_TRUE(m != MAP_FAILED && stacks);
	ASSERT_EQ(0, pipe(m->ready));
	ASSERT_EQ(0, pipe(m->go));
	for (i = 0; i <= MEM_PROCESSES; i++) {
		m->pid[i] = clone(paused_target, stacks + (i + 1) * MEM_STACK,
				  CLONE_VM | SIGCHLD, NULL);
		ASSERT_LT(0, m->pid[i]);
		/* What the lookup needs is not what this is about. */
		snprintf(path, sizeof(path), "/proc/%d/exithand", m->pid[i]);
		ASSERT_EQ(0, stat(path, &st));
	}
	ASSERT_LE(0, exithand_open(m->pid[MEM_PROCESSES], O_RDONLY));

	snprintf(path, sizeof(path), "%s/cgroup.subtree_control", root);
	if (slurp(buf, sizeof(buf), "%s", path) < 0)
		SKIP(return, "no cgroups: %s", strerror(errno));
	was_on = strstr(buf, "memory");
	if (!was_on && !put_file(path, "+memory"))
		SKIP(return, "no memory cgroup: %s", strerror(errno));
	snprintf(group, sizeof(group), "%s/exithand-%d", root, me);
	EXPECT_EQ(0, mkdir(group, 0755));

	snprintf(path, sizeof(path), "%s/cgroup.procs", group);
	child = fork();
	if (child == 0) {
		die_with_parent(me);
		_exit(put_file(path, "0") ? mem_opener(m) : 9);
	}
	EXPECT_LT(0, child);
	EXPECT_TRUE(mem_answer(m->ready[0]));
	EXPECT_LT(0, slurp(buf, sizeof(buf), "%s/memory.current", group));
	EXPECT_TRUE(mem_limit(group, buf));
	EXPECT_TRUE(put_byte(m->go[1], 0) && mem_answer(m->ready[0]))
		TH_LOG("the opener does not come back");
	EXPECT_TRUE(mem_limit(group, "max"));
	EXPECT_TRUE(put_byte(m->go[1], 0) && mem_answer(m->ready[0]));

	for (i = 0; i < MEM_PROCESSES; i++) {
		EXPECT_EQ(-ENOMEM, m->full[i])
			TH_LOG("open of many files: %s",
			       m->full[i] < 0 ? strerror(-m->full[i]) :
						"there was memory");
		EXPECT_TRUE(m->first[i] >= 0 || m->first[i] == -ENOMEM)
			TH_LOG("open: %s", strerror(-m->first[i]));
		failed += m->first[i] == -ENOMEM;
		EXPECT_LE(0, m->again[i])
			TH_LOG("open with memory: %s", strerror(-m->again[i]));
	}
	EXPECT_LT(0, failed);
	ksft_print_msg("%u files more, %d of %d first opens failed\n",
		       m->files, failed, MEM_PROCESSES);
	for (i = 0; i <= MEM_PROCESSES; i++)
		kill(m->pid[i], SIGKILL);
	if (child > 0 &&
	    !eventually(waitpid(child, &status, WNOHANG) == child)) {
		kill(child, SIGKILL);
		waitpid(child, &status, 0);
	}
	EXPECT_EQ(0, status) TH_LOG("the opener: wait status %#x", status);
	/* Nothing above returns early: all of this has to go. */
	EXPECT_TRUE(eventually(!rmdir(group)));
	if (!was_on) {
		snprintf(path, sizeof(path), "%s/cgroup.subtree_control", root);
		EXPECT_TRUE(put_file(path, "-memory"));
	}
}

/* The answer, within bounds; -ETIME if there is none. */
static int ring_soon(struct ring *r, struct io_uring_cqe *cqe)
{
	if (!eventually(ring_enter(r, false, 0) >= 0 && ring_get(r, cqe)))
		return -ETIME;
	return cqe->res;
}

TEST_F(file, uring_poll_multishot)
{
	struct io_uring_cqe cqe;
	struct ring ring;
	int fd;

	if (!ring_usable())
		SKIP(return, "no io_uring");
	ring_open(_metadata, &ring);
	fd = OPEN(O_RDONLY);
	ring_poll(&ring, fd, POLL_ALL)->len = IORING_POLL_ADD_MULTI;
	ASSERT_EQ(1, ring_enter(&ring, true, 0));
	ASSERT_EQ(0, kill(self->t.pid, SIGSTOP));
	ASSERT_EQ(0, kill(self->t.pid, SIGCONT));
	target_do(_metadata, &self->t, DO_EXEC_THREAD);
	ASSERT_EQ(0, ring_enter(&ring, false, 0));
	EXPECT_FALSE(ring_get(&ring, &cqe))
		TH_LOG("answer %d before the exit", cqe.res);

	ASSERT_EQ(0, kill(self->t.pid, SIGKILL));
	EXPECT_EQ(POLL_EXITED, ring_soon(&ring, &cqe));
	EXPECT_TRUE(cqe.flags & IORING_CQE_F_MORE);
	/* Armed still, and nothing more to come: the reaping is no event. */
	target_reap(_metadata, &self->t);
	ASSERT_EQ(0, ring_enter(&ring, false, 0));
	EXPECT_FALSE(ring_get(&ring, &cqe))
		TH_LOG("answer %d after the reaping", cqe.res);
	ring_close(&ring);
}

TEST_F(file, uring_poll_after_exit)
{
	struct io_uring_cqe cqe;
	struct ring ring;
	int fd;

	if (!ring_usable())
		SKIP(return, "no io_uring");
	ring_open(_metadata, &ring);
	fd = OPEN(O_RDONLY);
	target_gone(_metadata, &self->t);
	ring_poll(&ring, fd, POLL_ALL);
	ASSERT_EQ(1, ring_enter(&ring, true, 0));
	EXPECT_EQ(POLL_EXITED, ring_soon(&ring, &cqe));
	ring_close(&ring);
}

/*
 * A read that cannot be answered is armed as a poll: no EAGAIN, with
 * O_NONBLOCK neither, and no kernel thread that waits in its place.
 */
static void uring_read(struct __test_metadata *_metadata, struct target *t,
		       int fd)
{
	struct io_uring_cqe cqe;
	char buf[4096];
	struct ring ring;

	if (!ring_usable())
		SKIP(return, "no io_uring");
	ring_open(_metadata, &ring);
	ring_read(&ring, fd, buf, 16);
	ASSERT_EQ(1, ring_enter(&ring, true, 0));
	target_do(_metadata, t, DO_ANSWER);
	ASSERT_EQ(0, ring_enter(&ring, false, 0));
	EXPECT_FALSE(ring_get(&ring, &cqe))
		TH_LOG("answer %d before the exit", cqe.res);
	ASSERT_LT(0, slurp(buf, sizeof(buf), "/proc/self/status"));
	EXPECT_NE(NULL, strstr(buf, "\nThreads:\t1\n"))
		TH_LOG("the read waits in a thread of its own");

	ASSERT_EQ(0, kill(t->pid, SIGKILL));
	EXPECT_EQ(0, ring_soon(&ring, &cqe));
	ring_close(&ring);
}

TEST_F(file, uring_read)
{
	uring_read(_metadata, &self->t, OPEN(O_RDONLY));
}

TEST_F(file, uring_read_nonblock)
{
	uring_read(_metadata, &self->t, OPEN(O_RDONLY | O_NONBLOCK));
}

/* Asked not to wait, not even for poll. */
TEST_F(file, uring_read_rwf_nowait)
{
	struct io_uring_cqe cqe;
	struct ring ring;
	char buf[16];
	int fd, i;

	if (!ring_usable())
		SKIP(return, "no io_uring");
	ring_open(_metadata, &ring);
	fd = OPEN(O_RDONLY);
	for (i = 0; i < 2; i++) {
		ring_read(&ring, fd, buf, sizeof(buf))->rw_flags = RWF_NOWAIT;
		ASSERT_EQ(1, ring_enter(&ring, true, 0));
		EXPECT_EQ(i ? 0 : -EAGAIN, ring_soon(&ring, &cqe));
		target_zombie(_metadata, &self->t);
	}
	ring_close(&ring);
}

/* Told to use a thread at once. */
TEST_F(file, uring_read_async)
{
	struct io_uring_cqe cqe;
	struct ring ring;
	char buf[16];
	int fd;

	if (!ring_usable())
		SKIP(return, "no io_uring");
	ring_open(_metadata, &ring);
	fd = OPEN(O_RDONLY);
	ring_read(&ring, fd, buf, sizeof(buf))->flags = IOSQE_ASYNC;
	ASSERT_EQ(1, ring_enter(&ring, true, 0));
	target_do(_metadata, &self->t, DO_ANSWER);
	ASSERT_EQ(0, ring_enter(&ring, false, 0));
	EXPECT_FALSE(ring_get(&ring, &cqe))
		TH_LOG("answer %d before the exit", cqe.res);
	ASSERT_EQ(0, kill(self->t.pid, SIGKILL));
	EXPECT_EQ(0, ring_soon(&ring, &cqe));
	ring_close(&ring);
}

/* To io_uring a read of 0 bytes is a short one, which ends a chain of links. */
TEST_F(file, uring_links)
{
	static const struct {
		int op, flags;
		int first, second;	/* the answers */
	} row[] = {
		{ IORING_OP_READ, IOSQE_IO_LINK, 0, -ECANCELED },
		{ IORING_OP_READ, IOSQE_IO_HARDLINK, 0, 0 },
		{ IORING_OP_POLL_ADD, IOSQE_IO_LINK, POLL_EXITED, 0 },
	};
	struct ring ring[ARRAY_SIZE(row)];
	struct io_uring_sqe *sqe;
	struct io_uring_cqe cqe;
	int fd, i, j;
	char c;

	if (!ring_usable())
		SKIP(return, "no io_uring");
	fd = OPEN(O_RDONLY);
	for (i = 0; i < ARRAY_SIZE(row); i++) {
		ring_open(_metadata, &ring[i]);
		if (row[i].op == IORING_OP_READ) {
			sqe = ring_read(&ring[i], fd, &c, 1);
			/* Unlike pread(), it takes any offset. */
			sqe->off = 1;
		} else {
			sqe = ring_poll(&ring[i], fd, POLL_ALL);
		}
		sqe->flags = row[i].flags;
		ring_next(&ring[i], IORING_OP_NOP, -1)->user_data = 1;
		ASSERT_EQ(2, ring_enter(&ring[i], true, 0));
		EXPECT_FALSE(ring_get(&ring[i], &cqe))
			TH_LOG("row %d: answer %d before the exit", i, cqe.res);
	}
	ASSERT_EQ(0, kill(self->t.pid, SIGKILL));
	for (i = 0; i < ARRAY_SIZE(row); i++) {
		for (j = 0; j < 2; j++) {
			ASSERT_NE(-ETIME, ring_soon(&ring[i], &cqe));
			EXPECT_EQ(cqe.user_data ? row[i].second : row[i].first,
				  cqe.res)
				TH_LOG("row %d, answer %d", i, j);
		}
		ring_close(&ring[i]);
	}
}

/* A listening socket of that name, -1 if the name is taken. */
static int listen_as(pid_t pid)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	/* An abstract name, which is free with the last reference. */
	snprintf(addr.sun_path + 1, sizeof(addr.sun_path) - 1, "exithand-%d",
		 pid);
	if (!bind(fd, (void *)&addr, sizeof(addr)) && !listen(fd, 1))
		return fd;
	close(fd);
	return -1;
}

static bool can_listen_as(pid_t pid)
{
	int fd = listen_as(pid);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* Files registered with io_uring are put by a workqueue, perhaps after EOF. */
TEST_F(file, uring_puts_registered_files_later)
{
	pid_t child, me = getpid();
	struct ring ring;
	int fd, sock, p[2];
	__u64 start;

	if (!ring_usable())
		SKIP(return, "no io_uring");
	ASSERT_EQ(0, pipe(p));
	child = fork();
	ASSERT_LE(0, child);
	if (child == 0) {
		die_with_parent(me);
		ring_open(_metadata, &ring);
		sock = listen_as(me);
		if (syscall(__NR_io_uring_register, ring.ring_fd,
			    IORING_REGISTER_FILES, &sock, 1) || close(sock) ||
		    !put_byte(p[1], 'y'))
			_exit(1);
		thread_pause(NULL);
	}
	ASSERT_EQ('y', get_byte(p[0]));
	EXPECT_FALSE(can_listen_as(me));
	fd = exithand_open(child, O_RDONLY);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, kill(child, SIGKILL));
	ASSERT_EQ(POLL_EXITED, poll_bounded(fd));
	start = now_ns();
	if (can_listen_as(me)) {
		TH_LOG("the name is free at the event");
		return;
	}
	EXPECT_TRUE(eventually(can_listen_as(me)));
	TH_LOG("the name is free %llu us after the event",
	       (now_ns() - start) / 1000);
}

/* Unlike IOCB_CMD_POLL, a read of POSIX AIO's kernel side waits in io_submit(). */
TEST_F(file, aio_read_waits_in_submit)
{
	struct iocb iocb = { .aio_lio_opcode = IOCB_CMD_PREAD };
	pid_t child, me = getpid();
	struct iocb *list = &iocb;
	struct io_event event = { .res = -1 };
	struct timespec ts = { 0 };
	aio_context_t ctx = 0;
	char buf[16];

	if (syscall(__NR_io_setup, 1, &ctx))
		SKIP(return, "no AIO: %s", strerror(errno));
	iocb.aio_fildes = OPEN(O_RDONLY);
	iocb.aio_buf = (uintptr_t)buf;
	iocb.aio_nbytes = sizeof(buf);
	child = fork();
	ASSERT_LE(0, child);
	if (child == 0) {
		die_with_parent(me);
		/* A context is not inherited. */
		ctx = 0;
		_exit(syscall(__NR_io_setup, 1, &ctx) ||
		      syscall(__NR_io_submit, ctx, 1, &list) != 1 ||
		      syscall(__NR_io_getevents, ctx, 0, 1, &event, &ts) != 1 ||
		      event.res);
	}
	child_sees_exit(_metadata, &self->t, child);
}

/* POSIX AIO's kernel side is told in the middle of the exit, too. */
TEST_F(file, aio_poll)
{
	struct iocb iocb = { .aio_lio_opcode = IOCB_CMD_POLL };
	struct timespec ts = { 0 }, bound = { .tv_sec = BOUND_MS / 1000 };
	struct iocb *list = &iocb;
	struct io_event event = { 0 };
	aio_context_t ctx = 0;

	if (syscall(__NR_io_setup, 1, &ctx))
		SKIP(return, "no AIO: %s", strerror(errno));
	iocb.aio_fildes = OPEN(O_RDONLY);
	iocb.aio_buf = POLL_ALL;
	ASSERT_EQ(1, syscall(__NR_io_submit, ctx, 1, &list));
	ASSERT_EQ(0, kill(self->t.pid, SIGSTOP));
	ASSERT_EQ(0, kill(self->t.pid, SIGCONT));
	target_do(_metadata, &self->t, DO_EXEC_THREAD);
	EXPECT_EQ(0, syscall(__NR_io_getevents, ctx, 0, 1, &event, &ts));
	ASSERT_EQ(0, kill(self->t.pid, SIGKILL));
	ASSERT_EQ(1, syscall(__NR_io_getevents, ctx, 1, 1, &event, &bound));
	EXPECT_EQ(POLL_EXITED, event.res);
	EXPECT_EQ(0, syscall(__NR_io_destroy, ctx));
}

/* A request that waits is taken back, and the target exits afterwards. */
TEST_F(file, uring_poll_cancelled)
{
	struct io_uring_cqe cqe[2];
	struct ring ring;
	int fd, i;

	if (!ring_usable())
		SKIP(return, "no io_uring");
	ring_open(_metadata, &ring);
	fd = OPEN(O_RDONLY);
	ring_poll(&ring, fd, POLL_ALL)->user_data = 1;
	ASSERT_EQ(1, ring_enter(&ring, true, 0));
	ring_next(&ring, IORING_OP_POLL_REMOVE, -1)->addr = 1;
	ASSERT_EQ(1, ring_enter(&ring, true, 0));
	for (i = 0; i < 2; i++) {
		ring_soon(&ring, &cqe[i]);
		EXPECT_EQ(cqe[i].user_data ? -ECANCELED : 0, cqe[i].res);
	}
	target_gone(_metadata, &self->t);
	ASSERT_EQ(0, ring_enter(&ring, false, 0));
	EXPECT_FALSE(ring_get(&ring, &cqe[0]));
	ring_close(&ring);
}

/* The ring is closed with a request that waits, before the target exits. */
TEST_F(file, uring_closed_with_poll_armed)
{
	struct ring ring;
	int fd, other;

	if (!ring_usable())
		SKIP(return, "no io_uring");
	ring_open(_metadata, &ring);
	fd = OPEN(O_RDONLY);
	other = OPEN(O_RDONLY);
	ring_poll(&ring, fd, POLL_ALL);
	ASSERT_EQ(1, ring_enter(&ring, true, 0));
	ring_close(&ring);
	close(fd);
	ASSERT_EQ(0, kill(self->t.pid, SIGKILL));
	EXPECT_EQ(POLL_EXITED, poll_bounded(other));
}

/*
 * Mounts of procfs that do not show everything.
 */
FIXTURE(mounts)
{
	struct target t;
};

FIXTURE_VARIANT(mounts)
{
	const char *options;
	int error;		/* of an open by someone else */
	int cached;		/* the same, when the lookup is cached */
};

FIXTURE_VARIANT_ADD(mounts, plain)
{
	.options = NULL,
};

FIXTURE_VARIANT_ADD(mounts, hidepid_noaccess)
{
	.options = "hidepid=noaccess", .error = -EPERM, .cached = -EPERM,
};

FIXTURE_VARIANT_ADD(mounts, hidepid_invisible)
{
	.options = "hidepid=invisible", .error = -ENOENT, .cached = -ENOENT,
};

FIXTURE_VARIANT_ADD(mounts, hidepid_ptraceable)
{
	.options = "hidepid=ptraceable", .error = -ENOENT, .cached = -EPERM,
};

FIXTURE_VARIANT_ADD(mounts, subset_pid)
{
	.options = "subset=pid",
};

FIXTURE_SETUP(mounts)
{
	signal(SIGPIPE, SIG_IGN);
	if (!exithand_needed(_metadata))
		return;
	if (geteuid())
		SKIP(return, "needs root to mount and to become someone else");
	if (unshare(CLONE_NEWNS))
		SKIP(return, "no mount namespace: %s", strerror(errno));
	ASSERT_EQ(0, mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	target_start(_metadata, &self->t);
}

FIXTURE_TEARDOWN(mounts)
{
	target_end(&self->t);
}

/* Who may see the process is decided at open; the open file works on. */
TEST_F(mounts, decide_at_open)
{
	pid_t child, me = getpid();
	int before, after, fd;

	before = OPEN(O_RDONLY);
	ASSERT_EQ(0, mount("proc", "/proc", "proc", 0, variant->options))
		TH_LOG("mount: %s", strerror(errno));
	after = OPEN(O_RDONLY);

	child = fork();
	ASSERT_LE(0, child);
	if (child == 0) {
		die_with_parent(me);
		become_nobody();
		fd = exithand_open(self->t.pid, O_RDONLY);
		if (fd >= 0 && poll_now(fd) != 0)
			_exit(10);
		fd = fd < 0 ? fd : 0;
		EXPECT_TRUE(fd == variant->error || fd == variant->cached)
			TH_LOG("expected %d or %d, saw %d", variant->error,
			       variant->cached, fd);
		if (poll_now(before) || read_now(before) != -EAGAIN)
			_exit(11);
		_exit(child_waits(after));
	}
	/* The child is not hidden from root. */
	child_sees_exit(_metadata, &self->t, child);
	expect_exited(_metadata, before);
	expect_exited(_metadata, after);
}

/* Files of two instances, of which one is gone, are about one process. */
TEST_F(mounts, all_see_the_exit)
{
	int first, second, third;

	first = OPEN(O_RDONLY);
	ASSERT_EQ(0, mount("proc", "/proc", "proc", 0, variant->options));
	second = OPEN(O_RDONLY);
	ASSERT_EQ(0, umount2("/proc", MNT_DETACH));
	third = OPEN(O_RDONLY);
	EXPECT_EQ(0, poll_now(first) | poll_now(second) | poll_now(third));
	ASSERT_EQ(0, kill(self->t.pid, SIGKILL));
	EXPECT_EQ(POLL_EXITED, poll_bounded(second));
	/* One process, one exit, no second step. */
	EXPECT_EQ(POLL_EXITED, poll_now(first));
	EXPECT_EQ(POLL_EXITED, poll_now(third));
	expect_exited(_metadata, second);
}

/*
 * Pid namespaces, made with a user namespace if that is what it takes.
 */
FIXTURE(pidns)
{
	struct target t;
	pid_t init;		/* of the namespace, our child */
	int sock[2];		/* ours, its */
};

static bool userns_enter(void)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	char map[32];

	if (unshare(CLONE_NEWUSER))
		return false;
	snprintf(map, sizeof(map), "0 %u 1", uid);
	if (!put_file("/proc/self/uid_map", map) ||
	    !put_file("/proc/self/setgroups", "deny"))
		return false;
	snprintf(map, sizeof(map), "0 %u 1", gid);
	return put_file("/proc/self/gid_map", map);
}

/* Goes on in the init process of the namespace, with a procfs of it. */
static void pidns_enter(struct __test_metadata *_metadata, int *sock,
			void (*body)(struct __test_metadata *_metadata,
				     int sock))
{
	die_with_parent(0);
	ASSERT_EQ(1, getpid());
	ASSERT_EQ(0, unshare(CLONE_NEWNS));
	ASSERT_EQ(0, mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	ASSERT_EQ(0, mount("proc", "/proc", "proc", 0, NULL))
		TH_LOG("mount: %s", strerror(errno));
	close(sock[0]);
	body(_metadata, sock[1]);
	_exit(0);
}

FIXTURE_SETUP(pidns)
{
	signal(SIGPIPE, SIG_IGN);
	if (!exithand_needed(_metadata))
		return;
	target_start(_metadata, &self->t);
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, self->sock));
	if (geteuid() && !userns_enter())
		SKIP(return, "no user namespace: %s", strerror(errno));
	if (unshare(CLONE_NEWPID))
		SKIP(return, "no pid namespace: %s", strerror(errno));
}

FIXTURE_TEARDOWN(pidns)
{
	target_end(&self->t);
	if (self->init > 0) {
		kill(self->init, SIGKILL);
		waitpid(self->init, NULL, 0);
	}
}

/* The init process of the namespace runs @body. */
static void pidns_start(struct __test_metadata *_metadata, pid_t *init,
			int *sock,
			void (*body)(struct __test_metadata *_metadata,
				     int sock))
{
	*init = fork();
	ASSERT_LE(0, *init);
	if (*init == 0)
		pidns_enter(_metadata, sock, body);
	close(sock[1]);
}

static void pidns_ends(struct __test_metadata *_metadata, pid_t *init)
{
	int status = -1;

	ASSERT_TRUE(eventually(waitpid(*init, &status, WNOHANG) == *init));
	*init = 0;
	EXPECT_EQ(0, status) TH_LOG("wait status %#x", status);
}

#define PIDNS(body) pidns_start(_metadata, &self->init, self->sock, body)

static pid_t fork_pausing(void)
{
	pid_t parent = getpid(), pid = fork();

	if (pid == 0) {
		die_with_parent(parent);
		thread_pause(NULL);
	}
	return pid;
}

/* A child with the number that it should have. */
static pid_t fork_numbered(pid_t nr)
{
	struct clone_args args = {
		.exit_signal = SIGCHLD,
		.set_tid = (uintptr_t)&nr,
		.set_tid_size = 1,
	};
	pid_t pid = sys_clone3(&args);

	if (pid == 0)
		thread_pause(NULL);
	return pid < 0 ? -errno : pid;
}

static void recycle(struct __test_metadata *_metadata, int sock)
{
	int fd, dir, again, ret;
	char path[32];
	pid_t pid;

	pid = fork_pausing();
	ASSERT_LT(0, pid);
	fd = exithand_open(pid, O_RDONLY);
	ASSERT_LE(0, fd);
	snprintf(path, sizeof(path), "/proc/%d", pid);
	dir = open(path, O_PATH | O_DIRECTORY);
	ASSERT_LE(0, dir);
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, NULL, 0));

	ret = fork_numbered(pid);
	ASSERT_EQ(pid, ret) TH_LOG("clone3: %s", strerror(-ret));

	/* The one is dead, */
	expect_exited(_metadata, fd);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	EXPECT_EQ(-ESTALE, RET(open(path, O_RDONLY)));
	EXPECT_EQ(-ESRCH, RET(openat(dir, "exithand", O_RDONLY)));
	/* the other lives. */
	again = exithand_open(pid, O_RDONLY);
	ASSERT_LE(0, again);
	EXPECT_EQ(0, poll_now(again));
	EXPECT_EQ(-EAGAIN, read_now(again));
	ASSERT_EQ(0, kill(pid, SIGKILL));
	EXPECT_EQ(POLL_EXITED, poll_bounded(again));
	expect_exited(_metadata, again);
}

TEST_F(pidns, recycled_number)
{
	PIDNS(recycle);
	pidns_ends(_metadata, &self->init);
}

/* Sends a file of a process in the namespace, and a pidfd to name it by. */
static void show_child(struct __test_metadata *_metadata, int sock)
{
	pid_t pid = fork_pausing();
	int fd;

	ASSERT_LT(0, pid);
	fd = exithand_open(pid, O_RDONLY);
	ASSERT_LE(0, fd);
	ASSERT_TRUE(send_fd(sock, fd));
	ASSERT_TRUE(send_fd(sock, pidfd_of(pid)));
	get_byte(sock);
	thread_pause(NULL);
}

static pid_t pid_of_pidfd(int fd)
{
	char buf[512], *p;

	if (slurp(buf, sizeof(buf), "/proc/self/fdinfo/%d", fd) <= 0)
		return -1;
	p = strstr(buf, "Pid:");
	return p ? atoi(p + 4) : -1;
}

/* Whichever procfs and number it was opened by, it is the same process. */
TEST_F(pidns, seen_from_inside_and_outside)
{
	int inside, outside, pidfd;
	pid_t pid;

	PIDNS(show_child);
	inside = recv_fd(self->sock[0]);
	ASSERT_LE(0, inside);
	pidfd = recv_fd(self->sock[0]);
	ASSERT_LE(0, pidfd);
	pid = pid_of_pidfd(pidfd);
	ASSERT_LT(1, pid);
	outside = exithand_open(pid, O_RDONLY);
	ASSERT_LE(0, outside);
	EXPECT_EQ(0, poll_now(inside));
	EXPECT_EQ(0, poll_now(outside));
	ASSERT_EQ(0, kill(pid, SIGKILL));
	EXPECT_EQ(POLL_EXITED, poll_bounded(outside));
	EXPECT_EQ(POLL_EXITED, poll_now(inside));
	expect_exited(_metadata, inside);
}

/* The exit of init is the last one in its namespace. */
TEST_F(pidns, init_exits_last)
{
	int child, init;

	PIDNS(show_child);
	child = recv_fd(self->sock[0]);
	ASSERT_LE(0, child);
	init = exithand_open(self->init, O_RDONLY);
	ASSERT_LE(0, init);
	EXPECT_EQ(0, poll_now(child) | poll_now(init));
	ASSERT_EQ(0, kill(self->init, SIGKILL));
	EXPECT_EQ(POLL_EXITED, poll_bounded(init));
	EXPECT_EQ(POLL_EXITED, poll_now(child));
}

/* Waits for a process that has no number here. */
static void wait_for_stranger(struct __test_metadata *_metadata, int sock)
{
	int fd = recv_fd(sock);

	ASSERT_LE(0, fd);
	EXPECT_EQ(0, poll_now(fd));
	EXPECT_EQ(-EAGAIN, read_now(fd));
	ASSERT_TRUE(put_byte(sock, 'y'));
	EXPECT_EQ(POLL_EXITED, poll_bounded(fd));
	expect_exited(_metadata, fd);
}

TEST_F(pidns, outside_process_seen_from_inside)
{
	int fd = OPEN(O_RDONLY);

	PIDNS(wait_for_stranger);
	ASSERT_TRUE(send_fd(self->sock[0], fd));
	ASSERT_EQ('y', get_byte(self->sock[0]));
	ASSERT_EQ(0, kill(self->t.pid, SIGKILL));
	pidns_ends(_metadata, &self->init);
	expect_exited(_metadata, fd);
}

/*
 * A core dump that takes its time.
 */
FIXTURE(core)
{
	struct target t;
	struct watcher w, v;
	struct core_socket sock;
};

FIXTURE_SETUP(core)
{
	signal(SIGPIPE, SIG_IGN);
	if (!exithand_needed(_metadata))
		return;
	if (!core_socket_open(_metadata, &self->sock))
		SKIP(return, "cannot have cores sent to a socket: %s",
		     strerror(errno));
	target_start(_metadata, &self->t);
	core_socket_not_for_us(_metadata);
}

FIXTURE_TEARDOWN_PARENT(core)
{
	core_socket_close(&self->sock);
}

TEST_F(core, dump_is_none_until_it_is_over)
{
	int fd;

	watcher_start(_metadata, &self->w, HOW_READ, self->t.pid);
	watcher_start(_metadata, &self->v, HOW_POLL, self->t.pid);
	target_do(_metadata, &self->t, DO_STORM);
	watcher_sleeps(_metadata, &self->w);
	watcher_sleeps(_metadata, &self->v);

	ASSERT_TRUE(put_byte(self->t.in, DO_ABORT));
	/* What it has sent is the question how to go on. */
	fd = core_socket_accept(_metadata, &self->sock);
	watcher_quiet(_metadata, &self->w, "a core dump");
	watcher_quiet(_metadata, &self->v, "a core dump");
	exithand_quiet(_metadata, self->t.pid, "a core dump");
	/* No answer: it exits. */
	close(fd);
	watcher_returns(_metadata, &self->w);
	watcher_returns(_metadata, &self->v);
	EXPECT_EQ(SIGSEGV, target_reap(_metadata, &self->t) & 0x7f);
	target_end(&self->t);
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], OBEY_ARG))
		return obey_main(argc, argv);
	if (argc == 3 && !strcmp(argv[1], READER_ARG))
		return child_waits(atoi(argv[2]));
	return test_harness_run(argc, argv);
}
