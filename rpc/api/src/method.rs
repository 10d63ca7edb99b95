//! What can be called: one row for each method, for both dialects.

use crate::{Access, Dialect, Name};

/// One method.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Method {
    /// Its name in JSON-RPC, and how the rest of the program calls it.
    pub name: &'static str,
    /// Its name in the older dialect.
    pub legacy: &'static str,
    /// Whether a call changes anything. One that does not is not run as a notification.
    pub side_effects: bool,
    /// What a caller must be allowed for it.
    pub access: Access,
}

const fn administers(name: &'static str, legacy: &'static str) -> Method {
    Method { name, legacy, side_effects: true, access: Access::Administers }
}

const fn changes(name: &'static str, legacy: &'static str) -> Method {
    Method { name, legacy, side_effects: true, access: Access::Changes }
}

const fn reads(name: &'static str, legacy: &'static str) -> Method {
    Method { name, legacy, side_effects: false, access: Access::Reads }
}

/// Every method that is served.
pub const TABLE: &[Method] = &[
    reads("torrent_get", "torrent-get"),
    changes("torrent_add", "torrent-add"),
    changes("torrent_set", "torrent-set"),
    changes("torrent_remove", "torrent-remove"),
    changes("torrent_start", "torrent-start"),
    changes("torrent_start_now", "torrent-start-now"),
    changes("torrent_stop", "torrent-stop"),
    changes("torrent_verify", "torrent-verify"),
    changes("torrent_reannounce", "torrent-reannounce"),
    changes("torrent_set_location", "torrent-set-location"),
    changes("torrent_rename_path", "torrent-rename-path"),
    changes("queue_move_top", "queue-move-top"),
    changes("queue_move_up", "queue-move-up"),
    changes("queue_move_down", "queue-move-down"),
    changes("queue_move_bottom", "queue-move-bottom"),
    reads("group_get", "group-get"),
    changes("group_set", "group-set"),
    reads("session_get", "session-get"),
    administers("session_set", "session-set"),
    reads("session_stats", "session-stats"),
    administers("session_close", "session-close"),
    administers("blocklist_update", "blocklist-update"),
    reads("port_test", "port-test"),
    reads("free_space", "free-space"),
];

impl Method {
    /// The method that a request in this dialect names.
    pub fn named(text: &str, dialect: Dialect) -> Option<&'static Method> {
        TABLE
            .iter()
            .find(|method| Name { snake: method.name, legacy: method.legacy }.is(text, dialect))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_names_are_the_newer_ones_with_dashes() {
        for method in TABLE {
            assert_eq!(method.name.replace('_', "-"), method.legacy);
        }
    }

    #[test]
    fn the_older_dialect_knows_both_names_and_the_newer_one_only_its_own() {
        for method in TABLE {
            assert_eq!(Method::named(method.name, Dialect::JsonRpc), Some(method));
            assert_eq!(Method::named(method.name, Dialect::Legacy), Some(method));
            assert_eq!(Method::named(method.legacy, Dialect::Legacy), Some(method));
            assert_eq!(Method::named(method.legacy, Dialect::JsonRpc), None);
        }
    }
}
