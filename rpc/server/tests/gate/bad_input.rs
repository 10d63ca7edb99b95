//! Whatever a request holds, it gets its dialect's proper error, and changes nothing.

use crate::support::{Rig, run, torrent};
use api::{method::TABLE as METHODS, native::TABLE as NATIVE};
use data_encoding::BASE64;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// The call is not one: error -32600.
const INVALID_REQUEST: i64 = -32600;
/// There is no such method.
const NO_METHOD: i64 = -32601;
/// Its arguments cannot be used.
const INVALID_PARAMS: i64 = -32602;
/// The body is not JSON.
const PARSE: i64 = -32700;

/// Runs a test with one torrent in the list, and looks afterwards that it changed nothing.
fn unchanged(test: impl AsyncFnOnce(&Rig, u64)) {
    run(|rig| async {
        let rig = rig;
        let bytes = torrent(&rig.downloads(), "one", &[("a", 20_000), ("b", 300)], false);
        let id = rig.add(&bytes).await;
        let before = state(&rig).await;
        test(&rig, id).await;
        assert_eq!(state(&rig).await, before);
    });
}

async fn state(rig: &Rig) -> Value {
    let fields = [
        "id",
        "name",
        "status",
        "labels",
        "download_dir",
        "files",
        "priorities",
        "wanted",
        "error",
        "peer_limit",
        "queue_position",
        "tracker_list",
        "group",
        "seed_ratio_limit",
    ];
    let ending = tokio::time::timeout(Duration::ZERO, rig.session.shutdown_requested()).await;
    json!({
        "torrents": rig.call("torrent_get", json!({ "fields": fields })).await,
        "groups": rig.call("group_get", json!({})).await,
        "settings": rig.session.settings(),
        "saved": rig.saved.lock().unwrap().len(),
        "counter": rig.session.read(|catalog| catalog.change_counter()),
        "ending": ending.is_ok(),
    })
}

async fn native_body(rig: &Rig, body: &str) -> crate::support::Answer {
    let json = "Content-Type: application/json\r\n";
    rig.request("POST", "/rpc/v1", json, body.as_bytes()).await
}

async fn native_error(rig: &Rig, method: &str, params: Value) -> Value {
    let body = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
    let answer = native_body(rig, &body.to_string()).await.value();
    assert_eq!(answer["id"], 7);
    assert!(answer["error"]["message"].as_str().is_some_and(|text| !text.is_empty()), "{answer}");
    answer["error"].clone()
}

/// Nested so deep.
fn deep(depth: usize) -> String {
    format!("{}1{}", "[".repeat(depth), "]".repeat(depth))
}

#[test]
fn what_is_no_call_is_refused_as_such() {
    unchanged(async |rig, _| {
        let remove = r#""method":"torrent_remove","params":{"ids":[1]}"#;
        for (body, code) in [
            ("", PARSE),
            ("   ", PARSE),
            ("\0", PARSE),
            ("{", PARSE),
            (r#"{"jsonrpc":"2.0","#, PARSE),
            (r#"{"jsonrpc":"2.0","id":1,"method":"session_stats""#, PARSE),
            (r#"{'jsonrpc':'2.0'}"#, PARSE),
            ("nonsense", PARSE),
            ("null", INVALID_REQUEST),
            ("7", INVALID_REQUEST),
            (r#""session_stats""#, INVALID_REQUEST),
            ("[]", INVALID_REQUEST),
            (&format!(r#"{{"jsonrpc":"1.0",{remove}}}"#), INVALID_REQUEST),
            (&format!(r#"{{"jsonrpc":"2.0","id":{{}},{remove}}}"#), INVALID_REQUEST),
            (&format!(r#"{{"jsonrpc":"2.0","id":[1],{remove}}}"#), INVALID_REQUEST),
            (&format!(r#"{{"jsonrpc":"2.0","id":true,{remove}}}"#), INVALID_REQUEST),
        ] {
            let answer = rig.post(body).await.json();
            assert_eq!(
                (&answer["error"]["code"], &answer["id"]),
                (&json!(code), &Value::Null),
                "{body}"
            );
            let answer = native_body(rig, body).await;
            if answer.status == 200 {
                let answer = answer.value();
                assert!(
                    [PARSE, INVALID_REQUEST].map(Value::from).contains(&answer["error"]["code"]),
                    "{body}: {answer}"
                );
            } else {
                assert_eq!(answer.status, 400, "{body}");
            }
        }
        // Bytes that are no text.
        let id = rig.session_id_header();
        let body = b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"torrent_stop\xff\"}";
        let answer = rig.request("POST", "/transmission/rpc", &id, body).await.json();
        assert!(answer["error"]["code"].as_i64().is_some_and(|code| code < 0), "{answer}");
    });
}

#[test]
fn unknown_methods_and_ids_are_told_in_each_dialect() {
    unchanged(async |rig, _| {
        for name in ["no_such", "", "torrent-remove", "TORRENT_REMOVE", "torrent.remove", "rpc.on"]
        {
            assert_eq!(rig.error(name, json!({ "ids": [1] })).await["code"], NO_METHOD, "{name}");
        }
        for name in ["no-such", "", "torrentremove", "torrent.remove"] {
            let answer = rig.legacy(name, json!({ "ids": [1] })).await;
            assert_eq!(answer["result"], "method name not recognized", "{name}");
        }
        for method in [json!(7), json!(null), json!(["torrent_remove"])] {
            let call = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": {} });
            let answer = rig.post(&call.to_string()).await.json();
            assert!(answer["error"]["code"].as_i64().is_some_and(|code| code < 0), "{answer}");
        }
        for name in ["no.such", "torrent_remove", "torrent.remove "] {
            assert_eq!(native_error(rig, name, json!({})).await["code"], NO_METHOD, "{name}");
        }
        let hash = "00112233445566778899aabbccddeeff00112233";
        // Transmission does what is asked to all that there are of those asked for.
        for ids in [json!([99]), json!(99), json!([hash]), json!(hash), json!([-1]), json!([])] {
            for method in ["torrent_remove", "torrent_start", "torrent_stop", "torrent_verify"] {
                rig.call(method, json!({ "ids": ids })).await;
            }
            let got = rig.call("torrent_get", json!({ "ids": ids, "fields": ["id"] })).await;
            assert_eq!(got["torrents"], json!([]), "{ids}");
        }
        // Of ours all must be there, or nothing is done.
        for torrents in [json!([1, 99]), json!([hash]), json!(["nonsense"])] {
            for method in ["torrent.remove", "torrent.start", "torrent.verify", "torrent.edit"] {
                let error = native_error(rig, method, json!({ "torrents": torrents })).await;
                assert!(
                    [json!(1), json!(INVALID_PARAMS)].contains(&error["code"]),
                    "{method} {error}"
                );
            }
        }
        assert_eq!(native_error(rig, "torrent.get", json!({ "torrent": 99 })).await["code"], 1);
    });
}

#[test]
fn arguments_of_wrong_types_change_nothing() {
    unchanged(async |rig, id| {
        // Without arguments that can be told from none, everything would be meant.
        for params in [json!([]), json!([[1]]), json!("x"), json!(7), json!(null), json!(true)] {
            let call =
                json!({ "jsonrpc": "2.0", "id": 1, "method": "torrent_remove", "params": params });
            let answer = rig.post(&call.to_string()).await.json();
            assert_eq!(answer["error"]["code"], INVALID_PARAMS, "{params}");
        }
        for ids in [json!({}), json!("x"), json!(null), json!([{}]), json!([null, "x", 1.5])] {
            let error = rig.call("torrent_stop", json!({ "ids": ids }));
            assert_eq!(error.await, json!({}), "{ids}");
        }
        for (method, params, code) in [
            ("torrent_get", json!({}), INVALID_PARAMS),
            ("torrent_get", json!({ "fields": "id" }), INVALID_PARAMS),
            ("torrent_get", json!({ "fields": [7, null] }), INVALID_PARAMS),
            ("torrent_get", json!({ "fields": ["no_such_field"] }), INVALID_PARAMS),
            ("torrent_add", json!({}), INVALID_PARAMS),
            ("torrent_add", json!({ "filename": 7, "metainfo": ["x"] }), INVALID_PARAMS),
            ("torrent_set", json!({ "ids": [id], "labels": [""] }), INVALID_PARAMS),
            ("torrent_set", json!({ "ids": [id], "labels": ["a,b"] }), INVALID_PARAMS),
            ("torrent_set", json!({ "ids": [id], "files_wanted": [2] }), 6),
            ("torrent_set", json!({ "ids": [id], "priority_high": [-1] }), 6),
            ("torrent_set", json!({ "ids": [id], "tracker_list": "nonsense" }), 2),
            ("torrent_set_location", json!({ "ids": [id] }), INVALID_PARAMS),
            ("torrent_set_location", json!({ "ids": [id], "location": "relative" }), 3),
            ("torrent_rename_path", json!({ "ids": [id], "path": "one" }), 5),
            (
                "torrent_rename_path",
                json!({ "ids": [], "path": "one", "name": "x" }),
                INVALID_PARAMS,
            ),
            ("group_set", json!({}), INVALID_PARAMS),
            ("group_set", json!({ "name": 7 }), INVALID_PARAMS),
            ("session_set", json!({ "peer_limit_global": 0 }), INVALID_PARAMS),
            ("session_set", json!({ "peer_port": 65536 }), INVALID_PARAMS),
            ("session_set", json!({ "alt_speed_time_begin": 1440, "reqq": 7 }), INVALID_PARAMS),
            ("session_set", json!({ "download_dir": "relative" }), 3),
            ("free_space", json!({}), INVALID_PARAMS),
            ("free_space", json!({ "path": 7 }), INVALID_PARAMS),
            ("free_space", json!({ "path": "relative" }), 3),
            ("free_space", json!({ "path": "/no/such/folder" }), 5),
            ("port_test", json!({ "ip_protocol": "ipv5" }), INVALID_PARAMS),
        ] {
            let error = rig.error(method, params.clone()).await;
            assert_eq!(error["code"], code, "{method} {params}: {error}");
            assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()));
            let older = params.as_object().unwrap().iter();
            let older: Map<_, _> =
                older.map(|(name, value)| (name.replace('_', "-"), value.clone())).collect();
            if method != "torrent_set" || !params.to_string().contains("tracker_list") {
                let answer = rig.legacy(&method.replace('_', "-"), older.into()).await;
                let text = answer["result"].as_str().unwrap();
                assert!(!text.is_empty() && text != "success", "{method} {params}");
            }
        }
        for (method, params) in [
            ("torrent.list", json!({ "fields": ["no_such"] })),
            ("torrent.list", json!({ "limit": -1 })),
            ("torrent.get", json!({})),
            ("torrent.get", json!({ "torrent": 1.5 })),
            ("torrent.get", json!({ "torrent": 1, "more": 1 })),
            ("torrent.add", json!({})),
            ("torrent.add", json!({ "metainfo": "!", "paused": true })),
            ("torrent.add", json!({ "metainfo": "", "path": "/x" })),
            ("torrent.remove", json!({})),
            ("torrent.remove", json!([])),
            ("torrent.remove", json!([[1], true])),
            ("torrent.remove", json!({ "torrents": "some" })),
            ("torrent.remove", json!({ "torrents": [1], "delete_data": 1 })),
            ("torrent.edit", json!({ "torrents": [1], "labels": ["a,b"] })),
            ("torrent.edit", json!({ "torrents": [1], "trackers": [["nonsense"]] })),
            ("torrent.edit", json!({ "torrents": [1], "files": [{ "file": 0, "priority": 9 }] })),
            ("torrent.add_peers", json!({ "torrent": 1, "peers": ["x"] })),
            ("settings.set", json!({})),
            ("settings.set", json!({ "settings": { "no_such": 1 } })),
            ("settings.set", json!({ "settings": { "reqq": "x" } })),
            ("settings.set", json!({ "settings": { "reqq": 0 } })),
            ("settings.set", json!({ "settings": { "reqq": 7, "rpc_whitelist": "x" } })),
            ("settings.set", json!({ "settings": { "rpc_bind": "" } })),
            ("settings.set", json!({ "settings": { "rpc_socket_mode": "rwx" } })),
            ("settings.set", json!({ "settings": { "incomplete_dir": "relative" } })),
            ("settings.set", json!({ "settings": { "watch_folders": [{ "path": "x" }] } })),
            ("server.free_space", json!({ "path": 7 })),
            ("server.port_test", json!({ "family": "ipv5" })),
            ("torrent.subscribe", json!({ "fields": 7 })),
        ] {
            let error = native_error(rig, method, params.clone()).await;
            let code = error["code"].as_i64().unwrap();
            // Subscriptions are no methods over HTTP.
            let expected = match method {
                "torrent.subscribe" => INVALID_REQUEST,
                _ => INVALID_PARAMS,
            };
            assert_eq!(code, expected, "{method} {params}: {error}");
        }
    });
}

#[test]
fn every_argument_of_every_method_takes_every_value_without_harm() {
    // The names of all arguments of both dialects, and values of every type.
    let names = [
        "ids",
        "fields",
        "format",
        "filename",
        "metainfo",
        "cookies",
        "download_dir",
        "paused",
        "labels",
        "peer_limit",
        "files_wanted",
        "priority_high",
        "bandwidth_priority",
        "location",
        "move",
        "path",
        "name",
        "group",
        "tracker_list",
        "tracker_add",
        "tracker_replace",
        "queue_position",
        "seed_ratio_limit",
        "seed_ratio_mode",
        "speed_limit_up",
        "ip_protocol",
        "delete_local_data",
        "sequential_download_from_piece",
        "torrents",
        "torrent",
        "settings",
        "files",
        "trackers",
        "peers",
        "interval",
        "sort",
        "offset",
        "limit",
        "kinds",
        "url",
        "alt_speed_time_day",
        "peer_port",
        "encryption",
        "units",
    ];
    let values = [
        json!(null),
        json!(true),
        json!(-1),
        json!(1.5),
        json!(u64::MAX),
        json!(-1e300),
        json!(""),
        json!("\u{0}../\u{202e}"),
        json!("x".repeat(5000)),
        json!([]),
        json!([[], {}, null, -1]),
        json!({}),
        json!({ "ids": 1 }),
    ];
    run(|rig| async move {
        let bytes = torrent(&rig.downloads(), "one", &[("a", 20_000)], false);
        rig.add(&bytes).await;
        let is_end = |name: &str| ["session_close", "server.shutdown"].contains(&name);
        for value in &values {
            let all: Map<String, Value> =
                names.iter().map(|name| ((*name).to_owned(), value.clone())).collect();
            let older: Map<String, Value> =
                all.iter().map(|(name, value)| (name.replace('_', "-"), value.clone())).collect();
            let mut batch = Vec::new();
            for method in METHODS.iter().filter(|method| !is_end(method.name)) {
                let call = json!({ "method": method.legacy, "arguments": older, "tag": 9 });
                let answer = rig.post(&call.to_string()).await.json();
                assert!(answer["result"].is_string() && answer["tag"] == 9, "{}", method.name);
                batch.push(json!({
                    "jsonrpc": "2.0", "id": method.name, "method": method.name, "params": all,
                }));
            }
            let answers = rig.post(&Value::from(batch.clone()).to_string()).await.json();
            for (answer, call) in answers.as_array().unwrap().iter().zip(&batch) {
                assert_eq!(answer["id"], call["id"]);
                assert!(answer["result"].is_object() != answer["error"].is_object(), "{answer}");
                assert_ne!(answer["error"]["code"], -32603, "{answer}");
            }
            // And one by one, where what is not known is an error.
            for row in NATIVE.iter().filter(|row| !is_end(row.name)) {
                for name in names {
                    let call = json!({
                        "jsonrpc": "2.0", "id": 3, "method": row.name, "params": { name: value },
                    });
                    let answer = native_body(&rig, &call.to_string()).await.value();
                    let has = |member| answer.get(member).is_some();
                    assert!(has("result") != has("error"), "{} {name}: {answer}", row.name);
                    assert_ne!(answer["error"]["code"], -32603, "{} {name} {value}", row.name);
                }
            }
        }
    });
}

#[test]
fn deep_and_huge_bodies_are_refused() {
    unchanged(async |rig, id| {
        for depth in [127, 128, 1000, 200_000] {
            let deep = deep(depth);
            for body in [
                deep.clone(),
                format!(
                    r#"{{"jsonrpc":"2.0","id":1,"method":"torrent_remove","params":{{"ids":{deep}}}}}"#
                ),
                format!(r#"{{"method":"torrent-remove","arguments":{{"x":{deep}}},"tag":1}}"#),
                format!(
                    r#"[{{"jsonrpc":"2.0","id":1,"method":"torrent_remove","params":{{"x":{deep}}}}}]"#
                ),
            ] {
                if depth == 127 && !body.starts_with('[') {
                    continue;
                }
                let answer = rig.post(&body).await.json();
                let answer = answer.get(0).unwrap_or(&answer);
                let refused = answer["error"]["code"].as_i64().is_some_and(|code| code < 0)
                    || answer["result"].as_str().is_some_and(|text| text != "success");
                assert!(refused, "{depth}: {answer}");
            }
            let body = format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"torrent.remove","params":{{"torrents":{deep}}}}}"#
            );
            let answer = native_body(rig, &body).await.value();
            assert!(answer["error"]["code"].as_i64().is_some_and(|code| code < 0), "{answer}");
        }
        // More bytes than a request has, told beforehand and not.
        let id_header = rig.session_id_header();
        for path in ["/transmission/rpc", "/rpc/v1"] {
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{id_header}"
            );
            let told = format!("{head}Content-Length: {}\r\n\r\n", (64 << 20) + 1);
            assert!(rig.raw(told.as_bytes()).await.starts_with(b"HTTP/1.1 413 "), "{path}");
            let mut untold = format!("{head}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
            for _ in 0..65 {
                untold.extend_from_slice(format!("{:x}\r\n", 1 << 20).as_bytes());
                untold.resize(untold.len() + (1 << 20), b' ');
                untold.extend_from_slice(b"\r\n");
            }
            untold.extend_from_slice(b"0\r\n\r\n");
            // It may close the connection while more is coming.
            let answer = rig.try_raw(&untold).await;
            assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 413 "), "{path}");
        }
        // A list of ids as long as it may be is no harm; what is repeated beyond measure counts once.
        for (repeated, told) in [(1000, 1000), (100_000, 1)] {
            let ids = vec![id; repeated];
            let got = rig.call("torrent_get", json!({ "ids": ids, "fields": ["id"] })).await;
            assert_eq!(got["torrents"].as_array().unwrap().len(), told);
        }
    });
}

#[test]
fn batches_that_are_too_large_are_refused_as_a_whole() {
    unchanged(async |rig, id| {
        let call = |method: &str, params: Value| json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let batch = Value::from(vec![call("torrent_remove", json!({ "ids": [id] })); 1001]);
        let answer = rig.post(&batch.to_string()).await.json();
        assert_eq!(
            (&answer["error"]["code"], &answer["id"]),
            (&json!(INVALID_REQUEST), &Value::Null)
        );
        let batch = Value::from(vec![call("torrent.remove", json!({ "torrents": [id] })); 257]);
        let answer = native_body(rig, &batch.to_string()).await.value();
        assert!(answer["error"]["code"].as_i64().is_some_and(|code| code < 0), "{answer}");
        // The older dialect has none.
        let older = json!([{ "method": "torrent-remove", "arguments": { "ids": [id] } }]);
        let answer = rig.post(&older.to_string()).await.json();
        assert_eq!(answer[0]["error"]["code"], INVALID_REQUEST, "{answer}");
        let full = Value::from(vec![call("session_stats", json!({})); 1000]);
        let answer = rig.post(&full.to_string()).await.json();
        assert_eq!(answer.as_array().unwrap().len(), 1000);
    });
}

#[test]
fn what_is_no_torrent_is_not_added() {
    unchanged(async |rig, _| {
        let good = torrent(&rig.folder.path().join("source"), "two", &[("a", 20_000)], false);
        let mut cut = good.clone();
        cut.truncate(good.len() - 10);
        let folder = rig.folder.path();
        std::fs::write(folder.join("text.torrent"), b"nonsense").unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, folder.join("pipe.torrent"), 0o600.into()).unwrap();
        let large = std::fs::File::create(folder.join("large.torrent")).unwrap();
        large.set_len(1 << 33).unwrap();
        for (bytes, what) in [
            (&b"nonsense"[..], "text"),
            (&b"de"[..], "an empty dictionary"),
            (&b"d4:infod4:name1:xee"[..], "hardly anything"),
            (&cut[..], "one that was cut"),
            ("d".repeat(100_000).as_bytes(), "a deep one"),
        ] {
            let params = json!({ "metainfo": BASE64.encode(bytes) });
            assert_eq!(rig.error("torrent_add", params.clone()).await["code"], 9, "{what}");
            let older = rig.legacy("torrent-add", params.clone()).await;
            assert_ne!(older["result"], "success", "{what}");
            assert_eq!(native_error(rig, "torrent.add", params).await["code"], 3, "{what}");
        }
        let unnamed = folder.join("none.torrent");
        for (file, code, native) in [
            (folder.join("text.torrent"), 9, 3),
            (folder.join("pipe.torrent"), 4, 5),
            (folder.join("large.torrent"), 4, 5),
            (folder.to_owned(), 4, 5),
            (unnamed, 4, 5),
        ] {
            let error = rig.error("torrent_add", json!({ "filename": file })).await;
            assert_eq!(error["code"], code, "{}: {error}", file.display());
            let error = native_error(rig, "torrent.add", json!({ "path": file })).await;
            assert_eq!(error["code"], native, "{}: {error}", file.display());
        }
        for link in
            ["magnet:?", "magnet:?xt=urn:btih:zz", "ftp://127.0.0.1/x", "http://127.0.0.1:1/x"]
        {
            let error = rig.error("torrent_add", json!({ "filename": link })).await;
            assert!([4, 8].map(Value::from).contains(&error["code"]), "{link}: {error}");
        }
        let relative = json!({ "metainfo": BASE64.encode(&good), "download_dir": "relative" });
        assert_eq!(rig.error("torrent_add", relative.clone()).await["code"], 3);
        assert_eq!(native_error(rig, "torrent.add", relative).await["code"], 4);
        let wrong = json!({ "metainfo": BASE64.encode(&good), "files_unwanted": [1] });
        assert_eq!(rig.error("torrent_add", wrong).await["code"], 6);
    });
}

#[test]
fn a_download_folder_that_cannot_be_reached_is_refused() {
    unchanged(async |rig, _| {
        let file = rig.folder.path().join("file");
        std::fs::write(&file, b"no folder").unwrap();
        let bytes = torrent(&rig.folder.path().join("source"), "two", &[("a", 20_000)], false);
        for folder in [file.clone(), file.join("below"), "/dev/null/x".into()] {
            let params = json!({ "metainfo": BASE64.encode(&bytes), "download_dir": folder });
            let error = rig.error("torrent_add", params.clone()).await;
            assert_eq!(error["code"], 5, "{error}");
            let named = error["data"]["error_string"].as_str().unwrap();
            assert!(named.contains(folder.to_str().unwrap()), "{named}");
            assert_eq!(native_error(rig, "torrent.add", params).await["code"], 4);
        }
    });
}

#[test]
fn what_is_asked_for_a_million_times_is_answered_once_or_not_at_all() {
    unchanged(async |rig, id| {
        let many = |text: &str| vec![text; 1_000_000].join(",");
        let fields = many("\"id\"");
        let get = |ids: &str, fields: &str, format: &str| {
            format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"torrent_get","params":{{"ids":[{ids}],"fields":[{fields}],"format":"{format}"}}}}"#
            )
        };
        let answer = rig.post(&get("1", &fields, "table")).await.json();
        assert_eq!(answer["error"]["code"], INVALID_PARAMS);
        for ids in [many("1"), many("\"recently_active\"")] {
            let answer = rig.post(&get(&ids, "\"id\"", "objects")).await.json();
            assert_eq!(answer["result"]["torrents"], json!([{ "id": id }]));
        }
        // So few are answered each.
        let answer = rig.post(&get("1,1,1", "\"id\",\"id\"", "table")).await.json();
        assert_eq!(answer["result"]["torrents"], json!([["id", "id"], [1, 1], [1, 1], [1, 1]]));
        for filter in [
            json!({ "labels": vec!["x"; 100_000] }),
            json!({ "states": vec!["seeding"; 100_000] }),
            json!({ "name": "*x".repeat(10_000) }),
            json!({ "tracker": "x".repeat(10_000) }),
        ] {
            let error = native_error(rig, "torrent.stop", json!({ "torrents": filter })).await;
            assert_eq!(error["code"], INVALID_PARAMS, "{error}");
        }
    });
}

#[test]
fn a_head_that_is_too_large_is_refused_before_it_is_all_in() {
    unchanged(async |rig, _| {
        let padding = format!("X-Padding: {}\r\n", "x".repeat(60_000));
        for (lines, refused) in [(1, false), (4, true), (400, true)] {
            let mut request = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n", rig.addr);
            request += "Connection: close\r\n";
            request += &padding.repeat(lines);
            request += "\r\n";
            let answer = rig.try_raw(request.as_bytes()).await;
            let is_fine = answer.starts_with(b"HTTP/1.1 200");
            assert_eq!(is_fine, !refused, "{lines}: {}", String::from_utf8_lossy(&answer));
        }
        let many = "X-A: b\r\n".repeat(500);
        let request = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n{many}\r\n", rig.addr);
        let answer = rig.try_raw(request.as_bytes()).await;
        assert!(answer.starts_with(b"HTTP/1.1 431"), "{}", String::from_utf8_lossy(&answer));
    });
}
