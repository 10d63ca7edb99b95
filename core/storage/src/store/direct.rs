//! Writing past the page cache.
//!
//! A file that is written gets a second descriptor for it once it is open, if its device does not
//! rotate and its file system can. Whole pieces that lie on block borders use it; everything else,
//! and everything before it is there, goes through the cache, and the kernel keeps the two in step.

use super::{Op, Store, StoreKey, Task, jobs::Work};
use crate::{
    check::Device,
    limits::{DIRECT_ALIGNMENT, DIRECT_LENGTH},
};
use ring::{File, FileDone, FileOp, OpenOptions, Ring};
use std::io;

/// The second descriptor of a file.
#[derive(Default)]
pub(super) enum Direct {
    #[default]
    Untried,
    Opening,
    Open(File),
    /// The device rotates, or the file system cannot.
    Refused,
}

impl Store {
    /// The descriptor past the cache, if this is a write that may use it and it is there.
    pub(super) fn direct_file(&mut self, ring: &mut Ring, task: &mut Task) -> Option<File> {
        let Work::Write { range, direct, .. } = &mut task.work else { return None };
        let length = range.len() as u64;
        let aligned = [task.offset, range.start as u64, length]
            .iter()
            .all(|number| number.is_multiple_of(DIRECT_ALIGNMENT));
        if !self.limits.direct_writes || !aligned || length < DIRECT_LENGTH {
            return None;
        }
        let slot = self.torrents.get(task.key)?.slot(task.file)?;
        let open = self.files.of(slot, task.key, task.file)?;
        match &open.direct {
            Direct::Open(file) => {
                *direct = true;
                Some(file.clone())
            }
            Direct::Untried => {
                let device = open.device;
                open.direct = Direct::Opening;
                self.open_direct(ring, slot, device, task);
                None
            }
            Direct::Opening | Direct::Refused => None,
        }
    }

    fn open_direct(&mut self, ring: &mut Ring, slot: usize, device: u64, task: &Task) {
        let Some(torrent) = self.torrents.get(task.key) else { return };
        let path = torrent.path(task.file);
        let rotates = self.rotates.entry(device);
        let rotates = *rotates.or_insert_with(|| Device::of(&path).is_rotating);
        if rotates {
            self.set_direct(slot, task.key, task.file, Direct::Refused);
            return;
        }
        let options = OpenOptions { write: true, create: false, direct: true };
        let op = Op::Direct { slot, key: task.key, file: task.file };
        self.submit(ring, op, FileOp::Open { path, options });
    }

    pub(super) fn on_direct_opened(
        &mut self,
        slot: usize,
        key: StoreKey,
        file: u32,
        done: FileDone,
    ) {
        let direct = done.file.map_or(Direct::Refused, Direct::Open);
        self.set_direct(slot, key, file, direct);
    }

    fn set_direct(&mut self, slot: usize, key: StoreKey, file: u32, direct: Direct) {
        if let Some(open) = self.files.of(slot, key, file) {
            open.direct = direct;
        }
    }

    /// The file system took the descriptor but not the write: once more, through the cache, and so
    /// from now on.
    pub(super) fn write_through_cache(&mut self, ring: &mut Ring, mut task: Task) {
        if let Work::Write { direct, .. } = &mut task.work {
            *direct = false;
        }
        let slot = self.torrents.get(task.key).and_then(|torrent| torrent.slot(task.file));
        if let Some(slot) = slot {
            self.set_direct(slot, task.key, task.file, Direct::Refused);
        }
        self.with_file(ring, task);
    }
}

/// Whether an error is the file system's word that it cannot write this way.
pub(super) fn is_refusal(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP))
}
