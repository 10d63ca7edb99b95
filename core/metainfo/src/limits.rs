//! The numbers that bound what a .torrent may ask of us, and why they are what they are.

/// Bytes in a .torrent file. The largest in the wild are some tens of MiB; qBittorrent stops here too.
pub const TORRENT_BYTES: usize = 100 << 20;

/// Bencoded values in a .torrent file: 16 bytes of bookkeeping each while it is read.
pub const TORRENT_ITEMS: usize = 3_000_000;

/// Lists and dictionaries inside one another.
pub const DEPTH: usize = 100;

/// Components in the path of a file below the torrent's folder.
pub const PATH_COMPONENTS: usize = 100;

/// Bytes in one path component on disk (`NAME_MAX` of Linux).
pub const NAME_BYTES: usize = 255;

/// Bytes of all paths together. A file tree (BEP 52) names a folder once for all files below it, so
/// a small .torrent could otherwise ask for gigabytes of paths.
pub const PATH_BYTES: usize = 64 << 20;

/// Bytes in a piece: what clients with 15 bits of block number can hold.
pub const PIECE_LENGTH: u32 = 0x7fff * 0x4000;

/// Pieces in a torrent: 40 MiB of hashes.
pub const PIECES: u32 = 1 << 21;

/// Bytes in a file: 2³⁰ − 1 blocks, so that the nodes of its hash tree can be numbered in 31 bits.
pub const FILE_BYTES: u64 = (1 << 44) - (1 << 14) - 1;
