//! The session: all torrents of the process, what is wanted of them, and what is known of them.
//!
//! It lives on the control thread's tokio runtime. Everything that a caller asks for is answered
//! from memory or put in line; nothing waits for a shard or a disk while holding the session's lock.

mod adding;
mod blocking;
pub(crate) mod control;
mod copies;
pub(crate) mod database;
mod fetch;
mod line;
pub(crate) mod looker;
mod movers;
mod queue;
mod scripts;
mod watch;

pub use adding::{AddError, Added, NewTorrent};
pub use blocking::BlocklistError;
pub use fetch::{Family, Fetch, FetchError, Fetched};
pub use queue::QueueMove;

use crate::{
    blocklist::{self, Blocklist},
    event::Notice,
    limits,
    rules::{Group, Rules},
    settings::Settings,
    shard::{Command, Directory, Report},
    status::{Catalog, Detail, Priority, SessionCounters, ShardStatus, TorrentId, TrackerStatus},
    supervisor::{Shards, ShardsError, shard_settings},
    work,
};
use control::Control;
pub(crate) use control::Note;
use copies::Copies;
use database::{Database, DatabaseError, Stored, StoredOptions, StoredTorrent, Write};
use discovery::{Announcer, AnnouncerHandle, TorrentKey, TrackerEvent};
use line::Line;
use looker::Lookers;
use movers::Movers;
use ring::DriverKind;
use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    time::Duration,
};
use storage::Checker;
use tokio::sync::{Notify, broadcast, mpsc, oneshot};

/// How to start a session.
#[derive(Clone, Debug)]
pub struct Options {
    /// Folder of the database and of copies of the .torrent files; made if it is missing.
    pub config_dir: PathBuf,
    /// The settings to begin with.
    pub settings: Settings,
}

/// Why a session cannot start.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum StartError {
    #[error("{0}")]
    Settings(String),
    #[error("{}: {error}", path.display())]
    ConfigDir { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Shards(#[from] ShardsError),
    #[error("cannot set up announcing: {0}")]
    Announcer(io::Error),
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

/// Changes to a torrent; what is `None` or empty stays.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// Labels.
    pub labels: Option<Vec<String>>,
    /// Priorities of some files.
    pub file_priorities: Vec<(u32, Priority)>,
    /// Peers at most.
    pub peer_limit: Option<u32>,
    /// Pieces in order.
    pub sequential: Option<bool>,
    /// The piece that they begin with then.
    pub sequential_from: Option<u32>,
    /// Trackers by tier.
    pub trackers: Option<Vec<Vec<String>>>,
    /// Speed and the end of seeding, as a whole.
    pub rules: Option<Rules>,
}

/// Why a change is not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum EditError {
    #[error("no such torrent")]
    NoSuchTorrent,
    #[error("file number {0} does not exist in the torrent")]
    NoSuchFile(u32),
    #[error("piece number {0} does not exist in the torrent")]
    NoSuchPiece(u32),
    #[error(transparent)]
    Group(#[from] GroupError),
}

/// Why a bandwidth group is not made or removed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum GroupError {
    #[error("a bandwidth group needs a name")]
    NoName,
    #[error("the name of a bandwidth group can have {} bytes", limits::GROUP_NAME_BYTES)]
    LongName,
    #[error("there can be {} bandwidth groups", limits::GROUPS)]
    TooMany,
    #[error("there is no bandwidth group {0}")]
    NoSuchGroup(String),
}

/// What a person wants of a torrent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wish {
    Start,
    /// Without waiting in a queue.
    StartNow,
    Stop,
}

/// Why a torrent's files stay where they are, or as they are called.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum PlaceError {
    #[error("no such torrent")]
    NoSuchTorrent,
    #[error("the folder {} is not an absolute path", .0.display())]
    Relative(PathBuf),
    #[error(transparent)]
    Rename(#[from] metainfo::RenameError),
    #[error("its files are being moved; rename when that has ended")]
    Busy,
    #[error("{0}")]
    Files(String),
}

/// What a session is made of.
pub(crate) struct Parts {
    pub(crate) config_dir: PathBuf,
    pub(crate) settings: Settings,
    pub(crate) database: Database,
    pub(crate) stored: Stored,
    pub(crate) shards: Shards,
    pub(crate) announcer: AnnouncerHandle,
    pub(crate) checker: Checker,
    pub(crate) blocklist: Blocklist,
    /// Where threads of the session tell what they have found,
    pub(crate) notes_in: mpsc::UnboundedSender<Note>,
    /// and where it hears that.
    pub(crate) told: Told,
}

/// What the session is told.
pub(crate) struct Told {
    pub(crate) reports: mpsc::Receiver<Report>,
    pub(crate) tracker_events: mpsc::Receiver<TrackerEvent>,
    pub(crate) notes: mpsc::UnboundedReceiver<Note>,
}

/// The running session. Clones are the same one.
#[derive(Clone)]
pub struct Session(Arc<Inner>);

pub(crate) struct Inner {
    control: Mutex<Control>,
    config_dir: PathBuf,
    shards: Vec<Line>,
    threads: Mutex<Option<Shards>>,
    listening: Vec<SocketAddr>,
    driver: DriverKind,
    announcer: AnnouncerHandle,
    database: Mutex<Option<Database>>,
    checker: Checker,
    lookers: Lookers,
    movers: Movers,
    copies: Arc<Copies>,
    scripts: scripts::Scripts,
    /// The list that was read last, in force or not.
    blocklist: Mutex<Arc<Blocklist>>,
    directory: Directory,
    notes: mpsc::UnboundedSender<Note>,
    watchers: Mutex<watch::Watchers>,
    shutdown: Notify,
    all_ended: Notify,
    /// A place in a queue may be free.
    turns: Notify,
    /// The session's own task has nothing left to do.
    ended: Notify,
    runtime: tokio::runtime::Handle,
    /// The room for downloads has been asked for, and not been told yet.
    asked_for_room: AtomicBool,
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Control> {
        // A panic while it was held left every torrent in some state of its own; each is whole.
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, write: Write) {
        let database = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(database) = &*database {
            database.write(write);
        }
    }

    fn write_durably(&self, write: Write) -> Option<oneshot::Receiver<Result<(), String>>> {
        let database = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        database.as_ref().map(|database| database.write_durably(write))
    }

    /// Puts a command in line for a shard.
    fn command(&self, shard: usize, command: Command) {
        if let Some(line) = self.shards.get(shard) {
            line.send(command);
        }
    }
}

impl Session {
    /// Starts shards, announcer and everything the database says. Must be called in a tokio
    /// runtime, which the session then lives on.
    pub async fn start(options: Options) -> Result<Session, StartError> {
        let Options { config_dir, settings } = options;
        settings.check().map_err(StartError::Settings)?;
        let path = config_dir.join("torrents");
        storage::make_folders(&path).map_err(|error| StartError::ConfigDir { path, error })?;
        let (database, stored) = Database::open(&config_dir.join("session.db"))?;
        let (reports_in, reports) = mpsc::channel(limits::REPORTS);
        let shards = Shards::start(&settings, &reports_in)?;
        let (tracker_events_in, tracker_events) = mpsc::channel(1024);
        let announcer = Announcer::spawn(announce_config(&settings, &shards), tracker_events_in)
            .map_err(StartError::Announcer)?;
        let (notes_in, notes) = mpsc::unbounded_channel();
        let checker =
            Checker::new(usize::from(settings.check_threads)).map_err(StartError::Thread)?;
        Session::assemble(Parts {
            blocklist: blocklist::load(&config_dir),
            config_dir,
            settings,
            database,
            stored,
            shards,
            announcer,
            checker,
            notes_in,
            told: Told { reports, tracker_events, notes },
        })
    }

    /// Puts the parts together, and loads what the database had. In the runtime that it lives on.
    pub(crate) fn assemble(parts: Parts) -> Result<Session, StartError> {
        let Parts { config_dir, settings, database, stored, shards, .. } = parts;
        let tell = parts.notes_in.clone();
        let lookers = Lookers::start(move |id, found| {
            let _ = tell.send(Note::Looked(id, found));
        })
        .map_err(StartError::Thread)?;
        let directory = shards.directory.clone();
        let inner = Arc::new(Inner {
            control: Mutex::new(Control::new(
                settings,
                stored.counters,
                stored.groups,
                shards.handles.len(),
                shards.listening.first().map_or(0, SocketAddr::port),
            )),
            copies: Copies::new(&config_dir),
            config_dir,
            shards: shards.handles.iter().cloned().map(Line::new).collect(),
            listening: shards.listening.clone(),
            driver: shards.driver,
            threads: Mutex::new(Some(shards)),
            announcer: parts.announcer,
            database: Mutex::new(Some(database)),
            checker: parts.checker,
            lookers,
            movers: Movers::new(),
            scripts: scripts::Scripts::new(),
            blocklist: Mutex::new(Arc::new(parts.blocklist)),
            directory,
            notes: parts.notes_in,
            watchers: Mutex::default(),
            shutdown: Notify::new(),
            all_ended: Notify::new(),
            turns: Notify::new(),
            ended: Notify::new(),
            runtime: tokio::runtime::Handle::current(),
            asked_for_room: AtomicBool::new(false),
        });
        inner.follow_clock();
        inner.renew_rates();
        inner.enforce_blocklist();
        inner.load(stored.torrents);
        inner.watch_folders();
        tokio::spawn(control::run(Arc::clone(&inner), parts.told));
        Ok(Session(inner))
    }

    /// Tells trackers `stopped`, makes everything durable and ends the shards; under three seconds.
    pub async fn stop(&self) {
        let inner = &self.0;
        {
            let mut control = inner.lock();
            if std::mem::replace(&mut control.stopping, true) {
                return;
            }
            control.break_off_moves();
        }
        let ended = inner.all_ended.notified();
        for shard in 0..inner.shards.len() {
            inner.command(shard, Command::Shutdown);
        }
        let goodbye = inner.announcer.clone().shutdown(Duration::from_millis(2200));
        let ended = tokio::time::timeout(limits::STOP_PATIENCE + Duration::from_millis(500), ended);
        let moves = inner.movers.end(limits::STOP_PATIENCE);
        let ((), all, ()) = tokio::join!(goodbye, ended, moves);
        if all.is_err() {
            tracing::warn!("a shard did not stop in time; its last pieces will be checked again");
        }
        inner.save_all();
        let database = inner.database.lock().unwrap_or_else(PoisonError::into_inner).take();
        let shards = inner.threads.lock().unwrap_or_else(PoisonError::into_inner).take();
        inner.ended.notify_one();
        let copies = Arc::clone(&inner.copies);
        let settle = work::spawn(move || {
            drop(database);
            copies.settle(limits::COPIES_PATIENCE);
        });
        let _ = settle.await;
        if let Some(mut shards) = shards.filter(|_| all.is_ok()) {
            let join = work::spawn(move || shards.join());
            let _ = tokio::time::timeout(limits::JOIN_PATIENCE, join).await;
        }
    }

    /// Where peers can connect.
    pub fn peer_addr(&self) -> Vec<SocketAddr> {
        self.0.listening.clone()
    }

    /// The driver that the shards run on.
    pub fn driver(&self) -> DriverKind {
        self.0.driver
    }

    /// The folder of the database.
    pub fn config_dir(&self) -> &Path {
        &self.0.config_dir
    }

    /// Reads the state of all torrents at one moment. The closure must be quick.
    pub fn read<R>(&self, f: impl FnOnce(&Catalog) -> R) -> R {
        f(&self.0.lock().catalog)
    }

    /// What happens from now on. A listener that falls behind is told how many it has missed.
    pub fn events(&self) -> broadcast::Receiver<Notice> {
        self.0.lock().events.subscribe()
    }

    /// Starts torrents. Unknown ids are ignored.
    pub fn start_torrents(&self, ids: &[TorrentId]) {
        for &id in ids {
            self.0.set_running(id, Wish::Start);
        }
    }

    /// Starts torrents without waiting in a queue. Unknown ids are ignored.
    pub fn start_torrents_now(&self, ids: &[TorrentId]) {
        for &id in ids {
            self.0.set_running(id, Wish::StartNow);
        }
    }

    /// Moves torrents in the queue; they keep their order among themselves. Unknown ids are ignored.
    pub fn move_in_queue(&self, ids: &[TorrentId], to: QueueMove) {
        self.0.move_in_queue(ids, to);
    }

    /// Puts torrents at a position of the queue, counted from 0, one after the other in the order of
    /// the queue; at the end if that is beyond it. Unknown ids are ignored.
    pub fn put_in_queue(&self, ids: &[TorrentId], position: usize) {
        self.0.put_in_queue(ids, position);
    }

    /// Brings [`crate::Torrent::queue_position`] up to date after removals; to be called before
    /// positions are read. Costs nothing if there were none.
    pub fn settle_queue(&self) {
        self.0.lock().settle_queue();
    }

    /// All bandwidth groups, by name.
    pub fn groups(&self) -> Vec<Group> {
        self.0.lock().groups()
    }

    /// Makes or changes a bandwidth group.
    pub fn set_group(&self, group: Group) -> Result<(), GroupError> {
        self.0.set_group(group)
    }

    /// Removes a bandwidth group; its torrents are in none then.
    pub fn remove_group(&self, name: &str) -> Result<(), GroupError> {
        self.0.remove_group(name)
    }

    /// Stops torrents, and checks under way. Unknown ids are ignored.
    pub fn stop_torrents(&self, ids: &[TorrentId]) {
        for &id in ids {
            self.0.set_running(id, Wish::Stop);
        }
    }

    /// Checks the files of torrents in full; those that are meant to run go on afterwards.
    pub fn verify(&self, ids: &[TorrentId]) {
        for &id in ids {
            self.0.verify(id);
        }
    }

    /// Announces running torrents as soon as their trackers allow.
    pub fn reannounce(&self, ids: &[TorrentId]) {
        for &id in ids {
            self.0.announcer.reannounce(key(id));
        }
    }

    /// Removes torrents, with their data if asked. Nobody sees them any more when this returns; the
    /// rest goes on in the background, and [`crate::Event::Removed`] tells of its end.
    pub fn remove(&self, ids: &[TorrentId], delete_data: bool) {
        for &id in ids {
            self.0.remove(id, delete_data);
        }
    }

    /// Connects to peers of a torrent that the caller knows of, once it runs.
    pub fn add_peers(&self, id: TorrentId, peers: Vec<SocketAddr>) {
        self.0.add_peers(id, peers);
    }

    /// Edits a torrent.
    pub fn edit(&self, id: TorrentId, change: Change) -> Result<(), EditError> {
        self.0.edit(id, change)
    }

    /// Makes `location` the torrent's download folder, and with `bring` takes its files there;
    /// otherwise they are looked for there. In the background: [`Torrent::relocation`] tells how far
    /// it is. A move that fails leaves everything where it was and stops the torrent with the error.
    ///
    /// [`Torrent::relocation`]: crate::Torrent::relocation
    pub fn set_location(
        &self,
        id: TorrentId,
        location: &Path,
        bring: bool,
    ) -> Result<(), PlaceError> {
        self.0.set_location(id, location, bring)
    }

    /// Gives the file or folder at `path`, which begins with the torrent's name, another last
    /// component; answers when it has it, on the disk and in the database.
    pub async fn rename_path(
        &self,
        id: TorrentId,
        path: &str,
        name: &str,
    ) -> Result<(), PlaceError> {
        let answer = self.0.rename_path(id, path, name)?;
        let result = answer.await.unwrap_or_else(|_| Err("the session is stopping".into()));
        result.map_err(PlaceError::Files)
    }

    /// The trackers of a torrent and what they said.
    pub fn trackers(&self, id: TorrentId) -> Arc<[TrackerStatus]> {
        self.0.announcer.status(key(id))
    }

    /// Peers and availability, from the torrent's shard; `None` if it is not running or the shard
    /// has not answered within half a second.
    pub async fn detail(&self, id: TorrentId) -> Option<Detail> {
        let shard = self.0.lock().shard_of(id)?;
        let (reply, answer) = oneshot::channel();
        self.0.command(shard, Command::Detail { id, reply });
        tokio::time::timeout(limits::DETAIL_PATIENCE, answer).await.ok()?.ok()
    }

    /// The settings in force.
    pub fn settings(&self) -> Settings {
        self.0.lock().settings.clone()
    }

    /// Changes settings. Those that need a restart (see [`crate::settings::TABLE`]) are kept for
    /// it, the others take effect now.
    pub fn set_settings(&self, settings: Settings) -> Result<(), String> {
        settings.check()?;
        let live = shard_settings(&settings);
        let (swarms, has_moved) = {
            let mut control = self.0.lock();
            let has_moved = control.settings.download_dir != settings.download_dir;
            control.take_over_settings(settings);
            (control.running_swarms(), has_moved)
        };
        if has_moved {
            self.0.ask_for_room();
        }
        self.0.enforce_blocklist();
        self.0.watch_folders();
        for shard in 0..self.0.shards.len() {
            self.0.command(shard, Command::Settings(live.clone()));
        }
        for (shard, id, settings) in swarms {
            self.0.command(shard, Command::Swarm { id, settings });
        }
        self.0.renew_rates();
        self.0.turns.notify_one();
        Ok(())
    }

    /// Counters of this run and of all runs.
    pub fn counters(&self) -> (SessionCounters, SessionCounters) {
        self.0.lock().counters()
    }

    /// Every shard, by its number.
    pub fn shards(&self) -> Vec<ShardStatus> {
        self.0.lock().shards()
    }

    /// Whether torrents are loaded and run: not once the session is stopping, nor without a shard.
    pub fn is_ready(&self) -> bool {
        let control = self.0.lock();
        !control.stopping && control.shards().iter().all(|shard| shard.running)
    }

    /// Makes a shard panic, to see that the session survives it.
    #[cfg(debug_assertions)]
    #[doc(hidden)]
    pub fn panic_shard(&self, shard: usize) {
        self.0.command(shard, Command::Panic { torrent: None });
    }

    /// Makes a torrent's shard panic while it deals with the torrent; whether it runs on one.
    #[cfg(debug_assertions)]
    #[doc(hidden)]
    pub fn panic_torrent(&self, id: TorrentId) -> bool {
        let shard = self.0.lock().shard_of(id);
        if let Some(shard) = shard {
            self.0.command(shard, Command::Panic { torrent: Some(id) });
        }
        shard.is_some()
    }

    /// Asks whoever runs the session to stop it; see [`Self::shutdown_requested`].
    pub fn request_shutdown(&self) {
        self.0.shutdown.notify_one();
    }

    /// Waits for [`Self::request_shutdown`].
    pub async fn shutdown_requested(&self) {
        self.0.shutdown.notified().await;
    }
}

/// The announcer's name of a torrent.
fn key(id: TorrentId) -> TorrentKey {
    TorrentKey(u64::from(id.0))
}

fn announce_config(settings: &Settings, shards: &Shards) -> discovery::Config {
    let mut config = discovery::Config::default();
    if let Some(first) = shards.listening.first() {
        config.port = first.port();
    }
    for ip in settings.peer_addresses().unwrap_or_default() {
        match ip {
            IpAddr::V4(ip) if config.source_v4.is_unspecified() => config.source_v4 = ip,
            IpAddr::V6(ip) if config.source_v6.is_unspecified() => config.source_v6 = ip,
            _ => {}
        }
    }
    config
}
