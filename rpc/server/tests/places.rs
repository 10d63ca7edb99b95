//! Where torrents are and how their files are called, over both dialects.

mod support;

use serde_json::{Value, json};
use std::time::Duration;

/// A torrent that seeds from the download folder.
async fn seeding(rig: &support::Rig) -> u64 {
    let torrent =
        support::torrent(&rig.downloads(), "top", &[("a/x", 20_000), ("y", 30_000)], false);
    let id = rig.add(&torrent).await;
    rig.call("torrent_start", json!({ "ids": [id] })).await;
    rig.wait_for(id, "status", json!(6)).await;
    id
}

#[test]
fn files_are_moved_or_looked_for_elsewhere() {
    support::run(|rig| async move {
        let id = seeding(&rig).await;
        let folder = rig.folder.path().join("elsewhere");
        let params = json!({ "ids": [id], "location": folder, "move": true });
        assert_eq!(rig.call("torrent_set_location", params).await, json!({}));
        rig.wait_for(id, "download_dir", json!(folder)).await;
        rig.wait_for(id, "status", json!(6)).await;
        assert!(folder.join("top/a/x").exists() && !rig.downloads().join("top").exists());

        std::fs::rename(folder.join("top"), rig.downloads().join("top")).unwrap();
        let arguments = json!({ "ids": id, "location": rig.downloads(), "move": false });
        assert_eq!(rig.legacy("torrent-set-location", arguments).await["result"], "success");
        rig.wait_for(id, "download_dir", json!(rig.downloads())).await;
        rig.call("torrent_start", json!({ "ids": [id] })).await;
        rig.wait_for(id, "status", json!(6)).await;

        for (params, code) in [
            (json!({ "ids": [id] }), -32602),
            (json!({ "ids": [id], "location": "" }), -32602),
            (json!({ "ids": [id], "location": "relative", "move": true }), 3),
        ] {
            assert_eq!(rig.error("torrent_set_location", params).await["code"], code);
        }
        let older = rig.legacy("torrent-set-location", json!({ "location": "relative" })).await;
        assert!(older["result"].as_str().unwrap().contains("absolute"));
    });
}

#[test]
fn a_move_that_fails_is_an_error_of_the_torrent() {
    support::run(|rig| async move {
        let id = seeding(&rig).await;
        let folder = rig.folder.path().join("file");
        std::fs::write(&folder, b"in the way").unwrap();
        rig.call("torrent_set_location", json!({ "ids": [id], "location": folder, "move": true }))
            .await;
        rig.wait_for(id, "error", json!(3)).await;
        let torrent = rig.get(id, &["status", "error_string", "download_dir"]).await;
        assert_eq!(
            (&torrent["status"], &torrent["download_dir"]),
            (&json!(0), &json!(rig.downloads()))
        );
        assert!(torrent["error_string"].as_str().unwrap().contains("file"));
        assert!(rig.downloads().join("top/a/x").exists());
    });
}

#[test]
fn paths_are_renamed_and_what_was_asked_is_repeated() {
    support::run(|rig| async move {
        let id = seeding(&rig).await;
        let asked = json!({ "ids": [id], "path": "top/a", "name": "b" });
        let told = rig.call("torrent_rename_path", asked).await;
        assert_eq!(told, json!({ "id": id, "path": "top/a", "name": "b" }));
        let hash = rig.get(id, &["hash_string"]).await["hash_string"].clone();
        let asked = json!({ "ids": [hash], "path": "top", "name": "new" });
        let told = rig.legacy("torrent-rename-path", asked).await;
        assert_eq!(told["arguments"], json!({ "id": id, "path": "top", "name": "new" }));
        let torrent = rig.get(id, &["name", "files"]).await;
        assert_eq!(torrent["name"], "new");
        let names: Vec<&Value> =
            torrent["files"].as_array().unwrap().iter().map(|file| &file["name"]).collect();
        assert_eq!(names, ["new/b/x", "new/y"]);
        assert!(rig.downloads().join("new/b/x").exists());
        rig.wait_for(id, "status", json!(6)).await;

        for (path, name, code) in [
            ("new", "", 5),
            ("new", "..", 5),
            ("new/y", "a/b", 5),
            ("new/y", "b", 5),
            ("top", "x", 5),
        ] {
            let params = json!({ "ids": [id], "path": path, "name": name });
            let error = rig.error("torrent_rename_path", params).await;
            let expected = json!({ "id": id, "path": path, "name": name });
            assert_eq!((&error["code"], &error["data"]["result"]), (&json!(code), &expected));
        }
        let none = json!({ "ids": [], "path": "new", "name": "x" });
        assert_eq!(rig.error("torrent_rename_path", none).await["code"], -32602);
        let failed = json!({ "ids": [id], "path": "no/such", "name": "x" });
        let older = rig.legacy("torrent-rename-path", failed).await;
        assert!(older["result"].as_str().unwrap().starts_with("invalid argument"));
        assert_eq!(older["arguments"], json!({ "id": id, "path": "no/such", "name": "x" }));
    });
}

#[test]
fn new_torrents_are_kept_apart_until_they_are_complete() {
    support::run(|rig| async move {
        let apart = rig.folder.path().join("apart");
        let set = json!({ "incomplete-dir": apart, "incomplete-dir-enabled": true, "rename-partial-files": 1 });
        assert_eq!(rig.legacy("session-set", set).await["result"], "success");
        let fields = json!({ "fields": ["incomplete_dir", "incomplete_dir_enabled", "rename_partial_files"] });
        let told = rig.call("session_get", fields).await;
        assert_eq!(
            told,
            json!({ "incomplete_dir": apart, "incomplete_dir_enabled": true, "rename_partial_files": true })
        );
        let error = rig.error("session_set", json!({ "incomplete_dir": "x" })).await;
        assert_eq!(error["code"], 3);
        // What is there already under its partial name is found, checked and moved.
        let torrent = support::torrent(&apart, "top", &[("x", 20_000)], false);
        std::fs::rename(apart.join("top/x"), apart.join("top/x.part")).unwrap();
        let id = rig.add(&torrent).await;
        assert_eq!(rig.get(id, &["download_dir"]).await["download_dir"], json!(rig.downloads()));
        rig.call("torrent_start", json!({ "ids": [id] })).await;
        rig.wait_for(id, "status", json!(6)).await;
        for _ in 0..200 {
            if rig.downloads().join("top/x").exists() && !apart.join("top").exists() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("it is not where it belongs");
    });
}
