//! Writing pieces, and finishing files.

use super::{
    Store, StoreEvent, StoreKey, Task,
    jobs::{JobKind, Work},
    torrent::Place,
};
use crate::StorageError;
use metainfo::{FileIndex, PieceIndex, Span};
use ring::{Buf, Ring};
use std::rc::Rc;

impl Store {
    /// Writes a piece that has been verified: `data` begins with all its bytes.
    /// [`StoreEvent::PieceWritten`] follows once every file of it has been written, or
    /// [`StoreEvent::WriteFailed`]. Makes folders and files as needed.
    ///
    /// A file that only shares the piece may be whole, because the operator has it already, perhaps
    /// read-only or linked to elsewhere: where it might be, it is compared first, and left alone if it
    /// has these bytes.
    pub fn write_piece(
        &mut self,
        ring: &mut Ring,
        key: StoreKey,
        piece: PieceIndex,
        data: Rc<Buf>,
    ) {
        let Some(torrent) = self.torrents.get(key) else { return };
        debug_assert!(data.len() >= torrent.layout.geometry().length_of(piece) as usize);
        let spans: Vec<Span> = torrent.layout.piece_spans(piece).collect();
        let is_shared = spans.iter().filter(|span| !span.pad).count() > 1;
        let job = self.begin_job(key, JobKind::Write { piece });
        let mut at = 0;
        for span in spans {
            let range = at..at + span.length as usize;
            at = range.end;
            if span.pad {
                continue;
            }
            let source = Rc::clone(&data);
            let work = if is_shared && self.may_be_whole(key, span.file) {
                Work::Compare { job, source, range }
            } else {
                Work::Write { job, source, range, direct: false }
            };
            self.start(ring, Task { key, file: span.file.get(), offset: span.offset, work });
        }
        self.end_task(ring, job, Ok(()));
    }

    /// Whether the file had its length when it was last looked at, and nothing has been written to it
    /// since it was opened: what is being downloaded is not read back. After a sync that failed, what
    /// can be read may not be on the disk.
    fn may_be_whole(&self, key: StoreKey, file: FileIndex) -> bool {
        let Some(torrent) = self.torrents.get(key) else { return false };
        let is_being_written =
            torrent.slot(file.get()).is_some_and(|slot| self.files.is_writable(slot));
        !is_being_written && !torrent.suspects_cache && torrent.was_whole(file)
    }

    /// What was compared is not there, or cannot be read.
    pub(super) fn write_after_all(&mut self, ring: &mut Ring, mut task: Task) {
        task.work = task.work.without_comparing();
        self.route(ring, task);
    }

    pub(super) fn on_piece_done(
        &mut self,
        key: StoreKey,
        piece: PieceIndex,
        error: Option<StorageError>,
    ) {
        let Some(torrent) = self.torrents.get_mut(key) else { return };
        let event = match error {
            None => {
                torrent.writing().written.set(piece);
                StoreEvent::PieceWritten { key, piece }
            }
            Some(error) => StoreEvent::WriteFailed { key, piece, error },
        };
        self.events.push_back(event);
    }

    /// Makes the wanted files that have no bytes, and brings those that are longer or shorter than
    /// the torrent says to their length; files that are right are not opened.
    /// [`StoreEvent::FilesFinished`] or [`StoreEvent::FileTrouble`] follows.
    pub fn finish_files(&mut self, ring: &mut Ring, key: StoreKey) {
        self.settle(ring, key, |_| true, true);
    }

    /// As [`Store::finish_files`] for the files without bytes alone, which a crash may have prevented
    /// when everything else was there. Where they cannot be made, nothing depends on them.
    pub fn make_empty_files(&mut self, ring: &mut Ring, key: StoreKey) {
        self.settle(ring, key, |length| length == 0, false);
    }

    fn settle(
        &mut self,
        ring: &mut Ring,
        key: StoreKey,
        is_asked_for: impl Fn(u64) -> bool,
        matters: bool,
    ) {
        let Some(torrent) = self.torrents.get(key) else { return };
        let wanted: Vec<u32> = torrent
            .layout
            .files()
            .filter(|(index, file)| {
                let attributes = file.attributes();
                let is_real = !attributes.pad && !attributes.symlink;
                let is_here = is_real && torrent.place(index.get()) == Place::Wanted;
                is_here && is_asked_for(file.length())
            })
            .map(|(index, _)| index.get())
            .collect();
        let job = self.begin_job(key, JobKind::Settle { matters });
        for file in wanted {
            self.start(ring, Task { key, file, offset: 0, work: Work::Measure { job } });
        }
        self.end_task(ring, job, Ok(()));
    }

    /// A file was looked up by its name; `length` is `None` if there is no such file.
    pub(super) fn on_measured(&mut self, ring: &mut Ring, mut task: Task, length: Option<u64>) {
        let expected =
            self.torrents.get(task.key).map(|torrent| torrent.expected_length(task.file));
        if expected == length {
            return self.finish(ring, task, Ok(()));
        }
        if let Work::Measure { job } = task.work {
            task.work = Work::Settle { job };
        }
        self.route(ring, task);
    }
}
