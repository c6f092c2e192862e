// SPDX-License-Identifier: GPL-2.0
//! A table that two threads use at a time: a `poll_table` belongs to one.

use kernel::sync::poll::FilePollTable;

fn share<T: Sync>(_: &T) {}

/// Shares it.
pub fn poll(table: &FilePollTable<'_>) {
    // error: E0277 shared between threads
    share(table)
}
