//! Everything that is read at the start.

use super::{Stored, StoredOptions, StoredTorrent};
use crate::{
    rules::Group,
    status::{SessionCounters, Totals},
};
use metainfo::InfoHash;
use rusqlite::{Connection, OptionalExtension, Row};
use std::{ffi::OsString, os::unix::ffi::OsStringExt};

pub(super) fn everything(connection: &Connection) -> rusqlite::Result<Stored> {
    Ok(Stored {
        torrents: read_torrents(connection)?,
        groups: read_groups(connection)?,
        counters: read_counters(connection)?,
    })
}

fn read_groups(connection: &Connection) -> rusqlite::Result<Vec<Group>> {
    let mut query = connection.prepare("SELECT name, value FROM groups ORDER BY name")?;
    let rows = query.query_map([], |row| {
        let (name, value): (String, String) = (row.get(0)?, row.get(1)?);
        Ok(Group { name, ..serde_json::from_str(&value).unwrap_or_default() })
    })?;
    rows.collect()
}

fn read_torrents(connection: &Connection) -> rusqlite::Result<Vec<StoredTorrent>> {
    let mut query = connection.prepare(
        "SELECT t.info_hash, t.metainfo, t.download_dir, t.running, t.added_date, t.options,
                s.downloaded, s.uploaded, s.corrupt, s.seconds_downloading, s.seconds_seeding,
                s.activity_date, s.done_date, r.data, t.rank
         FROM torrents t
         LEFT JOIN totals s ON s.number = t.number
         LEFT JOIN resume r ON r.number = t.number
         ORDER BY t.number",
    )?;
    // Most torrents have the options that the one before them has.
    let mut same = (String::new(), StoredOptions::default());
    let rows = query.query_map([], |row| read_torrent(row, &mut same))?;
    rows.collect()
}

/// `same` has the options of the row before, and their text.
fn read_torrent(
    row: &Row<'_>,
    same: &mut (String, StoredOptions),
) -> rusqlite::Result<StoredTorrent> {
    let number = |column: usize| -> rusqlite::Result<u64> {
        Ok(row.get::<_, Option<i64>>(column)?.unwrap_or(0).max(0) as u64)
    };
    let folder: Vec<u8> = row.get(2)?;
    let options = row.get_ref(5)?.as_str()?;
    if options != same.0 {
        *same = (options.to_owned(), serde_json::from_str(options).unwrap_or_default());
    }
    Ok(StoredTorrent {
        info_hash: InfoHash(row.get(0)?),
        metainfo: row.get(1)?,
        download_dir: OsString::from_vec(folder).into(),
        running: row.get(3)?,
        added_date: number(4)?,
        rank: row.get(14)?,
        options: same.1.clone(),
        totals: Totals {
            downloaded: number(6)?,
            uploaded: number(7)?,
            corrupt: number(8)?,
            seconds_downloading: number(9)?,
            seconds_seeding: number(10)?,
            activity_date: number(11)?,
            done_date: number(12)?,
        },
        resume: row.get(13)?,
    })
}

fn read_counters(connection: &Connection) -> rusqlite::Result<SessionCounters> {
    let text: Option<String> = connection
        .query_row("SELECT value FROM session WHERE name = 'counters'", [], |row| row.get(0))
        .optional()?;
    let mut fields = text
        .unwrap_or_default()
        .split(' ')
        .map(|field| field.parse().unwrap_or(0))
        .collect::<Vec<u64>>()
        .into_iter();
    let mut next = || fields.next().unwrap_or(0);
    Ok(SessionCounters {
        downloaded: next(),
        uploaded: next(),
        files_added: next(),
        sessions: next(),
        seconds_active: next(),
    })
}
