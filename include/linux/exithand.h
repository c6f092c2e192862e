/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Hooks of /proc/<pid>/exithand for the exit path and for the end of a
 * signal_struct.
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
 * exithand_status - get the exit status of a process that has exited
 * @sig: the signal_struct of the process
 *
 * wait_task_zombie() reports the same value. The last thread to pass
 * synchronize_group_exit() found quick_threads at zero, so SIGNAL_GROUP_EXIT is
 * set and the leader's exit_code does not count. Nothing writes group_exit_code
 * any more:
 *
 * - The threads wrote it under siglock, or in zap_pid_ns_processes() without,
 *   and each of them then took tasklist_lock for writing in exit_notify(). This
 *   includes a timer signal that do_sigaction() requeues.
 * - A signal from elsewhere does not write it once SIGNAL_GROUP_EXIT is set and
 *   core_state is NULL: see prepare_signal(). coredump_finish() cleared
 *   core_state before the dumping thread exited.
 * - wait_task_stopped() clears it only with SIGNAL_STOP_STOPPED, which
 *   SIGNAL_GROUP_EXIT replaced.
 *
 * A leader that oopses in do_exit() may never reach exit_notify():
 * make_task_dead() gives it up. Its status is then not reliable.
 *
 * Context: The caller holds tasklist_lock and has found, under it, that the
 *          leader has exited and that no other thread is left.
 *
 * Return: The status as wait(2) reports it.
 */
static inline int exithand_status(const struct signal_struct *sig)
{
	lockdep_assert_held(&tasklist_lock);

	return sig->group_exit_code;
}

/**
 * exithand_notify - report the exit of a process to its watch
 * @tsk: a task for which do_notify_parent() is called
 *
 * Does nothing unless the process has a watch, the exit has not been reported,
 * and the process has exited: @tsk is the leader, it has exited, and all other
 * threads have been released. thread_group_empty() is false for every thread
 * but the leader.
 *
 * Context: The caller holds tasklist_lock for writing. exithand_attach() holds it
 *          for reading. So either this function sees exithand_is_interested, or
 *          exithand_attach() sees the exit.
 */
static inline void exithand_notify(struct task_struct *tsk)
{
	struct signal_struct *sig = tsk->signal;

	lockdep_assert_held_write(&tasklist_lock);

	if (unlikely(sig->exithand_is_interested) && thread_group_empty(tsk)) {
		sig->exithand_is_interested = false;
		exithand_watch_exited(sig->exithand, exithand_status(sig));
	}
}

/**
 * exithand_free - drop the reference of a process to its watch
 * @sig: a signal_struct that is about to be freed
 *
 * Context: Any context in which put_task_struct() may run, softirq included. Does
 *          not sleep. No lock is needed: nobody can find @sig any more.
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
