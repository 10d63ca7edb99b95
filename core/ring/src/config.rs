//! How a ring is set up.

use crate::{Waker, limits};
use std::str::FromStr;

/// Which driver to use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DriverChoice {
    /// io_uring if the kernel grants it, else mio.
    #[default]
    Auto,
    /// io_uring or nothing.
    Uring,
    /// mio.
    Mio,
}

impl DriverChoice {
    /// What the environment variable `RINGSEED_DRIVER` says; [`DriverChoice::Auto`] without it or
    /// if it is none of the names.
    pub fn from_env() -> DriverChoice {
        let named = std::env::var("RINGSEED_DRIVER").ok();
        named.and_then(|name| name.parse().ok()).unwrap_or_default()
    }
}

impl FromStr for DriverChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(DriverChoice::Auto),
            "uring" => Ok(DriverChoice::Uring),
            "mio" => Ok(DriverChoice::Mio),
            other => Err(format!("driver '{other}': must be auto, uring or mio")),
        }
    }
}

/// The sizes of a ring. The defaults suit a shard of a server; tests make smaller ones.
#[derive(Clone, Debug)]
pub struct RingConfig {
    /// Which driver; the default is [`DriverChoice::from_env`].
    pub driver: DriverChoice,
    /// Operations that can be handed in at a time (a power of two).
    pub submission_entries: u32,
    /// Bytes of one receive buffer.
    pub recv_buffer_length: u32,
    /// Receive buffers at most (a power of two); memory is touched only as they are used.
    pub recv_buffer_count: u16,
    /// Whether sends from mappings and buffers avoid the copy into the kernel
    /// (io_uring_prep_sendmsg_zc(3)). The mio driver always copies.
    pub zero_copy: bool,
    /// Bytes of free file buffers that are kept for the next use.
    pub pooled_bytes: usize,
    /// Threads for file operations of the mio driver.
    pub file_threads: usize,
    /// The waker to listen to, so that handles to it survive the ring; `None` makes a new one.
    pub waker: Option<Waker>,
}

impl Default for RingConfig {
    fn default() -> RingConfig {
        RingConfig {
            driver: DriverChoice::from_env(),
            submission_entries: limits::SUBMISSION_ENTRIES,
            recv_buffer_length: limits::RECV_BUFFER_LENGTH,
            recv_buffer_count: limits::RECV_BUFFER_COUNT,
            zero_copy: true,
            pooled_bytes: limits::POOLED_BYTES,
            file_threads: limits::FILE_THREADS,
            waker: None,
        }
    }
}
