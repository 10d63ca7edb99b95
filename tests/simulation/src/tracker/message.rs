//! What is said to trackers and by them, as bytes: HTTP (BEP 3, 23, 31, 48) and UDP (BEP 15).

use anyhow::{Context, Result, ensure};
use discovery::tracker::{Counts, Event};
use metainfo::bencode::Writer;
use std::net::{IpAddr, SocketAddr};

/// What asks for a connection id begins with.
const PROTOCOL: u64 = 0x417_2710_1980;

const CONNECT: u32 = 0;
const ANNOUNCE: u32 = 1;
const SCRAPE: u32 = 2;
const ERROR: u32 = 3;

/// An announce as a tracker hears it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Heard {
    /// The torrent.
    pub info_hash: [u8; 20],
    /// Who announces it.
    pub peer_id: [u8; 20],
    /// Where it listens.
    pub port: u16,
    /// Uploaded, downloaded, left.
    pub figures: [u64; 3],
    /// Why.
    pub event: Event,
    /// Peers wanted.
    pub numwant: u32,
    /// Who announces it, whatever its address.
    pub key: u32,
    /// What the tracker gave it.
    pub tracker_id: Option<Vec<u8>>,
}

/// What somebody asks a tracker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asked {
    /// An announce.
    Announce(Heard),
    /// The counts of these torrents.
    Scrape(Vec<[u8; 20]>),
}

/// What a tracker says to an announce.
#[derive(Clone, Default, Debug)]
pub struct Said {
    /// Seconds until the next regular announce.
    pub interval: u32,
    /// Seconds in which there must be none; not over UDP.
    pub min_interval: Option<u32>,
    /// To be sent along next time; not over UDP.
    pub tracker_id: Option<Vec<u8>>,
    /// For people; not over UDP.
    pub warning: Option<&'static str>,
    /// How many there are.
    pub counts: Counts,
    /// Some of them.
    pub peers: Vec<SocketAddr>,
}

/// Reads the URL of an HTTP request.
pub fn read_url(url: &str) -> Result<Asked> {
    let (page, query) = url.split_once('?').context("a URL without a query")?;
    let fields: Vec<(&str, Vec<u8>)> = query
        .split('&')
        .filter_map(|field| field.split_once('='))
        .map(|(name, value)| Ok((name, unescape(value)?)))
        .collect::<Result<_>>()?;
    let all = |wanted: &'static str| {
        fields.iter().filter(move |(name, _)| *name == wanted).map(|(_, value)| value.as_slice())
    };
    let hashes = all("info_hash").map(|hash| Ok(hash.try_into()?));
    if page.ends_with("/scrape") {
        return Ok(Asked::Scrape(hashes.collect::<Result<_>>()?));
    }
    let one = |name: &'static str| all(name).next().with_context(|| format!("no {name}"));
    let number = |name| -> Result<u64> { Ok(std::str::from_utf8(one(name)?)?.parse()?) };
    ensure!(one("compact")? == b"1", "it cannot read compact peers");
    let event = match all("event").next() {
        None => Event::Regular,
        Some(b"started") => Event::Started,
        Some(b"stopped") => Event::Stopped,
        Some(b"completed") => Event::Completed,
        Some(other) => anyhow::bail!("the event is {other:?}"),
    };
    Ok(Asked::Announce(Heard {
        info_hash: one("info_hash")?.try_into()?,
        peer_id: one("peer_id")?.try_into()?,
        port: number("port")?.try_into()?,
        figures: [number("uploaded")?, number("downloaded")?, number("left")?],
        event,
        numwant: number("numwant")?.try_into()?,
        key: u32::from_str_radix(std::str::from_utf8(one("key")?)?, 16)?,
        tracker_id: all("trackerid").next().map(<[u8]>::to_vec),
    }))
}

fn unescape(text: &str) -> Result<Vec<u8>> {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&first, after)) = rest.split_first() {
        if first != b'%' {
            bytes.push(first);
            rest = after;
            continue;
        }
        let digits = after.get(..2).context("a cut-off escape")?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits)?, 16)?);
        rest = &after[2..];
    }
    Ok(bytes)
}

/// The body that answers an announce.
pub fn announce_body(said: &Said) -> Vec<u8> {
    let mut body = Writer::new();
    body.dict(|w| {
        let counts = &said.counts;
        let mut count = |name: &str, count: Option<u32>| {
            if let Some(count) = count {
                w.key(name).int(count.into());
            }
        };
        count("complete", counts.seeders);
        count("downloaded", counts.downloads);
        count("incomplete", counts.leechers);
        w.key("interval").int(said.interval.into());
        if let Some(min) = said.min_interval {
            w.key("min interval").int(min.into());
        }
        w.key("peers").bytes(compact(&said.peers));
        if let Some(id) = &said.tracker_id {
            w.key("tracker id").bytes(id);
        }
        if let Some(warning) = said.warning {
            w.key("warning message").bytes(warning);
        }
    });
    body.finish()
}

/// The body that says no, and perhaps when to ask again (BEP 31).
pub fn failure_body(reason: &str, retry: Option<&str>) -> Vec<u8> {
    let mut body = Writer::new();
    body.dict(|w| {
        w.key("failure reason").bytes(reason);
        if let Some(retry) = retry {
            w.key("retry in").bytes(retry);
        }
    });
    body.finish()
}

/// The body that answers a scrape.
pub fn scrape_body(counts: &[([u8; 20], Counts)]) -> Vec<u8> {
    let mut sorted = counts.to_vec();
    sorted.sort_by_key(|(info_hash, _)| *info_hash);
    let mut body = Writer::new();
    body.dict(|w| {
        w.key("files").dict(|w| {
            for (info_hash, counts) in &sorted {
                w.key(info_hash).dict(|w| {
                    w.key("complete").int(counts.seeders.unwrap_or_default().into());
                    w.key("downloaded").int(counts.downloads.unwrap_or_default().into());
                    w.key("incomplete").int(counts.leechers.unwrap_or_default().into());
                });
            }
        });
    });
    body.finish()
}

fn compact(peers: &[SocketAddr]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(peers.len() * 6);
    for peer in peers {
        if let IpAddr::V4(ip) = peer.ip() {
            bytes.extend_from_slice(&ip.octets());
            bytes.extend_from_slice(&peer.port().to_be_bytes());
        }
    }
    bytes
}

/// What a datagram to a UDP tracker asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Packet {
    /// For a connection id.
    Connect,
    /// The rest, with a connection id.
    Ask(u64, Asked),
}

/// Reads a datagram and its transaction.
pub fn read_packet(mut packet: &[u8]) -> Result<(u32, Packet)> {
    let rest = &mut packet;
    let connection = u64::from_be_bytes(take(rest)?);
    let action = u32::from_be_bytes(take(rest)?);
    let transaction = u32::from_be_bytes(take(rest)?);
    let asked = match action {
        CONNECT => {
            ensure!(connection == PROTOCOL, "a connect without the protocol's number");
            return Ok((transaction, Packet::Connect));
        }
        ANNOUNCE => Asked::Announce(read_announce(rest)?),
        SCRAPE => Asked::Scrape(rest.as_chunks::<20>().0.to_vec()),
        other => anyhow::bail!("action {other}"),
    };
    Ok((transaction, Packet::Ask(connection, asked)))
}

fn read_announce(rest: &mut &[u8]) -> Result<Heard> {
    let (info_hash, peer_id) = (take(rest)?, take(rest)?);
    let [downloaded, left, uploaded] =
        [take(rest)?, take(rest)?, take(rest)?].map(u64::from_be_bytes);
    let event = match u32::from_be_bytes(take(rest)?) {
        0 => Event::Regular,
        1 => Event::Completed,
        2 => Event::Started,
        3 => Event::Stopped,
        other => anyhow::bail!("event {other}"),
    };
    let [_, key, numwant] = [take(rest)?, take(rest)?, take(rest)?].map(u32::from_be_bytes);
    let port = u16::from_be_bytes(take(rest)?);
    let figures = [uploaded, downloaded, left];
    Ok(Heard { info_hash, peer_id, port, figures, event, numwant, key, tracker_id: None })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N]> {
    let (bytes, after) = rest.split_first_chunk().context("a packet that is cut off")?;
    *rest = after;
    Ok(*bytes)
}

fn head(action: u32, transaction: u32) -> Vec<u8> {
    [action.to_be_bytes(), transaction.to_be_bytes()].concat()
}

/// The datagram that gives a connection id.
pub fn connect_packet(transaction: u32, connection: u64) -> Vec<u8> {
    [&head(CONNECT, transaction)[..], &connection.to_be_bytes()].concat()
}

/// The datagram that answers an announce.
pub fn announce_packet(transaction: u32, said: &Said) -> Vec<u8> {
    let counts = [said.counts.leechers, said.counts.seeders].map(Option::unwrap_or_default);
    let numbers = [said.interval, counts[0], counts[1]].map(u32::to_be_bytes).concat();
    [head(ANNOUNCE, transaction), numbers, compact(&said.peers)].concat()
}

/// The datagram that answers a scrape.
pub fn scrape_packet(transaction: u32, counts: &[([u8; 20], Counts)]) -> Vec<u8> {
    let mut packet = head(SCRAPE, transaction);
    for (_, counts) in counts {
        for count in [counts.seeders, counts.downloads, counts.leechers] {
            packet.extend_from_slice(&count.unwrap_or_default().to_be_bytes());
        }
    }
    packet
}

/// The datagram that says no.
pub fn error_packet(transaction: u32, reason: &str) -> Vec<u8> {
    [&head(ERROR, transaction)[..], reason.as_bytes()].concat()
}

/// What kind of answer a datagram is, and to which transaction.
pub fn kind_of(packet: &[u8]) -> Option<(Kind, u32)> {
    let (action, rest) = packet.split_first_chunk()?;
    let transaction = u32::from_be_bytes(*rest.first_chunk()?);
    let kind = match u32::from_be_bytes(*action) {
        CONNECT if packet.len() >= 16 => Kind::Connection,
        ANNOUNCE if packet.len() >= 20 => Kind::Answer,
        ERROR => Kind::Error,
        _ => return None,
    };
    Some((kind, transaction))
}

/// The kinds of answers that change what is said next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A connection id.
    Connection,
    /// To an announce.
    Answer,
    /// No.
    Error,
}
