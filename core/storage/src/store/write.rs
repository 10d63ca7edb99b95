//! Writing pieces, and finishing files.

use super::{
    Store, StoreEvent, StoreKey, Task,
    jobs::{JobKind, Work},
    torrent::Place,
};
use crate::StorageError;
use metainfo::{PieceIndex, Span};
use ring::{Buf, Ring};
use std::{ops::Range, rc::Rc};

impl Store {
    /// Writes a piece that has been verified: `data` begins with all its bytes.
    /// [`StoreEvent::PieceWritten`] follows once every file of it has been written, or
    /// [`StoreEvent::WriteFailed`]. Makes folders and files as needed.
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
        let job = self.begin_job(key, JobKind::Write { piece });
        let mut at = 0;
        for span in spans {
            let range = at..at + span.length as usize;
            at = range.end;
            if !span.pad {
                self.start(ring, write_task(key, job, &span, &data, range));
            }
        }
        self.end_task(ring, job, Ok(()));
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

fn write_task(key: StoreKey, job: usize, span: &Span, data: &Rc<Buf>, range: Range<usize>) -> Task {
    let work = Work::Write { job, source: Rc::clone(data), range, direct: false };
    Task { key, file: span.file.get(), offset: span.offset, work }
}
