//! A network in memory for the announcer, and a runtime whose time passes by hand: everything on one
//! thread, nothing random, nothing that sleeps.
//!
//! What the announcer asks comes out of [`SimNetwork::poll`]; whoever simulates the other side answers
//! when it likes, or never. [`SimRuntime::advance`] lets the announcer go on.

pub use super::transport::HttpAnswer;

use super::{
    TorrentKey, TrackerError, TrackerEvent,
    driver::{Announcer, AnnouncerHandle, Config},
    udp::Transmit,
};
use metainfo::InfoHash;
use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    runtime::Runtime,
    sync::{Notify, mpsc, oneshot},
    time::Instant,
};

/// Rounds that tasks get in one step: far more than one thing leads to another.
const ROUNDS: u32 = 4;

/// Time that a runtime's timers are rounded up to.
const TICK_NS: u128 = 1_000_000;

/// What the announcer is told to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Order {
    /// A torrent begins, with the id that it has for its peers.
    Begin(TorrentKey, InfoHash, [u8; 20]),
    /// A torrent ends.
    End(TorrentKey),
    /// A torrent has become complete.
    Complete(TorrentKey),
    /// Everything ends.
    Leave,
    /// Not told, but done: everything has ended, and what comes now, nobody hears.
    Left,
}

/// What the announcer sends, and in between what it is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outgoing {
    /// From here on it knows this.
    Told(Order),
    /// It asks for a name: [`SimNetwork::resolved`].
    Resolve {
        /// To answer it by.
        id: u64,
        /// The name.
        host: String,
    },
    /// It asks for a page: [`SimNetwork::answered`].
    Http {
        /// To answer it by.
        id: u64,
        /// What it asks for.
        url: String,
        /// Over which address family.
        over_ipv6: bool,
    },
    /// It sends a datagram; [`SimNetwork::datagram`] brings others.
    Datagram {
        /// Where to.
        to: SocketAddr,
        /// What.
        packet: Vec<u8>,
    },
}

type HttpWaiter = oneshot::Sender<Result<HttpAnswer, TrackerError>>;

type NameWaiter = oneshot::Sender<Result<Arc<[IpAddr]>, TrackerError>>;

/// What one announcer sees of the world. Clones are the same network.
#[derive(Clone, Default)]
pub struct SimNetwork {
    inner: Arc<Mutex<Inner>>,
    arrival: Arc<Notify>,
}

#[derive(Default)]
struct Inner {
    outgoing: VecDeque<Outgoing>,
    next_id: u64,
    requests: BTreeMap<u64, HttpWaiter>,
    names: BTreeMap<u64, NameWaiter>,
    /// Datagrams by IPv4 and by IPv6.
    arrived: [VecDeque<(SocketAddr, Vec<u8>)>; 2],
    sleeps_until: Option<Instant>,
}

/// The other side's part.
impl SimNetwork {
    /// A network on which nothing is under way.
    pub fn new() -> SimNetwork {
        SimNetwork::default()
    }

    /// Starts an announcer on it, as [`Announcer::spawn`] does on the system's, within a
    /// [`SimRuntime`]. [`Config::key`] and [`Config::seed`] are to be given, or it does not do the same
    /// in each run.
    pub fn announcer(&self, config: Config, sink: mpsc::Sender<TrackerEvent>) -> AnnouncerHandle {
        Announcer::spawn_simulated(config, self, sink)
    }

    /// The next thing that the announcer has sent.
    pub fn poll(&self) -> Option<Outgoing> {
        self.inner().outgoing.pop_front()
    }

    /// Answers [`Outgoing::Http`]. What nobody waits for any more is dropped.
    pub fn answered(&self, id: u64, answer: Result<HttpAnswer, TrackerError>) {
        if let Some(waiter) = self.inner().requests.remove(&id) {
            let _ = waiter.send(answer);
        }
    }

    /// Answers [`Outgoing::Resolve`]; with none if there is no such name.
    pub fn resolved(&self, id: u64, addresses: Result<Vec<IpAddr>, TrackerError>) {
        if let Some(waiter) = self.inner().names.remove(&id) {
            let _ = waiter.send(addresses.map(Into::into));
        }
    }

    /// A datagram comes.
    pub fn datagram(&self, from: SocketAddr, packet: Vec<u8>) {
        self.inner().arrived[usize::from(from.is_ipv6())].push_back((from, packet));
        self.arrival.notify_one();
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The announcer's part.
impl SimNetwork {
    pub(super) async fn get(&self, url: &str, over_ipv6: bool) -> Result<HttpAnswer, TrackerError> {
        let (waiter, answer) = oneshot::channel();
        {
            let mut inner = self.inner();
            let id = inner.next_id();
            inner.requests.insert(id, waiter);
            inner.outgoing.push_back(Outgoing::Http { id, url: url.to_owned(), over_ipv6 });
        }
        answer.await.unwrap_or(Err(TrackerError::TimedOut))
    }

    pub(super) async fn look_up(&self, host: &str) -> Result<Arc<[IpAddr]>, TrackerError> {
        let (waiter, answer) = oneshot::channel();
        {
            let mut inner = self.inner();
            let id = inner.next_id();
            inner.names.insert(id, waiter);
            inner.outgoing.push_back(Outgoing::Resolve { id, host: host.to_owned() });
        }
        answer.await.unwrap_or(Err(TrackerError::TimedOut))
    }

    pub(super) fn sleeps_until(&self, at: Option<Instant>) {
        self.inner().sleeps_until = at;
    }

    pub(super) async fn readable(&self) {
        while self.inner().arrived.iter().all(VecDeque::is_empty) {
            self.arrival.notified().await;
        }
    }

    pub(super) fn try_receive(
        &self,
        family: usize,
        buffer: &mut [u8],
    ) -> io::Result<(usize, SocketAddr)> {
        let next = self.inner().arrived[family].pop_front();
        let (from, packet) = next.ok_or(io::ErrorKind::WouldBlock)?;
        let length = packet.len().min(buffer.len());
        buffer[..length].copy_from_slice(&packet[..length]);
        Ok((length, from))
    }

    /// The announcer has been told something.
    pub(super) fn is_told(&self, order: Order) {
        self.inner().outgoing.push_back(Outgoing::Told(order));
    }

    pub(super) fn send(&self, transmit: &Transmit) {
        let Transmit { to, packet } = transmit.clone();
        self.inner().outgoing.push_back(Outgoing::Datagram { to, packet });
    }
}

impl Inner {
    fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}

/// A tokio runtime of one thread, which is the caller's, and of a clock that stands still but for
/// [`SimRuntime::advance`]. To drop it ends its tasks where they are, as a crash does.
pub struct SimRuntime {
    runtime: Runtime,
    began: Instant,
}

impl SimRuntime {
    /// A runtime on which it is 0.
    ///
    /// # Errors
    /// If the real machine is out of descriptors or memory.
    pub fn new() -> io::Result<SimRuntime> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .event_interval(u32::MAX)
            .build()?;
        let began = runtime.block_on(async { Instant::now() });
        Ok(SimRuntime { runtime, began })
    }

    /// Calls something that spawns tasks or looks at the time.
    pub fn within<R>(&self, call: impl FnOnce() -> R) -> R {
        let _guard = self.runtime.enter();
        call()
    }

    /// Lets time pass until `to` since it began, and its tasks do what there is to be done.
    pub fn advance(&self, to: Duration) {
        self.runtime.block_on(async {
            tokio::time::advance(to.saturating_sub(self.began.elapsed())).await;
            for _ in 0..ROUNDS {
                tokio::task::yield_now().await;
            }
        });
    }

    /// When the announcer on this network has something to do by itself, since the runtime began.
    pub fn wakes_at(&self, network: &SimNetwork) -> Option<Duration> {
        let at = network.inner().sleeps_until?.saturating_duration_since(self.began);
        // Timers go off in the first whole millisecond after their time.
        Some(Duration::from_nanos((at.as_nanos().div_ceil(TICK_NS) * TICK_NS) as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Progress, TorrentAnnounce};

    const KEY: TorrentKey = TorrentKey(1);

    struct Scene {
        runtime: SimRuntime,
        network: SimNetwork,
        handle: AnnouncerHandle,
        events: mpsc::Receiver<TrackerEvent>,
    }

    fn torrent(tracker: &str) -> TorrentAnnounce {
        TorrentAnnounce {
            key: KEY,
            info_hash: InfoHash([1; 20]),
            peer_id: [2; 20],
            trackers: vec![vec![tracker.into()]],
            private: false,
            progress: Arc::new(Progress::default()),
        }
    }

    fn scene(tracker: &str) -> Scene {
        let (runtime, network) = (SimRuntime::new().unwrap(), SimNetwork::new());
        let (sink, events) = mpsc::channel(8);
        let config = Config { key: Some(7), seed: Some(1), ..Config::default() };
        let handle = runtime.within(|| network.announcer(config, sink));
        handle.add(torrent(tracker));
        handle.start(KEY);
        runtime.advance(Duration::ZERO);
        let begins = Order::Begin(KEY, InfoHash([1; 20]), [2; 20]);
        assert_eq!(network.poll(), Some(Outgoing::Told(begins)));
        Scene { runtime, network, handle, events }
    }

    fn resolve(scene: &Scene) {
        let Some(Outgoing::Resolve { id, host }) = scene.network.poll() else { panic!() };
        assert_eq!(host, "tracker.sim");
        scene.network.resolved(id, Ok(vec![IpAddr::from([10, 9, 9, 9])]));
        scene.runtime.advance(Duration::from_millis(1));
    }

    fn answer(status: u16, body: &[u8]) -> Result<HttpAnswer, TrackerError> {
        let status = reqwest::StatusCode::from_u16(status).unwrap();
        Ok(HttpAnswer { status, retry_after: None, body: body.to_vec() })
    }

    #[test]
    fn an_announce_goes_out_and_its_answer_comes_in_without_a_socket() {
        let mut scene = scene("http://tracker.sim/announce");
        resolve(&scene);
        let Some(Outgoing::Http { id, url, over_ipv6: false }) = scene.network.poll() else {
            panic!()
        };
        assert!(url.starts_with("http://tracker.sim/announce?info_hash=%01"), "{url}");
        assert!(url.contains("&key=00000007&") && url.ends_with("&event=started"), "{url}");
        let good = b"d8:completei1e10:downloadedi3e10:incompletei2e8:intervali60e\
                     5:peers6:\x0a\x00\x00\x01\x1a\xe1e";
        scene.network.answered(id, answer(200, good));
        scene.runtime.advance(Duration::from_millis(2));
        let peers = vec!["10.0.0.1:6881".parse().unwrap()];
        let expected = [TrackerEvent::Peers { key: KEY, peers }, TrackerEvent::Status { key: KEY }];
        let told = std::iter::from_fn(|| scene.events.try_recv().ok());
        assert!(told.collect::<Vec<_>>().ends_with(&expected));
        assert!(scene.handle.status(KEY)[0].last_announce.succeeded);
    }

    /// The id of the only request that is sent now, which says this.
    fn request(scene: &Scene, what: &str) -> u64 {
        let Some(Outgoing::Http { id, url, .. }) = scene.network.poll() else {
            panic!("no {what}")
        };
        assert!(url.ends_with(what), "{url}");
        assert_eq!(scene.network.poll(), None);
        id
    }

    #[test]
    fn a_torrent_that_comes_back_is_started_only_when_its_goodbye_has_ended() {
        const URL: &str = "http://10.9.9.9/announce";
        const GOOD: &[u8] =
            b"d8:completei1e10:downloadedi3e10:incompletei2e8:intervali60e5:peers0:e";
        let scene = scene(URL);
        let at = |ms| scene.runtime.advance(Duration::from_millis(ms));
        scene.network.answered(request(&scene, "&event=started"), answer(200, GOOD));
        at(1);
        scene.handle.remove(KEY);
        at(2);
        assert_eq!(scene.network.poll(), Some(Outgoing::Told(Order::End(KEY))));
        let goodbye = request(&scene, "&event=stopped");
        let progress = Progress { left: 9.into(), ..Progress::default() };
        scene.handle.add(TorrentAnnounce { progress: Arc::new(progress), ..torrent(URL) });
        scene.handle.start(KEY);
        at(3);
        assert!(matches!(scene.network.poll(), Some(Outgoing::Told(Order::Begin(..)))));
        assert_eq!(scene.network.poll(), None, "it would overtake `stopped`");
        scene.network.answered(goodbye, answer(200, GOOD));
        at(4);
        let Some(Outgoing::Http { url, .. }) = scene.network.poll() else { panic!() };
        assert!(url.contains("&left=9&") && url.ends_with("&event=started"), "{url}");
        assert!(scene.handle.status(KEY).len() == 1);
    }

    #[test]
    fn time_passes_by_hand_only_and_timers_go_off_where_they_say() {
        let scene = scene("http://tracker.sim/announce");
        resolve(&scene);
        let Some(Outgoing::Http { id, .. }) = scene.network.poll() else { panic!() };
        scene.network.answered(id, answer(503, b"busy"));
        scene.runtime.advance(Duration::from_millis(2));
        let next = scene.runtime.wakes_at(&scene.network).unwrap();
        assert!((40..80).contains(&next.as_secs()), "it backs off: {next:?}");
        scene.runtime.advance(next - Duration::from_millis(1));
        assert_eq!(scene.network.poll(), None);
        scene.runtime.advance(next);
        assert!(matches!(scene.network.poll(), Some(Outgoing::Http { .. })));
    }

    #[test]
    fn datagrams_come_and_go() {
        let scene = scene("udp://10.9.9.9:6969");
        let tracker: SocketAddr = "10.9.9.9:6969".parse().unwrap();
        let Some(Outgoing::Datagram { to, packet }) = scene.network.poll() else { panic!() };
        assert_eq!((to, packet.len()), (tracker, 16));
        scene.network.datagram(tracker, [&packet[8..16], &[9; 8]].concat());
        scene.runtime.advance(Duration::from_millis(1));
        let Some(Outgoing::Datagram { packet, .. }) = scene.network.poll() else { panic!() };
        assert_eq!((&packet[..8], packet.len()), (&[9; 8][..], 98));
    }
}
