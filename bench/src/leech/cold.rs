//! A leecher of data in memory, alone and then beside leechers of data that is only on the disk:
//! do those whom a client makes wait for the disk hold up those who need not wait?
//!
//! The cold data is the hot data over and over, so that it can be checked without being read here.
//! Its pieces are asked for in a scattered order and each once, so that none is in memory when it
//! is asked for; the measurement ends early when they run out.

use std::{
    fs::File,
    io::ErrorKind,
    net::SocketAddr,
    ops::Range,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use memmap2::Mmap;
use mio::{Events, Interest, Poll, Token};
use serde::Serialize;

use super::{Connection, Order, Scratch, Totals, open};
use crate::{
    data,
    measure::{Percentiles, Usage, Watch},
    torrent::Torrent,
};

/// The hot leecher keeps to so many pieces: few enough that all of them are used again and again,
/// and stay in memory for that.
const HOT_PIECES: u32 = 64;
/// How long the hot leecher runs before it is measured.
const WARM_UP: f64 = 1.0;
/// Share of the cold data after which its measurement ends.
const PART: f64 = 0.9;
/// One block in this many is compared whole.
const CHECK_EVERY: u32 = 16;
/// The hot leecher among the connections.
const HOT: usize = 0;

#[derive(Args)]
pub struct Cold {
    /// Address of the client
    #[arg(long)]
    target: SocketAddr,
    /// The .torrent whose data is in memory
    #[arg(long)]
    hot_torrent: PathBuf,
    /// Its data, to compare with
    #[arg(long)]
    hot_data: PathBuf,
    /// The .torrent whose data is not
    #[arg(long)]
    cold_torrent: PathBuf,
    /// Its data as the client has it, the hot data repeated; dropped from the page cache first
    #[arg(long)]
    cold_data: PathBuf,
    /// How many leechers of cold data
    #[arg(long, default_value_t = 10)]
    connections: usize,
    /// Requests that every leecher keeps in flight
    #[arg(long, default_value_t = 16)]
    requests: usize,
    /// Length of each of the two measurements
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
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
    hot_alone: Percentiles,
    hot_alone_mib_per_second: f64,
    hot_beside: Percentiles,
    hot_beside_mib_per_second: f64,
    cold: Percentiles,
    cold_mib_per_second: f64,
    /// Cold leechers that were unchoked.
    cold_unchoked: usize,
    /// Share of the cold data that stayed in memory although it was dropped.
    cold_resident: f64,
    /// Of the second measurement.
    #[serde(flatten)]
    usage: Usage,
}

pub fn run(options: &Cold) -> Result<()> {
    let (hot, cold) = (Torrent::read(&options.hot_torrent)?, Torrent::read(&options.cold_torrent)?);
    let map = data::map(&options.hot_data, &hot)?;
    ensure!(
        hot.length.is_multiple_of(u64::from(cold.piece_length)),
        "the hot data is no whole number of cold pieces"
    );
    let cold_resident = drop_cached(&options.cold_data)?;
    let mut load = Load::new(options, &map)?;
    load.connect(&hot, HOT..1)?;
    load.pull(WARM_UP, u64::MAX)?;
    let alone = load.pull(options.seconds, u64::MAX)?;
    let hot_alone = load.hot.latency.percentiles();
    load.connect(&cold, 1..1 + options.connections)?;
    let cold_unchoked = load.count(|connection| !connection.is_choked()).saturating_sub(1);
    ensure!(cold_unchoked > 0, "the client unchoked no leecher of the cold data");
    let beside = load.pull(options.seconds, (cold.length as f64 * PART) as u64)?;
    let report = Report {
        hot_alone,
        hot_alone_mib_per_second: alone.hot,
        hot_beside: load.hot.latency.percentiles(),
        hot_beside_mib_per_second: beside.hot,
        cold: load.cold.latency.percentiles(),
        cold_mib_per_second: beside.cold,
        cold_unchoked,
        cold_resident,
        usage: beside.usage,
    };
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

/// MiB a second of both kinds, and what they cost the client.
struct Pulled {
    hot: f64,
    cold: f64,
    usage: Usage,
}

struct Load<'a> {
    options: &'a Cold,
    map: &'a Mmap,
    poll: Poll,
    events: Events,
    connections: Vec<Option<Connection<'a>>>,
    scratch: Scratch,
    hot: Totals,
    cold: Totals,
    /// Connections from here on do not ask yet.
    asking: usize,
}

impl<'a> Load<'a> {
    fn new(options: &'a Cold, map: &'a Mmap) -> Result<Load<'a>> {
        Ok(Load {
            options,
            map,
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            connections: Vec::new(),
            scratch: Scratch::new(),
            hot: Totals::new(),
            cold: Totals::new(),
            asking: 0,
        })
    }

    /// Adds leechers of a torrent and waits until they are unchoked.
    fn connect(&mut self, torrent: &'a Torrent, numbers: Range<usize>) -> Result<()> {
        let count = torrent.piece_count();
        for number in numbers {
            let mut stream = open(self.options.target, number)?;
            let interest = Interest::READABLE.add(Interest::WRITABLE);
            self.poll.registry().register(&mut stream, Token(number), interest)?;
            let (order, first) = if number == HOT {
                (Order::First(HOT_PIECES), 0)
            } else {
                scattered(count, number - 1, self.options.connections)
            };
            let connection = Connection::new(stream, torrent, self.map, number, first, order);
            self.connections.push(Some(connection));
        }
        let started = Instant::now();
        while self.count(Connection::is_choked) > 0
            && started.elapsed().as_secs_f64() < self.options.unchoke_within
        {
            self.turn()?;
        }
        Ok(())
    }

    /// Asks for blocks over all connections for so long, or until so many cold bytes have come.
    fn pull(&mut self, seconds: f64, cold_bytes: u64) -> Result<Pulled> {
        self.asking = self.connections.len();
        (self.hot, self.cold) = (Totals::new(), Totals::new());
        let now = Instant::now();
        for number in 0..self.asking {
            self.serve(number, now)?;
        }
        let mut watch = Watch::start(self.options.client_pid)?;
        while watch.elapsed().as_secs_f64() < seconds && self.cold.bytes < cold_bytes {
            let now = self.turn()?;
            watch.sample(now)?;
            ensure!(self.connections[HOT].is_some(), "the client closed the hot connection");
        }
        let taken = watch.elapsed().as_secs_f64();
        let rate = |bytes: u64| bytes as f64 / taken / f64::from(1 << 20);
        Ok(Pulled {
            hot: rate(self.hot.bytes),
            cold: rate(self.cold.bytes),
            usage: watch.usage(self.hot.bytes + self.cold.bytes, taken)?,
        })
    }

    /// Waits for sockets and serves those that are ready, the hot one first: it is measured.
    fn turn(&mut self) -> Result<Instant> {
        match self.poll.poll(&mut self.events, Some(Duration::from_millis(20))) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        let now = Instant::now();
        let mut ready: Vec<usize> = self.events.iter().map(|event| event.token().0).collect();
        ready.sort_unstable();
        for number in ready {
            self.serve(number, now)?;
        }
        Ok(now)
    }

    fn serve(&mut self, number: usize, now: Instant) -> Result<()> {
        let Some(connection) = &mut self.connections[number] else { return Ok(()) };
        let totals = if number == HOT { &mut self.hot } else { &mut self.cold };
        let served = connection.read(&mut self.scratch, totals, CHECK_EVERY, now).and_then(|()| {
            if number < self.asking {
                connection.ask(self.options.requests, now);
            }
            connection.flush()
        });
        match served {
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                bail!("leecher {number}: {error}")
            }
            Err(_) => self.connections[number] = None,
            Ok(()) => {}
        }
        Ok(())
    }

    fn count(&self, what: impl Fn(&Connection<'a>) -> bool) -> usize {
        self.connections.iter().flatten().filter(|connection| what(connection)).count()
    }
}

/// The order of one of several leechers that together visit every piece once, far from the last.
fn scattered(count: u32, number: usize, leechers: usize) -> (Order, u32) {
    let common = |a: u32, b: u32| {
        let (mut a, mut b) = (a, b);
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let golden = (f64::from(count) * 0.618) as u32 | 1;
    let step = (golden..).find(|&step| common(step, count) == 1).unwrap_or(1);
    let start = u64::from(count) * number as u64 / leechers as u64;
    (Order::Stride(step), (start * u64::from(step) % u64::from(count)) as u32)
}

/// Drops a file from the page cache; gives the share of it that stayed, for processes map it.
#[allow(unsafe_code)]
fn drop_cached(path: &Path) -> Result<f64> {
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    file.sync_all()?;
    // SAFETY: the descriptor is open; the call touches no memory of ours.
    unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    // SAFETY: nothing is read through the mapping; it only names the pages to mincore below.
    let map = unsafe { Mmap::map(&file) }?;
    let mut pages = vec![0_u8; map.len().div_ceil(PAGE)];
    // SAFETY: the range is the mapping's, and there is one byte for each of its pages.
    let told =
        unsafe { libc::mincore(map.as_ptr().cast_mut().cast(), map.len(), pages.as_mut_ptr()) };
    ensure!(told == 0, "mincore: {}", std::io::Error::last_os_error());
    let resident = pages.iter().filter(|&&page| page & 1 != 0).count();
    Ok(resident as f64 / pages.len() as f64)
}

/// Bytes of a page; where they are larger, the rest of what mincore(2) could tell is 0.
const PAGE: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scattered_leechers_visit_every_piece_once() {
        for (count, leechers) in [(1, 1), (7, 3), (4096, 10), (1000, 7)] {
            let mut seen = vec![0; count as usize];
            for number in 0..leechers {
                let (Order::Stride(step), mut piece) = scattered(count, number, leechers) else {
                    panic!("no stride")
                };
                let share = |n: usize| count as usize * n / leechers;
                for _ in share(number)..share(number + 1) {
                    seen[piece as usize] += 1;
                    piece = (piece + step) % count;
                }
            }
            assert!(seen.iter().all(|&visits| visits == 1), "{count} pieces, {leechers} leechers");
        }
    }

    #[test]
    fn a_file_that_was_dropped_is_hardly_resident() {
        let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let path = folder.path().join("data");
        std::fs::write(&path, vec![1; 1 << 20]).unwrap();
        assert!((0.0..=1.0).contains(&drop_cached(&path).unwrap()));
    }
}
