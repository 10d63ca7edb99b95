//! What each order writes.

use super::{StoredOptions, Write};
use crate::{rules::Group, status::Totals};
use metainfo::InfoHash;
use rusqlite::{OptionalExtension, Transaction, params};
use std::{os::unix::ffi::OsStrExt, path::Path};

impl Write {
    pub(super) fn apply(&self, to: &Transaction<'_>) -> rusqlite::Result<()> {
        match self {
            Write::Torrent(torrent) => {
                to.prepare_cached(
                    "INSERT OR REPLACE INTO torrents
                     (info_hash, metainfo, download_dir, running, added_date, options, rank)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                )?
                .execute(params![
                    torrent.info_hash.0,
                    torrent.metainfo,
                    path_bytes(&torrent.download_dir),
                    torrent.running,
                    torrent.added_date as i64,
                    options_text(&torrent.options),
                    torrent.rank,
                ])?;
                let number = to.last_insert_rowid();
                put_totals(to, number, &torrent.totals)?;
                torrent.resume.iter().try_for_each(|data| put_resume(to, number, data))
            }
            Write::Remove(hash) => to
                .prepare_cached("DELETE FROM torrents WHERE info_hash = ?1")?
                .execute([hash.0])
                .map(drop),
            Write::Running(hash, running) => to
                .prepare_cached("UPDATE torrents SET running = ?2 WHERE info_hash = ?1")?
                .execute(params![hash.0, running])
                .map(drop),
            Write::Options(hash, options) => to
                .prepare_cached("UPDATE torrents SET options = ?2 WHERE info_hash = ?1")?
                .execute(params![hash.0, options_text(options)])
                .map(drop),
            Write::Place(hash, folder, options) => to
                .prepare_cached(
                    "UPDATE torrents SET download_dir = ?2, options = ?3 WHERE info_hash = ?1",
                )?
                .execute(params![hash.0, path_bytes(folder), options_text(options)])
                .map(drop),
            // A torrent that was removed meanwhile has neither totals nor resume data any more.
            Write::Totals(hash, totals) => match number_of(to, hash)? {
                Some(number) => put_totals(to, number, totals),
                None => Ok(()),
            },
            Write::Resume(hash, data) => match (number_of(to, hash)?, data) {
                (Some(number), Some(data)) => put_resume(to, number, data),
                (Some(number), None) => to
                    .prepare_cached("DELETE FROM resume WHERE number = ?1")?
                    .execute([number])
                    .map(drop),
                (None, _) => Ok(()),
            },
            Write::Ranks(ranks) => {
                let mut update =
                    to.prepare_cached("UPDATE torrents SET rank = ?2 WHERE info_hash = ?1")?;
                ranks
                    .iter()
                    .try_for_each(|(hash, rank)| update.execute(params![hash.0, rank]).map(drop))
            }
            Write::Group(group) => to
                .prepare_cached("INSERT OR REPLACE INTO groups VALUES (?1, ?2)")?
                .execute(params![group.name, group_text(group)])
                .map(drop),
            Write::RemoveGroup(name) => {
                to.prepare_cached("DELETE FROM groups WHERE name = ?1")?.execute([name]).map(drop)
            }
            Write::Counters(counters) => {
                let fields = [
                    counters.downloaded,
                    counters.uploaded,
                    counters.files_added,
                    counters.sessions,
                    counters.seconds_active,
                ];
                let text = fields.map(|field| field.to_string()).join(" ");
                to.prepare_cached("INSERT OR REPLACE INTO session VALUES ('counters', ?1)")?
                    .execute([text])
                    .map(drop)
            }
        }
    }
}

fn number_of(to: &Transaction<'_>, hash: &InfoHash) -> rusqlite::Result<Option<i64>> {
    to.prepare_cached("SELECT number FROM torrents WHERE info_hash = ?1")?
        .query_row([hash.0], |row| row.get(0))
        .optional()
}

fn put_totals(to: &Transaction<'_>, number: i64, totals: &Totals) -> rusqlite::Result<()> {
    to.prepare_cached("INSERT OR REPLACE INTO totals VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?
        .execute(params![
            number,
            totals.downloaded as i64,
            totals.uploaded as i64,
            totals.corrupt as i64,
            totals.seconds_downloading as i64,
            totals.seconds_seeding as i64,
            totals.activity_date as i64,
            totals.done_date as i64,
        ])
        .map(drop)
}

fn put_resume(to: &Transaction<'_>, number: i64, data: &[u8]) -> rusqlite::Result<()> {
    to.prepare_cached("INSERT OR REPLACE INTO resume VALUES (?1, ?2)")?
        .execute(params![number, data])
        .map(drop)
}

fn options_text(options: &StoredOptions) -> String {
    serde_json::to_string(options).unwrap_or_else(|_| "{}".into())
}

fn group_text(group: &Group) -> String {
    serde_json::to_string(group).unwrap_or_else(|_| "{}".into())
}

fn path_bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}
