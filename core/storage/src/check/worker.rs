//! Whoever takes the turns of a checker.

use super::{CheckRequest, Device, Shared, Turn, reader::Reader, settle};
use crate::{FileStamp, paths};
use std::sync::Arc;

/// Takes the turns of a [`Checker`]: what each of its threads is.
pub struct CheckWorker {
    pub(super) shared: Arc<Shared>,
    pub(super) reader: Reader,
}

impl CheckWorker {
    /// Takes the next turn: a look at a torrent's files, a group of its pieces, or its end. `false` if
    /// there is nothing to do.
    pub fn turn(&mut self) -> bool {
        let turn = self.shared.turn_now(&mut self.shared.lock());
        turn.is_some_and(|turn| {
            self.take(turn);
            true
        })
    }

    pub(super) fn take(&mut self, turn: Turn) {
        let shared = &self.shared;
        match turn {
            Turn::Look(job) => {
                let device = Device::of(&job.request.root);
                let in_line = shared.lock().jobs.len();
                let settled = settle::settle(&job.request, &shared.synced, in_line);
                let stamps = stamps(&job.request);
                shared.has_looked(&job, device, settled, stamps);
            }
            Turn::Group(job, device, pieces) => {
                let found = self.reader.check(&job, &pieces);
                shared.take_back(&job, device, found);
            }
            Turn::End(job) => job.end(),
            Turn::Stop => {}
        }
    }
}

fn stamps(request: &CheckRequest) -> Vec<FileStamp> {
    let (root, layout) = (&request.root, &request.layout);
    (0..=layout.file_count())
        .map(|number| match layout.file(number) {
            Some(file) if layout[file].is_pad() => FileStamp::ABSENT,
            _ => {
                let path = paths::of_number(root, layout, request.info_hash, number);
                // Whatever is there could not be looked at.
                FileStamp::read(&path).unwrap_or(FileStamp::DUBIOUS)
            }
        })
        .collect()
}
