// SPDX-License-Identifier: GPL-2.0
//! A table of poll's own: a copy could be kept without a borrow.

use kernel::sync::poll::FilePollTable;

/// Copies it.
pub fn copy<'file>(table: &FilePollTable<'file>) -> FilePollTable<'file> {
    // error: E0507
    *table
}
