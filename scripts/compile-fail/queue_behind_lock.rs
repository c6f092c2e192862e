// SPDX-License-Identifier: GPL-2.0
//! A queue that is there only as long as a lock is held: whoever takes the lock next may put
//! another in its place.

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
