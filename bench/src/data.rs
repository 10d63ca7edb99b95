//! The data that is seeded and downloaded: making it, and looking at it.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use clap::Args;
use memmap2::Mmap;
use sha1::{Digest, Sha1};

use crate::torrent::{self, Torrent};

#[derive(Args)]
pub struct MakeData {
    /// Bytes of data
    #[arg(long, default_value_t = 2 << 30)]
    size: u64,
    /// Bytes of a piece
    #[arg(long, default_value_t = 1 << 20)]
    piece_length: u32,
    /// How often the data is repeated; SIZE must be whole pieces then
    #[arg(long, default_value_t = 1)]
    repeat: u64,
    /// Seed of the pseudo-random bytes
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Name of the file and, with .torrent added, of its torrent
    #[arg(long, default_value = "data")]
    name: String,
    /// Folder that gets both
    #[arg(long)]
    out: PathBuf,
}

/// Writes `OUT/NAME` and `OUT/NAME.torrent`.
pub fn make(options: &MakeData) -> Result<()> {
    let MakeData { size, piece_length, repeat, .. } = *options;
    ensure!(size > 0 && piece_length > 0 && repeat > 0, "sizes must not be 0");
    ensure!(
        repeat == 1 || size.is_multiple_of(u64::from(piece_length)),
        "only whole pieces can be repeated"
    );
    std::fs::create_dir_all(&options.out)?;
    let path = options.out.join(&options.name);
    let mut file = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
    let mut piece = vec![0; piece_length as usize];
    let mut hashes = Vec::new();
    for _ in 0..repeat {
        let mut random = fastrand::Rng::with_seed(options.seed);
        let mut left = size;
        while left > 0 {
            let length = left.min(u64::from(piece_length)) as usize;
            random.fill(&mut piece[..length]);
            hashes.extend_from_slice(&Sha1::digest(&piece[..length]));
            file.write_all(&piece[..length])?;
            left -= length as u64;
        }
    }
    let torrent = torrent::encode(&options.name, size * repeat, piece_length, &hashes);
    std::fs::write(options.out.join(format!("{}.torrent", options.name)), torrent)?;
    Ok(())
}

/// The torrent's data, mapped, all of it in memory.
#[allow(unsafe_code)]
pub fn map(path: &Path, torrent: &Torrent) -> Result<Mmap> {
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    // SAFETY: the file was made for this run and nobody changes it meanwhile; if somebody does, a
    // benchmark dies of SIGBUS and nothing else.
    let map = unsafe { memmap2::MmapOptions::new().populate().map(&file) }?;
    ensure!(map.len() as u64 == torrent.length, "the data is not as long as the torrent says");
    Ok(map)
}
