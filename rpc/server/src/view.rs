//! An engine's torrent as torrent_get tells it.

use crate::{methods::unix_now, mime};
use api::{
    Base64, Wanted,
    objects::{File, FileStat, Peer, PeersFrom, Tracker, TrackerStat, WebSeed},
    torrent::TorrentView,
    tracker_list,
};
use data_encoding::HEXLOWER;
use engine::{
    settings::Settings,
    status::{Activity, Detail, Priority, Torrent, TrackerStatus, Trouble},
};
use metainfo::FileIndex;
use std::{borrow::Cow, fmt::Write, path::Path};

mod peers;

/// A torrent with what is known of it beyond the catalog.
pub(crate) struct View<'a> {
    pub(crate) torrent: &'a Torrent,
    /// The session's settings, where it goes by them.
    pub(crate) settings: &'a Settings,
    /// Its shard's answer, if it was asked.
    pub(crate) detail: Option<&'a Detail>,
    /// The folder of the copies of .torrent files.
    pub(crate) copies: &'a Path,
    /// Its trackers, if they were asked for.
    pub(crate) trackers: Vec<TrackerStatus>,
}

/// The files that clients see, in their order: padding is not among them.
pub(crate) fn visible_files(
    torrent: &Torrent,
) -> impl Iterator<Item = (FileIndex, &metainfo::File)> {
    torrent.meta.layout.files().filter(|(_, file)| !file.is_pad())
}

fn seconds(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn known(count: Option<u32>) -> i64 {
    count.map_or(-1, i64::from)
}

pub(crate) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}

impl View<'_> {
    fn priority(&self, file: FileIndex) -> Priority {
        self.torrent.file_priorities.get(file.as_usize()).copied().unwrap_or_default()
    }

    /// Bytes present of each file that clients see.
    fn progress(&self) -> Vec<u64> {
        let all = self.torrent.file_progress();
        visible_files(self.torrent).map(|(index, _)| all[index.as_usize()]).collect()
    }

    /// Seconds until the ratio goal ends seeding.
    fn eta_of_ratio(&self) -> i64 {
        let torrent = self.torrent;
        let Some(goal) = torrent.rules.ratio_goal(self.settings) else { return -1 };
        let missing = goal * torrent.size_when_done() as f64 - torrent.totals.uploaded as f64;
        match torrent.traffic.upload_rate {
            _ if missing <= 0.0 => 0,
            0 => -2,
            rate => (missing / rate as f64).ceil() as i64,
        }
    }
}

/// A skipped file has no other priority: it is normal when it is wanted again.
fn priority_number(priority: Priority) -> i32 {
    match priority {
        Priority::Low => -1,
        Priority::Skip | Priority::Normal => 0,
        Priority::High => 1,
    }
}

impl TorrentView for View<'_> {
    fn activity_date(&self) -> u64 {
        self.torrent.totals.activity_date
    }

    fn added_date(&self) -> u64 {
        self.torrent.added_date
    }

    fn availability(&self) -> Vec<i32> {
        if let Some(detail) = self.detail.filter(|detail| !detail.availability.is_empty()) {
            return detail.availability.clone();
        }
        let pieces = self.torrent.meta.layout.geometry().pieces();
        pieces.map(|piece| if self.torrent.have.has(piece) { -1 } else { 0 }).collect()
    }

    fn bandwidth_priority(&self) -> i32 {
        self.torrent.rules.priority.into()
    }

    fn bytes_completed(&self) -> Vec<u64> {
        self.progress()
    }

    fn comment(&self) -> Cow<'_, str> {
        self.torrent.meta.description.comment.as_deref().unwrap_or_default().into()
    }

    fn corrupt_ever(&self) -> u64 {
        self.torrent.totals.corrupt
    }

    fn creator(&self) -> Cow<'_, str> {
        self.torrent.meta.description.created_by.as_deref().unwrap_or_default().into()
    }

    fn date_created(&self) -> u64 {
        self.torrent.meta.description.creation_date.unwrap_or(0)
    }

    fn desired_available(&self) -> u64 {
        self.torrent.traffic.desired_available
    }

    fn done_date(&self) -> u64 {
        self.torrent.totals.done_date
    }

    fn download_dir(&self) -> Cow<'_, str> {
        // Nearly all are UTF-8, which this looks through faster.
        match self.torrent.download_dir.to_str() {
            Some(path) => path.into(),
            None => self.torrent.download_dir.to_string_lossy(),
        }
    }

    fn download_limit(&self) -> u32 {
        self.torrent.rules.download.kilobytes
    }

    fn download_limited(&self) -> bool {
        self.torrent.rules.download.enabled
    }

    fn downloaded_ever(&self) -> u64 {
        self.torrent.totals.downloaded
    }

    fn edit_date(&self) -> u64 {
        self.torrent.edit_date
    }

    fn error(&self) -> i32 {
        match self.torrent.trouble {
            None => 0,
            Some(Trouble::TrackerWarning(_)) => 1,
            Some(Trouble::TrackerError(_)) => 2,
            Some(Trouble::Local(_)) => 3,
        }
    }

    fn error_string(&self) -> Cow<'_, str> {
        match &self.torrent.trouble {
            None => "".into(),
            Some(
                Trouble::TrackerWarning(text) | Trouble::TrackerError(text) | Trouble::Local(text),
            ) => text.into(),
        }
    }

    fn eta(&self) -> i64 {
        match (self.torrent.activity, self.torrent.traffic.download_rate) {
            (Activity::Downloading, 0) => -2,
            (Activity::Downloading, rate) => seconds(self.torrent.left.div_ceil(rate)),
            (Activity::Seeding, _) => self.eta_of_ratio(),
            _ => -1,
        }
    }

    fn eta_idle(&self) -> i64 {
        let goal = self.torrent.rules.idle_goal(self.settings);
        match goal.filter(|_| self.torrent.activity == Activity::Seeding) {
            Some(goal) => seconds(goal.saturating_sub(self.torrent.idle_seconds(unix_now()))),
            None => -1,
        }
    }

    fn file_count(&self) -> usize {
        visible_files(self.torrent).count()
    }

    fn file_stats(&self) -> Vec<FileStat> {
        let files = visible_files(self.torrent).zip(self.progress());
        let stat = |((index, _), bytes_completed)| {
            let priority = self.priority(index);
            FileStat {
                bytes_completed,
                priority: priority_number(priority),
                wanted: priority != Priority::Skip,
            }
        };
        files.map(stat).collect()
    }

    fn files(&self) -> Vec<File<'_>> {
        let layout = &self.torrent.meta.layout;
        let files = visible_files(self.torrent).zip(self.progress());
        let file = |((index, file), bytes_completed): ((FileIndex, &'_ metainfo::File), u64)| {
            let pieces = layout.pieces_of(index);
            File {
                begin_piece: pieces.start,
                bytes_completed,
                end_piece: pieces.end,
                length: file.length(),
                name: file.path().as_str().to_owned().into(),
            }
        };
        files.map(file).collect()
    }

    fn group(&self) -> &str {
        &self.torrent.rules.group
    }

    fn hash_string(&self) -> String {
        HEXLOWER.encode(&self.torrent.info_hash.0)
    }

    fn have_unchecked(&self) -> u64 {
        self.torrent.traffic.unchecked
    }

    fn have_valid(&self) -> u64 {
        self.torrent.have_bytes
    }

    fn honors_session_limits(&self) -> bool {
        self.torrent.rules.honors_session_limits
    }

    fn id(&self) -> u32 {
        self.torrent.id.0
    }

    fn is_finished(&self) -> bool {
        self.torrent.finished
    }

    fn is_private(&self) -> bool {
        self.torrent.meta.private
    }

    fn is_stalled(&self) -> bool {
        self.torrent.is_stalled(self.settings, unix_now())
    }

    fn labels(&self) -> &[String] {
        &self.torrent.labels
    }

    fn left_until_done(&self) -> u64 {
        self.torrent.left
    }

    fn magnet_link(&self) -> String {
        magnet(self.torrent)
    }

    fn max_connected_peers(&self) -> u32 {
        self.torrent.peer_limit
    }

    fn name(&self) -> Cow<'_, str> {
        self.torrent.meta.layout.name().into()
    }

    fn peer_limit(&self) -> u32 {
        self.torrent.peer_limit
    }

    fn peers(&self) -> Vec<Peer<'_>> {
        self.detail.map(peers::all).unwrap_or_default()
    }

    fn peers_connected(&self) -> u32 {
        self.torrent.traffic.peers
    }

    fn peers_from(&self) -> PeersFrom {
        let [tracker, incoming, pex, dht, lpd, cache, manual] = self.torrent.traffic.peers_from;
        PeersFrom {
            from_cache: cache,
            from_dht: dht,
            from_incoming: incoming,
            from_lpd: lpd,
            // There is no word for peers that were named by hand.
            from_ltep: manual,
            from_pex: pex,
            from_tracker: tracker,
        }
    }

    fn peers_getting_from_us(&self) -> u32 {
        self.torrent.traffic.peers_getting
    }

    fn peers_sending_to_us(&self) -> u32 {
        self.torrent.traffic.peers_sending
    }

    fn percent_complete(&self) -> f64 {
        share(self.torrent.have_bytes, self.total_size())
    }

    fn percent_done(&self) -> f64 {
        share(self.torrent.have_bytes, self.torrent.size_when_done())
    }

    fn piece_count(&self) -> u32 {
        self.torrent.meta.layout.geometry().piece_count()
    }

    fn piece_size(&self) -> u32 {
        self.torrent.meta.layout.geometry().piece_length()
    }

    fn pieces(&self) -> Base64<'_> {
        Base64(self.torrent.have.as_bytes().into())
    }

    fn primary_mime_type(&self) -> Cow<'_, str> {
        let files = visible_files(self.torrent);
        mime::of_most(files.map(|(_, file)| (file.path().file_name(), file.length()))).into()
    }

    fn priorities(&self) -> Vec<i32> {
        let files = visible_files(self.torrent);
        files.map(|(index, _)| priority_number(self.priority(index))).collect()
    }

    fn queue_position(&self) -> usize {
        self.torrent.queue_position
    }

    fn rate_download(&self) -> u64 {
        self.torrent.traffic.download_rate
    }

    fn rate_upload(&self) -> u64 {
        self.torrent.traffic.upload_rate
    }

    fn recheck_progress(&self) -> f64 {
        self.torrent.verify_progress
    }

    fn seconds_downloading(&self) -> u64 {
        self.torrent.totals.seconds_downloading
    }

    fn seconds_seeding(&self) -> u64 {
        self.torrent.totals.seconds_seeding
    }

    fn seed_idle_limit(&self) -> u32 {
        self.torrent.rules.idle_limit
    }

    fn seed_idle_mode(&self) -> i32 {
        self.torrent.rules.idle_mode as i32
    }

    fn seed_ratio_limit(&self) -> f64 {
        self.torrent.rules.ratio_limit
    }

    fn seed_ratio_mode(&self) -> i32 {
        self.torrent.rules.ratio_mode as i32
    }

    fn sequential_download(&self) -> bool {
        self.torrent.sequential
    }

    fn sequential_download_from_piece(&self) -> u32 {
        self.torrent.sequential_from
    }

    fn size_when_done(&self) -> u64 {
        self.torrent.size_when_done()
    }

    fn source(&self) -> Cow<'_, str> {
        self.torrent.meta.description.source.as_deref().unwrap_or_default().into()
    }

    fn start_date(&self) -> u64 {
        self.torrent.start_date
    }

    fn status(&self) -> i32 {
        match self.torrent.activity {
            Activity::Stopped => 0,
            Activity::QueuedToVerify => 1,
            Activity::Verifying => 2,
            // There is no number for a move: it waits to go on.
            Activity::Moving if !self.torrent.running => 0,
            Activity::Moving if self.torrent.left > 0 => 3,
            Activity::Moving => 5,
            Activity::QueuedToDownload => 3,
            Activity::Downloading => 4,
            Activity::QueuedToSeed => 5,
            Activity::Seeding => 6,
        }
    }

    fn torrent_file(&self) -> Cow<'_, str> {
        let path = self.copies.join(format!("{}.torrent", self.torrent.info_hash));
        path.to_string_lossy().into_owned().into()
    }

    fn total_size(&self) -> u64 {
        self.torrent.meta.layout.geometry().total_length()
    }

    fn tracker_list(&self) -> String {
        tracker_list::write(&self.torrent.trackers)
    }

    fn tracker_stats(&self) -> Vec<TrackerStat<'_>> {
        self.trackers.iter().map(tracker_stat).collect()
    }

    fn trackers(&self) -> Vec<Tracker<'_>> {
        let tracker = |status: &'_ TrackerStatus| Tracker {
            announce: status.announce.to_string().into(),
            id: status.id,
            scrape: status.scrape.to_string().into(),
            sitename: status.sitename.to_string().into(),
            tier: status.tier,
        };
        self.trackers.iter().map(tracker).collect()
    }

    fn upload_limit(&self) -> u32 {
        self.torrent.rules.upload.kilobytes
    }

    fn upload_limited(&self) -> bool {
        self.torrent.rules.upload.enabled
    }

    fn upload_ratio(&self) -> f64 {
        match (self.torrent.totals.uploaded, self.torrent.size_when_done()) {
            (0, 0) => -1.0,
            (_, 0) => -2.0,
            (uploaded, size) => uploaded as f64 / size as f64,
        }
    }

    fn uploaded_ever(&self) -> u64 {
        self.torrent.totals.uploaded
    }

    fn wanted(&self) -> Wanted {
        let files = visible_files(self.torrent);
        Wanted(files.map(|(index, _)| self.priority(index) != Priority::Skip).collect())
    }

    fn webseeds(&self) -> &[String] {
        &self.torrent.meta.web_seeds
    }

    fn webseeds_ex(&self) -> Vec<WebSeed<'_>> {
        let web_seed = |url: &'_ String| WebSeed {
            download_bytes_per_second: 0,
            is_downloading: false,
            url: url.clone().into(),
        };
        self.torrent.meta.web_seeds.iter().map(web_seed).collect()
    }
}

fn tracker_stat(status: &TrackerStatus) -> TrackerStat<'_> {
    let (announce, scrape) = (&status.last_announce, &status.last_scrape);
    TrackerStat {
        announce: (&*status.announce).into(),
        announce_state: announce.state as i32,
        download_count: known(status.counts.downloads),
        downloader_count: known(status.counts.downloaders),
        has_announced: announce.happened,
        has_scraped: scrape.happened,
        host: (&*status.host).into(),
        id: status.id,
        is_backup: status.is_backup,
        last_announce_peer_count: status.last_announce_peer_count,
        last_announce_result: (&*announce.result).into(),
        last_announce_start_time: announce.start_time,
        last_announce_succeeded: announce.succeeded,
        last_announce_time: announce.time,
        last_announce_timed_out: announce.timed_out,
        last_scrape_result: (&*scrape.result).into(),
        last_scrape_start_time: scrape.start_time,
        last_scrape_succeeded: scrape.succeeded,
        last_scrape_time: scrape.time,
        last_scrape_timed_out: scrape.timed_out,
        leecher_count: known(status.counts.leechers),
        next_announce_time: announce.next_time,
        next_scrape_time: scrape.next_time,
        scrape: (&*status.scrape).into(),
        scrape_state: scrape.state as i32,
        seeder_count: known(status.counts.seeders),
        sitename: (&*status.sitename).into(),
        tier: status.tier,
    }
}

/// A link with the torrent's hash, name, trackers and web seeds.
pub(crate) fn magnet(torrent: &Torrent) -> String {
    let mut link = format!("magnet:?xt=urn:btih:{}", torrent.info_hash);
    let mut add = |key: &str, value: &str| {
        link.push_str(key);
        percent_encode(&mut link, value);
    };
    add("&dn=", torrent.meta.layout.name());
    torrent.trackers.iter().flatten().for_each(|url| add("&tr=", url));
    torrent.meta.web_seeds.iter().for_each(|url| add("&ws=", url));
    link
}

fn percent_encode(text: &mut String, value: &str) {
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.push(char::from(byte));
            }
            _ => {
                // Writing to memory cannot fail.
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn links_survive_being_put_into_links() {
        let mut text = String::new();
        super::percent_encode(&mut text, "udp://a b/é&x=1");
        assert_eq!(text, "udp%3A%2F%2Fa%20b%2F%C3%A9%26x%3D1");
    }
}
