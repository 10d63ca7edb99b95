//! Adding, editing and removing torrents.

use super::{IdleGoal, RatioGoal, Selection, TorrentRef, Weight, torrent::present};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// How much a file is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Not at all.
    Skip,
    /// After the others.
    Low,
    /// As usual.
    Normal,
    /// Before the others.
    High,
}

/// A file, and how much it is to be wanted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileChoice {
    /// Its number in `torrent.files`.
    pub file: u32,
    /// How much it is wanted.
    pub priority: Priority,
}

/// `torrent.add`: exactly one of `metainfo`, `path` and `url` names what to add.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AddTorrent {
    /// The bytes of the .torrent in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metainfo: Option<String>,
    /// A .torrent on the server, by its absolute path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// A .torrent on a web server, by its address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Cookies for that server, as in a Cookie header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cookies: Option<String>,
    /// Folder for its data, an absolute path on the server; as the settings say if it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub download_dir: Option<String>,
    /// Whether it stays stopped; as the settings say if it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// Labels.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// Files that are not wanted as usual.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileChoice>,
    /// Peers at most; as the settings say if it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_limit: Option<u32>,
    /// Pieces in order; as the settings say if it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequential: Option<bool>,
    /// The piece that they begin with then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequential_from: Option<u32>,
    /// Its weight among others where a shared speed limit binds; normal if it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<Weight>,
    /// Its own limit on payload going out, in bytes per second: kept in whole kB/s, rounded up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upload_limit: Option<u64>,
    /// Its own limit on payload coming in, in the same way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub download_limit: Option<u64>,
    /// Whether the speed limits of the settings hold for it; they do if it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub honors_session_limits: Option<bool>,
    /// The bandwidth group whose limits it shares; made if there is none of this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The ratio at which it stops seeding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio_goal: Option<RatioGoal>,
    /// The time without payload after which it stops seeding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_goal: Option<IdleGoal>,
    /// Takes files that are there in full length as good, without a check.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub trust_files: bool,
}

/// What `torrent.add` gives.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Added {
    /// The session's number.
    pub id: u32,
    /// Its version-1 info-hash.
    pub info_hash: String,
    /// Its name.
    pub name: String,
    /// Whether it was there before; nothing has changed then.
    pub duplicate: bool,
}

/// `torrent.remove`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Remove {
    /// The torrents.
    pub torrents: Selection,
    /// Delete their files too.
    #[serde(default)]
    pub delete_data: bool,
}

/// `torrent.move`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Move {
    /// The torrents.
    pub torrents: Selection,
    /// The folder, an absolute path on the server.
    pub download_dir: String,
    /// Take the files there; otherwise they are looked for there.
    #[serde(default)]
    pub bring: bool,
}

/// `torrent.rename`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rename {
    /// The torrent.
    pub torrent: TorrentRef,
    /// The file or folder, as in `torrent.files`: begins with the torrent's name.
    pub path: String,
    /// Its new last component.
    pub name: String,
}

/// `torrent.edit`: what is left out stays.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// The torrents.
    pub torrents: Selection,
    /// All labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<String>>,
    /// All announce URLs, by tier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trackers: Option<Vec<Vec<String>>>,
    /// Files, and how much they are wanted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileChoice>,
    /// Peers at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_limit: Option<u32>,
    /// Pieces in order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequential: Option<bool>,
    /// The piece that they begin with then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequential_from: Option<u32>,
    /// Their weight among others where a shared speed limit binds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Weight>,
    /// The limit of each on payload going out, in bytes per second: kept in whole kB/s, rounded up;
    /// null for none.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub upload_limit: Option<Option<u64>>,
    /// The limit of each on payload coming in, in the same way.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub download_limit: Option<Option<u64>>,
    /// Whether the speed limits of the settings hold for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub honors_session_limits: Option<bool>,
    /// The bandwidth group whose limits they share: made if there is none of this name; null for
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub group: Option<Option<String>>,
    /// The ratio at which they stop seeding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio_goal: Option<RatioGoal>,
    /// The time without payload after which they stop seeding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_goal: Option<IdleGoal>,
}

impl Edit {
    /// An edit that changes nothing yet.
    pub fn of(torrents: Selection) -> Edit {
        Edit {
            torrents,
            labels: None,
            trackers: None,
            files: Vec::new(),
            peer_limit: None,
            sequential: None,
            sequential_from: None,
            priority: None,
            upload_limit: None,
            download_limit: None,
            honors_session_limits: None,
            group: None,
            ratio_goal: None,
            idle_goal: None,
        }
    }
}

/// `torrent.start`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// The torrents.
    pub torrents: Selection,
    /// Without waiting in a queue.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub now: bool,
}

/// `torrent.add_peers`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddPeers {
    /// The torrent.
    pub torrent: TorrentRef,
    /// Where the peers listen: `192.0.2.1:6881`, `[2001:db8::1]:6881`.
    #[schemars(with = "Vec<String>")]
    pub peers: Vec<SocketAddr>,
}
