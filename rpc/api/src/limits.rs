//! What a request may ask of us, and why so much.

/// Bytes in a request body. Metainfo comes as base64 in JSON, so large torrents make large requests.
pub const REQUEST_BYTES: usize = 64 << 20;

/// Calls in a batch: each may be answered with megabytes.
pub const BATCH: usize = 1000;

/// Labels of a torrent.
pub const LABELS: usize = 1000;

/// Bytes in a label.
pub const LABEL_BYTES: usize = 1024;

/// A speed limit in kB/s: a terabyte a second, beyond any network card.
pub const SPEED: u32 = 1_000_000_000;

/// Columns of a table; there are fewer fields, but a table has them as often as they are asked for.
pub const COLUMNS: usize = 1000;

/// Repetitions in a list of ids. Transmission answers each of them, and nobody asks for more.
pub const REPETITIONS: usize = 1000;
