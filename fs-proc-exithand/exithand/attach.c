// SPDX-License-Identifier: GPL-2.0
/*
 * How an opener of /proc/<pid>/exithand gets at the watch of the process: the
 * counterpart of exithand_notify() in the exit path.
 */
#include <linux/errno.h>
#include <linux/pid.h>
#include <linux/rcupdate.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>

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
 *
 * The process is looked up under tasklist_lock, because an exec by another
 * thread replaces the leader: a task found earlier may be a former leader by
 * now, for which thread_group_empty() is false for ever. The signal_struct
 * stays the same.
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
 * * %EXITHAND_EXITED	- The process has exited; @new was not taken.
 * * %-EINVAL		- @inode is about a thread that is not a leader.
 * * %-EOPENSTALE	- @inode is about nobody any more, or about a former leader.
 */
int exithand_attach(const struct inode *inode, struct exithand_watch *new,
		    struct exithand_watch **found)
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

	if (READ_ONCE(task->exit_state) && thread_group_empty(task))
		return EXITHAND_EXITED;

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
