// SPDX-License-Identifier: GPL-2.0
//! A table must not be copied: the copy would not borrow the original.

use kernel::sync::poll::FilePollTable;

/// Copies a table.
pub fn copy<'file>(table: &FilePollTable<'file>) -> FilePollTable<'file> {
    // error: E0507
    *table
}
