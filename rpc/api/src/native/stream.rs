//! What subscriptions take and push.

use super::{Field, Torrent};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The shortest time between two messages of a subscription, in milliseconds.
pub const LEAST_INTERVAL: u32 = 100;

/// The longest.
pub const MOST_INTERVAL: u32 = 3_600_000;

fn second() -> u32 {
    1000
}

/// `torrent.subscribe`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TorrentStream {
    /// What to tell of each torrent besides its id; everything if it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fields: Option<Vec<Field>>,
    /// Milliseconds between two messages at least, from 100.
    #[schemars(range(min = 100, max = 3_600_000))]
    #[serde(default = "second")]
    pub interval: u32,
}

impl Default for TorrentStream {
    fn default() -> TorrentStream {
        TorrentStream { fields: None, interval: second() }
    }
}

/// A message of `torrent.subscribe`.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Changes {
    /// The session's change counter: everything up to it has been told.
    pub counter: u64,
    /// Whether this is the whole state, to take the place of what was known: the first message, and
    /// one after the subscriber has fallen far behind.
    pub snapshot: bool,
    /// Torrents that are new or have changed, with the fields that have; all of them with all
    /// fields asked for in a snapshot.
    pub torrents: Vec<Torrent>,
    /// Ids of torrents that are gone; empty in a snapshot.
    pub removed: Vec<u32>,
}

impl Changes {
    /// Brings what is known up to date: torrents by their id.
    pub fn apply(self, known: &mut std::collections::BTreeMap<u32, Torrent>) {
        if self.snapshot {
            known.clear();
        }
        for id in self.removed {
            known.remove(&id);
        }
        for change in self.torrents {
            let id = change.id;
            known.entry(id).or_insert_with(|| Torrent { id, ..Torrent::default() }).merge(change);
        }
    }
}

/// `event.subscribe`
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EventStream {
    /// Only events of these kinds; all if it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kinds: Option<Vec<EventKind>>,
}

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A torrent was added.
    Added,
    /// Everything wanted of a torrent is there.
    Completed,
    /// A torrent has reached its ratio or idle goal, and stops seeding.
    SeedingGoal,
    /// A torrent is gone, and its data if that was asked for.
    Removed,
    /// A check of a torrent's files has ended.
    Verified,
    /// A local error stopped a torrent.
    Error,
    /// The trackers of a torrent refuse or cannot be reached.
    TrackerError,
    /// A tracker works, with a warning.
    TrackerWarning,
    /// The trackers of a torrent work again.
    TrackerRecovered,
    /// A host that sent bad data is no longer talked to.
    PeerBanned,
    /// The room in the download folder has become short.
    RoomShort,
    /// There is room again.
    RoomEnough,
    /// The subscriber fell behind, and did not get `missed` events.
    Missed,
}

impl EventKind {
    /// As JSON names it.
    pub fn name(self) -> &'static str {
        match self {
            EventKind::Added => "added",
            EventKind::Completed => "completed",
            EventKind::SeedingGoal => "seeding_goal",
            EventKind::Removed => "removed",
            EventKind::Verified => "verified",
            EventKind::Error => "error",
            EventKind::TrackerError => "tracker_error",
            EventKind::TrackerWarning => "tracker_warning",
            EventKind::TrackerRecovered => "tracker_recovered",
            EventKind::PeerBanned => "peer_banned",
            EventKind::RoomShort => "room_short",
            EventKind::RoomEnough => "room_enough",
            EventKind::Missed => "missed",
        }
    }
}

/// A message of `event.subscribe`. What an event does not have is left out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Seconds since 1970.
    pub at: u64,
    /// What happened.
    pub kind: EventKind,
    /// The torrent's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    /// The torrent's info-hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub info_hash: Option<String>,
    /// The torrent's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What went wrong, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The host that was banned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Bytes that can be written there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free: Option<u64>,
    /// How many events were missed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<u64>,
}

impl Event {
    /// An event with nothing but its kind and time.
    pub fn new(at: u64, kind: EventKind) -> Event {
        Event {
            at,
            kind,
            id: None,
            info_hash: None,
            name: None,
            message: None,
            address: None,
            path: None,
            free: None,
            missed: None,
        }
    }
}

/// `statistics.subscribe`
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StatisticsStream {
    /// Milliseconds between two messages, from 100.
    #[schemars(range(min = 100, max = 3_600_000))]
    #[serde(default = "second")]
    pub interval: u32,
}

impl Default for StatisticsStream {
    fn default() -> StatisticsStream {
        StatisticsStream { interval: second() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn changes_bring_what_is_known_up_to_date() {
        let mut known = BTreeMap::new();
        let torrent = |id, peers, left| Torrent { id, peers, left, ..Torrent::default() };
        let apply = |known: &mut BTreeMap<u32, Torrent>, snapshot, torrents, removed| {
            Changes { counter: 0, snapshot, torrents, removed }.apply(known);
        };
        apply(&mut known, true, vec![torrent(1, Some(1), Some(9)), torrent(2, None, None)], vec![]);
        apply(&mut known, false, vec![torrent(1, Some(2), None), torrent(3, None, None)], vec![2]);
        assert_eq!(known.keys().copied().collect::<Vec<_>>(), [1, 3]);
        assert_eq!(known[&1], torrent(1, Some(2), Some(9)));
        apply(&mut known, true, vec![torrent(4, None, None)], vec![]);
        assert_eq!(known.keys().copied().collect::<Vec<_>>(), [4]);
    }
}
