// SPDX-License-Identifier: GPL-2.0
//! A queue must not move: the entries of its waiters point to its old place.

use core::{
    mem,
    pin::Pin, //
};
use kernel::sync::WaitQueue;

/// Exchanges two queues.
pub fn swap(one: Pin<&mut WaitQueue>, two: Pin<&mut WaitQueue>) {
    // error: E0277 PhantomPinned
    mem::swap(one.get_mut(), two.get_mut());
}
