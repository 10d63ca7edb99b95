//! The objects inside answers: files, peers, trackers, counters. One table for both dialects each.

use crate::{Base64, Name, ToJson, Writer};
use std::borrow::Cow;

macro_rules! objects {
    ($(
        $(#[$about:meta])*
        struct $object:ident $(<$lifetime:lifetime>)? {
            $( $(#[$doc:meta])+ $field:ident $legacy:literal: $type:ty, )*
        }
    )*) => {$(
        $(#[$about])*
        #[derive(Clone, PartialEq, Debug, Default)]
        pub struct $object $(<$lifetime>)? {
            $( $(#[$doc])+ pub $field: $type, )*
        }

        impl $(<$lifetime>)? $object $(<$lifetime>)? {
            /// The names of its members.
            pub const NAMES: &'static [Name] =
                &[$(Name { snake: stringify!($field), legacy: $legacy },)*];
        }

        impl $(<$lifetime>)? ToJson for $object $(<$lifetime>)? {
            fn write(&self, writer: &mut Writer) {
                writer.begin_object();
                $( writer.key(Name { snake: stringify!($field), legacy: $legacy }
                    .in_dialect(writer.dialect())).value(&self.$field); )*
                writer.end_object();
            }
        }
    )*};
}

objects! {
    /// An element of `files`; its place is the file's number everywhere.
    struct File<'a> {
        /// First piece.
        begin_piece "begin_piece": u32,
        /// Bytes present.
        bytes_completed "bytesCompleted": u64,
        /// One past the last piece.
        end_piece "end_piece": u32,
        /// Bytes.
        length "length": u64,
        /// Path with `/`, the torrent's folder included.
        name "name": Cow<'a, str>,
    }

    /// An element of `file_stats`.
    struct FileStat {
        /// Bytes present.
        bytes_completed "bytesCompleted": u64,
        /// -1 low, 0 normal, 1 high.
        priority "priority": i32,
        /// Whether it is to be downloaded: a boolean in both dialects.
        wanted "wanted": bool,
    }

    /// An element of `peers`: a connected peer.
    struct Peer<'a> {
        /// IP address.
        address "address": String,
        /// Bytes received from it.
        bytes_to_client "bytes_to_client": u64,
        /// Bytes sent to it.
        bytes_to_peer "bytes_to_peer": u64,
        /// Whether it chokes us.
        client_is_choked "clientIsChoked": bool,
        /// Whether we are interested in it.
        client_is_interested "clientIsInterested": bool,
        /// Its program; empty if unknown.
        client_name "clientName": Cow<'a, str>,
        /// Letters for people.
        flag_str "flagStr": String,
        /// Whether payload comes from it now.
        is_downloading_from "isDownloadingFrom": bool,
        /// Whether the connection is encrypted.
        is_encrypted "isEncrypted": bool,
        /// Whether it connected to us.
        is_incoming "isIncoming": bool,
        /// Whether payload goes to it now.
        is_uploading_to "isUploadingTo": bool,
        /// Whether it is connected over µTP.
        is_utp "isUTP": bool,
        /// Its id.
        peer_id "peer_id": Base64<'a>,
        /// Whether we choke it.
        peer_is_choked "peerIsChoked": bool,
        /// Whether it is interested in us.
        peer_is_interested "peerIsInterested": bool,
        /// Port.
        port "port": u16,
        /// Share of the torrent that it has, 0 to 1.
        progress "progress": f64,
        /// Bytes per second from it.
        rate_to_client "rateToClient": u64,
        /// Bytes per second to it.
        rate_to_peer "rateToPeer": u64,
    }

    /// An element of `group`: a bandwidth group.
    struct Group<'a> {
        /// Whether the session's speed limits hold for its torrents.
        honors_session_limits "honorsSessionLimits": bool,
        /// Its name.
        name "name": Cow<'a, str>,
        /// kB/s.
        speed_limit_down "speed-limit-down": u32,
        /// Whether that holds.
        speed_limit_down_enabled "speed-limit-down-enabled": bool,
        /// kB/s.
        speed_limit_up "speed-limit-up": u32,
        /// Whether that holds.
        speed_limit_up_enabled "speed-limit-up-enabled": bool,
    }

    /// `peers_from`: connected peers by where we know them from.
    struct PeersFrom {
        /// Resume data.
        from_cache "fromCache": u32,
        /// DHT.
        from_dht "fromDht": u32,
        /// They connected to us.
        from_incoming "fromIncoming": u32,
        /// Local discovery.
        from_lpd "fromLpd": u32,
        /// Extension handshakes.
        from_ltep "fromLtep": u32,
        /// Peer exchange.
        from_pex "fromPex": u32,
        /// Trackers.
        from_tracker "fromTracker": u32,
    }

    /// An element of `trackers`: the torrent's own list.
    struct Tracker<'a> {
        /// URL.
        announce "announce": Cow<'a, str>,
        /// Its name for changes to it.
        id "id": u32,
        /// Scrape URL; empty if there is none.
        scrape "scrape": Cow<'a, str>,
        /// What people call it.
        sitename "sitename": Cow<'a, str>,
        /// From 0.
        tier "tier": u32,
    }

    /// An element of `tracker_stats`. Times are seconds since 1970, 0 for never; counts are -1 if
    /// unknown; states are 0 inactive, 1 waiting, 2 queued, 3 in progress.
    struct TrackerStat<'a> {
        /// URL.
        announce "announce": Cow<'a, str>,
        /// State of the announcing.
        announce_state "announceState": i32,
        /// Downloads completed, ever.
        download_count "downloadCount": i64,
        /// Peers that still want something (BEP 21).
        downloader_count "downloader_count": i64,
        /// Whether an announce has ended in this run.
        has_announced "hasAnnounced": bool,
        /// Whether a scrape has ended in this run.
        has_scraped "hasScraped": bool,
        /// `host:port`.
        host "host": Cow<'a, str>,
        /// Its name for changes to it.
        id "id": u32,
        /// Whether another one of its tier is in use.
        is_backup "isBackup": bool,
        /// Peers in the last answer.
        last_announce_peer_count "lastAnnouncePeerCount": u32,
        /// The tracker's text, our error, or a word of success.
        last_announce_result "lastAnnounceResult": Cow<'a, str>,
        /// When the last announce was begun.
        last_announce_start_time "lastAnnounceStartTime": u64,
        /// Whether it brought an answer.
        last_announce_succeeded "lastAnnounceSucceeded": bool,
        /// When it ended.
        last_announce_time "lastAnnounceTime": u64,
        /// Whether it ended for lack of an answer.
        last_announce_timed_out "lastAnnounceTimedOut": bool,
        /// As for announces.
        last_scrape_result "lastScrapeResult": Cow<'a, str>,
        /// When the last scrape was begun.
        last_scrape_start_time "lastScrapeStartTime": u64,
        /// Whether it brought an answer.
        last_scrape_succeeded "lastScrapeSucceeded": bool,
        /// When it ended.
        last_scrape_time "lastScrapeTime": u64,
        /// Whether it ended for lack of an answer.
        last_scrape_timed_out "lastScrapeTimedOut": bool,
        /// Peers that do not have everything.
        leecher_count "leecherCount": i64,
        /// When the next announce is due; 0 unless waiting.
        next_announce_time "nextAnnounceTime": u64,
        /// When the next scrape is due; 0 unless waiting.
        next_scrape_time "nextScrapeTime": u64,
        /// Scrape URL; empty if there is none.
        scrape "scrape": Cow<'a, str>,
        /// State of the scraping.
        scrape_state "scrapeState": i32,
        /// Peers that have everything.
        seeder_count "seederCount": i64,
        /// What people call it.
        sitename "sitename": Cow<'a, str>,
        /// From 0.
        tier "tier": u32,
    }

    /// An element of `webseeds_ex`.
    struct WebSeed<'a> {
        /// Bytes per second from it.
        download_bytes_per_second "download_bytes_per_second": u64,
        /// Whether it is in use.
        is_downloading "is_downloading": bool,
        /// Its address.
        url "url": Cow<'a, str>,
    }

    /// `current_stats` and `cumulative_stats` of session_stats.
    struct Counters {
        /// Payload bytes received.
        downloaded_bytes "downloadedBytes": u64,
        /// Torrents added.
        files_added "filesAdded": u64,
        /// Seconds that the program ran.
        seconds_active "secondsActive": u64,
        /// Times it was started.
        session_count "sessionCount": u64,
        /// Payload bytes sent.
        uploaded_bytes "uploadedBytes": u64,
    }

    /// The answer of session_stats.
    struct SessionStats {
        /// Torrents that run.
        active_torrent_count "activeTorrentCount": u64,
        /// Of all runs.
        cumulative_stats "cumulative-stats": Counters,
        /// Of this run.
        current_stats "current-stats": Counters,
        /// Bytes per second of payload.
        download_speed "downloadSpeed": u64,
        /// Torrents that do not run.
        paused_torrent_count "pausedTorrentCount": u64,
        /// Torrents.
        torrent_count "torrentCount": u64,
        /// Bytes per second of payload.
        upload_speed "uploadSpeed": u64,
    }

    /// The answer of free_space; -1 for what is not known.
    struct Space<'a> {
        /// As asked, to the letter.
        path "path": Cow<'a, str>,
        /// Bytes that can be written.
        size_bytes "size-bytes": i64,
        /// Bytes in all; the older dialect spells this name in the newer way.
        total_size "total_size": i64,
    }

    /// What torrent_add tells of the torrent.
    struct Added<'a> {
        /// Version-1 info-hash in lower-case hexadecimal digits.
        hash_string "hashString": String,
        /// The session's number.
        id "id": u32,
        /// Its name.
        name "name": Cow<'a, str>,
    }

    /// `units` of session_get: how to show numbers.
    struct Units {
        /// Bytes in a KiB.
        memory_bytes "memory-bytes": u32,
        /// Names from bytes upwards.
        memory_units "memory-units": Vec<&'static str>,
        /// Bytes in a kB.
        size_bytes "size-bytes": u32,
        /// Names from bytes upwards.
        size_units "size-units": Vec<&'static str>,
        /// Bytes in a kB.
        speed_bytes "speed-bytes": u32,
        /// Names from bytes per second upwards.
        speed_units "speed-units": Vec<&'static str>,
    }
}

impl Units {
    /// Memory in powers of 1024, everything else in powers of 1000.
    pub fn ours() -> Units {
        Units {
            memory_bytes: 1024,
            memory_units: vec!["B", "KiB", "MiB", "GiB", "TiB"],
            size_bytes: 1000,
            size_units: vec!["B", "kB", "MB", "GB", "TB"],
            speed_bytes: 1000,
            speed_units: vec!["B/s", "kB/s", "MB/s", "GB/s", "TB/s"],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Dialect;

    fn written(value: &impl ToJson, dialect: Dialect) -> String {
        let mut writer = Writer::new(Vec::new(), dialect);
        writer.value(value);
        String::from_utf8(writer.finish()).unwrap()
    }

    #[test]
    fn members_are_spelled_by_dialect() {
        let stat = FileStat { bytes_completed: 7, priority: -1, wanted: true };
        assert_eq!(
            written(&stat, Dialect::JsonRpc),
            r#"{"bytes_completed":7,"priority":-1,"wanted":true}"#
        );
        assert_eq!(
            written(&stat, Dialect::Legacy),
            r#"{"bytesCompleted":7,"priority":-1,"wanted":true}"#
        );
    }

    #[test]
    fn what_transmission_remote_needs_of_a_tracker_is_there() {
        let names: Vec<_> = TrackerStat::NAMES.iter().map(|name| name.legacy).collect();
        assert_eq!(names.len(), 28);
        for name in ["lastScrapeTimedOut", "nextScrapeTime", "isBackup", "downloadCount", "host"] {
            assert!(names.contains(&name));
        }
    }
}
