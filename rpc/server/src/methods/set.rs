//! torrent_set.

use super::{Control, each_once, nothing, resolve};
use crate::{execute::Outcome, trackers, view::visible_files};
use api::{
    Code, RpcError,
    params::{FileChanges, FilePriority, Params, TorrentSet},
};
use engine::{
    Change, EditError,
    rules::{GoalMode, Rules},
    status::{Priority, Torrent, TorrentId, TrackerStatus},
};
use std::sync::Arc;

/// Changes each torrent as far as it can be; the first error is told.
pub(super) async fn torrent_set(control: Arc<Control>, params: Params) -> Outcome {
    let set = TorrentSet::parse(&params)?;
    let ids = each_once(control.session.read(|catalog| resolve(catalog, &set.ids)));
    let mut first_error = None;
    for id in ids {
        if let Err(error) = set_one(&control, id, &set) {
            first_error.get_or_insert(error);
        }
    }
    match first_error {
        Some(error) => Err(error),
        None => nothing(),
    }
}

fn set_one(control: &Control, id: TorrentId, set: &TorrentSet) -> Result<(), RpcError> {
    let known = control.session.trackers(id);
    let change = control.session.read(|catalog| {
        let Some(torrent) = catalog.get(id) else { return Ok(None) };
        let change = Change {
            labels: set.labels.clone(),
            file_priorities: changed_priorities(torrent, &set.files)?,
            peer_limit: set.peer_limit,
            sequential: set.sequential_download,
            sequential_from: set
                .sequential_download_from_piece
                .map(|piece| u32::try_from(piece).map_err(|_| Code::PieceIndex))
                .transpose()?,
            rules: changed_rules(&torrent.rules, set),
            trackers: changed_trackers(torrent, set, &trackers::of(torrent, &known))?,
        };
        Ok::<_, RpcError>(Some(change))
    })?;
    match change {
        // A torrent that has gone meanwhile is one that the ids do not match.
        None => Ok(()),
        Some(change) => {
            control.session.edit(id, change).map_err(refusal)?;
            if let Some(position) = set.queue_position {
                let position = usize::try_from(position).unwrap_or(0);
                control.session.put_in_queue(&[id], position);
            }
            Ok(())
        }
    }
}

fn refusal(error: EditError) -> RpcError {
    match error {
        EditError::NoSuchPiece(_) => Code::PieceIndex.into(),
        EditError::NoSuchFile(_) => Code::FileIndex.into(),
        EditError::NoSuchTorrent | EditError::Group(_) => RpcError::invalid(error.to_string()),
    }
}

/// The torrent's rules after the changes; `None` if they stay.
fn changed_rules(rules: &Rules, set: &TorrentSet) -> Option<Rules> {
    fn put<T>(place: &mut T, value: Option<T>) {
        if let Some(value) = value {
            *place = value;
        }
    }
    let mut new = rules.clone();
    put(&mut new.priority, set.bandwidth_priority);
    put(&mut new.download.kilobytes, set.download_limit);
    put(&mut new.download.enabled, set.download_limited);
    put(&mut new.upload.kilobytes, set.upload_limit);
    put(&mut new.upload.enabled, set.upload_limited);
    put(&mut new.honors_session_limits, set.honors_session_limits);
    put(&mut new.group, set.group.clone());
    put(&mut new.ratio_mode, set.seed_ratio_mode.map(goal_mode));
    put(&mut new.ratio_limit, set.seed_ratio_limit);
    put(&mut new.idle_mode, set.seed_idle_mode.map(goal_mode));
    put(&mut new.idle_limit, set.seed_idle_limit);
    (new != *rules).then_some(new)
}

fn goal_mode(number: u8) -> GoalMode {
    match number {
        1 => GoalMode::Own,
        2 => GoalMode::Unlimited,
        _ => GoalMode::Global,
    }
}

/// What the files that clients see become, by the engine's numbers; those that stay are left out.
fn changed_priorities(
    torrent: &Torrent,
    changes: &FileChanges,
) -> Result<Vec<(u32, Priority)>, RpcError> {
    if changes.is_empty() {
        return Ok(Vec::new());
    }
    let now = |index: metainfo::FileIndex| {
        torrent.file_priorities.get(index.as_usize()).copied().unwrap_or_default()
    };
    let before: Vec<(u32, Priority)> =
        visible_files(torrent).map(|(index, _)| (index.get(), now(index))).collect();
    let mut files: Vec<_> = before.iter().map(|&(_, priority)| unfold(priority)).collect();
    changes.apply(&mut files, true)?;
    let after =
        before.iter().zip(files).map(|(&(number, before), file)| (number, before, priority(file)));
    Ok(after
        .filter(|(_, before, after)| before != after)
        .map(|(number, _, after)| (number, after))
        .collect())
}

fn unfold(priority: Priority) -> (bool, FilePriority) {
    match priority {
        Priority::Skip => (false, FilePriority::Normal),
        Priority::Low => (true, FilePriority::Low),
        Priority::Normal => (true, FilePriority::Normal),
        Priority::High => (true, FilePriority::High),
    }
}

/// The engine's one word for a file being wanted, and how much.
pub(super) fn priority((wanted, priority): (bool, FilePriority)) -> Priority {
    match (wanted, priority) {
        (false, _) => Priority::Skip,
        (true, FilePriority::Low) => Priority::Low,
        (true, FilePriority::Normal) => Priority::Normal,
        (true, FilePriority::High) => Priority::High,
    }
}

/// The torrent's trackers after the changes; `None` if there are none.
fn changed_trackers(
    torrent: &Torrent,
    set: &TorrentSet,
    statuses: &[TrackerStatus],
) -> Result<Option<Vec<Vec<String>>>, RpcError> {
    if let Some(tiers) = &set.tracker_list {
        return Ok(Some(tiers.clone()));
    }
    if set.tracker_add.is_empty() && set.tracker_remove.is_empty() && set.tracker_replace.is_empty()
    {
        return Ok(None);
    }
    let url = |id: i64| {
        let status = statuses.iter().find(|status| i64::from(status.id) == id);
        status.map(|status| &*status.announce)
    };
    let mut tiers = torrent.trackers.clone();
    for url in set.tracker_remove.iter().filter_map(|&id| url(id)) {
        tiers.iter_mut().for_each(|tier| tier.retain(|other| other != url));
    }
    for (old, new) in &set.tracker_replace {
        let Some(old) = url(*old).filter(|_| !tiers.iter().flatten().any(|url| url == new)) else {
            continue;
        };
        for place in tiers.iter_mut().flatten().filter(|url| *url == old) {
            place.clone_from(new);
        }
    }
    for new in &set.tracker_add {
        if !tiers.iter().flatten().any(|url| url == new) {
            tiers.push(vec![new.clone()]);
        }
    }
    tiers.retain(|tier| !tier.is_empty());
    if tiers == torrent.trackers {
        return Err(Code::TrackersUnchanged.into());
    }
    Ok(Some(tiers))
}
