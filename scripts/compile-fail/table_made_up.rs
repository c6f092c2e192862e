// SPDX-License-Identifier: GPL-2.0
//! Safe code must not make a table: nothing says that its pointers are valid.

use core::marker::PhantomData as P;
use kernel::{
    bindings,
    sync::poll::FilePollTable, //
};

/// Makes a table.
#[rustfmt::skip] // Some compilers name each line that has a private field.
pub fn new<'f>(file: *mut bindings::file, table: *mut bindings::poll_table) -> FilePollTable<'f> {
    // error: E0451
    FilePollTable { file, table, _file: P }
}
