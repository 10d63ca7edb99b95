//! The trackers of a torrent, whether it runs or not.
//!
//! The announcer knows those of running torrents only; clients list and edit the others' too.

use discovery::{
    TrackerStatus,
    tracker::{Counts, status::Exchange, url::TrackerUrl},
};
use engine::status::{Activity, Torrent};

/// Ids of trackers that the announcer has none for; its own count up from 0.
const FIRST_SPARE_ID: u32 = 1 << 30;

/// The torrent's own list with what the announcer knows, then, while it runs, the trackers that
/// it has by the settings.
pub(crate) fn of(torrent: &Torrent, known: &[TrackerStatus]) -> Vec<TrackerStatus> {
    let running = torrent.activity != Activity::Stopped;
    let find = |url: &str| known.iter().find(|status| &*status.announce == url);
    let own = torrent
        .trackers
        .iter()
        .zip(0..)
        .flat_map(|(urls, tier)| urls.iter().map(move |url| (url.as_str(), tier)));
    let mut list: Vec<TrackerStatus> = own
        .zip(FIRST_SPARE_ID..)
        .map(|((url, tier), spare_id)| match find(url) {
            Some(status) => TrackerStatus { tier, ..status.clone() },
            None => idle(url, tier, spare_id),
        })
        .collect();
    let is_own = |url: &str| torrent.trackers.iter().flatten().any(|own| own == url);
    list.extend(known.iter().filter(|status| running && !is_own(&status.announce)).cloned());
    list
}

fn idle(announce: &str, tier: u32, id: u32) -> TrackerStatus {
    let url = TrackerUrl::new(announce);
    TrackerStatus {
        id,
        tier,
        announce: announce.into(),
        scrape: url.scrape().cloned().unwrap_or_default(),
        host: url.host_port().into(),
        sitename: url.sitename(),
        is_backup: false,
        last_announce: Exchange::default(),
        last_announce_peer_count: 0,
        warning: None,
        last_scrape: Exchange::default(),
        counts: Counts::default(),
    }
}
