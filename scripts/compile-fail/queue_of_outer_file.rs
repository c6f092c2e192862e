// SPDX-License-Identifier: GPL-2.0
//! The inner table must not take a queue of the outer file. The queue outlives the call, but
//! perhaps not the inner file.

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
        FilePollTable::with(files[0], table, data[0], |queue0, _| {
            FilePollTable::with(files[1], table, data[1], |_, table1| {
                // error: E0521
                table1.register_wait(queue0)
            })
        })
    }
}
