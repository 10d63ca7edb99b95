//! Reading what is not in memory.

use super::{
    Store, StoreEvent, StoreKey, Task,
    jobs::{JobKind, Work},
};
use crate::{
    StorageError,
    limits::{READ_AHEADS, REGION},
};
use metainfo::{BlockRange, PieceIndex, Span};
use ring::Ring;
use std::{
    collections::{HashMap, hash_map::Entry},
    rc::Rc,
};

/// What was last asked to be read ahead, by torrent and piece: so that the first of a piece's blocks
/// asks for the rest of it, and the others do not ask again.
pub(super) struct ReadAhead {
    asked: Box<[Option<Window>]>,
}

#[derive(Clone, Copy)]
struct Window {
    key: StoreKey,
    piece: u32,
    begin: u32,
    end: u32,
}

impl Default for ReadAhead {
    fn default() -> ReadAhead {
        ReadAhead { asked: vec![None; READ_AHEADS].into_boxed_slice() }
    }
}

impl ReadAhead {
    /// The bytes after the block, within its piece, that should be asked for now; none if they were
    /// already.
    fn after(
        &mut self,
        key: StoreKey,
        block: BlockRange,
        piece_length: u32,
        ahead: u32,
    ) -> Option<(u32, u32)> {
        let piece = block.piece().get();
        let place = (key.slot().wrapping_mul(0x9e37_79b1) ^ piece as usize) % self.asked.len();
        let known = self.asked[place].filter(|window| {
            window.key == key
                && window.piece == piece
                && (window.begin..window.end).contains(&block.begin())
        });
        if known.is_some() {
            return None;
        }
        let end = piece_length.min(block.end().saturating_add(ahead));
        self.asked[place] = Some(Window { key, piece, begin: block.begin(), end });
        (end > block.end()).then_some((block.end(), end))
    }
}

/// Blocks that wait for a neighbour to be read. What is asked to be read ahead comes with it, so most of
/// them are in memory then, and need no read of their own: each would take a thread of the kernel's,
/// and all these threads would want the core at the same moment, when the disk has answered.
#[derive(Default)]
pub(super) struct Neighbours {
    /// By the region of which a block is being read.
    waiting: HashMap<Region, Vec<Waiting>>,
    count: usize,
}

/// Neighbours are those in the same part of a piece.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Region {
    key: StoreKey,
    piece: PieceIndex,
    number: u32,
}

struct Waiting {
    cookie: u64,
    block: BlockRange,
}

impl Region {
    fn of(key: StoreKey, block: BlockRange) -> Region {
        Region { key, piece: block.piece(), number: block.begin() / REGION }
    }
}

impl Neighbours {
    /// Whether the block waits, for one of its neighbours is being read. If not it is to be read itself,
    /// and others wait for it.
    fn wait(&mut self, key: StoreKey, block: BlockRange, cookie: u64) -> bool {
        match self.waiting.entry(Region::of(key, block)) {
            Entry::Occupied(mut waiting) => {
                waiting.get_mut().push(Waiting { cookie, block });
                self.count += 1;
                true
            }
            Entry::Vacant(first) => {
                first.insert(Vec::new());
                false
            }
        }
    }

    /// Those that waited for this one.
    fn end(&mut self, key: StoreKey, block: BlockRange) -> Vec<Waiting> {
        let waiting = self.waiting.remove(&Region::of(key, block)).unwrap_or_default();
        self.count -= waiting.len();
        waiting
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }
}

impl Store {
    /// Reads a block that [`Store::push_block`] found cold, and asks for the rest of its piece to be
    /// read ahead; [`StoreEvent::Fetched`], [`StoreEvent::FetchFailed`] or [`StoreEvent::Arrived`] follows
    /// with the cookie. Opens what must be opened. While the disk is silent, what is in memory is had at once.
    pub fn fetch(&mut self, ring: &mut Ring, key: StoreKey, block: BlockRange, cookie: u64) {
        self.fetch_with(ring, key, block, cookie, true);
    }

    /// The same for a block that has [arrived](StoreEvent::Arrived) and is cold all the same: it does not
    /// wait for a neighbour once more. Some file systems never tell that anything is in memory.
    pub fn fetch_alone(&mut self, ring: &mut Ring, key: StoreKey, block: BlockRange, cookie: u64) {
        self.fetch_with(ring, key, block, cookie, false);
    }

    fn fetch_with(
        &mut self,
        ring: &mut Ring,
        key: StoreKey,
        block: BlockRange,
        cookie: u64,
        may_wait: bool,
    ) {
        if self.lanes.is_silent(key.lane)
            && let Some(data) = self.read_at_once(ring, key, block)
        {
            let (data, range_in_buf) = (Rc::new(data), 0..block.length() as usize);
            let event = StoreEvent::Fetched { key, cookie, block, data, range_in_buf };
            return self.emit(key, event);
        }
        if self.lanes.in_line(key.lane) + self.neighbours.count() >= self.limits.in_line {
            let error = StorageError::Busy;
            return self.emit(key, StoreEvent::FetchFailed { key, cookie, block, error });
        }
        // Of a file that is not mapped it could not be told what has come along.
        let leads = may_wait && self.is_mapped(key, block);
        if leads && self.neighbours.wait(key, block, cookie) {
            return;
        }
        let Some(torrent) = self.torrents.get(key) else { return };
        let geometry = torrent.layout.geometry();
        let ahead = self.read_ahead.after(
            key,
            block,
            geometry.length_of(block.piece()),
            self.limits.read_ahead,
        );
        self.read(ring, key, block, cookie, leads);
        if let Some((begin, end)) = ahead {
            self.ask_ahead(ring, key, block.piece(), begin, end);
        }
    }

    /// Reads a whole piece, for example to verify it; answered as [`Store::fetch`] is.
    pub fn read_piece(&mut self, ring: &mut Ring, key: StoreKey, piece: PieceIndex, cookie: u64) {
        let Some(torrent) = self.torrents.get(key) else { return };
        let geometry = torrent.layout.geometry();
        if let Some(block) = geometry.range(piece.get(), 0, geometry.length_of(piece)) {
            self.read(ring, key, block, cookie, false);
        }
    }

    fn read(
        &mut self,
        ring: &mut Ring,
        key: StoreKey,
        block: BlockRange,
        cookie: u64,
        leads: bool,
    ) {
        let Some(torrent) = self.torrents.get(key) else { return };
        let spans: Vec<Span> = torrent.layout.range_spans(block).collect();
        let is_one = matches!(spans.as_slice(), [only] if !only.pad);
        let data = (!is_one).then(|| ring.buffers().get(block.length() as usize));
        let job = self.begin_job(key, JobKind::Fetch { cookie, block, data, leads });
        let mut at = 0;
        for span in spans {
            let length = span.length as usize;
            if span.pad {
                self.zero(job, at, length);
            } else {
                let work = Work::Read { job, length, into: (!is_one).then_some(at) };
                self.start(ring, Task { key, file: span.file.get(), offset: span.offset, work });
            }
            at += length;
        }
        self.end_task(ring, job, Ok(()));
    }

    /// A block has been read, or could not be: its neighbours may try again.
    pub(super) fn end_waiting(&mut self, key: StoreKey, block: BlockRange) {
        for Waiting { cookie, block } in self.neighbours.end(key, block) {
            self.emit(key, StoreEvent::Arrived { key, cookie, block });
        }
    }

    fn zero(&mut self, job: usize, at: usize, length: usize) {
        if let Some(JobKind::Fetch { data: Some(data), .. }) =
            self.jobs.get_mut(job).map(|job| &mut job.kind)
        {
            data[at..at + length].fill(0);
        }
    }

    /// Hints cost nothing to leave out, so they are when work is waiting.
    fn ask_ahead(
        &mut self,
        ring: &mut Ring,
        key: StoreKey,
        piece: PieceIndex,
        begin: u32,
        end: u32,
    ) {
        let Some(torrent) = self.torrents.get(key) else { return };
        let offset = torrent.layout.geometry().offset_of(piece) + u64::from(begin);
        let spans: Vec<Span> = torrent.layout.spans(offset, u64::from(end - begin)).collect();
        for span in spans {
            if span.pad || !self.lanes.has_room(key.lane) {
                continue;
            }
            let work = Work::ReadAhead { length: span.length };
            self.start(ring, Task { key, file: span.file.get(), offset: span.offset, work });
        }
    }
}
