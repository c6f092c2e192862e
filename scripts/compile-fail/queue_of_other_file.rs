// SPDX-License-Identifier: GPL-2.0
//! A queue must not belong to another file: that file may be released first.

use kernel::{
    bindings,
    sync::{
        poll::FilePollTable,
        WaitQueue, //
    }, //
};

/// Polls one file, and inside it another file.
///
/// # Safety
///
/// Same requirements as `FilePollTable::with`, for both files.
pub unsafe fn poll(
    files: [*mut bindings::file; 2],
    table: *mut bindings::poll_table,
    data: [*const WaitQueue; 2],
) {
    // SAFETY: This function has the same requirements.
    unsafe {
        FilePollTable::with(files[0], table, data[0], |_, table0| {
            FilePollTable::with(files[1], table, data[1], |queue1, _| {
                // error: E0521
                table0.register_wait(queue1)
            })
        })
    }
}
