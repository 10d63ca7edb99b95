//! What torrent_get can tell of a torrent: one row for each field.

use crate::objects::{File, FileStat, Peer, PeersFrom, Tracker, TrackerStat, WebSeed};
use crate::params::{Format, TorrentGet};
use crate::{Base64, Dialect, Name, Wanted, Writer};
use std::borrow::Cow;

macro_rules! fields {
    (
        told { $( $(#[doc = $doc:literal])+ $field:ident $legacy:literal: $type:ty; )* }
        fixed { $( $(#[doc = $fixed_doc:literal])+ $fixed:ident $fixed_legacy:literal: $fixed_type:ty
            = $default:expr; )* }
    ) => {
        /// A field of torrent_get.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[allow(non_camel_case_types)]
        pub enum TorrentField {
            $( $(#[doc = $doc])+ $field, )*
            $( $(#[doc = $fixed_doc])+ $fixed, )*
        }

        impl TorrentField {
            /// All of them.
            pub const ALL: &'static [TorrentField] =
                &[$(TorrentField::$field,)* $(TorrentField::$fixed,)*];

            /// Its names.
            pub const fn name(self) -> Name {
                match self {
                    $( TorrentField::$field =>
                        Name { snake: stringify!($field), legacy: $legacy }, )*
                    $( TorrentField::$fixed =>
                        Name { snake: stringify!($fixed), legacy: $fixed_legacy }, )*
                }
            }

            /// Whether it is always the same, because what it would tell of is not there yet.
            pub fn is_fixed(self) -> bool {
                matches!(self, $(TorrentField::$fixed)|*)
            }

            /// What it tells.
            pub fn doc(self) -> &'static str {
                match self {
                    $( TorrentField::$field => concat!($($doc),+).trim_ascii(), )*
                    $( TorrentField::$fixed => concat!($($fixed_doc),+).trim_ascii(), )*
                }
            }
        }

        /// A torrent that can be told about: one method for each field. Those with a default tell
        /// of what is not there yet.
        pub trait TorrentView {
            $( $(#[doc = $doc])+ fn $field(&self) -> $type; )*
            $( $(#[doc = $fixed_doc])+ fn $fixed(&self) -> $fixed_type { $default } )*
        }

        fn write_value<T: TorrentView + ?Sized>(writer: &mut Writer, field: TorrentField, of: &T) {
            match field {
                $( TorrentField::$field => writer.value(&of.$field()), )*
                $( TorrentField::$fixed => writer.value(&of.$fixed()), )*
            }
        }
    };
}

fields! {
    told {
        /// Seconds since 1970 of the last payload in either direction; 0 for never.
        activity_date "activityDate": u64;
        /// Seconds since 1970 when it was added.
        added_date "addedDate": u64;
        /// For each piece -1 if it is here, else how many connected peers have it.
        availability "availability": Vec<i32>;
        /// Bytes present of each file.
        bytes_completed "bytesCompleted": Vec<u64>;
        /// The maker's comment.
        comment "comment": Cow<'_, str>;
        /// Bytes thrown away after a failed hash, ever.
        corrupt_ever "corruptEver": u64;
        /// The program that made the torrent.
        creator "creator": Cow<'_, str>;
        /// Seconds since 1970 when it was made; 0 if unknown.
        date_created "dateCreated": u64;
        /// Bytes wanted, missing, and held by some connected peer.
        desired_available "desiredAvailable": u64;
        /// Seconds since 1970 of completion; 0 if not complete.
        done_date "doneDate": u64;
        /// The folder that its name lies in.
        download_dir "downloadDir": Cow<'_, str>;
        /// Payload bytes received and kept, ever.
        downloaded_ever "downloadedEver": u64;
        /// Seconds since 1970 of the last edit in this run.
        edit_date "editDate": u64;
        /// 0 none, 1 tracker warning, 2 tracker error, 3 local error.
        error "error": i32;
        /// What is wrong; empty if nothing.
        error_string "errorString": Cow<'_, str>;
        /// Seconds to completion, or to the ratio goal while seeding; -1 not available, -2 unknown.
        eta "eta": i64;
        /// Number of files.
        file_count "file-count": usize;
        /// For each file what is present, wanted and preferred.
        file_stats "fileStats": Vec<FileStat>;
        /// The files; the place in this list is the file's number everywhere.
        files "files": Vec<File<'_>>;
        /// Version-1 info-hash in lower-case hexadecimal digits.
        hash_string "hashString": String;
        /// Bytes in pieces that are not complete.
        have_unchecked "haveUnchecked": u64;
        /// Bytes in verified pieces.
        have_valid "haveValid": u64;
        /// The session's number, from 1; of this run only.
        id "id": u32;
        /// Peers come from its trackers only.
        is_private "isPrivate": bool;
        /// Labels in their order.
        labels "labels": &[String];
        /// Bytes wanted and missing.
        left_until_done "leftUntilDone": u64;
        /// A link with its hash, name, trackers and web seeds.
        magnet_link "magnetLink": String;
        /// As `peer_limit`.
        max_connected_peers "maxConnectedPeers": u32;
        /// Its name.
        name "name": Cow<'_, str>;
        /// Peers at most.
        peer_limit "peer-limit": u32;
        /// Connected peers.
        peers "peers": Vec<Peer<'_>>;
        /// Number of connected peers.
        peers_connected "peersConnected": u32;
        /// Connected peers by where we know them from.
        peers_from "peersFrom": PeersFrom;
        /// Peers that get payload from us now.
        peers_getting_from_us "peersGettingFromUs": u32;
        /// Peers that send us payload now.
        peers_sending_to_us "peersSendingToUs": u32;
        /// Share of the whole torrent that is here, 0 to 1.
        percent_complete "percentComplete": f64;
        /// Share of the wanted part that is here, 0 to 1.
        percent_done "percentDone": f64;
        /// Number of pieces.
        piece_count "pieceCount": u32;
        /// Bytes in a piece.
        piece_size "pieceSize": u32;
        /// Which pieces are here: a bit field in base64.
        pieces "pieces": Base64<'_>;
        /// The kind of most of its bytes, by file names.
        primary_mime_type "primary-mime-type": Cow<'_, str>;
        /// -1 low, 0 normal, 1 high, for each file.
        priorities "priorities": Vec<i32>;
        /// Its place in the queue of all torrents, from 0.
        queue_position "queuePosition": usize;
        /// Bytes per second of payload coming in.
        rate_download "rateDownload": u64;
        /// Bytes per second of payload going out.
        rate_upload "rateUpload": u64;
        /// Share of the files that has been checked, 0 to 1; 0 when not checking.
        recheck_progress "recheckProgress": f64;
        /// Seconds spent downloading, ever.
        seconds_downloading "secondsDownloading": u64;
        /// Seconds spent seeding, ever.
        seconds_seeding "secondsSeeding": u64;
        /// Pieces in order rather than rarest first.
        sequential_download "sequential_download": bool;
        /// Bytes wanted, and those here of what is not.
        size_when_done "sizeWhenDone": u64;
        /// The tracker it was made for.
        source "source": Cow<'_, str>;
        /// Seconds since 1970 when it was last started.
        start_date "startDate": u64;
        /// 0 stopped, 1 queued to verify, 2 verifying, 3 queued to download, 4 downloading, 5 queued
        /// to seed, 6 seeding.
        status "status": i32;
        /// Path of its .torrent on the server.
        torrent_file "torrentFile": Cow<'_, str>;
        /// Bytes.
        total_size "totalSize": u64;
        /// Trackers as text: one a line, tiers parted by an empty one.
        tracker_list "trackerList": String;
        /// What is known of each tracker.
        tracker_stats "trackerStats": Vec<TrackerStat<'_>>;
        /// Trackers.
        trackers "trackers": Vec<Tracker<'_>>;
        /// Bytes uploaded for each byte of `size_when_done`; -1 not available, -2 infinite.
        upload_ratio "uploadRatio": f64;
        /// Payload bytes sent, ever.
        uploaded_ever "uploadedEver": u64;
        /// Seconds until the idle goal ends seeding if no payload goes out; -1 if none does.
        eta_idle "etaIdle": i64;
        /// Whether its ratio or idle goal stopped it.
        is_finished "isFinished": bool;
        /// Whether it runs without payload for longer than `queue_stalled_minutes`.
        is_stalled "isStalled": bool;
        /// Minutes without payload after which seeding ends, if the mode is 1.
        seed_idle_limit "seedIdleLimit": u32;
        /// Which idle limit holds: 0 the session's, 1 its own, 2 none.
        seed_idle_mode "seedIdleMode": i32;
        /// Ratio at which seeding ends, if the mode is 1.
        seed_ratio_limit "seedRatioLimit": f64;
        /// Which ratio limit holds: 0 the session's, 1 its own, 2 none.
        seed_ratio_mode "seedRatioMode": i32;
        /// The piece that sequential download begins with; those before it come last.
        sequential_download_from_piece "sequential_download_from_piece": u32;
        /// Its weight among others where a speed limit binds: -1 low, 0 normal, 1 high.
        bandwidth_priority "bandwidthPriority": i32;
        /// Its own limit of payload coming in, in kB/s.
        download_limit "downloadLimit": u32;
        /// Whether that limit holds.
        download_limited "downloadLimited": bool;
        /// The bandwidth group that it shares limits with; empty for none.
        group "group": &str;
        /// Whether the session's speed limits hold for it.
        honors_session_limits "honorsSessionLimits": bool;
        /// Its own limit of payload going out, in kB/s.
        upload_limit "uploadLimit": u32;
        /// Whether that limit holds.
        upload_limited "uploadLimited": bool;
        /// Whether each file is to be downloaded; numbers in the older dialect.
        wanted "wanted": Wanted;
        /// Web servers that have the files.
        webseeds "webseeds": &[String];
        /// The same with what comes from them.
        webseeds_ex "webseeds_ex": Vec<WebSeed<'_>>;
    }
    fixed {
        /// Seconds since 1970 from when an announce may be asked for.
        manual_announce_time "manualAnnounceTime": u64 = 0;
        /// Share of the metadata that is here; there are no magnet links yet.
        metadata_percent_complete "metadataPercentComplete": f64 = 1.0;
        /// Web seeds in use; there are none yet.
        webseeds_sending_to_us "webseedsSendingToUs": u32 = 0;
    }
}

impl TorrentField {
    /// The field that a request in this dialect names.
    pub fn named(text: &str, dialect: Dialect) -> Option<TorrentField> {
        TorrentField::ALL.iter().copied().find(|field| field.name().is(text, dialect))
    }
}

/// Writes the value of `torrents`: objects or a table, as asked.
pub struct TorrentList<'a> {
    writer: &'a mut Writer,
    fields: &'a [TorrentField],
    format: Format,
}

impl<'a> TorrentList<'a> {
    /// Begins it.
    pub fn begin(writer: &'a mut Writer, get: &'a TorrentGet) -> TorrentList<'a> {
        writer.begin_list();
        if get.format == Format::Table {
            let dialect = writer.dialect();
            let name = |field: &TorrentField| field.name().in_dialect(dialect);
            let names: Vec<&str> = get.fields.iter().map(name).collect();
            writer.value(&names);
        }
        TorrentList { writer, fields: &get.fields, format: get.format }
    }

    /// Writes one torrent.
    pub fn push(&mut self, torrent: &impl TorrentView) {
        match self.format {
            Format::Objects => {
                self.writer.begin_object();
                let dialect = self.writer.dialect();
                for &field in self.fields {
                    self.writer.key(field.name().in_dialect(dialect));
                    write_value(self.writer, field, torrent);
                }
                self.writer.end_object();
            }
            Format::Table => {
                self.writer.begin_list();
                for &field in self.fields {
                    write_value(self.writer, field, torrent);
                }
                self.writer.end_list();
            }
        }
    }

    /// Bytes written so far, of the whole answer.
    pub fn written(&self) -> usize {
        self.writer.written()
    }

    /// Writes torrents as they were written before, the commas between them included.
    pub fn push_written(&mut self, torrents: &[u8]) {
        self.writer.raw(torrents);
    }

    /// Ends it.
    pub fn end(self) {
        self.writer.end_list();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_field_is_found_by_its_names_and_no_two_share_one() {
        for &field in TorrentField::ALL {
            let name = field.name();
            assert_eq!(TorrentField::named(name.snake, Dialect::JsonRpc), Some(field));
            assert_eq!(TorrentField::named(name.snake, Dialect::Legacy), Some(field));
            assert_eq!(TorrentField::named(name.legacy, Dialect::Legacy), Some(field));
            if name.legacy != name.snake {
                assert_eq!(TorrentField::named(name.legacy, Dialect::JsonRpc), None);
            }
            assert!(!field.doc().is_empty());
        }
        let legacy: HashSet<_> =
            TorrentField::ALL.iter().map(|field| field.name().legacy).collect();
        assert_eq!(legacy.len(), TorrentField::ALL.len());
        assert_eq!(TorrentField::ALL.len(), 81);
    }

    #[test]
    fn irregular_names_are_right() {
        for (snake, legacy) in [
            ("file_count", "file-count"),
            ("peer_limit", "peer-limit"),
            ("primary_mime_type", "primary-mime-type"),
            ("download_dir", "downloadDir"),
            ("sequential_download", "sequential_download"),
            ("rate_download", "rateDownload"),
        ] {
            let field = TorrentField::named(snake, Dialect::JsonRpc).unwrap();
            assert_eq!(field.name().legacy, legacy);
        }
    }
}
