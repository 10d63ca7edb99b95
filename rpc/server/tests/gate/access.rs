//! Who may call what: every method of both dialects and of the native API, by every kind of caller.
//!
//! What is expected is what docs/rpc.md and docs/api.md say. A method without a row there, or without
//! arguments here, fails the test.

use crate::support::{Answer, Rig, accounts, basic, bearer, run_with, token, torrent};
use api::{Role, method::TABLE as METHODS, native::TABLE as NATIVE};
use data_encoding::BASE64;
use engine::{NewTorrent, settings::Settings};
use serde_json::{Value, json};
use std::{cell::RefCell, collections::BTreeMap, path::Path, time::Duration};

const PASSWORD: &str = "correct horse";

/// What the narrow token may call; it has the role `user`.
const SCOPE: [&str; 6] =
    ["torrent_get", "torrent_stop", "session_set", "torrent.list", "torrent.stop", "settings.set"];

/// Somebody who calls.
struct Caller {
    name: &'static str,
    headers: String,
    /// `None` for one who is not let in at all.
    role: Option<Role>,
    is_narrow: bool,
}

impl Caller {
    fn may(&self, method: &str, least: Role) -> bool {
        let scoped = !self.is_narrow || SCOPE.contains(&method);
        self.role.is_some_and(|role| role >= least) && scoped
    }
}

/// Users of all roles, a token that may do little and one that was taken back.
fn callers(config_dir: &Path) -> Vec<Caller> {
    let caller = |name, headers, role, is_narrow| Caller { name, headers, role, is_narrow };
    accounts(config_dir, |accounts| {
        let mut all = vec![caller("nobody", String::new(), None, false)];
        for (name, role) in
            [("reader", Role::ReadOnly), ("user", Role::User), ("admin", Role::Admin)]
        {
            accounts.add_user(name, role, PASSWORD, Vec::new()).unwrap();
            all.push(caller(name, basic(name, PASSWORD), Some(role), false));
        }
        let (narrow, _) = token(accounts, Role::User, &SCOPE);
        all.push(caller("a narrow token", bearer(&narrow), Some(Role::User), true));
        let (revoked, kept) = token(accounts, Role::Admin, &[]);
        accounts.revoke_token(&kept.id).unwrap();
        all.push(caller("a revoked token", bearer(&revoked), None, false));
        all
    })
}

/// The role that each method needs, from the rows between two marks in the documentation.
fn documented(text: &str, marks: &str, column: usize) -> BTreeMap<String, Role> {
    let (_, after) = text.split_once(&format!("<!-- {marks} -->")).unwrap();
    let (table, _) = after.split_once(&format!("<!-- end of {marks} -->")).unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let name = cells[1].split('`').nth(1).unwrap();
        (name.to_owned(), cells[column].parse().unwrap())
    })
    .collect()
}

/// The number of the one torrent there is.
fn id(rig: &Rig) -> u32 {
    rig.session.read(|catalog| catalog.iter().next().unwrap().id.0)
}

/// Arguments with which a method does something, in JSON-RPC's names.
fn arguments(method: &str, rig: &Rig) -> Value {
    let id = id(rig);
    let elsewhere = rig.folder.path().join("elsewhere");
    match method {
        "torrent_get" => json!({ "fields": ["id", "name"] }),
        "torrent_add" => json!({ "metainfo": BASE64.encode(&made(rig, "second")), "paused": true }),
        "torrent_set" => json!({ "ids": [id], "labels": ["new"] }),
        "torrent_set_location" => json!({ "ids": [id], "location": elsewhere, "move": false }),
        "torrent_rename_path" => json!({ "ids": [id], "path": "first/a", "name": "b" }),
        "torrent_remove" | "torrent_start" | "torrent_start_now" | "torrent_stop"
        | "torrent_verify" | "torrent_reannounce" | "queue_move_top" | "queue_move_up"
        | "queue_move_down" | "queue_move_bottom" => json!({ "ids": [id] }),
        "group_set" => json!({ "name": "slow", "speed_limit_up": 5 }),
        "session_set" => json!({ "reqq": 77 }),
        "free_space" => json!({ "path": rig.downloads() }),
        "group_get" | "session_get" | "session_stats" | "session_close" | "blocklist_update"
        | "port_test" => json!({}),
        method => panic!("{method} is new: say here with which arguments it does something"),
    }
}

/// The same for the native API.
fn native_arguments(method: &str, rig: &Rig) -> Value {
    let id = id(rig);
    let elsewhere = rig.folder.path().join("elsewhere");
    match method {
        "torrent.get" | "torrent.files" | "torrent.trackers" | "torrent.peers"
        | "torrent.pieces" => json!({ "torrent": id }),
        "torrent.add" => json!({ "metainfo": BASE64.encode(&made(rig, "second")), "paused": true }),
        "torrent.start" | "torrent.stop" | "torrent.verify" | "torrent.reannounce"
        | "torrent.remove" => json!({ "torrents": [id] }),
        "torrent.move" => json!({ "torrents": [id], "download_dir": elsewhere }),
        "torrent.rename" => json!({ "torrent": id, "path": "first/a", "name": "b" }),
        "torrent.edit" => json!({ "torrents": [id], "labels": ["new"] }),
        "torrent.add_peers" => json!({ "torrent": id, "peers": ["127.0.0.1:9"] }),
        "settings.set" => json!({ "settings": { "reqq": 77 } }),
        "queue.move" => json!({ "torrents": [id], "to": "top" }),
        "group.set" => json!({ "name": "slow", "upload_limit": 5000 }),
        "group.remove" => json!({ "name": "slow" }),
        "rpc.discover"
        | "group.list"
        | "torrent.list"
        | "settings.get"
        | "settings.describe"
        | "statistics.get"
        | "server.info"
        | "server.free_space"
        | "server.port_test"
        | "blocklist.get"
        | "blocklist.update"
        | "server.shutdown"
        | "torrent.subscribe"
        | "event.subscribe"
        | "statistics.subscribe" => json!({}),
        method => panic!("{method} is new: say here with which arguments it does something"),
    }
}

fn made(rig: &Rig, name: &str) -> Vec<u8> {
    torrent(&rig.folder.path().join("source"), name, &[("a", 20_000)], false)
}

/// Everything that a call could have changed.
async fn state(rig: &Rig) -> Value {
    let admin = basic("admin", PASSWORD);
    let body = json!([
        { "jsonrpc": "2.0", "id": 1, "method": "group_get" },
        { "jsonrpc": "2.0", "id": 2, "method": "torrent_get", "params": { "fields": [
            "id", "name", "status", "labels", "download_dir", "files", "queue_position", "error",
            "peer_limit", "wanted", "priorities", "tracker_list", "group",
        ] } },
    ]);
    let headers = format!("{admin}{}", rig.session_id_header());
    let body = body.to_string();
    let torrents = rig.request("POST", "/transmission/rpc", &headers, body.as_bytes());
    let ending = tokio::time::timeout(Duration::ZERO, rig.session.shutdown_requested()).await;
    json!({
        "answers": torrents.await.json(),
        "settings": rig.session.settings(),
        "saved": rig.saved.lock().unwrap().len(),
        "counter": rig.session.read(|catalog| catalog.change_counter()),
        "ending": ending.is_ok(),
    })
}

/// One way of calling methods.
struct Way {
    name: &'static str,
    path: &'static str,
    /// The body of a call.
    body: fn(&str, Value) -> String,
    /// Whether an answer says that the caller may not.
    refused: fn(&Value) -> bool,
}

const NEWER: Way = Way {
    name: "JSON-RPC",
    path: "/transmission/rpc",
    body: |method, params| {
        json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string()
    },
    refused: |answer| answer["error"]["code"] == -32001,
};

const OLDER: Way = Way {
    name: "the older dialect",
    path: "/transmission/rpc",
    body: |method, params| {
        let renamed = params.as_object().unwrap().iter().map(|(name, value)| {
            // Fields have other names; these are the same.
            (name.replace('_', "-"), value.clone())
        });
        let arguments: Value = renamed.collect::<serde_json::Map<_, _>>().into();
        json!({ "method": method.replace('_', "-"), "arguments": arguments }).to_string()
    },
    refused: |answer| answer["result"].as_str().unwrap().contains("is not allowed to"),
};

const OWN: Way = Way {
    name: "the native API",
    path: "/rpc/v1",
    body: NEWER.body,
    refused: |answer| answer["error"]["code"] == 6,
};

impl Way {
    async fn ask(&self, rig: &Rig, caller: &Caller, method: &str, params: Value) -> Answer {
        let json = "Content-Type: application/json\r\n";
        let headers = format!("{}{json}{}", caller.headers, rig.session_id_header());
        let body = (self.body)(method, params);
        rig.request("POST", self.path, &headers, body.as_bytes()).await
    }

    /// Calls a method as each caller: first those who may not, who must change nothing.
    async fn try_all(
        &self,
        rig: &Rig,
        callers: &[Caller],
        (method, least): (&str, Role),
        arguments: fn(&str, &Rig) -> Value,
    ) {
        let (allowed, refused): (Vec<_>, Vec<_>) =
            callers.iter().partition(|caller| caller.may(method, least));
        reset(rig).await;
        let before = state(rig).await;
        for caller in refused {
            let answer = self.ask(rig, caller, method, arguments(method, rig)).await;
            let context = format!("{method} by {}, {}", caller.name, self.name);
            match caller.role {
                None => assert_eq!(answer.status, 401, "{context}"),
                Some(_) => {
                    let answer = answer.value();
                    assert!((self.refused)(&answer), "{context}: {answer}");
                }
            }
            assert_eq!(state(rig).await, before, "{context}");
        }
        for caller in allowed {
            let answer = self.ask(rig, caller, method, arguments(method, rig)).await.value();
            let context = format!("{method} by {}, {}", caller.name, self.name);
            assert!(!(self.refused)(&answer), "{context}: {answer}");
            reset(rig).await;
        }
    }
}

/// Makes it as it was: one torrent that is stopped, and the settings.
async fn reset(rig: &Rig) {
    let all: Vec<_> =
        rig.session.read(|catalog| catalog.iter().map(|torrent| torrent.id).collect());
    rig.session.remove(&all, false);
    for id in all {
        rig.wait_until_gone(u64::from(id.0)).await;
    }
    rig.session.set_settings(Settings { reqq: 500, ..rig.session.settings() }).unwrap();
    let metainfo = made(rig, "first");
    let new = NewTorrent { metainfo, paused: Some(true), ..NewTorrent::default() };
    rig.session.add(new).await.unwrap();
    state(rig).await;
}

/// A house with everybody in it.
fn with_everybody(test: impl AsyncFnOnce(&Rig, &[Caller])) {
    let everybody = RefCell::default();
    run_with(
        |settings, config_dir| {
            // It is tested elsewhere; here a token that was taken back asks over and over.
            settings.anti_brute_force_enabled = false;
            everybody.replace(callers(config_dir));
            basic("admin", PASSWORD)
        },
        |rig| async {
            let rig = rig;
            test(&rig, &everybody.take()).await;
        },
    );
}

#[test]
fn every_method_of_both_dialects_is_for_the_roles_that_are_documented() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/rpc.md"));
    let roles = documented(&text.unwrap(), "methods", 3);
    assert_eq!(roles.len(), METHODS.len());
    with_everybody(async |rig, callers| {
        for method in METHODS {
            for way in [&NEWER, &OLDER] {
                way.try_all(rig, callers, (method.name, roles[method.name]), arguments).await;
            }
        }
    });
}

#[test]
fn every_native_method_is_for_the_roles_that_are_documented() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/api.md"));
    let roles = documented(&text.unwrap(), "methods", 2);
    with_everybody(async |rig, callers| {
        for row in NATIVE {
            // Subscriptions are for all who may read: their table has no roles.
            let least = roles.get(row.name).copied().unwrap_or(Role::ReadOnly);
            assert!(
                roles.contains_key(row.name) || row.name.ends_with(".subscribe"),
                "{}",
                row.name
            );
            OWN.try_all(rig, callers, (row.name, least), native_arguments).await;
        }
    });
}

#[test]
fn in_a_batch_each_call_is_allowed_or_not_by_itself() {
    with_everybody(async |rig, callers| {
        let reader = callers.iter().find(|caller| caller.name == "reader").unwrap();
        reset(rig).await;
        let before = state(rig).await;
        let call = |id: u32, method: &str| json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": { "reqq": 77 } });
        let stop = json!({ "jsonrpc": "2.0", "method": "session_close" });
        let batch = json!([call(1, "session_get"), call(2, "session_set"), stop]).to_string();
        let headers = format!("{}{}", reader.headers, rig.session_id_header());
        let answer = rig.request("POST", "/transmission/rpc", &headers, batch.as_bytes()).await;
        let answer = answer.value();
        assert!(
            answer[0]["result"].is_object() && answer[1]["error"]["code"] == -32001,
            "{answer}"
        );
        assert_eq!(answer.as_array().unwrap().len(), 2, "nobody waits for the notification");
        let json = format!("Content-Type: application/json\r\n{}", reader.headers);
        let batch = json!([call(1, "server.shutdown"), {
            "jsonrpc": "2.0", "id": 2, "method": "statistics.get",
        }]);
        let answer = rig.request("POST", "/rpc/v1", &json, batch.to_string().as_bytes()).await;
        let answer = answer.value();
        assert!(answer[0]["error"]["code"] == 6 && answer[1]["result"].is_object(), "{answer}");
        assert_eq!(state(rig).await, before);
    });
}
