//! Every bound of this crate, with the reason for its number.

use std::time::Duration;

/// What one [`crate::Store`] may hold and have under way. A process has one store for each shard,
/// so descriptors and mappings are the process's limits divided by the shards.
#[derive(Clone, Debug)]
pub struct StoreLimits {
    /// Files open at a time. Work under way may exceed it briefly, by at most `under_way`.
    pub open_files: usize,
    /// Files mapped at a time; all shards together must stay below `vm.max_map_count` (65,530).
    pub mappings: usize,
    /// Bytes mapped at a time. Address space, not memory.
    pub mapped_bytes: u64,
    /// How long a chunk of a file that was found in memory is taken to stay there.
    pub hot_for: Duration,
    /// How long a chunk that was found partly in memory is asked about block by block.
    pub mixed_for: Duration,
    /// Bytes that are asked to be read ahead of a cold block, at most to the end of its piece.
    pub read_ahead: u32,
    /// File operations under way at a time; further ones wait in line. Submitting a cold read costs
    /// the shard tens of microseconds, so this bounds how long a turn keeps hot peers waiting.
    pub under_way: usize,
    /// Whether whole aligned pieces are written past the page cache (`O_DIRECT`) on devices that do
    /// not rotate: half the cost, and what is being seeded stays in memory. What peers then ask for
    /// of a new piece is read once.
    pub direct_writes: bool,
    /// Operations in line beyond which a cold read is refused as [`crate::StorageError::Busy`].
    pub in_line: usize,
}

impl Default for StoreLimits {
    fn default() -> StoreLimits {
        StoreLimits {
            open_files: 2048,
            mappings: 8192,
            mapped_bytes: 1 << 44,
            hot_for: Duration::from_secs(1),
            mixed_for: Duration::from_millis(50),
            read_ahead: 4 << 20,
            under_way: 32,
            direct_writes: true,
            in_line: 16 * 1024,
        }
    }
}

/// Bytes of a mapping whose residency is asked for and remembered together: one mincore(2) for 64
/// blocks, and 4 bytes of memory for each.
pub(crate) const CHUNK: u64 = 1 << 20;

/// Remembered requests to read ahead: one for each piece that peers read cold at the same time.
pub(crate) const READ_AHEADS: usize = 1024;

/// Bytes of a piece in which one cold block at a time is read for peers: as many as many clients ask for
/// at a time, and few enough that peers in different parts of a long piece do not wait for each other.
pub(crate) const REGION: u32 = 256 * 1024;

/// Bytes copied at a time from the part file to a file that became wanted.
pub(crate) const COPY_LENGTH: u64 = 1 << 20;

/// Open files whose names are looked up in one [`crate::Store::tick`]: a name that has gone is seen
/// within seconds, at a cost that does not show.
pub(crate) const WATCHED_PER_TICK: usize = 64;

/// What the offset, length and address of a write past the page cache must be a multiple of: the
/// page, which no device's block exceeds.
pub(crate) const DIRECT_ALIGNMENT: u64 = 4096;

/// Writes shorter than this go through the page cache, which puts neighbours together.
pub(crate) const DIRECT_LENGTH: u64 = 64 * 1024;
