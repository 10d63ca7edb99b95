//! libtorrent 2.1, driven by a script in Python.

use super::{Client, STARTS_WITHIN, State};
use crate::rpc::agent;
use crate::{Process, free_port, peer_program, wait_for};
use anyhow::{Context, Result, ensure};
use metainfo::InfoHash;
use serde_json::{Value, json};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

/// A running libtorrent.
pub struct Libtorrent {
    peer_address: SocketAddr,
    control: SocketAddr,
    process: Process,
}

impl Libtorrent {
    /// Starts it with its files in `folder`, its peers' socket at `ip`.
    pub fn start(folder: &Path, ip: impl Into<IpAddr>) -> Result<Libtorrent> {
        let peer_address = SocketAddr::from((ip.into(), free_port()));
        let control = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let script = folder.join("client.py");
        fs::write(&script, include_str!("libtorrent.py"))?;
        let mut command = Command::new(peer_program("python-libtorrent")?);
        command.arg(script).arg(peer_address.to_string()).arg(control.port().to_string());
        let process = Process::start("libtorrent", &mut command, folder)?;
        let mut client = Libtorrent { peer_address, control, process };
        wait_for("libtorrent's script answers", STARTS_WITHIN, || {
            client.process.check()?;
            Ok(client.call(json!({"do": "nothing"})).ok())
        })?;
        Ok(client)
    }

    /// Limits its uploads to so many bytes per second.
    pub fn limit_uploads(&self, rate: u64) -> Result<()> {
        self.call(json!({"do": "limit", "rate": rate}))?;
        Ok(())
    }

    /// Tells it of a peer.
    pub fn connect(&self, info_hash: InfoHash, peer: SocketAddr) -> Result<()> {
        self.call(json!({
            "do": "connect", "hash": info_hash.to_string(),
            "ip": peer.ip().to_string(), "port": peer.port(),
        }))?;
        Ok(())
    }

    /// Bytes of blocks it has sent and received for a torrent.
    pub fn transferred(&self, info_hash: InfoHash) -> Result<(u64, u64)> {
        let answer = self.call(json!({"do": "state", "hash": info_hash.to_string()}))?;
        let number = |key: &str| answer[key].as_u64().with_context(|| key.to_owned());
        Ok((number("uploaded")?, number("downloaded")?))
    }

    fn call(&self, command: Value) -> Result<Value> {
        let url = format!("http://{}/", self.control);
        let mut answer = agent().post(url).send(command.to_string())?;
        let text = answer.body_mut().read_to_string()?;
        ensure!(answer.status() == 200, "{command}: {text}");
        Ok(serde_json::from_str(&text)?)
    }
}

impl Client for Libtorrent {
    fn name(&self) -> &str {
        "libtorrent"
    }

    fn peer_address(&self) -> SocketAddr {
        self.peer_address
    }

    fn add(&mut self, torrent: &[u8], folder: &Path) -> Result<()> {
        let torrent = data_encoding::BASE64.encode(torrent);
        self.call(json!({"do": "add", "torrent": torrent, "folder": folder}))?;
        Ok(())
    }

    fn state(&mut self, info_hash: InfoHash) -> Result<State> {
        let answer = self.call(json!({"do": "state", "hash": info_hash.to_string()}))?;
        Ok(State {
            seeding: answer["seeding"] == true,
            left: answer["left"].as_u64().context("left")?,
            error: answer["error"].as_str().filter(|error| !error.is_empty()).map(str::to_owned),
        })
    }

    fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}
