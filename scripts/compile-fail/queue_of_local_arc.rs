// SPDX-License-Identifier: GPL-2.0
//! An `Arc` that poll itself holds must not keep the queue alive. It may be the last one when poll
//! drops it: the file may drop its own `Arc` before the release.

use kernel::sync::{
    poll::FilePollTable,
    Arc,
    WaitQueue, //
};

/// The poll operation of a file.
pub fn poll<'file>(data: &'file Arc<WaitQueue>, table: &FilePollTable<'file>) {
    let queue = data.clone();
    // error: E0597
    table.register_wait(&queue);
}
