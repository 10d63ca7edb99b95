//! Sending from mapped files: the path that every served block takes.

use super::{Pushed, Store, StoreKey, files::OpenFiles, torrent::Torrent};
use crate::{StorageError, StoreLimits, mapping::ZEROS_LENGTH};
use metainfo::{BlockRange, Span};
use ring::{PinnedBytes, SendBatch};
use std::{rc::Rc, time::Duration};

impl Store {
    /// Appends the block to the batch by reference, if all its bytes are in memory and the disk has not
    /// fallen silent ([`super::at_once`]). Neither blocks nor allocates; `now` is the shard's clock.
    pub fn push_block(
        &mut self,
        now: Duration,
        key: StoreKey,
        block: BlockRange,
        batch: &mut SendBatch,
    ) -> Result<Pushed, StorageError> {
        let torrent = self.torrents.get(key).ok_or(StorageError::Removed)?;
        if self.lanes.is_silent(key.lane) {
            return Ok(Pushed::Cold);
        }
        let mut spans = torrent.layout.range_spans(block);
        let (first, second) = (spans.next(), spans.next());
        let (Some(first), None) = (first, second) else {
            return Ok(self.push_spans(now, key, block, batch));
        };
        if first.pad {
            push_zeros(&self.zeros, first.length, batch);
            return Ok(Pushed::Done);
        }
        Ok(match hot_source(torrent, &mut self.files, now, &first, &self.limits) {
            Some(source) => {
                let start = first.offset as usize;
                batch.push_pinned(source, start..start + first.length as usize);
                Pushed::Done
            }
            None => Pushed::Cold,
        })
    }

    /// Whether the files of the block are mapped, so that it can be told what of them is in memory.
    pub(super) fn is_mapped(&mut self, key: StoreKey, block: BlockRange) -> bool {
        let Some(torrent) = self.torrents.get(key) else { return false };
        let (files, limits) = (&mut self.files, &self.limits);
        let mut spans = torrent.layout.range_spans(block);
        spans.all(|span| span.pad || mapped_source(torrent, files, &span, limits).is_some())
    }

    /// A block of several files: all of it or nothing.
    fn push_spans(
        &mut self,
        now: Duration,
        key: StoreKey,
        block: BlockRange,
        batch: &mut SendBatch,
    ) -> Pushed {
        let Some(torrent) = self.torrents.get(key) else { return Pushed::Cold };
        let (files, limits) = (&mut self.files, &self.limits);
        let mut spans = torrent.layout.range_spans(block);
        if !spans.all(|span| span.pad || hot_source(torrent, files, now, &span, limits).is_some()) {
            return Pushed::Cold;
        }
        for span in torrent.layout.range_spans(block) {
            if span.pad {
                push_zeros(&self.zeros, span.length, batch);
            } else if let Some(source) = mapped_source(torrent, files, &span, limits) {
                let start = span.offset as usize;
                batch.push_pinned(source, start..start + span.length as usize);
            }
        }
        Pushed::Done
    }
}

fn hot_source(
    torrent: &Torrent,
    files: &mut OpenFiles,
    now: Duration,
    span: &Span,
    limits: &StoreLimits,
) -> Option<Rc<dyn PinnedBytes>> {
    let slot = torrent.slot(span.file.get())?;
    let length = torrent.layout[span.file].length();
    let mapped = files.mapped(slot, length, limits)?;
    let range = span.offset..span.offset + span.length;
    mapped.is_resident(now, range, limits).then(|| mapped.pinned())
}

fn mapped_source(
    torrent: &Torrent,
    files: &mut OpenFiles,
    span: &Span,
    limits: &StoreLimits,
) -> Option<Rc<dyn PinnedBytes>> {
    let slot = torrent.slot(span.file.get())?;
    let length = torrent.layout[span.file].length();
    files.mapped(slot, length, limits).map(|mapped| mapped.pinned())
}

fn push_zeros(zeros: &Rc<dyn PinnedBytes>, length: u64, batch: &mut SendBatch) {
    let mut left = length as usize;
    while left > 0 {
        let part = left.min(ZEROS_LENGTH);
        batch.push_pinned(Rc::clone(zeros), 0..part);
        left -= part;
    }
}
