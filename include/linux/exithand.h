/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What exit and the end of a signal_struct have to do for those who wait on
 * /proc/<pid>/exithand.
 */
#ifndef _LINUX_EXITHAND_H
#define _LINUX_EXITHAND_H

#include <linux/sched/signal.h>

#ifdef CONFIG_PROC_EXITHAND

#include <linux/lockdep.h>
#include <linux/sched/task.h>

struct exithand_watch;

/* fs/proc/exithand/glue.rs */
void exithand_watch_exited(struct exithand_watch *watch, int status);
void exithand_watch_put(struct exithand_watch *watch);

/**
 * exithand_status - the exit status of a process that has exited as a whole
 * @leader: its leader
 *
 * The same as wait_task_zombie() makes of it, and for good. group_exit_code is
 * written by threads of the process, of which none runs any more; by the sender
 * of a signal, which prepare_signal() drops, as SIGNAL_GROUP_EXIT is set and who
 * dumped core has been released; and by who waits for a stop, which there is
 * not.
 *
 * exit_code alone would not do. What a leader takes along to do_exit() is not
 * the end of the matter if it exits, or waits for a core dump, before others.
 * It counts only for who was given up by make_task_dead().
 *
 * Context: tasklist_lock held, under which @leader was found to have exited and
 *          to be the only thread left. Others write the fields under siglock,
 *          which each thread took in synchronize_group_exit() before it took
 *          tasklist_lock in exit_notify().
 *
 * Return: A status as from wait(2).
 */
static inline int exithand_status(struct task_struct *leader)
{
	struct signal_struct *sig = leader->signal;

	lockdep_assert_held(&tasklist_lock);

	return (sig->flags & SIGNAL_GROUP_EXIT) ? sig->group_exit_code :
						  leader->exit_code;
}

/**
 * exithand_notify - tell the watch of a process that the process has exited
 * @tsk: a task that do_notify_parent() is called for
 *
 * Does nothing unless the process is watched, has not been reported yet, and
 * has exited as a whole: @tsk is its leader, has exited itself, and every other
 * thread has been released. thread_group_empty() is false for all other
 * threads.
 *
 * Context: tasklist_lock held by write_lock_irq(). Pairs with exithand_attach(),
 *          which holds it for reading: either the flag is seen here, or the
 *          exit is seen there.
 */
static inline void exithand_notify(struct task_struct *tsk)
{
	struct signal_struct *sig = tsk->signal;

	lockdep_assert_held_write(&tasklist_lock);

	if (unlikely(sig->exithand_is_interested) && thread_group_empty(tsk)) {
		sig->exithand_is_interested = false;
		exithand_watch_exited(sig->exithand, exithand_status(tsk));
	}
}

/**
 * exithand_free - give a process's watch back
 * @sig: a signal_struct that is about to be freed
 *
 * Context: Any, like that of put_task_struct(); does not sleep. Nobody can look
 *          @sig up any more, so no lock is needed.
 */
static inline void exithand_free(struct signal_struct *sig)
{
	if (unlikely(sig->exithand))
		exithand_watch_put(sig->exithand);
}

#else /* !CONFIG_PROC_EXITHAND */

static inline void exithand_notify(struct task_struct *tsk) { }
static inline void exithand_free(struct signal_struct *sig) { }

#endif /* !CONFIG_PROC_EXITHAND */

#endif /* _LINUX_EXITHAND_H */
