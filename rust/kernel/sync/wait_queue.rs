// SPDX-License-Identifier: GPL-2.0

//! Wait queues.
//!
//! Tasks sleep on a wait queue until a condition holds, and `poll(2)` and its variants register
//! with it. The condition itself lives elsewhere, usually in an atomic beside the queue.
//!
//! C header: [`include/linux/wait.h`](srctree/include/linux/wait.h)

use super::{
    barrier::{
        smp_mb,
        Full, //
    },
    poll::PollEvents,
    LockClassKey, //
};
use crate::{
    bindings,
    error::to_result,
    prelude::*,
    task::{
        might_sleep,
        MAX_SCHEDULE_TIMEOUT,
        TASK_FREEZABLE,
        TASK_INTERRUPTIBLE,
        TASK_NORMAL, //
    },
    types::Opaque, //
};
use core::ptr;

/// Creates a [`WaitQueue`] initializer with the given name and a newly-created lock class.
#[macro_export]
macro_rules! new_wait_queue {
    ($($name:literal)?) => {
        $crate::sync::WaitQueue::new(
            $crate::optional_name!($($name)?), $crate::static_lock_class!()
        )
    };
}
pub use new_wait_queue;

/// A queue of sleeping tasks and of poll registrations.
///
/// Exposes the kernel's [`struct wait_queue_head`]. In contrast to [`CondVar`], it is not tied to a
/// lock: the condition is a closure that is evaluated without one, tasks wait non-exclusively, and
/// a wake-up carries the poll events that it stands for.
///
/// Instances of [`WaitQueue`] need a lock class and to be pinned. The recommended way to create
/// such instances is with the [`pin_init`](pin_init::pin_init!) and [`new_wait_queue`] macros.
///
/// # Ordering
///
/// No wake-up is lost if the waking side makes the condition true *before* it calls a wake-up
/// method, and the condition is read with an atomic.
///
/// A waiter queues itself, passes a full barrier, and then evaluates the condition. The barrier is
/// in `set_current_state()` for a task that sleeps, and in `poll_wait()` for a poller. The waker
/// stores, passes the full barrier in [`WaitQueue::wake_up_all_poll`], and then checks whether the
/// queue is empty. So either the waker finds the waiter, or the waiter's evaluation sees the store.
///
/// A poller that is in the queue already may evaluate the condition again without queuing itself.
/// `poll(2)` after a wake-up and `epoll_ctl(2)` with `EPOLL_CTL_MOD` do so. They store that they
/// want to be woken again, pass a full barrier, and evaluate. The barrier pairs with the waker's,
/// too. `epoll_wait(2)`, io_uring and AIO have a lock or an atomic of their
/// own for this.
///
/// # Invariants
///
/// `inner` is an initialized `struct wait_queue_head`. Every entry in it is either on the stack of
/// a task inside a wait method of this queue, which removes it before it returns, or was put there
/// by code that guarantees to remove it before the queue goes away.
///
/// # Examples
///
/// ```
/// use kernel::sync::{
///     atomic::{
///         Acquire,
///         Atomic,
///         Release, //
///     },
///     new_wait_queue,
///     poll::PollEvent,
///     WaitQueue, //
/// };
///
/// /// A gate that opens once.
/// #[pin_data]
/// struct Gate {
///     open: Atomic<u32>,
///     #[pin]
///     waiters: WaitQueue,
/// }
///
/// impl Gate {
///     fn new() -> impl PinInit<Self> {
///         pin_init!(Self {
///             open: Atomic::new(0),
///             waiters <- new_wait_queue!("Gate::waiters"),
///         })
///     }
///
///     fn open(&self) {
///         self.open.store(1, Release);
///         self.waiters.wake_up_all_poll(PollEvent::In.into());
///     }
///
///     fn wait(&self) -> Result {
///         self.waiters.wait_event_freezable(|| self.open.load(Acquire) == 1)
///     }
/// }
///
/// let gate = KBox::pin_init(Gate::new(), GFP_KERNEL)?;
/// gate.open();
/// gate.wait()?;
/// # Ok::<(), Error>(())
/// ```
///
/// [`CondVar`]: super::CondVar
/// [`struct wait_queue_head`]: srctree/include/linux/wait.h
#[pin_data]
pub struct WaitQueue {
    #[pin]
    inner: Opaque<bindings::wait_queue_head>,
}

// SAFETY: A `struct wait_queue_head` belongs to no thread.
unsafe impl Send for WaitQueue {}

// SAFETY: The C functions that are called on a `struct wait_queue_head` through `&WaitQueue` do
// their own locking. The one read without the lock is volatile, and its result is not dereferenced.
unsafe impl Sync for WaitQueue {}

impl WaitQueue {
    /// Constructs a new wait queue initializer.
    #[inline]
    pub fn new(name: &'static CStr, key: Pin<&'static LockClassKey>) -> impl PinInit<Self> {
        // INVARIANT: `__init_waitqueue_head` initializes the queue, with no entry in it.
        pin_init!(Self {
            // SAFETY: `slot` is valid while the closure is called and both `name` and `key` have
            // static lifetimes so they live indefinitely.
            inner <- Opaque::ffi_init(|slot| unsafe {
                bindings::__init_waitqueue_head(slot, name.as_char_ptr(), key.as_ptr())
            }),
        })
    }

    /// Returns a raw pointer to the inner C struct.
    #[inline]
    pub(super) fn as_raw(&self) -> *mut bindings::wait_queue_head {
        self.inner.get()
    }

    /// Sleeps until `condition` returns `true`.
    ///
    /// Like C's `wait_event_freezable()`: the sleep can be interrupted by a signal, and the task
    /// may be frozen in it, so no lock should be held. `condition` is evaluated before the first
    /// sleep and after every wake-up; if it is true, a pending signal is ignored.
    ///
    /// `condition` must not sleep: that would reset the task state, so the wait would not sleep,
    /// and `CONFIG_DEBUG_ATOMIC_SLEEP` would complain. It must not panic either: a task that dies
    /// in it leaves an entry on its stack in the queue.
    ///
    /// As in C, where this is a macro, `/proc/<pid>/wchan` shows the caller.
    ///
    /// # Errors
    ///
    /// [`ERESTARTSYS`] if a signal arrived and `condition` was still `false` then.
    #[inline(always)]
    #[track_caller]
    pub fn wait_event_freezable(&self, mut condition: impl FnMut() -> bool) -> Result {
        might_sleep();

        if condition() {
            return Ok(());
        }

        let state = TASK_INTERRUPTIBLE | TASK_FREEZABLE;
        let entry = Opaque::<bindings::wait_queue_entry>::uninit();

        // SAFETY: `entry` is valid for writes, and a local variable that is not moved.
        unsafe { bindings::init_wait_entry(entry.get(), 0) };

        let result = loop {
            // INVARIANT: The entry is on this task's stack, and is off the queue again when this
            // loop is left by the error branch, else by `finish_wait` below.
            //
            // SAFETY: The queue is initialized by the type invariants, the entry was above. If the
            // entry is in a queue already, then it is in this one.
            let signal =
                unsafe { bindings::prepare_to_wait_event(self.as_raw(), entry.get(), state) };

            if condition() {
                break Ok(());
            }

            if signal != 0 {
                break to_result(signal as c_int);
            }

            // SAFETY: May be called in any task that may sleep. This timeout never expires.
            unsafe { bindings::schedule_timeout(MAX_SCHEDULE_TIMEOUT) };

            // A wake-up takes the entry off the queue. If the condition is true, leaving here
            // avoids the queue's lock, which the waker may still hold.
            if condition() {
                break Ok(());
            }
        };

        // SAFETY: The queue is initialized by the type invariants, and `entry` is in it or in none.
        unsafe { bindings::finish_wait(self.as_raw(), entry.get()) };

        result
    }

    /// Wakes all waiters and reports `events` to the pollers among them.
    ///
    /// This is `wake_up_poll()` in C, but for all waiters, pollers with `EPOLLEXCLUSIVE` included.
    /// It does not wake a poller that asked for none of `events`, unless `events` is empty. It
    /// always wakes tasks in [`WaitQueue::wait_event_freezable`].
    ///
    /// May be called wherever a `spinlock_t` may be taken, but not from a wake-up of the same
    /// queue. Takes time that is linear in the number of waiters, with the queue's lock held. If
    /// nobody waits, it does not take the lock.
    #[inline]
    pub fn wake_up_all_poll(&self, events: PollEvents) {
        // Orders the caller's store, which made the condition true, before the check of the queue.
        // Pairs with the full barriers of waiters: see "Ordering" above.
        smp_mb(Full);

        // As `waitqueue_active()` in C.
        //
        // SAFETY: The queue is initialized by the type invariants. The list may change at any time,
        // so this reads like `READ_ONCE()` in C, and does not dereference what it finds.
        let is_empty = unsafe {
            let head = &raw const (*self.as_raw()).head;
            (&raw const (*head).next).read_volatile().cast_const() == head
        };
        if is_empty {
            return;
        }

        // `poll_to_key()` in C.
        let key = ptr::without_provenance_mut(u32::from(events) as usize);

        // SAFETY: The queue is initialized by the type invariants. The key of a wake-up is a set of
        // poll events, cast to a pointer and never dereferenced. `nr_exclusive` 0 wakes all.
        unsafe { bindings::__wake_up(self.as_raw(), TASK_NORMAL, 0, key) };
    }
}

#[cfg(CONFIG_RUST_WAIT_QUEUE_KUNIT_TEST)]
#[macros::kunit_tests(rust_wait_queue)]
mod tests {
    use super::*;
    use crate::{
        sync::{
            atomic::{
                Acquire,
                Atomic,
                Relaxed,
                Release, //
            },
            poll::PollEvent,
            Arc, //
        },
        time::{
            delay::fsleep,
            Delta, //
        },
        workqueue::{
            self,
            impl_has_work,
            new_work,
            Work,
            WorkItem, //
        }, //
    };

    /// A worker that wakes the queue twice: first with a false condition, then with a true one.
    #[pin_data]
    struct Waker {
        #[pin]
        queue: WaitQueue,
        polls: Atomic<u32>,
        done: Atomic<u32>,
        #[pin]
        work: Work<Waker>,
    }

    impl_has_work! {
        impl HasWork<Self> for Waker { self.work }
    }

    impl Waker {
        fn new() -> Result<Arc<Self>> {
            Arc::pin_init(
                pin_init!(Self {
                    queue <- new_wait_queue!("Waker::queue"),
                    polls: Atomic::new(0),
                    done: Atomic::new(0),
                    work <- new_work!("Waker::work"),
                }),
                GFP_KERNEL,
            )
        }

        /// Waits until the other side has evaluated its condition `n` times, or 10 s have passed.
        fn wait_for_polls(&self, n: u32) {
            for _ in 0..10_000 {
                if self.polls.load(Relaxed) >= n {
                    break;
                }
                fsleep(Delta::from_millis(1));
            }
        }
    }

    impl WorkItem for Waker {
        type Pointer = Arc<Waker>;

        fn run(this: Arc<Waker>) {
            // The second evaluation comes after the waiter has queued itself.
            this.wait_for_polls(2);
            this.queue.wake_up_all_poll(PollEvent::In.into());
            // The third was caused by the wake-up above.
            this.wait_for_polls(3);
            this.done.store(1, Release);
            this.queue.wake_up_all_poll(PollEvent::In.into());
        }
    }

    #[test]
    fn true_condition_does_not_sleep() -> Result {
        let waker = Waker::new()?;
        let mut evaluated = 0;

        waker.queue.wait_event_freezable(|| {
            evaluated += 1;
            true
        })?;
        assert_eq!(evaluated, 1);
        Ok(())
    }

    #[test]
    fn sleeps_until_woken_with_true_condition() -> Result {
        let waker = Waker::new()?;

        assert!(workqueue::system_long().enqueue(waker.clone()).is_ok());
        waker.queue.wait_event_freezable(|| {
            waker.polls.fetch_add(1, Relaxed);
            waker.done.load(Acquire) == 1
        })?;
        assert_eq!(waker.done.load(Relaxed), 1);
        // At most five evaluations: one before the waiter queues itself, one after, two for the
        // first wake-up, one for the second. The third may already see the store of the second
        // wake-up. A waiter that does not sleep makes thousands.
        assert!((3..=5).contains(&waker.polls.load(Relaxed)));
        Ok(())
    }

    #[test]
    fn wake_up_before_the_sleep_is_not_lost() -> Result {
        let waker = Waker::new()?;
        let mut evaluated = 0;

        waker.queue.wait_event_freezable(|| {
            evaluated += 1;
            // The second evaluation comes after the waiter has queued itself, so this wake-up finds
            // it, and it must not sleep although the condition is still false.
            if evaluated == 2 {
                waker.queue.wake_up_all_poll(PollEvent::In.into());
            }
            evaluated == 3
        })?;
        assert_eq!(evaluated, 3);
        Ok(())
    }

    #[test]
    fn wake_up_without_waiters() -> Result {
        Waker::new()?.queue.wake_up_all_poll(PollEvent::In.into());
        Ok(())
    }
}
