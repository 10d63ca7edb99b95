//! Answers to the kernel.

use crate::{
    Hang, Shared, State,
    tree::{BLOCK, Content, Errno, Node, ROOT},
};
use fuser::{
    BsdFileFlags, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use std::{
    ffi::OsStr,
    sync::{Arc, MutexGuard},
    time::{Duration, SystemTime},
};

/// More than a client has reads under way, so that some are left while those hang.
pub(crate) const THREADS: usize = 64;

/// What the kernel was told of a file is forgotten at once: every look comes here.
const TTL: Duration = Duration::ZERO;

const GENERATION: Generation = Generation(0);

/// What an operation is to the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Look,
    Change,
    Read,
    Write,
    Sync,
}

pub(crate) struct Server(Arc<Shared>);

impl Server {
    pub fn new(shared: Arc<Shared>) -> Server {
        Server(shared)
    }

    /// Waits as long as the disk does, and gives what is there, or the fault.
    fn enter(&self, kind: Kind) -> Result<MutexGuard<'_, State>, Errno> {
        let is_data = matches!(kind, Kind::Read | Kind::Write | Kind::Sync);
        let mut state = self.0.lock();
        if is_data && !state.faults.delay.is_zero() {
            let delay = state.faults.delay;
            drop(state);
            std::thread::sleep(delay);
            state = self.0.lock();
        }
        state.hanging += 1;
        let hangs = |state: &mut State| match state.faults.hang {
            Hang::Nothing => false,
            Hang::Data => is_data,
            Hang::Everything => true,
        };
        let waited = self.0.changed.wait_while(state, hangs);
        let mut state = waited.unwrap_or_else(std::sync::PoisonError::into_inner);
        state.hanging -= 1;
        let fault = match kind {
            Kind::Look => None,
            Kind::Read => state.faults.reads,
            Kind::Write | Kind::Change => state.faults.writes,
            Kind::Sync => state.faults.syncs,
        };
        fault.map_or(Ok(state), Err)
    }

    fn make(
        &self,
        folder: INodeNo,
        name: &OsStr,
        content: Content,
        mode: u32,
    ) -> Result<FileAttr, Errno> {
        let mut state = self.enter(Kind::Change)?;
        let number = state.tree.make(folder.0, name, content, mode)?;
        Ok(attributes(number, state.tree.node(number)?))
    }

    fn read_at(&self, number: u64, offset: u64, size: u32) -> Result<Vec<u8>, Errno> {
        let mut state = self.enter(Kind::Read)?;
        let bytes = state.tree.file(number)?;
        let start = bytes.len().min(offset as usize);
        let end = bytes.len().min(start + size as usize);
        Ok(bytes[start..end].to_vec())
    }

    fn change(
        &self,
        kind: Kind,
        change: impl FnOnce(&mut State) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        change(&mut *self.enter(kind)?)
    }
}

fn attributes(number: u64, node: &Node) -> FileAttr {
    let is_file = matches!(node.content, Content::File(_));
    FileAttr {
        ino: INodeNo(number),
        size: node.length(),
        blocks: node.blocks() * BLOCK / 512,
        atime: node.modified,
        mtime: node.modified,
        ctime: node.modified,
        crtime: node.modified,
        kind: if is_file { FileType::RegularFile } else { FileType::Directory },
        perm: node.mode,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        flags: 0,
        blksize: BLOCK as u32,
    }
}

fn errno(number: Errno) -> fuser::Errno {
    fuser::Errno::from_i32(number)
}

fn done(reply: ReplyEmpty, result: Result<(), Errno>) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(errno(error)),
    }
}

fn entered(reply: ReplyEntry, result: Result<FileAttr, Errno>) {
    match result {
        Ok(attributes) => reply.entry(&TTL, &attributes, GENERATION),
        Err(error) => reply.error(errno(error)),
    }
}

fn told(reply: ReplyAttr, result: Result<FileAttr, Errno>) {
    match result {
        Ok(attributes) => reply.attr(&TTL, &attributes),
        Err(error) => reply.error(errno(error)),
    }
}

impl Filesystem for Server {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let look = || {
            let mut state = self.enter(Kind::Look)?;
            let number = state.tree.lookup(parent.0, name)?;
            Ok(attributes(number, state.tree.node(number)?))
        };
        entered(reply, look());
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let look = || Ok(attributes(ino.0, self.enter(Kind::Look)?.tree.node(ino.0)?));
        told(reply, look());
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let change = || {
            let mut state = self.enter(Kind::Change)?;
            if let Some(size) = size {
                state.tree.set_length(ino.0, size)?;
            }
            let node = state.tree.node_mut(ino.0)?;
            node.mode = mode.map_or(node.mode, |mode| mode as u16 & 0o7777);
            node.modified = match mtime {
                Some(TimeOrNow::SpecificTime(time)) => time,
                Some(TimeOrNow::Now) => SystemTime::now(),
                None => node.modified,
            };
            Ok(attributes(ino.0, node))
        };
        told(reply, change());
    }

    fn mkdir(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        reply: ReplyEntry,
    ) {
        entered(reply, self.make(parent, name, Content::Folder(Default::default()), mode));
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        match self.make(parent, name, Content::File(Vec::new()), mode) {
            Ok(attributes) => {
                let (handle, flags) = (FileHandle(0), FopenFlags::empty());
                reply.created(&TTL, &attributes, GENERATION, handle, flags);
            }
            Err(error) => reply.error(errno(error)),
        }
    }

    fn link(&self, _: &Request, ino: INodeNo, folder: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let link = || {
            let mut state = self.enter(Kind::Change)?;
            state.tree.link(ino.0, folder.0, name)?;
            Ok(attributes(ino.0, state.tree.node(ino.0)?))
        };
        entered(reply, link());
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(reply, self.change(Kind::Change, |state| state.tree.unlink(parent.0, name)));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(reply, self.change(Kind::Change, |state| state.tree.unlink(parent.0, name)));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let replace = !flags.contains(RenameFlags::RENAME_NOREPLACE);
        let (from, to) = ((parent.0, name), (new_parent.0, new_name));
        done(reply, self.change(Kind::Change, |state| state.tree.rename(from, to, replace)));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.enter(Kind::Look) {
            Ok(_) => reply.opened(FileHandle(0), FopenFlags::empty()),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.read_at(ino.0, offset, size) {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.change(Kind::Write, |state| state.tree.write(ino.0, offset, data)) {
            Ok(()) => reply.written(data.len() as u32),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let allocate = |state: &mut State| match mode {
            0 => {
                let length = (offset + length).max(state.tree.node(ino.0)?.length());
                state.tree.set_length(ino.0, length)
            }
            _ => Err(libc::EOPNOTSUPP),
        };
        done(reply, self.change(Kind::Write, allocate));
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        done(reply, self.change(Kind::Sync, |_| Ok(())));
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        done(reply, self.change(Kind::Sync, |_| Ok(())));
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let listed = self.enter(Kind::Look).and_then(|mut state| state.tree.list(ino.0));
        let listed = match listed {
            Ok(listed) => listed,
            Err(error) => return reply.error(errno(error)),
        };
        let own = [".", ".."].map(|name| (name.into(), ROOT, true));
        let all = own.into_iter().chain(listed).zip(1..).skip(offset as usize);
        for ((name, number, is_folder), next) in all {
            let kind = if is_folder { FileType::Directory } else { FileType::RegularFile };
            if reply.add(INodeNo(number), next, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        match self.enter(Kind::Look) {
            Ok(state) => {
                let (all, free) = (state.tree.capacity / BLOCK, state.tree.free() / BLOCK);
                reply.statfs(all, free, free, 1 << 20, 1 << 20, BLOCK as u32, 255, BLOCK as u32);
            }
            Err(error) => reply.error(errno(error)),
        }
    }
}
