//! Serving what is in memory while the disk says nothing.
//!
//! A page that leaves memory after it was looked at and before it has been sent is read from the disk by
//! whoever sends: by the shard's thread, for as long as the disk hangs. So nothing is sent from the
//! mappings of a disk that has been silent for a moment. Its blocks are copied out of the page cache by
//! preadv2(2) with `RWF_NOWAIT`, which never waits. File systems that do not know it, over a network or
//! in user space, serve nothing until they answer.

use super::{Store, StoreKey};
use metainfo::BlockRange;
use ring::{Buf, File, Ring};
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use std::io::IoSliceMut;

impl Store {
    /// The block, if all its bytes are in memory and its files are open.
    pub(super) fn read_at_once(
        &self,
        ring: &Ring,
        key: StoreKey,
        block: BlockRange,
    ) -> Option<Buf> {
        let torrent = self.torrents.get(key)?;
        let mut data = ring.buffers().get(block.length() as usize);
        let mut at = 0;
        for span in torrent.layout.range_spans(block) {
            let part = &mut data[at..at + span.length as usize];
            at += part.len();
            if span.pad {
                part.fill(0);
            } else {
                let slot = torrent.slot(span.file.get())?;
                copy(self.files.ready(slot)?, span.offset, part)?;
            }
        }
        Some(data)
    }
}

/// Fills the part from the page cache, or not at all.
fn copy(file: &File, offset: u64, part: &mut [u8]) -> Option<()> {
    let mut done = 0;
    while done < part.len() {
        let (from, into) = (offset + done as u64, &mut part[done..]);
        match preadv2(file, &mut [IoSliceMut::new(into)], from, ReadWriteFlags::NOWAIT) {
            Err(Errno::INTR) => {}
            Err(_) | Ok(0) => return None,
            Ok(count) => done += count,
        }
    }
    Some(())
}
