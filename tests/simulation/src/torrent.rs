//! The torrent that a world is about: pseudo-random bytes, known to everybody who checks.

use anyhow::{Context, Result};
use metainfo::create::{Hashes, NewFile, Options, Plan, Version};
use metainfo::{InfoHash, Layout, Metainfo, PieceHashes, PieceIndex};
use ring::sim::{Machine, World};
use sha1::{Digest, Sha1};
use std::{path::Path, path::PathBuf, sync::Arc};

/// Where every server keeps its files.
pub const ROOT: &str = "/data";

/// A torrent and its bytes.
#[derive(Clone)]
pub struct Torrent {
    /// Its name on the wire.
    pub info_hash: InfoHash,
    /// Its files.
    pub layout: Arc<Layout>,
    /// What its pieces hash to.
    pub hashes: Arc<PieceHashes>,
    /// All its bytes.
    pub data: Arc<[u8]>,
    /// Where its files are.
    pub paths: Arc<[PathBuf]>,
}

impl Torrent {
    /// Files of these lengths, in a folder.
    pub fn new(rng: &mut fastrand::Rng, lengths: &[u64], piece_length: u32) -> Result<Torrent> {
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
        let metainfo = Metainfo::parse(&plan.finish(&hashes, &Options::default())?)?;
        let files = metainfo.layout.files();
        let paths = files.map(|(_, file)| Path::new(ROOT).join(file.path().as_path()));
        Ok(Torrent {
            paths: paths.collect(),
            info_hash: metainfo.info_hash(),
            hashes: Arc::new(metainfo.piece_hashes.clone().context("version 1 has hashes")?),
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

    /// The files as they must be in the end: path and content.
    pub fn files(&self) -> impl Iterator<Item = (&PathBuf, &[u8])> {
        let contents = self.layout.files();
        let contents =
            contents.map(|(_, file)| &self.data[file.offset() as usize..file.end() as usize]);
        self.paths.iter().zip(contents)
    }

    /// Whether the piece is in the files of a machine, as a process there would read it.
    pub fn shows(&self, world: &World, machine: Machine, piece: PieceIndex) -> bool {
        self.is_at(piece, |path, offset, bytes| world.shows(machine, path, offset, bytes))
    }

    /// Whether the piece would survive any loss of power.
    pub fn keeps(&self, world: &World, machine: Machine, piece: PieceIndex) -> bool {
        self.is_at(piece, |path, offset, bytes| world.keeps(machine, path, offset, bytes))
    }

    fn is_at(&self, piece: PieceIndex, has: impl Fn(&Path, u64, &[u8]) -> bool) -> bool {
        let mut expected = self.piece(piece);
        self.layout.piece_spans(piece).all(|span| {
            let (here, rest) = expected.split_at(span.length as usize);
            expected = rest;
            has(&self.paths[span.file.as_usize()], span.offset, here)
        })
    }

    /// The part file.
    pub fn parts(&self) -> PathBuf {
        storage::part_file(Path::new(ROOT), self.info_hash)
    }
}
