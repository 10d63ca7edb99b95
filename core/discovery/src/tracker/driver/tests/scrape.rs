//! Scrapes of several torrents at once.

use super::*;
use crate::{limits, tracker::http};

/// Enough for all announces, and for a few requests more: a scrape for each torrent would take hours.
fn with_few_permits_beside(announces: usize) -> Config {
    let pace = Pace { burst: announces as u32 + 12, per_second: 0.001, in_flight: 100 };
    Config { pace, ..Config::default() }
}

fn torrents(count: u64, tracker: &str) -> Vec<TorrentAnnounce> {
    (0..count).map(|number| torrent(number, &[tracker])).collect()
}

fn run_all(handle: &AnnouncerHandle, torrents: &[TorrentAnnounce]) {
    for about in torrents {
        handle.add(about.clone());
        handle.start(about.key);
    }
}

fn is_scraped(handle: &AnnouncerHandle, about: &TorrentAnnounce) -> bool {
    handle.status(about.key).first().is_some_and(|status| status.last_scrape.succeeded)
}

/// The info-hashes that a request names, as they are escaped in it.
fn hashes(request: &str) -> Vec<&str> {
    let query = request.split_whitespace().nth(1).unwrap().split(['?', '&']);
    query.filter_map(|part| part.strip_prefix("info_hash=")).collect()
}

fn unescaped(hash: &str) -> Vec<u8> {
    let mut bytes = hash.bytes();
    std::iter::from_fn(|| {
        let first = bytes.next()?;
        if first != b'%' {
            return Some(first);
        }
        let digits = [bytes.next()?, bytes.next()?];
        u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()
    })
    .collect()
}

const NO_COUNTS: &[u8] = b"d8:intervali1800e5:peers0:e";

/// What a tracker answers that knows the scraped torrents up to this number.
fn answer(request: &str, known: usize) -> Vec<u8> {
    if !request.starts_with("GET /scrape") {
        return NO_COUNTS.to_vec();
    }
    let mut names: Vec<Vec<u8>> = hashes(request).into_iter().map(unescaped).collect();
    names.truncate(known);
    names.sort();
    let mut body = b"d5:filesd".to_vec();
    for name in names {
        let counts = b"d8:completei1e10:downloadedi3e10:incompletei2ee";
        body.extend([&b"20:"[..], &name[..], &counts[..]].concat());
    }
    body.extend(b"ee");
    body
}

#[tokio::test]
async fn torrents_of_one_http_tracker_are_scraped_together_within_a_urls_length() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tracker = http_tracker_on(listener, |request| answer(request, usize::MAX));
    let all = torrents(120, &tracker.url());
    let (handle, _events) = announcer(with_few_permits_beside(all.len()));
    run_all(&handle, &all);
    until("all scraped", || all.iter().all(|about| is_scraped(&handle, about))).await;
    let heard = tracker.heard.lock().unwrap().clone();
    let scrapes = heard.iter().filter(|request| request.starts_with("GET /scrape?passkey=abc&"));
    let sizes: Vec<usize> = scrapes.map(|request| hashes(request).len()).collect();
    assert!(sizes.len() <= 12 && sizes.iter().all(|&n| n <= limits::SCRAPE_HTTP), "{sizes:?}");
    assert_eq!(sizes.iter().sum::<usize>(), all.len(), "each was asked for once");
    assert_eq!(handle.status(all[7].key)[0].counts.leechers, Some(2));
}

#[tokio::test]
async fn a_tracker_that_answers_for_one_torrent_only_is_asked_for_one_at_a_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tracker = http_tracker_on(listener, |request| answer(request, 1));
    let all = torrents(5, &tracker.url());
    let (handle, _events) = announcer(Config::default());
    run_all(&handle, &all);
    until("all scraped", || all.iter().all(|about| is_scraped(&handle, about))).await;
    let heard = tracker.heard.lock().unwrap().clone();
    let scrapes = heard.iter().filter(|request| request.starts_with("GET /scrape"));
    let alone = scrapes.filter(|request| hashes(request).len() == 1).count();
    assert!(alone >= 1, "{heard:?}");
}

#[tokio::test]
async fn opentracker_answers_scrapes_of_many_over_udp_and_http() {
    let mut all = torrents(100, "");
    let served: Vec<InfoHash> = all.iter().map(|about| about.info_hash).collect();
    let Some(tracker) = opentracker("scrape", &served).await else { return };
    let url = format!("udp://127.0.0.1:{}/announce", tracker.port);
    all.iter_mut().for_each(|about| about.trackers = vec![vec![url.clone()]]);
    let (handle, _events) = announcer(with_few_permits_beside(all.len()));
    run_all(&handle, &all);
    until("all scraped", || all.iter().all(|about| is_scraped(&handle, about))).await;
    for about in &all {
        let counts = handle.status(about.key)[0].counts;
        assert_eq!((counts.seeders, counts.leechers), (Some(1), Some(0)), "{:?}", about.key);
        assert!(counts.downloads.is_some());
    }

    let asked = &served[..limits::SCRAPE_HTTP];
    let url = http::scrape_url(&format!("http://127.0.0.1:{}/scrape", tracker.port), asked);
    let path = url.split_once(&tracker.port.to_string()).unwrap().1;
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", tracker.port)).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await.unwrap();
    let mut said = vec![];
    stream.read_to_end(&mut said).await.unwrap();
    let body = said.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
    let counts = http::decode_scrape(&said[body..], asked).unwrap();
    assert!(counts.iter().all(|of_one| of_one.is_some_and(|counts| counts.seeders == Some(1))));
    handle.shutdown(PATIENCE).await;
}
