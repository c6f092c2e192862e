// SPDX-License-Identifier: GPL-2.0
//! A table that passes for one of a longer lifetime, and so could be kept for as long.

use kernel::sync::poll::FilePollTable;

/// Lengthens it.
pub fn lengthen<'short, 'long: 'short>(
    table: &'short FilePollTable<'short>,
) -> &'short FilePollTable<'long> {
    // error: lifetime may not live long enough
    table
}
