//! torrent_add.

use super::{Control, object, set, system_error};
use crate::{disk, execute::Outcome, limits};
use api::{
    Code, RpcError, objects,
    params::{FileChanges, FilePriority, Params, Source, TorrentAdd},
};
use engine::{AddError, Added, Fetch, NewTorrent, rules::Rules, status::Priority};
use metainfo::Metainfo;
use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    sync::Arc,
};

pub(super) async fn torrent_add(control: Arc<Control>, params: Params) -> Outcome {
    let add = TorrentAdd::parse(&params)?;
    let original = match &add.source {
        Source::File(path) => Some(path.clone()),
        _ => None,
    };
    if let Some(folder) = &add.download_dir {
        let checked = disk::check_folder(Path::new(folder)).await;
        checked.map_err(|error| system_error(folder, &error))?;
    }
    let metainfo = metainfo(add.source).await?;
    let file_priorities = priorities(&metainfo, &add.files)?;
    let from = add.sequential_download_from_piece.unwrap_or(0);
    let sequential_from = u32::try_from(from).map_err(|_| Code::PieceIndex)?;
    let new = NewTorrent {
        metainfo,
        paused: add.paused,
        download_dir: add.download_dir.map(Into::into),
        labels: add.labels,
        file_priorities,
        peer_limit: add.peer_limit,
        sequential: add.sequential_download,
        sequential_from,
        rules: Rules { priority: add.bandwidth_priority.unwrap_or(0), ..Rules::default() },
        trust_files: false,
    };
    let added = control.session.add(new).await.map_err(refusal)?;
    if let Some(path) = original.filter(|_| !added.duplicate)
        && control.session.settings().trash_original_torrent_files
        && let Err(error) = tokio::fs::remove_file(&path).await
    {
        tracing::warn!(%path, %error, "it was added and stays where it is");
    }
    Ok(answer(&params, added))
}

async fn metainfo(source: Source) -> Result<Vec<u8>, RpcError> {
    let unrecognized = |text: String| RpcError::new(Code::UnrecognizedInfo, text);
    match source {
        Source::Metainfo(bytes) => Ok(bytes),
        Source::File(path) => read_file(Path::new(&path))
            .await
            .map_err(|error| unrecognized(format!("unrecognized info: {path}: {error}"))),
        Source::Url { url, cookies } => {
            let fetch = Fetch {
                url: &url,
                cookies: cookies.as_deref(),
                family: None,
                limit: metainfo::limits::TORRENT_BYTES,
                timeout: limits::FETCH_PATIENCE,
            };
            let fetched = fetch.run().await;
            Ok(fetched.map_err(|error| RpcError::new(Code::Http, error.to_string()))?.body)
        }
        Source::Magnet(_) | Source::Hash(_) => Err(unrecognized(
            "unrecognized info: magnet links are not supported yet: add the .torrent file".into(),
        )),
    }
}

/// The bytes of a .torrent on this machine.
pub(crate) async fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let path = path.to_owned();
    let read = move || {
        // A pipe would be waited for.
        if !path.metadata()?.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        let most = metainfo::limits::TORRENT_BYTES as u64;
        let mut bytes = Vec::new();
        File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
        match bytes.len() as u64 > most {
            true => Err(io::Error::other("too large for a .torrent file")),
            false => Ok(bytes),
        }
    };
    disk::ask(limits::FETCH_PATIENCE, read).await
}

/// The priorities that differ from normal, by the numbers of the engine.
fn priorities(metainfo: &[u8], changes: &FileChanges) -> Result<Vec<(u32, Priority)>, RpcError> {
    if changes.is_empty() {
        return Ok(Vec::new());
    }
    let parsed = Metainfo::parse(metainfo).map_err(|error| refusal(error.into()))?;
    let visible = parsed.layout.files().filter(|(_, file)| !file.is_pad());
    let numbers: Vec<u32> = visible.map(|(index, _)| index.get()).collect();
    let mut files = vec![(true, FilePriority::Normal); numbers.len()];
    changes.apply(&mut files, false)?;
    let priorities =
        numbers.into_iter().zip(files).map(|(number, file)| (number, set::priority(file)));
    Ok(priorities.filter(|(_, priority)| *priority != Priority::Normal).collect())
}

fn refusal(error: AddError) -> RpcError {
    let text = error.to_string();
    match error {
        AddError::Metainfo(_) | AddError::VersionTwoOnly => {
            RpcError::new(Code::CorruptTorrent, format!("invalid or corrupt torrent file: {text}"))
        }
        AddError::NoSuchFile(_) => Code::FileIndex.into(),
        AddError::NoSuchPiece(_) => Code::PieceIndex.into(),
        AddError::RelativeFolder(_) => RpcError::new(Code::PathNotAbsolute, text),
        AddError::Group(_) => RpcError::invalid(text),
        AddError::Save(_) => RpcError::new(Code::System, text),
    }
}

fn answer(params: &Params, added: Added) -> Vec<u8> {
    let name = match added.duplicate {
        true => api::Name { snake: "torrent_duplicate", legacy: "torrent-duplicate" },
        false => api::Name { snake: "torrent_added", legacy: "torrent-added" },
    };
    object(params, |writer| {
        writer.key(name.in_dialect(params.dialect())).value(&objects::Added {
            hash_string: added.info_hash.to_string(),
            id: added.id.0,
            name: added.name.into(),
        });
    })
}
