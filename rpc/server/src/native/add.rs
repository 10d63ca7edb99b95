//! torrent.add

use super::{
    Control, Outcome, network,
    orders::{check_labels, priorities},
};
use crate::methods::read_torrent_file;
use api::native::{AddTorrent, Added, Code, Failure, call};
use data_encoding::BASE64;
use engine::{AddError, NewTorrent};
use std::{path::Path, sync::Arc};

#[allow(clippy::needless_update, reason = "the engine may be told more than the API knows of")]
pub(super) async fn add(control: Arc<Control>, params: AddTorrent) -> Outcome<call::TorrentAdd> {
    check_labels(&params.labels)?;
    let new = NewTorrent {
        metainfo: metainfo(&params).await?,
        paused: params.paused,
        download_dir: params.download_dir.map(Into::into),
        labels: params.labels,
        file_priorities: priorities(&params.files),
        peer_limit: params.peer_limit,
        sequential: params.sequential,
        trust_files: params.trust_files,
        ..NewTorrent::default()
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
            Err(Failure::new(Code::InvalidPath, format!("{path} is not an absolute path")))
        }
        (None, Some(path), None) => read_torrent_file(Path::new(path))
            .await
            .map_err(|error| Failure::new(Code::System, format!("{path}: {error}"))),
        (None, None, Some(url)) => network::torrent(url, params.cookies.as_deref()).await,
        _ => Err(Failure::new(Code::InvalidParams, "give one of metainfo, path and url")),
    }
}

fn refusal(error: AddError) -> Failure {
    let code = match &error {
        AddError::Metainfo(_) | AddError::VersionTwoOnly => Code::InvalidTorrent,
        AddError::NoSuchFile(_) => Code::NoSuchFile,
        AddError::NoSuchPiece(_) => Code::InvalidParams,
        AddError::RelativeFolder(_) => Code::InvalidPath,
        AddError::Save(_) => Code::System,
    };
    Failure::new(code, error.to_string())
}
