//! The one table of settings. It yields the TOML file, the command-line flags, what
//! `session_get` and `session_set` show, and docs/settings.md.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What kind of value a setting has, with the range that is accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `true` or `false`.
    Switch,
    /// A whole number in a range, both ends included.
    Number {
        /// Smallest.
        least: u64,
        /// Largest.
        most: u64,
    },
    /// A number with a fraction, 0 or more.
    Decimal,
    /// Text.
    Text,
    /// A path.
    Path,
    /// Folders, each a table of its own: see [`WatchFolder`]. There is no flag for them.
    Folders,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The name in TOML and, with `-` for `_`, of the flag.
    pub name: &'static str,
    /// Type and range.
    pub kind: Kind,
    /// Unit of a number, empty if it is a count.
    pub unit: &'static str,
    /// Whether a change takes effect only at the next start.
    pub restart: bool,
    /// What it does.
    pub doc: &'static str,
}

macro_rules! settings {
    ($(
        $(#[doc = $doc:literal])+
        $name:ident: $type:ty = $default:expr, $kind:expr, $unit:literal, $when:ident;
    )*) => {
        /// Every setting of the daemon.
        #[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Settings {
            $($(#[doc = $doc])+ pub $name: $type,)*
        }

        impl Default for Settings {
            fn default() -> Settings {
                Settings { $($name: $default,)* }
            }
        }

        /// The table, in the order of the fields.
        pub const TABLE: &[Row] = &[$(Row {
            name: stringify!($name),
            kind: $kind,
            unit: $unit,
            restart: settings!(@ $when),
            doc: concat!($($doc, "\n"),+),
        },)*];
    };
    (@ restart) => { true };
    (@ live) => { false };
}

const fn up_to(most: u64) -> Kind {
    Kind::Number { least: 0, most }
}

const fn between(least: u64, most: u64) -> Kind {
    Kind::Number { least, most }
}

settings! {
    /// Folder that torrents are downloaded to unless they name another.
    download_dir: PathBuf = default_download_dir(), Kind::Path, "", live;
    /// TCP port for peers; 0 takes any free one.
    peer_port: u16 = 51413, up_to(65535), "", restart;
    /// Addresses to listen on for peers, separated by commas. Outgoing connections leave from the
    /// first one of their family unless it is unspecified (`0.0.0.0`, `::`).
    peer_bind: String = "0.0.0.0,::".into(), Kind::Text, "", restart;
    /// Where the control interface listens, separated by commas: addresses with ports, and Unix
    /// sockets as `unix:` and a path, which is below the daemon's folder unless it begins with `/`.
    rpc_bind: String = "127.0.0.1:9091,unix:control.sock".into(), Kind::Text, "", restart;
    /// Permissions of Unix sockets, in octal digits: who may write there can do anything.
    rpc_socket_mode: String = "0700".into(), Kind::Text, "", restart;
    /// Addresses that may connect: `192.168.1.0/24`, `10.0.*.*`, `::1`, separated by commas; empty
    /// for all.
    rpc_whitelist: String = String::new(), Kind::Text, "", live;
    /// Names that may stand in the Host header besides addresses and `localhost`, separated by
    /// commas, with `*` for any characters. Not looked at once there are users.
    rpc_host_whitelist: String = String::new(), Kind::Text, "", live;
    /// Origins such as `https://ui.example.org` whose pages may read answers (CORS), separated by
    /// commas; `*` for all.
    rpc_cors_origins: String = String::new(), Kind::Text, "", live;
    /// Requests that one address elsewhere may make; ten seconds' worth may come at once. 0 for no
    /// limit.
    rpc_rate_limit: u32 = 1000, up_to(1_000_000), "1/s", live;
    /// Requests that one user or token may make, in the same way.
    rpc_user_rate_limit: u32 = 1000, up_to(1_000_000), "1/s", live;
    /// Whether an address has to wait after failed log-ins.
    anti_brute_force_enabled: bool = true, Kind::Switch, "", live;
    /// Failed log-ins of an address from which on it waits: a second, then two, four, up to sixty.
    anti_brute_force_threshold: u32 = 5, between(1, 1_000_000), "", live;
    /// Certificates (PEM) for TLS, the server's own first; with `rpc_tls_key`. Files that change are
    /// taken over within seconds.
    rpc_tls_cert: PathBuf = PathBuf::new(), Kind::Path, "", restart;
    /// The private key (PEM) that goes with them.
    rpc_tls_key: PathBuf = PathBuf::new(), Kind::Path, "", restart;
    /// Folder of a web interface, served under `/transmission/web/`; empty for none.
    web_home: PathBuf = PathBuf::new(), Kind::Path, "", live;
    /// Shards to run, each on a core of its own; 0 for one on each core that the process may use.
    cores: u16 = 0, up_to(1024), "", restart;
    /// Input and output driver: `auto`, `uring` or `mio`.
    driver: String = "auto".into(), Kind::Text, "", restart;
    /// Whether sends avoid the copy into the kernel where the driver can.
    zero_copy: bool = true, Kind::Switch, "", restart;
    /// Folder that torrents are in until they are complete, if `incomplete_dir_enabled`.
    incomplete_dir: PathBuf = default_download_dir(), Kind::Path, "", live;
    /// Whether new torrents are put into `incomplete_dir` and move to their download folder when
    /// they are complete. A torrent of which files are in its download folder stays there.
    incomplete_dir_enabled: bool = false, Kind::Switch, "", live;
    /// Whether files of new torrents end in `.part` until everything wanted of the torrent is there.
    rename_partial_files: bool = false, Kind::Switch, "", live;
    /// Whether added torrents start at once.
    start_added_torrents: bool = true, Kind::Switch, "", live;
    /// Connections to peers of all torrents together.
    peer_limit_global: u32 = 20_000, between(1, 1_000_000), "", live;
    /// Connections to peers of one torrent.
    peer_limit_per_torrent: u32 = 500, between(1, 60_000), "", live;
    /// Outgoing connections being made at a time, of each shard.
    connecting_limit: u32 = 64, between(1, 10_000), "", live;
    /// Peers of one torrent that are served at a time; 0 for no limit.
    upload_slots_per_torrent: u32 = 50, up_to(60_000), "", live;
    /// Requests that one peer may queue (BEP 10 `reqq`).
    reqq: u32 = 512, between(1, 2000), "", live;
    /// Memory for pieces being downloaded, of all shards together.
    download_memory_mib: u32 = 48, between(4, 1_048_576), "MiB", restart;
    /// Time after which written pieces are made durable and recorded for resumption.
    sync_interval: u32 = 5, between(1, 600), "s", live;
    /// Reserve the whole space of a file before it is written (fallocate(2)).
    preallocate: bool = false, Kind::Switch, "", live;
    /// Write whole pieces past the page cache (O_DIRECT) on disks that do not rotate: cheaper, and
    /// what is being seeded stays in memory.
    direct_writes: bool = true, Kind::Switch, "", restart;
    /// Whether new torrents fetch their pieces in order.
    sequential_download: bool = false, Kind::Switch, "", live;
    /// Threads that check files; 0 for one on each core that the process may use.
    check_threads: u16 = 0, up_to(1024), "", restart;
    /// Whether .torrent files that were added from a watch folder, or by their path, are deleted.
    trash_original_torrent_files: bool = false, Kind::Switch, "", live;
    /// Folders whose .torrent files are added as they appear.
    watch_folders: Vec<WatchFolder> = Vec::new(), Kind::Folders, "", live;
    /// Program that runs when a torrent was added, if `script_torrent_added_enabled`.
    script_torrent_added_filename: PathBuf = PathBuf::new(), Kind::Path, "", live;
    /// Whether it runs.
    script_torrent_added_enabled: bool = false, Kind::Switch, "", live;
    /// Program that runs when everything wanted of a torrent is there, if
    /// `script_torrent_done_enabled`.
    script_torrent_done_filename: PathBuf = PathBuf::new(), Kind::Path, "", live;
    /// Whether it runs.
    script_torrent_done_enabled: bool = false, Kind::Switch, "", live;
    /// Program that runs when a torrent has seeded as much as it was to, if
    /// `script_torrent_done_seeding_enabled`.
    script_torrent_done_seeding_filename: PathBuf = PathBuf::new(), Kind::Path, "", live;
    /// Whether it runs.
    script_torrent_done_seeding_enabled: bool = false, Kind::Switch, "", live;
    /// Time that a script may take before it is ended.
    script_time_limit: u32 = 600, between(1, 86_400), "s", live;
    /// Whether addresses of the blocklist are neither connected to nor let in.
    blocklist_enabled: bool = false, Kind::Switch, "", live;
    /// Where the blocklist comes from when it is updated: an `http` or `https` address, a `file`
    /// address or a path.
    blocklist_url: String = String::new(), Kind::Text, "", live;
    /// Web address that tells whether the peer port can be reached: the port takes the place of
    /// `{port}` in it, or is put at its end, and the answer is `1` or `0`. Empty for no test.
    port_test_url: String = String::new(), Kind::Text, "", live;
    /// Trackers that are added to every public torrent, one URL a line, tiers separated by an empty
    /// line.
    default_trackers: String = String::new(), Kind::Text, "", live;
    /// Payload that goes out at most, of all torrents that honour it, while `speed_limit_up_enabled`.
    speed_limit_up: u32 = 100, up_to(MOST_KB), "kB/s", live;
    /// Whether `speed_limit_up` holds.
    speed_limit_up_enabled: bool = false, Kind::Switch, "", live;
    /// Payload that comes in at most, of all torrents that honour it, while
    /// `speed_limit_down_enabled`.
    speed_limit_down: u32 = 100, up_to(MOST_KB), "kB/s", live;
    /// Whether `speed_limit_down` holds.
    speed_limit_down_enabled: bool = false, Kind::Switch, "", live;
    /// Takes the place of `speed_limit_up` while `alt_speed_enabled`.
    alt_speed_up: u32 = 50, up_to(MOST_KB), "kB/s", live;
    /// Takes the place of `speed_limit_down` while `alt_speed_enabled`.
    alt_speed_down: u32 = 50, up_to(MOST_KB), "kB/s", live;
    /// Whether the alternative limits hold, whatever the usual ones are; `alt_speed_time_enabled`
    /// turns it on and off by the clock.
    alt_speed_enabled: bool = false, Kind::Switch, "", live;
    /// Whether the alternative limits begin and end by the local clock.
    alt_speed_time_enabled: bool = false, Kind::Switch, "", live;
    /// When they begin, in minutes after midnight.
    alt_speed_time_begin: u32 = 540, up_to(1439), "min", live;
    /// When they end; before their beginning for an end on the next day.
    alt_speed_time_end: u32 = 1020, up_to(1439), "min", live;
    /// Days on which they begin, as a sum: Sunday 1, Monday 2, Tuesday 4, Wednesday 8, Thursday 16,
    /// Friday 32, Saturday 64.
    alt_speed_time_day: u32 = 127, up_to(127), "", live;
    /// Bytes sent for each byte of the torrent at which seeding ends, while `seed_ratio_limited`.
    seed_ratio_limit: f64 = 2.0, Kind::Decimal, "", live;
    /// Whether `seed_ratio_limit` holds.
    seed_ratio_limited: bool = false, Kind::Switch, "", live;
    /// Time without payload after which seeding ends, while `idle_seeding_limit_enabled`.
    idle_seeding_limit: u32 = 30, between(1, 1_000_000), "min", live;
    /// Whether `idle_seeding_limit` holds.
    idle_seeding_limit_enabled: bool = false, Kind::Switch, "", live;
    /// Whether only `download_queue_size` torrents download at a time, by their place in the queue.
    download_queue_enabled: bool = false, Kind::Switch, "", live;
    /// Torrents that download at a time.
    download_queue_size: u32 = 5, up_to(1_000_000), "", live;
    /// Whether only `seed_queue_size` torrents seed at a time, by their place in the queue.
    seed_queue_enabled: bool = false, Kind::Switch, "", live;
    /// Torrents that seed at a time.
    seed_queue_size: u32 = 10, up_to(1_000_000), "", live;
    /// Whether torrents without payload for `queue_stalled_minutes` make room for others in the queue.
    queue_stalled_enabled: bool = true, Kind::Switch, "", live;
    /// Time without payload after which a torrent counts as stalled.
    queue_stalled_minutes: u32 = 30, between(1, 1_000_000), "min", live;
    /// Whether each start takes any free port for peers instead of `peer_port`.
    peer_port_random_on_start: bool = false, Kind::Switch, "", restart;
    /// Kept for clients of Transmission; nothing goes by it, as there is no DHT yet.
    dht_enabled: bool = false, Kind::Switch, "", live;
    /// Kept for clients of Transmission; nothing goes by it, as there is no peer exchange yet.
    pex_enabled: bool = false, Kind::Switch, "", live;
    /// Kept for clients of Transmission; nothing goes by it, as there is no local discovery yet.
    lpd_enabled: bool = false, Kind::Switch, "", live;
    /// Kept for clients of Transmission; nothing goes by it, as no router is asked yet.
    port_forwarding_enabled: bool = false, Kind::Switch, "", live;
    /// `required`, `preferred` or `allowed`. Kept for clients of Transmission; nothing goes by it, as
    /// there are no encrypted connections yet.
    encryption: String = "allowed".into(), Kind::Text, "", live;
    /// `utp` and `tcp`, the preferred one first, separated by commas. Kept for clients of
    /// Transmission; nothing goes by it, as there is nothing but TCP yet.
    preferred_transports: String = "tcp".into(), Kind::Text, "", live;
    /// Kept for clients of Transmission; nothing goes by it, as `download_memory_mib` bounds memory.
    cache_size_mib: u32 = 4, up_to(1_048_576), "MiB", live;
}

/// A folder whose .torrent files are added as they appear.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WatchFolder {
    /// The folder: an absolute path.
    pub path: PathBuf,
    /// Where the torrents' data goes; without it, as the settings say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub download_dir: Option<PathBuf>,
    /// Labels that they get.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// Whether they stay stopped; without it, as the settings say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// What becomes of the file; without it, it is deleted with `trash_original_torrent_files` and
    /// renamed otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<AfterAdding>,
}

/// What becomes of a .torrent file that was added.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AfterAdding {
    /// It stays as it is.
    Keep,
    /// It gets `.added` behind its name.
    Rename,
    /// It goes.
    Delete,
}

impl WatchFolder {
    fn check(&self) -> Result<(), String> {
        let is_relative = |path: &PathBuf| !path.is_absolute();
        if let Some(path) = [Some(&self.path), self.download_dir.as_ref()]
            .into_iter()
            .flatten()
            .find(|p| is_relative(p))
        {
            return Err(format!("watch_folders: {} is not an absolute path", path.display()));
        }
        if self.labels.iter().any(|label| label.trim().is_empty() || label.contains(',')) {
            return Err("watch_folders: labels cannot be empty or contain commas".into());
        }
        Ok(())
    }
}

/// Values of `encryption`.
const ENCRYPTION: [&str; 3] = ["required", "preferred", "allowed"];

/// Values in `preferred_transports`.
const TRANSPORTS: [&str; 2] = ["utp", "tcp"];

/// The largest speed limit in kB/s, 1000 B/s each: a terabyte a second, beyond any network card.
const MOST_KB: u64 = 1_000_000_000;

/// `~/Downloads`, or `downloads` in the current folder when there is no home.
fn default_download_dir() -> PathBuf {
    std::env::home_dir().map_or_else(|| "downloads".into(), |home| home.join("Downloads"))
}

impl Settings {
    /// Checks every number against its range; the error names the setting.
    pub fn check(&self) -> Result<(), String> {
        let values = serde_json::to_value(self).map_err(|error| error.to_string())?;
        for row in TABLE {
            if let (Kind::Number { least, most }, Some(value)) =
                (row.kind, values[row.name].as_u64())
                && !(least..=most).contains(&value)
            {
                return Err(format!("{} must be from {least} to {most}, not {value}", row.name));
            }
            // What JSON has no word for, as infinity, is null here.
            if row.kind == Kind::Decimal
                && values[row.name].as_f64().is_none_or(|value| value < 0.0)
            {
                return Err(format!("{} must be a number, 0 or more", row.name));
            }
        }
        if self.watch_folders.len() > crate::limits::WATCH_FOLDERS {
            return Err(format!("watch_folders: {} at most", crate::limits::WATCH_FOLDERS));
        }
        self.watch_folders.iter().try_for_each(WatchFolder::check)?;
        if !ENCRYPTION.contains(&self.encryption.as_str()) {
            return Err(format!("encryption must be one of {}", ENCRYPTION.join(", ")));
        }
        let transports: Vec<&str> = self.transports().collect();
        let again = |at: usize| transports[..at].contains(&transports[at]);
        if transports.iter().any(|way| !TRANSPORTS.contains(way))
            || (0..transports.len()).any(again)
        {
            return Err("preferred_transports: utp and tcp, each once at most".into());
        }
        self.driver.parse::<ring::DriverChoice>()?;
        self.peer_addresses().map(drop)
    }

    /// The entries of `preferred_transports`.
    pub fn transports(&self) -> impl Iterator<Item = &str> {
        self.preferred_transports.split(',').map(str::trim).filter(|way| !way.is_empty())
    }

    /// The port to ask for at a start; 0 takes any free one.
    pub fn port_at_start(&self) -> u16 {
        if self.peer_port_random_on_start { 0 } else { self.peer_port }
    }

    /// The addresses of `peer_bind`.
    pub fn peer_addresses(&self) -> Result<Vec<std::net::IpAddr>, String> {
        let names = self.peer_bind.split(',').map(str::trim).filter(|name| !name.is_empty());
        names
            .map(|name| name.parse().map_err(|_| format!("peer_bind: '{name}' is no IP address")))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_in_range_and_the_table_has_every_field() {
        let settings = Settings::default();
        settings.check().unwrap();
        let values = serde_json::to_value(&settings).unwrap();
        let fields = values.as_object().unwrap();
        assert_eq!(fields.len(), TABLE.len());
        assert!(TABLE.iter().all(|row| fields.contains_key(row.name)));
    }

    #[test]
    fn a_number_out_of_range_is_refused_by_name() {
        let settings = Settings { reqq: 0, ..Settings::default() };
        assert!(settings.check().unwrap_err().starts_with("reqq"));
        for bad in [-0.5, f64::NAN, f64::INFINITY] {
            let settings = Settings { seed_ratio_limit: bad, ..Settings::default() };
            assert!(settings.check().unwrap_err().starts_with("seed_ratio_limit"));
        }
    }

    #[test]
    fn words_that_mean_nothing_are_refused_by_name() {
        for (transports, fine) in
            [("utp, tcp", true), ("tcp,utp", true), ("", true), ("tcp,tcp", false), ("i2p", false)]
        {
            let preferred_transports = transports.to_owned();
            let checked = Settings { preferred_transports, ..Settings::default() }.check();
            assert_eq!(checked.is_ok(), fine, "{transports}: {checked:?}");
        }
        let settings = Settings { encryption: "tolerated".into(), ..Settings::default() };
        assert!(settings.check().unwrap_err().starts_with("encryption"));
    }
}
