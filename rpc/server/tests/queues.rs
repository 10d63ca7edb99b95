//! Queues and the end of seeding, in both dialects.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

mod support;
use serde_json::{Value, json};
use support::{Rig, torrent};

async fn three(rig: &Rig) -> Vec<u64> {
    let mut ids = Vec::new();
    for name in ["one", "two", "three"] {
        let bytes = torrent(rig.folder.path(), name, &[("a", 40_000)], false);
        ids.push(rig.add(&bytes).await);
    }
    ids
}

async fn order(rig: &Rig) -> Vec<u64> {
    let got = rig.call("torrent_get", json!({ "fields": ["id", "queue_position"] })).await;
    let number = |of: &Value, name: &str| of[name].as_u64().unwrap();
    let list = got["torrents"].as_array().unwrap();
    let mut all: Vec<_> =
        list.iter().map(|of| (number(of, "queue_position"), number(of, "id"))).collect();
    all.sort_unstable();
    assert!(all.iter().zip(0..).all(|((position, _), at)| *position == at), "{all:?}");
    all.into_iter().map(|(_, id)| id).collect()
}

#[test]
fn torrents_are_moved_in_the_queue_by_every_method() {
    support::run(|rig| async move {
        let ids = three(&rig).await;
        assert_eq!(order(&rig).await, ids);
        rig.call("queue_move_top", json!({ "ids": [ids[2]] })).await;
        assert_eq!(order(&rig).await, [ids[2], ids[0], ids[1]]);
        rig.legacy("queue-move-down", json!({ "ids": [ids[2]] })).await;
        assert_eq!(order(&rig).await, [ids[0], ids[2], ids[1]]);
        rig.legacy("queue-move-bottom", json!({ "ids": ids[0] })).await;
        assert_eq!(order(&rig).await, [ids[2], ids[1], ids[0]]);
        rig.call("queue_move_up", json!({ "ids": [ids[1], ids[0]] })).await;
        assert_eq!(order(&rig).await, [ids[1], ids[0], ids[2]]);
        rig.call("torrent_set", json!({ "ids": [ids[1]], "queue_position": 99 })).await;
        assert_eq!(order(&rig).await, [ids[0], ids[2], ids[1]]);
        rig.legacy("torrent-set", json!({ "ids": [ids[1]], "queuePosition": 0 })).await;
        assert_eq!(order(&rig).await, [ids[1], ids[0], ids[2]]);
        rig.call("queue_move_top", json!({ "ids": [] })).await;
        rig.call("torrent_remove", json!({ "ids": [ids[0]] })).await;
        rig.wait_until_gone(ids[0]).await;
        assert_eq!(order(&rig).await, [ids[1], ids[2]]);
    });
}

#[test]
fn queued_torrents_are_shown_as_such_and_one_can_jump_the_queue() {
    support::run(|rig| async move {
        let ids = three(&rig).await;
        let set = json!({ "download-queue-enabled": true, "download-queue-size": 1 });
        rig.legacy("session-set", set).await;
        rig.call("queue_move_top", json!({ "ids": [ids[1]] })).await;
        rig.call("torrent_start", json!({})).await;
        rig.wait_for(ids[1], "status", json!(4)).await;
        rig.wait_for(ids[0], "status", json!(3)).await;
        rig.wait_for(ids[2], "status", json!(3)).await;
        rig.legacy("torrent-start-now", json!({ "ids": [ids[2]] })).await;
        rig.wait_for(ids[2], "status", json!(4)).await;
        rig.call("torrent_stop", json!({})).await;
        for &id in &ids {
            rig.wait_for(id, "status", json!(0)).await;
        }
        let got = rig.call("session_get", json!({ "fields": ["download_queue_size"] })).await;
        assert_eq!(got, json!({ "download_queue_size": 1 }));
    });
}

#[test]
fn goals_of_seeding_are_set_and_told() {
    support::run(|rig| async move {
        let bytes = torrent(rig.folder.path(), "one", &[("a", 40_000)], false);
        let id = rig.add(&bytes).await;
        let fields = [
            "seed_ratio_limit",
            "seed_ratio_mode",
            "seed_idle_limit",
            "seed_idle_mode",
            "sequential_download_from_piece",
            "is_finished",
            "is_stalled",
            "eta_idle",
        ];
        let mut expected = json!({
            "seed_ratio_limit": 2.0, "seed_ratio_mode": 0, "seed_idle_limit": 30,
            "seed_idle_mode": 0, "sequential_download_from_piece": 0, "is_finished": false,
            "is_stalled": false, "eta_idle": -1,
        });
        assert_eq!(rig.get(id, &fields).await, expected);
        let set = json!({
            "ids": [id], "seedRatioLimit": "1.5", "seedRatioMode": 1, "seedIdleLimit": 7,
            "seedIdleMode": 2, "sequential_download_from_piece": 2,
        });
        rig.legacy("torrent-set", set).await;
        // What cannot be is as if it were not there.
        let none = json!({
            "ids": [id], "seed_ratio_limit": -1.0, "seed_ratio_mode": 3, "seed_idle_limit": 0,
            "seed_idle_mode": "x",
        });
        rig.call("torrent_set", none).await;
        expected["seed_ratio_limit"] = json!(1.5);
        expected["seed_ratio_mode"] = json!(1);
        expected["seed_idle_limit"] = json!(7);
        expected["seed_idle_mode"] = json!(2);
        expected["sequential_download_from_piece"] = json!(2);
        assert_eq!(rig.get(id, &fields).await, expected);
        let far = json!({ "ids": [id], "sequential_download_from_piece": 3, "labels": ["x"] });
        assert_eq!(rig.error("torrent_set", far).await["code"], 7);
        assert_eq!(rig.get(id, &["labels"]).await["labels"], json!([]));

        let settings = json!({
            "seed_ratio_limit": 0.25, "seed_ratio_limited": true, "idle_seeding_limit": 11,
            "idle_seeding_limit_enabled": 1, "seed_queue_enabled": true, "seed_queue_size": 3,
            "queue_stalled_enabled": false, "queue_stalled_minutes": 5,
        });
        rig.call("session_set", settings).await;
        let got = rig.legacy("session-get", json!({})).await["arguments"].take();
        for (name, value) in [
            ("seedRatioLimit", json!(0.25)),
            ("seedRatioLimited", json!(true)),
            ("idle-seeding-limit", json!(11)),
            ("idle-seeding-limit-enabled", json!(true)),
            ("seed-queue-enabled", json!(true)),
            ("seed-queue-size", json!(3)),
            ("queue-stalled-enabled", json!(false)),
            ("queue-stalled-minutes", json!(5)),
        ] {
            assert_eq!(got[name], value, "{name}");
        }
        for bad in [json!({ "seed_ratio_limit": -1 }), json!({ "idle_seeding_limit": 0 })] {
            assert_eq!(rig.error("session_set", bad).await["code"], -32602);
        }
    });
}
