// SPDX-License-Identifier: GPL-2.0
//! A queue must not be on the stack of poll: it is freed when poll returns.

use kernel::sync::{
    new_wait_queue,
    poll::FilePollTable, //
};
use pin_init::stack_pin_init;

/// The poll operation of a file.
pub fn poll<'file>(_data: &'file (), table: &FilePollTable<'file>) {
    // error: E0716
    stack_pin_init!(let queue = new_wait_queue!("local"));
    table.register_wait(&queue);
}
