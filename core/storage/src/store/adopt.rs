//! Files that become wanted: their bytes move from the part file to where they belong.
//!
//! The file is put together under another name, synced and renamed, so that at every moment, also
//! after a crash, a file with the right name has all bytes that were had. Tasks that want the file
//! meanwhile wait with its [`Adoption`].

use super::{
    Op, Store, StoreEvent, StoreKey, Task,
    jobs::JobKind,
    torrent::{Place, Torrent},
};
use crate::{StorageError, limits::COPY_LENGTH, paths};
use ring::{File, FileDone, FileOp, OpenOptions, Ring};
use std::{collections::BTreeSet, io, ops::Range, path::Path, path::PathBuf, rc::Rc, sync::Arc};

pub(super) struct Adoption {
    key: StoreKey,
    file: u32,
    step: Step,
    /// What is left to copy, in the torrent's bytes; the last comes first.
    left: Vec<Range<u64>>,
    parts: Option<File>,
    copy: Option<File>,
    waiting: Vec<Task>,
    still_wanted: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// Writes to the part file end first.
    Draining,
    Looking,
    OpeningParts,
    OpeningCopy,
    Growing,
    Reading,
    Writing,
    Syncing,
    MakingFolder,
    Renaming,
}

impl Store {
    /// Says which files of the layout are wanted from now on. Those that are not are never made;
    /// what they share of wanted pieces goes to the part file. Those that become wanted get what the
    /// part file has of them: [`StoreEvent::FileAdopted`] for each, or [`StoreEvent::FileTrouble`],
    /// after which the same call tries again.
    ///
    /// # Panics
    /// If `wanted` does not have as many entries as the layout has files.
    pub fn set_wanted(&mut self, ring: &mut Ring, key: StoreKey, wanted: &[bool]) {
        let Some(torrent) = self.torrents.get_mut(key) else { return };
        assert_eq!(wanted.len(), torrent.layout.file_count() as usize, "a flag for each file");
        let mut moving = Vec::new();
        let layout = Arc::clone(&torrent.layout);
        for (index, _) in layout.files().filter(|(_, file)| !file.is_pad()) {
            let (file, wanted) = (index.get(), wanted[index.as_usize()]);
            match (torrent.place(file), wanted) {
                (Place::Wanted, false) => torrent.set_place(file, Place::Unknown),
                (Place::Kept, true) => torrent.set_place(file, Place::Wanted),
                (Place::Unknown | Place::Parts, true) => {
                    torrent.set_place(file, Place::Moving);
                    moving.push(file);
                }
                (Place::Moving, wanted) => {
                    let mut adoptions = self.adoptions.iter_mut().map(|(_, adoption)| adoption);
                    if let Some(adoption) = adoptions.find(|a| a.key == key && a.file == file) {
                        adoption.still_wanted = wanted;
                    }
                }
                _ => {}
            }
        }
        for file in moving {
            self.adoptions.insert(Adoption {
                key,
                file,
                step: Step::Draining,
                left: Vec::new(),
                parts: None,
                copy: None,
                waiting: Vec::new(),
                still_wanted: true,
            });
        }
        self.begin_drained(ring);
    }

    pub(super) fn wait_for_adoption(&mut self, task: Task) {
        let mut adoptions = self.adoptions.iter_mut().map(|(_, adoption)| adoption);
        match adoptions.find(|adoption| adoption.key == task.key && adoption.file == task.file) {
            Some(adoption) => adoption.waiting.push(task),
            None => debug_assert!(false, "a file that moves has an adoption"),
        }
    }

    /// Lets those adoptions begin whose torrents write nothing to the part file any more.
    pub(super) fn begin_drained(&mut self, ring: &mut Ring) {
        let draining = |(_, adoption): &(usize, &Adoption)| adoption.step == Step::Draining;
        let draining: Vec<usize> = self.adoptions.iter().filter(draining).map(|(i, _)| i).collect();
        for index in draining {
            let (key, file) = (self.adoptions[index].key, self.adoptions[index].file);
            let Some(torrent) = self.torrents.get(key) else {
                self.end_adoption(ring, index, Place::Wanted);
                continue;
            };
            let parts = torrent.parts();
            let writes =
                |task: &Task| task.key == key && task.file == parts && task.work.may_write();
            let at_work =
                self.ops.iter().any(|(_, op)| matches!(op, Op::Task(task) if writes(task)));
            if at_work || self.files.any_waiting(writes) {
                continue;
            }
            self.adoptions[index].left = self.bytes_had(key, file);
            if self.adoptions[index].left.is_empty() {
                self.end_adoption(ring, index, Place::Wanted);
            } else {
                let path = self.torrents.get(key).map(|t| t.path(file)).unwrap_or_default();
                self.adoption_step(ring, index, Step::Looking, FileOp::Stat { path });
            }
        }
    }

    /// The runs of the file that are in pieces that were written or are being written.
    fn bytes_had(&self, key: StoreKey, file: u32) -> Vec<Range<u64>> {
        let Some(torrent) = self.torrents.get(key) else { return Vec::new() };
        let Some(index) = torrent.layout.file(file) else { return Vec::new() };
        let being_written: BTreeSet<u32> = self
            .jobs
            .iter()
            .filter_map(|(_, job)| match &job.kind {
                JobKind::Write { piece } if job.key == key => Some(piece.get()),
                _ => None,
            })
            .collect();
        let (entry, geometry) = (&torrent.layout[index], torrent.layout.geometry());
        let pieces = torrent.layout.pieces_of(index);
        let had = pieces.filter(|&piece| torrent.has(piece) || being_written.contains(&piece));
        let runs = had.filter_map(|piece| geometry.piece(piece)).map(|piece| {
            let start = geometry.offset_of(piece);
            let end = start + u64::from(geometry.length_of(piece));
            start.max(entry.offset())..end.min(entry.end())
        });
        let mut runs: Vec<Range<u64>> = runs.collect();
        runs.reverse();
        runs
    }

    fn adoption_step(&mut self, ring: &mut Ring, adoption: usize, step: Step, op: FileOp) {
        self.adoptions[adoption].step = step;
        self.submit(ring, Op::Adopt { adoption }, op);
    }

    pub(super) fn on_adopt_done(&mut self, ring: &mut Ring, index: usize, done: FileDone) {
        let adoption = &self.adoptions[index];
        let (key, file, step) = (adoption.key, adoption.file, adoption.step);
        let Some(torrent) = self.torrents.get(key) else {
            return self.end_adoption(ring, index, Place::Wanted);
        };
        let names = Names::new(torrent, file);
        let absent = matches!(&done.result, Err(error) if error.kind() == io::ErrorKind::NotFound);
        match (step, done.result) {
            (Step::Looking, Ok(_)) => self.end_adoption(ring, index, Place::Wanted),
            (Step::Looking, Err(_)) if absent => {
                let op = FileOp::Open { path: names.parts, options: OpenOptions::READ };
                self.adoption_step(ring, index, Step::OpeningParts, op);
            }
            (Step::OpeningParts, Err(_)) if absent => {
                self.end_adoption(ring, index, Place::Wanted);
            }
            (Step::OpeningParts, Ok(_)) => {
                self.adoptions[index].parts = done.file;
                let op = FileOp::Open { path: names.copy, options: OpenOptions::WRITE };
                self.adoption_step(ring, index, Step::OpeningCopy, op);
            }
            (Step::OpeningCopy, Ok(_)) => {
                self.adoptions[index].copy = done.file;
                let length = names.length;
                self.with_copy(ring, index, Step::Growing, |file| FileOp::Truncate {
                    file,
                    length,
                });
            }
            (Step::Growing, Ok(_)) => self.copy_next(ring, index),
            (Step::Reading, Ok(count)) => match done.buf {
                Some(buf) if count > 0 => {
                    let (offset, range) = self.adoption_range(index, names.offset, count);
                    let source = Rc::new(buf);
                    self.with_copy(ring, index, Step::Writing, |file| FileOp::Write {
                        file,
                        offset,
                        source,
                        range,
                    });
                }
                _ => {
                    self.adoptions[index].left.pop();
                    self.copy_next(ring, index);
                }
            },
            (Step::Writing, Ok(count)) => {
                self.skip(index, count as u64);
                self.copy_next(ring, index);
            }
            (Step::Syncing, Ok(_)) => {
                let path = names.folder();
                self.adoption_step(ring, index, Step::MakingFolder, FileOp::MakeDir { path });
            }
            (Step::MakingFolder, Ok(_)) => {
                let op = FileOp::Rename { from: names.copy, to: names.file };
                self.adoption_step(ring, index, Step::Renaming, op);
            }
            (Step::Renaming, Ok(_)) => {
                if let Some(torrent) = self.torrents.get_mut(key) {
                    torrent.writing().name_given(&names.file, None);
                }
                self.end_adoption(ring, index, Place::Wanted);
            }
            (_, Err(error)) => {
                let error = StorageError::new(names.file, error);
                self.submit(ring, Op::Forgotten, FileOp::Unlink { path: names.copy });
                self.emit(key, StoreEvent::FileTrouble { key, error });
                self.end_adoption(ring, index, Place::Parts);
            }
            (Step::Draining, Ok(_)) => debug_assert!(false, "draining has no operation"),
        }
    }

    fn with_copy(
        &mut self,
        ring: &mut Ring,
        index: usize,
        step: Step,
        op: impl FnOnce(File) -> FileOp,
    ) {
        if let Some(copy) = self.adoptions[index].copy.clone() {
            self.adoption_step(ring, index, step, op(copy));
        }
    }

    fn copy_next(&mut self, ring: &mut Ring, index: usize) {
        let adoption = &self.adoptions[index];
        let (Some(run), Some(file)) = (adoption.left.last(), adoption.parts.clone()) else {
            return self.with_copy(ring, index, Step::Syncing, |file| FileOp::SyncData { file });
        };
        let (offset, length) = (run.start, (run.end - run.start).min(COPY_LENGTH) as usize);
        let buf = ring.buffers().get(length);
        let op = FileOp::Read { file, offset, buf, length };
        self.adoption_step(ring, index, Step::Reading, op);
    }

    /// Where the bytes that were read just now belong in the file, and in the buffer.
    fn adoption_range(&self, index: usize, base: u64, count: usize) -> (u64, Range<usize>) {
        let start = self.adoptions[index].left.last().map_or(base, |run| run.start);
        (start - base, 0..count)
    }

    fn skip(&mut self, index: usize, count: u64) {
        let left = &mut self.adoptions[index].left;
        if let Some(run) = left.last_mut() {
            run.start += count;
            if run.start >= run.end {
                left.pop();
            }
        }
    }

    /// The file is in this place from now on; whoever waited goes on.
    fn end_adoption(&mut self, ring: &mut Ring, index: usize, place: Place) {
        let Adoption { key, file, waiting, still_wanted, .. } = self.adoptions.remove(index);
        if let Some(torrent) = self.torrents.get_mut(key) {
            let unwanted = place == Place::Wanted && !still_wanted;
            torrent.set_place(file, if unwanted { Place::Unknown } else { place });
            if let (Place::Wanted, Some(file)) = (place, torrent.layout.file(file)) {
                self.events.push_back(StoreEvent::FileAdopted { key, file });
            }
        }
        self.close_file(key, file);
        for task in waiting {
            self.route(ring, task);
        }
        self.drop_part_file(ring, key);
    }

    /// Removes the part file once every file is wanted.
    fn drop_part_file(&mut self, ring: &mut Ring, key: StoreKey) {
        let Some(torrent) = self.torrents.get_mut(key) else { return };
        let Some(places) = &torrent.places else { return };
        if places.iter().any(|&place| place != Place::Wanted) {
            return;
        }
        torrent.places = None;
        let parts = torrent.parts();
        let path = torrent.path(parts);
        torrent.writing().dirty.remove(&parts);
        self.close_file(key, parts);
        self.submit(ring, Op::Forgotten, FileOp::Unlink { path });
    }
}

/// The names that an adoption works with.
struct Names {
    file: PathBuf,
    copy: PathBuf,
    parts: PathBuf,
    offset: u64,
    length: u64,
}

impl Names {
    fn new(torrent: &Torrent, file: u32) -> Names {
        let offset = torrent.layout.file(file).map_or(0, |file| torrent.layout[file].offset());
        Names {
            file: torrent.path(file),
            copy: paths::copy_file(&torrent.root, torrent.info_hash, file),
            parts: torrent.path(torrent.parts()),
            offset,
            length: torrent.expected_length(file),
        }
    }

    fn folder(&self) -> PathBuf {
        self.file.parent().map_or_else(PathBuf::new, Path::to_path_buf)
    }
}
