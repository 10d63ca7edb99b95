//! What survives a loss of power.
//!
//! A sync covers the pieces whose writes had all completed when it began: the files they went to
//! were marked then, at the latest. A piece whose last write completes later waits for the next
//! sync, even if its file is being synced now.

use super::{
    Op, Starved, Store, StoreEvent, StoreKey, Task,
    jobs::{JobKind, Work},
    torrent::{Held, Writing},
};
use crate::{
    FileStamp, StorageError,
    descriptors::{OPEN_TRIES, are_lacking},
    error::folder_needs_no_sync,
};
use metainfo::Bitfield;
use ring::{FileDone, FileOp, FileStat, OpenOptions, Ring};
use std::{collections::BTreeSet, io, path::PathBuf};

/// A folder whose names are being made durable.
pub(super) struct Folder {
    job: usize,
    path: PathBuf,
    /// How often its opening has found no descriptor.
    tries: u32,
}

impl Store {
    /// Says which pieces the files have for sure, from resume data or a recheck, and how the files
    /// looked then (in the order of the layout, then the part file; empty if not known, in which
    /// case the next sync looks). Not to be called while pieces are being written or synced.
    pub fn set_durable(&mut self, key: StoreKey, durable: &Bitfield, stamps: &[FileStamp]) {
        let Some(torrent) = self.torrents.get_mut(key) else { return };
        torrent.held = if durable.is_all() {
            Held::All
        } else {
            Held::Some(Box::new(Writing::new(durable, stamps)))
        };
    }

    /// Makes what has been written durable (fdatasync(2) of the files written since the last sync,
    /// and fsync(2) of the folders that have got new names); [`StoreEvent::Synced`] or
    /// [`StoreEvent::SyncFailed`] follows. A second call while one is under way makes another sync
    /// follow it.
    pub fn sync(&mut self, ring: &mut Ring, key: StoreKey) {
        let Some(torrent) = self.torrents.get_mut(key) else { return };
        let writing = torrent.writing();
        if writing.syncing {
            writing.sync_again = true;
            return;
        }
        writing.syncing = true;
        let pieces = writing.written.clone();
        let files: Vec<u32> = std::mem::take(&mut writing.dirty).into_iter().collect();
        let folders = std::mem::take(&mut writing.named);
        let kind = JobKind::Sync { pieces, files: files.clone(), folders: folders.clone() };
        let job = self.begin_job(key, kind);
        for file in files {
            self.start(ring, Task { key, file, offset: 0, work: Work::Sync { job } });
        }
        for path in folders {
            self.extend_job(job);
            self.open_folder(ring, Folder { job, path, tries: 0 });
        }
        self.end_task(ring, job, Ok(()));
    }

    pub(super) fn open_folder(&mut self, ring: &mut Ring, folder: Folder) {
        let op = FileOp::Open { path: folder.path.clone(), options: OpenOptions::READ };
        self.submit(ring, Op::Folder(folder), op);
    }

    /// A folder was opened, or the names in it are on the disk.
    pub(super) fn on_folder_step(&mut self, ring: &mut Ring, mut folder: Folder, done: FileDone) {
        let result = match (done.result, done.file) {
            (Ok(_), Some(file)) => {
                return self.submit(ring, Op::Folder(folder), FileOp::SyncAll { file });
            }
            (Err(error), _) if are_lacking(&error) && folder.tries < OPEN_TRIES => {
                folder.tries += 1;
                return self.starved.push(Starved::Folder(folder));
            }
            // A folder that has gone took its files with it, which shows there.
            (Err(error), _)
                if error.kind() != io::ErrorKind::NotFound && !folder_needs_no_sync(&error) =>
            {
                Err(StorageError::new(folder.path, error))
            }
            _ => Ok(()),
        };
        self.end_task(ring, folder.job, result);
    }

    /// The data is safe; the files' new stamps are taken before it is told.
    pub(super) fn on_data_synced(
        &mut self,
        ring: &mut Ring,
        key: StoreKey,
        pieces: Bitfield,
        files: Vec<u32>,
    ) {
        let Some(torrent) = self.torrents.get_mut(key) else { return };
        torrent.writing().durable = pieces;
        let unknown = torrent.files_without_stamp();
        let job = self.begin_job(key, JobKind::Stamp);
        for file in files.into_iter().chain(unknown) {
            self.start(ring, Task { key, file, offset: 0, work: Work::Stamp { job } });
        }
        self.end_task(ring, job, Ok(()));
    }

    pub(super) fn on_sync_failed(
        &mut self,
        ring: &mut Ring,
        key: StoreKey,
        pieces: &Bitfield,
        folders: BTreeSet<PathBuf>,
        error: StorageError,
    ) {
        let Some(torrent) = self.torrents.get_mut(key) else { return };
        torrent.suspects_cache = true;
        let geometry = torrent.layout.geometry();
        let writing = torrent.writing();
        writing.named.extend(folders);
        let mut suspect = Bitfield::none(pieces.piece_count());
        for piece in pieces.iter().filter_map(|index| geometry.piece(index)) {
            if !writing.durable.has(piece) {
                suspect.set(piece);
                writing.written.clear(piece);
            }
        }
        let none = || Bitfield::none(pieces.piece_count());
        writing.withdrawn.get_or_insert_with(none).add_all(&suspect);
        self.events.push_back(StoreEvent::SyncFailed { key, suspect, error });
        self.end_sync(ring, key);
    }

    pub(super) fn stamp(&mut self, task: &Task, stat: Option<FileStat>) {
        let Some(torrent) = self.torrents.get_mut(task.key) else { return };
        let count = torrent.layout.file_count() as usize + 1;
        let stamps = &mut torrent.writing().stamps;
        stamps.resize(count, FileStamp::ABSENT);
        if let Some(stamp) = stamps.get_mut(task.file as usize) {
            *stamp = stat.map_or(FileStamp::ABSENT, |stat| FileStamp {
                length: stat.length,
                modified_ns: stat.modified_ns,
            });
        }
    }

    pub(super) fn on_stamped(&mut self, ring: &mut Ring, key: StoreKey) {
        let Some(torrent) = self.torrents.get_mut(key) else { return };
        let count = torrent.layout.file_count() as usize + 1;
        let writing = torrent.writing();
        writing.stamps.resize(count, FileStamp::ABSENT);
        let (durable, stamps) = (writing.durable.clone(), writing.stamps.clone());
        self.events.push_back(StoreEvent::Synced { key, durable, stamps });
        self.end_sync(ring, key);
    }

    fn end_sync(&mut self, ring: &mut Ring, key: StoreKey) {
        let Some(torrent) = self.torrents.get_mut(key) else { return };
        let writing = torrent.writing();
        writing.syncing = false;
        if std::mem::take(&mut writing.sync_again) {
            self.sync(ring, key);
        }
    }
}
