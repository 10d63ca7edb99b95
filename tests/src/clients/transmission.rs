//! Transmission.

use super::{Client, STARTS_WITHIN, State};
use crate::rpc::field;
use crate::{Dialect, Process, Rpc, free_port, peer_program, wait_for};
use anyhow::{Context, Result};
use data_encoding::BASE64;
use metainfo::InfoHash;
use serde_json::json;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

/// Which Transmission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// 3.00 of 2020, which many still use.
    V3,
    /// 4.1, the newest.
    V4,
}

/// A running transmission-daemon.
pub struct Transmission {
    release: Release,
    peer_address: SocketAddr,
    control: SocketAddr,
    rpc: Rpc,
    process: Process,
}

impl Transmission {
    /// Starts it with its files in `folder`, its peers' socket at `ip`.
    pub fn start(release: Release, folder: &Path, ip: Ipv4Addr) -> Result<Transmission> {
        Transmission::start_serving(release, folder, ip, None)
    }

    /// The same, with a web interface of this folder.
    pub fn start_serving(
        release: Release,
        folder: &Path,
        ip: Ipv4Addr,
        web_home: Option<&Path>,
    ) -> Result<Transmission> {
        let (program, dialect) = match release {
            Release::V3 => ("transmission-daemon-3", Dialect::Legacy),
            Release::V4 => ("transmission-daemon-4", Dialect::JsonRpc),
        };
        let control = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let peer_address = SocketAddr::from((ip, free_port()));
        let settings = json!({
            "rpc-port": control.port(), "rpc-bind-address": "127.0.0.1",
            "rpc-whitelist-enabled": false, "rpc-host-whitelist-enabled": false,
            "peer-port": peer_address.port(), "bind-address-ipv4": ip.to_string(),
            "dht-enabled": false, "lpd-enabled": false, "pex-enabled": false, "utp-enabled": false,
            "preferred_transports": ["tcp"], "port-forwarding-enabled": false,
            "incomplete-dir-enabled": false, "bind-address-ipv6": "::1", "message-level": 5,
        });
        fs::write(folder.join("settings.json"), settings.to_string())?;
        let mut command = Command::new(peer_program(program)?);
        command.arg("-f").arg("--config-dir").arg(folder).env("HOME", folder);
        command.envs(web_home.map(|home| ("TRANSMISSION_WEB_HOME", home)));
        let mut process = Process::start(program, &mut command, folder)?;
        let mut rpc = Rpc::new(control, dialect);
        wait_for("Transmission's RPC answers", STARTS_WITHIN, || {
            process.check()?;
            Ok(rpc.call("session_get", json!({})).ok())
        })?;
        Ok(Transmission { release, peer_address, control, rpc, process })
    }
}

impl Client for Transmission {
    fn name(&self) -> &str {
        match self.release {
            Release::V3 => "Transmission 3.00",
            Release::V4 => "Transmission 4.1",
        }
    }

    fn peer_address(&self) -> SocketAddr {
        self.peer_address
    }

    fn add(&mut self, torrent: &[u8], folder: &Path) -> Result<()> {
        add(&mut self.rpc, torrent, folder)
    }

    fn state(&mut self, info_hash: InfoHash) -> Result<State> {
        state(&mut self.rpc, info_hash)
    }

    /// 3.00 takes a file tree for a broken torrent.
    fn reads_hybrids(&self) -> bool {
        self.release != Release::V3
    }

    fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// The status of a torrent that seeds.
const SEEDING: u64 = 6;

/// Adds a torrent to whatever speaks this RPC.
pub(crate) fn add(rpc: &mut Rpc, torrent: &[u8], folder: &Path) -> Result<()> {
    let metainfo = BASE64.encode(torrent);
    rpc.call("torrent_add", json!({"metainfo": metainfo, "download_dir": folder}))?;
    Ok(())
}

/// How a torrent stands in whatever speaks this RPC. Trouble with its tracker is not an error of
/// the torrent (kinds 1 and 2).
pub(crate) fn state(rpc: &mut Rpc, info_hash: InfoHash) -> Result<State> {
    let fields = json!(["status", "left_until_done", "error", "error_string", "percent_done"]);
    let arguments = json!({"ids": [info_hash.to_string()], "fields": fields});
    let answer = rpc.call("torrent_get", arguments)?;
    let torrent = answer["torrents"].get(0).context("the torrent is not in its list")?;
    let left = field(torrent, "left_until_done").as_u64().context("left_until_done")?;
    let done = field(torrent, "percent_done").as_f64().context("percent_done")?;
    let error = field(torrent, "error_string").as_str().unwrap_or_default();
    let is_local = field(torrent, "error").as_u64() == Some(3);
    Ok(State {
        seeding: field(torrent, "status").as_u64() == Some(SEEDING) && left == 0 && done >= 1.0,
        left,
        error: is_local.then(|| error.to_owned()),
    })
}

impl Transmission {
    /// Where its RPC listens.
    pub fn control(&self) -> SocketAddr {
        self.control
    }

    /// Where peers at an IPv6 address find it too: it listens on all of them.
    pub fn peer_address_v6(&self) -> SocketAddr {
        SocketAddr::new(IpAddr::V6(std::net::Ipv6Addr::LOCALHOST), self.peer_address.port())
    }
}
