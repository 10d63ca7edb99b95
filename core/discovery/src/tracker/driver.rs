//! The announcer: the sockets and the clock around the state machines.
//!
//! One task drives all torrents. It holds one ordered set of timers, one UDP socket for each
//! address family and the pacer; another task exists only for each HTTP request or name look-up in
//! flight, whose number is bounded. Callers speak to it through a queue, and read status from a
//! table that it publishes to, so that nobody waits for a tracker.

mod flight;
mod handle;
mod network;
mod scrape;
mod work;

pub use handle::AnnouncerHandle;

#[cfg(feature = "sim")]
use super::simulated::SimNetwork;
use super::{
    TorrentKey, TrackerEvent,
    pacer::{Pace, Pacer},
    udp::UdpTrackers,
};
use network::Network;
use std::{
    collections::{BTreeSet, HashMap},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::mpsc, task::JoinSet};
use work::Driver;

/// How to announce.
#[derive(Clone, Debug)]
pub struct Config {
    /// The `User-Agent` of HTTP announces.
    pub user_agent: String,
    /// The TCP port on which peers reach us.
    pub port: u16,
    /// Lets trackers know us again after our address changed; `None` draws one.
    pub key: Option<u32>,
    /// Decides the order within tiers, transaction ids, and how far torrents drift apart; `None` draws
    /// one.
    pub seed: Option<u64>,
    /// Peers asked for in each announce but the last.
    pub numwant: u32,
    /// The address that IPv4 requests are sent from.
    pub source_v4: Ipv4Addr,
    /// The address that IPv6 requests are sent from.
    pub source_v6: Ipv6Addr,
    /// Requests to trackers in flight at a time, of all hosts. Silent hosts hold theirs for a minute
    /// or two, so this has to be well above what the others need.
    pub in_flight: usize,
    /// How fast one tracker's host is asked.
    pub pace: Pace,
    /// Time allowed for one HTTP request.
    pub http_timeout: Duration,
    /// Time before a UDP packet is first sent again (BEP 15: 15 s).
    pub udp_first_wait: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            user_agent: "Ringseed/0.1.0".into(),
            port: 51413,
            key: None,
            seed: None,
            numwant: 80,
            source_v4: Ipv4Addr::UNSPECIFIED,
            source_v6: Ipv6Addr::UNSPECIFIED,
            in_flight: 512,
            pace: Pace { burst: 50, per_second: 25.0, in_flight: 8 },
            http_timeout: Duration::from_secs(45),
            udp_first_wait: Duration::from_secs(15),
        }
    }
}

/// Announces any number of torrents.
pub struct Announcer;

impl Announcer {
    /// Starts announcing as a task of the tokio runtime that this is called in (of either flavour).
    /// Events go to `sink`; while it is full they are merged by torrent and kept. The announcer ends
    /// by [`AnnouncerHandle::shutdown`], or silently when the last handle is dropped.
    ///
    /// # Errors
    /// If there is neither an IPv4 nor an IPv6 socket to be had from the source addresses, or TLS
    /// cannot be set up.
    pub fn spawn(config: Config, sink: mpsc::Sender<TrackerEvent>) -> io::Result<AnnouncerHandle> {
        let sources = [IpAddr::V4(config.source_v4), IpAddr::V6(config.source_v6)];
        let network = Network::system(&config.user_agent, sources, config.http_timeout)?;
        Ok(Announcer::spawn_on(config, network, sink))
    }

    /// The same on a simulated network.
    #[cfg(feature = "sim")]
    pub(super) fn spawn_simulated(
        config: Config,
        network: &SimNetwork,
        sink: mpsc::Sender<TrackerEvent>,
    ) -> AnnouncerHandle {
        Announcer::spawn_on(config, Network::simulated(network), sink)
    }

    fn spawn_on(
        config: Config,
        network: Network,
        sink: mpsc::Sender<TrackerEvent>,
    ) -> AnnouncerHandle {
        let mut rng = fastrand::Rng::with_seed(config.seed.unwrap_or_else(|| fastrand::u64(..)));
        let statuses = Arc::default();
        let (handle, commands) = AnnouncerHandle::new(Arc::clone(&statuses));
        let (reports_in, reports) = mpsc::unbounded_channel();
        let driver = Driver {
            key: config.key.unwrap_or_else(|| rng.u32(..)),
            pacer: Pacer::new(config.pace),
            udp: UdpTrackers::new(config.udp_first_wait, rng.u64(..)),
            rng,
            config,
            network,
            commands,
            reports_in,
            reports,
            statuses,
            unsent: None,
            sink,
            tasks: JoinSet::new(),
            torrents: HashMap::new(),
            slots: HashMap::new(),
            goodbyes: HashMap::new(),
            next_slot: 0,
            next_tracker: 0,
            timers: BTreeSet::new(),
            flights: HashMap::new(),
            next_flight: 0,
            changed: BTreeSet::new(),
            outbox: Default::default(),
            leaving: None,
        };
        tokio::spawn(driver.run());
        handle
    }
}

/// Events for a receiver that is busy, merged by torrent.
#[derive(Default)]
struct Pending {
    peers: Vec<SocketAddr>,
    status: bool,
}

/// A name for one stay of a torrent: a key may be given to another while its former bearer is still
/// saying goodbye.
type Slot = u64;

type Timers = BTreeSet<(Duration, Slot)>;

type Outbox = std::collections::BTreeMap<TorrentKey, Pending>;

#[cfg(test)]
mod tests;
