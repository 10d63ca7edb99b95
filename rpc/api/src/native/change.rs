//! Adding, editing and removing torrents.

use super::{Selection, TorrentRef};
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
        }
    }
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
