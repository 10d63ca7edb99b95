//! A tracker that says what the test wants and remembers what it was told: for IPv6, for peers
//! behind a relay, for every single announce.

use crate::{free_port, wait_for};
use anyhow::{Context, Result};
use metainfo::InfoHash;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What a client told the tracker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announce {
    /// The torrent.
    pub info_hash: InfoHash,
    /// `started`, `completed`, `stopped`, or empty.
    pub event: String,
    /// Bytes that it says it still needs.
    pub left: u64,
    /// Bytes that it says it has downloaded since it started.
    pub downloaded: u64,
    /// Where it says it listens.
    pub port: u16,
    /// When it came.
    pub at: Instant,
}

/// An HTTP tracker on 127.0.0.1.
pub struct ScriptedTracker {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    script: Mutex<Script>,
    stop: AtomicBool,
}

#[derive(Default)]
struct Script {
    peers: HashMap<InfoHash, Vec<SocketAddr>>,
    announces: Vec<Announce>,
}

/// Seconds between announces that clients are asked for.
const INTERVAL: u32 = 5;

impl ScriptedTracker {
    /// Starts it, knowing no peers.
    pub fn start() -> Result<ScriptedTracker> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let mut tracker = ScriptedTracker { address, shared: Arc::default(), server: None };
        tracker.up()?;
        Ok(tracker)
    }

    /// Its announce address.
    pub fn url(&self) -> String {
        format!("http://{}/announce", self.address)
    }

    /// Who is named from now on to all that ask for the torrent.
    pub fn set_peers(&self, info_hash: InfoHash, peers: &[SocketAddr]) {
        self.script().peers.insert(info_hash, peers.to_vec());
    }

    /// What it was told so far.
    pub fn announces(&self) -> Vec<Announce> {
        self.script().announces.clone()
    }

    /// Waits for an announce of a torrent with this event, and gives it.
    pub fn wait_for_event(
        &self,
        info_hash: InfoHash,
        event: &str,
        within: Duration,
    ) -> Result<Announce> {
        wait_for(&format!("`{event}` announced for {info_hash}"), within, || {
            let mut announces = self.announces().into_iter();
            Ok(announces.find(|said| said.info_hash == info_hash && said.event == event))
        })
    }

    /// Closes its port.
    pub fn down(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(server) = self.server.take() {
            // A panic in the server has been printed already.
            let _ = server.join();
        }
    }

    /// Opens its port again, its memory kept.
    pub fn up(&mut self) -> Result<()> {
        let listener = TcpListener::bind(self.address)?;
        listener.set_nonblocking(true)?;
        self.shared.stop.store(false, Ordering::Relaxed);
        let shared = Arc::clone(&self.shared);
        self.server = Some(thread::spawn(move || serve(&listener, &shared)));
        Ok(())
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.shared.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ScriptedTracker {
    fn drop(&mut self) {
        self.down();
    }
}

fn serve(listener: &TcpListener, shared: &Arc<Shared>) {
    while !shared.stop.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((socket, _)) => {
                let shared = Arc::clone(shared);
                // A client that leaves before its answer is nothing to the tracker.
                thread::spawn(move || _ = answer(&socket, &shared));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                thread::sleep(Duration::from_millis(5));
            }
            Err(_) => return,
        }
    }
}

fn answer(mut socket: &TcpStream, shared: &Shared) -> Result<()> {
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut lines = BufReader::new(socket).lines();
    let request = lines.next().context("no request")??;
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let target = request.split(' ').nth(1).context("no target")?;
    let body = match target.strip_prefix("/announce?").and_then(parse) {
        Some(announce) => {
            let mut script = shared.script.lock().unwrap_or_else(PoisonError::into_inner);
            let peers = script.peers.get(&announce.info_hash).cloned().unwrap_or_default();
            script.announces.push(announce);
            peer_list(&peers)
        }
        None => b"d14:failure reason13:announce onlye".to_vec(),
    };
    write!(
        socket,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )?;
    Ok(socket.write_all(&body)?)
}

fn parse(query: &str) -> Option<Announce> {
    let values: HashMap<&str, Vec<u8>> = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key, percent_decoded(value)))
        .collect();
    let text = |key: &str| String::from_utf8(values.get(key)?.clone()).ok();
    let number = |key: &str| text(key)?.parse::<u64>().ok();
    Some(Announce {
        info_hash: InfoHash(values.get("info_hash")?.as_slice().try_into().ok()?),
        event: text("event").unwrap_or_default(),
        left: number("left")?,
        downloaded: number("downloaded")?,
        port: number("port")?.try_into().ok()?,
        at: Instant::now(),
    })
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if first == b'%' => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    bytes
}

/// The answer in compact form (BEP 23 and 7).
fn peer_list(peers: &[SocketAddr]) -> Vec<u8> {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for peer in peers {
        match peer.ip() {
            IpAddr::V4(ip) => v4.extend(ip.octets().into_iter().chain(peer.port().to_be_bytes())),
            IpAddr::V6(ip) => v6.extend(ip.octets().into_iter().chain(peer.port().to_be_bytes())),
        }
    }
    let (interval, count) = (INTERVAL, v4.len());
    let mut body =
        format!("d8:intervali{interval}e12:min intervali{interval}e5:peers{count}:").into_bytes();
    body.extend(&v4);
    body.extend(format!("6:peers6{}:", v6.len()).bytes());
    body.extend(&v6);
    body.push(b'e');
    body
}
