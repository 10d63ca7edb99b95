//! The session database: one SQLite file in WAL mode, written by a thread of its own, so that a
//! stalled disk stalls nothing else. What waits is written in one transaction.

use crate::{
    rules::{Group, Rules},
    status::{SessionCounters, Totals},
};
use crossbeam_channel::{Receiver, Sender, unbounded};
use metainfo::InfoHash;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::File,
    io::{self, Read},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// What SQLite says.
    #[error("the session database: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// It was written by a newer version.
    #[error(
        "the session database has version {0}, newer than this program knows; upgrade Ringseed"
    )]
    TooNew(i64),
    /// The thread is gone.
    #[error("the session database is closed")]
    Closed,
}

/// A torrent as the database has it.
#[derive(Clone, Debug)]
pub(crate) struct StoredTorrent {
    pub(crate) info_hash: InfoHash,
    pub(crate) metainfo: Vec<u8>,
    pub(crate) download_dir: PathBuf,
    pub(crate) running: bool,
    pub(crate) added_date: u64,
    /// Grows from the front of the queue to its end.
    pub(crate) rank: i64,
    pub(crate) options: StoredOptions,
    pub(crate) totals: Totals,
    pub(crate) resume: Option<Vec<u8>>,
}

/// What a person can edit of a torrent; kept as JSON, so that new options need no new columns.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub(crate) struct StoredOptions {
    pub(crate) labels: Vec<String>,
    /// -2 skip, -1 low, 0 normal, 1 high for each file; empty if all are normal.
    pub(crate) priorities: Vec<i8>,
    /// Edited trackers; those of the .torrent if `None`.
    pub(crate) trackers: Option<Vec<Vec<String>>>,
    pub(crate) sequential: bool,
    pub(crate) sequential_from: u32,
    pub(crate) peer_limit: Option<u32>,
    pub(crate) rules: Rules,
    /// Its ratio or idle goal has stopped it.
    pub(crate) finished: bool,
    /// Where the files are, below the download folder and otherwise.
    pub(crate) place: StoredPlace,
    /// A move that has not ended.
    pub(crate) moving: Option<StoredMove>,
    /// It is complete, and the script for that is to run when its files are in their last place.
    pub(crate) owes_script: bool,
    /// Somebody has removed it, and whether with its data; what is left of that is done at the next
    /// start, if the program ends before.
    pub(crate) removing: Option<bool>,
}

/// Where the files of a torrent are, as far as that is not said by its download folder and its
/// .torrent.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub(crate) struct StoredPlace {
    /// The folder that they are in for now; the download folder if `None`.
    pub(crate) folder: Option<String>,
    /// The torrent's name, if it has another one.
    pub(crate) name: Option<String>,
    /// Files with another path below the torrent's folder.
    pub(crate) renamed: BTreeMap<u32, String>,
    /// Files with `.part` after their name: runs of numbers, each from the first to behind the last.
    pub(crate) partial: Vec<(u32, u32)>,
}

/// A move that is under way, or was when the program ended.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct StoredMove {
    /// The download folder at the other end.
    pub(crate) download_dir: String,
    /// The rest of the other end.
    pub(crate) place: StoredPlace,
    /// Whether the files have arrived: then the other end is the old place, which is to be cleared,
    /// else it is the new one, which they are on their way to.
    pub(crate) arrived: bool,
}

/// What brings a database of each earlier version to the next one.
const UPGRADES: [&str; 2] = [
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
        downloaded INTEGER NOT NULL,
        uploaded INTEGER NOT NULL,
        corrupt INTEGER NOT NULL,
        seconds_downloading INTEGER NOT NULL,
        seconds_seeding INTEGER NOT NULL,
        activity_date INTEGER NOT NULL,
        done_date INTEGER NOT NULL
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

const SCHEMA_VERSION: i64 = UPGRADES.len() as i64 + 1;

const SCHEMA: &str = "
    CREATE TABLE torrents (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        info_hash BLOB NOT NULL UNIQUE,
        metainfo BLOB NOT NULL,
        download_dir BLOB NOT NULL,
        running INTEGER NOT NULL,
        added_date INTEGER NOT NULL,
        options TEXT NOT NULL,
        rank INTEGER NOT NULL
    );
    CREATE TABLE groups (
        name TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE totals (
        number INTEGER PRIMARY KEY REFERENCES torrents(number) ON DELETE CASCADE,
        downloaded INTEGER NOT NULL,
        uploaded INTEGER NOT NULL,
        corrupt INTEGER NOT NULL,
        seconds_downloading INTEGER NOT NULL,
        seconds_seeding INTEGER NOT NULL,
        activity_date INTEGER NOT NULL,
        done_date INTEGER NOT NULL
    );
    CREATE TABLE resume (
        number INTEGER PRIMARY KEY REFERENCES torrents(number) ON DELETE CASCADE,
        data BLOB NOT NULL
    );
    CREATE TABLE session (
        name TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) WITHOUT ROWID;
";

/// Something to write.
pub(crate) enum Write {
    Torrent(Box<StoredTorrent>),
    Remove(InfoHash),
    Running(InfoHash, bool),
    Options(InfoHash, StoredOptions),
    /// The download folder, and with the options the rest of where the files are.
    Place(InfoHash, PathBuf, StoredOptions),
    Totals(InfoHash, Totals),
    /// `None` forgets it: the torrent must be checked.
    Resume(InfoHash, Option<Vec<u8>>),
    /// New ranks in the queue.
    Ranks(Vec<(InfoHash, i64)>),
    Group(Group),
    RemoveGroup(String),
    Counters(SessionCounters),
}

struct Order {
    write: Write,
    done: Option<oneshot::Sender<Result<(), String>>>,
}

/// The open database.
pub(crate) struct Database {
    orders: Option<Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

/// What the database held when it was opened.
pub(crate) struct Stored {
    pub(crate) torrents: Vec<StoredTorrent>,
    pub(crate) groups: Vec<Group>,
    pub(crate) counters: SessionCounters,
}

impl Database {
    /// Opens or makes the file and reads everything. Blocks.
    pub(crate) fn open(path: &Path) -> Result<(Database, Stored), DatabaseError> {
        let (connection, stored) = read(Connection::open(path)?)?;
        let (orders, queue) = unbounded();
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        let log = PathBuf::from(log);
        let thread = std::thread::Builder::new()
            .name("database".into())
            .spawn(move || {
                ring::process::give_way();
                if let Err(error) = lengthen(&log, LOG_BYTES) {
                    tracing::debug!(path = %log.display(), %error, "commits make it longer");
                }
                write_all(connection, &queue);
            })
            .map_err(|_| DatabaseError::Closed)?;
        Ok((Database { orders: Some(orders), thread: Some(thread) }, stored))
    }

    /// Without a thread: whoever has the writer says when it writes.
    #[cfg(feature = "sim")]
    pub(crate) fn by_hand(
        connection: Connection,
    ) -> Result<(Database, Writer, Stored), DatabaseError> {
        let (connection, stored) = read(connection)?;
        let (orders, queue) = unbounded();
        let writer = Writer { connection, queue };
        Ok((Database { orders: Some(orders), thread: None }, writer, stored))
    }

    /// Writes soon.
    pub(crate) fn write(&self, write: Write) {
        self.send(Order { write, done: None });
    }

    /// Writes; the answer comes when it is on the disk.
    pub(crate) fn write_durably(&self, write: Write) -> oneshot::Receiver<Result<(), String>> {
        let (done, answer) = oneshot::channel();
        self.send(Order { write, done: Some(done) });
        answer
    }

    fn send(&self, order: Order) {
        if let Some(orders) = &self.orders
            && orders.send(order).is_err()
        {
            tracing::error!("the session database's thread is gone: nothing is saved any more");
        }
    }
}

/// Brings a database up to date, or makes it, and reads everything. Blocks.
fn read(mut connection: Connection) -> Result<(Connection, Stored), DatabaseError> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", "ON")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let changes: &[&str] = match version {
        0 => &[SCHEMA],
        1..=SCHEMA_VERSION => &UPGRADES[version as usize - 1..],
        newer => return Err(DatabaseError::TooNew(newer)),
    };
    if !changes.is_empty() {
        let transaction = connection.transaction()?;
        changes.iter().try_for_each(|change| transaction.execute_batch(change))?;
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
        transaction.commit()?;
    }
    let stored = Stored {
        torrents: read_torrents(&connection)?,
        groups: read_groups(&connection)?,
        counters: read_counters(&connection)?,
    };
    Ok((connection, stored))
}

/// Writes what a [`Database::by_hand`] is given.
#[cfg(feature = "sim")]
pub(crate) struct Writer {
    connection: Connection,
    queue: Receiver<Order>,
}

#[cfg(feature = "sim")]
impl Writer {
    /// Whether there is something to write.
    pub(crate) fn is_due(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Writes what waits in one transaction; gives the resume data that is kept by it.
    pub(crate) fn turn(&mut self) -> Vec<(InfoHash, Option<Vec<u8>>)> {
        let orders: Vec<Order> = self.queue.try_iter().collect();
        let kept = orders.iter().filter_map(|order| match &order.write {
            Write::Resume(hash, data) => Some((*hash, data.clone())),
            Write::Torrent(torrent) => Some((torrent.info_hash, torrent.resume.clone())),
            _ => None,
        });
        let kept = kept.collect();
        write_orders(&mut self.connection, orders);
        kept
    }

    /// What is on the disk, for the next process.
    pub(crate) fn into_connection(self) -> Connection {
        self.connection
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What nobody waits for is written together with what comes within this time.
const LAZY_FOR: Duration = Duration::from_millis(50);

/// Pages of 4 KiB in the write-ahead log before they go to their places in the file, and whoever waits
/// for a commit then waits for that too.
const CHECKPOINT_PAGES: u32 = 2048;

/// The log's length with that many pages and their headers, and half as many for what the last
/// transaction adds.
const LOG_BYTES: u64 = CHECKPOINT_PAGES as u64 * 3 / 2 * (4096 + 24);

/// Orders of one transaction at most: whoever is answered with the last of them waits for all.
const BATCH: usize = 4096;

/// Callers who were answered together ask again together, within this time of each other: one sync for
/// all of them instead of one for the fastest and one for the rest.
const COMPANY_FOR: Duration = Duration::from_millis(3);

/// How long to wait for more orders after the first, if so many callers wait already, and so many had
/// the last answers.
fn patience(waiting: usize, company: usize) -> Duration {
    match waiting {
        0 => LAZY_FOR,
        some if some < company => COMPANY_FOR,
        _ => Duration::ZERO,
    }
}

/// The orders of the next transaction. `company` is how many callers the last one had.
fn gather(first: Order, queue: &Receiver<Order>, company: usize) -> Vec<Order> {
    let begun = Instant::now();
    let mut urgent = usize::from(first.done.is_some());
    let mut orders = vec![first];
    while orders.len() < BATCH {
        let deadline = begun + patience(urgent, company);
        let Ok(order) = queue.recv_deadline(deadline) else { return orders };
        urgent += usize::from(order.done.is_some());
        orders.push(order);
    }
    orders
}

/// Fills a file up to this length with zeros, which end what SQLite reads of a log. A commit that makes the
/// file longer waits for the file system's own log, and so for what others have written to it.
fn lengthen(path: &Path, length: u64) -> io::Result<()> {
    let mut file = File::options().append(true).open(path)?;
    let now = file.metadata()?.len();
    let filled = io::copy(&mut io::repeat(0).take(length.saturating_sub(now)), &mut file);
    if filled.is_err() {
        // What room there is, is others'.
        file.set_len(now)?;
    }
    filled.and_then(|_| file.sync_data())
}

fn write_all(mut connection: Connection, queue: &Receiver<Order>) {
    let mut company = 0;
    while let Ok(first) = queue.recv() {
        let orders = gather(first, queue, company);
        company = orders.iter().filter(|order| order.done.is_some()).count();
        write_orders(&mut connection, orders);
    }
}

fn write_orders(connection: &mut Connection, orders: Vec<Order>) {
    if let Ok(()) = write_batch(connection, &orders) {
        return orders.into_iter().for_each(|order| order.answer(Ok(())));
    }
    // One that cannot be written must not take the others with it.
    for order in orders {
        let result = write_batch(connection, std::slice::from_ref(&order));
        order.answer(result.map_err(|error| error.to_string()));
    }
}

impl Order {
    fn answer(self, result: Result<(), String>) {
        if let Err(error) = &result {
            tracing::error!(%error, "cannot save the session");
        }
        if let Some(done) = self.done {
            // Whoever asked may have stopped waiting.
            let _ = done.send(result);
        }
    }
}

fn write_batch(connection: &mut Connection, orders: &[Order]) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for order in orders {
        order.write.apply(&transaction)?;
    }
    transaction.commit()
}

impl Write {
    fn apply(&self, to: &Transaction<'_>) -> rusqlite::Result<()> {
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

fn read_groups(connection: &Connection) -> rusqlite::Result<Vec<Group>> {
    let mut query = connection.prepare("SELECT name, value FROM groups ORDER BY name")?;
    let rows = query.query_map([], |row| {
        let (name, value): (String, String) = (row.get(0)?, row.get(1)?);
        Ok(Group { name, ..serde_json::from_str(&value).unwrap_or_default() })
    })?;
    rows.collect()
}

fn path_bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
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

#[cfg(test)]
mod tests;
