// SPDX-License-Identifier: GPL-2.0
//! The closure must not keep the file's data: the file may be released after poll.

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
    let mut kept = None;
    // SAFETY: This function has the same requirements.
    unsafe {
        FilePollTable::with(file, table, data, |queue, _| {
            // error: E0521
            kept = Some(queue)
        })
    };
    kept.inspect(|queue| queue.wake_up_all_poll(PollEvents::empty()));
}
