// SPDX-License-Identifier: GPL-2.0
/*
 * The C half of /proc/<pid>/exithand. exithand_attach() is the counterpart of
 * exithand_notify() in the exit path.
 */
#include <linux/err.h>
#include <linux/exithand.h>
#include <linux/fs.h>
#include <linux/pid.h>
#include <linux/pid_namespace.h>
#include <linux/proc_fs.h>
#include <linux/ptrace.h>
#include <linux/rcupdate.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>

#include "../internal.h"
#include "exithand.h"

const struct file_operations proc_exithand_operations = {
	.open		= exithand_open,
	.release	= exithand_release,
	.read_iter	= exithand_read_iter,
	.poll		= exithand_poll,
	.show_fdinfo	= exithand_show_fdinfo,
};

/**
 * exithand_find - find the watch of a process
 * @inode: an inode below /proc/<pid>
 *
 * A missing leader does not prove an exit. procfs takes the PID of an inode some
 * time after it found the task. If a non-leader exec swaps PIDs in between, the
 * inode has the PID that the former leader got. -ESTALE makes the VFS look the
 * name up again. The former leader does not pass for a live thread: its exit_state
 * was set before exchange_tids() published it under that PID.
 *
 * Context: RCU read-side critical section. Until its end the task pins the
 *          signal_struct, which owns a reference to the watch.
 *
 * Return: The watch, or NULL if the process has none yet. -EINVAL if the PID is
 * that of a live thread which is not a leader. -ESTALE if the process was reaped,
 * the thread has exited, or @inode is stale.
 */
struct exithand_watch *exithand_find(const struct inode *inode)
{
	struct pid *pid = proc_pid(inode);
	struct task_struct *task = pid_task(pid, PIDTYPE_TGID);

	if (task) {
		/* Pairs with cmpxchg_release() in exithand_attach(). */
		return smp_load_acquire(&task->signal->exithand);
	}

	/*
	 * Without this, a reaped process could pass for a live thread. Pairs with
	 * tasklist_lock: exit_notify() sets exit_state under it, in an earlier
	 * section than __unhash_process().
	 */
	smp_rmb();

	task = pid_task(pid, PIDTYPE_PID);
	return ERR_PTR(task && !READ_ONCE(task->exit_state) ? -EINVAL : -ESTALE);
}

/**
 * exithand_attach - give a process its watch
 * @inode: an inode for which exithand_find() returned NULL
 * @new: a new watch
 *
 * Looks the task up again, under tasklist_lock. A task found earlier may be a
 * former leader by now, because of a non-leader exec. thread_group_empty() is
 * false for it forever, so an exit would be missed.
 *
 * exithand_notify() holds tasklist_lock for writing:
 *
 * - If this function gets the lock first, exithand_notify() sees
 *   exithand_is_interested.
 * - If exithand_notify() gets it first, this function sees the exit, and sets the
 *   latch of @new before anyone else can find it.
 *
 * Context: Process context, in an RCU read-side critical section for the returned
 *          watch, as for exithand_find(). Takes tasklist_lock for reading.
 *
 * Return: The watch of the process: @new, and then the process owns the caller's
 * reference to it; or the watch of another opener who came first. -ESTALE if the
 * process has been reaped.
 */
struct exithand_watch *exithand_attach(const struct inode *inode,
				       struct exithand_watch *new)
{
	struct signal_struct *sig;
	struct task_struct *task;
	bool exited;

	guard(read_lock)(&tasklist_lock);

	task = pid_task(proc_pid(inode), PIDTYPE_TGID);
	if (!task)
		return ERR_PTR(-ESTALE);

	/* make_task_dead() sets exit_state without the lock. */
	sig = task->signal;
	exited = READ_ONCE(task->exit_state) && thread_group_empty(task);
	if (exited)
		exithand_watch_exited(new, exithand_status(sig));

	/*
	 * The release orders the contents of @new before the pointer. It pairs
	 * with the acquire below and the one in exithand_find().
	 */
	if (cmpxchg_release(&sig->exithand, NULL, new)) {
		/* A cmpxchg that fails orders nothing. */
		return smp_load_acquire(&sig->exithand);
	}

	/* exithand_notify() reads this under tasklist_lock, after this section. */
	sig->exithand_is_interested = !exited;
	return new;
}

/**
 * exithand_may_see_status - check the right to see the exit status
 * @inode: an inode below /proc/<pid>
 *
 * This is the check of /proc/<pid>/stat for its exit_code. exithand_open() calls
 * this function before it calls exithand_find(). If that finds the process, so did
 * this function: a PID never gets a PIDTYPE_TGID task back.
 *
 * Context: Process context. Takes task_lock() of the leader.
 *
 * Return: Whether the caller may see the exit status of the process.
 */
bool exithand_may_see_status(const struct inode *inode)
{
	struct task_struct *task;

	guard(rcu)();

	task = pid_task(proc_pid(inode), PIDTYPE_TGID);
	return task && ptrace_may_access(task, PTRACE_MODE_READ_FSCREDS |
					       PTRACE_MODE_NOAUDIT);
}

/**
 * exithand_show_pid - show in fdinfo which process a file stands for
 * @m: the fdinfo file
 * @file: an open exithand file
 *
 * Tgid is the PID in the pid namespace of the procfs that fdinfo is read in: 0 if
 * the process has none there, -1 once it has been reaped. NStgid adds the PIDs in
 * the namespaces below. No line is named Pid: user space would take the file for a
 * pidfd.
 *
 * The inode has the PID in signal->pids[PIDTYPE_TGID], which only fork sets. A
 * non-leader exec replaces the tasks of this PID without leaving a list empty.
 */
void exithand_show_pid(struct seq_file *m, const struct file *file)
{
	struct pid_namespace *ns = proc_pid_ns(file_inode(m->file)->i_sb);
	struct pid *pid = proc_pid(file_inode(file));
	pid_t nr = -1;

	if (pid_has_task(pid, PIDTYPE_TGID))
		nr = pid_nr_ns(pid, ns);

	/*
	 * The caller reads the latch next, and must find it set if there is no
	 * task. Pairs with tasklist_lock, as in exithand_find().
	 */
	smp_rmb();

	seq_put_decimal_ll(m, "Tgid:\t", nr);
#ifdef CONFIG_PID_NS
	seq_put_decimal_ll(m, "\nNStgid:\t", nr);
	/* A PID that is not 0 or -1 is the one at the level of @ns. */
	for (int i = ns->level + 1; nr > 0 && i <= pid->level; i++)
		seq_put_decimal_ll(m, "\t", pid->numbers[i].nr);
#endif
	seq_putc(m, '\n');
}
