//! Torrents of pseudo-random bytes, and whether a client has got them right.

use crate::wait_until;
use anyhow::{Context, Result, ensure};
use metainfo::create::{Hashes, NewFile, Options, Plan, Version};
use metainfo::merkle::{FileHash, block_hash};
use metainfo::{Attributes, BLOCK_LENGTH, InfoHash, Layout, Metainfo};
use sha1::{Digest, Sha1};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a torrent is to look like.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Its name, and what its bytes are derived from.
    pub name: String,
    /// Bytes of a piece.
    pub piece_length: u32,
    /// Paths and lengths below the torrent's folder; one file with an empty path for no folder.
    pub files: Vec<(String, u64)>,
    /// Version 1 only, or hybrid: then with padding between the files.
    pub version: Version,
    /// Peers from trackers only (BEP 27).
    pub private: bool,
}

impl Shape {
    /// One file without a folder.
    pub fn file(name: &str, length: u64, piece_length: u32) -> Shape {
        Shape::folder(name, vec![(String::new(), length)], piece_length)
    }

    /// A folder of files.
    pub fn folder(name: &str, files: Vec<(String, u64)>, piece_length: u32) -> Shape {
        Shape { name: name.to_owned(), piece_length, files, version: Version::V1, private: false }
    }

    /// The same as a hybrid torrent, which has pad files between its files.
    pub fn padded(self) -> Shape {
        Shape { version: Version::Hybrid, ..self }
    }

    /// The same as a private torrent.
    pub fn private(self) -> Shape {
        Shape { private: true, ..self }
    }
}

/// A torrent whose data lies complete in a folder.
pub struct Torrent {
    plan: Plan,
    hashes: Hashes,
    private: bool,
    source: PathBuf,
    /// What the .torrent says.
    pub metainfo: Metainfo,
}

impl Torrent {
    /// Makes the data in a folder, and the torrent of it.
    pub fn make(shape: &Shape, source: &Path) -> Result<Torrent> {
        let files: Vec<NewFile> = shape
            .files
            .iter()
            .map(|(path, length)| NewFile {
                path: path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect(),
                length: *length,
                attributes: Attributes::default(),
            })
            .collect();
        let plan = Plan::new(&shape.name, &files, Some(shape.piece_length), shape.version)?;
        write_data(plan.layout(), source)?;
        let hashes = Hashes {
            pieces: piece_hashes(plan.layout(), source)?,
            files: match shape.version {
                Version::V1 => Vec::new(),
                Version::V2 | Version::Hybrid => file_hashes(plan.layout(), source)?,
            },
        };
        let options = Options { private: shape.private, ..Options::default() };
        let metainfo = Metainfo::parse(&plan.finish(&hashes, &options)?)?;
        Ok(Torrent { plan, hashes, private: shape.private, source: source.to_owned(), metainfo })
    }

    /// Its identity in the swarm.
    pub fn info_hash(&self) -> InfoHash {
        self.metainfo.info_hash()
    }

    /// Where its data lies: the folder that a client is given to seed it from.
    pub fn source(&self) -> &Path {
        &self.source
    }

    /// Its files and pieces.
    pub fn layout(&self) -> &Layout {
        self.plan.layout()
    }

    /// The bytes of the .torrent, with these trackers in one tier.
    pub fn with_trackers(&self, trackers: &[&str]) -> Result<Vec<u8>> {
        let tier = trackers.iter().map(|&tracker| tracker.to_owned()).collect();
        let options = Options { private: self.private, trackers: vec![tier], ..Options::default() };
        Ok(self.plan.finish(&self.hashes, &options)?)
    }

    /// A piece's bytes.
    pub fn read(&self, offset: u64, length: u32) -> Result<Vec<u8>> {
        read(self.layout(), &self.source, offset, u64::from(length))
    }

    /// Whether a piece of it is as it should be in another folder; an error if files of it cannot
    /// be read that far.
    pub fn is_piece_in(&self, folder: &Path, index: u32) -> Result<bool> {
        let geometry = self.layout().geometry();
        let piece = geometry.piece(index).context("a piece's index")?;
        let (offset, length) = (geometry.offset_of(piece), u64::from(geometry.length_of(piece)));
        let found = read(self.layout(), folder, offset, length)?;
        Ok(found == read(self.layout(), &self.source, offset, length)?)
    }

    /// Copies the data into another folder.
    pub fn copy_to(&self, folder: &Path) -> Result<()> {
        for (_, file) in self.layout().files() {
            let to = folder.join(file.path().as_path());
            fs::create_dir_all(to.parent().context("a path has a folder")?)?;
            fs::copy(self.source.join(file.path().as_path()), to)?;
        }
        Ok(())
    }

    /// Whether none of its files is in a folder.
    pub fn is_gone_from(&self, folder: &Path) -> bool {
        let mut files = self.layout().files();
        files.all(|(_, file)| !fs::exists(folder.join(file.path().as_path())).unwrap_or(true))
    }

    /// Compares what a client has in its folder with the data, byte by byte. It gets the time to
    /// write what it already counts as had.
    pub fn compare(&self, folder: &Path) -> Result<()> {
        let written = wait_until("written", WRITTEN_WITHIN, || Ok(self.is_in(folder).is_ok()));
        written.or_else(|_| self.is_in(folder))
    }

    /// Empty files may be missing: Transmission 3.00 makes none.
    fn is_in(&self, folder: &Path) -> Result<()> {
        for (_, file) in self.layout().files().filter(|(_, file)| !file.is_pad()) {
            let path = file.path().as_path();
            if file.length() == 0 && !folder.join(path).exists() {
                continue;
            }
            let mut expected = File::open(self.source.join(path))?;
            let mut found = File::open(folder.join(path))
                .with_context(|| format!("{} is not there", folder.join(path).display()))?;
            compare(&mut expected, &mut found).with_context(|| format!("{}", path.display()))?;
        }
        Ok(())
    }

    /// Compares byte by byte, at once, and that the folder holds all of the torrent's files, empty ones too,
    /// and nothing else: no padding, no part files. Empty files get the time to be made.
    pub fn compare_exactly(&self, folder: &Path) -> Result<()> {
        self.is_in(folder)?;
        let made = wait_until("made", WRITTEN_WITHIN, || Ok(self.is_alone_in(folder).is_ok()));
        made.or_else(|_| self.is_alone_in(folder))
    }

    /// Whether a folder holds all of its files and nothing else, and the empty ones are empty.
    fn is_alone_in(&self, folder: &Path) -> Result<()> {
        let files = self.layout().files().filter(|(_, file)| !file.is_pad());
        let expected: BTreeSet<PathBuf> =
            files.map(|(_, file)| folder.join(file.path().as_path())).collect();
        let mut found = BTreeSet::new();
        collect(folder, &mut found)?;
        let wrong: Vec<_> = found.symmetric_difference(&expected).collect();
        ensure!(wrong.is_empty(), "missing, or not the torrent's: {wrong:?}");
        let empty = self.layout().files().filter(|(_, file)| !file.is_pad() && file.length() == 0);
        for (_, file) in empty {
            let path = folder.join(file.path().as_path());
            ensure!(fs::metadata(&path)?.len() == 0, "{} is not empty", path.display());
        }
        Ok(())
    }
}

/// How long a client may hold data that it says it has in its own buffers, and be without files that have
/// no data.
const WRITTEN_WITHIN: Duration = Duration::from_secs(10);

fn collect(folder: &Path, into: &mut BTreeSet<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), into)?;
        } else {
            into.insert(entry.path());
        }
    }
    Ok(())
}

/// Padding is written too, as zeros: older clients take pad files for files and want them.
fn write_data(layout: &Layout, folder: &Path) -> Result<()> {
    let seed =
        layout.name().bytes().fold(7, |seed: u64, byte| seed.rotate_left(7) ^ u64::from(byte));
    let mut random = fastrand::Rng::with_seed(seed);
    let mut buffer = vec![0; 1 << 20];
    for (_, file) in layout.files() {
        let path = folder.join(file.path().as_path());
        fs::create_dir_all(path.parent().context("a path has a folder")?)?;
        let mut out = BufWriter::new(File::create(path)?);
        let mut left = file.length();
        while left > 0 {
            let length = left.min(buffer.len() as u64) as usize;
            if file.is_pad() {
                buffer[..length].fill(0);
            } else {
                random.fill(&mut buffer[..length]);
            }
            out.write_all(&buffer[..length])?;
            left -= length as u64;
        }
        out.flush()?;
    }
    Ok(())
}

fn read(layout: &Layout, folder: &Path, offset: u64, length: u64) -> Result<Vec<u8>> {
    let mut bytes = vec![0; length as usize];
    let mut at = 0;
    for span in layout.spans(offset, length) {
        let end = at + span.length as usize;
        if !span.pad {
            let (_, file) = layout.files().nth(span.file.as_usize()).context("a file's index")?;
            let file = File::open(folder.join(file.path().as_path()))?;
            file.read_exact_at(&mut bytes[at..end], span.offset)?;
        }
        at = end;
    }
    Ok(bytes)
}

fn piece_hashes(layout: &Layout, folder: &Path) -> Result<Vec<[u8; 20]>> {
    let geometry = layout.geometry();
    let (length, total) = (u64::from(geometry.piece_length()), geometry.total_length());
    (0..total.div_ceil(length))
        .map(|piece| {
            let offset = piece * length;
            let bytes = read(layout, folder, offset, length.min(total - offset))?;
            Ok(Sha1::digest(bytes).into())
        })
        .collect()
}

fn file_hashes(layout: &Layout, folder: &Path) -> Result<Vec<Option<FileHash>>> {
    let piece_length = layout.geometry().piece_length();
    let hash = |file: &metainfo::File| -> Result<Option<FileHash>> {
        if file.is_pad() {
            return Ok(None);
        }
        let bytes = fs::read(folder.join(file.path().as_path()))?;
        let blocks: Vec<_> = bytes.chunks(BLOCK_LENGTH as usize).map(block_hash).collect();
        Ok(FileHash::from_blocks(&blocks, piece_length))
    };
    layout.files().map(|(_, file)| hash(file)).collect()
}

fn compare(expected: &mut File, found: &mut File) -> Result<()> {
    let (left, right) = (expected.metadata()?.len(), found.metadata()?.len());
    ensure!(left == right, "has {right} bytes instead of {left}");
    let (mut a, mut b) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut offset = 0;
    while offset < left {
        let length = (left - offset).min(a.len() as u64) as usize;
        expected.read_exact(&mut a[..length])?;
        found.read_exact(&mut b[..length])?;
        if let Some(at) = (0..length).find(|&at| a[at] != b[at]) {
            let wrong = (at..length).filter(|&at| a[at] != b[at]).count();
            anyhow::bail!(
                "differs from byte {} on; {wrong} of {length} are wrong",
                offset + at as u64
            );
        }
        offset += length as u64;
    }
    Ok(())
}
