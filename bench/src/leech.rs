//! Many leechers in one process, cheap enough that the client is what is measured.
//!
//! Each has an address of its own in 127.0.0.0/8. Every block's ends are compared with the data it
//! should be, and one block in a few is compared whole; the middle of the others is discarded by
//! the kernel without being copied (MSG_TRUNC, tcp(7)), so that one core of load keeps up with one
//! core of the best server.

use std::{
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use clap::Args;
use memmap2::Mmap;
use mio::{Events, Interest, Poll, Token, net::TcpStream};
use serde::Serialize;
use socket2::{Domain, Socket, Type};

use crate::{
    data,
    measure::{Histogram, Percentiles, Usage, Watch},
    torrent::Torrent,
};

pub mod cold;
mod connection;
use connection::{Connection, Order, Scratch};

/// How long a client may take to accept a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How many connections are opened between looks at those that stand.
const GREET_EVERY: usize = 16;
/// How often a silent connection says that it is alive.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(60);

#[derive(Args)]
pub struct Leech {
    /// Address of the client
    #[arg(long)]
    target: SocketAddr,
    /// The .torrent
    #[arg(long)]
    torrent: PathBuf,
    /// Its data, to compare with
    #[arg(long)]
    data: PathBuf,
    /// How many leechers
    #[arg(long, default_value_t = 20)]
    connections: usize,
    /// Requests that each keeps in flight; with 0 they only hold their connections
    #[arg(long, default_value_t = 64)]
    requests: usize,
    /// Stop after this many seconds
    #[arg(long, default_value_t = 30.0)]
    seconds: f64,
    /// Stop after this many bytes
    #[arg(long)]
    bytes: Option<u64>,
    /// Bytes before the measurement begins
    #[arg(long, default_value_t = 0)]
    warm_up: u64,
    /// Ask for pieces at random instead of in order
    #[arg(long)]
    random_pieces: bool,
    /// Compare one block in this many whole
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    check_every: u32,
    /// Seconds that the client may take to unchoke all
    #[arg(long, default_value_t = 30.0)]
    unchoke_within: f64,
    /// Process to measure
    #[arg(long)]
    client_pid: Option<u32>,
}

/// What is printed.
#[derive(Serialize)]
struct Report {
    connections: usize,
    /// Of these, as many were unchoked when the measurement began.
    unchoked: usize,
    /// Closed or not accepted by the client, from the first connection on.
    closed: usize,
    requests: usize,
    bytes: u64,
    /// Compared with the data; the others at both ends only.
    bytes_checked_whole: u64,
    rejected: u64,
    #[serde(flatten)]
    usage: Usage,
    /// Of user memory, for each connection held; meaningful when `requests` is 0.
    client_bytes_per_connection: f64,
    latency: Percentiles,
}

/// What has come in, over all connections.
pub struct Totals {
    bytes: u64,
    whole: u64,
    rejected: u64,
    latency: Histogram,
}

impl Totals {
    fn new() -> Totals {
        Totals { bytes: 0, whole: 0, rejected: 0, latency: Histogram::new() }
    }
}

pub fn run(options: &Leech) -> Result<()> {
    let torrent = Torrent::read(&options.torrent)?;
    let map = data::map(&options.data, &torrent)?;
    let mut load = Load::new(options)?;
    load.connect(&torrent, &map)?;
    let report = if options.requests == 0 { load.hold() } else { load.pull() }?;
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

struct Load<'a> {
    options: &'a Leech,
    poll: Poll,
    events: Events,
    connections: Vec<Option<Connection<'a>>>,
    scratch: Scratch,
    totals: Totals,
    /// From before the first connection.
    idle: Watch,
    /// Whether blocks are asked for yet.
    pulling: bool,
}

impl<'a> Load<'a> {
    fn new(options: &'a Leech) -> Result<Load<'a>> {
        Ok(Load {
            options,
            poll: Poll::new()?,
            events: Events::with_capacity(4096),
            connections: Vec::with_capacity(options.connections),
            scratch: Scratch::new(),
            totals: Totals::new(),
            idle: Watch::start(options.client_pid)?,
            pulling: false,
        })
    }

    /// Opens the connections, greeting on those that stand already: some clients take no more than
    /// so many that have not said who they are. One that is not accepted counts as closed, and so
    /// do the rest.
    fn connect(&mut self, torrent: &'a Torrent, map: &'a Mmap) -> Result<()> {
        let all = self.options.connections;
        for number in 0..all {
            let mut stream = match open(self.options.target, number) {
                Ok(stream) => stream,
                Err(error) if number == 0 => {
                    return Err(error.context(format!("connecting to {}", self.options.target)));
                }
                Err(error) => {
                    eprintln!("only {number} of {all} connections are accepted: {error}");
                    self.connections.resize_with(all, || None);
                    return Ok(());
                }
            };
            let interest = Interest::READABLE.add(Interest::WRITABLE);
            self.poll.registry().register(&mut stream, Token(number), interest)?;
            let order = if self.options.random_pieces {
                Order::Random(fastrand::Rng::with_seed(number as u64))
            } else {
                Order::Ascending
            };
            let first = number as u64 * u64::from(torrent.piece_count()) / all as u64;
            let connection = Connection::new(stream, torrent, map, number, first as u32, order);
            self.connections.push(Some(connection));
            if number % GREET_EVERY == GREET_EVERY - 1 {
                self.turn(Duration::ZERO)?;
            }
        }
        Ok(())
    }

    /// Asks for blocks until the time or the bytes are up.
    fn pull(&mut self) -> Result<Report> {
        self.wait_for_unchokes()?;
        let unchoked = self.count(|connection| !connection.is_choked());
        ensure!(unchoked > 0, "the client unchoked none of {} leechers", self.options.connections);
        self.pulling = true;
        for number in 0..self.connections.len() {
            self.serve(number, Instant::now())?;
        }
        while self.totals.bytes < self.options.warm_up {
            self.turn(Duration::from_secs(1))?;
            ensure!(
                self.idle.elapsed().as_secs_f64() < 60.0 + self.options.unchoke_within,
                "no warm-up"
            );
        }
        let mut watch = Watch::start(self.options.client_pid)?;
        self.totals.latency.clear();
        let (bytes, whole) = (self.totals.bytes, self.totals.whole);
        let enough = self.options.bytes.unwrap_or(u64::MAX).saturating_add(bytes);
        while self.totals.bytes < enough && watch.elapsed().as_secs_f64() < self.options.seconds {
            let now = self.turn(Duration::from_millis(100))?;
            watch.sample(now)?;
            ensure!(self.count(|_| true) > 0, "the client closed every connection");
        }
        let seconds = watch.elapsed().as_secs_f64();
        let moved = self.totals.bytes - bytes;
        self.report(unchoked, moved, self.totals.whole - whole, watch.usage(moved, seconds)?)
    }

    /// Keeps the connections, silent, until the time is up.
    fn hold(&mut self) -> Result<Report> {
        self.wait_for_unchokes()?;
        let settle = Instant::now();
        while settle.elapsed() < Duration::from_secs(2) {
            self.turn(Duration::from_millis(100))?;
        }
        let mut watch = Watch::start(self.options.client_pid)?;
        let mut alive = Instant::now();
        while watch.elapsed().as_secs_f64() < self.options.seconds {
            let now = self.turn(Duration::from_millis(500))?;
            watch.sample(now)?;
            if now - alive > KEEP_ALIVE_EVERY {
                alive = now;
                self.connections.iter_mut().flatten().for_each(Connection::keep_alive);
            }
        }
        let seconds = watch.elapsed().as_secs_f64();
        let unchoked = self.count(|connection| !connection.is_choked());
        self.report(unchoked, 0, 0, watch.usage(0, seconds)?)
    }

    fn report(&self, unchoked: usize, bytes: u64, whole: u64, usage: Usage) -> Result<Report> {
        let held = self.count(|_| true);
        let memory = self.idle.usage(0, 1.0)?;
        let grown =
            memory.memory_most.anonymous_kib as f64 - memory.memory_before.anonymous_kib as f64;
        Ok(Report {
            connections: self.options.connections,
            unchoked,
            closed: self.options.connections - held,
            requests: self.options.requests,
            bytes,
            bytes_checked_whole: whole,
            rejected: self.totals.rejected,
            usage,
            client_bytes_per_connection: grown * 1024.0 / held.max(1) as f64,
            latency: self.totals.latency.percentiles(),
        })
    }

    /// Clients unchoke at the handshake, or at the next round of their choker; until all are, or
    /// for as long as is allowed, nothing is asked for.
    fn wait_for_unchokes(&mut self) -> Result<()> {
        let started = Instant::now();
        let mut greeted_at = None;
        loop {
            self.turn(Duration::from_millis(20))?;
            let waiting = self.count(Connection::is_choked);
            if waiting == 0 {
                return Ok(());
            }
            if self.options.requests == 0 && self.count(|connection| !connection.is_greeted()) == 0
            {
                let since: &mut Instant = greeted_at.get_or_insert_with(Instant::now);
                if since.elapsed() > Duration::from_secs(3) {
                    return Ok(());
                }
            }
            if started.elapsed().as_secs_f64() > self.options.unchoke_within {
                eprintln!("{waiting} of {} leechers are still choked", self.options.connections);
                return Ok(());
            }
        }
    }

    fn count(&self, what: impl Fn(&Connection<'a>) -> bool) -> usize {
        self.connections.iter().flatten().filter(|connection| what(connection)).count()
    }

    /// Waits for sockets and serves those that are ready.
    fn turn(&mut self, at_most: Duration) -> Result<Instant> {
        match self.poll.poll(&mut self.events, Some(at_most)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        let now = Instant::now();
        let ready: Vec<usize> = self.events.iter().map(|event| event.token().0).collect();
        for number in ready {
            self.serve(number, now)?;
        }
        Ok(now)
    }

    /// Takes in what is there and asks for more.
    fn serve(&mut self, number: usize, now: Instant) -> Result<()> {
        let Some(connection) = &mut self.connections[number] else { return Ok(()) };
        let served = connection
            .read(&mut self.scratch, &mut self.totals, self.options.check_every, now)
            .and_then(|()| {
                if self.pulling {
                    connection.ask(self.options.requests, now);
                }
                connection.flush()
            });
        match served {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                bail!("leecher {number}: {error}")
            }
            Err(_) => {
                self.connections[number] = None;
                Ok(())
            }
        }
    }
}

/// Connects from the source address that belongs to this leecher.
fn open(target: SocketAddr, number: usize) -> Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
    if target.is_ipv4() {
        let own = Ipv4Addr::new(127, 1, (number / 250) as u8, (number % 250 + 1) as u8);
        socket.bind(&SocketAddr::new(IpAddr::V4(own), 0).into())?;
    }
    socket.connect_timeout(&target.into(), CONNECT_WITHIN)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    Ok(TcpStream::from_std(socket.into()))
}
