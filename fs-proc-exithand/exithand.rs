// SPDX-License-Identifier: GPL-2.0

//! `/proc/<pid>/exithand`: wait for the exit of any process that can be seen.
//!
//! A read blocks until the process has exited, and then is at the end of the file. Poll reports the
//! file as readable from then on, and its fdinfo shows the exit status.
//!
//! A process that is, or was, waited for has a [`Watch`]. It is found from its `signal_struct`, as
//! that is what stays the same through an exec and through the exits of threads. Who writes and
//! reads what, and what orders it:
//!
//! | What                         | Written by          | Read by       | Ordered by              |
//! |------------------------------|---------------------|---------------|-------------------------|
//! | `exithand` [1]               | first opener, once  | openers       | release, acquire        |
//! |                              |                     | exit, free    | `tasklist_lock`, RCU    |
//! | `exithand_is_interested` [1] | first opener, exit  | exit          | `tasklist_lock`         |
//! | [`Watch::exited`]            | exit, once [2]      | read, poll    | wait queue [3]          |
//! |                              |                     | fdinfo        | release, acquire        |
//!
//! [1] In `signal_struct`. [2] By the opener, if the process has exited already. [3] Its lock, and
//! full barriers: see the section on ordering of [`WaitQueue`].
//!
//! User-space documentation: [`Documentation/filesystems/exithand.rst`]
//!
//! [`Documentation/filesystems/exithand.rst`]: srctree/Documentation/filesystems/exithand.rst

#![deny(unsafe_code)]

use kernel::{
    fs::Kiocb,
    iov::IovIterDest,
    prelude::*,
    seq_file::SeqFile,
    seq_print,
    sync::{
        new_wait_queue,
        poll::{
            FilePollTable,
            PollEvent,
            PollEvents, //
        },
        Arc,
        SetOnce,
        UniqueArc,
        WaitQueue, //
    }, //
};

#[expect(unsafe_code, reason = "joins the file to C")]
#[path = "exithand/glue.rs"]
mod glue;

use glue::{
    Attached,
    ExitStatus,
    Process, //
};

/// What the readers of one process's exithand files wait for.
///
/// Owned by the process, from the first open until its `signal_struct` is freed, and by each open
/// file. A file owns nothing else.
#[pin_data]
struct Watch {
    #[pin]
    waiters: WaitQueue,
    /// A latch: populated when the process has exited, and so for ever.
    exited: SetOnce<ExitStatus>,
}

impl Watch {
    fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            waiters <- new_wait_queue!("exithand"),
            exited: SetOnce::new(),
        })
    }

    /// Records how the process has exited, and wakes all that wait for it.
    ///
    /// The exit runs this under `tasklist_lock`, held for writing: it must not sleep, allocate, or
    /// look for tasks.
    fn exit(&self, status: ExitStatus) {
        // The latch comes first: who is queued too late for the wake-up looks at it after that, and
        // who was queued before may look again. See the section on ordering of `WaitQueue`.
        self.exited.populate(status);
        self.waiters
            .wake_up_all_poll(PollEvent::In | PollEvent::RdNorm);
    }

    fn has_exited(&self) -> bool {
        self.exited.as_ref().is_some()
    }

    /// Called for `open(2)`.
    fn open(process: &Process<'_>) -> Result<Arc<Self>> {
        if let Some(watch) = process.watch() {
            return Ok(watch);
        }

        // At most one such allocation per process stays, charged to who opens the file first.
        let new = UniqueArc::pin_init(Watch::new(), GFP_KERNEL_ACCOUNT)?;

        match process.attach(new)? {
            Attached::Watched(watch) => Ok(watch),
            Attached::Exited(watch, status) => {
                watch.exit(status);
                Ok(watch)
            }
        }
    }

    /// Called for `read(2)`, its relatives, and io_uring.
    fn read_iter(kiocb: Kiocb<'_, Arc<Self>>, iov: &mut IovIterDest<'_>) -> Result<usize> {
        let watch = kiocb.file();

        // A read of nothing has nothing to wait for.
        if iov.is_empty() || watch.has_exited() {
            return Ok(0);
        }

        if kiocb.is_nonblocking() {
            return Err(EAGAIN);
        }

        watch.waiters.wait_event_freezable(|| watch.has_exited())?;
        Ok(0)
    }

    /// Called for `poll(2)` and its relatives.
    fn poll<'file>(&'file self, table: &FilePollTable<'file>) -> PollEvents {
        table.register_wait(&self.waiters);

        if self.has_exited() {
            PollEvent::In | PollEvent::RdNorm
        } else {
            PollEvents::empty()
        }
    }

    /// Called for the file's entry in `/proc/<pid>/fdinfo`, after what is shown of all files and
    /// the pid of the process.
    fn show_fdinfo(&self, m: &SeqFile) {
        match self.exited.copy() {
            Some(status) => seq_print!(m, "Exited:\t1\nExitStatus:\t{}\n", status.raw()),
            None => seq_print!(m, "Exited:\t0\n"),
        }
    }
}
