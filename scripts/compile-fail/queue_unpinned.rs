// SPDX-License-Identifier: GPL-2.0
//! A queue that is made where it may be moved away from.

use kernel::{
    prelude::*,
    sync::{
        new_wait_queue,
        WaitQueue, //
    }, //
};

/// Makes one.
pub fn new() -> Result<KBox<WaitQueue>> {
    // error: E0277 Init<WaitQueue
    KBox::<WaitQueue>::init(new_wait_queue!("unpinned"), GFP_KERNEL)
}
