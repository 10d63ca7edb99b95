//! Everything the engine can do is reachable over the native API.
//!
//! The lists say for each ability of the engine, as its source has it, how: a method, a parameter of
//! one, or a field. What the engine learns to do and these lists do not know fails the tests.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

use api::{
    method,
    native::{Field, TABLE, openrpc},
    session::{SessionField, State},
    torrent::TorrentField,
};
use serde_json::Value;
use std::{collections::BTreeMap, fs, path::PathBuf};

/// What the session offers, and the methods that reach it; none for what is not for callers.
const SESSION: &[(&str, &[&str])] = &[
    ("add", &["torrent.add"]),
    ("add_peers", &["torrent.add_peers"]),
    ("blocklist_size", &["blocklist.get"]),
    ("config_dir", &["server.info"]),
    ("counters", &["statistics.get", "statistics.subscribe"]),
    ("detail", &["torrent.peers", "torrent.pieces"]),
    ("driver", &["server.info"]),
    ("edit", &["torrent.edit"]),
    ("events", &["event.subscribe"]),
    ("groups", &["group.list"]),
    ("is_ready", &["server.info"]),
    ("move_in_queue", &["queue.move"]),
    // For tests of the engine.
    ("panic_shard", &[]),
    ("panic_torrent", &[]),
    ("peer_addr", &["server.info", "server.port_test"]),
    ("put_in_queue", &["queue.move"]),
    ("read", &["torrent.list", "torrent.get", "torrent.files", "torrent.subscribe"]),
    ("reannounce", &["torrent.reannounce"]),
    ("remove", &["torrent.remove"]),
    ("remove_group", &["group.remove"]),
    ("rename_path", &["torrent.rename"]),
    ("request_shutdown", &["server.shutdown"]),
    ("set_group", &["group.set"]),
    ("set_location", &["torrent.move"]),
    ("set_settings", &["settings.set"]),
    ("settings", &["settings.get", "settings.describe"]),
    // Part of every answer with positions.
    ("settle_queue", &["torrent.list"]),
    ("shards", &["server.info"]),
    // For the program around it: its start, and what request_shutdown leads to.
    ("shutdown_requested", &[]),
    ("start", &[]),
    ("stop", &[]),
    ("start_torrents", &["torrent.start"]),
    ("start_torrents_now", &["torrent.start"]),
    ("stop_torrents", &["torrent.stop"]),
    ("trackers", &["torrent.trackers"]),
    ("update_blocklist", &["blocklist.update"]),
    ("verify", &["torrent.verify"]),
];

/// Fields of a struct, with what they are called in its schemas.
type Renamed = &'static [(&'static str, &'static [&'static str])];

/// Structs of the engine with the schemas that have their fields, and the fields that are called
/// something else there. None for what is not for callers.
const STRUCTS: &[(&str, &str, &[&str], Renamed)] = &[
    (
        "session/adding.rs",
        "NewTorrent",
        &["AddTorrent"],
        &[("file_priorities", &["files"]), ("rules", &["priority", "upload_limit", "group"])],
    ),
    (
        "session/mod.rs",
        "Change",
        &["Edit"],
        &[("file_priorities", &["files"]), ("rules", &["priority", "upload_limit", "group"])],
    ),
    (
        "rules.rs",
        "Rules",
        &["Edit", "Torrent"],
        &[
            ("upload", &["upload_limit"]),
            ("download", &["download_limit"]),
            ("ratio_mode", &["ratio_goal"]),
            ("ratio_limit", &["ratio_goal"]),
            ("idle_mode", &["idle_goal"]),
            ("idle_limit", &["idle_goal"]),
        ],
    ),
    (
        "rules.rs",
        "Group",
        &["Group", "GroupChange"],
        &[("upload", &["upload_limit"]), ("download", &["download_limit"])],
    ),
    (
        "status.rs",
        "Torrent",
        &["Torrent"],
        &[
            ("meta", &["name", "size", "private", "piece_count", "web_seeds", "comment"]),
            ("relocation", &["moving_to", "move_progress"]),
            ("running", &["state"]),
            ("activity", &["state"]),
            ("trouble", &["error"]),
            ("have_bytes", &["have"]),
            // In torrent.files.
            ("file_priorities", &["file_count"]),
            ("rules", &["priority", "upload_limit", "download_limit", "group", "ratio_goal"]),
            ("finished", &["goal_reached"]),
            ("added_date", &["added_at"]),
            ("start_date", &["started_at"]),
            ("edit_date", &["edited_at"]),
            ("traffic", &["download_rate", "upload_rate", "peers"]),
            ("totals", &["downloaded", "uploaded", "corrupt"]),
            // What subscriptions go by.
            ("changed", &[]),
            ("changed_at", &[]),
        ],
    ),
    (
        "status.rs",
        "Traffic",
        &["Torrent"],
        &[
            ("peers_from", &["peer_origins"]),
            ("desired_available", &["available"]),
            ("unchecked", &["unverified"]),
        ],
    ),
    (
        "status.rs",
        "Totals",
        &["Torrent"],
        &[("activity_date", &["active_at"]), ("done_date", &["completed_at"])],
    ),
    (
        "status.rs",
        "SessionCounters",
        &["Counters"],
        &[
            ("files_added", &["torrents_added"]),
            ("sessions", &["runs"]),
            ("seconds_active", &["seconds"]),
        ],
    ),
    ("status.rs", "ShardStatus", &["Shard"], &[]),
    (
        "status.rs",
        "PeerInfo",
        &["Peer", "FlagSet"],
        &[("addr", &["address"]), ("id", &["peer_id"])],
    ),
];

/// Methods of Transmission's dialects, and those that do the same.
const METHODS: &[(&str, &[&str])] = &[
    ("torrent_get", &["torrent.list", "torrent.get", "torrent.files", "torrent.subscribe"]),
    ("torrent_add", &["torrent.add"]),
    ("torrent_set", &["torrent.edit", "queue.move"]),
    ("torrent_remove", &["torrent.remove"]),
    ("torrent_start", &["torrent.start"]),
    ("torrent_start_now", &["torrent.start"]),
    ("torrent_stop", &["torrent.stop"]),
    ("torrent_verify", &["torrent.verify"]),
    ("torrent_reannounce", &["torrent.reannounce"]),
    ("torrent_set_location", &["torrent.move"]),
    ("torrent_rename_path", &["torrent.rename"]),
    ("queue_move_top", &["queue.move"]),
    ("queue_move_up", &["queue.move"]),
    ("queue_move_down", &["queue.move"]),
    ("queue_move_bottom", &["queue.move"]),
    ("group_get", &["group.list"]),
    ("group_set", &["group.set"]),
    ("session_get", &["settings.get", "settings.describe", "server.info"]),
    ("session_set", &["settings.set"]),
    ("session_stats", &["statistics.get"]),
    ("session_close", &["server.shutdown"]),
    ("blocklist_update", &["blocklist.update"]),
    ("port_test", &["server.port_test"]),
    ("free_space", &["server.free_space"]),
];

/// Fields of torrents in Transmission's dialects that are called something else here: a field of
/// [`Field`], or a method that tells.
const TORRENT_FIELDS: &[(&str, &str)] = &[
    ("activity_date", "active_at"),
    ("added_date", "added_at"),
    ("availability", "torrent.pieces"),
    ("bandwidth_priority", "priority"),
    ("bytes_completed", "torrent.files"),
    ("corrupt_ever", "corrupt"),
    ("date_created", "created_at"),
    ("desired_available", "available"),
    ("done_date", "completed_at"),
    ("download_limited", "download_limit"),
    ("downloaded_ever", "downloaded"),
    ("edit_date", "edited_at"),
    ("error_string", "error"),
    // It follows from active_at and started_at, as is_stalled does, and from goal and settings.
    ("eta_idle", "active_at"),
    ("is_stalled", "active_at"),
    ("file_stats", "torrent.files"),
    ("files", "torrent.files"),
    ("hash_string", "info_hash"),
    ("have_unchecked", "unverified"),
    ("have_valid", "have"),
    ("is_finished", "goal_reached"),
    ("is_private", "private"),
    ("left_until_done", "left"),
    ("magnet_link", "magnet"),
    ("max_connected_peers", "peer_limit"),
    ("peers", "torrent.peers"),
    ("peers_connected", "peers"),
    ("peers_from", "peer_origins"),
    ("peers_getting_from_us", "peers_getting"),
    ("peers_sending_to_us", "peers_sending"),
    ("percent_complete", "have"),
    ("percent_done", "progress"),
    ("piece_size", "piece_length"),
    ("pieces", "torrent.pieces"),
    // By the names of the files.
    ("primary_mime_type", "torrent.files"),
    ("priorities", "torrent.files"),
    ("rate_download", "download_rate"),
    ("rate_upload", "upload_rate"),
    ("recheck_progress", "verify_progress"),
    ("seed_idle_limit", "idle_goal"),
    ("seed_idle_mode", "idle_goal"),
    ("seed_ratio_limit", "ratio_goal"),
    ("seed_ratio_mode", "ratio_goal"),
    ("sequential_download", "sequential"),
    ("sequential_download_from_piece", "sequential_from"),
    ("size_when_done", "wanted_size"),
    ("start_date", "started_at"),
    ("status", "state"),
    // A copy of the .torrent below config_dir, by its info-hash.
    ("torrent_file", "server.info"),
    ("total_size", "size"),
    ("tracker_list", "trackers"),
    ("tracker_stats", "torrent.trackers"),
    ("upload_limited", "upload_limit"),
    ("upload_ratio", "ratio"),
    ("uploaded_ever", "uploaded"),
    ("wanted", "torrent.files"),
    ("webseeds", "web_seeds"),
    ("webseeds_ex", "web_seeds"),
];

/// What session_get tells besides settings of the same name, and the method that tells it.
const SESSION_FIELDS: &[(&str, &str)] = &[
    ("blocklist_size", "blocklist.get"),
    ("config_dir", "server.info"),
    ("download_dir_free_space", "server.free_space"),
    ("rpc_version", "server.info"),
    ("rpc_version_minimum", "server.info"),
    ("rpc_version_semver", "server.info"),
    // There are no such ids here, and sizes are in bytes.
    ("session_id", "server.info"),
    ("units", "server.info"),
    // One of preferred_transports.
    ("utp_enabled", "settings.get"),
    ("version", "server.info"),
];

fn source(path: &str) -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../core/engine/src");
    fs::read_to_string(root.join(path)).unwrap()
}

/// The public functions of every `impl Session` block.
fn abilities() -> Vec<String> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../core/engine/src/session");
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|end| end != "rs") {
            continue;
        }
        let text = fs::read_to_string(path).unwrap();
        for block in text.split("\nimpl Session {\n").skip(1) {
            let lines = block.lines().take_while(|line| *line != "}");
            names.extend(lines.filter_map(|line| {
                let rest = line.strip_prefix("    pub ")?;
                let rest = rest.strip_prefix("async ").unwrap_or(rest).strip_prefix("fn ")?;
                Some(rest.split(['(', '<']).next()?.to_owned())
            }));
        }
    }
    assert!(names.len() > 30, "the source is read: {names:?}");
    names
}

/// The public fields of a struct.
fn fields(path: &str, name: &str) -> Vec<String> {
    let text = source(path);
    let block = text.split_once(&format!("\npub struct {name} {{\n")).expect(name).1;
    let lines = block.lines().take_while(|line| *line != "}");
    let field = |line: &str| Some(line.strip_prefix("    pub ")?.split_once(':')?.0.to_owned());
    let fields: Vec<String> = lines.filter_map(field).collect();
    assert!(!fields.is_empty(), "{name}");
    fields
}

fn is_method(name: &str) -> bool {
    TABLE.iter().any(|row| row.name == name)
}

/// Each name is in the list, and what the list says of it exists; nor is there anything else in it.
fn compare(what: &str, names: &[String], list: &[(&str, &[&str])]) {
    let list: BTreeMap<&str, &[&str]> = list.iter().copied().collect();
    for name in names {
        let reached = list.get(name.as_str());
        let methods = reached.unwrap_or_else(|| {
            panic!("{what} {name} is in no list of this test: give the native API a way to it")
        });
        for method in methods.iter() {
            assert!(is_method(method), "{what} {name}: there is no method {method}");
        }
    }
    for name in list.keys() {
        assert!(names.iter().any(|known| known == name), "{what} {name} is no more");
    }
}

#[test]
fn every_ability_of_the_session_has_a_method() {
    compare("session", &abilities(), SESSION);
}

#[test]
fn every_method_of_transmission_has_its_like() {
    let names: Vec<String> = method::TABLE.iter().map(|row| row.name.to_owned()).collect();
    compare("Transmission's", &names, METHODS);
}

#[test]
fn every_field_of_what_the_engine_takes_and_tells_is_in_the_api() {
    let document = openrpc::document();
    let method = |name: &str| {
        let methods = document["methods"].as_array().unwrap();
        methods.iter().find(|method| method["name"] == name).unwrap()
    };
    // What a method takes has no schema of its own there.
    let takes = |name: &str| {
        let params = method(name)["params"].as_array().unwrap();
        params.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let known = |schema: &str| match schema {
        "AddTorrent" => takes("torrent.add"),
        "Edit" => takes("torrent.edit"),
        "GroupChange" => takes("group.set"),
        schema => {
            let properties = document["components"]["schemas"][schema]["properties"].as_object();
            properties.expect(schema).keys().cloned().collect()
        }
    };
    for (path, name, schemas, renamed) in STRUCTS {
        let sets: Vec<Vec<String>> = schemas.iter().map(|schema| known(schema)).collect();
        let has = |set: &Vec<String>, field: &str| set.iter().any(|known| known == field);
        let fields = fields(path, name);
        for field in &fields {
            let here = renamed.iter().find(|(engine, _)| engine == field);
            let here: Vec<&str> = here.map_or_else(|| vec![field.as_str()], |one| one.1.to_vec());
            for wanted in here {
                // A peer's is in one of two; others are in each.
                let holds = match *name {
                    "PeerInfo" => sets.iter().any(|set| has(set, wanted)),
                    _ => sets.iter().all(|set| has(set, wanted)),
                };
                assert!(holds, "{name}::{field} is not in {schemas:?} as {wanted}");
            }
        }
        for (engine, _) in *renamed {
            assert!(fields.iter().any(|field| field == engine), "{name}::{engine} is no more");
        }
    }
}

#[test]
fn every_field_of_a_torrent_in_transmission_is_told() {
    let renamed: BTreeMap<&str, &str> = TORRENT_FIELDS.iter().copied().collect();
    let is_field = |name: &str| name == "id" || Field::ALL.iter().any(|field| field.name() == name);
    for field in TorrentField::ALL.iter().filter(|field| !field.is_fixed()) {
        let name = field.name().snake;
        let here = renamed.get(name).copied().unwrap_or(name);
        assert!(is_field(here) || is_method(here), "{name}: {here} tells nothing");
    }
}

#[test]
fn every_setting_is_told_described_and_can_be_set() {
    let settings = serde_json::to_value(engine::settings::Settings::default()).unwrap();
    let told: BTreeMap<&str, &str> = SESSION_FIELDS.iter().copied().collect();
    for field in SessionField::ALL.iter().filter(|field| field.state() != State::Fixed) {
        let name = field.name().snake;
        match told.get(name) {
            Some(method) => assert!(is_method(method), "{name}: {method}"),
            None => assert_ne!(settings[name], Value::Null, "{name} is no setting"),
        }
    }
}
