// SPDX-License-Identifier: GPL-2.0
//! A queue must be pinned when it is made: an unpinned one could move.

use kernel::{
    prelude::*,
    sync::{
        new_wait_queue,
        WaitQueue, //
    }, //
};

/// Makes a queue that is not pinned.
pub fn new() -> Result<KBox<WaitQueue>> {
    // error: E0277 Init<WaitQueue
    KBox::<WaitQueue>::init(new_wait_queue!("unpinned"), GFP_KERNEL)
}
