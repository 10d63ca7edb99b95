//! Connections in memory: two ends, and a pipe in each direction with a latency, a bandwidth and a
//! window.

use crate::ConnId;
use std::{collections::VecDeque, net::SocketAddr, ops::Range, time::Duration};

/// Bytes that travel together.
pub(super) const CHUNK: usize = 32 * 1024;

/// What connections are like; each gets its own numbers from the ranges.
#[derive(Clone, Debug)]
pub struct Network {
    /// One way.
    pub latency: Range<Duration>,
    /// Bytes per second in each direction.
    pub bandwidth: Range<u64>,
    /// Bytes under way or unread at most, in each direction; a sender that fills it waits.
    pub window: Range<usize>,
}

impl Default for Network {
    fn default() -> Network {
        Network {
            latency: Duration::from_micros(100)..Duration::from_millis(80),
            bandwidth: 100_000..20_000_000,
            window: 16 * 1024..512 * 1024,
        }
    }
}

/// One of a link's two ends.
pub(super) struct End {
    /// Whose it is; `None` of an end that nobody holds, as it is on the way between two rings.
    pub ring: Option<usize>,
    pub conn: Option<ConnId>,
    pub addr: SocketAddr,
    pub machine: usize,
    pub state: EndState,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum EndState {
    /// The connection is being made.
    Waiting,
    Open,
    /// Its process has closed it, or has learnt of the end.
    Closed,
    /// Its machine went down without a word.
    Gone,
}

pub(super) struct Link {
    pub ends: [End; 2],
    /// Pipe 0 leads from end 0 to end 1.
    pub pipes: [Pipe; 2],
    pub latency: Duration,
    /// Until then nothing arrives.
    pub stalled_until: Duration,
}

pub(super) struct Pipe {
    /// Handed in and not sent.
    pub unsent: VecDeque<u8>,
    /// Length of the batch to be reported once `unsent` is empty.
    pub batch: Option<u64>,
    pub under_way: usize,
    pub arrived: VecDeque<u8>,
    /// When the line can take more.
    pub free_at: Duration,
    pub bandwidth: u64,
    pub window: usize,
    /// The end has been put on the line behind everything else.
    pub ended: bool,
}

/// The first bytes, of which there are so many: whole runs, because copying each byte by itself took
/// most of the time of a simulation.
pub(super) fn first(bytes: &VecDeque<u8>, count: usize) -> [&[u8]; 2] {
    let (front, back) = bytes.as_slices();
    let split = count.min(front.len());
    [&front[..split], &back[..count - split]]
}

impl Pipe {
    fn new(bandwidth: u64, window: usize) -> Pipe {
        Pipe {
            unsent: VecDeque::new(),
            batch: None,
            under_way: 0,
            arrived: VecDeque::new(),
            free_at: Duration::ZERO,
            bandwidth,
            window,
            ended: false,
        }
    }

    /// The next bytes that may leave now.
    pub fn take_chunk(&mut self) -> Option<Vec<u8>> {
        let room = self.window.saturating_sub(self.under_way + self.arrived.len());
        let count = self.unsent.len().min(room).min(CHUNK);
        if count == 0 {
            return None;
        }
        self.under_way += count;
        let chunk = first(&self.unsent, count).concat();
        self.unsent.drain(..count);
        Some(chunk)
    }

    /// When bytes that leave now have left.
    pub fn occupy(&mut self, now: Duration, bytes: usize) -> Duration {
        let time = Duration::from_nanos(bytes as u64 * 1_000_000_000 / self.bandwidth.max(1));
        self.free_at = self.free_at.max(now) + time;
        self.free_at
    }
}

impl Link {
    pub fn new(ends: [End; 2], network: &Network, rng: &mut fastrand::Rng) -> Link {
        let between = |range: &Range<Duration>, rng: &mut fastrand::Rng| {
            let (start, end) = (range.start.as_nanos() as u64, range.end.as_nanos() as u64);
            Duration::from_nanos(rng.u64(start..end.max(start + 1)))
        };
        let latency = between(&network.latency, rng);
        let mut pipe = || {
            let bandwidth = rng.u64(network.bandwidth.clone());
            Pipe::new(bandwidth, rng.usize(network.window.clone()))
        };
        let pipes = [pipe(), pipe()];
        Link { ends, pipes, latency, stalled_until: Duration::ZERO }
    }
}
