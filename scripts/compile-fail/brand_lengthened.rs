// SPDX-License-Identifier: GPL-2.0
//! A table must not pass for one of a longer lifetime: it could be kept for that long.

use kernel::sync::poll::FilePollTable;

/// Lengthens the lifetime of a table.
pub fn lengthen<'short, 'long: 'short>(
    table: &'short FilePollTable<'short>,
) -> &'short FilePollTable<'long> {
    // error: lifetime may not live long enough
    table
}
