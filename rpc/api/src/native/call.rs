//! Every method and subscription: one row each, with what it takes, what it gives, and an example.

use super::{
    AddPeers, AddTorrent, Added, BlocklistState, Call, Changes, Edit, Event, EventStream, File,
    Folder, Group, GroupChange, GroupName, Info, Kind, List, Listing, Move, MoveInQueue, Nothing,
    One, Peer, Pieces, PortState, PortTest, Remove, Rename, Room, Row, Setting, Settings,
    SettingsChange, Several, Start, Statistics, StatisticsStream, Subscribe, Torrent,
    TorrentStream, Tracker,
};
use crate::Access;
use serde_json::{Map, Value, json};

macro_rules! table {
    (
        calls { $(
            $(#[doc = $doc:literal])+
            $call:ident = $name:literal, $access:ident: $params:ty => $output:ty,
                $example:tt => $answer:tt;
        )* }
        subscriptions { $(
            $(#[doc = $sub_doc:literal])+
            $sub:ident = $sub_name:literal / $end:literal / $notification:literal, $sub_access:ident:
                $sub_params:ty => $item:ty, $sub_example:tt => $message:tt;
        )* }
    ) => {
        $(
            $(#[doc = $doc])+
            #[derive(Clone, Copy, Debug)]
            pub struct $call;

            impl Call for $call {
                const NAME: &'static str = $name;
                const ACCESS: Access = Access::$access;
                type Params = $params;
                type Output = $output;
            }
        )*
        $(
            $(#[doc = $sub_doc])+
            #[derive(Clone, Copy, Debug)]
            pub struct $sub;

            impl Subscribe for $sub {
                const NAME: &'static str = $sub_name;
                const UNSUBSCRIBE: &'static str = $end;
                const NOTIFICATION: &'static str = $notification;
                const ACCESS: Access = Access::$sub_access;
                type Params = $sub_params;
                type Item = $item;
            }
        )*

        pub(super) const TABLE: &[Row] = &[
            $( Row {
                name: $name,
                doc: concat!($($doc, "\n"),+),
                access: Access::$access,
                kind: Kind::Call,
                params: |generator| generator.subschema_for::<$params>(),
                result: |generator| generator.subschema_for::<$output>(),
                example: || (json!($example), json!($answer)),
                round_trip: round_trip::<$params, $output>,
            }, )*
            $( Row {
                name: $sub_name,
                doc: concat!($($sub_doc, "\n"),+),
                access: Access::$sub_access,
                kind: Kind::Subscription { unsubscribe: $end, notification: $notification },
                params: |generator| generator.subschema_for::<$sub_params>(),
                result: |generator| generator.subschema_for::<$item>(),
                example: || (json!($sub_example), json!($message)),
                round_trip: round_trip::<$sub_params, $item>,
            }, )*
        ];
    };
}

fn round_trip<P, R>(params: Value, result: Value) -> serde_json::Result<(Value, Value)>
where
    P: serde::Serialize + serde::de::DeserializeOwned,
    R: serde::Serialize + serde::de::DeserializeOwned,
{
    let params: P = serde_json::from_value(params)?;
    let result: R = serde_json::from_value(result)?;
    Ok((serde_json::to_value(params)?, serde_json::to_value(result)?))
}

table! {
    calls {
        /// Describes this API: an OpenRPC document.
        Discover = "rpc.discover", Reads: Nothing => Map<String, Value>,
            {} => { "openrpc": "1.3.2" };
        /// Lists torrents: those selected, with the fields asked for, in the order asked for.
        TorrentList = "torrent.list", Reads: List => Listing,
            {
                "torrents": { "states": ["seeding"], "name": "debian*" },
                "fields": ["name", "upload_rate"], "sort": "upload_rate", "descending": true,
                "offset": 0, "limit": 10
            } => {
                "counter": 4711, "total": 1,
                "torrents": [{ "id": 3, "name": "debian-13.iso", "upload_rate": 1_250_000 }]
            };
        /// Tells everything about one torrent but its files, trackers, peers and pieces.
        TorrentGet = "torrent.get", Reads: One => Torrent,
            { "torrent": 3 } => {
                "id": 3, "name": "debian-13.iso", "state": "downloading", "progress": 0.25,
                "eta": 90, "error": null
            };
        /// Lists the files of a torrent.
        TorrentFiles = "torrent.files", Reads: One => Vec<File>,
            { "torrent": 3 } => [{
                "file": 0, "path": "debian-13.iso", "size": 4_000_000_000_u64,
                "have": 1_000_000_000, "priority": "normal"
            }];
        /// Lists the trackers of a torrent and what they said last.
        TorrentTrackers = "torrent.trackers", Reads: One => Vec<Tracker>,
            { "torrent": "00112233445566778899aabbccddeeff00112233" } => [{
                "announce": "https://tracker.example/announce", "tier": 0, "state": "waiting",
                "succeeded": true, "message": "Success", "announced_at": 1_790_000_000,
                "next_at": 1_790_001_800, "peers": 50, "seeds": 120, "leeches": 30,
                "downloads": null
            }];
        /// Lists the connected peers of a torrent; none if it does not run.
        TorrentPeers = "torrent.peers", Reads: One => Vec<Peer>,
            { "torrent": 3 } => [{
                "address": "192.0.2.7:51413", "client": "Transmission 4.0.6",
                "peer_id": "2d5452343036302d303030303030303030303030", "source": "tracker",
                "progress": 0.5, "download_rate": 0, "upload_rate": 125_000, "downloaded": 0,
                "uploaded": 9_000_000,
                "flags": {
                    "incoming": false, "we_are_interested": false, "chokes_us": true,
                    "is_interested": true, "choked": false, "optimistic": false
                }
            }];
        /// Tells which pieces of a torrent are here, and how many peers have the others.
        TorrentPieces = "torrent.pieces", Reads: One => Pieces,
            { "torrent": 3 } => {
                "count": 10, "length": 262_144, "have": "/wA=",
                "availability": [-1, -1, -1, -1, -1, -1, -1, -1, 2, 0]
            };
        /// Adds a torrent. When this answers it survives a crash.
        TorrentAdd = "torrent.add", Changes: AddTorrent => Added,
            {
                "path": "/srv/watch/debian-13.torrent", "labels": ["linux"], "paused": true,
                "files": [{ "file": 1, "priority": "skip" }]
            } => {
                "id": 3, "info_hash": "00112233445566778899aabbccddeeff00112233",
                "name": "debian-13.iso", "duplicate": false
            };
        /// Starts torrents, those in front of the queue first; gives their ids.
        TorrentStart = "torrent.start", Changes: Start => Vec<u32>,
            { "torrents": "all", "now": true } => [1, 2, 3];
        /// Stops torrents, and checks under way; gives their ids.
        TorrentStop = "torrent.stop", Changes: Several => Vec<u32>,
            { "torrents": [1, "00112233445566778899aabbccddeeff00112233"] } => [1, 3];
        /// Checks all files of torrents; gives their ids. Those that are meant to run go on afterwards.
        TorrentVerify = "torrent.verify", Changes: Several => Vec<u32>,
            { "torrents": [3] } => [3];
        /// Announces running torrents as soon as their trackers allow; gives their ids.
        TorrentReannounce = "torrent.reannounce", Changes: Several => Vec<u32>,
            { "torrents": { "tracker": "tracker.example" } } => [3];
        /// Removes torrents, with their data if asked; gives their ids. They are gone when this
        /// answers; the event `removed` tells when their data is.
        TorrentRemove = "torrent.remove", Changes: Remove => Vec<u32>,
            { "torrents": [3], "delete_data": true } => [3];
        /// Gives torrents another download folder; gives their ids. It goes on in the background:
        /// `moving_to` and `move_progress` tell how far it is.
        TorrentMove = "torrent.move", Changes: Move => Vec<u32>,
            { "torrents": [3], "download_dir": "/srv/archive", "bring": true } => [3];
        /// Gives a file or folder of a torrent another name, on the disk too.
        TorrentRename = "torrent.rename", Changes: Rename => Nothing,
            { "torrent": 3, "path": "debian-13.iso", "name": "debian.iso" } => {};
        /// Edits torrents; gives their ids. All of them can be changed as asked, or none is.
        TorrentEdit = "torrent.edit", Changes: Edit => Vec<u32>,
            {
                "torrents": [3], "labels": ["linux", "iso"],
                "trackers": [["https://tracker.example/announce"]],
                "files": [{ "file": 0, "priority": "high" }], "peer_limit": 80,
                "sequential": true, "upload_limit": 500_000, "download_limit": null,
                "group": "slow", "ratio_goal": 1.5, "idle_goal": "none"
            } => [3];
        /// Connects to peers of a torrent, once it runs.
        TorrentAddPeers = "torrent.add_peers", Changes: AddPeers => Nothing,
            { "torrent": 3, "peers": ["192.0.2.1:6881", "[2001:db8::1]:6881"] } => {};
        /// Moves torrents in the queue; gives their ids. How many may download and seed at a time are
        /// settings.
        QueueMove = "queue.move", Changes: MoveInQueue => Vec<u32>,
            { "torrents": [3, 1], "to": "top" } => [3, 1];
        /// Lists the bandwidth groups: torrents in one share its speed limits.
        GroupList = "group.list", Reads: Nothing => Vec<Group>,
            {} => [{
                "name": "slow", "upload_limit": 500_000, "download_limit": null,
                "honors_session_limits": true, "torrents": 2
            }];
        /// Makes a bandwidth group, or changes one; gives it.
        GroupSet = "group.set", Changes: GroupChange => Group,
            { "name": "slow", "upload_limit": 500_000 } => {
                "name": "slow", "upload_limit": 500_000, "download_limit": null,
                "honors_session_limits": true, "torrents": 0
            };
        /// Removes a bandwidth group; its torrents are in none then.
        GroupRemove = "group.remove", Changes: GroupName => Nothing,
            { "name": "slow" } => {};
        /// Tells all settings.
        SettingsGet = "settings.get", Reads: Nothing => Settings,
            {} => { "settings": { "peer_port": 51413, "start_added_torrents": true } };
        /// Changes settings and keeps them; gives all of them. Some hold from the next start.
        SettingsSet = "settings.set", Administers: SettingsChange => Settings,
            { "settings": { "start_added_torrents": false } } =>
            { "settings": { "peer_port": 51413, "start_added_torrents": false } };
        /// Tells of each setting what it is, its range, its value and its default.
        SettingsDescribe = "settings.describe", Reads: Nothing => Vec<Setting>,
            {} => [{
                "name": "peer_port", "kind": "number", "least": 0.0, "most": 65535.0, "unit": "",
                "restart": true, "doc": "TCP port for peers; 0 takes any free one.",
                "value": 51413, "default": 51413
            }];
        /// Tells the figures of the whole session.
        StatisticsGet = "statistics.get", Reads: Nothing => Statistics,
            {} => {
                "torrents": 3, "downloading": 1, "seeding": 1, "verifying": 0, "moving": 0, "queued": 0,
                "stopped": 1, "errors": 0, "peers": 40, "download_rate": 5_000_000, "upload_rate": 1_250_000,
                "this_run": {
                    "downloaded": 9_000_000, "uploaded": 7_000_000, "torrents_added": 1, "runs": 1,
                    "seconds": 60
                },
                "all_runs": {
                    "downloaded": 90_000_000, "uploaded": 70_000_000, "torrents_added": 3, "runs": 4,
                    "seconds": 86_400
                }
            };
        /// Tells what this server is.
        ServerInfo = "server.info", Reads: Nothing => Info,
            {} => {
                "name": "ringseed", "version": "0.1.0", "api_version": "1.1.0",
                "driver": "io_uring", "peer_addresses": ["0.0.0.0:51413"],
                "config_dir": "/var/lib/ringseed", "ready": true,
                "shards": [{ "running": true, "torrents": 3, "restarts": 0 }]
            };
        /// Tells the room in a folder.
        ServerFreeSpace = "server.free_space", Reads: Folder => Room,
            { "path": "/srv/torrents" } =>
            { "path": "/srv/torrents", "free": 500_000_000_000_u64, "total": 2_000_000_000_000_u64 };
        /// Asks a web server whether it can reach the peer port; the setting `port_test_url` names it.
        ServerPortTest = "server.port_test", Changes: PortTest => PortState,
            { "family": "ipv4" } => { "open": true, "family": "ipv4" };
        /// Tells how many rules the blocklist has, and whether it holds.
        BlocklistGet = "blocklist.get", Reads: Nothing => BlocklistState,
            {} => { "rules": 250_000, "enabled": true };
        /// Reads the blocklist anew from where the settings say.
        BlocklistUpdate = "blocklist.update", Administers: Nothing => BlocklistState,
            {} => { "rules": 250_000, "enabled": true };
        /// Ends the server in good order.
        ServerShutdown = "server.shutdown", Administers: Nothing => Nothing,
            {} => {};
    }
    subscriptions {
        /// Pushes all torrents once, then what changes of them: only changed fields of changed
        /// torrents, and the ids of those that are gone.
        Torrents = "torrent.subscribe" / "torrent.unsubscribe" / "torrent.changes", Reads:
            TorrentStream => Changes,
            { "fields": ["name", "upload_rate"], "interval": 500 } => {
                "counter": 4711, "snapshot": false,
                "torrents": [{ "id": 3, "upload_rate": 0 }], "removed": [2]
            };
        /// Pushes what happens.
        Events = "event.subscribe" / "event.unsubscribe" / "event.happened", Reads:
            EventStream => Event,
            { "kinds": ["completed", "error"] } => {
                "at": 1_790_000_000, "kind": "completed", "id": 3,
                "info_hash": "00112233445566778899aabbccddeeff00112233", "name": "debian-13.iso"
            };
        /// Pushes the figures of the whole session.
        Figures = "statistics.subscribe" / "statistics.unsubscribe" / "statistics.figures", Reads:
            StatisticsStream => Statistics,
            { "interval": 1000 } => {
                "torrents": 3, "downloading": 1, "seeding": 1, "verifying": 0, "moving": 0, "queued": 0,
                "stopped": 1, "errors": 0, "peers": 40, "download_rate": 5_000_000, "upload_rate": 1_250_000,
                "this_run": {
                    "downloaded": 9_000_000, "uploaded": 7_000_000, "torrents_added": 1, "runs": 1,
                    "seconds": 60
                },
                "all_runs": {
                    "downloaded": 90_000_000, "uploaded": 70_000_000, "torrents_added": 3, "runs": 4,
                    "seconds": 86_400
                }
            };
    }
}
