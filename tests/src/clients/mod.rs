//! The clients, behind one interface.

pub mod aria2;
pub mod libtorrent;
pub mod qbittorrent;
pub mod remote;
pub mod ringseed;
pub mod transmission;

use crate::{Process, Torrent};
use anyhow::{Context, Result, bail};
use metainfo::InfoHash;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

/// How a client stands with one torrent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Whether it has everything, checked, and offers it to others.
    pub seeding: bool,
    /// Bytes that it still needs.
    pub left: u64,
    /// What it says is wrong.
    pub error: Option<String>,
}

/// A client that runs.
pub trait Client {
    /// Its name in messages.
    fn name(&self) -> &str;

    /// Where it takes connections of peers.
    fn peer_address(&self) -> SocketAddr;

    /// Adds a .torrent with its data in a folder: complete data is checked and seeded, missing
    /// data downloaded.
    fn add(&mut self, torrent: &[u8], folder: &Path) -> Result<()>;

    /// How it stands with a torrent that was added.
    fn state(&mut self, info_hash: InfoHash) -> Result<State>;

    /// Whether it can be given hybrid torrents, so ones with padding between the files.
    fn reads_hybrids(&self) -> bool {
        true
    }

    /// Its program.
    fn process(&mut self) -> &mut Process;
}

/// Waits until the client has the whole torrent; an error as soon as it says that something is
/// wrong, or if it is not done `within` the time.
pub fn wait_complete(client: &mut dyn Client, torrent: &Torrent, within: Duration) -> Result<()> {
    let start = Instant::now();
    loop {
        client.process().check()?;
        let state = client.state(torrent.info_hash())?;
        if state.seeding {
            return Ok(());
        }
        let name = client.name().to_owned();
        let what = format!("{name}, {}", torrent.layout().name());
        if let Some(error) = state.error {
            bail!("{what}: {error}");
        }
        if start.elapsed() > within {
            return Err(anyhow::Error::msg(client.process().log_tail()))
                .with_context(|| format!("{what}: {} bytes left after {within:?}", state.left));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// How long a client may take to start.
pub(crate) const STARTS_WITHIN: Duration = Duration::from_secs(30);
