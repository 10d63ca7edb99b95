//! Callers who may name some folders only: what a call names is looked up in its arguments before it
//! runs, whatever method and dialect it is.

use super::{Caller, calls::Asked};
use crate::{disk, limits};
use api::{Code, Dialect, RpcError, params::Source};
use engine::settings::{Kind, Settings, TABLE};
use serde_json::{Map, Value};
use std::{
    io,
    path::{Component, Path, PathBuf},
};

/// Arguments that name a folder or file of this machine. One that does not begin with `/` is no such
/// path: a path within a torrent, or one that the method refuses by itself.
const PATHS: [&str; 7] = [
    "download_dir",
    "download-dir",
    "filename",
    "incomplete_dir",
    "incomplete-dir",
    "location",
    "path",
];

/// Settings that name a folder for data: one within the caller's own does.
const FOLDERS: [&str; 2] = ["download_dir", "incomplete_dir"];

/// Settings that are no paths by their kind, but lead to some.
const LEADING: [&str; 3] = ["blocklist_url", "rpc_bind", "rpc_socket_mode"];

/// Refuses a call whose caller may not name what it names.
pub(crate) async fn check(
    asked: &Asked<'_>,
    settings: impl FnOnce() -> Settings,
) -> Result<(), RpcError> {
    let caller = asked.caller;
    if !caller.is_confined() {
        return Ok(());
    }
    // Arguments that cannot be read name nothing: the method refuses them.
    let params: Map<String, Value> =
        asked.params.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let paths = match asked.method {
        "torrent_add" | "torrent.add" => added(asked.dialect, &params, settings),
        "session_set" => set(&params, &settings())?,
        "settings.set" => match params.get("settings") {
            Some(Value::Object(changes)) => set(changes, &settings())?,
            _ => Vec::new(),
        },
        _ => named(&params),
    };
    for path in paths {
        check_path(caller, path).await?;
    }
    Ok(())
}

/// The arguments that name a path.
fn named(params: &Map<String, Value>) -> Vec<PathBuf> {
    let texts = PATHS.iter().filter_map(|name| params.get(*name)?.as_str());
    texts.filter(|text| text.starts_with(['/', '~'])).map(PathBuf::from).collect()
}

/// What a new torrent names: its file, and its folder, which is the default one unless the method
/// reads another one in this dialect.
fn added(
    dialect: Dialect,
    params: &Map<String, Value>,
    settings: impl FnOnce() -> Settings,
) -> Vec<PathBuf> {
    let mut paths = named(params);
    let file = params.get("filename").and_then(Value::as_str).filter(|text| !text.is_empty());
    if let Some(Source::File(path)) = file.map(Source::of_filename) {
        paths.push(path.into());
    }
    let older = params.get("download-dir").filter(|_| dialect == Dialect::Legacy);
    let folder = older.or_else(|| params.get("download_dir")).and_then(Value::as_str);
    if folder.is_none_or(str::is_empty) {
        paths.push(settings().download_dir);
    }
    paths
}

/// The folders in a change of settings. Other settings that name paths or programs would lead out of
/// any folder: they stay as they are.
fn set(changes: &Map<String, Value>, settings: &Settings) -> Result<Vec<PathBuf>, RpcError> {
    let now = serde_json::to_value(settings).unwrap_or_default();
    let mut paths = Vec::new();
    for (name, value) in changes {
        let name = name.replace('-', "_");
        let row = TABLE.iter().find(|row| row.name == name);
        let Some(row) = row.filter(|row| now[row.name] != *value) else { continue };
        if FOLDERS.contains(&row.name) {
            paths.extend(value.as_str().map(PathBuf::from));
        } else if matches!(row.kind, Kind::Path | Kind::Folders) || LEADING.contains(&row.name) {
            let text = format!("{name} is not for those who are confined to folders");
            return Err(RpcError::new(Code::Forbidden, text));
        }
    }
    Ok(paths)
}

/// Refuses a path outside the caller's folders, also one that leads there by a link.
pub(crate) async fn check_path(caller: &Caller, path: PathBuf) -> Result<(), RpcError> {
    let refused = |why: &str| {
        let folders: Vec<_> =
            caller.folders.iter().map(|folder| folder.display().to_string()).collect();
        let (path, folders) = (path.display(), folders.join(", "));
        Err(RpcError::new(Code::Forbidden, format!("{path} {why} your folders: {folders}")))
    };
    let climbs = path.components().any(|part| part == Component::ParentDir);
    if climbs || !caller.may_name(&path) {
        return refused("is outside");
    }
    let (whole, folders) = (path.clone(), caller.folders.clone());
    let look = disk::ask(limits::FREE_SPACE_PATIENCE, move || {
        let real = resolve(&whole)?;
        let inside =
            |folder: &PathBuf| resolve(folder).is_ok_and(|folder| real.starts_with(folder));
        Ok(folders.iter().any(inside))
    });
    match look.await {
        Ok(true) => Ok(()),
        Ok(false) => refused("leads out of"),
        Err(_) => refused("cannot be looked at, so may be outside"),
    }
}

/// Where a path leads, as far as it exists.
fn resolve(path: &Path) -> io::Result<PathBuf> {
    let mut missing = Vec::new();
    let mut there = path;
    loop {
        match there.canonicalize() {
            Ok(real) => return Ok(missing.iter().rev().fold(real, |path, part| path.join(part))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // A link to what is not there could lead anywhere once it is.
                if there.is_symlink() {
                    return Err(error);
                }
                let (Some(parent), Some(name)) = (there.parent(), there.file_name()) else {
                    return Err(error);
                };
                missing.push(name.to_owned());
                there = parent;
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::Peer;
    use api::Access;
    use serde_json::json;

    struct House {
        folder: tempfile::TempDir,
        caller: Caller,
    }

    /// A caller whose folder is `ann`, with links that lead out of it.
    fn house() -> House {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("ann");
        std::fs::create_dir_all(home.join("sub")).unwrap();
        std::os::unix::fs::symlink("/etc", home.join("link")).unwrap();
        std::os::unix::fs::symlink("/nowhere/yet", home.join("dangling")).unwrap();
        let caller = Caller { folders: [home].into(), ..Caller::local(Peer::Unix) };
        House { folder, caller }
    }

    impl House {
        fn at(&self, name: &str) -> String {
            self.folder.path().join("ann").join(name).to_string_lossy().into_owned()
        }

        async fn may(&self, dialect: Dialect, method: &'static str, params: Value) -> bool {
            let text = params.to_string();
            let asked = Asked {
                caller: &self.caller,
                method,
                access: Access::Changes,
                dialect,
                params: Some(&text),
            };
            let settings = || Settings { download_dir: "/srv".into(), ..Settings::default() };
            check(&asked, settings).await.is_ok()
        }
    }

    #[tokio::test]
    async fn what_leads_out_of_the_folders_is_refused_however_it_is_spelled() {
        let house = house();
        let may = |method, params| house.may(Dialect::Legacy, method, params);
        for name in ["", "sub", "sub/new/er", "a.torrent"] {
            assert!(may("free_space", json!({"path": house.at(name)})).await, "{name}");
            assert!(may("torrent_add", json!({"download-dir": house.at(name)})).await, "{name}");
        }
        for path in [
            "/",
            "/etc",
            &house.at("../x"),
            &house.at("sub/../../x"),
            &house.at("link"),
            &house.at("link/passwd"),
            &house.at("dangling/x"),
            "~root",
            &format!("{}x", house.at("").trim_end_matches('/')),
        ] {
            for (method, name) in [
                ("free_space", "path"),
                ("torrent_set_location", "location"),
                ("torrent_add", "filename"),
                ("torrent_add", "download_dir"),
                ("torrent.add", "path"),
                ("torrent.move", "download_dir"),
                ("session_set", "incomplete-dir"),
            ] {
                let params = json!({ "download-dir": house.at("sub"), name: path });
                assert!(!may(method, params).await, "{method} {path}");
            }
        }
        // Neither a link nor a path within a torrent is a path here.
        let magnet = json!({"filename": "magnet:?xt=", "download_dir": house.at("")});
        assert!(may("torrent_add", magnet).await);
        assert!(may("torrent_rename_path", json!({"path": "a/b", "name": "c"})).await);
        assert!(may("torrent_get", json!({"fields": ["id"]})).await);
        // One that is relative would be looked for wherever the daemon runs.
        let relative = json!({"filename": "a.torrent", "download-dir": house.at("")});
        assert!(!may("torrent_add", relative).await);
    }

    #[tokio::test]
    async fn a_torrent_goes_to_a_folder_of_the_callers_in_the_dialect_that_is_read() {
        let house = house();
        let (older, newer) = (Dialect::Legacy, Dialect::JsonRpc);
        let mine = house.at("sub");
        // Without a folder it would go where everybody's do.
        for (dialect, params, expected) in [
            (newer, json!({}), false),
            (newer, json!({"download_dir": mine}), true),
            (newer, json!({"download_dir": ""}), false),
            (newer, json!({"download_dir": 7}), false),
            (newer, json!({"download-dir": mine}), false),
            (older, json!({"download-dir": mine}), true),
            (older, json!({"download_dir": mine}), true),
            (older, json!({"download-dir": "", "download_dir": mine}), false),
            (older, json!({"download-dir": null, "download_dir": mine}), false),
        ] {
            assert_eq!(
                house.may(dialect, "torrent_add", params.clone()).await,
                expected,
                "{params}"
            );
            if dialect == newer {
                assert_eq!(house.may(dialect, "torrent.add", params).await, expected);
            }
        }
    }

    #[tokio::test]
    async fn settings_that_lead_elsewhere_are_not_for_the_confined() {
        let house = house();
        for (name, value) in [
            ("download_dir", json!("/etc")),
            ("incomplete_dir", json!(house.at("link"))),
            ("script_torrent_done_filename", json!(house.at("x.sh"))),
            ("web_home", json!("/")),
            ("rpc_tls_key", json!("/etc/key")),
            ("rpc_bind", json!("unix:/tmp/x")),
            ("blocklist_url", json!("/etc/shadow")),
            ("watch_folders", json!([{ "path": "/etc" }])),
        ] {
            let set = json!({ "settings": { name: value } });
            assert!(!house.may(Dialect::JsonRpc, "settings.set", set).await, "{name}");
            for name in [name.to_owned(), name.replace('_', "-")] {
                let set = json!({ name.as_str(): value });
                assert!(!house.may(Dialect::Legacy, "session_set", set).await, "{name}");
            }
        }
        // What stays as it is, and what is no path, may be said.
        let fine = json!({ "download_dir": "/srv", "incomplete_dir": house.at("sub"), "reqq": 9 });
        assert!(house.may(Dialect::JsonRpc, "session_set", fine.clone()).await);
        let fine = json!({ "settings": fine });
        assert!(house.may(Dialect::JsonRpc, "settings.set", fine).await);
    }

    #[tokio::test]
    async fn who_is_not_confined_may_name_everything() {
        let mut house = house();
        house.caller.folders = [].into();
        assert!(house.may(Dialect::JsonRpc, "free_space", json!({"path": "/etc"})).await);
        assert!(house.may(Dialect::JsonRpc, "torrent_add", json!({})).await);
    }
}
