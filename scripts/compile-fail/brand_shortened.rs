// SPDX-License-Identifier: GPL-2.0
//! A table that passes for one of a shorter lifetime, and so would take a queue of that.

use kernel::sync::poll::FilePollTable;

/// Shortens it.
pub fn shorten<'short, 'file: 'short>(
    table: &'short FilePollTable<'file>,
) -> &'short FilePollTable<'short> {
    // error: lifetime may not live long enough
    table
}
