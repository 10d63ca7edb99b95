//! A new .torrent from a list of files and the hashes of their bytes (BEP 3, 12, 19, 27, 47, 52).
//!
//! Walking folders, reading and hashing are the caller's part. A [`Plan`] says what there is to hash:
//! its [`Plan::layout`] has the files in the order of the torrent with the padding between them, so
//! [`Layout::piece_spans`] gives the bytes of each version-1 piece, and each file that is not padding
//! needs a [`FileHash`] for version 2. [`Plan::finish`] writes the canonical bytes.

use crate::bencode::Writer;
use crate::file_list::pad_path;
use crate::layout::{Attributes, File, Layout};
use crate::merkle::FileHash;
use crate::metainfo::is_piece_length_v2;
use crate::path::{TorrentPath, clean, tell_apart};
use crate::write::write_torrent;
use crate::{BLOCK_LENGTH, limits};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Components in a path of a new torrent: a file tree nests one dictionary for each, and four more.
const PATH_COMPONENTS: usize = limits::DEPTH - 6;

/// Which standards the torrent follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// BEP 3 only: what every client understands.
    V1,
    /// BEP 52 only.
    V2,
    /// Both, for swarms of old and new clients.
    Hybrid,
}

impl Version {
    fn has_v1(self) -> bool {
        self != Version::V2
    }

    fn has_v2(self) -> bool {
        self != Version::V1
    }
}

/// A file that is to be in the torrent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFile {
    /// The components of its path below the torrent's folder; none if it is the torrent's only file
    /// and has the torrent's name.
    pub path: Vec<String>,
    /// Bytes in it.
    pub length: u64,
    /// Executable, hidden (BEP 47). Padding and links are not the caller's to give.
    pub attributes: Attributes,
}

/// Why no torrent can be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum CreateError {
    #[error("a torrent needs at least one byte")]
    Empty,
    #[error("`{0}` cannot be the name of a file in a torrent")]
    Name(String),
    #[error("`{0}` has the name of another file or folder, if upper and lower case are the same")]
    Conflict(String),
    #[error("{0} bytes is no piece length: a power of two from 16 KiB to 256 MiB")]
    PieceLength(u32),
    #[error("the files are too large for pieces of {0} bytes: choose longer pieces")]
    TooManyPieces(u32),
    #[error("`{0}` is too large for a torrent")]
    TooLarge(String),
    #[error("the hashes do not fit the files")]
    Hashes,
}

/// What is to be hashed, and where it lies in the torrent.
#[derive(Debug, Clone)]
pub struct Plan {
    version: Version,
    layout: Layout,
    /// For each file of the layout, which of the caller's it is; `None` for padding.
    sources: Vec<Option<usize>>,
}

/// The hashes of all bytes of a plan's files.
#[derive(Debug, Clone, Default)]
pub struct Hashes {
    /// The SHA-1 of each piece of the plan's layout, padding hashed as zeros; empty without version 1.
    pub pieces: Vec<[u8; 20]>,
    /// The tree of each file of the layout, `None` for padding and empty files; empty without
    /// version 2.
    pub files: Vec<Option<FileHash>>,
}

/// What else is to stand in the .torrent.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Peers may come from the trackers only (BEP 27).
    pub private: bool,
    /// Trackers by tier (BEP 12).
    pub trackers: Vec<Vec<String>>,
    /// Web servers that have the files (BEP 19).
    pub web_seeds: Vec<String>,
    /// Free text.
    pub comment: Option<String>,
    /// The program that makes it.
    pub created_by: Option<String>,
    /// Seconds since 1970.
    pub creation_date: Option<u64>,
    /// Set into `info`, so that the torrents of different trackers differ.
    pub source: Option<String>,
}

/// The piece length for so many bytes: a power of two from 16 KiB to 16 MiB that makes about a
/// thousand to two thousand pieces. Longer pieces make a small .torrent, shorter ones spread faster.
pub fn default_piece_length(total_length: u64) -> u32 {
    let wanted = (total_length / 2048).clamp(u64::from(BLOCK_LENGTH), 16 << 20);
    (wanted as u32).next_power_of_two()
}

impl Plan {
    /// Orders the files, puts padding between them where the version needs it, and lays them out.
    ///
    /// `piece_length` is chosen by [`default_piece_length`] if `None`.
    pub fn new(
        name: &str,
        files: &[NewFile],
        piece_length: Option<u32>,
        version: Version,
    ) -> Result<Plan, CreateError> {
        let total = files.iter().fold(0u64, |sum, file| sum.saturating_add(file.length));
        let piece_length = piece_length.unwrap_or_else(|| default_piece_length(total));
        if !is_piece_length_v2(piece_length) || piece_length > limits::PIECE_LENGTH {
            return Err(CreateError::PieceLength(piece_length));
        }
        if total == 0 {
            return Err(CreateError::Empty);
        }
        check_name(name)?;
        let order = ordered(name, files)?;
        let mut laid = Vec::with_capacity(files.len());
        let mut sources = Vec::with_capacity(files.len());
        let mut offset = 0u64;
        let last = order.iter().rposition(|&(_, index)| files[index].length > 0);
        let mut padding = Padding::beside(name, &order);
        for (at, (path, index)) in order.into_iter().enumerate() {
            let file = &files[index];
            if file.length > limits::FILE_BYTES {
                return Err(CreateError::TooLarge(path));
            }
            laid.push(File {
                path: TorrentPath::from_clean(path),
                length: file.length,
                offset,
                attributes: Attributes { pad: false, symlink: false, ..file.attributes },
                symlink_target: None,
                root: None,
            });
            sources.push(Some(index));
            offset = offset.saturating_add(file.length);
            let over = offset % u64::from(piece_length);
            if version.has_v2() && over > 0 && Some(at) < last {
                let length = u64::from(piece_length) - over;
                laid.push(padding.file(length));
                sources.push(None);
                offset = offset.saturating_add(length);
            }
        }
        let layout = Layout::new(name.to_owned(), piece_length, laid)
            .ok_or(CreateError::TooManyPieces(piece_length))?;
        Ok(Plan { version, layout, sources })
    }

    /// Which standards the torrent will follow, and so which [`Hashes`] are needed.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The files and pieces of the torrent.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Which of the caller's files a file of the layout is; `None` if it is padding.
    pub fn source(&self, file: crate::FileIndex) -> Option<usize> {
        self.sources[file.as_usize()]
    }

    /// The bytes of the .torrent.
    pub fn finish(&self, hashes: &Hashes, options: &Options) -> Result<Vec<u8>, CreateError> {
        self.check(hashes)?;
        let info = self.info(hashes, options);
        let piece_length = u64::from(self.layout.geometry().piece_length());
        let layers: BTreeMap<&[u8; 32], &[[u8; 32]]> = self
            .layout
            .files()
            .zip(&hashes.files)
            .filter(|((_, file), _)| file.length() > piece_length)
            .filter_map(|(_, hash)| hash.as_ref().map(|hash| (&hash.root, hash.layer.as_slice())))
            .collect();
        Ok(write_torrent(&info, &layers, options, None))
    }

    fn check(&self, hashes: &Hashes) -> Result<(), CreateError> {
        let geometry = self.layout.geometry();
        let pieces = if self.version.has_v1() { geometry.piece_count() as usize } else { 0 };
        let files = if self.version.has_v2() { self.layout.file_count() as usize } else { 0 };
        if hashes.pieces.len() != pieces || hashes.files.len() != files {
            return Err(CreateError::Hashes);
        }
        for ((_, file), hash) in self.layout.files().zip(&hashes.files) {
            let pieces = file.length().div_ceil(u64::from(geometry.piece_length()));
            let layer = if pieces > 1 { pieces } else { 0 };
            let fits = match hash {
                Some(hash) => {
                    !file.is_pad() && file.length() > 0 && hash.layer.len() as u64 == layer
                }
                None => file.is_pad() || file.length() == 0,
            };
            if !fits {
                return Err(CreateError::Hashes);
            }
        }
        Ok(())
    }

    fn info(&self, hashes: &Hashes, options: &Options) -> Vec<u8> {
        let (has_v1, has_v2) = (self.version.has_v1(), self.version.has_v2());
        let folder = self.layout.has_folder();
        let mut writer = Writer::new();
        writer.dict(|w| {
            if let (true, false, Some((_, file))) = (has_v1, folder, self.layout.files().next()) {
                write_attributes(w, file.attributes());
            }
            if has_v2 {
                w.key("file tree").dict(|w| self.write_tree(w, hashes));
            }
            if has_v1 && folder {
                w.key("files").list(|w| self.write_files(w));
            }
            if has_v1 && !folder {
                w.key("length").int(self.layout.geometry().total_length() as i64);
            }
            if has_v2 {
                w.key("meta version").int(2);
            }
            w.key("name").bytes(self.layout.name());
            w.key("piece length").int(i64::from(self.layout.geometry().piece_length()));
            if has_v1 {
                w.key("pieces").bytes(hashes.pieces.as_flattened());
            }
            if options.private {
                w.key("private").int(1);
            }
            if let Some(source) = &options.source {
                w.key("source").bytes(source);
            }
        });
        writer.finish()
    }

    fn write_files(&self, writer: &mut Writer) {
        for (_, file) in self.layout.files() {
            writer.dict(|w| {
                write_attributes(w, file.attributes());
                w.key("length").int(file.length() as i64);
                w.key("path").list(|w| {
                    file.path().components().skip(1).for_each(|part| {
                        w.bytes(part);
                    });
                });
            });
        }
    }

    /// The files are in the order of the tree, so each only closes folders and opens others.
    fn write_tree(&self, writer: &mut Writer, hashes: &Hashes) {
        let skip = usize::from(self.layout.has_folder());
        let mut open: Vec<&str> = Vec::new();
        for ((_, file), hash) in
            self.layout.files().zip(&hashes.files).filter(|(f, _)| !f.1.is_pad())
        {
            let mut parts: Vec<&str> = file.path().components().skip(skip).collect();
            let name = parts.pop().unwrap_or_default();
            let common = open.iter().zip(&parts).take_while(|(a, b)| a == b).count();
            for _ in common..open.len() {
                writer.raw(b"e");
            }
            for part in &parts[common..] {
                writer.key(part).raw(b"d");
            }
            open = parts;
            writer.key(name).dict(|w| {
                w.key("").dict(|w| {
                    write_attributes(w, file.attributes());
                    w.key("length").int(file.length() as i64);
                    if let Some(hash) = hash {
                        w.key("pieces root").bytes(hash.root);
                    }
                });
            });
        }
        for _ in open {
            writer.raw(b"e");
        }
    }
}

fn write_attributes(writer: &mut Writer, attributes: Attributes) {
    let letters = [
        (attributes.hidden, 'h'),
        (attributes.symlink, 'l'),
        (attributes.pad, 'p'),
        (attributes.executable, 'x'),
    ];
    let letters: String =
        letters.iter().filter(|(set, _)| *set).map(|(_, letter)| letter).collect();
    if !letters.is_empty() {
        writer.key("attr").bytes(letters);
    }
}

/// Names the padding: by its length, as BEP 47 recommends, and each by a name of its own. Transmission 4.1
/// and rTorrent refuse a torrent in which two files have one path, padding or not.
struct Padding<'a> {
    folder: &'a str,
    /// Paths of files that are named as padding is, in lower case.
    taken: HashSet<String>,
    /// How many there are of a length.
    count: HashMap<u64, u32>,
}

impl Padding<'_> {
    fn beside<'a>(folder: &'a str, files: &[(String, usize)]) -> Padding<'a> {
        let taken = files.iter().map(|(path, _)| path.to_lowercase());
        let taken = taken.filter(|path| path.contains("/.pad/")).collect();
        Padding { folder, taken, count: HashMap::new() }
    }

    fn file(&mut self, length: u64) -> File {
        let count = self.count.entry(length).or_default();
        let path = loop {
            *count += 1;
            let path = match *count {
                1 => pad_path(self.folder, length),
                more => format!("{}-{more}", pad_path(self.folder, length)),
            };
            if !self.taken.contains(&path.to_lowercase()) {
                break path;
            }
        };
        File {
            path: TorrentPath::from_clean(path),
            length,
            offset: 0,
            attributes: Attributes { pad: true, ..Attributes::default() },
            symlink_target: None,
            root: None,
        }
    }
}

fn check_name(name: &str) -> Result<(), CreateError> {
    // A name that reading would change is not the name of the file that was hashed.
    if clean(name.as_bytes()).as_deref() != Some(name) {
        return Err(CreateError::Name(name.to_owned()));
    }
    Ok(())
}

/// The whole paths and the places of the files in the caller's list, in the order of a file tree:
/// by the bytes of the components.
fn ordered(name: &str, files: &[NewFile]) -> Result<Vec<(String, usize)>, CreateError> {
    let single = matches!(files, [file] if file.path.is_empty());
    let mut order: Vec<usize> = (0..files.len()).collect();
    order.sort_by(|&a, &b| files[a].path.cmp(&files[b].path));
    let mut paths = Vec::with_capacity(files.len());
    for &index in &order {
        let parts = &files[index].path;
        if parts.len() > PATH_COMPONENTS || (parts.is_empty() && !single) {
            return Err(CreateError::Name(parts.join("/")));
        }
        parts.iter().try_for_each(|part| check_name(part))?;
        paths.push(if single { name.to_owned() } else { format!("{name}/{}", parts.join("/")) });
    }
    let mut apart = paths.clone();
    tell_apart(&mut apart, |_| false);
    match paths.iter().zip(&apart).find(|(path, apart)| path != apart) {
        Some((path, _)) => Err(CreateError::Conflict(path.clone())),
        None => Ok(paths.into_iter().zip(order).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Metainfo;
    use crate::bencode::{Document, Limits};
    use crate::merkle::block_hash;
    use proptest::prelude::*;
    use sha1::{Digest, Sha1};

    fn file(path: &[&str], length: u64) -> NewFile {
        let path = path.iter().map(|part| (*part).to_owned()).collect();
        NewFile { path, length, attributes: Attributes::default() }
    }

    /// Byte `at` of the caller's file `index`.
    fn content(index: usize, at: u64) -> u8 {
        (at.wrapping_mul(31) >> 3) as u8 ^ index as u8
    }

    fn hashed(plan: &Plan) -> Hashes {
        let layout = plan.layout();
        let piece_length = layout.geometry().piece_length();
        let bytes = |file, from: u64, length: u64| -> Vec<u8> {
            match plan.source(file) {
                Some(index) => (from..from + length).map(|at| content(index, at)).collect(),
                None => vec![0; length as usize],
            }
        };
        let piece = |piece| {
            let mut hasher = Sha1::new();
            layout
                .piece_spans(piece)
                .for_each(|s| hasher.update(bytes(s.file, s.offset, s.length)));
            hasher.finalize().into()
        };
        let tree = |(index, file): (_, &File)| {
            let data = bytes(index, 0, file.length());
            let blocks: Vec<_> = data.chunks(BLOCK_LENGTH as usize).map(block_hash).collect();
            (!file.is_pad()).then(|| FileHash::from_blocks(&blocks, piece_length)).flatten()
        };
        Hashes {
            pieces: match plan.version() {
                Version::V2 => Vec::new(),
                _ => layout.geometry().pieces().map(piece).collect(),
            },
            files: match plan.version() {
                Version::V1 => Vec::new(),
                _ => layout.files().map(tree).collect(),
            },
        }
    }

    #[test]
    fn what_cannot_be_in_a_torrent_is_refused() {
        let plan = |name, files: &[NewFile]| Plan::new(name, files, None, Version::V1).err();
        let name = |name: &str| Some(CreateError::Name(name.to_owned()));
        assert_eq!(plan("n", &[]), Some(CreateError::Empty));
        assert_eq!(plan("n", &[file(&["a"], 0)]), Some(CreateError::Empty));
        assert_eq!(plan("a/b", &[file(&[], 1)]), name("a/b"));
        assert_eq!(plan("n", &[file(&["..", "a"], 1)]), name(".."));
        assert_eq!(plan("n", &[file(&["a"], 1), file(&[], 1)]), name(""));
        for (one, other) in [(&["a"][..], &["a"][..]), (&["a"], &["A"]), (&["a"], &["a", "b"])] {
            let conflict = plan("n", &[file(one, 1), file(other, 1)]);
            assert!(matches!(conflict, Some(CreateError::Conflict(_))));
        }
        for length in [0, 1 << 13, 3 << 14, 1 << 30] {
            let refused = Plan::new("n", &[file(&[], 1)], Some(length), Version::V1).err();
            assert_eq!(refused, Some(CreateError::PieceLength(length)));
        }
    }

    #[test]
    fn padding_has_a_name_of_its_own() {
        let names = ["a", "b", "c", ".pad/16383-2", ".PAD/16383-4"];
        let files = names.map(|name| file(&name.split('/').collect::<Vec<_>>(), 1));
        let plan = Plan::new("n", &files, None, Version::Hybrid).unwrap();
        let paths: Vec<&str> =
            plan.layout().files().map(|(_, file)| file.path().as_str()).collect();
        let expected = [
            "n/.PAD/16383-4",
            "n/.pad/16383",
            "n/.pad/16383-2",
            "n/.pad/16383-3",
            "n/a",
            "n/.pad/16383-5",
            "n/b",
            "n/.pad/16383-6",
            "n/c",
        ];
        assert_eq!(paths, expected);
    }

    #[test]
    fn hashes_of_something_else_are_refused() {
        let plan = Plan::new("n", &[file(&[], 40_000)], Some(16384), Version::Hybrid).unwrap();
        let hashes = hashed(&plan);
        let finish = |hashes: &Hashes| plan.finish(hashes, &Options::default());
        assert!(finish(&hashes).is_ok());
        let fewer = Hashes { pieces: hashes.pieces[1..].to_vec(), ..hashes.clone() };
        assert_eq!(finish(&fewer), Err(CreateError::Hashes));
        assert_eq!(finish(&Hashes { files: vec![None], ..hashes }), Err(CreateError::Hashes));
    }

    #[test]
    fn default_pieces_are_neither_many_nor_huge() {
        assert_eq!(default_piece_length(1), 16384);
        assert_eq!(default_piece_length(1 << 30), 512 << 10);
        assert_eq!(default_piece_length(1 << 30 | 1 << 20), 1 << 20);
        assert_eq!(default_piece_length(u64::MAX), 16 << 20);
    }

    fn any_version() -> impl Strategy<Value = Version> {
        prop::sample::select(vec![Version::V1, Version::V2, Version::Hybrid])
    }

    fn any_files() -> impl Strategy<Value = Vec<NewFile>> {
        let lengths = prop_oneof![Just(0u64), 1u64..70_000, Just(16384), Just(65536)];
        let file = (prop::collection::vec("[a-z]{1,3}", 1..4), lengths, any::<bool>());
        prop::collection::vec(file, 2..8).prop_map(|files| {
            let files = files.into_iter().map(|(path, length, executable)| {
                let attributes = Attributes { executable, ..Attributes::default() };
                NewFile { path, length, attributes }
            });
            files.collect()
        })
    }

    proptest! {
        #[test]
        fn what_is_created_is_read_again(
            files in any_files(), version in any_version(), single: bool, level in 0u32..3,
            private: bool, source in prop::option::of("[a-z]{0,5}"),
            comment in prop::option::of(".{0,9}"), date in prop::option::of(0u64..1 << 40),
        ) {
            let mut files = files;
            if single {
                files.truncate(1);
                files[0].path.clear();
            }
            let Ok(plan) = Plan::new("some name", &files, Some(16384 << level), version) else {
                return Ok(());
            };
            let hashes = hashed(&plan);
            let options = Options {
                private,
                trackers: vec![vec!["http://a/".to_owned(), "udp://b:1".to_owned()], vec!["http://c/".to_owned()]],
                web_seeds: vec!["http://d/".to_owned()],
                comment,
                created_by: Some("test".to_owned()),
                creation_date: date,
                source,
            };
            let bytes = plan.finish(&hashes, &options).unwrap();
            let document = Document::scan(&bytes, &Limits::TORRENT).unwrap();
            prop_assert!(document.root().is_canonical());

            let read = Metainfo::parse(&bytes).unwrap();
            prop_assert_eq!(read.info_hash_v1.is_some(), version.has_v1());
            prop_assert_eq!(read.info_hash_v2.is_some(), version.has_v2());
            prop_assert_eq!(read.name(), "some name");
            prop_assert_eq!(read.geometry(), plan.layout().geometry());
            for ((index, file), (_, planned)) in read.layout.files().zip(plan.layout().files()) {
                prop_assert!(file.is_pad() || file.path() == planned.path());
                prop_assert_eq!((file.length(), file.offset()), (planned.length(), planned.offset()));
                prop_assert_eq!(file.attributes(), planned.attributes());
                if let Some(Some(hash)) = hashes.files.get(index.as_usize()) {
                    let layer = if hash.layer.is_empty() { vec![hash.root] } else { hash.layer.clone() };
                    prop_assert_eq!(file.root(), Some(&hash.root));
                    prop_assert_eq!(read.piece_layer(index), Some(&layer[..]));
                }
            }
            prop_assert_eq!(read.layout.file_count(), plan.layout().file_count());
            let pieces = read.piece_hashes.as_ref().map_or(&[][..], |hashes| hashes.as_slice());
            prop_assert_eq!(pieces, &hashes.pieces[..]);
            prop_assert_eq!(read.private, private);
            prop_assert_eq!(&read.trackers, &options.trackers);
            prop_assert_eq!(&read.web_seeds, &options.web_seeds);
            prop_assert_eq!(&read.description.comment, &options.comment);
            prop_assert_eq!(&read.description.source, &options.source);
            prop_assert_eq!(read.description.creation_date, date);

            prop_assert_eq!(&read.to_torrent(), &bytes);
            prop_assert_eq!(Metainfo::parse_info(read.info_bytes()).unwrap().layout, read.layout);
        }
    }
}
