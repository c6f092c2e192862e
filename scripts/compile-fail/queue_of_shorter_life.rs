// SPDX-License-Identifier: GPL-2.0
//! A queue of which nothing is known but that it lives during the call, by way of a function that
//! would do with any lifetime, if only it were one.

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
