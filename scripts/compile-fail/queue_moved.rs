// SPDX-License-Identifier: GPL-2.0
//! A queue that moves although waiters may be in it: they are linked to where it was.

use core::{
    mem,
    pin::Pin, //
};
use kernel::sync::WaitQueue;

/// Exchanges two.
pub fn swap(one: Pin<&mut WaitQueue>, two: Pin<&mut WaitQueue>) {
    // error: E0277 PhantomPinned
    mem::swap(one.get_mut(), two.get_mut());
}
