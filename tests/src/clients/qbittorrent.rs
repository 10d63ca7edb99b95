//! qBittorrent without its window.

use super::{Client, STARTS_WITHIN, State};
use crate::rpc::agent;
use crate::{Process, free_port, peer_program, wait_for};
use anyhow::{Context, Result, ensure};
use metainfo::InfoHash;
use serde_json::Value;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

/// A running qbittorrent-nox.
pub struct QBittorrent {
    peer_address: SocketAddr,
    control: SocketAddr,
    process: Process,
}

impl QBittorrent {
    /// Starts it with its files in `folder`, its peers' socket at `ip`.
    pub fn start(folder: &Path, ip: Ipv4Addr) -> Result<QBittorrent> {
        let peer_address = SocketAddr::from((ip, free_port()));
        let control = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let config = folder.join("qBittorrent/config");
        fs::create_dir_all(&config)?;
        fs::write(config.join("qBittorrent.conf"), configuration(peer_address, control))?;
        let mut command = Command::new(peer_program("qbittorrent-nox")?);
        command.arg(format!("--profile={}", folder.display()));
        command.env("HOME", folder).env("QT_QPA_PLATFORM", "offscreen");
        let process = Process::start("qbittorrent", &mut command, folder)?;
        let mut client = QBittorrent { peer_address, control, process };
        wait_for("qBittorrent's web API answers", STARTS_WITHIN, || {
            client.process.check()?;
            Ok(client.get("app/version").ok())
        })?;
        Ok(client)
    }

    fn url(&self, method: &str) -> String {
        format!("http://{}/api/v2/{method}", self.control)
    }

    fn get(&self, method: &str) -> Result<String> {
        let mut answer = agent().get(self.url(method)).call()?;
        ensure!(answer.status() == 200, "{method}: status {}", answer.status());
        Ok(answer.body_mut().read_to_string()?)
    }
}

fn configuration(peer_address: SocketAddr, control: SocketAddr) -> String {
    let (ip, port) = (peer_address.ip(), peer_address.port());
    format!(
        "[LegalNotice]\nAccepted=true\n\
         [BitTorrent]\n\
         Session\\Port={port}\nSession\\InterfaceAddress={ip}\nSession\\Interface=lo\n\
         Session\\InterfaceName=lo\nSession\\DHTEnabled=false\nSession\\LSDEnabled=false\n\
         Session\\PeXEnabled=false\nSession\\BTProtocol=TCP\n\
         Session\\MultiConnectionsPerIp=true\nSession\\QueueingSystemEnabled=false\n\
         Session\\SSRFMitigation=false\n\
         [Preferences]\n\
         WebUI\\Address=127.0.0.1\nWebUI\\Port={}\nWebUI\\LocalHostAuth=false\n\
         WebUI\\CSRFProtection=false\nWebUI\\HostHeaderValidation=false\n\
         Connection\\UPnP=false\n",
        control.port()
    )
}

impl Client for QBittorrent {
    fn name(&self) -> &str {
        "qBittorrent"
    }

    fn peer_address(&self) -> SocketAddr {
        self.peer_address
    }

    fn add(&mut self, torrent: &[u8], folder: &Path) -> Result<()> {
        const BOUNDARY: &str = "ringseed-tests-boundary";
        let folder = folder.to_str().context("the folder's name is not UTF-8")?;
        let mut body = Vec::new();
        let fields = [("savepath", folder), ("autoTMM", "false"), ("contentLayout", "Original")];
        for (name, value) in fields {
            body.extend(format!("--{BOUNDARY}\r\nContent-Disposition: form-data; ").bytes());
            body.extend(format!("name=\"{name}\"\r\n\r\n{value}\r\n").bytes());
        }
        body.extend(format!("--{BOUNDARY}\r\nContent-Disposition: form-data; ").bytes());
        body.extend(b"name=\"torrents\"; filename=\"a.torrent\"\r\n");
        body.extend(b"Content-Type: application/x-bittorrent\r\n\r\n");
        body.extend(torrent);
        body.extend(format!("\r\n--{BOUNDARY}--\r\n").bytes());
        let kind = format!("multipart/form-data; boundary={BOUNDARY}");
        let answer =
            agent().post(self.url("torrents/add")).header("Content-Type", kind).send(&body)?;
        ensure!(answer.status().is_success(), "torrents/add: status {}", answer.status());
        Ok(())
    }

    fn state(&mut self, info_hash: InfoHash) -> Result<State> {
        let torrents: Vec<Value> = serde_json::from_str(&self.get("torrents/info")?)?;
        let hash = info_hash.to_string();
        // It adds a torrent in its own time after it has accepted it.
        let Some(torrent) = torrents.iter().find(|torrent| torrent["infohash_v1"] == *hash) else {
            return Ok(State { seeding: false, left: u64::MAX, error: None });
        };
        let state = torrent["state"].as_str().unwrap_or_default();
        let left = torrent["amount_left"].as_u64().unwrap_or(u64::MAX);
        let failed = matches!(state, "error" | "missingFiles");
        Ok(State {
            seeding: matches!(state, "uploading" | "stalledUP" | "forcedUP") && left == 0,
            left,
            error: failed.then(|| state.to_owned()),
        })
    }

    fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}
