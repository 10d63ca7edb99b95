//! Peers made of bare sockets, that do what no client would.

use crate::{Torrent, free_port};
use anyhow::{Context, Result, bail};
use metainfo::{Bitfield, Geometry, InfoHash};
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use wire::{DecodeLimits, Decoder, Handshake, Item, Message, PeerId, RawBlock, Reserved};

/// One connection to a peer, its handshakes exchanged.
pub struct Connection {
    socket: TcpStream,
    decoder: Decoder,
}

impl Connection {
    /// Connects and exchanges handshakes; the fast extension and BEP 10 are not offered.
    pub fn open(to: SocketAddr, info_hash: InfoHash) -> Result<Connection> {
        let mut socket = TcpStream::connect(to)?;
        socket.write_all(&handshake(info_hash))?;
        Connection::finish(socket)
    }

    /// Takes a connection that came to us.
    fn accept(mut socket: TcpStream, info_hash: InfoHash) -> Result<Connection> {
        socket.write_all(&handshake(info_hash))?;
        Connection::finish(socket)
    }

    fn finish(mut socket: TcpStream) -> Result<Connection> {
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(Duration::from_secs(20)))?;
        let mut theirs = [0; Handshake::LEN];
        socket.read_exact(&mut theirs).context("no handshake came")?;
        Handshake::decode(&theirs)?;
        Ok(Connection { socket, decoder: Decoder::new(DecodeLimits::default()) })
    }

    /// Sends messages.
    pub fn send(&mut self, messages: &[Message<'_>]) -> Result<()> {
        let mut bytes = Vec::new();
        messages.iter().for_each(|message| message.encode_into(&mut bytes));
        self.send_bytes(&bytes)
    }

    /// Sends bytes, whatever they mean.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.socket.write_all(bytes)?)
    }

    /// Sends what fits without waiting for the other side to read; says how much that was.
    pub fn send_what_fits(&mut self, bytes: &[u8]) -> Result<usize> {
        self.socket.set_write_timeout(Some(Duration::from_millis(500)))?;
        let mut sent = 0;
        while sent < bytes.len() {
            match self.socket.write(&bytes[sent..]) {
                Ok(length) => sent += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(sent)
    }

    /// Reads messages until one gives an answer; all that came with it are looked at too.
    pub fn read<T>(
        &mut self,
        within: Duration,
        mut look: impl FnMut(Item<'_>) -> Option<T>,
    ) -> Result<T> {
        let start = Instant::now();
        let mut buffer = vec![0; 64 << 10];
        while start.elapsed() < within {
            self.socket.set_read_timeout(Some(within))?;
            let length = self.socket.read(&mut buffer)?;
            if length == 0 {
                bail!("the connection was closed");
            }
            let mut input = &buffer[..length];
            let mut found = None;
            while let Some(item) = self.decoder.next(&mut input)? {
                let answer = look(item);
                found = found.or(answer);
            }
            if let Some(found) = found {
                return Ok(found);
            }
        }
        bail!("what was waited for did not come");
    }

    /// Whether the other side closes the connection within the time; what it sends is dropped.
    pub fn is_closed_within(&mut self, within: Duration) -> Result<bool> {
        is_closed_within(&mut self.socket, within)
    }
}

/// Whether the other side closes the connection within the time; what it sends is dropped.
pub fn is_closed_within(socket: &mut TcpStream, within: Duration) -> Result<bool> {
    let start = Instant::now();
    let mut buffer = vec![0; 64 << 10];
    while let Some(left) = within.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) {
        socket.set_read_timeout(Some(left))?;
        match socket.read(&mut buffer) {
            Ok(0) => return Ok(true),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return Ok(true),
        }
    }
    Ok(false)
}

/// A handshake that offers no extensions, of a new peer each time.
pub fn handshake(info_hash: InfoHash) -> [u8; Handshake::LEN] {
    let mut random = [0; 12];
    fastrand::fill(&mut random);
    let peer_id = PeerId::generate(random);
    Handshake { reserved: Reserved::NONE, info_hash, peer_id }.encode()
}

/// How a seed answers requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// As it should.
    Honest,
    /// With one wrong byte in each block.
    Corrupts,
    /// As it should so many times, then never again, though it stays connected.
    Stalls(u64),
}

/// A seed that listens at an address of its own and announces nothing.
pub struct Seed {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    info_hash: InfoHash,
    geometry: Geometry,
    data: Vec<u8>,
    manner: Manner,
    connections: AtomicU64,
    served: AtomicU64,
    requests: AtomicU64,
    stop: AtomicBool,
}

impl Seed {
    /// Starts a seed of the torrent.
    pub fn start(torrent: &Torrent, ip: Ipv4Addr, manner: Manner) -> Result<Seed> {
        let geometry = torrent.layout().geometry();
        let length = u32::try_from(geometry.total_length())?;
        let shared = Arc::new(Shared {
            info_hash: torrent.info_hash(),
            geometry,
            data: torrent.read(0, length)?,
            manner,
            connections: AtomicU64::new(0),
            served: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        });
        let listener = TcpListener::bind((ip, free_port()))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let state = Arc::clone(&shared);
        let accepting = Some(thread::spawn(move || accept(&listener, &state)));
        Ok(Seed { address, shared, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Calls a peer from its own address; its handshake is sent, and nothing read.
    pub fn call(&self, peer: SocketAddr, info_hash: InfoHash) -> Result<TcpStream> {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        bind(&socket, &SocketAddr::new(self.address.ip(), 0))?;
        connect(&socket, &peer)?;
        let mut socket = TcpStream::from(socket);
        socket.write_all(&handshake(info_hash))?;
        Ok(socket)
    }

    /// Connections that were made to it.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Blocks it has sent.
    pub fn served(&self) -> u64 {
        self.shared.served.load(Ordering::Relaxed)
    }

    /// Requests it has got.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(accepting) = self.accepting.take() {
            // A panic in it has been printed already.
            let _ = accepting.join();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    while !shared.stop.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((socket, _)) => {
                shared.connections.fetch_add(1, Ordering::Relaxed);
                let shared = Arc::clone(shared);
                // It ends with an error when the other side leaves, which is no news.
                thread::spawn(move || _ = serve(socket, &shared));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                thread::sleep(Duration::from_millis(5));
            }
            Err(_) => return,
        }
    }
}

fn serve(socket: TcpStream, shared: &Shared) -> Result<()> {
    socket.set_nonblocking(false)?;
    let mut peer = Connection::accept(socket, shared.info_hash)?;
    let has = Bitfield::all(shared.geometry.piece_count());
    peer.send(&[Message::Bitfield(has.as_bytes())])?;
    while !shared.stop.load(Ordering::Relaxed) {
        let mut answer = Vec::new();
        peer.read(Duration::from_secs(3600), |item| {
            match item {
                Item::Message(Message::Interested) => Message::Unchoke.encode_into(&mut answer),
                Item::Message(Message::Request(block)) => give(shared, block, &mut answer),
                _ => {}
            }
            (!answer.is_empty()).then_some(())
        })
        .or_else(|error| if answer.is_empty() { Err(error) } else { Ok(()) })?;
        peer.send_bytes(&answer)?;
    }
    Ok(())
}

fn give(shared: &Shared, block: RawBlock, out: &mut Vec<u8>) {
    let number = shared.requests.fetch_add(1, Ordering::Relaxed);
    if matches!(shared.manner, Manner::Stalls(after) if number >= after) {
        return;
    }
    let Some(range) = shared.geometry.range(block.index, block.begin, block.length) else {
        return;
    };
    let start = shared.geometry.offset_of_range(range) as usize;
    out.extend(wire::block_header(block.index, block.begin, block.length));
    out.extend(&shared.data[start..start + block.length as usize]);
    if shared.manner == Manner::Corrupts
        && let Some(byte) = out.last_mut()
    {
        *byte ^= 1;
    }
    shared.served.fetch_add(1, Ordering::Relaxed);
}
