//! The announcer against trackers on loopback: small ones of our own, and opentracker.

mod scrape;

use super::*;
use crate::{AnnounceState, Progress, TorrentAnnounce, tracker::status::TrackerStatus};
use metainfo::InfoHash;
use std::{
    process::{Child, Command},
    sync::{Mutex, atomic::AtomicUsize, atomic::Ordering},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
    time::{Instant, timeout},
};

const PATIENCE: Duration = Duration::from_secs(20);

/// Request lines, in the order in which they came.
type Heard = Arc<Mutex<Vec<String>>>;

struct HttpTracker {
    port: u16,
    heard: Heard,
    connections: Arc<AtomicUsize>,
}

/// A tracker that answers every request with `body`, on connections that stay open.
async fn http_tracker(body: &'static [u8]) -> HttpTracker {
    http_tracker_on(TcpListener::bind("127.0.0.1:0").await.unwrap(), |_| body.to_vec())
}

/// The same with what `answer` makes of the request.
fn http_tracker_on(
    listener: TcpListener,
    answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static,
) -> HttpTracker {
    let answer = Arc::new(answer);
    let port = listener.local_addr().unwrap().port();
    let (heard, connections) = (Heard::default(), Arc::new(AtomicUsize::new(0)));
    let tracker = HttpTracker { port, heard: heard.clone(), connections: connections.clone() };
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            connections.fetch_add(1, Ordering::Relaxed);
            let (heard, answer) = (heard.clone(), Arc::clone(&answer));
            tokio::spawn(async move {
                let (mut input, mut chunk) = (vec![], [0; 4096]);
                while let Ok(length @ 1..) = stream.read(&mut chunk).await {
                    input.extend_from_slice(&chunk[..length]);
                    if !input.ends_with(b"\r\n\r\n") {
                        continue;
                    }
                    let request = String::from_utf8_lossy(&input).into_owned();
                    input.clear();
                    let body = answer(&request);
                    heard.lock().unwrap().push(request);
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                    if stream.write_all(&[head.as_bytes(), &body].concat()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    tracker
}

impl HttpTracker {
    fn count(&self, what: &str) -> usize {
        self.heard.lock().unwrap().iter().filter(|request| request.contains(what)).count()
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/announce?passkey=abc", self.port)
    }
}

const GOOD: &[u8] = b"d8:completei1e10:downloadedi3e10:incompletei2e8:intervali1800e\
12:min intervali1e5:peers6:\x0a\x00\x00\x01\x1a\xe1e";

fn torrent(number: u64, trackers: &[&str]) -> TorrentAnnounce {
    let mut hash = [0x5a; 20];
    hash[..8].copy_from_slice(&number.to_be_bytes());
    TorrentAnnounce {
        key: TorrentKey(number),
        info_hash: InfoHash(hash),
        peer_id: *b"-RS0100-abcdefghijkl",
        trackers: trackers.iter().map(|url| vec![url.to_string()]).collect(),
        private: false,
        progress: Arc::new(Progress::default()),
    }
}

fn announcer(config: Config) -> (AnnouncerHandle, mpsc::Receiver<TrackerEvent>) {
    let (sink, events) = mpsc::channel(64);
    (Announcer::spawn(config, sink).unwrap(), events)
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "it never came true: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn peers(events: &mut mpsc::Receiver<TrackerEvent>) -> Vec<SocketAddr> {
    loop {
        match timeout(PATIENCE, events.recv()).await.expect("no peers came") {
            Some(TrackerEvent::Peers { peers, .. }) => return peers,
            Some(TrackerEvent::Status { .. }) => {}
            None => panic!("the announcer ended"),
        }
    }
}

#[tokio::test]
async fn an_http_tracker_hears_the_whole_life_and_its_answer_is_published() {
    let tracker = http_tracker(GOOD).await;
    let (handle, mut events) = announcer(Config { port: 7777, ..Config::default() });
    let about = torrent(1, &[&tracker.url()]);
    about.progress.left.store(99, Ordering::Relaxed);
    let (key, progress) = (about.key, about.progress.clone());
    handle.add(about);
    handle.start(key);
    assert_eq!(peers(&mut events).await, ["10.0.0.1:6881".parse().unwrap()]);
    until("status", || handle.status(key).first().is_some_and(|s| s.last_announce.succeeded)).await;
    let status: TrackerStatus = handle.status(key)[0].clone();
    assert_eq!(status.counts.seeders, Some(1));
    assert_eq!(status.last_announce.state, AnnounceState::Waiting);
    assert_eq!(status.last_announce_peer_count, 1);

    progress.left.store(0, Ordering::Relaxed);
    handle.completed(key);
    until("completed", || tracker.count("event=completed") == 1).await;
    handle.remove(key);
    until("stopped", || tracker.count("event=stopped") == 1).await;
    let heard = tracker.heard.lock().unwrap().clone();
    assert_eq!(heard.len(), 3);
    assert!(heard[0].starts_with("GET /announce?passkey=abc&info_hash="));
    assert!(heard[0].contains("&port=7777&uploaded=0&downloaded=0&left=99&"));
    assert!(heard[0].contains("event=started") && heard[0].contains("numwant=80"));
    assert!(heard[0].to_lowercase().contains("user-agent: ringseed/0.1.0"));
    assert!(heard[1].contains("&left=0&") && heard[2].contains("numwant=0"));
    assert_eq!(tracker.connections.load(Ordering::Relaxed), 1, "the connection is kept");
    assert!(handle.status(key).is_empty());
}

#[tokio::test]
async fn trackers_are_reached_over_ipv6() {
    let Ok(listener) = TcpListener::bind("[::1]:0").await else {
        return machine::skip("this machine has no IPv6");
    };
    let tracker = http_tracker_on(listener, |_| GOOD.to_vec());
    let udp = UdpSocket::bind("[::1]:0").await.unwrap();
    let (handle, mut events) = announcer(Config::default());
    let udp_url = format!("udp://{}", udp.local_addr().unwrap());
    let about = torrent(1, &[&format!("http://[::1]:{}/announce", tracker.port), &udp_url]);
    handle.add(about.clone());
    handle.start(about.key);
    peers(&mut events).await;
    assert_eq!(tracker.count("event=started"), 1);

    let mut packet = [0; 2048];
    let (_, from) = timeout(PATIENCE, udp.recv_from(&mut packet)).await.unwrap().unwrap();
    let connected = [&packet[8..16], &[9; 8]].concat();
    udp.send_to(&connected, from).await.unwrap();
    timeout(PATIENCE, udp.recv_from(&mut packet)).await.unwrap().unwrap();
    let counts = [0, 0, 7, 8, 0, 0, 0, 1, 0, 0, 0, 2];
    let peer = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x1a, 0xe1];
    udp.send_to(&[&packet[8..16], &counts[..], &peer].concat(), from).await.unwrap();
    assert_eq!(peers(&mut events).await, ["[2001:db8::1]:6881".parse().unwrap()]);
}

#[tokio::test]
async fn a_dead_tracker_fails_over_and_its_error_is_shown() {
    let tracker = http_tracker(GOOD).await;
    let (handle, mut events) = announcer(Config::default());
    let mut about = torrent(1, &[]);
    about.trackers = vec![vec!["http://127.0.0.1:1/announce".into(), tracker.url()]];
    handle.add(about.clone());
    handle.start(about.key);
    peers(&mut events).await;
    let dead = torrent(2, &["http://127.0.0.1:1/announce"]);
    handle.add(dead.clone());
    handle.start(dead.key);
    until("an error", || {
        handle.status(dead.key).first().is_some_and(|s| s.last_announce.result.contains("refused"))
    })
    .await;
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    static HUGE: [u8; 2 * 1024 * 1024] = [b'd'; 2 * 1024 * 1024];
    let tracker = http_tracker(&HUGE).await;
    let (handle, _events) = announcer(Config::default());
    let about = torrent(1, &[&tracker.url()]);
    handle.add(about.clone());
    handle.start(about.key);
    until("an error", || {
        handle
            .status(about.key)
            .first()
            .is_some_and(|s| s.last_announce.result.contains("too long"))
    })
    .await;
}

/// Answers connects and announces; loses the first packet of all.
async fn udp_tracker() -> (u16, Arc<Mutex<Vec<u32>>>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let heard = Arc::new(Mutex::new(vec![]));
    let events = heard.clone();
    tokio::spawn(async move {
        let mut packet = [0; 2048];
        let mut lost = false;
        while let Ok((length, from)) = socket.recv_from(&mut packet).await {
            if !std::mem::replace(&mut lost, true) {
                continue;
            }
            let answer = match packet[11] {
                0 => [&packet[8..16], &[9; 8]].concat(),
                1 => {
                    assert!(packet[..length].ends_with(b"\x02\x09/announce"));
                    events
                        .lock()
                        .unwrap()
                        .push(u32::from_be_bytes(packet[80..84].try_into().unwrap()));
                    let numbers = [0, 0, 7, 8, 0, 0, 0, 1, 0, 0, 0, 2];
                    [&packet[8..16], &numbers[..], &[10, 0, 0, 2, 0, 80]].concat()
                }
                _ => [&packet[8..16], &[0; 12]].concat(),
            };
            socket.send_to(&answer, from).await.unwrap();
        }
    });
    (port, heard)
}

#[tokio::test]
async fn a_udp_tracker_is_announced_to_though_packets_are_lost() {
    let (port, heard) = udp_tracker().await;
    let first_wait = Duration::from_millis(50);
    let (handle, mut events) =
        announcer(Config { udp_first_wait: first_wait, ..Config::default() });
    let about = torrent(1, &[&format!("udp://127.0.0.1:{port}/announce")]);
    handle.add(about.clone());
    handle.start(about.key);
    assert_eq!(peers(&mut events).await, ["10.0.0.2:80".parse().unwrap()]);
    handle.clone().shutdown(PATIENCE).await;
    assert_eq!(*heard.lock().unwrap(), [2, 3], "started, stopped");
}

#[tokio::test]
async fn five_thousand_torrents_are_spread_and_all_told_stopped_at_shutdown() {
    const COUNT: usize = 5_000;
    let tracker = http_tracker(GOOD).await;
    let pace = Pace { burst: 100, per_second: 2_000.0, in_flight: 8 };
    let (handle, mut events) = announcer(Config { pace, ..Config::default() });
    tokio::spawn(async move { while events.recv().await.is_some() {} });
    let begin = Instant::now();
    for number in 0..COUNT as u64 {
        let about = torrent(number, &[&tracker.url()]);
        handle.add(about.clone());
        handle.start(about.key);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(tracker.count("event=started") < COUNT / 2, "they did not all go at once");
    until("all started", || tracker.heard.lock().unwrap().len() >= COUNT).await;
    assert!(begin.elapsed() > Duration::from_secs_f64(2.3), "the pace was kept");
    assert_eq!(tracker.count("event=started"), COUNT);
    assert!(tracker.connections.load(Ordering::Relaxed) <= 16);
    let started = Instant::now();
    handle.shutdown(PATIENCE).await;
    eprintln!("{COUNT} stopped in {:?}", started.elapsed());
    assert_eq!(tracker.count("event=stopped"), COUNT);
}

#[tokio::test]
async fn a_shutdown_does_not_wait_long_for_dead_trackers() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let (handle, _events) = announcer(Config::default());
    let about = torrent(1, &[&format!("udp://127.0.0.1:{port}")]);
    handle.add(about.clone());
    handle.start(about.key);
    until("in flight", || {
        handle
            .status(about.key)
            .first()
            .is_some_and(|s| s.last_announce.state == AnnounceState::Active)
    })
    .await;
    let begin = Instant::now();
    handle.shutdown(Duration::from_secs(3)).await;
    assert!(begin.elapsed() < Duration::from_secs(2));
}

struct Opentracker {
    process: Child,
    port: u16,
    folder: std::path::PathBuf,
}

impl Drop for Opentracker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Debian's build serves only torrents that are listed in a file.
async fn opentracker(name: &str, served: &[InfoHash]) -> Option<Opentracker> {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let folder = std::env::temp_dir().join(format!("ringseed-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let list: String = served.iter().map(|info_hash| format!("{info_hash}\n")).collect();
    std::fs::write(folder.join("whitelist"), list).unwrap();
    let port_text = port.to_string();
    let spawned = Command::new("opentracker")
        .args(["-i", "127.0.0.1", "-p", &port_text, "-P", &port_text, "-w", "whitelist", "-d"])
        .arg(&folder)
        .current_dir(&folder)
        .spawn();
    let Ok(process) = spawned else {
        machine::skip("opentracker is missing (run scripts/setup-peers)");
        return None;
    };
    let tracker = Opentracker { process, port, folder };
    until("opentracker", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()).await;
    Some(tracker)
}

async fn two_announcers_meet_at_opentracker(scheme: &str) {
    let mut about = torrent(1, &[]);
    about.info_hash.0[10..].copy_from_slice(&[scheme.len() as u8; 10]);
    let Some(tracker) = opentracker(scheme, &[about.info_hash]).await else { return };
    let begin = Instant::now();
    about.trackers = vec![vec![format!("{scheme}://127.0.0.1:{}/announce", tracker.port)]];
    let one = |last: u8, port| {
        let source_v4 = Ipv4Addr::new(127, 0, 0, last);
        announcer(Config { source_v4, port, ..Config::default() })
    };
    let (first, _first_events) = one(2, 1002);
    first.add(about.clone());
    first.start(about.key);
    until("the first", || {
        first.status(about.key).first().is_some_and(|s| s.last_announce.succeeded)
    })
    .await;
    let (second, mut second_events) = one(3, 1003);
    second.add(TorrentAnnounce { peer_id: *b"-RS0100-mnopqrstuvwx", ..about.clone() });
    second.start(about.key);
    let met = peers(&mut second_events).await;
    assert!(met.contains(&"127.0.0.2:1002".parse().unwrap()), "{met:?}");

    first.shutdown(PATIENCE).await;
    let (third, _third_events) = one(4, 1004);
    third.add(TorrentAnnounce { peer_id: *b"-RS0100-yzyzyzyzyzyz", ..about.clone() });
    third.start(about.key);
    until("the third", || {
        third.status(about.key).first().is_some_and(|s| s.last_announce.succeeded)
    })
    .await;
    let counts = third.status(about.key)[0].counts;
    let swarm = counts.seeders.unwrap_or(0) + counts.leechers.unwrap_or(0);
    assert_eq!(swarm, 2, "the first is gone: {counts:?}");
    second.shutdown(PATIENCE).await;
    third.shutdown(PATIENCE).await;
    assert!(begin.elapsed() < Duration::from_secs(10), "no packet had to be sent again");
}

#[tokio::test]
async fn announcers_meet_over_http_until_one_stops() {
    two_announcers_meet_at_opentracker("http").await;
}

#[tokio::test]
async fn announcers_meet_over_udp_until_one_stops() {
    two_announcers_meet_at_opentracker("udp").await;
}
