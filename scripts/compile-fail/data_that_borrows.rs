// SPDX-License-Identifier: GPL-2.0
//! The file's data must not borrow a queue: the data lives as long as the file, the queue may not.

use kernel::{
    bindings,
    sync::{
        poll::FilePollTable,
        WaitQueue, //
    }, //
};

/// The data of a file.
pub struct Data<'a> {
    queue: &'a WaitQueue,
}

/// Polls a file.
///
/// # Safety
///
/// Same requirements as `FilePollTable::with`.
pub unsafe fn poll<'a>(
    file: *mut bindings::file,
    table: *mut bindings::poll_table,
    data: *const Data<'a>,
) {
    // SAFETY: This function has the same requirements.
    unsafe {
        // error: E0521
        FilePollTable::with(file, table, data, |data, table| {
            table.register_wait(data.queue)
        })
    }
}
