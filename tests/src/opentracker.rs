//! The real tracker.

use crate::rpc::agent;
use crate::{Process, Torrent, free_port, peer_program, wait_until};
use anyhow::Result;
use metainfo::InfoHash;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Longer than anything that is waited for here takes.
const ENOUGH: Duration = Duration::from_secs(60);

/// Debian's opentracker on 127.0.0.1, over HTTP and UDP. It knows IPv4 only.
pub struct Opentracker {
    port: u16,
    process: Process,
    folder: PathBuf,
    torrents: String,
}

/// Peers that a tracker counts for a torrent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Those that have everything.
    pub complete: u64,
    /// The others.
    pub incomplete: u64,
}

impl Opentracker {
    /// Starts it for these torrents; it refuses others.
    pub fn start(folder: &Path, torrents: &[&Torrent]) -> Result<Opentracker> {
        // Run by root it becomes `nobody` and confines itself to its folder.
        fs::set_permissions(folder, Permissions::from_mode(0o755))?;
        let hashes: String =
            torrents.iter().map(|torrent| format!("{}\n", torrent.info_hash())).collect();
        let port = free_port();
        let process = launch(folder, port, &hashes)?;
        let mut tracker =
            Opentracker { port, process, folder: folder.to_owned(), torrents: hashes };
        tracker.wait_until_up()?;
        Ok(tracker)
    }

    /// Its announce address over HTTP.
    pub fn http(&self) -> String {
        format!("http://127.0.0.1:{}/announce", self.port)
    }

    /// Its announce address over UDP.
    pub fn udp(&self) -> String {
        format!("udp://127.0.0.1:{}/announce", self.port)
    }

    /// Ends it; clients find nobody at its address.
    pub fn stop(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Starts it again at the same address, having forgotten all peers.
    pub fn restart(&mut self) -> Result<()> {
        self.process = launch(&self.folder, self.port, &self.torrents)?;
        self.wait_until_up()
    }

    fn wait_until_up(&mut self) -> Result<()> {
        let port = self.port;
        wait_until("opentracker answers", ENOUGH, || {
            self.process.check()?;
            Ok(std::net::TcpStream::connect(("127.0.0.1", port)).is_ok())
        })
    }

    /// The peers it knows of a torrent.
    pub fn counts(&self, info_hash: InfoHash) -> Result<Counts> {
        let hash: String = info_hash.0.iter().map(|byte| format!("%{byte:02x}")).collect();
        let url = format!("http://127.0.0.1:{}/scrape?info_hash={hash}", self.port);
        let answer = agent().get(&url).call()?.body_mut().read_to_vec()?;
        Ok(Counts {
            complete: number_after(&answer, b"8:completei"),
            incomplete: number_after(&answer, b"10:incompletei"),
        })
    }

    /// Waits until so many peers have announced that they have everything.
    pub fn wait_for_seeds(&self, torrent: &Torrent, seeds: u64) -> Result<()> {
        let what = format!("{seeds} seeds of {} at the tracker", torrent.layout().name());
        wait_until(&what, ENOUGH, || Ok(self.counts(torrent.info_hash())?.complete >= seeds))
    }
}

fn launch(folder: &Path, port: u16, torrents: &str) -> Result<Process> {
    fs::write(folder.join("torrents"), torrents)?;
    let mut command = Command::new(peer_program("opentracker")?);
    command.current_dir(folder).arg("-d").arg(folder).args(["-w", "torrents", "-i", "127.0.0.1"]);
    command.args(["-p", &port.to_string(), "-P", &port.to_string()]);
    Process::start("opentracker", &mut command, folder)
}

/// The decimal number after a key in a bencoded answer; 0 without the key.
fn number_after(answer: &[u8], key: &[u8]) -> u64 {
    let Some(at) = answer.windows(key.len()).position(|window| window == key) else { return 0 };
    let digits = answer[at + key.len()..].iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
}
