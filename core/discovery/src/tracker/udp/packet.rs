//! The packets of BEP 15, with the options of BEP 41.
//!
//! All numbers are big-endian. Requests carry a connection id, answers echo the transaction id;
//! an answer shorter than its kind needs is not an answer.

use crate::{
    limits,
    tracker::{
        Announce, AnnounceReply, Counts, Event, clean_peers, compact_v4, compact_v6, printable,
    },
};
use metainfo::InfoHash;
use std::time::Duration;

const PROTOCOL: u64 = 0x417_2710_1980;
const CONNECT: u32 = 0;
const ANNOUNCE: u32 = 1;
const SCRAPE: u32 = 2;
const ERROR: u32 = 3;
const OPTION_URL_DATA: u8 = 2;

/// Asks for a connection id.
pub fn connect(transaction: u32) -> Vec<u8> {
    header(PROTOCOL, CONNECT, transaction)
}

/// Announces; `url_data` (path and query of the tracker's URL) follows as options.
pub fn announce(connection: u64, transaction: u32, say: &Announce, url_data: &str) -> Vec<u8> {
    let mut packet = header(connection, ANNOUNCE, transaction);
    packet.extend_from_slice(&say.info_hash.0);
    packet.extend_from_slice(&say.peer_id);
    for count in [say.downloaded, say.left, say.uploaded] {
        // Signed on the wire: trackers take the upper half for negative.
        packet.extend_from_slice(&count.min(i64::MAX as u64).to_be_bytes());
    }
    let event: u32 = match say.event {
        Event::Regular => 0,
        Event::Completed => 1,
        Event::Started => 2,
        Event::Stopped => 3,
    };
    packet.extend_from_slice(&event.to_be_bytes());
    packet.extend_from_slice(&[0; 4]); // our address: the one we send from
    packet.extend_from_slice(&say.key.to_be_bytes());
    packet.extend_from_slice(&say.numwant.to_be_bytes());
    packet.extend_from_slice(&say.port.to_be_bytes());
    for part in url_data.as_bytes().chunks(255) {
        packet.extend_from_slice(&[OPTION_URL_DATA, part.len() as u8]);
        packet.extend_from_slice(part);
    }
    packet
}

/// Asks for the counts of these torrents.
pub fn scrape(connection: u64, transaction: u32, info_hashes: &[InfoHash]) -> Vec<u8> {
    let mut packet = header(connection, SCRAPE, transaction);
    packet.extend(info_hashes.iter().flat_map(|info_hash| info_hash.0));
    packet
}

fn header(connection: u64, action: u32, transaction: u32) -> Vec<u8> {
    let mut packet = Vec::with_capacity(128);
    packet.extend_from_slice(&connection.to_be_bytes());
    packet.extend_from_slice(&action.to_be_bytes());
    packet.extend_from_slice(&transaction.to_be_bytes());
    packet
}

/// A tracker's answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The connection id asked for.
    Connect(u64),
    /// To an announce.
    Announce(AnnounceReply),
    /// To a scrape: of each torrent in its order, as far as they come.
    Scrape(Vec<Counts>),
    /// To any of them: no, and why.
    Error(String),
}

/// Reads an answer and the transaction it belongs to. Peers are of the family that the packet came
/// by. `None` if it is none.
pub fn decode(packet: &[u8], over_ipv6: bool) -> Option<(u32, Answer)> {
    let mut rest = packet;
    let action = take_u32(&mut rest)?;
    let transaction = take_u32(&mut rest)?;
    let answer = match action {
        CONNECT => Answer::Connect(u64::from_be_bytes(*rest.first_chunk()?)),
        ANNOUNCE => Answer::Announce(announce_reply(rest, over_ipv6)?),
        SCRAPE => {
            let torrents = rest.as_chunks::<12>().0.iter().filter_map(|of_one| counts(of_one));
            let counts: Vec<Counts> = torrents.take(limits::SCRAPE_UDP).collect();
            Answer::Scrape(Some(counts).filter(|counts| !counts.is_empty())?)
        }
        ERROR => Answer::Error(printable(rest)),
        _ => return None,
    };
    Some((transaction, answer))
}

fn counts(mut of_one: &[u8]) -> Option<Counts> {
    let seeders = Some(take_u32(&mut of_one)?);
    let downloads = Some(take_u32(&mut of_one)?);
    let leechers = Some(take_u32(&mut of_one)?);
    Some(Counts { seeders, leechers, downloads, downloaders: None })
}

fn announce_reply(mut rest: &[u8], over_ipv6: bool) -> Option<AnnounceReply> {
    let interval = take_u32(&mut rest)?;
    let leechers = Some(take_u32(&mut rest)?);
    let seeders = Some(take_u32(&mut rest)?);
    let peers =
        if over_ipv6 { clean_peers(compact_v6(rest)) } else { clean_peers(compact_v4(rest)) };
    Some(AnnounceReply {
        interval: (interval > 0).then(|| Duration::from_secs(interval.into())),
        counts: Counts { seeders, leechers, ..Counts::default() },
        peers,
        ..AnnounceReply::default()
    })
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    let (number, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(u32::from_be_bytes(*number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn say() -> Announce {
        Announce {
            info_hash: InfoHash([0xaa; 20]),
            peer_id: [0xbb; 20],
            port: 0x1ae1,
            uploaded: 3,
            downloaded: 1,
            left: u64::MAX,
            event: Event::Started,
            numwant: 80,
            key: 0x01020304,
            tracker_id: None,
        }
    }

    #[test]
    fn the_packets_are_byte_for_byte_those_of_bep_15() {
        assert_eq!(connect(7), [0, 0, 4, 0x17, 0x27, 0x10, 0x19, 0x80, 0, 0, 0, 0, 0, 0, 0, 7]);
        let mut expected = vec![0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 7];
        expected.extend([0xaa; 20]);
        expected.extend([0xbb; 20]);
        expected.extend([0, 0, 0, 0, 0, 0, 0, 1]);
        expected.extend([0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        expected.extend([0, 0, 0, 0, 0, 0, 0, 3]);
        expected.extend([0, 0, 0, 2, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 80, 0x1a, 0xe1]);
        assert_eq!(expected.len(), 98);
        assert_eq!(announce(9, 7, &say(), ""), expected);
        expected.extend([2, 2, b'/', b'a']);
        assert_eq!(announce(9, 7, &say(), "/a"), expected);
    }

    #[test]
    fn url_data_longer_than_an_option_goes_in_several() {
        let packet = announce(9, 7, &say(), &"x".repeat(300));
        assert_eq!(packet.len(), 98 + 2 + 255 + 2 + 45);
        assert_eq!(packet[98..100], [2, 255]);
        assert_eq!(packet[98 + 257..98 + 259], [2, 45]);
    }

    #[test]
    fn answers_are_read() {
        let mut packet = vec![0, 0, 0, 1, 0, 0, 0, 7, 0, 0, 7, 8, 0, 0, 0, 2, 0, 0, 0, 3];
        packet.extend([10, 0, 0, 1, 0x1a, 0xe1, 10, 0]);
        let (transaction, Answer::Announce(reply)) = decode(&packet, false).unwrap() else {
            panic!("not an announce")
        };
        assert_eq!(transaction, 7);
        assert_eq!(reply.interval, Some(Duration::from_secs(1800)));
        assert_eq!((reply.counts.leechers, reply.counts.seeders), (Some(2), Some(3)));
        assert_eq!(reply.peers, ["10.0.0.1:6881".parse().unwrap()]);

        let error = [&[0, 0, 0, 3, 0, 0, 0, 7][..], b"no such torrent"].concat();
        assert_eq!(decode(&error, false), Some((7, Answer::Error("no such torrent".into()))));
    }

    #[test]
    fn a_scrape_holds_as_many_torrents_as_fit_and_its_answer_their_counts() {
        let packet = scrape(9, 7, &[InfoHash([1; 20]), InfoHash([2; 20])]);
        assert_eq!(packet[..16], [0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 2, 0, 0, 0, 7]);
        assert_eq!(packet[16..], [[1; 20], [2; 20]].concat());
        assert!(scrape(9, 7, &[InfoHash([1; 20]); limits::SCRAPE_UDP]).len() <= 1472, "one packet");

        let one = [0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
        let answer = [&[0, 0, 0, 2, 0, 0, 0, 7][..], &one, &one, &one[..8]].concat();
        let Some((7, Answer::Scrape(counts))) = decode(&answer, false) else { panic!() };
        let told =
            Counts { seeders: Some(1), downloads: Some(2), leechers: Some(3), ..Counts::default() };
        assert_eq!(counts, [told, told]);
    }

    #[test]
    fn an_answer_over_ipv6_holds_ipv6_peers() {
        let mut packet = vec![0, 0, 0, 1, 0, 0, 0, 7, 0, 0, 7, 8, 0, 0, 0, 2, 0, 0, 0, 3];
        packet.extend(std::net::Ipv6Addr::LOCALHOST.octets());
        packet.extend([0x1a, 0xe1]);
        let Some((_, Answer::Announce(reply))) = decode(&packet, true) else { panic!() };
        assert_eq!(reply.peers, ["[::1]:6881".parse().unwrap()]);
    }

    proptest! {
        #[test]
        fn any_packet_is_read_or_left(
            action in 0u8..6, rest in prop::collection::vec(any::<u8>(), 0..200), v6: bool,
        ) {
            let packet = [&[0, 0, 0, action][..], &rest].concat();
            decode(&packet, v6);
            decode(&rest, v6);
        }
    }
}
