//! What the store remembers of each torrent: little while nothing of it is open or being written.

use super::lanes::LaneIndex;
use crate::{FileStamp, paths};
use metainfo::{Bitfield, File, FileIndex, InfoHash, Layout};
use slab::Slab;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A torrent of one [`crate::Store`]. Never taken for another one after its removal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct StoreKey {
    slot: u32,
    generation: u32,
    /// Where its work waits: the line of its device.
    pub(super) lane: LaneIndex,
}

impl StoreKey {
    /// The slot, for tables beside the store's own: small, dense, reused after a removal.
    pub fn slot(self) -> usize {
        self.slot as usize
    }
}

/// How the space of files is reserved.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Allocation {
    /// Files have their full length from the first write, and take space as they fill.
    #[default]
    Sparse,
    /// All of a file's space is taken at its first write (fallocate(2)); as [`Allocation::Sparse`]
    /// where the file system cannot do that.
    Full,
}

/// A torrent as [`crate::Store::add`] takes it.
#[derive(Clone, Debug)]
pub struct TorrentFiles {
    /// Names the part file.
    pub info_hash: InfoHash,
    /// The files.
    pub layout: Arc<Layout>,
    /// The folder that the layout's paths are relative to.
    pub root: Arc<Path>,
    /// Whether each file of the layout is wanted; `None` if all are. Not asked of pad files.
    pub wanted: Option<Box<[bool]>>,
    /// How space is reserved.
    pub allocation: Allocation,
    /// The device that the files are on (`st_dev`), or 0: torrents of one device wait for it
    /// together, and those of others do not.
    pub device: u64,
    /// Whether the page cache may show bytes that are not on the disk
    /// ([`crate::ResumeData::suspects_cache`]): then nothing is taken to be there because it looks so.
    pub suspects_cache: bool,
}

/// Where a file's bytes are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// In the file, which is made if it is not there.
    Wanted,
    /// Not wanted, and nobody has looked whether the file is there from when it was.
    Unknown,
    /// Not wanted, but in the file as it is there.
    Kept,
    /// In the part file.
    Parts,
    /// On the way from the part file to the file; what wants it waits.
    Moving,
}

const NO_SLOT: u32 = u32::MAX;

pub(super) struct Torrent {
    generation: u32,
    pub info_hash: InfoHash,
    pub layout: Arc<Layout>,
    pub root: Arc<Path>,
    pub allocation: Allocation,
    pub suspects_cache: bool,
    /// For each file and then the part file, its slot among the open files; empty while none is.
    slots: Box<[u32]>,
    open: u32,
    /// For each file; `None` if all are wanted.
    pub places: Option<Box<[Place]>>,
    pub held: Held,
}

/// Which pieces the files have.
pub(super) enum Held {
    /// All, durably; nothing will be written.
    All,
    /// What [`Writing`] says.
    Some(Box<Writing>),
}

/// What is remembered while pieces are being written.
pub(super) struct Writing {
    /// Pieces whose writes have all completed, durable or not.
    pub written: Bitfield,
    /// Pieces that survive a loss of power.
    pub durable: Bitfield,
    /// Files written since the last sync began.
    pub dirty: BTreeSet<u32>,
    /// Folders that may have got names since the last sync began.
    pub named: BTreeSet<PathBuf>,
    /// The files as they were when last synced; what is not in it is not known.
    pub stamps: Vec<FileStamp>,
    /// Whether a sync is under way.
    pub syncing: bool,
    /// Whether another one was asked for meanwhile.
    pub sync_again: bool,
    /// Pieces that were written and do not count any more, because a sync of them has failed.
    pub withdrawn: Option<Bitfield>,
}

impl Torrent {
    /// The number that stands for the part file.
    pub fn parts(&self) -> u32 {
        self.layout.file_count()
    }

    pub fn path(&self, file: u32) -> PathBuf {
        paths::of_number(&self.root, &self.layout, self.info_hash, file)
    }

    pub fn place(&self, file: u32) -> Place {
        let places = self.places.as_deref().unwrap_or_default();
        places.get(file as usize).copied().unwrap_or(Place::Wanted)
    }

    pub fn set_place(&mut self, file: u32, place: Place) {
        let count = self.layout.file_count() as usize;
        let places =
            self.places.get_or_insert_with(|| vec![Place::Wanted; count].into_boxed_slice());
        if let Some(known) = places.get_mut(file as usize) {
            *known = place;
        }
    }

    /// Bytes that the file must have; 0 for the part file, of which nothing is known.
    pub fn expected_length(&self, file: u32) -> u64 {
        self.layout.file(file).map_or(0, |file| self.layout[file].length())
    }

    /// Bytes that the file must have now, as pieces that were written lie in them.
    pub fn needed_length(&self, file: u32) -> u64 {
        let Some(index) = self.layout.file(file) else { return 0 };
        let (geometry, entry) = (self.layout.geometry(), &self.layout[index]);
        let last = self.layout.pieces_of(index).rev().find(|&piece| self.has(piece));
        let end = last
            .and_then(|piece| geometry.piece(piece))
            .map_or(0, |piece| geometry.offset_of(piece) + u64::from(geometry.length_of(piece)));
        end.min(entry.end()).saturating_sub(entry.offset())
    }

    /// Whether the file is made if it is not there. One that has pieces, or had some before their sync
    /// failed, was taken away by somebody: a new one would have zeros in their place.
    pub fn may_make(&self, file: u32) -> bool {
        self.place(file) == Place::Wanted
            && self.needed_length(file) == 0
            && !self.has_withdrawn(file)
    }

    fn has_withdrawn(&self, file: u32) -> bool {
        let Held::Some(writing) = &self.held else { return false };
        let Some((withdrawn, index)) = writing.withdrawn.as_ref().zip(self.layout.file(file))
        else {
            return false;
        };
        let mut pieces = self.layout.pieces_of(index);
        pieces.any(|piece| self.layout.geometry().piece(piece).is_some_and(|p| withdrawn.has(p)))
    }

    /// Whether the file had its full length when it was last looked at.
    pub fn was_whole(&self, file: FileIndex) -> bool {
        let Held::Some(writing) = &self.held else { return false };
        let stamp = writing.stamps.get(file.as_usize());
        stamp.is_some_and(|stamp| {
            *stamp != FileStamp::ABSENT && stamp.length == self.layout[file].length()
        })
    }

    /// The file's slot among the open files.
    pub fn slot(&self, file: u32) -> Option<usize> {
        let slot = *self.slots.get(file as usize)?;
        (slot != NO_SLOT).then_some(slot as usize)
    }

    pub fn set_slot(&mut self, file: u32, slot: usize) {
        if self.slots.is_empty() {
            let count = self.layout.file_count() as usize + 1;
            self.slots = vec![NO_SLOT; count].into_boxed_slice();
        }
        self.slots[file as usize] = slot as u32;
        self.open += 1;
    }

    /// Forgets the file's slot if it is this one.
    pub fn clear_slot(&mut self, file: u32, slot: usize) {
        if self.slot(file) == Some(slot) {
            self.slots[file as usize] = NO_SLOT;
            self.open -= 1;
            if self.open == 0 {
                self.slots = Box::default();
            }
        }
    }

    /// The files that have a slot, and which.
    pub fn slots(&self) -> Vec<(u32, usize)> {
        let slots = self.slots.iter().enumerate().filter(|(_, slot)| **slot != NO_SLOT);
        slots.map(|(file, &slot)| (file as u32, slot as usize)).collect()
    }

    /// Begins to remember what is written.
    pub fn writing(&mut self) -> &mut Writing {
        if matches!(self.held, Held::All) {
            let all = Bitfield::all(self.layout.geometry().piece_count());
            self.held = Held::Some(Box::new(Writing::new(&all, &[])));
        }
        match &mut self.held {
            Held::Some(writing) => writing,
            Held::All => unreachable!("it was replaced just now"),
        }
    }

    /// The files of which pieces are durable but nobody has looked how they are.
    pub fn files_without_stamp(&self) -> Vec<u32> {
        let Held::Some(writing) = &self.held else { return Vec::new() };
        let geometry = self.layout.geometry();
        let is_had = |piece| geometry.piece(piece).is_some_and(|piece| writing.durable.has(piece));
        let parts = self.places.is_some().then(|| self.parts());
        let stamp = |index: FileIndex| writing.stamps.get(index.as_usize()).copied();
        let files = self.layout.files().filter(|(index, file)| {
            !file.is_pad()
                && stamp(*index).unwrap_or(FileStamp::ABSENT) == FileStamp::ABSENT
                && self.layout.pieces_of(*index).any(is_had)
        });
        files.map(|(index, _)| index.get()).chain(parts).collect()
    }

    /// Whether all bytes of the piece have been written.
    pub fn has(&self, piece: u32) -> bool {
        match &self.held {
            Held::All => true,
            Held::Some(writing) => {
                self.layout.geometry().piece(piece).is_some_and(|piece| writing.written.has(piece))
            }
        }
    }
}

impl Writing {
    /// Notes that a file may have a name that is not durable, which goes for one that was there
    /// already as well: a process that was killed may have made it. So may the folders above it, up
    /// to the one that the torrent is in, or all if that was made just now.
    pub fn name_given(&mut self, path: &Path, root: Option<&Path>) {
        let outside = root.and_then(Path::parent);
        let folders = path.ancestors().skip(1);
        let folders =
            folders.take_while(|at| outside.is_none_or(|outside| at.starts_with(outside)));
        self.named.extend(folders.filter(|f| !f.as_os_str().is_empty()).map(Path::to_path_buf));
    }

    /// With these pieces had, and stamps as far as they are known.
    pub fn new(durable: &Bitfield, stamps: &[FileStamp]) -> Writing {
        Writing {
            written: durable.clone(),
            durable: durable.clone(),
            dirty: BTreeSet::new(),
            named: BTreeSet::new(),
            stamps: stamps.to_vec(),
            syncing: false,
            sync_again: false,
            withdrawn: None,
        }
    }
}

/// The torrents by their keys.
#[derive(Default)]
pub(super) struct Torrents {
    slab: Slab<Torrent>,
    generation: u32,
}

impl Torrents {
    pub fn add(&mut self, files: TorrentFiles, lane: LaneIndex) -> StoreKey {
        self.generation = self.generation.wrapping_add(1);
        let none = Bitfield::none(files.layout.geometry().piece_count());
        let places = files.wanted.filter(|wanted| wanted.contains(&false)).map(|wanted| {
            let place = |(index, file): (FileIndex, &File)| {
                let wanted = file.is_pad() || wanted.get(index.as_usize()) != Some(&false);
                if wanted { Place::Wanted } else { Place::Unknown }
            };
            files.layout.files().map(place).collect()
        });
        let slot = self.slab.insert(Torrent {
            generation: self.generation,
            info_hash: files.info_hash,
            held: Held::Some(Box::new(Writing::new(&none, &[]))),
            layout: files.layout,
            root: files.root,
            allocation: files.allocation,
            suspects_cache: files.suspects_cache,
            slots: Box::default(),
            open: 0,
            places,
        });
        StoreKey { slot: slot as u32, generation: self.generation, lane }
    }

    pub fn remove(&mut self, key: StoreKey) {
        if self.get(key).is_some() {
            self.slab.remove(key.slot());
        }
    }

    pub fn get(&self, key: StoreKey) -> Option<&Torrent> {
        self.slab.get(key.slot()).filter(|torrent| torrent.generation == key.generation)
    }

    pub fn get_mut(&mut self, key: StoreKey) -> Option<&mut Torrent> {
        self.slab.get_mut(key.slot()).filter(|torrent| torrent.generation == key.generation)
    }
}
