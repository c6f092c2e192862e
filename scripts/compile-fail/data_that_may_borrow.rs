// SPDX-License-Identifier: GPL-2.0
//! The type of the file's data must be known to borrow nothing.

use core::ops::Deref;
use kernel::{
    bindings,
    sync::{
        poll::FilePollTable,
        WaitQueue, //
    }, //
};

/// Polls a file.
///
/// # Safety
///
/// Same requirements as `FilePollTable::with`.
pub unsafe fn poll<T: Deref<Target = WaitQueue> + Sync>(
    file: *mut bindings::file,
    table: *mut bindings::poll_table,
    data: *const T,
) {
    // SAFETY: This function has the same requirements.
    unsafe {
        // error: E0310
        FilePollTable::with(file, table, data, |data, table| table.register_wait(data))
    }
}
