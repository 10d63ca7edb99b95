//! What session_get tells and session_set changes: one row for each setting.

use crate::objects::Units;
use crate::params::{Params, same};
use crate::{Code, Dialect, Name, RpcError, Writer, tracker_list, version};

macro_rules! settings {
    ($( $(#[doc = $doc:literal])+ $field:ident $legacy:literal: $type:ty = $default:expr, $state:ident; )*) => {
        /// The values of session_get.
        #[derive(Clone, PartialEq, Debug)]
        pub struct SessionValues {
            $( $(#[doc = $doc])+ pub $field: $type, )*
        }

        impl Default for SessionValues {
            fn default() -> SessionValues {
                SessionValues { $( $field: $default, )* }
            }
        }

        /// A row of session_get.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[allow(non_camel_case_types)]
        pub enum SessionField {
            $( $(#[doc = $doc])+ $field, )*
        }

        impl SessionField {
            /// All of them.
            pub const ALL: &'static [SessionField] = &[$(SessionField::$field,)*];

            /// Its names.
            pub const fn name(self) -> Name {
                match self {
                    $( SessionField::$field =>
                        Name { snake: stringify!($field), legacy: $legacy }, )*
                }
            }

            /// How far it is served.
            pub const fn state(self) -> State {
                match self {
                    $( SessionField::$field => State::$state, )*
                }
            }

            /// What it tells.
            pub fn doc(self) -> &'static str {
                match self {
                    $( SessionField::$field => concat!($($doc),+).trim_ascii(), )*
                }
            }
        }

        impl SessionValues {
            fn write_value(&self, writer: &mut Writer, field: SessionField) {
                match field {
                    $( SessionField::$field => writer.value(&self.$field), )*
                }
            }
        }
    };
}

/// How far a setting is served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// session_set changes it.
    Set,
    /// It is told, and cannot be changed here.
    Told,
    /// session_set changes it and it is told as set, but nothing goes by it: what it would control
    /// is not there yet.
    Stored,
    /// Always the same, because what it would tell of is not there yet; session_set ignores it.
    Fixed,
}

settings! {
    /// kB/s while alternative limits hold.
    alt_speed_down "alt-speed-down": u32 = 50, Set;
    /// Whether alternative limits hold now.
    alt_speed_enabled "alt-speed-enabled": bool = false, Set;
    /// Minutes after midnight, local time.
    alt_speed_time_begin "alt-speed-time-begin": u32 = 540, Set;
    /// Bits of weekdays from Sunday, on which it begins.
    alt_speed_time_day "alt-speed-time-day": u32 = 127, Set;
    /// Whether alternative limits follow the clock.
    alt_speed_time_enabled "alt-speed-time-enabled": bool = false, Set;
    /// Minutes after midnight, local time; before the beginning for the next day.
    alt_speed_time_end "alt-speed-time-end": u32 = 1020, Set;
    /// kB/s while alternative limits hold.
    alt_speed_up "alt-speed-up": u32 = 50, Set;
    /// Whether an address has to wait after failed log-ins.
    anti_brute_force_enabled "anti-brute-force-enabled": bool = false, Set;
    /// How many of them may fail before.
    anti_brute_force_threshold "anti-brute-force-threshold": u32 = 100, Set;
    /// Whether the blocklist holds.
    blocklist_enabled "blocklist-enabled": bool = false, Set;
    /// Rules in it.
    blocklist_size "blocklist-size": u32 = 0, Told;
    /// Where it comes from.
    blocklist_url "blocklist-url": String = String::new(), Set;
    /// MiB for data on its way to the disk.
    cache_size_mib "cache-size-mb": u32 = 0, Stored;
    /// The daemon's folder.
    config_dir "config-dir": String = String::new(), Told;
    /// Trackers of every public torrent, as text.
    default_trackers "default-trackers": String = String::new(), Set;
    /// Whether the DHT is used.
    dht_enabled "dht-enabled": bool = false, Stored;
    /// Folder of new torrents.
    download_dir "download-dir": String = String::new(), Set;
    /// Bytes that can be written there; -1 if unknown.
    download_dir_free_space "download-dir-free-space": i64 = -1, Told;
    /// Whether downloads queue.
    download_queue_enabled "download-queue-enabled": bool = false, Set;
    /// How many at a time.
    download_queue_size "download-queue-size": u32 = 5, Set;
    /// `required`, `preferred` or `allowed` (older dialect: `tolerated`).
    encryption "encryption": Encryption = Encryption::Allowed, Stored;
    /// Minutes without payload after which seeding ends.
    idle_seeding_limit "idle-seeding-limit": u32 = 30, Set;
    /// Whether that holds.
    idle_seeding_limit_enabled "idle-seeding-limit-enabled": bool = false, Set;
    /// Folder of incomplete torrents.
    incomplete_dir "incomplete-dir": String = String::new(), Set;
    /// Whether it is used.
    incomplete_dir_enabled "incomplete-dir-enabled": bool = false, Set;
    /// Whether local peers are looked for.
    lpd_enabled "lpd-enabled": bool = false, Stored;
    /// Peers of all torrents.
    peer_limit_global "peer-limit-global": u32 = 0, Set;
    /// Peers of a torrent.
    peer_limit_per_torrent "peer-limit-per-torrent": u32 = 0, Set;
    /// Port for peers; a change holds from the next start.
    peer_port "peer-port": u16 = 0, Set;
    /// Whether any free port is taken at each start, from the next one on.
    peer_port_random_on_start "peer-port-random-on-start": bool = false, Set;
    /// Whether peers tell each other of peers.
    pex_enabled "pex-enabled": bool = false, Stored;
    /// Whether the router is asked to forward the port.
    port_forwarding_enabled "port-forwarding-enabled": bool = false, Stored;
    /// Ways to connect, the best first.
    preferred_transports "preferred_transports": Vec<&'static str> = vec!["tcp"], Stored;
    /// Whether idle torrents leave the queue.
    queue_stalled_enabled "queue-stalled-enabled": bool = false, Set;
    /// Minutes until then.
    queue_stalled_minutes "queue-stalled-minutes": u32 = 30, Set;
    /// Whether incomplete files are named `.part`.
    rename_partial_files "rename-partial-files": bool = false, Set;
    /// Requests that a peer may queue.
    reqq "reqq": u32 = 0, Set;
    /// Number of the contract that clients go by.
    rpc_version "rpc-version": i64 = version::RPC_VERSION, Told;
    /// The oldest contract that clients may have.
    rpc_version_minimum "rpc-version-minimum": i64 = version::RPC_VERSION_MINIMUM, Told;
    /// The contract as a version.
    rpc_version_semver "rpc-version-semver": &'static str = version::RPC_VERSION_SEMVER, Told;
    /// Whether a script runs when a torrent was added.
    script_torrent_added_enabled "script-torrent-added-enabled": bool = false, Set;
    /// Its path.
    script_torrent_added_filename "script-torrent-added-filename": String = String::new(), Set;
    /// Whether a script runs when a torrent is complete.
    script_torrent_done_enabled "script-torrent-done-enabled": bool = false, Set;
    /// Its path.
    script_torrent_done_filename "script-torrent-done-filename": String = String::new(), Set;
    /// Whether a script runs when a torrent has reached its goal.
    script_torrent_done_seeding_enabled "script-torrent-done-seeding-enabled": bool = false, Set;
    /// Its path.
    script_torrent_done_seeding_filename "script-torrent-done-seeding-filename": String
        = String::new(), Set;
    /// Whether seeds queue.
    seed_queue_enabled "seed-queue-enabled": bool = false, Set;
    /// How many at a time.
    seed_queue_size "seed-queue-size": u32 = 10, Set;
    /// Ratio at which seeding ends.
    seed_ratio_limit "seedRatioLimit": f64 = 2.0, Set;
    /// Whether it does.
    seed_ratio_limited "seedRatioLimited": bool = false, Set;
    /// Whether new torrents fetch their pieces in order.
    sequential_download "sequential_download": bool = false, Set;
    /// The id that requests need in a header.
    session_id "session-id": String = String::new(), Told;
    /// kB/s.
    speed_limit_down "speed-limit-down": u32 = 100, Set;
    /// Whether that holds.
    speed_limit_down_enabled "speed-limit-down-enabled": bool = false, Set;
    /// kB/s.
    speed_limit_up "speed-limit-up": u32 = 100, Set;
    /// Whether that holds.
    speed_limit_up_enabled "speed-limit-up-enabled": bool = false, Set;
    /// Whether new torrents start at once.
    start_added_torrents "start-added-torrents": bool = true, Set;
    /// Whether TCP is used.
    tcp_enabled "tcp-enabled": bool = true, Fixed;
    /// Whether a .torrent that was added is removed.
    trash_original_torrent_files "trash-original-torrent-files": bool = false, Set;
    /// How to show numbers.
    units "units": Units = Units::ours(), Told;
    /// Whether µTP is used.
    utp_enabled "utp-enabled": bool = false, Stored;
    /// A Transmission version for clients that look for one, then ours.
    version "version": String = version::version(), Told;
}

/// Whether connections are encrypted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Encryption {
    /// Always.
    Required,
    /// Where the peer can.
    Preferred,
    /// Only if the peer insists.
    Allowed,
}

impl Encryption {
    /// The word of the newer dialect.
    pub const fn word(self) -> &'static str {
        match self {
            Encryption::Required => "required",
            Encryption::Preferred => "preferred",
            Encryption::Allowed => "allowed",
        }
    }

    /// Reads the word of the newer dialect.
    pub fn of_word(word: &str) -> Option<Encryption> {
        let all = [Encryption::Required, Encryption::Preferred, Encryption::Allowed];
        all.into_iter().find(|one| one.word() == word)
    }

    /// Reads what a client sends. The older dialect has another word for `allowed`, and takes one
    /// that it does not know for `preferred`, as Transmission did: a library in use misspells it.
    fn of_client(word: &str, dialect: Dialect) -> Result<Encryption, RpcError> {
        match (Encryption::of_word(word), dialect, word) {
            (Some(known), ..) => Ok(known),
            (None, Dialect::Legacy, "tolerated") => Ok(Encryption::Allowed),
            (None, Dialect::Legacy, _) => Ok(Encryption::Preferred),
            (None, Dialect::JsonRpc, _) => {
                Err(RpcError::invalid("encryption is required, preferred or allowed"))
            }
        }
    }
}

impl crate::ToJson for Encryption {
    fn write(&self, writer: &mut Writer) {
        writer.value(match (self, writer.dialect()) {
            (Encryption::Allowed, Dialect::Legacy) => "tolerated",
            (other, _) => other.word(),
        });
    }
}

impl SessionField {
    /// The rows that a call asks for: all if it names none that is known.
    pub fn asked(params: &Params) -> Vec<SessionField> {
        let asked = params.texts(same("fields")).unwrap_or_default();
        let is_asked =
            |field: &SessionField| asked.iter().any(|text| field.name().is(text, params.dialect()));
        let fields: Vec<_> = SessionField::ALL.iter().copied().filter(is_asked).collect();
        if fields.is_empty() { SessionField::ALL.to_vec() } else { fields }
    }
}

impl SessionValues {
    /// Writes these rows as an object.
    pub fn write(&self, writer: &mut Writer, fields: &[SessionField]) {
        writer.begin_object();
        for &field in fields {
            writer.key(field.name().in_dialect(writer.dialect()));
            self.write_value(writer, field);
        }
        writer.end_object();
    }
}

/// The arguments of session_set that are served; absent ones leave things as they are. All others
/// are ignored, as are read-only ones.
#[derive(Clone, PartialEq, Debug, Default)]
#[allow(missing_docs)]
pub struct SessionSet {
    pub alt_speed_down: Option<i64>,
    pub alt_speed_enabled: Option<bool>,
    pub alt_speed_time_begin: Option<i64>,
    pub alt_speed_time_day: Option<i64>,
    pub alt_speed_time_enabled: Option<bool>,
    pub alt_speed_time_end: Option<i64>,
    pub alt_speed_up: Option<i64>,
    pub anti_brute_force_enabled: Option<bool>,
    pub anti_brute_force_threshold: Option<i64>,
    pub cache_size_mib: Option<i64>,
    pub dht_enabled: Option<bool>,
    pub encryption: Option<Encryption>,
    pub lpd_enabled: Option<bool>,
    pub peer_port_random_on_start: Option<bool>,
    pub pex_enabled: Option<bool>,
    pub port_forwarding_enabled: Option<bool>,
    pub preferred_transports: Option<Vec<String>>,
    pub utp_enabled: Option<bool>,
    pub speed_limit_down: Option<i64>,
    pub speed_limit_down_enabled: Option<bool>,
    pub speed_limit_up: Option<i64>,
    pub speed_limit_up_enabled: Option<bool>,
    pub default_trackers: Option<String>,
    pub blocklist_enabled: Option<bool>,
    pub blocklist_url: Option<String>,
    pub script_torrent_added_enabled: Option<bool>,
    pub script_torrent_added_filename: Option<String>,
    pub script_torrent_done_enabled: Option<bool>,
    pub script_torrent_done_filename: Option<String>,
    pub script_torrent_done_seeding_enabled: Option<bool>,
    pub script_torrent_done_seeding_filename: Option<String>,
    pub trash_original_torrent_files: Option<bool>,
    pub download_dir: Option<String>,
    pub incomplete_dir: Option<String>,
    pub incomplete_dir_enabled: Option<bool>,
    pub rename_partial_files: Option<bool>,
    pub download_queue_enabled: Option<bool>,
    pub download_queue_size: Option<i64>,
    pub idle_seeding_limit: Option<i64>,
    pub idle_seeding_limit_enabled: Option<bool>,
    pub peer_limit_global: Option<i64>,
    pub peer_limit_per_torrent: Option<i64>,
    pub peer_port: Option<i64>,
    pub queue_stalled_enabled: Option<bool>,
    pub queue_stalled_minutes: Option<i64>,
    pub reqq: Option<i64>,
    pub seed_queue_enabled: Option<bool>,
    pub seed_queue_size: Option<i64>,
    pub seed_ratio_limit: Option<f64>,
    pub seed_ratio_limited: Option<bool>,
    pub sequential_download: Option<bool>,
    pub start_added_torrents: Option<bool>,
}

impl SessionSet {
    /// Reads them. Errors change nothing.
    pub fn parse(params: &Params) -> Result<SessionSet, RpcError> {
        use SessionField as Field;
        let switch = |field: Field| params.switch(field.name());
        let number = |field: Field| params.integer(field.name());
        let text = |field: Field| params.text(field.name()).map(str::to_owned);
        let folder = |field: Field, what: &str| match text(field) {
            Some(folder) if !folder.starts_with('/') => {
                let message = format!("{what} directory path is not absolute");
                Err(RpcError::new(Code::PathNotAbsolute, message))
            }
            folder => Ok(folder),
        };
        let default_trackers = text(Field::default_trackers);
        default_trackers.as_deref().map(tracker_list::parse).transpose()?;
        let encryption = params.text(Field::encryption.name());
        let encryption = encryption.map(|word| Encryption::of_client(word, params.dialect()));
        let transports = params.texts(Field::preferred_transports.name());
        Ok(SessionSet {
            alt_speed_down: number(Field::alt_speed_down),
            alt_speed_enabled: switch(Field::alt_speed_enabled),
            alt_speed_time_begin: number(Field::alt_speed_time_begin),
            alt_speed_time_day: number(Field::alt_speed_time_day),
            alt_speed_time_enabled: switch(Field::alt_speed_time_enabled),
            alt_speed_time_end: number(Field::alt_speed_time_end),
            alt_speed_up: number(Field::alt_speed_up),
            anti_brute_force_enabled: switch(Field::anti_brute_force_enabled),
            anti_brute_force_threshold: number(Field::anti_brute_force_threshold),
            cache_size_mib: number(Field::cache_size_mib),
            dht_enabled: switch(Field::dht_enabled),
            encryption: encryption.transpose()?,
            lpd_enabled: switch(Field::lpd_enabled),
            peer_port_random_on_start: switch(Field::peer_port_random_on_start),
            pex_enabled: switch(Field::pex_enabled),
            port_forwarding_enabled: switch(Field::port_forwarding_enabled),
            preferred_transports: transports
                .map(|list| list.into_iter().map(str::to_owned).collect()),
            utp_enabled: switch(Field::utp_enabled),
            speed_limit_down: number(Field::speed_limit_down),
            speed_limit_down_enabled: switch(Field::speed_limit_down_enabled),
            speed_limit_up: number(Field::speed_limit_up),
            speed_limit_up_enabled: switch(Field::speed_limit_up_enabled),
            default_trackers,
            blocklist_enabled: switch(Field::blocklist_enabled),
            blocklist_url: text(Field::blocklist_url),
            script_torrent_added_enabled: switch(Field::script_torrent_added_enabled),
            script_torrent_added_filename: text(Field::script_torrent_added_filename),
            script_torrent_done_enabled: switch(Field::script_torrent_done_enabled),
            script_torrent_done_filename: text(Field::script_torrent_done_filename),
            script_torrent_done_seeding_enabled: switch(Field::script_torrent_done_seeding_enabled),
            script_torrent_done_seeding_filename: text(Field::script_torrent_done_seeding_filename),
            trash_original_torrent_files: switch(Field::trash_original_torrent_files),
            download_dir: folder(Field::download_dir, "download")?,
            incomplete_dir: folder(Field::incomplete_dir, "incomplete torrents")?,
            incomplete_dir_enabled: switch(Field::incomplete_dir_enabled),
            rename_partial_files: switch(Field::rename_partial_files),
            download_queue_enabled: switch(Field::download_queue_enabled),
            download_queue_size: number(Field::download_queue_size),
            idle_seeding_limit: number(Field::idle_seeding_limit),
            idle_seeding_limit_enabled: switch(Field::idle_seeding_limit_enabled),
            peer_limit_global: number(Field::peer_limit_global),
            peer_limit_per_torrent: number(Field::peer_limit_per_torrent),
            peer_port: number(Field::peer_port),
            queue_stalled_enabled: switch(Field::queue_stalled_enabled),
            queue_stalled_minutes: number(Field::queue_stalled_minutes),
            reqq: number(Field::reqq),
            seed_queue_enabled: switch(Field::seed_queue_enabled),
            seed_queue_size: number(Field::seed_queue_size),
            seed_ratio_limit: params.double(Field::seed_ratio_limit.name()),
            seed_ratio_limited: switch(Field::seed_ratio_limited),
            sequential_download: switch(Field::sequential_download),
            start_added_torrents: switch(Field::start_added_torrents),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn params(value: Value, dialect: Dialect) -> Params {
        Params::parse(Some(&value.to_string()), dialect).unwrap()
    }

    fn written(fields: &[SessionField], dialect: Dialect) -> Value {
        let mut writer = Writer::new(Vec::new(), dialect);
        SessionValues::default().write(&mut writer, fields);
        serde_json::from_slice(&writer.finish()).unwrap()
    }

    #[test]
    fn all_rows_are_told_unless_known_ones_are_asked_for() {
        let asked = |value, dialect| SessionField::asked(&params(value, dialect));
        assert_eq!(asked(json!({}), Dialect::Legacy), SessionField::ALL);
        assert_eq!(asked(json!({"fields": ["x"]}), Dialect::Legacy), SessionField::ALL);
        let two = json!({"fields": ["version", "download-dir", "x"]});
        assert_eq!(
            asked(two.clone(), Dialect::Legacy),
            [SessionField::download_dir, SessionField::version]
        );
        assert_eq!(asked(two, Dialect::JsonRpc), [SessionField::version]);
    }

    #[test]
    fn both_dialects_tell_the_same_rows_with_the_types_that_clients_need() {
        let newer = written(SessionField::ALL, Dialect::JsonRpc);
        let older = written(SessionField::ALL, Dialect::Legacy);
        assert_eq!(newer.as_object().unwrap().len(), SessionField::ALL.len());
        for field in SessionField::ALL {
            let (new, old) = (&newer[field.name().snake], &older[field.name().legacy]);
            match field {
                SessionField::encryption => {
                    assert_eq!((new, old), (&json!("allowed"), &json!("tolerated")));
                }
                SessionField::units => assert_eq!(old["speed-units"], new["speed_units"]),
                _ => assert_eq!(new, old),
            }
        }
        assert!(older["speed-limit-down"].is_u64() && older["peer-port"].is_u64());
        assert!(older["seedRatioLimit"].is_f64());
        assert_eq!(older["rpc-version-minimum"], 14);
        assert_eq!(older["cache-size-mb"], 0);
    }

    #[test]
    fn changes_are_read_leniently_and_bad_paths_refused() {
        let set = SessionSet::parse(&params(
            json!({"peer-limit-global": 7.2, "start-added-torrents": 0, "version": "x", "reqq": "1"}),
            Dialect::Legacy,
        ));
        let expected = SessionSet {
            peer_limit_global: Some(7),
            start_added_torrents: Some(false),
            ..SessionSet::default()
        };
        assert_eq!(set.unwrap(), expected);
        let error = |value| SessionSet::parse(&params(value, Dialect::Legacy)).unwrap_err().code;
        assert_eq!(error(json!({"download-dir": "relative"})), Code::PathNotAbsolute);
        assert_eq!(error(json!({"default-trackers": "x"})), Code::InvalidTrackerList);
    }
}
