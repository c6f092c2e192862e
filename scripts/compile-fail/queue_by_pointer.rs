// SPDX-License-Identifier: GPL-2.0
//! The C queue itself, in which one could leave an entry for good.

use kernel::{
    bindings,
    sync::WaitQueue, //
};

/// Returns it.
pub fn pointer(queue: &WaitQueue) -> *mut bindings::wait_queue_head {
    // error: E0624
    queue.as_raw()
}
