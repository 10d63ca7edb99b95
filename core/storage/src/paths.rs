//! Where a torrent's files are: the layout's relative paths below the download folder.

use metainfo::{InfoHash, Layout};
use std::path::{Path, PathBuf};

/// The file that holds the bytes of files that are not wanted but share a piece with wanted ones:
/// sparse, each byte at its offset in the torrent.
pub fn part_file(root: &Path, info_hash: InfoHash) -> PathBuf {
    root.join(format!(".{info_hash}.parts"))
}

/// Where a file that has become wanted is put together before it gets its name.
pub(crate) fn copy_file(root: &Path, info_hash: InfoHash, file: u32) -> PathBuf {
    root.join(format!(".{info_hash}.{file}.copy"))
}

/// The path of the file with this number; of the part file for the number after the last.
pub(crate) fn of_number(root: &Path, layout: &Layout, info_hash: InfoHash, number: u32) -> PathBuf {
    match layout.file(number) {
        Some(file) => root.join(layout[file].path().as_path()),
        None => part_file(root, info_hash),
    }
}
