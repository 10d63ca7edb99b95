//! The tables, as each version has changed them.

use super::DatabaseError;
use rusqlite::Connection;

/// What makes each version of the one before; a new database goes through all of them. What is here stays
/// as it is: there are databases that were made by it.
pub(super) const VERSIONS: [&str; 3] = [
    "
    CREATE TABLE torrents (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        info_hash BLOB NOT NULL UNIQUE,
        metainfo BLOB NOT NULL,
        download_dir BLOB NOT NULL,
        running INTEGER NOT NULL,
        added_date INTEGER NOT NULL,
        options TEXT NOT NULL
    );
    CREATE TABLE totals (
        info_hash BLOB PRIMARY KEY REFERENCES torrents(info_hash) ON DELETE CASCADE,
        downloaded INTEGER NOT NULL,
        uploaded INTEGER NOT NULL,
        corrupt INTEGER NOT NULL,
        seconds_downloading INTEGER NOT NULL,
        seconds_seeding INTEGER NOT NULL,
        activity_date INTEGER NOT NULL,
        done_date INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE resume (
        info_hash BLOB PRIMARY KEY REFERENCES torrents(info_hash) ON DELETE CASCADE,
        data BLOB NOT NULL
    );
    CREATE TABLE session (
        name TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) WITHOUT ROWID;
    ",
    "
    ALTER TABLE torrents ADD COLUMN rank INTEGER NOT NULL DEFAULT 0;
    UPDATE torrents SET rank = number;
    CREATE TABLE groups (
        name TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) WITHOUT ROWID;
    ",
    // By number, so that what belongs to torrents that come together is together, and not by info-hash,
    // which touches a page for each.
    "
    CREATE TABLE numbered_totals (
        number INTEGER PRIMARY KEY REFERENCES torrents(number) ON DELETE CASCADE,
        downloaded INTEGER NOT NULL, uploaded INTEGER NOT NULL, corrupt INTEGER NOT NULL,
        seconds_downloading INTEGER NOT NULL, seconds_seeding INTEGER NOT NULL,
        activity_date INTEGER NOT NULL, done_date INTEGER NOT NULL
    );
    INSERT INTO numbered_totals
        SELECT number, downloaded, uploaded, corrupt, seconds_downloading, seconds_seeding,
               activity_date, done_date
        FROM torrents JOIN totals USING (info_hash) ORDER BY number;
    DROP TABLE totals;
    ALTER TABLE numbered_totals RENAME TO totals;
    CREATE TABLE numbered_resume (
        number INTEGER PRIMARY KEY REFERENCES torrents(number) ON DELETE CASCADE,
        data BLOB NOT NULL
    );
    INSERT INTO numbered_resume
        SELECT number, data FROM torrents JOIN resume USING (info_hash) ORDER BY number;
    DROP TABLE resume;
    ALTER TABLE numbered_resume RENAME TO resume;
    ",
];

pub(super) const LATEST: i64 = VERSIONS.len() as i64;

/// Makes the tables, or brings those that an earlier version made up to date. Blocks.
pub(super) fn bring_up_to_date(connection: &mut Connection) -> Result<(), DatabaseError> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let missing = usize::try_from(version).ok().and_then(|version| VERSIONS.get(version..));
    let missing = missing.ok_or(DatabaseError::TooNew(version))?;
    if !missing.is_empty() {
        let transaction = connection.transaction()?;
        missing.iter().try_for_each(|step| transaction.execute_batch(step))?;
        transaction.pragma_update(None, "user_version", LATEST)?;
        transaction.commit()?;
    }
    Ok(())
}
