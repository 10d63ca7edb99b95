//! torrent.add

use super::{
    Control, Outcome, network,
    orders::{check_labels, priorities},
    rules::RulesChange,
};
use crate::{disk, methods::read_torrent_file};
use api::native::{AddTorrent, Added, Code, Failure, call};
use data_encoding::BASE64;
use engine::{AddError, NewTorrent, rules::Rules};
use serde_json::json;
use std::{io, path::Path, sync::Arc};

pub(super) async fn add(control: Arc<Control>, params: AddTorrent) -> Outcome<call::TorrentAdd> {
    check_labels(&params.labels)?;
    let rules = RulesChange::from(&params).apply(&Rules::default())?;
    if let Some(folder) = params.download_dir.as_deref().map(Path::new) {
        let checked = disk::check_folder(folder).await;
        let text = |error| format!("{}: {error}", folder.display());
        checked.map_err(|error: io::Error| Failure::new(Code::InvalidPath, text(error)))?;
    }
    let new = NewTorrent {
        metainfo: metainfo(&params).await?,
        paused: params.paused,
        download_dir: params.download_dir.map(Into::into),
        labels: params.labels,
        file_priorities: priorities(&params.files),
        peer_limit: params.peer_limit,
        sequential: params.sequential,
        sequential_from: params.sequential_from.unwrap_or(0),
        rules,
        trust_files: params.trust_files,
    };
    let added = control.session.add(new).await.map_err(refusal)?;
    Ok(Added {
        id: added.id.0,
        info_hash: added.info_hash.to_string(),
        name: added.name,
        duplicate: added.duplicate,
    })
}

/// The bytes of the .torrent.
async fn metainfo(params: &AddTorrent) -> Result<Vec<u8>, Failure> {
    match (&params.metainfo, &params.path, &params.url) {
        (Some(text), None, None) => BASE64.decode(text.as_bytes()).map_err(|error| {
            Failure::new(Code::InvalidParams, format!("metainfo is not base64: {error}"))
        }),
        (None, Some(path), None) if !path.starts_with('/') => {
            Err(Failure::new(Code::InvalidPath, format!("{path} is not an absolute path"))
                .about(json!({ "path": path })))
        }
        (None, Some(path), None) => read_torrent_file(Path::new(path)).await.map_err(|error| {
            Failure::new(Code::System, format!("{path}: {error}")).about(json!({ "path": path }))
        }),
        (None, None, Some(url)) => network::torrent(url, params.cookies.as_deref()).await,
        _ => Err(Failure::new(Code::InvalidParams, "give one of metainfo, path and url")),
    }
}

fn refusal(error: AddError) -> Failure {
    let (code, about) = match &error {
        AddError::Metainfo(_) | AddError::VersionTwoOnly => (Code::InvalidTorrent, None),
        AddError::NoSuchFile(file) => (Code::NoSuchFile, Some(json!({ "file": file }))),
        AddError::NoSuchPiece(_) => {
            (Code::InvalidParams, Some(json!({ "parameter": "sequential_from" })))
        }
        AddError::RelativeFolder(path) => (Code::InvalidPath, Some(json!({ "path": path }))),
        AddError::Group(_) => (Code::InvalidParams, Some(json!({ "parameter": "group" }))),
        AddError::Save(_) => (Code::System, None),
    };
    Failure { data: about, ..Failure::new(code, error.to_string()) }
}
