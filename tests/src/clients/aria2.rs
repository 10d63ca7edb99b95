//! aria2.

use super::{Client, STARTS_WITHIN, State};
use crate::rpc::agent;
use crate::{Process, free_port, peer_program, wait_for};
use anyhow::{Context, Result, ensure};
use data_encoding::BASE64;
use metainfo::InfoHash;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

/// A running aria2c.
pub struct Aria2 {
    peer_address: SocketAddr,
    control: SocketAddr,
    process: Process,
}

impl Aria2 {
    /// Starts it with its files in `folder`, its connections from `ip`.
    pub fn start(folder: &Path, ip: Ipv4Addr) -> Result<Aria2> {
        let peer_address = SocketAddr::from((ip, free_port()));
        let control = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let mut command = Command::new(peer_program("aria2c")?);
        command.args(["--no-conf", "--enable-rpc", "--enable-dht=false", "--enable-dht6=false"]);
        command.args(["--bt-enable-lpd=false", "--enable-peer-exchange=false"]);
        command.args(["--seed-ratio=0.0", "--check-integrity=true", "--disable-ipv6=true"]);
        command.arg("--max-concurrent-downloads=1000");
        command.args(["--file-allocation=none", "--rpc-max-request-size=32M"]);
        command.arg(format!("--rpc-listen-port={}", control.port()));
        command.arg(format!("--listen-port={}", peer_address.port()));
        command.arg(format!("--interface={ip}")).env("HOME", folder).current_dir(folder);
        let process = Process::start("aria2", &mut command, folder)?;
        let mut client = Aria2 { peer_address, control, process };
        wait_for("aria2's RPC answers", STARTS_WITHIN, || {
            client.process.check()?;
            Ok(client.call("getVersion", json!([])).ok())
        })?;
        Ok(client)
    }

    fn call(&self, method: &str, params: Value) -> Result<Value> {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": format!("aria2.{method}"), "params": params});
        let url = format!("http://{}/jsonrpc", self.control);
        let text = agent().post(url).send(body.to_string())?.body_mut().read_to_string()?;
        let answer: Value = serde_json::from_str(&text)?;
        ensure!(answer["error"].is_null(), "{method}: {}", answer["error"]);
        Ok(answer["result"].clone())
    }
}

impl Client for Aria2 {
    fn name(&self) -> &str {
        "aria2"
    }

    fn peer_address(&self) -> SocketAddr {
        self.peer_address
    }

    fn add(&mut self, torrent: &[u8], folder: &Path) -> Result<()> {
        self.call("addTorrent", json!([BASE64.encode(torrent), [], {"dir": folder}]))?;
        Ok(())
    }

    fn state(&mut self, info_hash: InfoHash) -> Result<State> {
        let keys = json!([
            "infoHash",
            "completedLength",
            "totalLength",
            "seeder",
            "errorMessage",
            "errorCode"
        ]);
        let active = self.call("tellActive", json!([keys]))?;
        let stopped = self.call("tellStopped", json!([0, 1000, keys]))?;
        let lists = [&active, &stopped].into_iter().filter_map(Value::as_array).flatten();
        let hash = info_hash.to_string();
        let torrent = lists
            .into_iter()
            .find(|torrent| torrent["infoHash"] == *hash)
            .context("the torrent is not in its list")?;
        let number = |key: &str| torrent[key].as_str().and_then(|text| text.parse::<u64>().ok());
        let total = number("totalLength").context("totalLength")?;
        let left = total.saturating_sub(number("completedLength").context("completedLength")?);
        let failed = number("errorCode").is_some_and(|code| code != 0);
        Ok(State {
            seeding: torrent["seeder"] == "true" && left == 0,
            left,
            error: failed.then(|| torrent["errorMessage"].to_string()),
        })
    }

    /// It takes the info-hash of something else than the raw bytes, which a file tree shows.
    fn reads_hybrids(&self) -> bool {
        false
    }

    fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}
