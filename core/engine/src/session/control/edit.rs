//! Edits of a torrent.

use super::{
    super::{Change, EditError, Write, key},
    Inner,
    lifecycle::public_trackers,
    measure, merge_priorities, priority_number, running_activity,
};
use crate::{
    clock::unix_now,
    shard::Command,
    status::{Activity, TorrentId},
};

impl Inner {
    pub(in crate::session) fn edit(&self, id: TorrentId, change: Change) -> Result<(), EditError> {
        let mut guard = self.lock();
        let control = &mut *guard;
        let torrent = control.catalog.get(id).ok_or(EditError::NoSuchTorrent)?;
        let files = torrent.meta.layout.file_count();
        let priorities = merge_priorities(&torrent.file_priorities, &change.file_priorities, files)
            .map_err(EditError::NoSuchFile)?;
        if let Some(piece) = change.sequential_from
            && piece >= torrent.meta.layout.geometry().piece_count()
        {
            return Err(EditError::NoSuchPiece(piece));
        }
        if let Some(rules) = &change.rules
            && let Some(write) = control.want_group(&rules.group)?
        {
            self.write(write);
        }
        let torrent = control.catalog.change(id).ok_or(EditError::NoSuchTorrent)?;
        let entry = control.entries.get_mut(&id).ok_or(EditError::NoSuchTorrent)?;
        torrent.edit_date = unix_now();
        if let Some(labels) = change.labels {
            torrent.labels.clone_from(&labels);
            entry.options.labels = labels;
        }
        if let Some(trackers) = change.trackers {
            torrent.trackers.clone_from(&trackers);
            entry.options.trackers = Some(trackers.clone());
            let all = trackers.into_iter().chain(public_trackers(&control.settings, torrent));
            self.announcer.set_trackers(key(id), all.collect());
        }
        if let Some(limit) = change.peer_limit {
            torrent.peer_limit = limit.max(1);
            entry.options.peer_limit = Some(limit.max(1));
        }
        if let Some(sequential) = change.sequential {
            torrent.sequential = sequential;
            entry.options.sequential = sequential;
        }
        if let Some(piece) = change.sequential_from {
            torrent.sequential_from = piece;
            entry.options.sequential_from = piece;
        }
        let new_limits = change.rules.is_some();
        if let Some(rules) = change.rules {
            torrent.rules.clone_from(&rules);
            entry.options.rules = rules;
        }
        let new_priorities = !change.file_priorities.is_empty();
        if new_priorities {
            torrent.file_priorities.clone_from(&priorities);
            entry.options.priorities = priorities.iter().copied().map(priority_number).collect();
            measure(torrent);
            if matches!(torrent.activity, Activity::Downloading | Activity::Seeding) {
                torrent.activity = running_activity(torrent);
            }
        }
        self.write(Write::Options(torrent.info_hash, entry.options.clone()));
        let Some(shard) = control.shard_of(id) else { return Ok(()) };
        if new_priorities {
            self.command(shard, Command::Priorities { id, priorities });
        }
        if let Some(torrent) = control.catalog.get(id) {
            let settings = control.swarm_settings(torrent);
            self.command(shard, Command::Swarm { id, settings });
            if new_limits {
                let limits = control.limits_of(torrent);
                self.command(shard, Command::Limits { id, limits });
            }
        }
        Ok(())
    }
}
