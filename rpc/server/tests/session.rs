//! The session methods on a real engine.

mod support;
use api::session::{SessionField, State};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

#[test]
fn settings_are_told_changed_and_kept() {
    support::run(|rig| async move {
        let change = json!({
            "peer_limit_global": 777, "peer_limit_per_torrent": 55, "reqq": 300,
            "start_added_torrents": "false", "sequential_download": 1, "download_dir": "/tmp",
            "default_trackers": "http://127.0.0.1:9/a\n", "peer_port": 40000,
            "version": "9", "tcp_enabled": false, "no_such": {},
        });
        assert_eq!(rig.call("session_set", change).await, json!({}));
        let got = rig.call("session_get", json!({})).await;
        for (name, value) in [
            ("peer_limit_global", json!(777)),
            ("peer_limit_per_torrent", json!(55)),
            ("reqq", json!(300)),
            ("start_added_torrents", json!(false)),
            ("sequential_download", json!(true)),
            ("download_dir", json!("/tmp")),
            ("default_trackers", json!("http://127.0.0.1:9/a\n")),
            ("tcp_enabled", json!(true)),
            ("peer_port", json!(40000)),
        ] {
            assert_eq!(got[name], value, "{name}");
        }
        assert!(got["version"].as_str().unwrap().starts_with("4.1.3 "));
        // For a disk that takes its time nobody waits.
        let deadline = Instant::now() + Duration::from_secs(60);
        while rig.call("session_get", json!({})).await["download_dir_free_space"].as_i64()
            <= Some(0)
        {
            assert!(Instant::now() < deadline, "the free space stays unknown");
        }
        let saved = rig.saved.lock().unwrap().clone();
        assert_eq!((saved.len(), saved[0].reqq, saved[0].peer_port), (1, 300, 40000));
    });
}

/// What belongs to capabilities that are not there yet is off unless a client says otherwise; what
/// it says is told to all and kept.
#[test]
fn what_has_no_effect_yet_is_stored_and_told_as_it_was_set() {
    support::run(|rig| async move {
        let stored = [
            ("dht_enabled", "dht-enabled", json!(false), json!(true)),
            ("pex_enabled", "pex-enabled", json!(false), json!(true)),
            ("lpd_enabled", "lpd-enabled", json!(false), json!(true)),
            ("port_forwarding_enabled", "port-forwarding-enabled", json!(false), json!(true)),
            ("encryption", "encryption", json!("allowed"), json!("required")),
            ("cache_size_mib", "cache-size-mb", json!(4), json!(7)),
            ("preferred_transports", "preferred_transports", json!(["tcp"]), json!(["utp", "tcp"])),
            ("peer_port_random_on_start", "peer-port-random-on-start", json!(true), json!(true)),
            ("anti_brute_force_enabled", "anti-brute-force-enabled", json!(true), json!(false)),
            ("anti_brute_force_threshold", "anti-brute-force-threshold", json!(5), json!(9)),
        ];
        let listed: Vec<_> = stored.iter().map(|(name, ..)| *name).chain(["utp_enabled"]).collect();
        for field in SessionField::ALL.iter().filter(|field| field.state() == State::Stored) {
            assert!(listed.contains(&field.name().snake), "{field:?}");
        }
        for (name, legacy, before, after) in stored {
            let old = rig.call("session_get", json!({ "fields": [name] })).await;
            assert_eq!(old[name], before, "{name}");
            rig.legacy("session-set", json!({ legacy: after })).await;
            let new = rig.call("session_get", json!({})).await;
            assert_eq!(new[name], after, "{name}");
        }
        assert_eq!(rig.call("session_get", json!({})).await["utp_enabled"], true);
        rig.call("session_set", json!({ "utp_enabled": false })).await;
        let got = rig.call("session_get", json!({})).await;
        assert_eq!(got["preferred_transports"], json!(["tcp"]));
        // Each dialect has its own word for it.
        rig.legacy("session-set", json!({ "encryption": "tolerated" })).await;
        assert_eq!(rig.call("session_get", json!({})).await["encryption"], "allowed");
        let older = rig.legacy("session-get", json!({})).await;
        assert_eq!(older["arguments"]["encryption"], "tolerated");
        rig.legacy("session-set", json!({ "encryption": "prefered" })).await;
        assert_eq!(rig.call("session_get", json!({})).await["encryption"], "preferred");
        let saved = rig.saved.lock().unwrap().last().cloned().unwrap();
        assert!(saved.dht_enabled && saved.cache_size_mib == 7);
        for bad in [
            json!({ "encryption": "tolerated", "reqq": 9 }),
            json!({ "preferred_transports": ["tcp", "tcp"], "reqq": 9 }),
            json!({ "preferred_transports": ["i2p"], "reqq": 9 }),
        ] {
            assert_eq!(rig.error("session_set", bad).await["code"], -32602);
        }
        assert_ne!(rig.session.settings().reqq, 9);
    });
}

#[test]
fn a_change_that_cannot_be_is_refused_whole() {
    support::run(|rig| async move {
        for (params, code) in [
            (json!({ "download_dir": "x", "reqq": 5 }), 3),
            (json!({ "reqq": 0 }), -32602),
            (json!({ "peer_port": 70_000, "reqq": 5 }), -32602),
            (json!({ "default_trackers": "x" }), 2),
        ] {
            assert_eq!(rig.error("session_set", params).await["code"], code);
        }
        assert_eq!(rig.session.settings().reqq, engine::settings::Settings::default().reqq);
        assert!(rig.saved.lock().unwrap().is_empty());
    });
}

#[test]
fn both_dialects_tell_every_row() {
    support::run(|rig| async move {
        let newer = rig.call("session_get", json!({})).await;
        let older = rig.legacy("session-get", json!({})).await["arguments"].take();
        for field in SessionField::ALL {
            let (new, old) = (&newer[field.name().snake], &older[field.name().legacy]);
            assert!(!new.is_null() && !old.is_null(), "{field:?}");
            let differs = matches!(
                field,
                SessionField::encryption
                    | SessionField::units
                    | SessionField::download_dir_free_space
            );
            if !differs {
                assert_eq!(new, old, "{field:?}");
            }
        }
        assert!(SessionField::ALL.iter().any(|field| field.state() == State::Set));
        let some = rig.legacy("session-get", json!({ "fields": ["rpc-version", "x"] })).await;
        assert_eq!(some["arguments"], json!({ "rpc-version": 19 }));
    });
}

#[test]
fn free_space_repeats_the_path_to_the_letter() {
    support::run(|rig| async move {
        let path = format!("{}//./", rig.folder.path().display());
        let space = rig.call("free_space", json!({ "path": path })).await;
        assert_eq!(space["path"], path);
        assert!(space["size_bytes"].as_i64().unwrap() > 0);
        assert!(space["total_size"].as_i64() >= space["size_bytes"].as_i64());
        let older = rig.legacy("free-space", json!({ "path": path })).await;
        assert!(
            older["arguments"]["size-bytes"].is_i64() && older["arguments"]["total_size"].is_i64()
        );

        let nothing = |path: &str| json!({ "path": path, "size_bytes": -1, "total_size": -1 });
        for (path, code) in [("/no/such/path", 5), ("relative", 3)] {
            let error = rig.error("free_space", json!({ "path": path })).await;
            assert_eq!((&error["code"], &error["data"]["result"]), (&json!(code), &nothing(path)));
        }
        assert_eq!(rig.error("free_space", json!({})).await["code"], -32602);
        let older = rig.legacy("free-space", json!({ "path": "relative" })).await;
        assert_eq!(older["arguments"]["size-bytes"], -1);
        assert!(older["result"].as_str().unwrap().contains("absolute"));
    });
}

#[test]
fn closing_answers_first_and_then_asks_to_stop() {
    support::run(|rig| async move {
        let answer: Value = rig.legacy("session-close", json!({})).await;
        assert_eq!(answer["result"], "success");
        let asked = rig.session.shutdown_requested();
        tokio::time::timeout(std::time::Duration::from_secs(5), asked).await.unwrap();
    });
}
