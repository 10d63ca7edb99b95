//! The files of an `info` dictionary: the list of version 1 (BEP 3, 47), the tree of version 2
//! (BEP 52), and the agreement of both in a hybrid torrent.

use crate::bencode::{Dict, Node};
use crate::layout::{Attributes, File, Layout};
use crate::path::{TorrentPath, clean, clean_component, tell_apart};
use crate::{InfoHash, MetainfoError, limits};
use std::collections::HashSet;

/// A file before its path is known to be its own.
struct Entry {
    path: String,
    length: u64,
    attributes: Attributes,
    symlink_target: Option<String>,
    root: Option<Box<[u8; 32]>>,
}

impl Entry {
    /// Has bytes that matter to a reader of the torrent.
    fn has_data(&self) -> bool {
        !self.attributes.pad && self.length > 0
    }
}

/// Reads the files of every version that `info` has, and lays them out.
pub(crate) fn read(
    info: Node<'_>,
    piece_length: u32,
    is_v2: bool,
    has_v1: bool,
    info_hash: InfoHash,
) -> Result<Layout, MetainfoError> {
    let raw_name = info.get_bytes("name.utf-8").or_else(|| info.get_bytes("name"));
    let raw_name = raw_name.ok_or(MetainfoError::NoName)?;
    let folder = match raw_name {
        b"" => "_".to_owned(),
        name => clean(name).unwrap_or_else(|| info_hash.to_string()),
    };
    let mut reader = Reader { entries: Vec::new(), path_bytes: 0 };
    let tree = if is_v2 {
        let single = info.get_list("files").is_none();
        reader.read_tree(info, &folder, single)?;
        std::mem::take(&mut reader.entries)
    } else {
        Vec::new()
    };
    let mut entries = if has_v1 {
        reader.path_bytes = 0;
        match info.get_list("files") {
            Some(files) => reader.read_list(files, &folder)?,
            None => reader.read_single(info, clean(raw_name).ok_or(MetainfoError::NoName)?)?,
        }
        reader.entries
    } else {
        Vec::new()
    };
    if entries.is_empty() && tree.is_empty() {
        return Err(MetainfoError::NoFiles);
    }
    if is_v2 {
        let padded = with_padding(tree, piece_length);
        entries = if entries.is_empty() { without_tail(padded) } else { merged(entries, padded)? };
    }
    lay_out(folder, piece_length, entries)
}

fn lay_out(
    folder: String,
    piece_length: u32,
    mut entries: Vec<Entry>,
) -> Result<Layout, MetainfoError> {
    let mut paths: Vec<String> =
        entries.iter_mut().map(|entry| std::mem::take(&mut entry.path)).collect();
    let total = entries.iter().try_fold(0u64, |sum, entry| sum.checked_add(entry.length));
    if total == Some(0) {
        return Err(MetainfoError::Empty);
    }
    drop_dangling_links(&mut entries, &paths);
    tell_apart(&mut paths, |index| entries[index].attributes.pad);
    let name = match paths.as_slice() {
        [only] if !only.contains('/') => only.clone(),
        _ => folder,
    };
    let files = entries.into_iter().zip(paths).map(|(entry, path)| File {
        path: TorrentPath::from_clean(path),
        length: entry.length,
        offset: 0,
        attributes: entry.attributes,
        symlink_target: entry.symlink_target.map(|path| Box::new(TorrentPath::from_clean(path))),
        root: entry.root,
    });
    Layout::new(name, piece_length, files.collect()).ok_or(MetainfoError::TooManyPieces)
}

/// A link may only point to what the torrent has.
fn drop_dangling_links(entries: &mut [Entry], paths: &[String]) {
    if entries.iter().all(|entry| entry.symlink_target.is_none()) {
        return;
    }
    let mut known = HashSet::new();
    for path in paths {
        let mut path = path.as_str();
        while known.insert(path) {
            let Some((folder, _)) = path.rsplit_once('/') else { break };
            path = folder;
        }
    }
    for entry in entries {
        entry.symlink_target =
            entry.symlink_target.take().filter(|path| known.contains(path.as_str()));
    }
}

struct Reader {
    entries: Vec<Entry>,
    path_bytes: usize,
}

impl Reader {
    /// The one file that `info` itself describes.
    fn read_single(&mut self, info: Node<'_>, name: String) -> Result<(), MetainfoError> {
        self.read_file(info, name, "")
    }

    fn read_list<'d>(
        &mut self,
        files: impl Iterator<Item = Node<'d>>,
        folder: &str,
    ) -> Result<(), MetainfoError> {
        for file in files {
            if !file.is_dict() {
                return Err(MetainfoError::FileList);
            }
            let path = match file.get_list("path.utf-8").or_else(|| file.get_list("path")) {
                Some(components) => joined(folder, components)?,
                None => None,
            };
            let path = match path {
                Some(path) => path,
                // A pad file needs no path, as it is not on disk.
                None if attributes(file).pad => pad_path(folder, length(file).unwrap_or_default()),
                None => return Err(MetainfoError::FilePath),
            };
            self.read_file(file, path, folder)?;
        }
        Ok(())
    }

    fn read_file(
        &mut self,
        file: Node<'_>,
        path: String,
        folder: &str,
    ) -> Result<(), MetainfoError> {
        let mut attributes = attributes(file);
        // BitComet's pad files have no attribute but this name.
        attributes.pad |= path.contains("_____padding_file_");
        let length = if attributes.symlink { 0 } else { length(file)? };
        let symlink_target = symlink_target(file, attributes, folder)?;
        self.add(Entry { path, length, attributes, symlink_target, root: None })
    }

    /// Walks the tree without recursion; the scan has bounded its depth.
    fn read_tree(
        &mut self,
        info: Node<'_>,
        folder: &str,
        single: bool,
    ) -> Result<(), MetainfoError> {
        let tree = || info.get_dict("file tree").and_then(Node::as_dict);
        let only =
            tree().filter(|tree| single && tree.clone().count() == 1).and_then(|mut tree| {
                let (name, node) = tree.next()?;
                Some((name, leaf(node)?))
            });
        if let Some((name, file)) = only {
            return self.read_tree_file(file, clean_component(name), "");
        }
        let mut path = folder.to_owned();
        let mut open: Vec<(Dict<'_>, usize)> = Vec::new();
        open.extend(tree().map(|tree| (tree, path.len())));
        while let Some((children, path_length)) = open.last_mut() {
            path.truncate(*path_length);
            let Some((name, node)) = children.next() else {
                open.pop();
                continue;
            };
            let inner = node.as_dict().filter(|_| !name.is_empty());
            let inner = inner.ok_or(MetainfoError::FileList)?;
            path.push('/');
            path.push_str(&clean_component(name));
            if let Some(file) = leaf(node) {
                self.read_tree_file(file, path.clone(), folder)?;
            } else if open.len() == limits::PATH_COMPONENTS {
                return Err(MetainfoError::TooDeep);
            } else {
                let path_length = path.len();
                open.push((inner, path_length));
            }
        }
        Ok(())
    }

    fn read_tree_file(
        &mut self,
        file: Node<'_>,
        path: String,
        folder: &str,
    ) -> Result<(), MetainfoError> {
        if !file.is_dict() {
            return Err(MetainfoError::FileList);
        }
        let attributes = attributes(file);
        if attributes.pad {
            return Err(MetainfoError::PadInTree);
        }
        let length = if attributes.symlink { 0 } else { length(file)? };
        let root =
            match file.get_bytes("pieces root").and_then(|root| <[u8; 32]>::try_from(root).ok()) {
                _ if length == 0 => None,
                Some(root) if root != [0; 32] => Some(Box::new(root)),
                _ => return Err(MetainfoError::NoRoot),
            };
        let symlink_target = symlink_target(file, attributes, folder)?;
        self.add(Entry { path, length, attributes, symlink_target, root })
    }

    fn add(&mut self, entry: Entry) -> Result<(), MetainfoError> {
        self.path_bytes += entry.path.len();
        if self.path_bytes > limits::PATH_BYTES {
            return Err(MetainfoError::PathsTooLong);
        }
        self.entries.push(entry);
        Ok(())
    }
}

/// A node of the tree that is a file: it has nothing but an entry of the empty name.
fn leaf(node: Node<'_>) -> Option<Node<'_>> {
    let mut children = node.as_dict()?;
    let (name, file) = children.next()?;
    (name.is_empty() && children.next().is_none()).then_some(file)
}

/// The folder and the cleaned components as a path; `None` if there are no components.
fn joined<'d>(
    folder: &str,
    components: impl Iterator<Item = Node<'d>>,
) -> Result<Option<String>, MetainfoError> {
    let mut path = folder.to_owned();
    let mut count = 0;
    for component in components {
        count += 1;
        if count > limits::PATH_COMPONENTS {
            return Err(MetainfoError::TooDeep);
        }
        if !path.is_empty() {
            path.push('/');
        }
        path.push_str(&clean_component(component.as_bytes().ok_or(MetainfoError::FilePath)?));
    }
    Ok((count > 0).then_some(path))
}

fn length(file: Node<'_>) -> Result<u64, MetainfoError> {
    file.get_int("length")
        .and_then(|length| u64::try_from(length).ok())
        .filter(|&length| length <= limits::FILE_BYTES)
        .ok_or(MetainfoError::FileLength)
}

fn attributes(file: Node<'_>) -> Attributes {
    let letters = file.get_bytes("attr").unwrap_or_default();
    Attributes {
        pad: letters.contains(&b'p'),
        executable: letters.contains(&b'x'),
        hidden: letters.contains(&b'h'),
        symlink: letters.contains(&b'l'),
    }
}

fn symlink_target(
    file: Node<'_>,
    attributes: Attributes,
    folder: &str,
) -> Result<Option<String>, MetainfoError> {
    match file.get_list("symlink path").filter(|_| attributes.symlink) {
        Some(components) => {
            let inside = components.filter(|part| !matches!(part.as_bytes(), Some(b"." | b"..")));
            joined(folder, inside)
        }
        None => Ok(None),
    }
}

/// With a pad file after every file that does not end on a piece: the byte space of version 2.
fn with_padding(entries: Vec<Entry>, piece_length: u32) -> Vec<Entry> {
    let mut padded = Vec::with_capacity(entries.len() * 2);
    for entry in entries {
        let over = entry.length % u64::from(piece_length);
        let folder = entry.path.split_once('/').map_or("", |(folder, _)| folder).to_owned();
        padded.push(entry);
        if over > 0 {
            let length = u64::from(piece_length) - over;
            let path = pad_path(&folder, length);
            let attributes = Attributes { pad: true, ..Attributes::default() };
            padded.push(Entry { path, length, attributes, symlink_target: None, root: None });
        }
    }
    padded
}

/// Where padding would lie if it were on disk.
pub(crate) fn pad_path(folder: &str, length: u64) -> String {
    if folder.is_empty() { format!(".pad/{length}") } else { format!("{folder}/.pad/{length}") }
}

/// Where the pad file after the last file that has bytes is, if there is one.
fn tail_padding(entries: &[Entry]) -> Option<usize> {
    let last = entries.iter().rposition(Entry::has_data)?;
    entries.get(last + 1).filter(|entry| entry.attributes.pad).map(|_| last + 1)
}

/// The end of the last file is the end of the torrent.
fn without_tail(mut entries: Vec<Entry>) -> Vec<Entry> {
    if let Some(tail) = tail_padding(&entries) {
        entries.remove(tail);
    }
    entries
}

/// The files of version 2, if version 1 describes the same data: the files that have bytes must agree
/// in number, path, length and place. Padding after the last file is optional.
fn merged(v1: Vec<Entry>, mut v2: Vec<Entry>) -> Result<Vec<Entry>, MetainfoError> {
    if v2.len() == v1.len() + 1 {
        v2 = without_tail(v2);
    }
    if v1.len() != v2.len() {
        return Err(MetainfoError::Inconsistent);
    }
    let (mut v1_offset, mut v2_offset) = (0u64, 0u64);
    for (old, new) in v1.iter().zip(&v2) {
        let agree = old.has_data() == new.has_data()
            && (!old.has_data()
                || (old.path == new.path && old.length == new.length && v1_offset == v2_offset));
        if !agree {
            return Err(MetainfoError::Inconsistent);
        }
        v1_offset = v1_offset.saturating_add(old.length);
        v2_offset = v2_offset.saturating_add(new.length);
    }
    if v1_offset != v2_offset {
        return Err(MetainfoError::Inconsistent);
    }
    Ok(v2)
}
