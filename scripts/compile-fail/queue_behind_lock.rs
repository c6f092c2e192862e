// SPDX-License-Identifier: GPL-2.0
//! A lock must not guard the queue: the next holder of the lock may replace the queue.

use kernel::{
    prelude::*,
    sync::{
        poll::FilePollTable,
        Mutex,
        WaitQueue, //
    }, //
};

/// The data of a file.
#[pin_data]
pub struct Data {
    #[pin]
    queue: Mutex<Pin<KBox<WaitQueue>>>,
}

/// The poll operation of that file.
pub fn poll<'file>(data: &'file Data, table: &FilePollTable<'file>) {
    let guard = data.queue.lock();
    // error: E0597
    table.register_wait(&guard);
}
