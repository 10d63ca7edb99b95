//! A leecher of data in memory, alone and beside leechers of data that is only on the disk: do those
//! whom a client makes wait for the disk hold up those who need not wait?
//!
//! Both are measured by turns, in short slices, so that what else the machine does, and a core that its
//! host takes away now and then, is the same for both.
//!
//! The cold data is the hot data over and over, so that it can be checked without being read here.
//! Its pieces are asked for in a scattered order and each once, so that none is in memory when it
//! is asked for; the measurement ends early when they run out.

use std::{
    fs::File,
    io::ErrorKind,
    mem,
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
    measure::{Percentiles, Watch},
    torrent::Torrent,
};

/// The hot leecher keeps to so many pieces: few enough that all of them are used again and again,
/// and stay in memory for that.
const HOT_PIECES: u32 = 64;
/// How long the hot leecher runs before it is measured.
const WARM_UP: f64 = 1.0;
/// How long the cold ones ask before each slice.
const LEAD: f64 = 0.1;
/// How long they may take to get the last of what they have asked for.
const REST_WITHIN: f64 = 5.0;
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
    /// Seconds that the hot leecher is measured alone, and again beside the others
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Slices of each of the two
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    slices: u32,
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
    /// Length of the measurement beside; shorter than asked for when the cold data ran out.
    seconds: f64,
    /// The client's processor time in it.
    cpu_seconds: f64,
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
    load.pull(WARM_UP)?;
    load.connect(&cold, 1..1 + options.connections)?;
    let cold_unchoked = load.count(|connection| !connection.is_choked()).saturating_sub(1);
    ensure!(cold_unchoked > 0, "the client unchoked no leecher of the cold data");
    let (mut alone, mut beside) = (Pulled::new(), Pulled::new());
    let seconds = options.seconds / f64::from(options.slices);
    let enough = (cold.length as f64 * PART) as u64;
    for _ in 0..options.slices {
        load.pull_into(&mut alone, seconds)?;
        load.asking = Ask::All;
        load.pull(LEAD)?;
        load.pull_into(&mut beside, seconds)?;
        load.asking = Ask::Hot;
        load.rest()?;
        if beside.cold.bytes + load.pulled.cold.bytes >= enough {
            break;
        }
    }
    let report = Report {
        hot_alone: alone.hot.latency.percentiles(),
        hot_alone_mib_per_second: alone.rate(&alone.hot),
        hot_beside: beside.hot.latency.percentiles(),
        hot_beside_mib_per_second: beside.rate(&beside.hot),
        cold: beside.cold.latency.percentiles(),
        cold_mib_per_second: beside.rate(&beside.cold),
        cold_unchoked,
        cold_resident,
        seconds: beside.seconds,
        cpu_seconds: beside.cpu_seconds,
    };
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

/// Who asks for blocks.
#[derive(Clone, Copy, PartialEq)]
enum Ask {
    Hot,
    All,
}

/// What came in over all slices of a kind, and what it cost the client.
struct Pulled {
    hot: Totals,
    cold: Totals,
    seconds: f64,
    cpu_seconds: f64,
}

impl Pulled {
    fn new() -> Pulled {
        Pulled { hot: Totals::new(), cold: Totals::new(), seconds: 0.0, cpu_seconds: 0.0 }
    }

    /// MiB a second.
    fn rate(&self, totals: &Totals) -> f64 {
        totals.bytes as f64 / self.seconds / f64::from(1 << 20)
    }
}

struct Load<'a> {
    options: &'a Cold,
    map: &'a Mmap,
    poll: Poll,
    events: Events,
    connections: Vec<Option<Connection<'a>>>,
    scratch: Scratch,
    asking: Ask,
    /// Of the slice under way, or what came between slices.
    pulled: Pulled,
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
            asking: Ask::Hot,
            pulled: Pulled::new(),
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

    /// Takes in blocks for so long.
    fn pull(&mut self, seconds: f64) -> Result<()> {
        let begun = Instant::now();
        for number in 0..self.connections.len() {
            self.serve(number, begun)?;
        }
        while begun.elapsed().as_secs_f64() < seconds {
            self.turn()?;
            ensure!(self.connections[HOT].is_some(), "the client closed the hot connection");
        }
        Ok(())
    }

    /// Takes in blocks for so long, and counts them there.
    fn pull_into(&mut self, pulled: &mut Pulled, seconds: f64) -> Result<()> {
        mem::swap(&mut self.pulled, pulled);
        let watch = Watch::start(self.options.client_pid)?;
        self.pull(seconds)?;
        self.pulled.seconds += watch.elapsed().as_secs_f64();
        self.pulled.cpu_seconds += watch.cpu_seconds()?;
        mem::swap(&mut self.pulled, pulled);
        Ok(())
    }

    /// Waits until what the cold leechers have asked for has come.
    fn rest(&mut self) -> Result<()> {
        let begun = Instant::now();
        while self.connections[HOT + 1..].iter().flatten().any(Connection::is_waiting)
            && begun.elapsed().as_secs_f64() < REST_WITHIN
        {
            self.turn()?;
        }
        Ok(())
    }

    /// Waits for sockets and serves those that are ready. The hot one, which is measured, is first, and
    /// again after each of the others, so that it does not wait for them here.
    fn turn(&mut self) -> Result<()> {
        match self.poll.poll(&mut self.events, Some(Duration::from_millis(20))) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        let mut ready: Vec<usize> = self.events.iter().map(|event| event.token().0).collect();
        ready.sort_unstable();
        for number in ready {
            self.serve(number, Instant::now())?;
            if number != HOT {
                self.serve(HOT, Instant::now())?;
            }
        }
        Ok(())
    }

    fn serve(&mut self, number: usize, now: Instant) -> Result<()> {
        let Some(connection) = &mut self.connections[number] else { return Ok(()) };
        let pulled = &mut self.pulled;
        let totals = if number == HOT { &mut pulled.hot } else { &mut pulled.cold };
        let served = connection.read(&mut self.scratch, totals, CHECK_EVERY, now).and_then(|()| {
            if number == HOT || self.asking == Ask::All {
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
