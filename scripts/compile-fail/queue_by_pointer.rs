// SPDX-License-Identifier: GPL-2.0
//! The C queue must stay private: a caller could leave an entry in it for ever.

use kernel::{
    bindings,
    sync::WaitQueue, //
};

/// Returns the C queue.
pub fn pointer(queue: &WaitQueue) -> *mut bindings::wait_queue_head {
    // error: E0624
    queue.as_raw()
}
