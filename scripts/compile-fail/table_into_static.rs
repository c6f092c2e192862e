// SPDX-License-Identifier: GPL-2.0
//! A table must not pass for a `'static` one, which accepts only queues that are never freed and
//! could be kept for ever.

use kernel::{
    bindings,
    sync::{
        poll::FilePollTable,
        WaitQueue, //
    }, //
};

fn register_for_ever(_table: &FilePollTable<'static>) {}

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
    unsafe {
        FilePollTable::with(file, table, data, |_, table| {
            // error: lifetime may not live long enough
            register_for_ever(table)
        })
    }
}
