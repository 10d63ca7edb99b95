//! The session database: one SQLite file in WAL mode, written by a thread of its own, so that a
//! stalled disk stalls nothing else. What waits is written in one transaction.

mod apply;
mod load;
mod schema;
#[cfg(test)]
mod tests;

use crate::{
    rules::{Group, Rules},
    status::{SessionCounters, Totals},
};
use crossbeam_channel::{Receiver, Sender, unbounded};
use metainfo::InfoHash;
use rusqlite::Connection;
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
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
    schema::bring_up_to_date(&mut connection)?;
    let stored = load::everything(&connection)?;
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
