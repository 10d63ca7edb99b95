//! Peers of all kinds.

use crate::support::{Client, Lie, Sample, logs, lying_seed};
use std::{
    io::Read,
    net::TcpStream,
    time::{Duration, Instant},
};

#[tokio::test]
async fn a_seed_that_sends_rubbish_is_banned_and_the_honest_one_completes() {
    logs();
    let sample = Sample::new("sample", &[1_500_000, 300_000], 65_536);
    let liar = lying_seed(&sample, Lie::Corrupt);
    let leech = Client::start(1).await;
    let id = leech.add(&sample).await;
    leech.session.add_peers(id, vec![liar]);
    leech.wait(id, "bad piece", |torrent| torrent.totals.corrupt > 0).await;
    let corrupt = leech.torrent(id).totals.corrupt;
    assert_eq!(leech.torrent(id).have_bytes, 0);
    let seed = Client::seeding(std::slice::from_ref(&sample), 1).await;
    let mut peers = seed.session.peer_addr();
    peers.push(liar);
    leech.session.add_peers(id, peers);
    leech.wait_seeding(id).await;
    sample.assert_in(&leech.data());
    // Pieces that were under way when it was convicted may still have failed.
    assert!(leech.torrent(id).totals.corrupt <= corrupt + 20 * 65_536);
    leech.session.stop().await;
    seed.session.stop().await;
}

#[tokio::test]
async fn a_seed_that_stops_within_a_block_holds_up_nobody_else() {
    logs();
    let sample = Sample::new("sample", &[600_000], 32_768);
    let halves = lying_seed(&sample, Lie::Half);
    let leech = Client::start(1).await;
    let id = leech.add(&sample).await;
    leech.session.add_peers(id, vec![halves]);
    leech.wait(id, "peer", |torrent| torrent.traffic.peers == 1).await;
    let seed = Client::seeding(std::slice::from_ref(&sample), 1).await;
    leech.session.add_peers(id, seed.session.peer_addr());
    // All but what the first one has begun.
    leech.wait(id, "most of it", |torrent| torrent.have_bytes >= 400_000).await;
    // A stop, with a block half received, forgets it; what is asked for again comes whole.
    leech.session.stop_torrents(&[id]);
    leech.wait(id, "stop", |torrent| torrent.traffic.peers == 0).await;
    leech.session.start_torrents(&[id]);
    leech.session.add_peers(id, seed.session.peer_addr());
    leech.wait_seeding(id).await;
    sample.assert_in(&leech.data());
    leech.session.stop().await;
    seed.session.stop().await;
}

#[tokio::test]
async fn peers_are_served_over_ipv6() {
    logs();
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return machine::skip("this machine has no IPv6");
    }
    let sample = Sample::new("sample", &[500_000], 65_536);
    let seed = Client::with(|settings| settings.peer_bind = "::1".into()).await;
    sample.write_to(&seed.data());
    let id = seed.add(&sample).await;
    seed.wait_seeding(id).await;
    let leech = Client::with(|settings| settings.peer_bind = "127.0.0.1,::1".into()).await;
    assert_eq!(leech.session.peer_addr().len(), 2);
    let id = leech.add(&sample).await;
    leech.session.add_peers(id, seed.session.peer_addr());
    leech.wait_seeding(id).await;
    sample.assert_in(&leech.data());
    leech.session.stop().await;
    seed.session.stop().await;
}

/// Whether the connection is still there after a moment.
fn is_open(mut stream: &TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let said = stream.read(&mut [0; 16]);
    said.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

#[tokio::test]
async fn connections_beyond_the_limit_of_the_session_are_closed_until_there_is_room() {
    logs();
    let samples = [1, 2].map(|n| Sample::new(&format!("sample {n}"), &[100_000], 65_536));
    let seed = Client::with(|settings| settings.peer_limit_global = 3).await;
    for sample in &samples {
        sample.write_to(&seed.data());
        let id = seed.add(sample).await;
        seed.wait_seeding(id).await;
    }
    let addr = seed.session.peer_addr()[0];
    let connect = || TcpStream::connect(addr).unwrap();
    let mut connections: Vec<TcpStream> = (0..6).map(|_| connect()).collect();
    let open = |connections: &[TcpStream]| connections.iter().filter(|c| is_open(c)).count();
    assert_eq!(open(&connections), 3);
    connections.retain(is_open);
    connections.pop();
    let deadline = Instant::now() + Duration::from_secs(20);
    while open(&connections) < 3 {
        assert!(Instant::now() < deadline, "nobody is let in");
        connections.push(connect());
        connections.retain(is_open);
    }
    assert_eq!(open(&[connect()]), 0);
    seed.session.stop().await;
}

#[tokio::test]
async fn idle_and_silent_connections_harm_nobody_and_silent_ones_end() {
    logs();
    let sample = Sample::new("sample", &[500_000], 65_536);
    let seed = Client::seeding(std::slice::from_ref(&sample), 2).await;
    let addr = seed.session.peer_addr()[0];
    let connections: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(addr).unwrap()).collect();
    let rubbish = b"GET / HTTP/1.1\r\n\r\n";
    for mut stream in &connections[..50] {
        std::io::Write::write_all(&mut stream, rubbish).unwrap();
    }
    for mut stream in &connections[..50] {
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let end = stream.read(&mut [0; 16]);
        assert!(
            matches!(end, Ok(0)) || end.is_err_and(|e| e.kind() != std::io::ErrorKind::WouldBlock)
        );
    }
    let leech = Client::start(1).await;
    let id = leech.add(&sample).await;
    let start = Instant::now();
    leech.session.add_peers(id, seed.session.peer_addr());
    leech.wait_seeding(id).await;
    assert!(start.elapsed() < Duration::from_secs(10));
    leech.session.stop().await;
    let start = Instant::now();
    seed.session.stop().await;
    assert!(start.elapsed() < Duration::from_secs(3));
}
