//! Users who are confined to folders name no path outside of them, in whatever way.

use crate::support::{Rig, accounts, basic, run_with, torrent};
use api::Role;
use data_encoding::BASE64;
use serde_json::{Value, json};
use std::{os::unix::fs::symlink, path::PathBuf};

/// Ann's folder, below the folder of all downloads.
fn ann(rig: &Rig) -> PathBuf {
    rig.downloads().join("ann")
}

/// Runs a test with ann, who may do everything but leave her folder, as who the rig logs in.
fn as_ann(test: impl AsyncFnOnce(&Rig)) {
    run_with(
        |settings, config_dir| {
            let folder = settings.download_dir.join("ann");
            std::fs::create_dir(&folder).unwrap();
            symlink(config_dir, folder.join("link")).unwrap();
            symlink("/nowhere/yet", folder.join("dangling")).unwrap();
            symlink(&folder, settings.download_dir.join("way-in")).unwrap();
            accounts(config_dir, |accounts| {
                accounts.add_user("ann", Role::Admin, "correct horse", vec![folder]).unwrap();
            });
            basic("ann", "correct horse")
        },
        |rig| async {
            let rig = rig;
            test(&rig).await;
        },
    );
}

/// Paths that are not ann's, however they are written.
fn outside(rig: &Rig) -> Vec<String> {
    let ann = ann(rig).to_string_lossy().into_owned();
    vec![
        "/".into(),
        "/etc".into(),
        rig.downloads().to_string_lossy().into_owned(),
        format!("{ann}x"),
        format!("{ann}/.."),
        format!("{ann}/../ann"),
        format!("{ann}/sub/../../other"),
        format!("{ann}/link"),
        format!("{ann}/link/sub"),
        format!("{ann}/dangling/sub"),
        "//etc".into(),
    ]
}

fn made(rig: &Rig, name: &str) -> String {
    let source = rig.folder.path().join("source");
    BASE64.encode(&torrent(&source, name, &[("a", 20_000)], false))
}

async fn native(rig: &Rig, method: &str, params: Value) -> Value {
    let headers = format!("Content-Type: application/json\r\n{}", basic("ann", "correct horse"));
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    rig.request("POST", "/rpc/v1", &headers, body.to_string().as_bytes()).await.value()
}

async fn is_refused(rig: &Rig, method: &str, params: &Value) {
    let error = rig.error(method, params.clone()).await;
    assert_eq!(error["code"], -32001, "{method} {params}: {error}");
    let spelled: serde_json::Map<_, _> = params
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.replace('_', "-"), value.clone()))
        .collect();
    let older = rig.legacy(&method.replace('_', "-"), spelled.into()).await;
    let text = older["result"].as_str().unwrap();
    assert!(
        text.contains("your folders") || text.contains("confined"),
        "{method} {params}: {text}"
    );
}

async fn is_refused_natively(rig: &Rig, method: &str, params: Value) {
    let answer = native(rig, method, params.clone()).await;
    assert_eq!(answer["error"]["code"], 6, "{method} {params}: {answer}");
}

#[test]
fn a_torrent_is_added_and_moved_within_the_folders_only() {
    as_ann(async |rig| {
        let metainfo = made(rig, "one");
        for path in outside(rig) {
            is_refused(rig, "torrent_add", &json!({ "metainfo": metainfo, "download_dir": path }))
                .await;
            let params = json!({ "metainfo": metainfo, "download_dir": path });
            is_refused_natively(rig, "torrent.add", params).await;
        }
        // The folder of everybody's torrents is not hers, whichever way it is left out.
        is_refused(rig, "torrent_add", &json!({ "metainfo": metainfo })).await;
        is_refused(rig, "torrent_add", &json!({ "metainfo": metainfo, "download_dir": "" })).await;
        is_refused_natively(rig, "torrent.add", json!({ "metainfo": metainfo })).await;
        let unread = json!({ "metainfo": metainfo, "download-dir": ann(rig) });
        assert_eq!(rig.error("torrent_add", unread).await["code"], -32001);
        let twice = json!({ "metainfo": metainfo, "download-dir": "", "download_dir": ann(rig) });
        let twice = rig.legacy("torrent-add", twice).await;
        assert!(twice["result"].as_str().unwrap().contains("your folders"), "{twice}");
        assert_eq!(rig.session.read(|catalog| catalog.len()), 0);

        let folder = ann(rig).join("new");
        let add = json!({ "metainfo": metainfo, "download_dir": folder, "paused": true });
        let id = rig.call("torrent_add", add).await["torrent_added"]["id"].as_u64().unwrap();
        for path in outside(rig) {
            for bring in [true, false] {
                let params = json!({ "ids": [id], "location": path, "move": bring });
                is_refused(rig, "torrent_set_location", &params).await;
                let params = json!({ "torrents": [id], "download_dir": path, "bring": bring });
                is_refused_natively(rig, "torrent.move", params).await;
            }
        }
        assert_eq!(rig.get(id, &["download_dir"]).await["download_dir"], json!(folder));
        let params = json!({ "ids": [id], "location": ann(rig), "move": false });
        rig.call("torrent_set_location", params).await;
        rig.wait_for(id, "download_dir", json!(ann(rig))).await;
        // A link that leads in is as good as the folder, but she was not told to name it.
        let way_in = rig.downloads().join("way-in");
        is_refused(rig, "free_space", &json!({ "path": way_in })).await;
    });
}

#[test]
fn a_rename_does_not_lead_out_of_the_torrent() {
    as_ann(async |rig| {
        let add = json!({ "metainfo": made(rig, "one"), "download_dir": ann(rig), "paused": true });
        let id = rig.call("torrent_add", add).await["torrent_added"]["id"].as_u64().unwrap();
        for (path, name) in [
            ("one", ".."),
            ("one", "../x"),
            ("one", "/etc/x"),
            ("one", "link/x"),
            ("one/a", "../../x"),
            ("one/../../etc", "x"),
            ("..", "x"),
            ("one/a", "."),
        ] {
            let asked = json!({ "ids": [id], "path": path, "name": name });
            let error = rig.error("torrent_rename_path", asked).await;
            assert_eq!(error["code"], 5, "{path} {name}: {error}");
            let asked = json!({ "torrent": id, "path": path, "name": name });
            let answer = native(rig, "torrent.rename", asked).await;
            assert_eq!(answer["error"]["code"], -32602, "{path} {name}: {answer}");
        }
        assert_eq!(rig.get(id, &["name"]).await["name"], "one");
        is_refused(
            rig,
            "torrent_rename_path",
            &json!({ "ids": [id], "path": "/etc", "name": "x" }),
        )
        .await;
    });
}

#[test]
fn files_and_free_space_are_asked_for_within_the_folders_only() {
    as_ann(async |rig| {
        let bytes = BASE64.decode(made(rig, "one").as_bytes()).unwrap();
        let (hers, other) = (ann(rig).join("one.torrent"), rig.downloads().join("one.torrent"));
        std::fs::write(&hers, &bytes).unwrap();
        std::fs::write(&other, &bytes).unwrap();
        symlink(&other, ann(rig).join("link.torrent")).unwrap();
        let mut files = outside(rig);
        files.push(other.to_string_lossy().into_owned());
        files.push(ann(rig).join("link.torrent").to_string_lossy().into_owned());
        // Also one that is relative, wherever the daemon runs.
        files.extend(["one.torrent", "../one.torrent", "Cargo.toml"].map(str::to_owned));
        for file in &files {
            is_refused(rig, "torrent_add", &json!({ "filename": file, "download_dir": ann(rig) }))
                .await;
        }
        for file in files.iter().filter(|file| file.starts_with('/')) {
            is_refused_natively(
                rig,
                "torrent.add",
                json!({ "path": file, "download_dir": ann(rig) }),
            )
            .await;
        }
        for path in outside(rig) {
            is_refused(rig, "free_space", &json!({ "path": path })).await;
            is_refused_natively(rig, "server.free_space", json!({ "path": path })).await;
        }
        let free = rig.call("free_space", json!({ "path": ann(rig) })).await;
        assert!(free["size_bytes"].as_i64().unwrap() > 0);
        let add = json!({ "filename": hers, "download_dir": ann(rig), "paused": true });
        assert!(rig.call("torrent_add", add).await["torrent_added"].is_object());
    });
}

#[test]
fn settings_do_not_lead_out_of_the_folders() {
    as_ann(async |rig| {
        let before = rig.session.settings();
        for path in outside(rig) {
            for name in ["download_dir", "incomplete_dir"] {
                // What it is already may be said.
                if name == "download_dir" && *path == *before.download_dir.to_string_lossy() {
                    continue;
                }
                is_refused(rig, "session_set", &json!({ name: path })).await;
                is_refused_natively(rig, "settings.set", json!({ "settings": { name: path } }))
                    .await;
            }
        }
        for name in [
            "script_torrent_added_filename",
            "script_torrent_done_filename",
            "script_torrent_done_seeding_filename",
            "blocklist_url",
        ] {
            let inside = ann(rig).join("x");
            is_refused(rig, "session_set", &json!({ name: inside })).await;
        }
        for (name, value) in [
            ("watch_folders", json!([{ "path": "/etc" }])),
            ("watch_folders", json!([{ "path": ann(rig), "download_dir": "/etc" }])),
            ("web_home", json!("/")),
            ("rpc_tls_key", json!("/etc/key")),
            ("rpc_bind", json!("unix:/tmp/ringseed-test.sock")),
            ("script_torrent_done_filename", json!("/bin/sh")),
        ] {
            is_refused_natively(rig, "settings.set", json!({ "settings": { name: value } })).await;
        }
        assert_eq!(rig.session.settings(), before);
        assert!(rig.saved.lock().unwrap().is_empty());
        // One that is refused takes those beside it along.
        is_refused(rig, "session_set", &json!({ "reqq": 77, "download_dir": "/etc" })).await;
        assert_eq!(rig.session.settings(), before);
        rig.call("session_set", json!({ "reqq": 77, "download_dir": ann(rig).join("new") })).await;
        assert_eq!(rig.session.settings().download_dir, ann(rig).join("new"));
        // What leaves her folder now as before needs no leave.
        native(rig, "settings.set", json!({ "settings": { "web_home": before.web_home } })).await;
    });
}
