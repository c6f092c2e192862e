// SPDX-License-Identifier: GPL-2.0
//! A table must not pass for one of a shorter lifetime: it would accept a queue that is freed
//! before the file.

use kernel::sync::poll::FilePollTable;

/// Shortens the lifetime of a table.
pub fn shorten<'short, 'file: 'short>(
    table: &'short FilePollTable<'file>,
) -> &'short FilePollTable<'short> {
    // error: lifetime may not live long enough
    table
}
