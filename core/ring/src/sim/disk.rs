//! A disk in memory: what processes see of it (the page cache), what is on the platter, and what a
//! crash makes of the difference.
//!
//! Changes of lengths go through a journal and become durable in their order, all together with the
//! first sync after them; changes of names likewise, but only with the sync of a folder, which is all
//! that POSIX promises (journals of ext4, XFS and btrfs keep more). A loss of power keeps some first
//! part of those that were not. Data becomes durable with the sync of its file; a loss of power keeps
//! any of the sectors that were not synced, and none of the rest.

use super::DiskFaults;
use crate::{FileStat, OpenOptions};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    ops::Range,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// What is written whole or not at all when the power goes.
const SECTOR: u64 = 512;

/// Space is taken in such units.
const PAGE: u64 = 4096;

/// Time since 1970 when every world begins.
pub(super) const SINCE_EPOCH: Duration = Duration::from_secs(1_700_000_000);

/// The kernel has written what was changed so long ago, whether anybody syncs it or not
/// (`vm.dirty_expire_centisecs` is half a minute, and more where a disk is to be spared).
const WRITTEN_BACK_AFTER: Duration = Duration::from_secs(1800);

/// The folder that another file system is mounted on: nothing is linked or renamed into or out of it.
const MOUNT: &str = "/mnt";

#[derive(Default)]
pub(super) struct Disk {
    view: Names,
    platter: Names,
    nodes: BTreeMap<u64, Node>,
    names: Journal<Renaming>,
    lengths: Journal<(u64, u64)>,
    /// The folders that were opened.
    folders: BTreeMap<u64, PathBuf>,
    next_inode: u64,
    pub(super) capacity: u64,
    pub(super) faults: DiskFaults,
    /// Operations that have ended.
    pub(super) operations: u64,
    /// The world's time, as far as it has been told.
    now: Duration,
    /// How far the machine's clock is ahead of it.
    pub(super) clock_ahead: Duration,
}

#[derive(Clone, Default)]
struct Names {
    files: BTreeMap<PathBuf, u64>,
    folders: BTreeSet<PathBuf>,
}

#[derive(Default)]
struct Node {
    view: Vec<u8>,
    platter: Vec<u8>,
    /// Pages that take space.
    taken: BTreeSet<u64>,
    /// Written and not synced.
    dirty: Vec<Range<u64>>,
    /// What was written last, by the machine's clock.
    modified: Duration,
    /// The last change of any kind, by the machine's clock.
    touched: Duration,
    /// The same by the world's.
    changed: Duration,
    device: u64,
}

/// Changes in their order.
struct Journal<T> {
    /// Those that are not durable.
    waiting: Vec<T>,
    /// How many are.
    committed: u64,
}

impl<T> Default for Journal<T> {
    fn default() -> Journal<T> {
        Journal { waiting: Vec::new(), committed: 0 }
    }
}

impl<T> Journal<T> {
    /// The number of the next change.
    fn end(&self) -> u64 {
        self.committed + self.waiting.len() as u64
    }

    /// Takes out the changes before this number, which become durable.
    fn commit(&mut self, end: u64) -> Vec<T> {
        let count = end.saturating_sub(self.committed) as usize;
        self.committed += count as u64;
        self.waiting.drain(..count).collect()
    }
}

/// A change of names.
#[derive(Clone)]
enum Renaming {
    Create(PathBuf, u64),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
    Folder(PathBuf),
    RemoveFolder(PathBuf),
}

impl Names {
    fn apply(&mut self, change: &Renaming) {
        match change {
            Renaming::Create(path, inode) => {
                self.files.insert(path.clone(), *inode);
            }
            Renaming::Remove(path) => {
                self.files.remove(path);
            }
            Renaming::Rename(from, to) => {
                if let Some(inode) = self.files.remove(from) {
                    self.files.insert(to.clone(), inode);
                }
            }
            Renaming::Folder(path) => {
                self.folders.extend(path.ancestors().map(Path::to_path_buf));
            }
            Renaming::RemoveFolder(path) => {
                self.folders.remove(path);
            }
        }
    }
}

/// What a sync covers: taken when it begins, as what comes later may be missed.
pub(super) struct Syncing {
    dirty: Vec<Range<u64>>,
    lengths: u64,
    /// Of a folder only.
    names: Option<u64>,
}

/// What a folder looks like.
fn folder_stat(path: &Path) -> FileStat {
    let bytes = path.as_os_str().as_encoded_bytes();
    // Apart from those of files.
    let inode = bytes.iter().fold(1, |sum: u64, &byte| sum.wrapping_mul(31) ^ u64::from(byte));
    FileStat {
        length: 0,
        allocated: 0,
        modified_ns: SINCE_EPOCH.as_nanos() as i64,
        inode: inode | 1 << 63,
        device: device_of(path),
        is_file: false,
    }
}

fn device_of(path: &Path) -> u64 {
    if path.starts_with(MOUNT) { 2 } else { 1 }
}

fn error(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

impl Disk {
    fn rename_in_view(&mut self, change: Renaming) {
        self.view.apply(&change);
        self.names.waiting.push(change);
    }

    fn node(&mut self, inode: u64) -> io::Result<&mut Node> {
        self.nodes.get_mut(&inode).ok_or_else(|| error(libc::EIO))
    }

    pub(super) fn free(&self) -> u64 {
        let taken: u64 = self.nodes.values().map(|node| node.taken.len() as u64 * PAGE).sum();
        self.capacity.saturating_sub(taken)
    }

    pub(super) fn open(
        &mut self,
        path: &Path,
        OpenOptions { write, create, .. }: OpenOptions,
        now: Duration,
    ) -> io::Result<u64> {
        if path.as_os_str().as_encoded_bytes().contains(&0) {
            return Err(error(libc::EINVAL));
        }
        if self.is_folder(path) {
            return if write { Err(error(libc::EISDIR)) } else { Ok(self.open_folder(path)) };
        }
        if let Some(&inode) = self.view.files.get(path) {
            return Ok(inode);
        }
        let has_folder = path.parent().is_some_and(|folder| self.view.folders.contains(folder));
        if !create || !has_folder {
            return Err(error(libc::ENOENT));
        }
        self.next_inode += 1;
        let inode = self.next_inode;
        let (changed, device) = (self.now, device_of(path));
        self.nodes.insert(
            inode,
            Node { modified: now, touched: now, changed, device, ..Node::default() },
        );
        self.rename_in_view(Renaming::Create(path.to_path_buf(), inode));
        Ok(inode)
    }

    pub(super) fn is_folder(&self, path: &Path) -> bool {
        self.view.folders.contains(path)
    }

    fn open_folder(&mut self, path: &Path) -> u64 {
        self.next_inode += 1;
        self.folders.insert(self.next_inode, path.to_path_buf());
        self.next_inode
    }

    pub(super) fn read(&mut self, inode: u64, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let view = &self.node(inode)?.view;
        let start = (offset as usize).min(view.len());
        let count = into.len().min(view.len() - start);
        into[..count].copy_from_slice(&view[start..start + count]);
        Ok(count)
    }

    /// Writes as far as there is room; an error if that is not all.
    pub(super) fn write(
        &mut self,
        inode: u64,
        offset: u64,
        bytes: &[u8],
        now: Duration,
    ) -> io::Result<usize> {
        let (mut free, changed) = (self.free() / PAGE, self.now);
        let node = self.node(inode)?;
        let mut end = offset;
        while end < offset + bytes.len() as u64 {
            let page = end / PAGE;
            if !node.taken.contains(&page) {
                if free == 0 {
                    break;
                }
                free -= 1;
                node.taken.insert(page);
            }
            end = ((page + 1) * PAGE).min(offset + bytes.len() as u64);
        }
        let count = (end - offset) as usize;
        let grown = end > node.view.len() as u64;
        if grown {
            node.view.resize(end as usize, 0);
        }
        node.view[offset as usize..end as usize].copy_from_slice(&bytes[..count]);
        node.dirty.push(offset..end);
        (node.modified, node.touched, node.changed) = (now, now, changed);
        if grown {
            self.lengths.waiting.push((inode, end));
        }
        if count < bytes.len() { Err(error(libc::ENOSPC)) } else { Ok(count) }
    }

    pub(super) fn set_length(&mut self, inode: u64, length: u64, now: Duration) -> io::Result<()> {
        let changed = self.now;
        let node = self.node(inode)?;
        node.view.resize(length as usize, 0);
        node.taken.retain(|page| page * PAGE < length);
        node.dirty.iter_mut().for_each(|range| {
            *range = range.start.min(length)..range.end.min(length);
        });
        (node.modified, node.touched, node.changed) = (now, now, changed);
        self.lengths.waiting.push((inode, length));
        Ok(())
    }

    pub(super) fn allocate(
        &mut self,
        inode: u64,
        range: Range<u64>,
        now: Duration,
    ) -> io::Result<()> {
        let free = self.free() / PAGE;
        let node = self.node(inode)?;
        let pages = range.start / PAGE..range.end.div_ceil(PAGE);
        let missing = pages.clone().filter(|page| !node.taken.contains(page)).count() as u64;
        if missing > free {
            return Err(error(libc::ENOSPC));
        }
        node.taken.extend(pages);
        let length = range.end.max(node.view.len() as u64);
        self.set_length(inode, length, now)
    }

    /// Whether there is a file or folder of this name.
    pub(super) fn has(&self, path: &Path) -> bool {
        self.is_folder(path) || self.view.files.contains_key(path)
    }

    /// Whether a file of one name can have the other.
    fn check_names(&self, from: &Path, to: &Path) -> io::Result<()> {
        let has_folder = to.parent().is_some_and(|folder| self.is_folder(folder));
        if !self.view.files.contains_key(from) || !has_folder {
            return Err(error(libc::ENOENT));
        }
        if device_of(from) != device_of(to) {
            return Err(error(libc::EXDEV));
        }
        Ok(())
    }

    pub(super) fn link(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.check_names(from, to)?;
        if self.has(to) {
            return Err(error(libc::EEXIST));
        }
        let inode = self.view.files[from];
        self.touch(inode);
        self.rename_in_view(Renaming::Create(to.to_path_buf(), inode));
        Ok(())
    }

    /// The inode has changed, if not what is in it.
    fn touch(&mut self, inode: u64) {
        let (touched, changed) = (self.now + self.clock_ahead, self.now);
        if let Some(node) = self.nodes.get_mut(&inode) {
            (node.touched, node.changed) = (touched, changed);
        }
    }

    pub(super) fn remove_folder(&mut self, path: &Path) -> io::Result<()> {
        if !self.is_folder(path) {
            return Err(error(libc::ENOENT));
        }
        let is_below = |other: &PathBuf| other != path && other.starts_with(path);
        let mut names = self.view.files.keys().chain(&self.view.folders);
        if names.any(is_below) {
            return Err(error(libc::ENOTEMPTY));
        }
        self.rename_in_view(Renaming::RemoveFolder(path.to_path_buf()));
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.check_names(from, to)?;
        let inode = self.view.files[from];
        self.touch(inode);
        self.rename_in_view(Renaming::Rename(from.to_path_buf(), to.to_path_buf()));
        Ok(())
    }

    pub(super) fn unlink(&mut self, path: &Path) -> io::Result<()> {
        if !self.view.files.contains_key(path) {
            return Err(error(libc::ENOENT));
        }
        self.rename_in_view(Renaming::Remove(path.to_path_buf()));
        Ok(())
    }

    pub(super) fn make_folder(&mut self, path: &Path) -> io::Result<()> {
        if path.ancestors().any(|path| self.view.files.contains_key(path)) {
            return Err(error(libc::ENOTDIR));
        }
        if !self.view.folders.contains(path) {
            self.rename_in_view(Renaming::Folder(path.to_path_buf()));
        }
        Ok(())
    }

    pub(super) fn stat(&self, path: &Path) -> io::Result<FileStat> {
        self.stat_at(path).map(|(stat, _)| stat)
    }

    /// With the time of the last change of any kind.
    pub(super) fn stat_at(&self, path: &Path) -> io::Result<(FileStat, SystemTime)> {
        if self.is_folder(path) {
            return Ok((folder_stat(path), UNIX_EPOCH + SINCE_EPOCH));
        }
        self.stat_of(*self.view.files.get(path).ok_or_else(|| error(libc::ENOENT))?)
    }

    pub(super) fn stat_of(&self, inode: u64) -> io::Result<(FileStat, SystemTime)> {
        if let Some(path) = self.folders.get(&inode) {
            return self.stat_at(path);
        }
        let node = self.nodes.get(&inode).ok_or_else(|| error(libc::EIO))?;
        let stat = FileStat {
            length: node.view.len() as u64,
            allocated: node.taken.len() as u64 * PAGE,
            modified_ns: (SINCE_EPOCH + node.modified).as_nanos() as i64,
            inode,
            device: node.device,
            is_file: true,
        };
        Ok((stat, UNIX_EPOCH + SINCE_EPOCH + node.touched))
    }

    pub(super) fn copy_times(&mut self, from: u64, to: u64) -> io::Result<()> {
        let modified = self.node(from)?.modified;
        self.node(to)?.modified = modified;
        self.touch(to);
        Ok(())
    }

    /// Where the next data begins, or the next hole.
    pub(super) fn seek(&mut self, inode: u64, offset: u64, to_data: bool) -> io::Result<u64> {
        let node = self.node(inode)?;
        let length = node.view.len() as u64;
        let mut at = offset;
        while at < length && node.taken.contains(&(at / PAGE)) != to_data {
            at = (at / PAGE + 1) * PAGE;
        }
        match (at < length, to_data) {
            (true, _) => Ok(at),
            // The end counts as a hole.
            (false, false) if offset < length => Ok(length),
            _ => Err(error(libc::ENXIO)),
        }
    }

    /// Time passes: what was changed long ago is written.
    pub(super) fn write_back(&mut self, now: Duration) {
        self.now = now;
        let is_old = |node: &Node| node.changed + WRITTEN_BACK_AFTER <= now;
        if !self.nodes.values().any(|node| !node.dirty.is_empty() && is_old(node)) {
            return;
        }
        self.commit(self.names.end(), self.lengths.end());
        for node in self.nodes.values_mut().filter(|node| is_old(node)) {
            for range in std::mem::take(&mut node.dirty) {
                node.keep(range);
            }
        }
    }

    /// Everything is written, or forgotten by the kernel all the same.
    pub(super) fn sync_all(&mut self, works: bool) -> io::Result<()> {
        if works {
            self.commit(self.names.end(), self.lengths.end());
        }
        for node in self.nodes.values_mut() {
            for range in std::mem::take(&mut node.dirty) {
                if works {
                    node.keep(range);
                }
            }
        }
        if works { Ok(()) } else { Err(error(libc::EIO)) }
    }

    pub(super) fn begin_sync(&self, inode: u64) -> Syncing {
        let dirty = self.nodes.get(&inode).map_or_else(Vec::new, |node| node.dirty.clone());
        let names = self.folders.contains_key(&inode).then(|| self.names.end());
        Syncing { dirty, lengths: self.lengths.end(), names }
    }

    /// The sync ends: what it covers is on the platter, or, if it failed, forgotten by the kernel
    /// all the same.
    pub(super) fn end_sync(&mut self, inode: u64, syncing: Syncing, works: bool) -> io::Result<()> {
        if works {
            self.commit(syncing.names.unwrap_or(0), syncing.lengths);
        }
        if syncing.names.is_none() {
            let node = self.node(inode)?;
            for range in &syncing.dirty {
                if let Some(at) = node.dirty.iter().position(|dirty| dirty == range) {
                    node.dirty.swap_remove(at);
                }
                if works {
                    node.keep(range.clone());
                }
            }
        }
        if works { Ok(()) } else { Err(error(libc::EIO)) }
    }

    /// Makes the changes before these numbers durable.
    fn commit(&mut self, names: u64, lengths: u64) {
        for change in self.names.commit(names) {
            self.platter.apply(&change);
        }
        for (inode, length) in self.lengths.commit(lengths) {
            if let Some(node) = self.nodes.get_mut(&inode) {
                node.platter.resize(length as usize, 0);
            }
        }
    }

    /// The power goes: what processes saw is gone, what was durable stays, and some of the rest.
    pub(super) fn lose_power(&mut self, rng: &mut fastrand::Rng) {
        let names = rng.u64(self.names.committed..=self.names.end());
        let lengths = rng.u64(self.lengths.committed..=self.lengths.end());
        self.commit(names, lengths);
        self.names.waiting.clear();
        self.lengths.waiting.clear();
        self.view = self.platter.clone();
        let named: BTreeSet<u64> = self.view.files.values().copied().collect();
        self.nodes.retain(|inode, _| named.contains(inode));
        for node in self.nodes.values_mut() {
            for range in std::mem::take(&mut node.dirty) {
                node.keep_some(range, rng);
            }
            node.view.clone_from(&node.platter);
            let length = node.view.len() as u64;
            node.taken.retain(|page| page * PAGE < length);
        }
    }

    /// Takes the pages that are not to be written out of memory, so that the next read comes from
    /// the platter.
    pub(super) fn drop_clean_pages(&mut self) {
        self.nodes.values_mut().for_each(Node::drop_clean_pages);
    }

    pub(super) fn drop_pages_of(&mut self, inode: u64) -> io::Result<()> {
        self.node(inode).map(Node::drop_clean_pages)
    }

    /// Everything that there is is durable.
    pub(super) fn settle(&mut self) {
        self.commit(self.names.end(), self.lengths.end());
        for node in self.nodes.values_mut() {
            node.dirty.clear();
            node.platter.clone_from(&node.view);
        }
    }

    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.view.files.keys().cloned().collect()
    }

    /// What of a file would be there after a loss of power at its worst.
    pub(super) fn durable(&self, path: &Path) -> Option<&[u8]> {
        self.nodes.get(self.platter.files.get(path)?).map(|node| node.platter.as_slice())
    }

    pub(super) fn content(&self, path: &Path) -> Option<&[u8]> {
        self.nodes.get(self.view.files.get(path)?).map(|node| node.view.as_slice())
    }
}

impl Node {
    fn drop_clean_pages(&mut self) {
        for page in (0..self.view.len()).step_by(PAGE as usize) {
            let range = page as u64..(page as u64 + PAGE).min(self.view.len() as u64);
            let is_dirty = |dirty: &Range<u64>| dirty.start < range.end && range.start < dirty.end;
            if self.dirty.iter().any(is_dirty) {
                continue;
            }
            for at in range.start as usize..range.end as usize {
                self.view[at] = self.platter.get(at).copied().unwrap_or(0);
            }
        }
    }

    /// The range is on the platter from now on, as far as the file reaches there.
    fn keep(&mut self, range: Range<u64>) {
        let end = range.end.min(self.platter.len() as u64).min(self.view.len() as u64);
        if range.start < end {
            let range = range.start as usize..end as usize;
            self.platter[range.clone()].copy_from_slice(&self.view[range]);
        }
    }

    fn keep_some(&mut self, range: Range<u64>, rng: &mut fastrand::Rng) {
        let share = rng.u32(0..=4);
        let mut at = range.start;
        while at < range.end {
            let end = ((at / SECTOR + 1) * SECTOR).min(range.end);
            if rng.u32(0..4) < share {
                self.keep(at..end);
            }
            at = end;
        }
    }
}

#[cfg(test)]
mod tests;
