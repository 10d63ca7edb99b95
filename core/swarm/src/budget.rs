//! The memory that unfinished pieces may hold, shared by all torrents of a shard.

use std::{cell::Cell, rc::Rc};

/// Bytes that pieces in flight may hold, from the first request until the piece is on disk.
///
/// A handle: clones count against the same limit. A piece is opened only if it fits, except that a
/// torrent without any open piece may always open one, so that a tight budget slows torrents down
/// but starves none.
#[derive(Clone, Debug)]
pub struct MemoryBudget(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    limit: u64,
    used: Cell<u64>,
    parked: Cell<u64>,
}

impl MemoryBudget {
    /// A budget of `bytes`.
    pub fn new(bytes: u64) -> MemoryBudget {
        MemoryBudget(Rc::new(Shared { limit: bytes, used: Cell::new(0), parked: Cell::new(0) }))
    }

    /// Bytes held now; above the limit by one piece per torrent at most.
    pub fn used(&self) -> u64 {
        self.0.used.get()
    }

    /// Bytes that may be held.
    pub fn limit(&self) -> u64 {
        self.0.limit
    }

    /// Says how many of the bytes held wait for disks that do not answer. They do not count, up to
    /// the limit, so that such a disk does not take the memory that others need.
    pub fn park(&self, bytes: u64) {
        self.0.parked.set(bytes.min(self.limit()));
    }

    pub(crate) fn fits(&self, bytes: u32) -> bool {
        self.used().saturating_sub(self.0.parked.get()) + u64::from(bytes) <= self.limit()
    }

    pub(crate) fn take(&self, bytes: u32) {
        self.0.used.set(self.used() + u64::from(bytes));
    }

    pub(crate) fn give_back(&self, bytes: u32) {
        debug_assert!(self.used() >= u64::from(bytes), "more given back than taken");
        self.0.used.set(self.used().saturating_sub(u64::from(bytes)));
    }
}
