// SPDX-License-Identifier: GPL-2.0
/*
 * How an opener of /proc/<pid>/exithand gets at the watch of the process: the
 * counterpart of exithand_notify() in the exit path.
 */
#include <linux/errno.h>
#include <linux/exithand.h>
#include <linux/fs.h>
#include <linux/pid.h>
#include <linux/pid_namespace.h>
#include <linux/proc_fs.h>
#include <linux/rcupdate.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/seq_file.h>

#include "../exithand.h"
#include "../internal.h"

/**
 * exithand_find - look up the watch that a process already has
 * @inode: an inode below /proc/<pid>
 *
 * Context: RCU read-side critical section. It keeps the task that is found, so
 *          its signal_struct, so the reference that this owns, until the caller
 *          has taken one of its own.
 *
 * Return: The watch of the process that @inode is about. NULL if there is none,
 * or no such process; then exithand_attach() knows more.
 */
struct exithand_watch *exithand_find(const struct inode *inode)
{
	struct task_struct *leader = pid_task(proc_pid(inode), PIDTYPE_TGID);

	if (!leader)
		return NULL;

	/* Pairs with cmpxchg_release() in exithand_attach(). */
	return smp_load_acquire(&leader->signal->exithand);
}

/**
 * exithand_attach - have the exit of a process reported to a watch
 * @inode: an inode below /proc/<pid>
 * @new: a watch that no process has
 * @found: where to put the watch that the process already has
 * @status: where to put the status that the process has exited with
 *
 * The process is looked up under tasklist_lock, because an exec by another
 * thread replaces the leader: a task found earlier may be a former leader by
 * now, for which thread_group_empty() is false for ever, so that an exit which
 * has been gone through meanwhile would not be seen. The signal_struct stays
 * the same.
 *
 * tasklist_lock also decides between this and exithand_notify(), which has it
 * for writing:
 *
 * - exithand_attach() comes first: the flag is set when exithand_notify() tests
 *   it, and @new is told.
 * - exithand_notify() comes first: it has nothing to tell, and the process is
 *   seen here to have exited.
 *
 * That there is no leader is no proof of an exit: procfs takes the pid of an
 * inode some time after it has looked up the task, and if an exec comes in
 * between, that is the pid which the former leader was left with. So the VFS is
 * asked to look the name up again.
 *
 * Context: Process context, in an RCU read-side critical section for the sake of
 *          *@found, as with exithand_find(). Takes and releases tasklist_lock
 *          for reading.
 *
 * Return:
 * * %EXITHAND_ATTACHED	- @new is the watch of the process now. One reference to
 *			  it has been taken over; exithand_watch_exited() will be
 *			  called on exit, exithand_watch_put() after that.
 * * %EXITHAND_FOUND	- *@found is the watch of the process; @new was not taken.
 * * %EXITHAND_EXITED	- The process has exited with *@status; @new was not taken.
 * * %-EINVAL		- @inode is about a thread that is not a leader.
 * * %-EOPENSTALE	- @inode is about nobody any more, or about a former leader.
 */
int exithand_attach(const struct inode *inode, struct exithand_watch *new,
		    struct exithand_watch **found, int *status)
{
	struct pid *pid = proc_pid(inode);
	struct signal_struct *sig;
	struct task_struct *task;

	guard(read_lock)(&tasklist_lock);

	task = pid_task(pid, PIDTYPE_TGID);
	if (!task) {
		task = pid_task(pid, PIDTYPE_PID);
		if (task && READ_ONCE(task->exit_state) != EXIT_DEAD)
			return -EINVAL;
		return -EOPENSTALE;
	}

	/* This includes who was given up by make_task_dead(), without the lock. */
	if (READ_ONCE(task->exit_state) && thread_group_empty(task)) {
		*status = exithand_status(task);
		return EXITHAND_EXITED;
	}

	/*
	 * The release makes the contents of @new visible to whoever gets at it
	 * by an acquire: below, and in exithand_find(). A cmpxchg that fails
	 * orders nothing, hence the load.
	 */
	sig = task->signal;
	if (cmpxchg_release(&sig->exithand, NULL, new)) {
		/* Pairs with cmpxchg_release() above, by another opener. */
		*found = smp_load_acquire(&sig->exithand);
		return EXITHAND_FOUND;
	}

	/* For exithand_notify(), which has to wait until we drop the lock. */
	sig->exithand_is_interested = true;
	return EXITHAND_ATTACHED;
}

/**
 * exithand_show_pid - show in fdinfo which process a file is about
 * @m: the fdinfo file
 * @file: an open file, whose inode exithand_attach() or exithand_find() accepted
 *
 * The two lines are those of a pidfd, see pidfd_show_fdinfo(): the pid in the
 * pid namespace of the procfs that fdinfo is read in, then those in the
 * namespaces below that. 0 if it has none there, -1 once it has been reaped.
 *
 * The pid of the inode is that of the process for as long as there is either:
 * it had a PIDTYPE_TGID task, so it is signal->pids[PIDTYPE_TGID], which is set
 * by fork alone. An exec by another thread leaves that as it is. What de_thread()
 * replaces is the task on its lists: exchange_tids() makes the new leader the
 * PIDTYPE_PID task of this pid, transfer_pid() the PIDTYPE_TGID one. Neither
 * leaves a list empty for a moment, so -1 is not shown during an exec.
 */
void exithand_show_pid(struct seq_file *m, const struct file *file)
{
	struct pid_namespace *ns = proc_pid_ns(file_inode(m->file)->i_sb);
	struct pid *pid = proc_pid(file_inode(file));
	pid_t nr = -1;

	if (pid_has_task(pid, PIDTYPE_TGID))
		nr = pid_nr_ns(pid, ns);

	/*
	 * The watch is looked at next. If there is no task any more, it must be
	 * seen to have been told of the exit. Pairs with the release of
	 * tasklist_lock after exithand_notify(), and its acquisition for
	 * __unhash_process().
	 */
	smp_rmb();

	seq_put_decimal_ll(m, "Pid:\t", nr);
#ifdef CONFIG_PID_NS
	seq_put_decimal_ll(m, "\nNSpid:\t", nr);
	/* A number that is shown is the one at the level of @ns. */
	for (int i = ns->level + 1; nr > 0 && i <= pid->level; i++)
		seq_put_decimal_ll(m, "\t", pid->numbers[i].nr);
#endif
	seq_putc(m, '\n');
}
