//! The files of all torrents of one shard.
//!
//! A request becomes a [`Job`] of one [`Task`] for each file it touches. A task waits until its file
//! is open ([`files`]), then becomes one operation of the ring; a job ends with its last task, and
//! fails if one of them failed. What is under way is bounded; further tasks wait in line.

mod adopt;
mod at_once;
mod direct;
mod fetch;
mod files;
mod jobs;
mod lanes;
mod seed;
mod sync;
mod torrent;
mod write;

pub use torrent::{Allocation, StoreKey, TorrentFiles};

use crate::{FileStamp, StorageError, StoreLimits, mapping};
use adopt::Adoption;
use fetch::{Neighbours, ReadAhead};
use files::OpenFiles;
use jobs::{Job, Op, Task};
use lanes::Lanes;
use metainfo::{Bitfield, BlockRange, FileIndex, PieceIndex};
use ring::{Buf, FileDone, FileOp, PinnedBytes, Ring, Token};
use slab::Slab;
use std::{
    collections::{HashMap, VecDeque},
    ops::Range,
    rc::Rc,
};
use sync::Folder;
use torrent::Torrents;

/// Top byte of the tokens of this crate's file operations; other users of the same ring choose
/// others and hand over what has this one.
pub const TOKEN_SPACE: u64 = 0x53 << 56;

/// What came of a request.
#[derive(Debug)]
pub enum StoreEvent {
    /// The bytes that [`Store::fetch`] or [`Store::read_piece`] asked for.
    Fetched {
        /// Whose they are.
        key: StoreKey,
        /// The request's own number.
        cookie: u64,
        /// Which bytes of the torrent.
        block: BlockRange,
        /// They are in here,
        data: Rc<Buf>,
        /// at this place.
        range_in_buf: Range<usize>,
    },
    /// A neighbour of a block that [`Store::fetch`] was asked for has been read, and the block has most
    /// likely come with it: [`Store::push_block`] tells, and if not, it is to be fetched again.
    Arrived {
        /// Whose it is.
        key: StoreKey,
        /// The request's own number.
        cookie: u64,
        /// Which bytes of the torrent.
        block: BlockRange,
    },
    /// They could not be read. Files that turned out wrong are opened anew at the next request.
    FetchFailed {
        /// Whose they are.
        key: StoreKey,
        /// The request's own number.
        cookie: u64,
        /// Which bytes of the torrent.
        block: BlockRange,
        /// Why.
        error: StorageError,
    },
    /// Every byte of the piece has been written: it may be announced and served. It is not yet
    /// durable (see [`StoreEvent::Synced`]).
    PieceWritten {
        /// Whose it is.
        key: StoreKey,
        /// Which.
        piece: PieceIndex,
    },
    /// The piece, or a part of it, could not be written.
    WriteFailed {
        /// Whose it is.
        key: StoreKey,
        /// Which.
        piece: PieceIndex,
        /// Why.
        error: StorageError,
    },
    /// What was written before [`Store::sync`] was called is on the disk.
    Synced {
        /// Whose.
        key: StoreKey,
        /// All pieces that survive a loss of power now.
        durable: Bitfield,
        /// One for each file in the order of the layout, then one for the part file.
        stamps: Vec<FileStamp>,
    },
    /// The disk refused to keep what was written. The kernel may have dropped the bytes, so the
    /// pieces must be read back and checked, or fetched again, before they are claimed.
    SyncFailed {
        /// Whose.
        key: StoreKey,
        /// The pieces that were written since the last sync that succeeded.
        suspect: Bitfield,
        /// Why.
        error: StorageError,
    },
    /// All wanted files are there in their exact length, empty ones too.
    FilesFinished {
        /// Whose.
        key: StoreKey,
    },
    /// A file that became wanted is in its place, with the bytes that the part file had for it.
    FileAdopted {
        /// Whose.
        key: StoreKey,
        /// Which.
        file: FileIndex,
    },
    /// Something is wrong with a file, found outside of any request.
    FileTrouble {
        /// Whose.
        key: StoreKey,
        /// What.
        error: StorageError,
    },
}

impl StoreEvent {
    /// Whose it is.
    pub fn key(&self) -> StoreKey {
        match self {
            StoreEvent::Fetched { key, .. }
            | StoreEvent::Arrived { key, .. }
            | StoreEvent::FetchFailed { key, .. }
            | StoreEvent::PieceWritten { key, .. }
            | StoreEvent::WriteFailed { key, .. }
            | StoreEvent::Synced { key, .. }
            | StoreEvent::SyncFailed { key, .. }
            | StoreEvent::FilesFinished { key }
            | StoreEvent::FileAdopted { key, .. }
            | StoreEvent::FileTrouble { key, .. } => *key,
        }
    }
}

/// Whether a block could be sent from memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pushed {
    /// The batch refers to it now.
    Done,
    /// It must be read first ([`Store::fetch`]); the batch is as it was.
    Cold,
}

/// An opening that found no descriptor.
enum Starved {
    /// By its slot.
    File(usize),
    Folder(Folder),
}

/// The files of all torrents of one shard: which are open, mapped and in memory, and every file
/// operation under way. Never blocks: everything goes through the ring that the calls are given,
/// which must be the same each time.
///
/// No event comes for a torrent after [`Store::remove`].
pub struct Store {
    limits: StoreLimits,
    torrents: Torrents,
    files: OpenFiles,
    jobs: Slab<Job>,
    ops: Slab<Op>,
    adoptions: Slab<Adoption>,
    lanes: Lanes,
    read_ahead: ReadAhead,
    neighbours: Neighbours,
    watch_hand: usize,
    starved: Vec<Starved>,
    zeros: Rc<dyn PinnedBytes>,
    /// Which devices rotate, as far as anybody asked.
    rotates: HashMap<u64, bool>,
    events: VecDeque<StoreEvent>,
}

impl Store {
    /// A store of no torrents.
    pub fn new(limits: StoreLimits) -> Store {
        Store {
            lanes: Lanes::new(limits.under_way),
            limits,
            torrents: Torrents::default(),
            files: OpenFiles::default(),
            jobs: Slab::new(),
            ops: Slab::new(),
            adoptions: Slab::new(),
            read_ahead: ReadAhead::default(),
            neighbours: Neighbours::default(),
            watch_hand: 0,
            starved: Vec::new(),
            zeros: mapping::zeros(),
            rotates: HashMap::new(),
            events: VecDeque::new(),
        }
    }

    /// Takes in a torrent. Nothing is opened until it is needed. No piece counts as had until
    /// [`Store::set_durable`] says so.
    pub fn add(&mut self, files: TorrentFiles) -> StoreKey {
        let lane = self.lanes.of(files.device);
        self.torrents.add(files, lane)
    }

    /// Lets a torrent go. Its files close; operations under way end without a trace.
    pub fn remove(&mut self, key: StoreKey) {
        self.close(key);
        self.torrents.remove(key);
        self.events.retain(|event| event.key() != key);
    }

    /// Closes the torrent's files until they are needed again, for example when it is stopped, or
    /// before its files are moved.
    pub fn close(&mut self, key: StoreKey) {
        let Some(torrent) = self.torrents.get_mut(key) else { return };
        for (file, slot) in torrent.slots() {
            if self.files.is_ready(slot) {
                torrent.clear_slot(file, slot);
                self.files.close(slot);
            }
        }
    }

    /// Forgets which bytes of the torrent were in memory, and that its files are as they were: to be
    /// called when a send from its mappings failed with `EFAULT`. What is asked for next is read,
    /// and an error shows there.
    pub fn doubt(&mut self, key: StoreKey) {
        self.close(key);
    }

    /// The next thing that has happened.
    pub fn poll_event(&mut self) -> Option<StoreEvent> {
        self.events.pop_front()
    }

    /// Files open now.
    pub fn open_files(&self) -> usize {
        self.files.count()
    }

    /// What it may hold at most.
    pub fn limits(&self) -> &StoreLimits {
        &self.limits
    }

    /// Operations under way, and those in line behind them, with the blocks that wait for a neighbour.
    pub fn load(&self) -> (usize, usize) {
        let (under_way, in_line) = self.lanes.load();
        (under_way, in_line + self.neighbours.count())
    }

    /// Whether nothing is under way or in line.
    pub fn is_idle(&self) -> bool {
        let none_waits = self.starved.is_empty() && self.adoptions.is_empty();
        self.ops.is_empty() && self.lanes.is_empty() && none_waits
    }

    /// Takes the end of a file operation whose token is in [`TOKEN_SPACE`].
    pub fn on_file_done(&mut self, ring: &mut Ring, done: FileDone) {
        let index = (done.token.0 & !TOKEN_SPACE) as usize;
        let Some(op) = self.ops.try_remove(index) else {
            debug_assert!(false, "an operation ended twice");
            return;
        };
        match op {
            Op::Prepare { slot } => self.on_prepared(ring, slot, done),
            Op::Task(task) => self.on_task_done(ring, task, done),
            Op::Adopt { adoption } => self.on_adopt_done(ring, adoption, done),
            Op::Direct { slot, key, file } => self.on_direct_opened(slot, key, file, done),
            Op::Folder(folder) => self.on_folder_step(ring, folder, done),
            Op::Watch { slot, key, file } => self.on_watched(slot, key, file, done),
            Op::Forgotten => {}
        }
        if !self.adoptions.is_empty() {
            self.begin_drained(ring);
        }
        self.advance(ring);
    }

    /// Whether the torrent's device gives no answer: what is asked of it waits.
    pub fn is_stalled(&self, key: StoreKey) -> bool {
        self.lanes.is_stalled(key.lane)
    }

    /// Bytes of pieces that wait to be written on devices that give no answer.
    pub fn stalled_bytes(&self) -> u64 {
        self.lanes.stalled_bytes()
    }

    fn submit(&mut self, ring: &mut Ring, op: Op, file_op: FileOp) {
        let index = self.ops.insert(op);
        ring.submit(file_op, Token(TOKEN_SPACE | index as u64));
    }

    /// An event of a torrent that is still here.
    fn emit(&mut self, key: StoreKey, event: StoreEvent) {
        if self.torrents.get(key).is_some() {
            self.events.push_back(event);
        }
    }
}
