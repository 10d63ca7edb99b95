//! The torrent methods on a real engine, in both dialects.

mod support;
use api::{Dialect, torrent::TorrentField};
use data_encoding::BASE64;
use serde_json::{Map, Value, json};
use std::{
    fs,
    time::{Duration, Instant},
};
use support::{native::PATIENCE, torrent};

#[test]
fn a_torrent_is_added_by_content_or_path_once_and_a_duplicate_is_a_success() {
    support::run(|rig| async move {
        let bytes = torrent(rig.folder.path(), "one", &[("a", 40_000)], false);
        let path = rig.folder.path().join("one.torrent");
        fs::write(&path, &bytes).unwrap();
        let arguments = json!({
            "metainfo": BASE64.encode(&bytes), "paused": true, "labels": ["x", " y "],
            "download-dir": "", "peer-limit": 7,
        });
        let answer = rig.legacy("torrent-add", arguments).await;
        assert_eq!(answer["result"], "success");
        let added = &answer["arguments"]["torrent-added"];
        assert_eq!((&added["id"], &added["name"]), (&json!(1), &json!("one")));
        let hash = added["hashString"].as_str().unwrap();
        assert!(hash.len() == 40 && hash.to_lowercase() == hash);
        let again = rig.call("torrent_add", json!({ "filename": path, "labels": ["z"] })).await;
        assert_eq!(again["torrent_duplicate"]["hash_string"], hash);
        let fields = ["labels", "peer_limit", "status", "download_dir", "comment"];
        let expected = json!({
            "labels": ["x", "y"], "peer_limit": 7, "status": 0, "download_dir": rig.downloads(),
            "comment": "a \"comment\"\n",
        });
        assert_eq!(rig.get(1, &fields).await, expected);
    });
}

#[test]
fn what_cannot_be_added_is_refused_by_its_code_and_changes_nothing() {
    support::run(|rig| async move {
        let bytes = torrent(rig.folder.path(), "one", &[("a", 1), ("b", 1)], false);
        let good = BASE64.encode(&bytes);
        for (params, code) in [
            (json!({}), -32602),
            (json!({ "metainfo": "" }), -32602),
            (json!({ "metainfo": "?" }), 4),
            (json!({ "metainfo": BASE64.encode(b"d4:infodee") }), 9),
            (json!({ "metainfo": BASE64.encode(b"junk") }), 9),
            (json!({ "filename": "/no/such.torrent" }), 4),
            (json!({ "filename": "magnet:?xt=urn:btih:0" }), 4),
            (json!({ "filename": "http://127.0.0.1:9/x.torrent" }), 8),
            (json!({ "metainfo": good, "download_dir": "relative" }), 3),
            (json!({ "metainfo": good, "labels": ["a,b"] }), -32602),
            (json!({ "metainfo": good, "files_unwanted": [2] }), 6),
        ] {
            let error = rig.error("torrent_add", params.clone()).await;
            assert_eq!(error["code"], code, "{params}");
            assert!(!error["message"].as_str().unwrap().is_empty());
        }
        let all = rig.call("torrent_get", json!({ "fields": ["id"] })).await;
        assert_eq!(all["torrents"], json!([]));
    });
}

#[test]
fn the_same_is_told_in_both_dialects_and_both_formats() {
    support::run(|rig| async move {
        let files = [("b/one.mkv", 40_000), ("a.txt", 20_000), ("empty", 0)];
        let bytes = torrent(rig.folder.path(), "some", &files, true);
        let id = rig.add(&bytes).await;
        rig.call("torrent_set", json!({ "ids": id, "files_unwanted": [1], "labels": ["l"] })).await;
        let newer: Vec<&str> = TorrentField::ALL.iter().map(|field| field.name().snake).collect();
        let older: Vec<&str> = TorrentField::ALL.iter().map(|field| field.name().legacy).collect();
        let object =
            rig.call("torrent_get", json!({ "fields": newer })).await["torrents"][0].take();
        let table = rig.call("torrent_get", json!({ "fields": newer, "format": "table" })).await;
        let legacy = rig.legacy("torrent-get", json!({ "fields": older })).await;
        let legacy_object = &legacy["arguments"]["torrents"][0];
        let legacy_table = rig.legacy("torrent-get", json!({ "fields": older, "format": "table" }));
        let legacy_table = legacy_table.await["arguments"]["torrents"].take();
        assert_eq!(table["torrents"][0], json!(newer));
        assert_eq!(legacy_table[0], json!(older));
        for (at, field) in TorrentField::ALL.iter().enumerate() {
            let value = &object[field.name().snake];
            assert!(!value.is_null(), "{field:?}");
            assert_eq!(&table["torrents"][1][at], value);
            let legacy = &legacy_object[field.name().legacy];
            assert_eq!(&legacy_table[1][at], legacy);
            match field {
                TorrentField::wanted => {
                    assert_eq!((value, legacy), (&json!([true, false, true]), &json!([1, 0, 1])));
                }
                _ => assert_eq!(&spelled_newer(legacy), value, "{field:?}"),
            }
        }
        assert_eq!(object["file_count"], 3);
        assert_eq!(object["primary_mime_type"], "video/x-matroska");
        let paths: Vec<&Value> =
            object["files"].as_array().unwrap().iter().map(|file| &file["name"]).collect();
        assert_eq!(paths.len(), 3);
        assert!(paths.iter().all(|path| path.as_str().unwrap().starts_with("some/")));
    });
}

/// Keys of nested objects in the newer spelling.
fn spelled_newer(value: &Value) -> Value {
    use api::objects::{File, FileStat, Peer, PeersFrom, Tracker, TrackerStat, WebSeed};
    let names = [
        File::NAMES,
        FileStat::NAMES,
        Peer::NAMES,
        PeersFrom::NAMES,
        Tracker::NAMES,
        TrackerStat::NAMES,
        WebSeed::NAMES,
    ];
    let newer = |key: &str| {
        let name = names.iter().copied().flatten().find(|name| name.is(key, Dialect::Legacy));
        name.expect("a known key").snake.to_owned()
    };
    match value {
        Value::Array(list) => list.iter().map(spelled_newer).collect(),
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| (newer(key), spelled_newer(value)))
            .collect::<Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

#[test]
fn ids_select_by_number_hash_and_list_and_nothing_by_mistake() {
    support::run(|rig| async move {
        let mut hashes = Vec::new();
        for name in ["one", "two"] {
            let bytes = torrent(rig.folder.path(), name, &[("a", 100)], false);
            let id = rig.add(&bytes).await;
            hashes.push(
                rig.get(id, &["hash_string"]).await["hash_string"].as_str().unwrap().to_owned(),
            );
        }
        let rig = &rig;
        let ids = |ids: Value| async move {
            let mut params = json!({ "fields": ["id"] });
            if ids != "absent" {
                params["ids"] = ids;
            }
            let torrents = rig.call("torrent_get", params).await["torrents"].take();
            torrents
                .as_array()
                .unwrap()
                .iter()
                .map(|t| t["id"].as_u64().unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(ids(json!("absent")).await, [1, 2]);
        assert_eq!(ids(json!(2)).await, [2]);
        assert_eq!(ids(json!(hashes[1].to_uppercase())).await, [2]);
        assert_eq!(ids(json!([hashes[1], 1, 1, 99, "x"])).await, [2, 1, 1]);
        for none in
            [json!([]), json!(null), json!(-1), json!(","), json!("recently-active"), json!(7)]
        {
            assert_eq!(ids(none).await, [] as [u64; 0]);
        }
        // Nothing selected is nothing done.
        rig.call("torrent_remove", json!({ "ids": [] })).await;
        rig.call("torrent_remove", json!({ "ids": null })).await;
        let error = rig.error("torrent_remove", json!([1])).await;
        assert_eq!(error["code"], -32602);
        assert_eq!(ids(json!("absent")).await, [1, 2]);
    });
}

#[test]
fn recently_active_tells_changes_and_removals() {
    support::run(|rig| async move {
        let bytes = torrent(rig.folder.path(), "one", &[("a", 100)], false);
        let id = rig.add(&bytes).await;
        let recent = json!({ "ids": "recently_active", "fields": ["id"] });
        let answer = rig.call("torrent_get", recent.clone()).await;
        assert_eq!(answer, json!({ "removed": [], "torrents": [{ "id": id }] }));
        rig.legacy("torrent-remove", json!({ "ids": [id] })).await;
        rig.wait_until_gone(id).await;
        let answer = rig.call("torrent_get", recent).await;
        assert_eq!(answer, json!({ "removed": [id], "torrents": [] }));
        let all = rig.call("torrent_get", json!({ "fields": ["id"] })).await;
        assert_eq!(all, json!({ "torrents": [] }));
    });
}

#[test]
fn torrents_are_verified_started_stopped_and_removed_with_their_data() {
    support::run(|rig| async move {
        let bytes = torrent(&rig.downloads(), "data", &[("a", 40_000), ("b", 5_000)], false);
        let id = rig.add(&bytes).await;
        rig.call("torrent_verify", json!({ "ids": [id] })).await;
        rig.wait_for(id, "percent_done", json!(1.0)).await;
        rig.call("torrent_start", json!({ "ids": [id] })).await;
        rig.wait_for(id, "status", json!(6)).await;
        let got =
            rig.get(id, &["left_until_done", "pieces", "bytes_completed", "peers", "availability"]);
        let expected = json!({
            "left_until_done": 0, "pieces": "4A==", "bytes_completed": [40_000, 5_000],
            "peers": [], "availability": [-1, -1, -1],
        });
        assert_eq!(got.await, expected);
        let stats = rig.legacy("session-stats", json!({})).await;
        assert_eq!(stats["arguments"]["activeTorrentCount"], 1);
        assert_eq!(stats["arguments"]["current-stats"]["sessionCount"], 1);
        rig.call("torrent_reannounce", json!({ "ids": [id] })).await;
        rig.legacy("torrent-stop", json!({ "ids": [id] })).await;
        rig.wait_for(id, "status", json!(0)).await;
        let stats = rig.call("session_stats", json!({})).await;
        assert_eq!(
            (&stats["active_torrent_count"], &stats["paused_torrent_count"]),
            (&json!(0), &json!(1))
        );
        let remove = json!({ "ids": [id], "delete-local-data": true });
        rig.legacy("torrent-remove", remove).await;
        rig.wait_until_gone(id).await;
        let deadline = Instant::now() + PATIENCE;
        while rig.downloads().join("data").exists() {
            assert!(Instant::now() < deadline, "the data is still there");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
}

#[test]
fn torrents_are_edited_and_mistakes_told() {
    support::run(|rig| async move {
        let files = [("a", 20_000), ("b", 20_000), ("c", 20_000)];
        // A hybrid torrent has padding between its files, which clients do not see or count.
        let bytes = torrent(rig.folder.path(), "some", &files, true);
        let id = rig.add(&bytes).await;
        let set = |mut params: Value| {
            params["ids"] = json!([id]);
            params
        };
        rig.call("torrent_set", set(json!({ "files_unwanted": [0], "priority_high": [2] }))).await;
        let got = rig.get(id, &["wanted", "priorities", "size_when_done"]).await;
        assert_eq!(
            (&got["wanted"], &got["priorities"]),
            (&json!([false, true, true]), &json!([0, 0, 1]))
        );
        rig.legacy("torrent-set", set(json!({ "files-wanted": [], "priority-low": [] }))).await;
        let got = rig.get(id, &["wanted", "priorities"]).await;
        assert_eq!(got, json!({ "wanted": [true, true, true], "priorities": [-1, -1, -1] }));
        let error = rig.error("torrent_set", set(json!({ "files_unwanted": [0, 3] }))).await;
        assert_eq!(error["code"], 6);
        assert_eq!(rig.get(id, &["wanted"]).await["wanted"], json!([true, true, true]));

        rig.call("torrent_set", set(json!({ "labels": ["b", "a", "b"], "peer_limit": 9 }))).await;
        let got = rig.get(id, &["labels", "max_connected_peers"]).await;
        assert_eq!(got, json!({ "labels": ["b", "a"], "max_connected_peers": 9 }));
        assert_eq!(rig.error("torrent_set", set(json!({ "labels": [""] }))).await["code"], -32602);

        let list = "http://127.0.0.1:7/announce\n\n\nudp://127.0.0.1:8/announce\n";
        rig.call("torrent_set", set(json!({ "tracker_list": list }))).await;
        let told = rig.get(id, &["tracker_list"]).await["tracker_list"].clone();
        assert_eq!(told, "http://127.0.0.1:7/announce\n\nudp://127.0.0.1:8/announce\n");
        assert_eq!(rig.error("torrent_set", set(json!({ "tracker_list": "x" }))).await["code"], 2);
        let add = json!({ "tracker_add": ["http://127.0.0.1:7/announce"] });
        assert_eq!(rig.error("torrent_set", set(add)).await["code"], 1);
        // A torrent that does not run has its trackers too, and they can be edited by their ids.
        let told = rig.get(id, &["trackers", "tracker_stats"]).await;
        assert_eq!(told["trackers"][1]["announce"], "udp://127.0.0.1:8/announce");
        assert_eq!(
            (&told["trackers"][1]["tier"], &told["tracker_stats"][1]["host"]),
            (&json!(1), &json!("127.0.0.1:8"))
        );
        assert_eq!(told["tracker_stats"][1]["seeder_count"], -1);
        let remove = json!({ "ids": [id], "trackerRemove": [told["trackers"][0]["id"]] });
        assert_eq!(rig.legacy("torrent-set", remove).await["result"], "success");
        assert_eq!(
            rig.get(id, &["tracker_list"]).await["tracker_list"],
            "udp://127.0.0.1:8/announce\n"
        );
        rig.call("torrent_set", set(json!({ "tracker_list": "" }))).await;
        assert_eq!(rig.get(id, &["tracker_list"]).await["tracker_list"], "");
    });
}

#[test]
fn trackers_of_a_running_torrent_are_edited_by_their_ids() {
    support::run(|rig| async move {
        let bytes = torrent(&rig.downloads(), "run", &[("a", 100)], false);
        let id = rig.add(&bytes).await;
        rig.call("torrent_start", json!({ "ids": [id] })).await;
        rig.wait_for(id, "status", json!(6)).await;
        let tracker = rig.get(id, &["trackers"]).await["trackers"][0].clone();
        assert_eq!(tracker["announce"], "http://127.0.0.1:9/announce");
        let change = json!({ "ids": [id], "trackerReplace": [tracker["id"], "http://127.0.0.1:10/announce"] });
        assert_eq!(rig.legacy("torrent-set", change).await["result"], "success");
        let told = rig.get(id, &["tracker_list", "tracker_stats"]).await;
        assert_eq!(told["tracker_list"], "http://127.0.0.1:10/announce\n");
        assert_eq!(told["tracker_stats"][0]["announce"], "http://127.0.0.1:10/announce");
    });
}

/// A tracker that answers with this, and its address.
async fn tracker(answer: &'static [u8]) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/announce", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // One packet, and what becomes of the answer is the other side's affair.
            let _ = stream.read(&mut [0; 4096]).await;
            let head = format!(
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                answer.len()
            );
            let _ = stream.write_all(&[head.as_bytes(), answer].concat()).await;
        }
    });
    url
}

#[test]
fn what_a_tracker_warns_of_or_refuses_is_the_torrents_error() {
    support::run(|rig| async move {
        for (name, answer, code, text) in [
            (
                "warned",
                &b"d8:intervali1800e5:peers0:15:warning message9:slow downe"[..],
                1,
                "slow down",
            ),
            ("refused", b"d14:failure reason9:not knowne", 2, "not known"),
        ] {
            let url = tracker(answer).await;
            let id = rig.add(&torrent(&rig.downloads(), name, &[("a", 100)], false)).await;
            let set = json!({ "ids": [id], "tracker_list": url });
            rig.call("torrent_set", set).await;
            rig.call("torrent_start", json!({ "ids": [id] })).await;
            rig.wait_for(id, "error", json!(code)).await;
            assert_eq!(rig.get(id, &["error_string"]).await["error_string"], text);
            let stats = rig.get(id, &["tracker_stats"]).await["tracker_stats"][0].clone();
            assert_eq!(stats["last_announce_result"], text);
            assert_eq!(stats["last_announce_succeeded"], code == 1);
        }
    });
}

#[test]
fn a_connected_peer_is_told() {
    support::run(|rig| async move {
        let bytes = torrent(&rig.downloads(), "seed", &[("a", 40_000)], false);
        let id = rig.add(&bytes).await;
        rig.call("torrent_start", json!({ "ids": [id] })).await;
        rig.wait_for(id, "status", json!(6)).await;
        let info_hash = metainfo::Metainfo::parse(&bytes).unwrap().info_hash();
        let mut hello = b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\0".to_vec();
        hello.extend_from_slice(&info_hash.0);
        hello.extend_from_slice(b"-XX0001-abcdefghijkl");
        // Interested, and nothing else to say.
        hello.extend_from_slice(b"\0\0\0\x01\x02");
        let address = rig.session.peer_addr()[0];
        let mut peer = tokio::net::TcpStream::connect(address).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut peer, &hello).await.unwrap();
        rig.wait_for(id, "peers_connected", json!(1)).await;
        // A shard that is late with its answer lists nobody.
        let deadline = Instant::now() + PATIENCE;
        let told = loop {
            let told = rig.get(id, &["peers", "peers_from"]).await;
            if told["peers"] != json!([]) {
                break told;
            }
            assert!(Instant::now() < deadline, "no peers are listed: {told}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let first = &told["peers"][0];
        assert_eq!(first["address"], "127.0.0.1");
        assert_eq!(first["port"], peer.local_addr().unwrap().port());
        assert_eq!(
            (&first["is_incoming"], &first["peer_is_interested"]),
            (&json!(true), &json!(true))
        );
        assert_eq!(first["peer_id"], BASE64.encode(b"-XX0001-abcdefghijkl"));
        assert!(first["flag_str"].as_str().unwrap().ends_with('I'));
        assert_eq!(told["peers_from"]["from_incoming"], 1);
        drop(peer);
        rig.wait_for(id, "peers_connected", json!(0)).await;
        assert_eq!(rig.get(id, &["peers"]).await["peers"], json!([]));
    });
}
