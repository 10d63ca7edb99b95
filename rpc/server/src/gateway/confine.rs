//! Callers who may name some folders only: what a call names is looked up in its arguments before it
//! runs, whatever method and dialect it is.

use super::Caller;
use crate::limits;
use api::{Code, RpcError};
use serde_json::Value;
use std::{
    io,
    path::{Component, Path, PathBuf},
};

/// Arguments that name a folder or file of this machine. One that does not begin with `/` is no such
/// path: a URL or a magnet link, or a path within a torrent.
const PATHS: [&str; 7] = [
    "download_dir",
    "download-dir",
    "filename",
    "incomplete_dir",
    "incomplete-dir",
    "location",
    "path",
];

/// Refuses a call whose caller may not name what it names. `fallback` is where a torrent goes that
/// is added without a folder.
pub(crate) async fn check(
    caller: &Caller,
    method: &str,
    params: Option<&str>,
    fallback: impl FnOnce() -> PathBuf,
) -> Result<(), RpcError> {
    if !caller.is_confined() {
        return Ok(());
    }
    let mut named = named(params);
    if matches!(method, "torrent_add" | "torrent.add") && !names_folder(params) {
        named.push(fallback());
    }
    for path in named {
        check_path(caller, path).await?;
    }
    Ok(())
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
    let look = tokio::task::spawn_blocking(move || {
        let real = resolve(&whole)?;
        let inside =
            |folder: &PathBuf| resolve(folder).is_ok_and(|folder| real.starts_with(folder));
        Ok::<_, io::Error>(folders.iter().any(inside))
    });
    match tokio::time::timeout(limits::FREE_SPACE_PATIENCE, look).await {
        Ok(Ok(Ok(true))) => Ok(()),
        Ok(Ok(Ok(false))) => refused("leads out of"),
        _ => refused("cannot be looked at, so may be outside"),
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

fn object(params: Option<&str>) -> serde_json::Map<String, Value> {
    params.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

fn named(params: Option<&str>) -> Vec<PathBuf> {
    let params = object(params);
    let texts = PATHS.iter().filter_map(|name| params.get(*name)?.as_str());
    texts.filter(|text| text.starts_with(['/', '~'])).map(PathBuf::from).collect()
}

fn names_folder(params: Option<&str>) -> bool {
    let params = object(params);
    ["download_dir", "download-dir"].iter().any(|name| {
        params.get(*name).and_then(Value::as_str).is_some_and(|folder| !folder.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::Peer;
    use serde_json::json;

    #[tokio::test]
    async fn what_leads_out_of_the_folders_is_refused_however_it_is_spelled() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("ann");
        std::fs::create_dir_all(home.join("sub")).unwrap();
        std::os::unix::fs::symlink("/etc", home.join("link")).unwrap();
        std::os::unix::fs::symlink("/nowhere/yet", home.join("dangling")).unwrap();
        let caller = Caller { folders: [home.clone()].into(), ..Caller::local(Peer::Unix) };
        let caller = &caller;
        let may = |method: &'static str, params: Value| async move {
            let fallback = || PathBuf::from("/srv");
            check(caller, method, Some(&params.to_string()), fallback).await.is_ok()
        };
        let at = |name: &str| home.join(name).to_string_lossy().into_owned();
        for name in ["", "sub", "sub/new/er", "a.torrent"] {
            assert!(may("free_space", json!({"path": at(name)})).await, "{name}");
            assert!(may("torrent_add", json!({"download-dir": at(name)})).await, "{name}");
        }
        for path in [
            "/",
            "/etc",
            &at("../x"),
            &at("sub/../../x"),
            &at("link"),
            &at("link/passwd"),
            &at("dangling/x"),
            "~root",
            &format!("{}x", home.display()),
        ] {
            for (method, name) in [
                ("free_space", "path"),
                ("torrent_set_location", "location"),
                ("torrent_add", "filename"),
                ("torrent_add", "download_dir"),
            ] {
                let params = json!({ "download-dir": at("sub"), name: path });
                assert!(!may(method, params).await, "{method} {path}");
            }
        }
        // Without a folder it would go where everybody's do.
        assert!(!may("torrent_add", json!({"metainfo": ""})).await);
        // Neither a link nor a path within a torrent is a path here.
        let magnet = json!({"filename": "magnet:?xt=", "download_dir": at("")});
        assert!(may("torrent_add", magnet).await);
        assert!(may("torrent_rename_path", json!({"path": "a/b", "name": "c"})).await);
        assert!(may("torrent_get", json!({"fields": ["id"]})).await);
    }

    #[tokio::test]
    async fn who_is_not_confined_may_name_everything() {
        let caller = Caller::local(Peer::Unix);
        let params = r#"{"path": "/etc"}"#;
        let fallback = || unreachable!("nobody asks");
        check(&caller, "free_space", Some(params), fallback).await.unwrap();
    }
}
