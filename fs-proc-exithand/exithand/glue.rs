// SPDX-License-Identifier: GPL-2.0

//! What joins the exithand file to C: procfs on one side, `signal_struct` on the other.
//!
//! All the `unsafe` of exithand is here.
//!
//! C headers: [`fs/proc/exithand.h`](srctree/fs/proc/exithand.h),
//! [`include/linux/exithand.h`](srctree/include/linux/exithand.h)

use super::Watch;
use core::{
    marker::PhantomData,
    ptr, //
};
use kernel::{
    bindings,
    error::to_result,
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

/// The process that an inode below `/proc/<pid>` is about.
///
/// # Invariants
///
/// `inode` points at an inode below `/proc/<pid>` that is valid for `'a`.
pub(super) struct Process<'a> {
    inode: *const bindings::inode,
    _inode: PhantomData<&'a bindings::inode>,
}

/// How a process has exited: what `wait(2)` gives its parent.
#[derive(Clone, Copy)]
pub(super) struct ExitStatus(c_int);

impl ExitStatus {
    /// Returns the status as one number, to be taken apart by `WIFEXITED` and its like.
    pub(super) fn raw(self) -> c_int {
        self.0
    }
}

/// What became of [`Process::attach`].
pub(super) enum Attached {
    /// The process's watch: the one that was offered, or the one that it had already.
    Watched(Arc<Watch>),
    /// The process has exited. The watch that was offered is the caller's alone.
    Exited(Arc<Watch>, ExitStatus),
}

impl Process<'_> {
    /// Returns the process's watch, if it has one.
    pub(super) fn watch(&self) -> Option<Arc<Watch>> {
        let _guard = rcu::read_lock();

        // SAFETY: `self.inode` is valid by the type invariants, and this is an RCU read-side
        // critical section.
        let watch = unsafe { bindings::exithand_find(self.inode) };
        if watch.is_null() {
            return None;
        }

        // SAFETY: A watch that was found is one that `exithand_attach` took, and the reference that
        // it took is not put before the end of this RCU read-side critical section.
        Some(unsafe { get_watch(watch) })
    }

    /// Has the process's exit reported to `new`, unless it has a watch already or has exited.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if this is not a process but another thread of one.
    /// - [`EOPENSTALE`] if there is no such process any more, or the inode is not the one that the
    ///   name stands for now.
    ///
    /// [`EOPENSTALE`]: kernel::error::code::EOPENSTALE
    pub(super) fn attach(&self, new: Pin<UniqueArc<Watch>>) -> Result<Attached> {
        let new = Arc::from(new);
        let offered = Arc::into_raw(new.clone());
        let mut found = ptr::null_mut();
        let mut status = 0;

        let _guard = rcu::read_lock();

        // SAFETY:
        // - `self.inode` is valid by the type invariants, and this is an RCU read-side critical
        //   section.
        // - `offered` owns a reference. Until a moment ago `new` was the only one, so no process
        //   has this watch.
        // - `found` and `status` are valid for writes.
        let ret = unsafe {
            bindings::exithand_attach(
                self.inode,
                offered.cast_mut().cast(),
                &raw mut found,
                &raw mut status,
            )
        };

        if ret == bindings::EXITHAND_ATTACHED as c_int {
            return Ok(Attached::Watched(new));
        }

        // SAFETY: `offered` comes from `into_raw` above, and C has not taken the reference.
        drop(unsafe { Arc::from_raw(offered) });
        to_result(ret)?;

        if ret == bindings::EXITHAND_EXITED as c_int {
            return Ok(Attached::Exited(new, ExitStatus(status)));
        }

        // SAFETY: As in `watch()`. What remains is `EXITHAND_FOUND`, so `found` was written.
        Ok(Attached::Watched(unsafe { get_watch(found) }))
    }
}

/// Takes a reference to a watch that C has one to.
///
/// # Safety
///
/// `watch` must have been taken by `exithand_attach`, and not put by then.
unsafe fn get_watch(watch: *const bindings::exithand_watch) -> Arc<Watch> {
    // SAFETY: `exithand_attach` takes what `Arc::into_raw` gave, when there is no `UniqueArc` any
    // more. The caller promises that this reference is still there, so the count is not zero.
    unsafe { ArcBorrow::from_raw(watch.cast::<Watch>()) }.into()
}

/// Called by `exithand_notify` in C when the process has exited, with its status.
///
/// # Safety
///
/// `watch` must have been taken by `exithand_attach`, and not put by then.
#[export]
unsafe extern "C" fn exithand_watch_exited(watch: *mut bindings::exithand_watch, status: c_int) {
    // SAFETY: `exithand_attach` takes what `Arc::into_raw` gave, when there is no `UniqueArc` any
    // more, and the caller promises that this reference is still there.
    unsafe { ArcBorrow::from_raw(watch.cast::<Watch>()) }.exit(ExitStatus(status));
}

/// Called by `exithand_free` in C when the `signal_struct` goes away. Does not sleep.
///
/// # Safety
///
/// `watch` must have been taken by `exithand_attach`. It is put, so this must be the last use of it
/// by the caller.
#[export]
unsafe extern "C" fn exithand_watch_put(watch: *mut bindings::exithand_watch) {
    // SAFETY: `exithand_attach` takes what `Arc::into_raw` gave, and the caller gives it back.
    drop(unsafe { Arc::from_raw(watch.cast::<Watch>()) });
}

/// A `struct file_operations` that never changes.
#[repr(transparent)]
struct FileOperations(bindings::file_operations);

// SAFETY: They are not written to after they have been made, and what they point at is static.
unsafe impl Sync for FileOperations {}

/// The file operations of `/proc/<pid>/exithand`.
///
/// The file is a stream, that is, it has no position. So several threads can be in a read of the
/// same open file, where each of an ordinary file's would wait for the one before it,
/// uninterruptibly.
//
// In C, only `tgid_base_stuff` in `fs/proc/base.c` refers to them, and makes them the `i_fop` of
// inodes below `/proc/<pid>`. So the VFS keeps what the functions below require: the inode is such
// a one, and `open` comes before, and `release` after, all others.
#[no_mangle]
static proc_exithand_operations: FileOperations = FileOperations(bindings::file_operations {
    open: Some(open),
    release: Some(release),
    read_iter: Some(read_iter),
    poll: Some(poll),
    show_fdinfo: Some(show_fdinfo),
    ..pin_init::zeroed()
});

// Verifies that the header declares the static with the type that `FileOperations` wraps.
const _: fn() -> *const bindings::file_operations =
    || &raw const bindings::proc_exithand_operations;

/// # Safety
///
/// `inode` must be one below `/proc/<pid>`, and `file` be in the course of being opened for it.
unsafe extern "C" fn open(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
    // INVARIANT: The caller provides a valid inode below `/proc/<pid>`.
    let process = Process {
        inode,
        _inode: PhantomData,
    };

    let watch = match Watch::open(&process) {
        Ok(watch) => watch,
        Err(err) => return err.to_errno(),
    };

    // SAFETY: `file` is being opened, so nobody else uses it yet.
    unsafe {
        // Cannot fail.
        bindings::stream_open(inode, file);
        (*file).f_mode |= bindings::FMODE_NOWAIT;
        (*file).private_data = watch.into_foreign();
    }

    0
}

/// # Safety
///
/// `file` must have been opened by `open`, and be in the course of being released.
unsafe extern "C" fn release(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
    // SAFETY: `open` left an `Arc<Watch>` in `private_data`. There is no other use of the file any
    // more, so there is no borrow of it.
    drop(unsafe { Arc::<Watch>::from_foreign((*file).private_data) });

    0
}

/// # Safety
///
/// `kiocb` must be valid, its file have been opened by `open`, and `iter` be valid for writing to.
unsafe extern "C" fn read_iter(
    kiocb: *mut bindings::kiocb,
    iter: *mut bindings::iov_iter,
) -> isize {
    // SAFETY: The caller provides a valid `struct kiocb`. `open` left an `Arc<Watch>` in the
    // `private_data` of its file, which stays there until `release`.
    let kiocb = unsafe { Kiocb::from_raw(kiocb) };
    // SAFETY: The caller provides a valid `struct iov_iter` for writing.
    let iov = unsafe { IovIterDest::from_raw(iter) };

    match Watch::read_iter(kiocb, iov) {
        Ok(len) => len as isize,
        Err(err) => err.to_errno() as isize,
    }
}

/// # Safety
///
/// `file` must have been opened by `open`, and `table` be null or valid.
unsafe extern "C" fn poll(
    file: *mut bindings::file,
    table: *mut bindings::poll_table,
) -> bindings::__poll_t {
    // SAFETY: `open` left an `Arc<Watch>` in `private_data`, which stays there until `release`.
    let watch = unsafe { <Arc<Watch> as ForeignOwnable>::borrow((*file).private_data) };

    // SAFETY: The caller provides a valid file, and a table that is valid or null. What an `Arc`
    // points at is pinned, and only shared as long as the file has a reference, that is, until
    // `release`.
    unsafe { FilePollTable::with(file, table, &raw const *watch, Watch::poll) }.into()
}

/// # Safety
///
/// `m` must be valid, of an open file of procfs, and used by nobody else, and `file` must have been
/// opened by `open`.
unsafe extern "C" fn show_fdinfo(m: *mut bindings::seq_file, file: *mut bindings::file) {
    // SAFETY: The caller provides a valid `struct seq_file` of a procfs file, and a valid file, of
    // an inode below `/proc/<pid>`.
    unsafe { bindings::exithand_show_pid(m, file) };

    // SAFETY: `open` left an `Arc<Watch>` in `private_data`, which stays there until `release`.
    let watch = unsafe { <Arc<Watch> as ForeignOwnable>::borrow((*file).private_data) };
    // SAFETY: The caller provides a valid `struct seq_file` that nobody else uses.
    let m = unsafe { SeqFile::from_raw(m) };

    watch.show_fdinfo(m);
}
