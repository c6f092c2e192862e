// SPDX-License-Identifier: GPL-2.0
//! A queue that is only known to live during the call must not be registered. The function that
//! registers it accepts any lifetime that the table and the queue share.

use kernel::sync::{
    poll::FilePollTable,
    WaitQueue, //
};

fn register<'a>(table: &FilePollTable<'a>, queue: &'a WaitQueue) {
    table.register_wait(queue)
}

/// A part of the poll operation of a file.
pub fn poll<'file>(table: &FilePollTable<'file>, queue: &WaitQueue) {
    // error: E0621
    register(table, queue);
}
