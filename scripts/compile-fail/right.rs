// SPDX-License-Identifier: GPL-2.0
//! This program builds. It uses all that the others use, so that each of them is rejected only for
//! its own error.

use kernel::{
    bindings,
    prelude::*,
    sync::{
        new_mutex,
        new_wait_queue,
        poll::{
            FilePollTable,
            PollEvent,
            PollEvents, //
        },
        Arc,
        Mutex,
        WaitQueue, //
    }, //
};

/// The data of a file, with a queue in each allowed place.
#[pin_data]
pub struct Data {
    #[pin]
    own: WaitQueue,
    boxed: Pin<KBox<WaitQueue>>,
    shared: Arc<WaitQueue>,
    #[pin]
    ready: Mutex<bool>,
}

impl Data {
    /// Makes the data.
    pub fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            own <- new_wait_queue!("own"),
            boxed: KBox::pin_init(new_wait_queue!("boxed"), GFP_KERNEL)?,
            shared: Arc::pin_init(new_wait_queue!("shared"), GFP_KERNEL)?,
            ready <- new_mutex!(false),
        })
    }

    fn poll<'file>(
        &'file self,
        table: &FilePollTable<'file>,
        other: &'static WaitQueue,
    ) -> PollEvents {
        table.register_wait(&self.own);
        register(table, &self.boxed);
        register(table, &self.shared);
        register(table, other);

        if *self.ready.lock() {
            PollEvent::In.into()
        } else {
            PollEvents::empty()
        }
    }
}

/// Registers a queue that has the lifetime of the table.
fn register<'a>(table: &FilePollTable<'a>, queue: &'a WaitQueue) {
    table.register_wait(queue)
}

/// Polls a file, and inside it another file. Each has its own table.
///
/// # Safety
///
/// Same requirements as `FilePollTable::with`, for both files.
pub unsafe fn poll(
    files: [*mut bindings::file; 2],
    tables: [*mut bindings::poll_table; 2],
    data: [*const Data; 2],
    queue: &'static WaitQueue,
) -> PollEvents {
    // SAFETY: This function has the same requirements.
    unsafe {
        FilePollTable::with(files[0], tables[0], data[0], |data0, table0| {
            FilePollTable::with(files[1], tables[1], data[1], |data1, table1| {
                data0.poll(table0, queue) | data1.poll(table1, queue)
            })
        })
    }
}

/// Wakes all waiters, then waits.
pub fn wait(queue: Pin<&mut WaitQueue>) -> Result {
    queue.wake_up_all_poll(PollEvent::In | PollEvent::RdNorm);
    queue.wait_event_freezable(|| true)
}
