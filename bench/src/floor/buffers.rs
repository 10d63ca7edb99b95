//! The buffers that multishot receives pick from (io_uring_register_buf_ring(3)).

use std::{
    alloc::{Layout, alloc_zeroed, handle_alloc_error},
    sync::atomic::{AtomicU16, Ordering},
};

use anyhow::Result;
use io_uring::{IoUring, types::BufRingEntry};

/// The number under which the kernel knows them.
pub const GROUP: u16 = 0;
/// How many; a power of two.
const COUNT: u16 = 1024;
/// Bytes of each: room for 240 requests.
const LENGTH: usize = 4096;

/// Registered once, and kept until the process ends.
pub struct Buffers {
    entries: *mut BufRingEntry,
    storage: Vec<u8>,
    tail: u16,
}

impl Buffers {
    pub fn register(ring: &IoUring) -> Result<Buffers> {
        let size = usize::from(COUNT) * size_of::<BufRingEntry>();
        let layout = Layout::from_size_align(size, 4096)?;
        // SAFETY: the layout is not empty.
        let entries = unsafe { alloc_zeroed(layout) }.cast::<BufRingEntry>();
        if entries.is_null() {
            handle_alloc_error(layout);
        }
        let storage = vec![0; usize::from(COUNT) * LENGTH];
        // SAFETY: the memory is page-aligned, as long as COUNT entries, and never freed.
        unsafe { ring.submitter().register_buf_ring_with_flags(entries as u64, COUNT, GROUP, 0) }?;
        let mut buffers = Buffers { entries, storage, tail: 0 };
        (0..COUNT).for_each(|buffer| buffers.give_back(buffer));
        buffers.publish();
        Ok(buffers)
    }

    /// What was received into a buffer.
    pub fn get(&self, buffer: u16, length: usize) -> &[u8] {
        &self.storage[usize::from(buffer) * LENGTH..][..length]
    }

    /// Lets the kernel have the buffer again from the next [`Self::publish`] on.
    pub fn give_back(&mut self, buffer: u16) {
        // SAFETY: the index is below COUNT, and the kernel does not look at entries from the tail on.
        let entry = unsafe { &mut *self.entries.add(usize::from(self.tail % COUNT)) };
        entry.set_addr(self.storage[usize::from(buffer) * LENGTH..].as_ptr() as u64);
        entry.set_len(LENGTH as u32);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
    }

    /// Tells the kernel of the buffers given back.
    pub fn publish(&self) {
        // SAFETY: the tail lies in the first entry of the registered ring, and nobody else writes it.
        let tail = unsafe { &*BufRingEntry::tail(self.entries).cast::<AtomicU16>() };
        tail.store(self.tail, Ordering::Release);
    }
}
