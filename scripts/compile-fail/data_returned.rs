// SPDX-License-Identifier: GPL-2.0
//! The closure must not return the file's data: the file may be released after poll.

use kernel::{
    bindings,
    sync::{
        poll::{
            FilePollTable,
            PollEvents, //
        },
        WaitQueue, //
    }, //
};

/// Polls a file.
///
/// # Safety
///
/// Same requirements as `FilePollTable::with`.
pub unsafe fn poll(
    file: *mut bindings::file,
    table: *mut bindings::poll_table,
    data: *const WaitQueue,
) {
    // SAFETY: This function has the same requirements.
    let kept = unsafe {
        FilePollTable::with(file, table, data, |queue, _| {
            // error: lifetime may not live long enough
            queue
        })
    };
    kept.wake_up_all_poll(PollEvents::empty());
}
