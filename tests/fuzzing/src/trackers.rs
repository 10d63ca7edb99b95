//! What trackers answer.

use discovery::limits;
use discovery::tracker::http::{decode_announce, decode_scrape};
use discovery::tracker::udp::{Ask, UdpTrackers};
use discovery::tracker::url::TrackerUrl;
use discovery::tracker::{Announce, AnnounceReply, Event, TrackerError};
use metainfo::InfoHash;
use metainfo::bencode::Writer;
use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

const INFO_HASH: InfoHash = InfoHash(*b"an info-hash, really");

/// The answers to an announce and to a scrape.
pub fn http(bytes: &[u8]) {
    match decode_announce(bytes) {
        Ok(reply) => check_reply(&reply),
        Err(error) => check_error(&error),
    }
    match decode_scrape(bytes, &[INFO_HASH; 3]) {
        Ok(counts) => assert_eq!(counts.len(), 3),
        Err(error) => check_error(&error),
    }
}

fn check_reply(reply: &AnnounceReply) {
    for time in [reply.interval, reply.min_interval].into_iter().flatten() {
        assert!(time > Duration::ZERO && time <= limits::INTERVAL_MAX);
    }
    assert!(reply.tracker_id.as_ref().is_none_or(|id| id.len() <= limits::TRACKER_ID));
    reply.warning.as_deref().into_iter().for_each(check_text);
    check_peers(&reply.peers);
}

fn check_peers(peers: &[SocketAddr]) {
    assert!(peers.len() <= limits::PEERS_PER_REPLY);
    assert!(peers.is_sorted_by(|a, b| a < b), "sorted, and each once");
    for peer in peers {
        assert!(peer.port() != 0 && !peer.ip().is_unspecified() && !peer.ip().is_multicast());
        assert_eq!(peer.ip(), peer.ip().to_canonical());
    }
}

fn check_error(error: &TrackerError) {
    if let TrackerError::Refused { reason, .. } = error {
        check_text(reason);
    }
}

fn check_text(text: &str) {
    assert!(!text.chars().any(char::is_control), "{text:?}");
    // Each byte that is no UTF-8 becomes a character of three.
    assert!(text.len() <= 3 * limits::TEXT);
}

/// The bytes as peers in the compact form, of both families: all that can be connected to are found,
/// up to the limit, and no others.
pub fn compact_peers(bytes: &[u8]) {
    let mut answer = Writer::new();
    answer.dict(|w| {
        w.key("peers").bytes(bytes);
        w.key("peers6").bytes(bytes);
    });
    let reply = decode_announce(&answer.finish());
    let Ok(reply) = reply else {
        assert!(bytes.len() > limits::HTTP_BODY / 2 - 64, "compact peers are refused");
        return;
    };
    check_peers(&reply.peers);
    let four = bytes.chunks_exact(6).map(|peer| {
        let ip = Ipv4Addr::new(peer[0], peer[1], peer[2], peer[3]);
        SocketAddr::new(ip.into(), u16::from_be_bytes([peer[4], peer[5]]))
    });
    let six = bytes.chunks_exact(18).map(|peer| {
        let mut ip = [0; 16];
        ip.copy_from_slice(&peer[..16]);
        let ip = Ipv6Addr::from(ip).to_canonical();
        SocketAddr::new(ip, u16::from_be_bytes([peer[16], peer[17]]))
    });
    let all: Vec<SocketAddr> = four.chain(six).collect();
    assert!(reply.peers.iter().all(|peer| all.contains(peer)));
    if all.len() <= limits::PEERS_PER_REPLY {
        let found = |peer: &SocketAddr| {
            peer.port() == 0
                || peer.ip().is_unspecified()
                || peer.ip().is_multicast()
                || peer.ip() == Ipv4Addr::BROADCAST
                || reply.peers.contains(peer)
        };
        assert!(all.iter().all(found), "a peer was lost");
    }
}

/// A conversation. Each step is a byte that says what happens: a request, time that passes, a packet
/// whose length and bytes follow, taken as they are or with the transaction of the last packet sent.
/// In the end every request has been answered once.
pub fn udp(mut bytes: &[u8]) {
    let mut trackers = UdpTrackers::new(Duration::from_secs(15), 7);
    let mut now = Duration::from_secs(1);
    let mut answered: HashMap<u64, u32> = HashMap::new();
    let mut last = Vec::new();
    let mut asked = 0;
    while let Some(step) = take(&mut bytes) {
        let to = endpoint(step);
        match step & 3 {
            0 if asked < 64 => {
                let several = Ask::Scrape([INFO_HASH; 3].into());
                let ask = if step & 4 == 0 { announce() } else { several };
                trackers.ask(now, to, asked, ask);
                asked += 1;
            }
            1 => {
                now += Duration::from_secs(u64::from(step >> 2));
                trackers.handle_timeout(now);
            }
            2 => {
                let length = usize::from(take(&mut bytes).unwrap_or(0)).min(bytes.len());
                let (packet, rest) = bytes.split_at(length);
                bytes = rest;
                trackers.receive(now, to, &with_transaction(packet, &last));
            }
            _ => trackers.unreachable(to, "gone"),
        }
        while let Some(transmit) = trackers.poll_transmit() {
            assert!(transmit.packet.len() >= 16);
            last = transmit.packet;
        }
        collect(&mut trackers, &mut answered);
    }
    while let Some(next) = trackers.next_timeout() {
        assert!(next > now, "time stands still");
        now = next;
        trackers.handle_timeout(now);
        while trackers.poll_transmit().is_some() {}
        collect(&mut trackers, &mut answered);
    }
    for token in 0..asked {
        assert_eq!(answered.get(&token), Some(&1), "request {token}");
    }
}

fn take(bytes: &mut &[u8]) -> Option<u8> {
    let (&first, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(first)
}

/// One of four, of both families.
fn endpoint(step: u8) -> SocketAddr {
    match step >> 6 {
        0 => SocketAddr::from(([192, 0, 2, 1], 80)),
        1 => SocketAddr::from(([192, 0, 2, 1], 81)),
        2 => SocketAddr::from((Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 80)),
        _ => SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped(), 80)),
    }
}

fn announce() -> Ask {
    let announce = Announce {
        info_hash: INFO_HASH,
        peer_id: *b"-RS0100-abcdefghijkl",
        port: 6881,
        uploaded: 0,
        downloaded: 0,
        left: 1,
        event: Event::Started,
        numwant: 80,
        key: 1,
        tracker_id: None,
    };
    Ask::Announce(Box::new(announce), "/announce?x".into())
}

/// The packet, with the transaction id of a request in place of its own where its action is odd in
/// the highest bit, which no action is.
fn with_transaction(packet: &[u8], request: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    if let (Some(first), Some(transaction)) = (packet.first().copied(), request.get(12..16))
        && first & 0x80 != 0
        && packet.len() >= 8
    {
        packet[0] &= 0x7f;
        packet[4..8].copy_from_slice(transaction);
    }
    packet
}

fn collect(trackers: &mut UdpTrackers, answered: &mut HashMap<u64, u32>) {
    while let Some((token, _)) = trackers.poll_reply() {
        *answered.entry(token).or_default() += 1;
    }
}

/// Any text can be a tracker; what can be announced to has a host and a port.
pub fn url(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let url = TrackerUrl::new(&text);
    assert_eq!(&**url.announce(), &*text);
    assert_eq!(url.scheme().is_ok(), url.url().is_some());
    assert_eq!(url.scheme().is_ok(), url.port() != 0);
    assert!(url.url().is_some() || url.host_port().is_empty());
    if let (Some(parsed), Some(scrape)) = (url.url(), url.scrape()) {
        assert!(TrackerUrl::new(scrape).host() == url.host(), "{parsed}: {scrape}");
    }
    let _ = (url.sitename(), url.url_data());
}
