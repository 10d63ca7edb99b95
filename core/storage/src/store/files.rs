//! The open files of one shard.
//!
//! A file is `Opening`, then perhaps `MakingFolder` and `Opening` again, then `Measuring`, then
//! perhaps `Growing`, then `Ready`. Tasks that come before it is ready wait with it. Which files
//! stay open is decided by a clock hand: one that was used since the hand passed last is spared.

use super::{
    Op, Starved, Store, StoreEvent, StoreKey, Task,
    direct::Direct,
    jobs::Work,
    torrent::{Allocation, Place, Torrents},
};
use crate::{
    StorageError, StoreLimits,
    descriptors::{OPEN_TRIES, are_lacking},
    limits::WATCHED_PER_TICK,
    mapping::Mapped,
};
use ring::{File, FileDone, FileOp, FileStat, OpenOptions, Ring};
use slab::Slab;
use std::{io, os::fd::AsFd, path::Path, path::PathBuf, sync::Arc};

enum Stage {
    Opening,
    MakingFolder,
    Measuring(File),
    /// Getting its full length; the second says whether by allocation.
    Growing(File, bool),
    Ready(File),
}

pub(super) struct OpenFile {
    key: StoreKey,
    file: u32,
    stage: Stage,
    writable: bool,
    /// Whether it was to be made by the opening under way.
    creating: bool,
    folder_made: bool,
    used: bool,
    /// Bytes that it is known to have.
    length: u64,
    inode: u64,
    pub(super) device: u64,
    mapped: Option<Mapped>,
    pub(super) direct: Direct,
    waiting: Vec<Task>,
    /// Whether its name is being looked up.
    watched: bool,
    /// How often its opening has found no descriptor.
    tries: u32,
}

/// The files that are open or about to be, by slot.
#[derive(Default)]
pub(super) struct OpenFiles {
    slab: Slab<OpenFile>,
    hand: usize,
    mappings: usize,
    mapped_bytes: u64,
}

impl OpenFiles {
    pub fn count(&self) -> usize {
        self.slab.len()
    }

    /// The open file, if it is this one: a slot may have changed hands.
    pub fn of(&mut self, slot: usize, key: StoreKey, file: u32) -> Option<&mut OpenFile> {
        self.slab.get_mut(slot).filter(|open| open.key == key && open.file == file)
    }

    pub fn is_ready(&self, slot: usize) -> bool {
        self.ready(slot).is_some()
    }

    /// The file, if it is open and has been looked at.
    pub fn ready(&self, slot: usize) -> Option<&File> {
        match &self.slab.get(slot)?.stage {
            Stage::Ready(file) => Some(file),
            _ => None,
        }
    }

    /// Whether the file is open, or about to be, for writing.
    pub fn is_writable(&self, slot: usize) -> bool {
        self.slab.get(slot).is_some_and(|open| open.writable)
    }

    /// Whether a task like this waits for its file to be ready.
    pub fn any_waiting(&self, wanted: impl Fn(&Task) -> bool) -> bool {
        self.slab.iter().any(|(_, open)| open.waiting.iter().any(&wanted))
    }

    /// Closes the file, unless it is still being got ready: then that ends first. The caller has
    /// cleared the torrent's slot.
    pub fn close(&mut self, slot: usize) {
        if self.is_ready(slot) {
            self.drop_mapping(slot);
            self.slab.remove(slot);
        }
    }

    /// The file's mapping if it can be mapped in its full length, made if need be.
    pub fn mapped(
        &mut self,
        slot: usize,
        length: u64,
        limits: &StoreLimits,
    ) -> Option<&mut Mapped> {
        let open = self.slab.get_mut(slot)?;
        open.used = true;
        if open.mapped.is_none() {
            self.map(slot, length, limits)?;
        }
        self.slab.get_mut(slot)?.mapped.as_mut()
    }

    #[cold]
    fn map(&mut self, slot: usize, length: u64, limits: &StoreLimits) -> Option<()> {
        let open = self.slab.get(slot)?;
        let Stage::Ready(file) = &open.stage else { return None };
        if open.length < length {
            return None;
        }
        let mapped = Mapped::new(file, length).ok()?;
        while self.mappings >= limits.mappings || self.mapped_bytes + length > limits.mapped_bytes {
            let other = self.next_unused(|other, open| other != slot && open.mapped.is_some())?;
            self.drop_mapping(other);
        }
        self.mappings += 1;
        self.mapped_bytes += length;
        self.slab.get_mut(slot)?.mapped = Some(mapped);
        Some(())
    }

    fn drop_mapping(&mut self, slot: usize) {
        if let Some(mapped) = self.slab.get_mut(slot).and_then(|open| open.mapped.take()) {
            self.mappings -= 1;
            self.mapped_bytes -= mapped.len();
        }
    }

    /// A file that qualifies and was not used since the hand passed it last.
    fn next_unused(&mut self, qualifies: impl Fn(usize, &OpenFile) -> bool) -> Option<usize> {
        let slots = self.slab.capacity().max(1);
        for _ in 0..2 * slots {
            self.hand = (self.hand + 1) % slots;
            match self.slab.get_mut(self.hand) {
                Some(open) if !qualifies(self.hand, open) => {}
                Some(open) if open.used => open.used = false,
                Some(_) => return Some(self.hand),
                None => {}
            }
        }
        None
    }

    fn make_room(&mut self, limits: &StoreLimits, torrents: &mut Torrents) {
        while self.slab.len() >= limits.open_files && self.give_one_up(torrents) {}
    }

    /// Closes a file that is not needed just now; whether there was one.
    fn give_one_up(&mut self, torrents: &mut Torrents) -> bool {
        let ready = |_, open: &OpenFile| matches!(open.stage, Stage::Ready(_));
        let Some(slot) = self.next_unused(ready) else { return false };
        let (key, file) = (self.slab[slot].key, self.slab[slot].file);
        if let Some(torrent) = torrents.get_mut(key) {
            torrent.clear_slot(file, slot);
        }
        self.close(slot);
        true
    }
}

impl Store {
    /// Does the task's work, now or as soon as its file is open.
    pub(super) fn with_file(&mut self, ring: &mut Ring, task: Task) {
        let Some(torrent) = self.torrents.get(task.key) else {
            return self.finish(ring, task, Err(StorageError::Removed));
        };
        let writes = task.work.needs_writing();
        let Some(slot) = torrent.slot(task.file) else { return self.open(ring, task) };
        let open = &mut self.files.slab[slot];
        open.used = true;
        match &open.stage {
            Stage::Ready(file) if open.writable || !writes => {
                let (file, length) = (file.clone(), open.length);
                self.work(ring, file, length, task);
            }
            Stage::Ready(_) => {
                open.stage = Stage::Opening;
                open.writable = true;
                open.folder_made = false;
                open.direct = Direct::default();
                open.waiting.push(task);
                self.files.drop_mapping(slot);
                self.open_by_name(ring, slot);
            }
            _ => open.waiting.push(task),
        }
    }

    fn open(&mut self, ring: &mut Ring, task: Task) {
        self.files.make_room(&self.limits, &mut self.torrents);
        let (key, file) = (task.key, task.file);
        let slot = self.files.slab.insert(OpenFile {
            key,
            file,
            stage: Stage::Opening,
            writable: task.work.needs_writing(),
            creating: false,
            folder_made: false,
            used: true,
            length: 0,
            inode: 0,
            device: 0,
            mapped: None,
            direct: Direct::default(),
            waiting: vec![task],
            watched: false,
            tries: 0,
        });
        if let Some(torrent) = self.torrents.get_mut(key) {
            torrent.set_slot(file, slot);
        }
        self.open_by_name(ring, slot);
    }

    fn open_by_name(&mut self, ring: &mut Ring, slot: usize) {
        let open = &mut self.files.slab[slot];
        let Some(torrent) = self.torrents.get(open.key) else {
            return self.abandon(ring, slot, |_| StorageError::Removed);
        };
        let create = open.writable && torrent.may_make(open.file);
        open.creating = create;
        let options = OpenOptions { write: open.writable, create, direct: false };
        let path = torrent.path(open.file);
        self.submit(ring, Op::Prepare { slot }, FileOp::Open { path, options });
    }

    /// Takes a step in getting a file ready.
    pub(super) fn on_prepared(&mut self, ring: &mut Ring, slot: usize, done: FileDone) {
        let lacks_descriptor = done.result.as_ref().is_err_and(are_lacking);
        if lacks_descriptor && self.files.slab[slot].tries < OPEN_TRIES {
            self.files.slab[slot].tries += 1;
            self.starved.push(Starved::File(slot));
            return;
        }
        let open = &mut self.files.slab[slot];
        let Some(torrent) = self.torrents.get_mut(open.key) else {
            return self.abandon(ring, slot, |_| StorageError::Removed);
        };
        let path = torrent.path(open.file);
        let place = torrent.place(open.file);
        let stage = std::mem::replace(&mut open.stage, Stage::Opening);
        match (stage, done.result) {
            (Stage::Opening, Ok(_)) => match done.file {
                Some(file) => {
                    open.stage = Stage::Measuring(file);
                    self.submit(ring, Op::Prepare { slot }, FileOp::Stat { path });
                }
                None => self.fail(ring, slot, io::ErrorKind::Other.into()),
            },
            (Stage::Opening, Err(error)) if error.kind() == io::ErrorKind::NotFound => {
                match place {
                    Place::Unknown => {
                        torrent.set_place(open.file, Place::Parts);
                        self.reroute(ring, slot);
                    }
                    Place::Moving | Place::Parts => self.reroute(ring, slot),
                    // It became wanted in the meantime.
                    Place::Wanted
                        if open.writable && !open.creating && torrent.may_make(open.file) =>
                    {
                        self.open_by_name(ring, slot);
                    }
                    Place::Wanted if open.creating && !open.folder_made => {
                        open.folder_made = true;
                        open.stage = Stage::MakingFolder;
                        let path = path.parent().map_or_else(PathBuf::new, Path::to_path_buf);
                        self.submit(ring, Op::Prepare { slot }, FileOp::MakeDir { path });
                    }
                    Place::Wanted | Place::Kept => self.fail(ring, slot, error),
                }
            }
            (Stage::MakingFolder, Ok(_)) => self.open_by_name(ring, slot),
            (Stage::Measuring(file), Ok(_)) => self.on_opened(ring, slot, file, done.stat),
            (Stage::Growing(file, _), Ok(_)) => {
                open.length = open.length.max(torrent.expected_length(open.file));
                self.become_ready(ring, slot, file);
            }
            (Stage::Growing(file, true), Err(error)) if is_unsupported(&error) => {
                let length = torrent.expected_length(open.file);
                open.stage = Stage::Growing(file.clone(), false);
                self.submit(ring, Op::Prepare { slot }, FileOp::Truncate { file, length });
            }
            (_, Err(error)) => self.fail(ring, slot, error),
            (Stage::Ready(_), Ok(_)) => debug_assert!(false, "a ready file has no step left"),
        }
    }

    fn on_opened(&mut self, ring: &mut Ring, slot: usize, file: File, stat: Option<FileStat>) {
        let open = &mut self.files.slab[slot];
        let Some(torrent) = self.torrents.get_mut(open.key) else {
            return self.abandon(ring, slot, |_| StorageError::Removed);
        };
        let Some(stat) = stat.filter(|stat| stat.is_file) else {
            return self.abandon(ring, slot, |file| StorageError::InTheWay { file });
        };
        (open.length, open.inode, open.device) = (stat.length, stat.inode, stat.device);
        let place = torrent.place(open.file);
        if place == Place::Unknown {
            torrent.set_place(open.file, Place::Kept);
        }
        if open.writable && place == Place::Wanted && stat.length < torrent.needed_length(open.file)
        {
            return self.abandon(ring, slot, |file| StorageError::Truncated { file });
        }
        if open.writable {
            let path = torrent.path(open.file);
            let root = (!open.folder_made).then(|| Arc::clone(&torrent.root));
            torrent.writing().name_given(&path, root.as_deref());
        }
        let length = torrent.expected_length(open.file);
        let allocate = torrent.allocation == Allocation::Full && stat.allocated < length;
        if open.writable && place == Place::Wanted && (stat.length < length || allocate) {
            open.stage = Stage::Growing(file.clone(), allocate);
            let op = if allocate {
                FileOp::Allocate { file, offset: 0, length }
            } else {
                FileOp::Truncate { file, length }
            };
            return self.submit(ring, Op::Prepare { slot }, op);
        }
        self.become_ready(ring, slot, file);
    }

    fn become_ready(&mut self, ring: &mut Ring, slot: usize, file: File) {
        // What is read ahead is asked for by name (`Work::ReadAhead`); the kernel's own guess would
        // be made, and paid for, by the thread that submits the read.
        let _ = rustix::fs::fadvise(file.as_fd(), 0, None, rustix::fs::Advice::Random);
        self.files.slab[slot].stage = Stage::Ready(file);
        self.files.slab[slot].tries = 0;
        for task in std::mem::take(&mut self.files.slab[slot].waiting) {
            self.route(ring, task);
        }
    }

    /// Lets the tasks look for their file again, which is somewhere else.
    fn reroute(&mut self, ring: &mut Ring, slot: usize) {
        for task in self.drop_slot(slot) {
            self.route(ring, task);
        }
    }

    /// The file cannot be had in this way. Tasks that would have it opened in another way, for reading or
    /// for writing, and only met it being opened, try for themselves.
    fn fail(&mut self, ring: &mut Ring, slot: usize, error: io::Error) {
        let writable = self.files.slab[slot].writable;
        let (key, file) = (self.files.slab[slot].key, self.files.slab[slot].file);
        let torrent = self.torrents.get(key);
        let path = torrent.map(|torrent| torrent.path(file)).unwrap_or_default();
        // A part file that is not needed any more has nothing to sync: its bytes have moved to
        // files that were synced.
        let is_moot = torrent.is_some_and(|t| t.parts() == file && t.places.is_none());
        let error = StorageError::new(path, error);
        for task in self.drop_slot(slot) {
            if is_moot && matches!(task.work, Work::Sync { .. }) {
                self.finish(ring, task, Ok(()));
            } else if writable != task.work.needs_writing() {
                self.route(ring, task);
            } else if matches!(task.work, Work::Compare { .. }) {
                self.write_after_all(ring, task);
            } else {
                self.finish(ring, task, Err(error.clone()));
            }
        }
    }

    fn abandon(
        &mut self,
        ring: &mut Ring,
        slot: usize,
        error: impl FnOnce(PathBuf) -> StorageError,
    ) {
        let (key, file) = (self.files.slab[slot].key, self.files.slab[slot].file);
        let path = self.torrents.get(key).map(|torrent| torrent.path(file)).unwrap_or_default();
        let error = error(path);
        for task in self.drop_slot(slot) {
            self.finish(ring, task, Err(error.clone()));
        }
    }

    /// Forgets a file that is not ready and gives the tasks that wait for it.
    fn drop_slot(&mut self, slot: usize) -> Vec<Task> {
        let open = self.files.slab.remove(slot);
        if let Some(torrent) = self.torrents.get_mut(open.key) {
            torrent.clear_slot(open.file, slot);
        }
        open.waiting
    }

    /// Looks at the names of some open files, to see that they still mean the same files; to be
    /// called about once a second. What is wrong comes as [`StoreEvent::FileTrouble`].
    pub fn tick(&mut self, ring: &mut Ring) {
        for device in self.lanes.tick() {
            let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
            tracing::warn!(device = format!("{major}:{minor}"), "the disk does not answer");
        }
        self.try_again(ring);
        self.advance(ring);
        let slots = self.files.slab.capacity();
        for _ in 0..slots.min(WATCHED_PER_TICK) {
            self.watch_hand = (self.watch_hand + 1) % slots;
            let slot = self.watch_hand;
            let Some(open) = self.files.slab.get(slot) else { continue };
            let (key, file) = (open.key, open.file);
            if open.watched || self.lanes.is_stalled(key.lane) {
                continue;
            }
            if let (Stage::Ready(_), Some(torrent)) = (&open.stage, self.torrents.get(key)) {
                let path = torrent.path(file);
                self.files.slab[slot].watched = true;
                self.submit(ring, Op::Watch { slot, key, file }, FileOp::Stat { path });
            }
        }
    }

    /// Opens what found no descriptor, each in the place of a file that is not needed just now: what
    /// took them all, a burst of connections say, may have gone, or it may not.
    fn try_again(&mut self, ring: &mut Ring) {
        for starved in std::mem::take(&mut self.starved) {
            self.files.give_one_up(&mut self.torrents);
            match starved {
                Starved::File(slot) => self.open_by_name(ring, slot),
                Starved::Folder(folder) => self.open_folder(ring, folder),
            }
        }
    }

    pub(super) fn on_watched(&mut self, slot: usize, key: StoreKey, file: u32, done: FileDone) {
        let Some(open) = self.files.of(slot, key, file) else { return };
        open.watched = false;
        if !matches!(open.stage, Stage::Ready(_)) {
            return;
        }
        let Some(torrent) = self.torrents.get_mut(key) else { return };
        let path = torrent.path(file);
        let error = match (done.result, done.stat) {
            (Ok(_), Some(stat)) if (stat.inode, stat.device) != (open.inode, open.device) => {
                StorageError::Replaced { file: path }
            }
            (Ok(_), Some(stat)) if stat.length < open.length => {
                StorageError::Truncated { file: path }
            }
            (Err(error), _) => StorageError::new(path, error),
            _ => return,
        };
        torrent.clear_slot(file, slot);
        self.files.close(slot);
        self.emit(key, StoreEvent::FileTrouble { key, error });
    }
}

fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL))
}
