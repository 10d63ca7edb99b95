//! The torrent that a world is about: pseudo-random bytes, known to everybody who checks.

use anyhow::Result;
use metainfo::create::{Hashes, NewFile, Options, Plan, Version};
use metainfo::{InfoHash, Layout, Metainfo, PieceIndex};
use ring::sim::{Machine, World};
use sha1::{Digest, Sha1};
use std::{path::Path, path::PathBuf, sync::Arc};

/// Where every server keeps its files, at first.
pub const ROOT: &str = "/data";

/// Folders that they may be in later: the second is on another device.
pub const ROOTS: [&str; 3] = [ROOT, "/other", "/mnt/disk"];

/// The disk of a machine of a world.
pub type Disk<'a> = (&'a World, Machine);

/// A torrent and its bytes.
#[derive(Clone)]
pub struct Torrent {
    /// Its name on the wire.
    pub info_hash: InfoHash,
    /// Its files.
    pub layout: Arc<Layout>,
    /// All its bytes.
    pub data: Arc<[u8]>,
    /// Where its files are, below a root.
    pub paths: Arc<[PathBuf]>,
    /// Its .torrent.
    pub metainfo: Arc<[u8]>,
}

impl Torrent {
    /// Files of these lengths, in a folder.
    pub fn new(
        rng: &mut fastrand::Rng,
        lengths: &[u64],
        piece_length: u32,
        trackers: Vec<Vec<String>>,
    ) -> Result<Torrent> {
        let files: Vec<NewFile> = (0..)
            .zip(lengths)
            .map(|(number, &length)| NewFile {
                path: vec![format!("file {number:02}")],
                length,
                attributes: Default::default(),
            })
            .collect();
        let name = format!("torrent {:08x}", rng.u32(..));
        let plan = Plan::new(&name, &files, Some(piece_length), Version::V1)?;
        let mut data = vec![0; plan.layout().geometry().total_length() as usize];
        rng.fill(&mut data);
        let pieces = data.chunks(piece_length as usize).map(|piece| Sha1::digest(piece).into());
        let hashes = Hashes { pieces: pieces.collect(), files: Vec::new() };
        let options = Options { trackers, ..Options::default() };
        let bytes = plan.finish(&hashes, &options)?;
        let metainfo = Metainfo::parse(&bytes)?;
        let files = metainfo.layout.files();
        let paths = files.map(|(_, file)| file.path().as_path().to_path_buf());
        Ok(Torrent {
            metainfo: bytes.into(),
            paths: paths.collect(),
            info_hash: metainfo.info_hash(),
            layout: Arc::new(metainfo.layout),
            data: data.into(),
        })
    }

    /// A piece's bytes.
    pub fn piece(&self, piece: PieceIndex) -> &[u8] {
        let geometry = self.layout.geometry();
        let start = geometry.offset_of(piece) as usize;
        &self.data[start..start + geometry.length_of(piece) as usize]
    }

    /// The files as they must be in the end: path below the root, and content.
    pub fn files(&self) -> impl Iterator<Item = (&PathBuf, &[u8])> {
        let contents = self.layout.files();
        let contents =
            contents.map(|(_, file)| &self.data[file.offset() as usize..file.end() as usize]);
        self.paths.iter().zip(contents)
    }

    /// Whether the piece is in the files of a machine below this root, as a process there would read it.
    pub fn shows(&self, (world, machine): Disk<'_>, root: &Path, piece: PieceIndex) -> bool {
        self.is_at(root, piece, |path, offset, bytes| world.shows(machine, path, offset, bytes))
    }

    /// Whether the piece would survive any loss of power.
    pub fn keeps(&self, (world, machine): Disk<'_>, root: &Path, piece: PieceIndex) -> bool {
        self.is_at(root, piece, |path, offset, bytes| world.keeps(machine, path, offset, bytes))
    }

    fn is_at(
        &self,
        root: &Path,
        piece: PieceIndex,
        has: impl Fn(&Path, u64, &[u8]) -> bool,
    ) -> bool {
        let mut expected = self.piece(piece);
        self.layout.piece_spans(piece).all(|span| {
            let (here, rest) = expected.split_at(span.length as usize);
            expected = rest;
            has(&root.join(&self.paths[span.file.as_usize()]), span.offset, here)
        })
    }

    /// All paths that it may have below a root: its files, the part file, and copies under way.
    pub fn is_path(&self, root: &Path, path: &Path) -> bool {
        let Ok(below) = path.strip_prefix(root) else { return false };
        let is_copy = |name: &str| {
            name.starts_with(&format!(".{}.", self.info_hash)) && name.ends_with(".moving")
        };
        self.paths.iter().any(|own| own == below)
            || path == storage::part_file(root, self.info_hash)
            || path.file_name().and_then(|name| name.to_str()).is_some_and(is_copy)
    }
}
