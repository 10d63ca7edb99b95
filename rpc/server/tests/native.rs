//! The native API over HTTP and WebSocket, asked by the client that the command line uses.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

mod support;

use api::native::{
    AddTorrent, Call, Changes, Code, Edit, EventKind, EventStream, Field, FileChoice, Filter,
    Folder, Kind, List, Move, Nothing, Priority, Remove, Rename, Selection, SettingsChange,
    Several, Start, State, StatisticsStream, TABLE, Torrent, TorrentRef, TorrentStream, VERSION,
    call,
};
use data_encoding::BASE64;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use support::{
    native::{PATIENCE, add, client, one, refused, these, wait_for},
    run,
};
use tokio::time::timeout;

#[test]
fn a_torrent_goes_through_its_life_over_http() {
    run(|rig| async move {
        let client = client(&rig);
        let id = add(&rig, &client, "alpha", &["x"]).await;
        client.call::<call::TorrentVerify>(Several { torrents: these(id) }).await.unwrap();
        wait_for(&client, id, |torrent| torrent.progress == Some(1.0)).await;
        let start = Start { torrents: Selection::ALL, now: false };
        let started = client.call::<call::TorrentStart>(start).await;
        assert_eq!(started.unwrap(), [id]);
        wait_for(&client, id, |torrent| torrent.state == Some(State::Seeding)).await;

        let files = client.call::<call::TorrentFiles>(one(id)).await.unwrap();
        assert_eq!((files.len(), files[0].path.as_str()), (2, "alpha/a.bin"));
        assert_eq!((files[0].have, files[0].priority), (40_000, Priority::Normal));
        let trackers = client.call::<call::TorrentTrackers>(one(id)).await.unwrap();
        assert_eq!(trackers[0].announce, "http://127.0.0.1:9/announce");
        assert!(client.call::<call::TorrentPeers>(one(id)).await.unwrap().is_empty());
        let pieces = client.call::<call::TorrentPieces>(one(id)).await.unwrap();
        assert_eq!((pieces.count, pieces.length), (3, 16_384));
        assert_eq!(pieces.availability, [-1, -1, -1]);

        let edit = Edit {
            labels: Some(vec!["y".into(), "z".into()]),
            files: vec![FileChoice { file: 1, priority: Priority::High }],
            peer_limit: Some(7),
            sequential: Some(true),
            trackers: Some(vec![vec!["udp://127.0.0.1:9/announce".into()]]),
            ..Edit::of(these(id))
        };
        client.call::<call::TorrentEdit>(edit).await.unwrap();
        let told = client.call::<call::TorrentGet>(one(id)).await.unwrap();
        assert_eq!(told.labels, Some(vec!["y".to_owned(), "z".to_owned()]));
        assert_eq!((told.peer_limit, told.sequential), (Some(7), Some(true)));
        assert_eq!(told.trackers.unwrap(), [["udp://127.0.0.1:9/announce"]]);
        let files = client.call::<call::TorrentFiles>(one(id)).await.unwrap();
        assert_eq!(files[1].priority, Priority::High);

        let rename = Rename {
            torrent: TorrentRef::Id(id),
            path: "alpha/b.bin".into(),
            name: "c.bin".into(),
        };
        client.call::<call::TorrentRename>(rename).await.unwrap();
        assert!(rig.downloads().join("alpha/c.bin").exists());
        let to = rig.folder.path().join("elsewhere");
        let params = Move {
            torrents: these(id),
            download_dir: to.to_string_lossy().into_owned(),
            bring: true,
        };
        client.call::<call::TorrentMove>(params).await.unwrap();
        // It has not begun to move when the call is answered.
        wait_for(&client, id, |torrent| {
            torrent.download_dir.as_deref().map(std::path::Path::new) == Some(&to)
                && torrent.moving_to == Some(None)
                && torrent.state == Some(State::Seeding)
        })
        .await;
        assert!(to.join("alpha/c.bin").exists());

        let torrents = Selection::These(vec![TorrentRef::Hash(told.info_hash.unwrap())]);
        let removed = client.call::<call::TorrentRemove>(Remove { torrents, delete_data: true });
        assert_eq!(removed.await.unwrap(), [id]);
        let data = to.join("alpha");
        let gone = async {
            while data.exists() {
                tokio::time::sleep(std::time::Duration::from_millis(30)).await;
            }
        };
        timeout(PATIENCE, gone).await.expect("its data goes too");
    });
}

#[test]
fn lists_are_filtered_sorted_and_cut() {
    run(|rig| async move {
        let client = client(&rig);
        let mut ids = Vec::new();
        for (name, labels) in [("beta", &["x", "y"][..]), ("Alpha", &["x"]), ("gamma", &[])] {
            ids.push(add(&rig, &client, name, labels).await);
        }
        let list = |list: List| client.call::<call::TorrentList>(list);
        let names = |listing: api::native::Listing| -> Vec<String> {
            listing.torrents.into_iter().map(|torrent| torrent.name.unwrap()).collect()
        };
        let sorted = List { sort: Some(Field::name), ..List::default() };
        assert_eq!(names(list(sorted.clone()).await.unwrap()), ["Alpha", "beta", "gamma"]);
        let page = List { descending: true, offset: 1, limit: Some(1), ..sorted.clone() };
        let page = list(page).await.unwrap();
        assert_eq!((page.total, names(page)), (3, vec!["beta".to_owned()]));
        for (filter, expected) in [
            (json!({ "labels": ["x"] }), &["Alpha", "beta"][..]),
            (json!({ "labels": ["y", "none"] }), &["beta"]),
            (json!({ "name": "?A*" }), &["gamma"]),
            (json!({ "name": "ETA" }), &["beta"]),
            (json!({ "states": ["seeding"] }), &[]),
            (
                json!({ "states": ["stopped"], "tracker": "127.0.0.1:9/" }),
                &["Alpha", "beta", "gamma"],
            ),
            (json!({ "error": true }), &[]),
            (json!({ "complete": false, "active": false }), &["Alpha", "beta", "gamma"]),
        ] {
            let filter: Filter = serde_json::from_value(filter).unwrap();
            let torrents = Some(Selection::Matching(filter.clone()));
            let listing = list(List { torrents, ..sorted.clone() }).await.unwrap();
            assert_eq!(names(listing), expected, "{filter:?}");
        }
        let fields = Some(vec![Field::size, Field::eta, Field::size]);
        let listing = list(List { fields, ..List::default() }).await.unwrap();
        let whole =
            Torrent { id: ids[0], size: Some(40_500), eta: Some(None), ..Torrent::default() };
        assert_eq!(listing.torrents[0], whole);
        assert!(listing.counter > 0);
    });
}

#[test]
fn bad_calls_are_refused_by_kind_and_change_nothing() {
    run(|rig| async move {
        let client = client(&rig);
        let id = add(&rig, &client, "alpha", &[]).await;
        let missing = Selection::These(vec![TorrentRef::Id(id), TorrentRef::Id(99)]);
        let remove = Remove { torrents: missing, delete_data: true };
        let outcome = client.call::<call::TorrentRemove>(remove).await;
        assert_eq!(refused(outcome), Some(Code::NoSuchTorrent));
        let files = vec![FileChoice { file: 9, priority: Priority::Low }];
        let edit = Edit { files, labels: Some(vec!["new".into()]), ..Edit::of(these(id)) };
        assert_eq!(refused(client.call::<call::TorrentEdit>(edit).await), Some(Code::NoSuchFile));
        let trackers = Some(vec![vec!["gopher://t".to_owned()]]);
        let edit = Edit { trackers, ..Edit::of(these(id)) };
        assert_eq!(
            refused(client.call::<call::TorrentEdit>(edit).await),
            Some(Code::InvalidParams)
        );
        let told = client.call::<call::TorrentGet>(one(id)).await.unwrap();
        assert_eq!(told.labels, Some(Vec::new()));

        let add = |params: AddTorrent| client.call::<call::TorrentAdd>(params);
        assert_eq!(refused(add(AddTorrent::default()).await), Some(Code::InvalidParams));
        let junk = AddTorrent { metainfo: Some(BASE64.encode(b"junk")), ..AddTorrent::default() };
        assert_eq!(refused(add(junk).await), Some(Code::InvalidTorrent));
        let relative = AddTorrent { path: Some("x.torrent".into()), ..AddTorrent::default() };
        assert_eq!(refused(add(relative).await), Some(Code::InvalidPath));
        let absent = AddTorrent { path: Some("/no/such.torrent".into()), ..AddTorrent::default() };
        assert_eq!(refused(add(absent).await), Some(Code::System));
        let nowhere = "http://127.0.0.1:9/x.torrent";
        let fetched = AddTorrent { url: Some(nowhere.into()), ..AddTorrent::default() };
        assert_eq!(refused(add(fetched).await), Some(Code::Http));
        let updated = client.call::<call::BlocklistUpdate>(Nothing {}).await;
        assert_eq!(refused(updated), Some(Code::Http));
        let blocklist = client.call::<call::BlocklistGet>(Nothing {}).await.unwrap();
        assert_eq!((blocklist.rules, blocklist.enabled), (0, false));
        let room =
            |path: &str| client.call::<call::ServerFreeSpace>(Folder { path: Some(path.into()) });
        assert_eq!(refused(room("x").await), Some(Code::InvalidPath));
        assert_eq!(refused(room("/no/such/folder").await), Some(Code::System));
        let by_name =
            async |name: &str, params: Value| refused(client.call_by_name(name, &params).await);
        assert_eq!(by_name("torrent.fly", json!({})).await, Some(Code::MethodNotFound));
        assert_eq!(by_name("torrent.get", json!({})).await, Some(Code::InvalidParams));
        assert_eq!(by_name("torrent.get", json!([1])).await, Some(Code::InvalidParams));
        assert_eq!(
            by_name("torrent.list", json!({ "sort": "x" })).await,
            Some(Code::InvalidParams)
        );
        let reqq = rig.session.settings().reqq;
        for bad in [json!({ "reqq": 0 }), json!({ "reqq": "x" }), json!({ "no_such": 1 })] {
            let params = json!({ "settings": bad });
            assert_eq!(by_name("settings.set", params).await, Some(Code::InvalidParams));
        }
        assert_eq!(rig.session.settings().reqq, reqq);
        assert!(rig.saved.lock().unwrap().is_empty());
    });
}

#[test]
fn the_server_tells_of_itself_and_keeps_its_settings() {
    run(|rig| async move {
        let client = client(&rig);
        let info = client.call::<call::ServerInfo>(Nothing {}).await.unwrap();
        assert_eq!((info.name.as_str(), info.api_version.as_str()), ("ringseed", VERSION));
        let settings = [("reqq".to_owned(), json!(99))].into_iter().collect();
        let told = client.call::<call::SettingsSet>(SettingsChange { settings }).await.unwrap();
        assert_eq!(told.settings["reqq"], 99);
        assert_eq!((rig.session.settings().reqq, rig.saved.lock().unwrap()[0].reqq), (99, 99));
        let rows = client.call::<call::SettingsDescribe>(Nothing {}).await.unwrap();
        let row = rows.iter().find(|row| row.name == "reqq").unwrap();
        assert_eq!((&row.value, &row.default), (&json!(99), &json!(512)));
        let room = client.call::<call::ServerFreeSpace>(Folder::default()).await.unwrap();
        assert!(room.total >= room.free && room.total > 0);
        std::fs::remove_dir(rig.downloads()).unwrap();
        let to_be = client.call::<call::ServerFreeSpace>(Folder::default()).await.unwrap();
        assert_eq!((to_be.path, to_be.total), (room.path, room.total), "before it is made");
        std::fs::create_dir(rig.downloads()).unwrap();
        add(&rig, &client, "alpha", &[]).await;
        let figures = client.call::<call::StatisticsGet>(Nothing {}).await.unwrap();
        assert_eq!((figures.torrents, figures.stopped, figures.this_run.torrents_added), (1, 1, 1));
    });
}

#[test]
fn the_description_is_served_in_both_places_and_every_method_of_it_is_there() {
    run(|rig| async move {
        let client = client(&rig);
        let discovered = client.call::<call::Discover>(Nothing {}).await.unwrap();
        let page = rig.request("GET", "/rpc/v1/openrpc.json", "", b"").await;
        assert_eq!(page.json(), Value::Object(discovered));
        for row in TABLE {
            let body =
                json!({ "jsonrpc": "2.0", "id": 1, "method": row.name, "params": { "?": 1 } });
            let headers = "Content-Type: application/json\r\n";
            let answer = rig.request("POST", "/rpc/v1", headers, body.to_string().as_bytes()).await;
            let answer: Value = serde_json::from_slice(&answer.body).unwrap();
            let code = answer["error"]["code"].as_i64();
            // Subscriptions need a WebSocket; the others look at what they get.
            let expected = match row.kind {
                Kind::Call => Code::InvalidParams,
                Kind::Subscription { .. } => Code::InvalidRequest,
            };
            // discover takes an open object's worth of nothing: unknown parameters are refused too.
            assert_eq!(code, Some(i64::from(expected.number())), "{}: {answer}", row.name);
        }
    });
}

#[test]
fn batches_are_answered_call_by_call() {
    run(|rig| async move {
        let calls = json!([
            { "jsonrpc": "2.0", "id": 1, "method": "server.info" },
            { "jsonrpc": "2.0", "id": "b", "method": "torrent.get", "params": { "torrent": 5 } },
        ]);
        let headers = "Content-Type: application/json\r\n";
        let answer = rig.request("POST", "/rpc/v1", headers, calls.to_string().as_bytes()).await;
        let answers: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(answers[0]["result"]["name"], "ringseed");
        assert_eq!((&answers[1]["id"], &answers[1]["error"]["code"]), (&json!("b"), &json!(1)));
    });
}

#[test]
fn pages_from_elsewhere_and_other_names_are_not_let_in() {
    run(|rig| async move {
        let json = "Content-Type: application/json\r\n";
        let body = br#"{"jsonrpc":"2.0","id":1,"method":"server.info"}"#;
        for (headers, status) in [
            (json.to_owned(), 200),
            (format!("{json}Origin: http://evil.example\r\n"), 403),
            (format!("{json}Origin: http://{}\r\n", rig.addr), 200),
            (format!("{json}Host: evil.example\r\n"), 421),
            ("Content-Type: text/plain\r\n".to_owned(), 415),
        ] {
            let answer = rig.request("POST", "/rpc/v1", &headers, body).await;
            assert_eq!(answer.status, status, "{headers}");
        }
    });
}

/// Takes messages until what is known is as it should be.
async fn follow(
    changes: &mut client::Subscription<Changes>,
    known: &mut BTreeMap<u32, Torrent>,
    holds: impl Fn(&BTreeMap<u32, Torrent>) -> bool,
) -> Vec<Changes> {
    let mut messages = Vec::new();
    let wait = async {
        while !holds(known) {
            let message = changes.next().await.expect("it goes on").unwrap();
            message.clone().apply(known);
            messages.push(message);
        }
    };
    timeout(PATIENCE, wait).await.expect("it comes about");
    messages
}

#[test]
fn changes_come_as_one_snapshot_and_then_only_what_is_new() {
    run(|rig| async move {
        let client = client(&rig);
        let (first, second) =
            (add(&rig, &client, "one", &[]).await, add(&rig, &client, "two", &[]).await);
        let fields = Some(vec![Field::name, Field::labels, Field::peer_limit]);
        let params = TorrentStream { fields, interval: 100 };
        let mut changes = client.subscribe::<call::Torrents>(params).await.unwrap();
        let mut known = BTreeMap::new();
        let messages = follow(&mut changes, &mut known, |known| known.len() == 2).await;
        assert!(messages.len() == 1 && messages[0].snapshot);
        assert_eq!(known[&first].name.as_deref(), Some("one"));

        let labels = Some(vec!["new".to_owned()]);
        let edit = Edit { labels: labels.clone(), ..Edit::of(these(second)) };
        client.call::<call::TorrentEdit>(edit).await.unwrap();
        let messages =
            follow(&mut changes, &mut known, |known| known[&second].labels == labels).await;
        let news = messages.last().unwrap();
        let expected = Torrent { id: second, labels: labels.clone(), ..Torrent::default() };
        assert_eq!((news.snapshot, &news.torrents[..]), (false, &[expected][..]));

        let third = add(&rig, &client, "three", &[]).await;
        let remove = Remove { torrents: these(first), delete_data: false };
        client.call::<call::TorrentRemove>(remove).await.unwrap();
        let messages = follow(&mut changes, &mut known, |known| {
            known.contains_key(&third) && !known.contains_key(&first)
        });
        assert!(messages.await.iter().all(|message| !message.snapshot));
        assert_eq!(known[&third].name.as_deref(), Some("three"));
        assert_eq!(known[&second].labels, labels);
    });
}

#[test]
fn a_change_reverted_between_two_messages_is_none() {
    run(|rig| async move {
        let client = client(&rig);
        let id = add(&rig, &client, "one", &[]).await;
        let fields = Some(vec![Field::labels, Field::peer_limit]);
        let params = TorrentStream { fields, interval: 300 };
        let mut changes = client.subscribe::<call::Torrents>(params).await.unwrap();
        let mut known = BTreeMap::new();
        follow(&mut changes, &mut known, |known| known.len() == 1).await;
        for labels in [vec!["x".to_owned()], Vec::new()] {
            let edit = Edit { labels: Some(labels), ..Edit::of(these(id)) };
            client.call::<call::TorrentEdit>(edit).await.unwrap();
        }
        let edit = Edit { peer_limit: Some(3), ..Edit::of(these(id)) };
        client.call::<call::TorrentEdit>(edit).await.unwrap();
        follow(&mut changes, &mut known, |known| known[&id].peer_limit == Some(3)).await;
        assert_eq!(known[&id].labels, Some(Vec::new()));
    });
}

#[test]
fn events_and_figures_are_pushed() {
    run(|rig| async move {
        let client = client(&rig);
        let kinds = Some(vec![EventKind::Added, EventKind::Verified, EventKind::Removed]);
        let mut events = client.subscribe::<call::Events>(EventStream { kinds }).await.unwrap();
        let mut figures =
            client.subscribe::<call::Figures>(StatisticsStream { interval: 100 }).await.unwrap();
        let id = add(&rig, &client, "one", &[]).await;
        client.call::<call::TorrentVerify>(Several { torrents: these(id) }).await.unwrap();
        wait_for(&client, id, |torrent| torrent.progress == Some(1.0)).await;
        let remove = Remove { torrents: these(id), delete_data: false };
        client.call::<call::TorrentRemove>(remove).await.unwrap();
        for kind in [EventKind::Added, EventKind::Verified, EventKind::Removed] {
            let event = timeout(PATIENCE, events.next()).await.expect("in time").unwrap().unwrap();
            assert_eq!((event.kind, event.id), (kind, Some(id)));
            assert_eq!(event.name.as_deref(), Some("one"));
        }
        let wait =
            async { while figures.next().await.unwrap().unwrap().this_run.torrents_added != 1 {} };
        timeout(PATIENCE, wait).await.expect("the figures follow");
    });
}

#[test]
fn a_subscription_needs_a_sensible_request() {
    run(|rig| async move {
        let client = client(&rig);
        let raw = client.call_by_name("torrent.subscribe", &json!({})).await;
        assert_eq!(refused(raw), Some(Code::InvalidRequest));
        let _ = call::Torrents;
        assert_eq!(call::TorrentList::NAME, "torrent.list");
    });
}

#[test]
fn sockets_are_closed_when_the_server_stops() {
    run(|rig| async move {
        let client = client(&rig);
        let mut events = client.subscribe::<call::Events>(EventStream::default()).await.unwrap();
        rig.stop_serving().await;
        assert!(timeout(PATIENCE, events.next()).await.expect("it ends").is_none());
    });
}
