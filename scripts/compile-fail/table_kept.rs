// SPDX-License-Identifier: GPL-2.0
//! A table must not be kept after poll: it is on the stack of poll's caller.

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
pub unsafe fn poll(
    file: *mut bindings::file,
    table: *mut bindings::poll_table,
    data: *const WaitQueue,
    queue: &'static WaitQueue,
) {
    let mut kept = None;
    // SAFETY: This function has the same requirements.
    unsafe {
        FilePollTable::with(file, table, data, |_, table| {
            // error: E0521
            kept = Some(table)
        })
    };
    kept.inspect(|table| table.register_wait(queue));
}
