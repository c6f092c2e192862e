// SPDX-License-Identifier: GPL-2.0

//! `/proc/<pid>/exithand`: wait for the exit of any process.
//!
//! A read blocks until the process has exited and then returns end-of-file. Poll reports the file
//! as readable from then on. The file's fdinfo shows the exit status.
//!
//! The first opener gives the process a [`Watch`]. It is found from the `signal_struct`, which is
//! the same through exec and the exit of threads. These data are shared:
//!
//! | Data                         | Written by         | Read by      | Ordered by            |
//! |------------------------------|--------------------|--------------|-----------------------|
//! | `exithand` [1]               | first opener, once | openers      | release, acquire      |
//! |                              |                    | exit, free   | `tasklist_lock`, RCU  |
//! | `exithand_is_interested` [1] | first opener, exit | exit         | `tasklist_lock`       |
//! | [`Watch::latch`]             | exit, once [2]     | read, poll   | wait queue [3]        |
//! |                              |                    | fdinfo       | release, acquire      |
//!
//! [1] In `signal_struct`. [2] Or the first opener, before it publishes the watch, if the process
//! has exited by then. [3] Its lock and full barriers: see "Ordering" at [`WaitQueue`].
//!
//! User-space documentation: [`exithand.rst`](srctree/Documentation/filesystems/exithand.rst)

#![deny(unsafe_code)]

use kernel::{
    fs::Kiocb,
    iov::IovIterDest,
    prelude::*,
    seq_file::SeqFile,
    seq_print,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Release, //
        },
        new_wait_queue,
        poll::{
            FilePollTable,
            PollEvent,
            PollEvents, //
        },
        Arc,
        UniqueArc,
        WaitQueue, //
    }, //
};

#[expect(unsafe_code, reason = "joins the file to C")]
mod glue;

use glue::Process;

/// The wait queue and the exit status of one process.
///
/// The process owns a reference from the first open until its `signal_struct` is freed. Each open
/// file owns one.
#[pin_data]
struct Watch {
    #[pin]
    waiters: WaitQueue,
    /// [`NOT_EXITED`] until the exit, then the `wait(2)` status.
    latch: Atomic<i64>,
}

/// Never a `wait(2)` status: a status is a [`c_int`]. A kernel thread's can be negative.
const NOT_EXITED: i64 = i64::MIN;

impl Watch {
    fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            waiters <- new_wait_queue!("exithand"),
            latch: Atomic::new(NOT_EXITED),
        })
    }

    /// Records the exit and wakes all waiters.
    ///
    /// The caller holds `tasklist_lock`: this must not sleep, allocate, or look up tasks.
    fn exit(&self, status: c_int) {
        // The latch comes first. A waiter that queues itself too late for the wake-up then sees it:
        // see "Ordering" at `WaitQueue`.
        self.latch.store(status.into(), Release);
        self.waiters
            .wake_up_all_poll(PollEvent::In | PollEvent::RdNorm);
    }

    /// Returns the `wait(2)` status once the process has exited.
    fn status(&self) -> Option<i64> {
        let status = self.latch.load(Acquire);
        (status != NOT_EXITED).then_some(status)
    }

    fn has_exited(&self) -> bool {
        self.status().is_some()
    }
}

/// The private data of an open file.
struct OpenFile {
    watch: Arc<Watch>,
    /// Whether the opener had the right to see the exit status. The answer belongs to the file: it
    /// is passed on with the file, and later changes of credentials do not touch it.
    may_see_status: bool,
}

impl OpenFile {
    /// Called for `open(2)`.
    fn open(process: &Process) -> Result<KBox<Self>> {
        // This comes first. If the process can still be found after it, the check found it, too.
        let may_see_status = process.may_see_status();

        let watch = match process.watch()? {
            Some(watch) => watch,
            // At most one of these stays per process, charged to the first opener.
            None => process.attach(UniqueArc::pin_init(Watch::new(), GFP_KERNEL_ACCOUNT)?)?,
        };

        let file = Self {
            watch,
            may_see_status,
        };
        Ok(KBox::new(file, GFP_KERNEL_ACCOUNT)?)
    }

    /// Called for `read(2)`, its variants, and io_uring.
    #[inline(always)] // So wchan shows `exithand_read_iter`.
    fn read_iter(kiocb: Kiocb<'_, KBox<Self>>, iov: &mut IovIterDest<'_>) -> Result<usize> {
        let watch = &kiocb.file().watch;

        // A read of zero bytes does not wait.
        if iov.is_empty() || watch.has_exited() {
            return Ok(0);
        }

        if kiocb.is_nonblocking() {
            return Err(EAGAIN);
        }

        watch.waiters.wait_event_freezable(|| watch.has_exited())?;
        Ok(0)
    }

    /// Called for `poll(2)` and its variants.
    fn poll<'file>(&'file self, table: &FilePollTable<'file>) -> PollEvents {
        table.register_wait(&self.watch.waiters);

        if self.watch.has_exited() {
            PollEvent::In | PollEvent::RdNorm
        } else {
            PollEvents::empty()
        }
    }

    /// Called for `/proc/<pid>/fdinfo/<fd>`, after the lines that show the PID.
    fn show_fdinfo(&self, m: &SeqFile) {
        let status = self.watch.status();

        seq_print!(m, "Exited:\t{}\n", i32::from(status.is_some()));
        if let Some(status) = status.filter(|_| self.may_see_status) {
            seq_print!(m, "ExitStatus:\t{status}\n");
        }
    }
}
