// SPDX-License-Identifier: GPL-2.0

//! Joins the exithand file to C: to procfs, and to `signal_struct`.
//!
//! All `unsafe` code of exithand is here.
//!
//! C headers: [`fs/proc/exithand/exithand.h`](srctree/fs/proc/exithand/exithand.h),
//! [`include/linux/exithand.h`](srctree/include/linux/exithand.h)

use super::{
    OpenFile,
    Watch, //
};
use kernel::{
    bindings,
    error::from_err_ptr,
    fs::Kiocb,
    iov::IovIterDest,
    prelude::*,
    seq_file::SeqFile,
    sync::{
        poll::FilePollTable,
        rcu,
        Arc,
        ArcBorrow,
        UniqueArc, //
    },
    types::ForeignOwnable, //
};

/// The process that an inode below `/proc/<pid>` stands for.
///
/// # Invariants
///
/// The pointer is to an inode below `/proc/<pid>` that is valid for as long as this exists.
pub(super) struct Process(*const bindings::inode);

impl Process {
    /// Returns whether the current task has the right to see the exit status of the process.
    pub(super) fn may_see_status(&self) -> bool {
        // SAFETY: `self.0` is valid by the type invariants.
        unsafe { bindings::exithand_may_see_status(self.0) }
    }

    /// Returns the watch of the process, if it has one.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if the PID is that of a live thread which is not a leader.
    /// - [`ESTALE`] if the process was reaped, the thread has exited, or the inode is stale.
    pub(super) fn watch(&self) -> Result<Option<Arc<Watch>>> {
        let _guard = rcu::read_lock();

        // SAFETY: `self.0` is valid by the type invariants, and this is an RCU read-side
        // critical section.
        let watch = from_err_ptr(unsafe { bindings::exithand_find(self.0) })?;

        if watch.is_null() {
            return Ok(None);
        }

        // SAFETY: `exithand_attach` has published `watch`, and the process does not drop its
        // reference before the end of this RCU read-side critical section.
        Ok(Some(unsafe { get_watch(watch) }))
    }

    /// Gives the process the watch `new`, unless another opener was faster.
    ///
    /// Returns the watch of the process.
    ///
    /// # Errors
    ///
    /// [`ESTALE`] if the process has been reaped.
    pub(super) fn attach(&self, new: Pin<UniqueArc<Watch>>) -> Result<Arc<Watch>> {
        let new = Arc::into_raw(Arc::from(new)).cast_mut().cast();
        let _guard = rcu::read_lock();

        // SAFETY: `self.0` is valid by the type invariants, and this is an RCU read-side
        // critical section. `new` owns a reference, and no process has it: it was unique.
        let watch = unsafe { bindings::exithand_attach(self.0, new) };

        if watch != new {
            // SAFETY: `new` comes from `into_raw`, and C has not taken the reference.
            drop(unsafe { Arc::from_raw(new.cast::<Watch>()) });
        }

        // SAFETY: As in `watch()`.
        from_err_ptr(watch).map(|watch| unsafe { get_watch(watch) })
    }
}

/// # Safety
///
/// `watch` must come from [`Arc::into_raw`], and that reference must not be dropped before this
/// returns.
unsafe fn get_watch(watch: *const bindings::exithand_watch) -> Arc<Watch> {
    // SAFETY: By the requirements of this function. There is no `UniqueArc` of the watch any more:
    // `attach` turned it into an `Arc` before C saw the watch.
    unsafe { ArcBorrow::from_raw(watch.cast::<Watch>()) }.into()
}

/// C calls this under `tasklist_lock` when a process has exited: `exithand_notify` for its watch,
/// `exithand_attach` for a watch that it is about to publish.
///
/// # Safety
///
/// `watch` must come from [`Arc::into_raw`], and that reference must not be dropped before this
/// returns.
#[export]
unsafe extern "C" fn exithand_watch_exited(watch: *mut bindings::exithand_watch, status: c_int) {
    // SAFETY: As in `get_watch()`.
    unsafe { ArcBorrow::from_raw(watch.cast::<Watch>()) }.exit(status);
}

/// C calls this in `exithand_free`, before a `signal_struct` is freed. Does not sleep.
///
/// # Safety
///
/// `watch` must be one that `exithand_attach` published. This drops the reference of the process,
/// so an RCU grace period must have passed since anyone could find the `signal_struct`.
#[export]
unsafe extern "C" fn exithand_watch_put(watch: *mut bindings::exithand_watch) {
    // SAFETY: `attach` passed the result of `into_raw` to C, and the caller gives it back. After
    // the grace period, neither `watch()` nor `attach()` borrows it.
    drop(unsafe { Arc::from_raw(watch.cast::<Watch>()) });
}

// The functions below are called only by way of `proc_exithand_operations` in `attach.c`. procfs
// makes it the `i_fop` of inodes below `/proc/<pid>` and of no others. So the VFS meets their
// safety requirements: `exithand_open` comes before all others, and `exithand_release` after them.

/// Makes the file a stream, that is, without a position. So several threads can read one open file.
/// With a position, all but the first would wait for `f_pos_lock`, uninterruptibly.
///
/// # Safety
///
/// `inode` must be a valid inode below `/proc/<pid>`, and the caller must be opening `file` for it.
#[export]
unsafe extern "C" fn exithand_open(
    inode: *mut bindings::inode,
    file: *mut bindings::file,
) -> c_int {
    // INVARIANT: The caller provides an inode below `/proc/<pid>` that is valid during this call.
    let process = Process(inode);

    let open_file = match OpenFile::open(&process) {
        Ok(open_file) => open_file,
        Err(err) => return err.to_errno(),
    };

    // SAFETY: The caller is opening `file` for the valid `inode`. This never fails.
    unsafe { bindings::stream_open(inode, file) };
    // SAFETY: Nobody else uses `file` yet, as it is being opened.
    unsafe {
        (*file).f_mode |= bindings::FMODE_NOWAIT;
        (*file).private_data = open_file.into_foreign();
    }

    0
}

/// Borrows the private data of an open file.
///
/// # Safety
///
/// `exithand_open` must have opened `file`, and the file must not be released during `'a`.
unsafe fn borrow<'a>(file: *mut bindings::file) -> &'a OpenFile {
    // SAFETY: `exithand_open` left a `KBox<OpenFile>` in `private_data` for as long as the file is
    // open, and nobody borrows it mutably.
    unsafe { <KBox<OpenFile> as ForeignOwnable>::borrow((*file).private_data) }
}

/// # Safety
///
/// `exithand_open` must have opened `file`, and the caller must be releasing it.
#[export]
unsafe extern "C" fn exithand_release(
    _inode: *mut bindings::inode,
    file: *mut bindings::file,
) -> c_int {
    // SAFETY: `exithand_open` left a `KBox<OpenFile>` there, and nobody borrows it any more.
    drop(unsafe { KBox::<OpenFile>::from_foreign((*file).private_data) });

    0
}

/// `ps -l` and `/proc/<pid>/wchan` show this name for a blocked reader.
///
/// # Safety
///
/// `kiocb` must be valid, `exithand_open` must have opened its file, and `iter` must be valid for
/// writing.
#[export]
unsafe extern "C" fn exithand_read_iter(
    kiocb: *mut bindings::kiocb,
    iter: *mut bindings::iov_iter,
) -> isize {
    // SAFETY: The caller provides a valid `struct kiocb` of a file that `exithand_open` has opened.
    let kiocb = unsafe { Kiocb::from_raw(kiocb) };
    // SAFETY: The caller provides a valid `struct iov_iter` for writing.
    let iov = unsafe { IovIterDest::from_raw(iter) };

    match OpenFile::read_iter(kiocb, iov) {
        Ok(len) => len as isize,
        Err(err) => err.to_errno() as isize,
    }
}

/// # Safety
///
/// `exithand_open` must have opened `file`. `table` must be null or valid, and its owner must
/// remove each registration made through it before `file` is released.
#[export]
unsafe extern "C" fn exithand_poll(
    file: *mut bindings::file,
    table: *mut bindings::poll_table,
) -> bindings::__poll_t {
    // SAFETY: `exithand_open` has opened `file`.
    let open_file = unsafe { borrow(file) };

    // SAFETY: The caller provides a valid file, and a table as required. Until the release of the
    // file, the `KBox` stays as it is and is only borrowed shared.
    unsafe { FilePollTable::with(file, table, open_file, OpenFile::poll) }.into()
}

/// # Safety
///
/// `m` must be valid, belong to an open file of procfs, and be used by nobody else. `exithand_open`
/// must have opened `file`.
#[export]
unsafe extern "C" fn exithand_show_fdinfo(m: *mut bindings::seq_file, file: *mut bindings::file) {
    // SAFETY: `m` belongs to a procfs file, and `file` to an inode below `/proc/<pid>`.
    unsafe { bindings::exithand_show_pid(m, file) };
    // SAFETY: `exithand_open` opened `file`. The caller provides a valid `m` that is not shared.
    let (open_file, m) = unsafe { (borrow(file), SeqFile::from_raw(m)) };

    open_file.show_fdinfo(m);
}
