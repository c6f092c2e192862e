// SPDX-License-Identifier: GPL-2.0
//! Two threads must not share a table: a `poll_table` belongs to one thread.

use kernel::sync::poll::FilePollTable;

fn share<T: Sync>(_: &T) {}

/// Shares a table.
pub fn poll(table: &FilePollTable<'_>) {
    // error: E0277 shared between threads
    share(table)
}
