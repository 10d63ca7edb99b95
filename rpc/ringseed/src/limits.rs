//! Every bound of this program, with the reason for its number.

use std::time::Duration;

/// How long a command waits for the daemon's answer. Adding a torrent waits for a durable write.
pub const ANSWER_PATIENCE: Duration = Duration::from_secs(60);

/// How long a command waits for a connection: the daemon is there or it is not.
pub const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

/// How often progress is looked at: often enough to look alive.
pub const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// The engine stops in less than three seconds; what takes longer is given up.
pub const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of a ringseed.toml.
pub const CONFIG_BYTES: u64 = 1 << 20;
