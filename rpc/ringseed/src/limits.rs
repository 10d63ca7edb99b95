//! Every bound of this program, with the reason for its number.

use std::time::Duration;

/// How often progress is looked at: often enough to look alive.
pub const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// The engine stops in less than three seconds; what takes longer is given up.
pub const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of a ringseed.toml.
pub const CONFIG_BYTES: u64 = 1 << 20;

/// Files named by one range on the command line.
pub const FILES_NAMED: u32 = 1_000_000;

/// Lines of the log that wait for stderr to be read, of a few hundred bytes each; further ones are lost.
pub const LOG_LINES: usize = 8192;

/// How often it is told that lines were lost.
pub const LOG_LOSSES_EVERY: Duration = Duration::from_secs(60);
