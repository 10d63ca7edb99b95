//! The ring of receive buffers that are lent to the kernel (io_uring_setup_buf_ring(3)).

use crate::{
    buffer::{Pages, RecvArena},
    limits,
};
use io_uring::{Submitter, types::BufRingEntry};
use std::{
    io,
    rc::Rc,
    sync::atomic::{AtomicU16, Ordering},
};

/// The one buffer group of a ring.
pub(super) const GROUP: u16 = 0;

/// Buffers lent to the kernel, out of the arena's free list.
///
/// The kernel fills buffers in the order in which they were lent, so lending all of them would walk
/// through all their memory. Only `target` are lent at a time; each time the kernel runs out, twice
/// as many.
pub(super) struct LentBuffers {
    arena: Rc<RecvArena>,
    entries: Pages,
    mask: u16,
    tail: u16,
    lent: u16,
    target: u16,
    /// Calls of [`Self::trim`] since the kernel ran out.
    at_ease: u8,
}

impl LentBuffers {
    pub(super) fn register(
        submitter: &Submitter<'_>,
        arena: Rc<RecvArena>,
        count: u16,
    ) -> io::Result<LentBuffers> {
        assert!(count.is_power_of_two());
        let entries = Pages::new(usize::from(count) * size_of::<BufRingEntry>())?;
        // SAFETY: the memory is page-aligned, as long as the kernel is told, and lives in the
        // driver as long as the ring.
        unsafe {
            submitter.register_buf_ring_with_flags(entries.as_ptr() as u64, count, GROUP, 0)?
        };
        let target = limits::RECV_BUFFERS_AT_FIRST.min(count);
        let (mask, tail, lent, at_ease) = (count - 1, 0, 0, 0);
        let mut lent = LentBuffers { arena, entries, mask, tail, lent, target, at_ease };
        lent.refill();
        Ok(lent)
    }

    /// Lends free buffers up to the target.
    pub(super) fn refill(&mut self) {
        let before = self.tail;
        while self.lent < self.target {
            let Some(number) = self.arena.take() else { break };
            self.push(number);
            self.lent += 1;
        }
        if self.tail != before {
            self.publish();
        }
    }

    fn push(&mut self, number: u16) {
        let entries = self.entries.as_ptr().cast::<BufRingEntry>();
        // SAFETY: the index is masked to the ring's size. The kernel does not read this entry
        // before `publish` moves the tail past it. Only the three fields are written, so the tail,
        // which shares memory with the first entry, is left alone.
        let entry = unsafe { &mut *entries.add(usize::from(self.tail & self.mask)) };
        entry.set_addr(self.arena.address(number) as u64);
        entry.set_len(self.arena.buffer_length() as u32);
        entry.set_bid(number);
        self.tail = self.tail.wrapping_add(1);
    }

    fn publish(&mut self) {
        let entries = self.entries.as_ptr().cast::<BufRingEntry>();
        // SAFETY: the tail lies within the first entry, is aligned for u16, and is shared with the
        // kernel, so it is written as an atomic, after the entries it covers.
        unsafe {
            let tail = AtomicU16::from_ptr(BufRingEntry::tail(entries).cast_mut());
            tail.store(self.tail, Ordering::Release);
        }
    }

    /// The kernel has filled one.
    pub(super) fn took(&mut self) {
        self.lent -= 1;
    }

    /// The kernel found none: lend more from now on.
    pub(super) fn ran_out(&mut self) {
        self.target = self.target.saturating_mul(2).min(self.mask + 1);
        self.at_ease = 0;
    }

    /// Lends fewer when the kernel has not run out for long; those it has stay lent until they are
    /// filled. To be called once a second.
    pub(super) fn trim(&mut self) {
        self.at_ease += 1;
        if self.at_ease == limits::LENT_FOR {
            self.at_ease = 0;
            let first = limits::RECV_BUFFERS_AT_FIRST.min(self.target);
            self.target = (self.target / 2).max(first);
        }
    }
}
