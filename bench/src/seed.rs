//! The seeds that a client downloads from: many in one process, each with an address of its own,
//! serving every request at once.
//!
//! They connect to the client, so that any client that listens can be measured without a tracker.
//! The measurement runs from the first request until the client has been sent every block and has
//! then stopped working: what it still hashes and writes after the last byte counts.

use std::{
    collections::VecDeque,
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use clap::Args;
use memmap2::Mmap;
use mio::{Events, Interest, Poll, Token, net::TcpStream};
use serde::Serialize;
use socket2::{Domain, Socket, Type};

use crate::{
    data,
    measure::{Memory, Usage, Watch},
    torrent::Torrent,
};

mod connection;
use connection::{Connection, Served};

/// How long a seed waits before it connects again to a client that refused or dropped it.
const RECONNECT_AFTER: Duration = Duration::from_millis(500);
/// A client that has all data is finished when it used no more than this of a core …
const QUIET_SHARE: f64 = 0.06;
/// … for this long.
const QUIET_FOR: Duration = Duration::from_millis(500);

#[derive(Args)]
pub struct Seed {
    /// Address of the client
    #[arg(long)]
    target: SocketAddr,
    /// The .torrent
    #[arg(long)]
    torrent: PathBuf,
    /// Its data
    #[arg(long)]
    data: PathBuf,
    /// How many seeds
    #[arg(long, default_value_t = 10)]
    seeds: usize,
    /// Give up after this many seconds
    #[arg(long, default_value_t = 120.0)]
    seconds: f64,
    /// Process to measure
    #[arg(long)]
    client_pid: Option<u32>,
}

/// What is printed.
#[derive(Serialize)]
struct Report {
    seeds: usize,
    /// Whether every block was sent before the time was up.
    complete: bool,
    /// Bytes that the client asked for, each block counted once.
    bytes: u64,
    /// Bytes sent again.
    bytes_twice: u64,
    /// From the first request to the last block.
    transfer_seconds: f64,
    /// All else is until the client was quiet.
    #[serde(flatten)]
    usage: Usage,
    /// The client's memory before the first seed connected.
    memory_idle: Memory,
}

pub fn run(options: &Seed) -> Result<()> {
    let torrent = Torrent::read(&options.torrent)?;
    let map = data::map(&options.data, &torrent)?;
    println!("{}", serde_json::to_string(&Load::new(options, &torrent, &map)?.push()?)?);
    Ok(())
}

struct Load<'a> {
    options: &'a Seed,
    torrent: &'a Torrent,
    map: &'a Mmap,
    poll: Poll,
    events: Events,
    connections: Vec<Option<Connection<'a>>>,
    connect_at: Vec<Instant>,
    served: Served,
}

impl<'a> Load<'a> {
    fn new(options: &'a Seed, torrent: &'a Torrent, map: &'a Mmap) -> Result<Load<'a>> {
        Ok(Load {
            options,
            torrent,
            map,
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            connections: (0..options.seeds).map(|_| None).collect(),
            connect_at: vec![Instant::now(); options.seeds],
            served: Served::new(torrent),
        })
    }

    fn push(mut self) -> Result<Report> {
        let started = Instant::now();
        let memory_idle = self.options.client_pid.map_or(Ok(Memory::default()), Memory::of)?;
        while self.served.requests == 0 {
            self.turn()?;
            ensure!(
                started.elapsed().as_secs_f64() < self.options.seconds,
                "the client asks for nothing"
            );
        }
        let mut watch = Watch::start(self.options.client_pid)?;
        while !self.served.is_complete() && started.elapsed().as_secs_f64() < self.options.seconds {
            let now = self.turn()?;
            watch.sample(now)?;
        }
        let transfer_seconds = watch.elapsed().as_secs_f64();
        let complete = self.served.is_complete();
        let seconds = if complete { self.wait_for_quiet(&mut watch)? } else { transfer_seconds };
        Ok(Report {
            seeds: self.options.seeds,
            complete,
            bytes: self.served.bytes,
            bytes_twice: self.served.bytes_twice,
            transfer_seconds,
            usage: watch.usage(self.served.bytes, seconds)?,
            memory_idle,
        })
    }

    /// Serves on until the client rests; gives the seconds from the first request to that moment.
    fn wait_for_quiet(&mut self, watch: &mut Watch) -> Result<f64> {
        let mut history: VecDeque<(Duration, f64)> = VecDeque::new();
        loop {
            let now = self.turn()?;
            watch.sample(now)?;
            history.push_back((watch.elapsed(), watch.cpu_seconds()?));
            let (Some(first), Some(last)) = (history.front().copied(), history.back().copied())
            else {
                continue;
            };
            if last.0 - first.0 < QUIET_FOR {
                continue;
            }
            if last.1 - first.1 <= QUIET_SHARE * (last.0 - first.0).as_secs_f64()
                || last.0.as_secs_f64() > self.options.seconds
            {
                return Ok(first.0.as_secs_f64());
            }
            history.pop_front();
        }
    }

    /// Waits for sockets, at most a moment, and serves those that are ready.
    fn turn(&mut self) -> Result<Instant> {
        self.connect()?;
        match self.poll.poll(&mut self.events, Some(Duration::from_millis(20))) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        let now = Instant::now();
        for event in self.events.iter() {
            let number = event.token().0;
            let Some(connection) = &mut self.connections[number] else { continue };
            if connection.serve(&mut self.served).is_err() {
                self.connections[number] = None;
                self.connect_at[number] = now + RECONNECT_AFTER;
            }
        }
        Ok(now)
    }

    /// Connects those that are not; nobody does once all has been served.
    fn connect(&mut self) -> Result<()> {
        let now = Instant::now();
        if self.served.is_complete() {
            return Ok(());
        }
        for number in 0..self.connections.len() {
            if self.connections[number].is_some() || now < self.connect_at[number] {
                continue;
            }
            let Ok(mut stream) = open(self.options.target, number) else {
                self.connect_at[number] = now + RECONNECT_AFTER;
                continue;
            };
            let interest = Interest::READABLE.add(Interest::WRITABLE);
            self.poll.registry().register(&mut stream, Token(number), interest)?;
            let connection = Connection::new(stream, self.torrent, self.map, number);
            self.connections[number] = Some(connection);
        }
        Ok(())
    }
}

/// Connects from the source address that belongs to this seed.
fn open(target: SocketAddr, number: usize) -> Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
    if target.is_ipv4() {
        let own = Ipv4Addr::new(127, 2, (number / 250) as u8, (number % 250 + 1) as u8);
        socket.bind(&SocketAddr::new(IpAddr::V4(own), 0).into())?;
    }
    socket.connect_timeout(&target.into(), Duration::from_secs(2))?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    Ok(TcpStream::from_std(socket.into()))
}
