//! The files and folders, in memory.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::{OsStr, OsString},
    time::SystemTime,
};

/// Bytes of a block: space is taken in such units.
pub(crate) const BLOCK: u64 = 4096;

/// The root folder's number.
pub(crate) const ROOT: u64 = 1;

/// An error number of errno(3).
pub(crate) type Errno = i32;

pub(crate) struct Node {
    pub content: Content,
    pub modified: SystemTime,
    pub mode: u16,
    /// Names that it has.
    links: u32,
}

pub(crate) enum Content {
    File(Vec<u8>),
    Folder(BTreeMap<OsString, u64>),
}

pub(crate) struct Tree {
    nodes: HashMap<u64, Node>,
    next: u64,
    /// Bytes that files may have together.
    pub capacity: u64,
}

impl Tree {
    pub fn new(capacity: u64) -> Tree {
        let root = Node::new(Content::Folder(BTreeMap::new()), 0o777);
        Tree { nodes: HashMap::from([(ROOT, root)]), next: ROOT, capacity }
    }

    pub fn node(&self, number: u64) -> Result<&Node, Errno> {
        self.nodes.get(&number).ok_or(libc::ENOENT)
    }

    pub fn node_mut(&mut self, number: u64) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(&number).ok_or(libc::ENOENT)
    }

    fn folder(&mut self, number: u64) -> Result<&mut BTreeMap<OsString, u64>, Errno> {
        match &mut self.node_mut(number)?.content {
            Content::Folder(names) => Ok(names),
            Content::File(_) => Err(libc::ENOTDIR),
        }
    }

    pub fn file(&mut self, number: u64) -> Result<&mut Vec<u8>, Errno> {
        match &mut self.node_mut(number)?.content {
            Content::File(bytes) => Ok(bytes),
            Content::Folder(_) => Err(libc::EISDIR),
        }
    }

    pub fn lookup(&mut self, folder: u64, name: &OsStr) -> Result<u64, Errno> {
        self.folder(folder)?.get(name).copied().ok_or(libc::ENOENT)
    }

    pub fn make(
        &mut self,
        folder: u64,
        name: &OsStr,
        content: Content,
        mode: u32,
    ) -> Result<u64, Errno> {
        let number = self.next + 1;
        let names = self.folder(folder)?;
        if names.contains_key(name) {
            return Err(libc::EEXIST);
        }
        names.insert(name.to_owned(), number);
        self.next = number;
        self.nodes.insert(number, Node::new(content, mode & 0o7777));
        Ok(number)
    }

    pub fn link(&mut self, number: u64, folder: u64, name: &OsStr) -> Result<(), Errno> {
        self.node(number)?;
        let names = self.folder(folder)?;
        if names.contains_key(name) {
            return Err(libc::EEXIST);
        }
        names.insert(name.to_owned(), number);
        self.node_mut(number)?.links += 1;
        Ok(())
    }

    pub fn unlink(&mut self, folder: u64, name: &OsStr) -> Result<(), Errno> {
        let number = self.lookup(folder, name)?;
        if matches!(&self.node(number)?.content, Content::Folder(names) if !names.is_empty()) {
            return Err(libc::ENOTEMPTY);
        }
        self.folder(folder)?.remove(name);
        let node = self.node_mut(number)?;
        node.links -= 1;
        if node.links == 0 {
            self.nodes.remove(&number);
        }
        Ok(())
    }

    pub fn rename(
        &mut self,
        from: (u64, &OsStr),
        to: (u64, &OsStr),
        replace: bool,
    ) -> Result<(), Errno> {
        let number = self.lookup(from.0, from.1)?;
        match self.lookup(to.0, to.1) {
            Ok(_) if !replace => return Err(libc::EEXIST),
            Ok(other) if other == number => return Ok(()),
            Ok(_) => self.unlink(to.0, to.1)?,
            Err(_) => {}
        }
        self.folder(to.0)?.insert(to.1.to_owned(), number);
        self.folder(from.0)?.remove(from.1);
        Ok(())
    }

    /// The names in a folder, with their numbers and whether they are folders.
    pub fn list(&mut self, folder: u64) -> Result<Vec<(OsString, u64, bool)>, Errno> {
        let names: Vec<_> = self.folder(folder)?.iter().map(|(n, &i)| (n.clone(), i)).collect();
        let is_folder =
            |number| matches!(self.node(number), Ok(Node { content: Content::Folder(_), .. }));
        Ok(names.into_iter().map(|(name, number)| (name, number, is_folder(number))).collect())
    }

    /// Bytes that can still be written.
    pub fn free(&self) -> u64 {
        let taken: u64 = self.nodes.values().map(|node| node.blocks() * BLOCK).sum();
        self.capacity.saturating_sub(taken)
    }

    /// Writes all or nothing.
    pub fn write(&mut self, number: u64, offset: u64, data: &[u8]) -> Result<(), Errno> {
        let end = offset as usize + data.len();
        let length = self.file(number)?.len();
        if end > length {
            self.grow(number, end)?;
        }
        self.file(number)?[offset as usize..end].copy_from_slice(data);
        self.node_mut(number)?.modified = SystemTime::now();
        Ok(())
    }

    pub fn set_length(&mut self, number: u64, length: u64) -> Result<(), Errno> {
        match length as usize > self.file(number)?.len() {
            true => self.grow(number, length as usize)?,
            false => self.file(number)?.truncate(length as usize),
        }
        self.node_mut(number)?.modified = SystemTime::now();
        Ok(())
    }

    fn grow(&mut self, number: u64, length: usize) -> Result<(), Errno> {
        let more = (length as u64).div_ceil(BLOCK) - self.node(number)?.blocks();
        if more * BLOCK > self.free() {
            return Err(libc::ENOSPC);
        }
        self.file(number)?.resize(length, 0);
        Ok(())
    }
}

impl Node {
    fn new(content: Content, mode: u32) -> Node {
        Node { content, modified: SystemTime::now(), mode: mode as u16, links: 1 }
    }

    pub fn length(&self) -> u64 {
        match &self.content {
            Content::File(bytes) => bytes.len() as u64,
            Content::Folder(_) => 0,
        }
    }

    pub fn blocks(&self) -> u64 {
        self.length().div_ceil(BLOCK)
    }
}
