// SPDX-License-Identifier: GPL-2.0
//! A queue by a reference count of poll's own, which may be the last one when it is put: the file
//! has one, too, but may let go of it before the release.

use kernel::sync::{
    poll::FilePollTable,
    Arc,
    WaitQueue, //
};

/// The poll operation of a file.
pub fn poll<'file>(data: &'file Arc<WaitQueue>, table: &FilePollTable<'file>) {
    let queue = data.clone();
    // error: E0597
    table.register_wait(&queue);
}
