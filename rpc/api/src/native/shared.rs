//! What torrents share: their queue, and the limits of bandwidth groups.

use super::{Selection, torrent::present};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Somewhere in the queue, by a word.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum QueueWay {
    /// Before all others.
    Top,
    /// One place forward.
    Up,
    /// One place back.
    Down,
    /// Behind all others.
    Bottom,
}

/// Where torrents go in the queue: `"top"`, `"up"`, `"down"`, `"bottom"`, or a position.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum QueueTarget {
    /// By a word.
    Way(QueueWay),
    /// A position from 0, for the first of them; beyond the end, it is the end.
    Position(u32),
}

/// `queue.move`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MoveInQueue {
    /// The torrents: they stay in their order.
    pub torrents: Selection,
    /// Where to.
    pub to: QueueTarget,
}

/// A bandwidth group.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// The limit on payload going out of all its torrents together, in bytes per second; null for
    /// none.
    pub upload_limit: Option<u64>,
    /// The limit on payload coming in, in the same way.
    pub download_limit: Option<u64>,
    /// Whether the speed limits of the settings hold for its torrents.
    pub honors_session_limits: bool,
    /// Torrents in it.
    pub torrents: u32,
}

/// `group.set`: what is left out stays.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupChange {
    /// Its name; it is made if there is none of this name.
    pub name: String,
    /// The limit on payload going out of all its torrents together, in bytes per second: kept in
    /// whole kB/s, rounded up; null for none.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub upload_limit: Option<Option<u64>>,
    /// The limit on payload coming in, in the same way.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub download_limit: Option<Option<u64>>,
    /// Whether the speed limits of the settings hold for its torrents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub honors_session_limits: Option<bool>,
}

/// `group.remove`
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupName {
    /// Its name.
    pub name: String,
}
