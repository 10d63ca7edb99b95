//! HTTP trackers: the URLs we ask for and the answers we get (BEP 3, 7, 21, 23, 31, 48).

use super::{
    Announce, AnnounceReply, Counts, Event, Retry, TrackerError, clean_peers, compact_v4,
    compact_v6, printable,
};
use crate::limits;
use metainfo::{
    InfoHash,
    bencode::{Document, Limits, Node},
};
use std::{
    fmt::Write,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

/// The URL of an announce. What `tracker` has as a query stays in front, as it was given.
pub fn announce_url(tracker: &url::Url, say: &Announce) -> String {
    let mut query = String::with_capacity(256);
    query.push_str("info_hash=");
    escape(&mut query, &say.info_hash.0);
    query.push_str("&peer_id=");
    escape(&mut query, &say.peer_id);
    // Writing to a string cannot fail.
    let _ = write!(
        query,
        "&port={}&uploaded={}&downloaded={}&left={}&key={:08X}&numwant={}&compact=1\
         &no_peer_id=1",
        say.port, say.uploaded, say.downloaded, say.left, say.key, say.numwant
    );
    match say.event {
        Event::Regular => {}
        Event::Started => query.push_str("&event=started"),
        Event::Stopped => query.push_str("&event=stopped"),
        Event::Completed => query.push_str("&event=completed"),
    }
    if let Some(id) = &say.tracker_id {
        query.push_str("&trackerid=");
        escape(&mut query, id);
    }
    with_query(tracker.as_str(), &query)
}

/// The URL of a scrape of these torrents (BEP 48); `scrape` is from
/// [`super::url::TrackerUrl::scrape`].
pub fn scrape_url(scrape: &str, info_hashes: &[InfoHash]) -> String {
    let mut query = String::with_capacity(info_hashes.len() * 72);
    for info_hash in info_hashes {
        let joint = if query.is_empty() { "" } else { "&" };
        query.push_str(joint);
        query.push_str("info_hash=");
        escape(&mut query, &info_hash.0);
    }
    with_query(scrape, &query)
}

fn with_query(url: &str, query: &str) -> String {
    let joint = match url.split_once('?') {
        None => "?",
        Some((_, "")) => "",
        Some((_, given)) if given.ends_with('&') => "",
        Some(_) => "&",
    };
    format!("{url}{joint}{query}")
}

/// Everything but RFC 3986's unreserved characters as `%XX`: some trackers compare these bytes
/// before decoding them, and this is the form that they expect.
fn escape(into: &mut String, bytes: &[u8]) {
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            into.push(byte.into());
        } else {
            let _ = write!(into, "%{byte:02X}");
        }
    }
}

/// Reads the answer to an announce.
///
/// # Errors
/// [`TrackerError::Refused`] if it gives a failure reason, [`TrackerError::Malformed`] if it is not
/// a bencoded dictionary. Single fields that make no sense count as absent.
pub fn decode_announce(body: &[u8]) -> Result<AnnounceReply, TrackerError> {
    let (document, _) = scan(body)?;
    let answer = answer(&document)?;
    let peers = peers(answer.get("peers")).chain(peers6(answer.get("peers6")));
    Ok(AnnounceReply {
        interval: seconds(answer, "interval"),
        min_interval: seconds(answer, "min interval"),
        tracker_id: answer
            .get_bytes("tracker id")
            .filter(|id| !id.is_empty() && id.len() <= limits::TRACKER_ID)
            .map(Into::into),
        warning: answer
            .get_bytes("warning message")
            .map(printable)
            .filter(|warning| !warning.is_empty()),
        counts: counts(answer),
        peers: clean_peers(peers),
    })
}

/// Reads the answer to a scrape: what it says of each of these torrents, `None` where it says nothing.
///
/// # Errors
/// As [`decode_announce`].
pub fn decode_scrape(
    body: &[u8],
    info_hashes: &[InfoHash],
) -> Result<Vec<Option<Counts>>, TrackerError> {
    let (document, _) = scan(body)?;
    let files = answer(&document)?
        .get("files")
        .and_then(Node::as_dict)
        .ok_or(TrackerError::Malformed("a scrape without files"))?;
    let mut counts = vec![None; info_hashes.len()];
    for (key, torrent) in files {
        if let Some(at) = info_hashes.iter().position(|info_hash| *key == info_hash.0) {
            counts[at] = Some(self::counts(torrent));
        }
    }
    Ok(counts)
}

fn counts(from: Node<'_>) -> Counts {
    Counts {
        seeders: count(from, "complete"),
        leechers: count(from, "incomplete"),
        downloads: count(from, "downloaded"),
        downloaders: count(from, "downloaders"),
    }
}

/// Bytes after the dictionary are let pass: some trackers end with a line feed.
fn scan(body: &[u8]) -> Result<(Document<'_>, usize), TrackerError> {
    let allowed =
        Limits { bytes: limits::HTTP_BODY, depth: limits::BENCODE_DEPTH, ..Limits::MESSAGE };
    let start = body.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    Document::scan_prefix(&body[start..], &allowed)
        .map_err(|_| TrackerError::Malformed("it is not bencoded"))
}

fn answer<'a>(document: &'a Document<'_>) -> Result<Node<'a>, TrackerError> {
    let answer = document.root();
    if !answer.is_dict() {
        return Err(TrackerError::Malformed("it is not a dictionary"));
    }
    match answer.get_bytes("failure reason") {
        Some(reason) => {
            Err(TrackerError::Refused { reason: printable(reason), retry: retry(answer) })
        }
        None => Ok(answer),
    }
}

/// BEP 31: minutes, or `never`.
fn retry(answer: Node<'_>) -> Retry {
    let Some(said) = answer.get("retry in") else { return Retry::Unsaid };
    let text = said.as_bytes().and_then(|text| std::str::from_utf8(text).ok()).map(str::trim);
    if text == Some("never") {
        return Retry::Never;
    }
    let minutes = said.as_int().or_else(|| text?.parse().ok());
    match minutes.and_then(|minutes| u64::try_from(minutes).ok()) {
        Some(minutes) => {
            let wait = Duration::from_secs(minutes.saturating_mul(60));
            Retry::After(wait.min(limits::INTERVAL_MAX))
        }
        None => Retry::Unsaid,
    }
}

/// Seconds above zero, at most a day.
fn seconds(answer: Node<'_>, key: &str) -> Option<Duration> {
    let seconds = u64::try_from(number(answer, key)?).ok().filter(|&seconds| seconds > 0)?;
    Some(Duration::from_secs(seconds).min(limits::INTERVAL_MAX))
}

fn count(answer: Node<'_>, key: &str) -> Option<u32> {
    u32::try_from(number(answer, key)?).ok()
}

/// Some trackers send numbers as text.
fn number(answer: Node<'_>, key: &str) -> Option<i64> {
    let value = answer.get(key)?;
    value.as_int().or_else(|| std::str::from_utf8(value.as_bytes()?).ok()?.trim().parse().ok())
}

/// Either form of `peers`: one string (BEP 23) or a list of dictionaries (BEP 3).
fn peers(peers: Option<Node<'_>>) -> impl Iterator<Item = SocketAddr> {
    let compact = peers.and_then(Node::as_bytes).unwrap_or_default();
    let long = peers.and_then(Node::as_list).into_iter().flatten();
    compact_v4(compact).chain(long.filter_map(long_peer))
}

/// `peers6` (BEP 7); a list is not in the standard, but sent.
fn peers6(peers: Option<Node<'_>>) -> impl Iterator<Item = SocketAddr> {
    let compact = peers.and_then(Node::as_bytes).unwrap_or_default();
    let long = peers.and_then(Node::as_list).into_iter().flatten();
    compact_v6(compact).chain(long.filter_map(long_peer))
}

/// A peer as a dictionary. `ip` may be a host's name by the standard; none is looked up, as a
/// tracker could make us ask for anything.
fn long_peer(peer: Node<'_>) -> Option<SocketAddr> {
    let ip: IpAddr = std::str::from_utf8(peer.get_bytes("ip")?).ok()?.trim().parse().ok()?;
    Some(SocketAddr::new(ip, u16::try_from(number(peer, "port")?).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracker::url::TrackerUrl;
    use metainfo::bencode::Writer;
    use proptest::prelude::*;

    fn say(event: Event) -> Announce {
        let mut info_hash = [0; 20];
        info_hash.copy_from_slice(
            b"\x12\x34\x56\x78\x9a\xbc\xde\xf1\x23\x45\x67\x89\xab\xcd\xef\x12\x34\x56\x78\x9a",
        );
        Announce {
            info_hash: InfoHash(info_hash),
            peer_id: *b"-RS0100-abc123!~._ &",
            port: 6881,
            uploaded: 1,
            downloaded: 2,
            left: 3,
            event,
            numwant: 80,
            key: 0xbeef,
            tracker_id: None,
        }
    }

    fn url(tracker: &str, say: &Announce) -> String {
        announce_url(TrackerUrl::new(tracker).url().unwrap(), say)
    }

    #[test]
    fn hash_and_peer_id_are_escaped_byte_by_byte() {
        assert_eq!(
            url("http://a.b/announce", &say(Event::Started)),
            "http://a.b/announce?info_hash=%124Vx%9A%BC%DE%F1%23Eg%89%AB%CD%EF%124Vx%9A\
             &peer_id=-RS0100-abc123%21~._%20%26&port=6881&uploaded=1&downloaded=2&left=3\
             &key=0000BEEF&numwant=80&compact=1&no_peer_id=1&event=started"
        );
    }

    #[test]
    fn the_trackers_own_query_stays_as_it_was() {
        for (tracker, begin) in [
            ("http://a.b/announce?passkey=aB%2f%20c", "http://a.b/announce?passkey=aB%2f%20c&info"),
            ("http://a.b/announce?", "http://a.b/announce?info"),
            ("http://a.b/announce?x=1&", "http://a.b/announce?x=1&info"),
            ("http://a.b/x/announce#top", "http://a.b/x/announce?info"),
        ] {
            assert!(url(tracker, &say(Event::Regular)).starts_with(begin), "{tracker}");
        }
    }

    #[test]
    fn a_tracker_id_is_sent_back_escaped() {
        let with_id = Announce { tracker_id: Some(b"a&b"[..].into()), ..say(Event::Regular) };
        assert!(url("http://a.b/announce", &with_id).ends_with("&trackerid=a%26b"));
    }

    #[test]
    fn every_field_of_an_answer_is_read() {
        let mut body = Writer::new();
        body.dict(|w| {
            w.key("complete").int(4);
            w.key("downloaded").int(9);
            w.key("downloaders").int(2);
            w.key("incomplete").int(5);
            w.key("interval").int(1800);
            w.key("min interval").int(900);
            w.key("peers").bytes(b"\x0a\0\0\x01\x1a\xe1");
            w.key("peers6").bytes(b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x1a\xe1");
            w.key("tracker id").bytes("id");
            w.key("warning message").bytes("slow\ndown");
        });
        let expected = AnnounceReply {
            interval: Some(Duration::from_secs(1800)),
            min_interval: Some(Duration::from_secs(900)),
            tracker_id: Some(b"id"[..].into()),
            warning: Some("slow down".into()),
            counts: Counts {
                seeders: Some(4),
                leechers: Some(5),
                downloads: Some(9),
                downloaders: Some(2),
            },
            peers: vec!["10.0.0.1:6881".parse().unwrap(), "[2001:db8::1]:6881".parse().unwrap()],
        };
        assert_eq!(decode_announce(&body.finish()), Ok(expected));
    }

    #[test]
    fn peers_as_dictionaries_are_read_and_names_left_out() {
        let body = b"d8:intervali60e5:peersld2:ip8:10.0.0.14:porti6881eed2:ip3:::14:porti1ee\
                     d2:ip9:localhost4:porti1eed2:ip8:10.0.0.24:porti70000eeee";
        let peers = decode_announce(body).unwrap().peers;
        assert_eq!(peers, ["10.0.0.1:6881".parse().unwrap(), "[::1]:1".parse().unwrap()]);
    }

    #[test]
    fn a_failure_is_in_the_trackers_words_with_its_wish_for_later() {
        let refused = |body: &[u8]| match decode_announce(body) {
            Err(TrackerError::Refused { reason, retry }) => (reason, retry),
            other => panic!("{other:?}"),
        };
        assert_eq!(refused(b"d14:failure reason2:noe"), ("no".into(), Retry::Unsaid));
        assert_eq!(refused(b"d14:failure reason2:no8:retry in5:nevere").1, Retry::Never);
        let ten = Retry::After(Duration::from_secs(600));
        assert_eq!(refused(b"d14:failure reason2:no8:retry in2:10e").1, ten);
        assert_eq!(refused(b"d14:failure reason2:no8:retry ini10ee").1, ten);
        assert_eq!(refused(b"d14:failure reason2:no8:retry ini-1ee").1, Retry::Unsaid);
    }

    #[test]
    fn odd_answers_are_read_as_far_as_they_make_sense() {
        let reply = decode_announce(b"d8:completei-1e8:intervali-5e5:peers3:abce\r\n").unwrap();
        assert_eq!(reply, AnnounceReply::default());
        let reply = decode_announce(b"d8:interval4:1800e").unwrap();
        assert_eq!(reply.interval, Some(Duration::from_secs(1800)));
        for bad in [&b"<html>"[..], b"", b"le", b"i1e", b"d8:interval"] {
            assert!(matches!(decode_announce(bad), Err(TrackerError::Malformed(_))));
        }
        let deep = [vec![b'l'; 100_000], vec![b'e'; 100_000]].concat();
        assert!(matches!(decode_announce(&deep), Err(TrackerError::Malformed(_))));
    }

    #[test]
    fn a_scrape_is_read_for_its_torrents_only() {
        let body = b"d5:filesd20:aaaaaaaaaaaaaaaaaaaad8:completei1e10:downloadedi2e\
                     10:incompletei3eeee";
        let asked = [InfoHash([0; 20]), InfoHash(*b"aaaaaaaaaaaaaaaaaaaa")];
        let counts = decode_scrape(body, &asked).unwrap();
        let told =
            Counts { seeders: Some(1), downloads: Some(2), leechers: Some(3), ..Counts::default() };
        assert_eq!(counts, [None, Some(told)]);
    }

    #[test]
    fn a_scrape_names_each_torrent_and_stays_within_what_servers_take() {
        let two = scrape_url("http://a.b/scrape?k=v", &[InfoHash(*b"aaaaaaaaaaaaaaaaaaaa"); 2]);
        let hash = "info_hash=aaaaaaaaaaaaaaaaaaaa";
        assert_eq!(two, format!("http://a.b/scrape?k=v&{hash}&{hash}"));
        let longest = "x".repeat(limits::URL);
        let url = scrape_url(&longest, &[InfoHash([0xff; 20]); limits::SCRAPE_HTTP]);
        assert!(url.len() < 8000, "{} bytes", url.len());
    }

    proptest! {
        #[test]
        fn any_body_is_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode_announce(&body);
            let _ = decode_scrape(&body, &[InfoHash([0; 20])]);
        }

        #[test]
        fn any_peers_in_a_good_answer_are_bounded(
            bytes in prop::collection::vec(any::<u8>(), 0..30_000),
        ) {
            let mut body = Writer::new();
            body.dict(|w| {
                w.key("peers").bytes(&bytes);
                w.key("peers6").bytes(&bytes);
            });
            let reply = decode_announce(&body.finish()).unwrap();
            prop_assert!(reply.peers.len() <= limits::PEERS_PER_REPLY);
        }

        #[test]
        fn escaping_can_be_undone(bytes: [u8; 20]) {
            let mut escaped = String::new();
            escape(&mut escaped, &bytes);
            let mut plain = vec![];
            let mut rest = escaped.as_bytes();
            while let Some((&first, after)) = rest.split_first() {
                if first == b'%' {
                    let digits = std::str::from_utf8(&after[..2]).unwrap();
                    plain.push(u8::from_str_radix(digits, 16).unwrap());
                    rest = &after[2..];
                } else {
                    plain.push(first);
                    rest = after;
                }
            }
            prop_assert_eq!(plain, bytes);
        }
    }
}
