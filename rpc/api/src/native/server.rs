//! The server itself: what it is, its settings, its figures.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What `server.info` gives.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Info {
    /// The program.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The version of this API.
    pub api_version: String,
    /// The driver that the shards run on: `io_uring` or `mio`.
    pub driver: String,
    /// Where peers can connect.
    pub peer_addresses: Vec<String>,
    /// The folder of the session and the settings.
    pub config_dir: String,
    /// Whether torrents are loaded and every shard runs.
    pub ready: bool,
    /// The shards, by their numbers.
    pub shards: Vec<Shard>,
}

/// A shard: a thread that serves its share of the torrents.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Shard {
    /// Whether it runs.
    pub running: bool,
    /// Torrents that run on it.
    pub torrents: u32,
    /// How often a fresh one took its place after a failure.
    pub restarts: u64,
}

/// All settings by name.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Settings {
    /// The settings.
    pub settings: Map<String, Value>,
}

/// `settings.set`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SettingsChange {
    /// Settings by name, with their new values; the others stay.
    pub settings: Map<String, Value>,
}

/// The kind of a setting's value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SettingKind {
    /// `true` or `false`.
    Switch,
    /// A number.
    Number,
    /// Text.
    Text,
    /// A path.
    Path,
    /// Folders to watch, each an object of its settings.
    Folders,
}

/// What a setting is.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Setting {
    /// Its name.
    pub name: String,
    /// The kind of its value.
    pub kind: SettingKind,
    /// The smallest number; null for others.
    pub least: Option<f64>,
    /// The largest number; null for others.
    pub most: Option<f64>,
    /// The unit of a number; empty for a count.
    pub unit: String,
    /// Whether a change takes effect only at the next start.
    pub restart: bool,
    /// What it does.
    pub doc: String,
    /// Its value now.
    pub value: Value,
    /// Its value if nobody sets it.
    pub default: Value,
}

/// Counters of a run or of all runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Counters {
    /// Payload bytes received.
    pub downloaded: u64,
    /// Payload bytes sent.
    pub uploaded: u64,
    /// Torrents added.
    pub torrents_added: u64,
    /// Times the program was started.
    pub runs: u64,
    /// Seconds it has run.
    pub seconds: u64,
}

/// Figures of the whole session; also what the subscription to them pushes.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Statistics {
    /// Torrents.
    pub torrents: u32,
    /// Torrents that download.
    pub downloading: u32,
    /// Torrents that seed.
    pub seeding: u32,
    /// Torrents that are checked, or wait for it.
    pub verifying: u32,
    /// Torrents that are being moved.
    pub moving: u32,
    /// Torrents that wait for their turn in a queue.
    pub queued: u32,
    /// Torrents that are stopped.
    pub stopped: u32,
    /// Torrents with an error.
    pub errors: u32,
    /// Connected peers.
    pub peers: u32,
    /// Bytes per second of payload coming in.
    pub download_rate: u64,
    /// Bytes per second of payload going out.
    pub upload_rate: u64,
    /// Since the start.
    pub this_run: Counters,
    /// In all runs.
    pub all_runs: Counters,
}

/// `server.free_space`
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Folder {
    /// An absolute path on the server; the download folder, made or not, if it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// The family of an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AddressFamily {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

/// `server.port_test`
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PortTest {
    /// Over which family; either if it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family: Option<AddressFamily>,
}

/// What `server.port_test` gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PortState {
    /// Whether the peer port can be reached from outside.
    pub open: bool,
    /// The family that was tested; null if that is not known.
    pub family: Option<AddressFamily>,
}

/// The blocklist.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BlocklistState {
    /// Rules in it.
    pub rules: u32,
    /// Whether it holds.
    pub enabled: bool,
}

/// What `server.free_space` gives.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Room {
    /// The folder.
    pub path: String,
    /// Bytes that can be written.
    pub free: u64,
    /// Bytes of the whole file system.
    pub total: u64,
}
