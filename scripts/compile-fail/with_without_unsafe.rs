// SPDX-License-Identifier: GPL-2.0
//! Safe code must not call `with()`: nothing says that its pointers are valid.

use kernel::{
    bindings,
    sync::{
        poll::FilePollTable,
        WaitQueue, //
    }, //
};

/// Polls a file.
pub fn poll(file: *mut bindings::file, table: *mut bindings::poll_table, data: *const WaitQueue) {
    // error: E0133
    FilePollTable::with(file, table, data, |queue, table| table.register_wait(queue))
}
