// SPDX-License-Identifier: GPL-2.0
//! The file's data must be `Sync`: many threads can poll a file at the same time.

use core::cell::Cell;
use kernel::{
    bindings,
    sync::{
        poll::FilePollTable,
        WaitQueue, //
    }, //
};

/// The data of a file.
pub struct Data {
    polled: Cell<u32>,
    queue: WaitQueue,
}

/// Polls a file.
///
/// # Safety
///
/// Same requirements as `FilePollTable::with`.
pub unsafe fn poll(file: *mut bindings::file, table: *mut bindings::poll_table, data: *const Data) {
    // SAFETY: This function has the same requirements.
    unsafe {
        // error: E0277 Cell<u32>
        FilePollTable::with(file, table, data, |data, table| {
            data.polled.set(1);
            table.register_wait(&data.queue);
        })
    }
}
