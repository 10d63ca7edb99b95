//! Requests cut into tasks of one file each, and their ends put together again.

use super::{Store, StoreEvent, StoreKey, direct::is_refusal, sync::Folder, torrent::Place};
use crate::StorageError;
use metainfo::{Bitfield, BlockRange, PieceIndex};
use ring::{Buf, File, FileDone, FileOp, Ring};
use std::{collections::BTreeSet, io, ops::Range, path::PathBuf, rc::Rc};

/// What an operation of the ring was for.
pub(super) enum Op {
    /// A step in getting a file ready ([`super::files`]).
    Prepare { slot: usize },
    /// The work itself.
    Task(Task),
    /// A step in moving bytes out of the part file ([`super::adopt`]).
    Adopt { adoption: usize },
    /// A second opening of a file, for writes past the page cache ([`super::direct`]).
    Direct { slot: usize, key: StoreKey, file: u32 },
    /// A step in making the names in a folder durable ([`super::sync`]).
    Folder(Folder),
    /// A look at the name of an open file.
    Watch { slot: usize, key: StoreKey, file: u32 },
    /// Nobody waits for the result.
    Forgotten,
}

/// Work on one file.
pub(super) struct Task {
    pub key: StoreKey,
    /// The number of the file, or of the part file.
    pub file: u32,
    /// Bytes from the start of the file.
    pub offset: u64,
    pub work: Work,
}

pub(super) enum Work {
    /// Read into the job's buffer; `into` is the place there, `None` for all of it.
    Read { job: usize, length: usize, into: Option<usize> },
    /// Write this part of a piece.
    Write { job: usize, source: Rc<Buf>, range: Range<usize>, direct: bool },
    /// Write this part of a piece if something else is there ([`Store::write_piece`]).
    Compare { job: usize, source: Rc<Buf>, range: Range<usize> },
    /// Make what was written durable.
    Sync { job: usize },
    /// See how long and how old it is after a sync.
    Stamp { job: usize },
    /// See whether it is there in its exact length.
    Measure { job: usize },
    /// Bring it to its exact length.
    Settle { job: usize },
    /// Ask for bytes that will be wanted soon.
    ReadAhead { length: u64 },
}

impl Work {
    pub fn needs_writing(&self) -> bool {
        matches!(self, Work::Write { .. } | Work::Settle { .. })
    }

    /// Whether it writes, or may find that it has to.
    pub fn may_write(&self) -> bool {
        self.needs_writing() || matches!(self, Work::Compare { .. })
    }

    /// The same without looking what is there.
    pub fn without_comparing(self) -> Work {
        match self {
            Work::Compare { job, source, range } => {
                Work::Write { job, source, range, direct: false }
            }
            work => work,
        }
    }

    /// Bytes of a piece that it has to get to the disk.
    fn bytes_to_write(&self) -> Option<usize> {
        match self {
            Work::Write { range, .. } | Work::Compare { range, .. } => Some(range.len()),
            _ => None,
        }
    }

    /// Whether it goes by the file's name, without opening it.
    fn is_by_name(&self) -> bool {
        matches!(self, Work::Stamp { .. } | Work::Measure { .. })
    }

    fn job(&self) -> Option<usize> {
        match self {
            Work::Read { job, .. }
            | Work::Write { job, .. }
            | Work::Compare { job, .. }
            | Work::Sync { job }
            | Work::Stamp { job }
            | Work::Measure { job }
            | Work::Settle { job } => Some(*job),
            Work::ReadAhead { .. } => None,
        }
    }
}

/// A request under way.
pub(super) struct Job {
    pub key: StoreKey,
    pub kind: JobKind,
    /// Tasks that have not ended, and one more while they are being made.
    left: usize,
    pub error: Option<StorageError>,
}

pub(super) enum JobKind {
    Fetch {
        cookie: u64,
        block: BlockRange,
        data: Option<Buf>,
        /// Whether neighbours wait for it ([`super::fetch`]).
        leads: bool,
    },
    Write {
        piece: PieceIndex,
    },
    Sync {
        pieces: Bitfield,
        files: Vec<u32>,
        folders: BTreeSet<PathBuf>,
    },
    Stamp,
    /// Files get their shape; what goes wrong is told if it matters.
    Settle {
        matters: bool,
    },
}

impl Store {
    /// Opens a job; tasks follow, then [`Store::end_task`] once for the job itself.
    pub(super) fn begin_job(&mut self, key: StoreKey, kind: JobKind) -> usize {
        self.jobs.insert(Job { key, kind, left: 1, error: None })
    }

    /// Makes a job wait for one more [`Store::end_task`].
    pub(super) fn extend_job(&mut self, job: usize) {
        if let Some(job) = self.jobs.get_mut(job) {
            job.left += 1;
        }
    }

    /// Starts a task, or puts it in line.
    pub(super) fn start(&mut self, ring: &mut Ring, task: Task) {
        if let Some(job) = task.work.job() {
            self.extend_job(job);
        }
        if let Some(bytes) = task.work.bytes_to_write() {
            self.lanes.add_writing(task.key.lane, bytes);
        }
        if let Some(task) = self.lanes.enter(task.key.lane, task) {
            self.route(ring, task);
        }
    }

    /// Takes a task that counts as under way to its file.
    pub(super) fn route(&mut self, ring: &mut Ring, mut task: Task) {
        let Some(torrent) = self.torrents.get_mut(task.key) else {
            return self.finish(ring, task, Err(StorageError::Removed));
        };
        if task.work.is_by_name() {
            let path = torrent.path(task.file);
            return self.submit(ring, Op::Task(task), FileOp::Stat { path });
        }
        match torrent.place(task.file) {
            Place::Moving => return self.wait_for_adoption(task),
            Place::Parts => {
                if let Some(file) = torrent.layout.file(task.file) {
                    task.offset += torrent.layout[file].offset();
                }
                task.file = torrent.parts();
                task.work = task.work.without_comparing();
            }
            Place::Wanted | Place::Unknown | Place::Kept => {}
        }
        self.with_file(ring, task);
    }

    /// Does the work, now that its file is open.
    pub(super) fn work(&mut self, ring: &mut Ring, file: File, length: u64, mut task: Task) {
        let file = self.direct_file(ring, &mut task).unwrap_or(file);
        let offset = task.offset;
        let op = match &task.work {
            Work::Read { length, .. } => {
                let buf = ring.buffers().get(*length);
                FileOp::Read { file, offset, buf, length: *length }
            }
            Work::Write { source, range, .. } => {
                FileOp::Write { file, offset, source: Rc::clone(source), range: range.clone() }
            }
            Work::Compare { range, .. } => {
                let length = range.len();
                FileOp::Read { file, offset, buf: ring.buffers().get(length), length }
            }
            Work::Sync { .. } => FileOp::SyncData { file },
            Work::ReadAhead { length } => FileOp::WillNeed { file, offset, length: *length },
            Work::Settle { .. } => {
                let expected =
                    self.torrents.get(task.key).map_or(length, |t| t.expected_length(task.file));
                if expected == length {
                    return self.finish(ring, task, Ok(()));
                }
                FileOp::Truncate { file, length: expected }
            }
            Work::Stamp { .. } | Work::Measure { .. } => {
                unreachable!("these go by the file's name")
            }
        };
        self.submit(ring, Op::Task(task), op);
    }

    pub(super) fn on_task_done(&mut self, ring: &mut Ring, task: Task, done: FileDone) {
        let result = match (&task.work, done.result) {
            (Work::Write { direct: true, .. }, Err(error)) if is_refusal(&error) => {
                return self.write_through_cache(ring, task);
            }
            (Work::ReadAhead { .. }, _) => Ok(()),
            (Work::Read { job, length, into }, Ok(count)) => {
                if count < *length {
                    Err(self.fault(&task, |file| StorageError::Truncated { file }))
                } else {
                    self.deliver(*job, *into, *length, done.buf);
                    Ok(())
                }
            }
            (Work::Write { range, .. }, Ok(count)) if count < range.len() => {
                let short = io::Error::from(io::ErrorKind::WriteZero);
                Err(self.fault(&task, |file| StorageError::new(file, short)))
            }
            (Work::Compare { source, range, .. }, result) => {
                let read = result.ok().zip(done.buf);
                let is_there = read.is_some_and(|(count, buf)| {
                    count == range.len() && buf[..count] == source[range.clone()]
                });
                if !is_there {
                    return self.write_after_all(ring, task);
                }
                // Whoever wrote it may not have synced it.
                if let Some(torrent) = self.torrents.get_mut(task.key) {
                    torrent.writing().dirty.insert(task.file);
                }
                Ok(())
            }
            (Work::Write { .. }, Ok(_)) => {
                if let Some(torrent) = self.torrents.get_mut(task.key) {
                    torrent.writing().dirty.insert(task.file);
                }
                Ok(())
            }
            (Work::Stamp { .. }, result) => {
                self.stamp(&task, result.ok().and(done.stat));
                Ok(())
            }
            (Work::Measure { .. }, result) => {
                let length = result.ok().and(done.stat).filter(|s| s.is_file).map(|s| s.length);
                return self.on_measured(ring, task, length);
            }
            (Work::Settle { .. }, Ok(_)) => {
                self.close_file(task.key, task.file);
                Ok(())
            }
            (Work::Sync { .. }, Ok(_)) => Ok(()),
            (_, Err(error)) => Err(self.fault(&task, |file| StorageError::new(file, error))),
        };
        self.finish(ring, task, result);
    }

    /// An error with the task's file, which is opened anew at the next request.
    fn fault(&mut self, task: &Task, error: impl FnOnce(PathBuf) -> StorageError) -> StorageError {
        self.close_file(task.key, task.file);
        match self.torrents.get(task.key) {
            Some(torrent) => error(torrent.path(task.file)),
            None => StorageError::Removed,
        }
    }

    pub(super) fn close_file(&mut self, key: StoreKey, file: u32) {
        if let Some(torrent) = self.torrents.get_mut(key)
            && let Some(slot) = torrent.slot(file)
            && self.files.is_ready(slot)
        {
            torrent.clear_slot(file, slot);
            self.files.close(slot);
        }
    }

    /// Puts bytes that were read where the job wants them.
    fn deliver(&mut self, job: usize, into: Option<usize>, length: usize, buf: Option<Buf>) {
        let (Some(Job { kind: JobKind::Fetch { data, .. }, .. }), Some(buf)) =
            (self.jobs.get_mut(job), buf)
        else {
            return;
        };
        match (into, data.as_mut()) {
            (Some(at), Some(data)) => data[at..at + length].copy_from_slice(&buf[..length]),
            _ => *data = Some(buf),
        }
    }

    /// Ends a task that was under way. The next in line begins with [`Store::advance`].
    pub(super) fn finish(&mut self, ring: &mut Ring, task: Task, result: Result<(), StorageError>) {
        if let Some(bytes) = task.work.bytes_to_write() {
            self.lanes.end_writing(task.key.lane, bytes);
        }
        self.lanes.end(task.key.lane);
        if let Some(job) = task.work.job() {
            drop(task);
            self.end_task(ring, job, result);
        }
    }

    /// Begins tasks that are in line, as far as there is room.
    pub(super) fn advance(&mut self, ring: &mut Ring) {
        while let Some(next) = self.lanes.next() {
            self.route(ring, next);
        }
    }

    /// Ends one task of a job, and the job if it was the last.
    pub(super) fn end_task(
        &mut self,
        ring: &mut Ring,
        index: usize,
        result: Result<(), StorageError>,
    ) {
        let Some(job) = self.jobs.get_mut(index) else { return };
        if let Err(error) = result {
            job.error.get_or_insert(error);
        }
        job.left -= 1;
        if job.left == 0 {
            let job = self.jobs.remove(index);
            self.end_job(ring, job);
        }
    }

    fn end_job(&mut self, ring: &mut Ring, job: Job) {
        let Job { key, error, .. } = job;
        match job.kind {
            JobKind::Fetch { cookie, block, data, leads } => {
                let event = match (error, data) {
                    (None, Some(data)) => StoreEvent::Fetched {
                        key,
                        cookie,
                        block,
                        data: Rc::new(data),
                        range_in_buf: 0..block.length() as usize,
                    },
                    (error, _) => {
                        let error = error.unwrap_or(StorageError::Removed);
                        StoreEvent::FetchFailed { key, cookie, block, error }
                    }
                };
                self.emit(key, event);
                if leads {
                    self.end_waiting(key, block);
                }
            }
            JobKind::Write { piece } => self.on_piece_done(key, piece, error),
            JobKind::Sync { pieces, files, folders } => match error {
                None => self.on_data_synced(ring, key, pieces, files),
                Some(error) => self.on_sync_failed(ring, key, &pieces, folders, error),
            },
            JobKind::Stamp => self.on_stamped(ring, key),
            JobKind::Settle { matters } => {
                let event = match error.filter(|_| matters) {
                    None => StoreEvent::FilesFinished { key },
                    Some(error) => StoreEvent::FileTrouble { key, error },
                };
                self.emit(key, event);
            }
        }
    }
}
