//! Speed limits and bandwidth groups, in both dialects.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

mod support;
use serde_json::json;
use support::torrent;

#[test]
fn speed_limits_of_the_session_are_set_and_told_as_whole_numbers() {
    support::run(|rig| async move {
        let set = json!({
            "speed-limit-up": 333.4, "speed-limit-up-enabled": 1, "speed-limit-down": 444,
            "speed-limit-down-enabled": "true", "alt-speed-up": 5, "alt-speed-down": 6,
            "alt-speed-enabled": true, "alt-speed-time-begin": 0, "alt-speed-time-end": 1439,
            "alt-speed-time-day": 65,
        });
        rig.legacy("session-set", set).await;
        let got = rig.call("session_get", json!({})).await;
        for (name, value) in [
            ("speed_limit_up", json!(333)),
            ("speed_limit_up_enabled", json!(true)),
            ("speed_limit_down", json!(444)),
            ("speed_limit_down_enabled", json!(true)),
            ("alt_speed_up", json!(5)),
            ("alt_speed_down", json!(6)),
            ("alt_speed_enabled", json!(true)),
            ("alt_speed_time_enabled", json!(false)),
            ("alt_speed_time_begin", json!(0)),
            ("alt_speed_time_end", json!(1439)),
            ("alt_speed_time_day", json!(65)),
        ] {
            assert_eq!(got[name], value, "{name}");
        }
        // Hours without a day are never: the clock switches the alternative limits off.
        let never = json!({ "alt_speed_time_enabled": true, "alt_speed_time_day": 0 });
        rig.call("session_set", never).await;
        let got = rig.call("session_get", json!({ "fields": ["alt_speed_enabled"] })).await;
        assert_eq!(got, json!({ "alt_speed_enabled": false }));
        for bad in [
            json!({ "alt_speed_time_begin": 1440 }),
            json!({ "alt_speed_time_day": 128 }),
            json!({ "speed_limit_up": -1 }),
        ] {
            assert_eq!(rig.error("session_set", bad).await["code"], -32602);
        }
    });
}

#[test]
fn limits_of_a_torrent_are_set_and_told() {
    support::run(|rig| async move {
        let bytes = torrent(rig.folder.path(), "one", &[("a", 100)], false);
        let add = json!({
            "metainfo": data_encoding::BASE64.encode(&bytes), "paused": true,
            "bandwidthPriority": -1,
        });
        rig.legacy("torrent-add", add).await;
        let fields = [
            "bandwidth_priority",
            "download_limit",
            "download_limited",
            "group",
            "honors_session_limits",
            "upload_limit",
            "upload_limited",
        ];
        let expected = json!({
            "bandwidth_priority": -1, "download_limit": 100, "download_limited": false,
            "group": "", "honors_session_limits": true, "upload_limit": 100,
            "upload_limited": false,
        });
        assert_eq!(rig.get(1, &fields).await, expected);
        let set = json!({
            "ids": [1], "bandwidthPriority": 1, "downloadLimit": 7, "downloadLimited": true,
            "group": " g ", "honorsSessionLimits": false, "uploadLimit": 8, "uploadLimited": 1,
        });
        rig.legacy("torrent-set", set).await;
        let none = json!({ "ids": [1], "bandwidth_priority": 2, "download_limit": -1, "group": 3 });
        rig.call("torrent_set", none).await;
        let expected = json!({
            "bandwidth_priority": 1, "download_limit": 7, "download_limited": true,
            "group": "g", "honors_session_limits": false, "upload_limit": 8,
            "upload_limited": true,
        });
        assert_eq!(rig.get(1, &fields).await, expected);
        let groups = rig.call("group_get", json!({})).await;
        assert_eq!(groups["group"][0]["name"], "g", "made by being named");
        rig.call("torrent_set", json!({ "ids": [1], "group": "" })).await;
        assert_eq!(rig.get(1, &["group"]).await, json!({ "group": "" }));
    });
}

#[test]
fn bandwidth_groups_are_made_changed_and_told() {
    support::run(|rig| async move {
        assert_eq!(rig.call("group_get", json!({})).await, json!({ "group": [] }));
        for nameless in [json!({}), json!({ "name": " " }), json!({ "name": 3 })] {
            assert_eq!(rig.error("group_set", nameless).await["code"], -32602);
        }
        let set = json!({
            "name": " slow ", "speed-limit-up": 20, "speed-limit-up-enabled": true,
            "honorsSessionLimits": false,
        });
        rig.legacy("group-set", set).await;
        rig.call("group_set", json!({ "name": "slow", "speed_limit_down": 30 })).await;
        rig.call("group_set", json!({ "name": "other" })).await;
        let slow = json!({
            "name": "slow", "speed_limit_up": 20, "speed_limit_up_enabled": true,
            "speed_limit_down": 30, "speed_limit_down_enabled": false,
            "honors_session_limits": false,
        });
        for name in [json!("slow"), json!(["slow", "none"])] {
            let got = rig.call("group_get", json!({ "name": name })).await;
            assert_eq!(got, json!({ "group": [slow] }));
        }
        let all = rig.legacy("group-get", json!({ "group": "slow" })).await;
        let names: Vec<_> =
            all["arguments"]["group"].as_array().unwrap().iter().map(|g| &g["name"]).collect();
        assert_eq!(names, [&json!("other"), &json!("slow")]);
        assert_eq!(all["arguments"]["group"][1]["speed-limit-up"], 20);
        assert_eq!(all["arguments"]["group"][1]["honorsSessionLimits"], false);
    });
}
