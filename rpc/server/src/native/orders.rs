//! Orders for several torrents: all of them exist, or nothing is done.

use super::{Control, Outcome, find, groups, list::selected, rules::RulesChange};
use api::native::{
    AddPeers, Code, Edit, Failure, FileChoice, Move, MoveInQueue, Nothing, Priority, QueueTarget,
    QueueWay, Remove, Rename, Selection, Several, Start, call,
};
use engine::{
    Change, EditError, PlaceError, QueueMove,
    rules::Rules,
    status::{Priority as EnginePriority, Torrent, TorrentId},
};
use serde_json::json;
use std::{path::Path, sync::Arc};

/// Gives an order to the torrents selected.
fn order(
    control: &Control,
    selection: &Selection,
    give: impl FnOnce(&[TorrentId]),
) -> Result<Vec<u32>, Failure> {
    let ids = control.session.read(|catalog| selected(catalog, selection))?;
    give(&ids);
    Ok(numbers(&ids))
}

fn numbers(ids: &[TorrentId]) -> Vec<u32> {
    ids.iter().map(|id| id.0).collect()
}

pub(super) async fn start(control: Arc<Control>, params: Start) -> Outcome<call::TorrentStart> {
    control.session.settle_queue();
    let mut ids = control.session.read(|catalog| {
        let mut ids = selected(catalog, &params.torrents)?;
        // Those in front get the free places.
        ids.sort_by_key(|&id| catalog.get(id).map(|torrent| torrent.queue_position));
        Ok::<_, Failure>(ids)
    })?;
    match params.now {
        true => control.session.start_torrents_now(&ids),
        false => control.session.start_torrents(&ids),
    }
    ids.sort_unstable();
    Ok(numbers(&ids))
}

pub(super) async fn stop(control: Arc<Control>, params: Several) -> Outcome<call::TorrentStop> {
    order(&control, &params.torrents, |ids| control.session.stop_torrents(ids))
}

pub(super) async fn verify(control: Arc<Control>, params: Several) -> Outcome<call::TorrentVerify> {
    order(&control, &params.torrents, |ids| control.session.verify(ids))
}

pub(super) async fn reannounce(
    control: Arc<Control>,
    params: Several,
) -> Outcome<call::TorrentReannounce> {
    order(&control, &params.torrents, |ids| control.session.reannounce(ids))
}

pub(super) async fn remove(control: Arc<Control>, params: Remove) -> Outcome<call::TorrentRemove> {
    order(&control, &params.torrents, |ids| control.session.remove(ids, params.delete_data))
}

pub(super) async fn relocate(control: Arc<Control>, params: Move) -> Outcome<call::TorrentMove> {
    let folder = Path::new(&params.download_dir);
    if !folder.is_absolute() {
        let text = format!("{} is not an absolute path", params.download_dir);
        let about = json!({ "path": params.download_dir });
        return Err(Failure::new(Code::InvalidPath, text).about(about));
    }
    let ids = control.session.read(|catalog| selected(catalog, &params.torrents))?;
    for &id in &ids {
        match control.session.set_location(id, folder, params.bring) {
            // One that has gone meanwhile needs no move.
            Ok(()) | Err(PlaceError::NoSuchTorrent) => {}
            Err(error) => return Err(misplaced(&error)),
        }
    }
    Ok(numbers(&ids))
}

pub(super) async fn rename(control: Arc<Control>, params: Rename) -> Outcome<call::TorrentRename> {
    let id = control.session.read(|catalog| find(catalog, &params.torrent))?;
    let renamed = control.session.rename_path(id, &params.path, &params.name).await;
    renamed.map(|()| Nothing {}).map_err(|error| misplaced(&error))
}

fn misplaced(error: &PlaceError) -> Failure {
    let code = match error {
        PlaceError::NoSuchTorrent => Code::NoSuchTorrent,
        PlaceError::Relative(_) => Code::InvalidPath,
        PlaceError::Rename(_) => Code::InvalidParams,
        PlaceError::Busy => Code::Busy,
        PlaceError::Files(_) => Code::System,
    };
    Failure::new(code, error.to_string())
}

/// The engine's word for how much a file is wanted.
pub(super) fn priority(priority: Priority) -> EnginePriority {
    match priority {
        Priority::Skip => EnginePriority::Skip,
        Priority::Low => EnginePriority::Low,
        Priority::Normal => EnginePriority::Normal,
        Priority::High => EnginePriority::High,
    }
}

pub(super) fn priorities(files: &[FileChoice]) -> Vec<(u32, EnginePriority)> {
    files.iter().map(|choice| (choice.file, priority(choice.priority))).collect()
}

pub(super) async fn edit(control: Arc<Control>, params: Edit) -> Outcome<call::TorrentEdit> {
    if let Some(tiers) = &params.trackers {
        check_trackers(tiers)?;
    }
    check_labels(params.labels.as_deref().unwrap_or_default())?;
    let new_rules = RulesChange::from(&params);
    let edits = control.session.read(|catalog| {
        let ids = selected(catalog, &params.torrents)?;
        let torrents = ids.iter().filter_map(|id| catalog.get(*id));
        let edit = |torrent: &Torrent| {
            check_numbers(torrent, &params)?;
            let rules = new_rules.apply(&torrent.rules)?;
            Ok((torrent.id, (rules != torrent.rules).then_some(rules)))
        };
        torrents.map(edit).collect::<Result<Vec<(TorrentId, Option<Rules>)>, Failure>>()
    })?;
    let mut ids = Vec::with_capacity(edits.len());
    for (id, rules) in edits {
        let change = Change {
            labels: params.labels.clone(),
            file_priorities: priorities(&params.files),
            peer_limit: params.peer_limit,
            sequential: params.sequential,
            sequential_from: params.sequential_from,
            trackers: params.trackers.clone(),
            rules,
        };
        match control.session.edit(id, change) {
            // One that has gone meanwhile needs no edit.
            Ok(()) | Err(EditError::NoSuchTorrent) => {}
            // What is wrong with a group is wrong with the first torrent already.
            Err(EditError::Group(error)) => {
                let name = params.group.clone().flatten().unwrap_or_default();
                return Err(groups::refusal(&error, &name));
            }
            Err(error) => return Err(Failure::new(Code::InvalidParams, error.to_string())),
        }
        ids.push(id);
    }
    Ok(numbers(&ids))
}

/// What an edit says by number of a torrent's files and pieces exists.
fn check_numbers(torrent: &Torrent, edit: &Edit) -> Result<(), Failure> {
    let name = torrent.meta.layout.name();
    let files = torrent.meta.layout.file_count();
    if let Some(choice) = edit.files.iter().find(|choice| choice.file >= files) {
        let file = choice.file;
        let text = format!("{name} has no file number {file}: it has {files}");
        let about = json!({ "torrent": torrent.id.0, "file": file });
        return Err(Failure::new(Code::NoSuchFile, text).about(about));
    }
    let pieces = torrent.meta.layout.geometry().piece_count();
    match edit.sequential_from {
        Some(piece) if piece >= pieces => {
            let text = format!("{name} has no piece number {piece}: it has {pieces}");
            let about = json!({ "torrent": torrent.id.0, "parameter": "sequential_from" });
            Err(Failure::new(Code::InvalidParams, text).about(about))
        }
        _ => Ok(()),
    }
}

pub(super) async fn move_in_queue(
    control: Arc<Control>,
    params: MoveInQueue,
) -> Outcome<call::QueueMove> {
    order(&control, &params.torrents, |ids| match params.to {
        QueueTarget::Position(position) => control.session.put_in_queue(ids, position as usize),
        QueueTarget::Way(way) => {
            let to = match way {
                QueueWay::Top => QueueMove::Top,
                QueueWay::Up => QueueMove::Up,
                QueueWay::Down => QueueMove::Down,
                QueueWay::Bottom => QueueMove::Bottom,
            };
            control.session.move_in_queue(ids, to);
        }
    })
}

/// What holds for labels in every dialect: the older one joins them with commas.
pub(super) fn check_labels(labels: &[String]) -> Result<(), Failure> {
    use api::limits::{LABEL_BYTES, LABELS};
    let refuse = |text: String| Err(Failure::new(Code::InvalidParams, text));
    let is_bad = |label: &&String| {
        label.trim().is_empty() || label.contains(',') || label.len() > LABEL_BYTES
    };
    match labels.iter().find(is_bad) {
        _ if labels.len() > LABELS => refuse(format!("a torrent has {LABELS} labels at most")),
        None => Ok(()),
        Some(_) => {
            refuse(format!("a label is not empty, has no comma and at most {LABEL_BYTES} bytes"))
        }
    }
}

fn check_trackers(tiers: &[Vec<String>]) -> Result<(), Failure> {
    let is_url = |url: &&String| {
        ["http://", "https://", "udp://"].iter().any(|scheme| url.starts_with(scheme))
    };
    match tiers.iter().flatten().find(|url| !is_url(url)) {
        None => Ok(()),
        Some(url) => {
            let text = format!("'{url}' is no announce URL: they begin with http, https or udp");
            Err(Failure::new(Code::InvalidParams, text))
        }
    }
}

pub(super) async fn add_peers(
    control: Arc<Control>,
    params: AddPeers,
) -> Outcome<call::TorrentAddPeers> {
    let id = control.session.read(|catalog| find(catalog, &params.torrent))?;
    control.session.add_peers(id, params.peers);
    Ok(Nothing {})
}
