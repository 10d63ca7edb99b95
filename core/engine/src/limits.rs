//! Every bound of this crate, with the reason for its number.

use std::time::Duration;

/// Blocks of one `sendmsg`: 512 KiB, where the cost of the call no longer shows
/// (docs/architecture.md, seeding path).
pub(crate) const BLOCKS_PER_SEND: usize = 32;

/// While peers are served from memory, those that wait for the disk get one block a turn, or one for
/// each so many blocks of the others: a block from the disk costs up to 35 µs where a warm one costs
/// 6, and the latency of the others must not double.
pub(crate) const WARM_PER_COLD: usize = 16;

/// Peers are taken to be served from memory so long after the last such block: longer than one
/// takes to ask for the next.
pub(crate) const WARM_FOR: Duration = Duration::from_millis(20);

/// A peer counts as waiting for the disk so long after it asked for something that was not in
/// memory: longer than it takes to send a piece, of which only the first blocks do.
pub(crate) const COLD_FOR: Duration = Duration::from_secs(1);

/// A peer whose socket takes nothing for this long is dropped: it holds a batch and learns nothing.
pub(crate) const SEND_TIMEOUT: Duration = Duration::from_secs(60);

/// An incoming or outgoing handshake must be through by then.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);

/// A connection that does not come about by then is given up; many are half-dead addresses.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Incoming connections of one shard that have not said which torrent they want. Beyond it new
/// ones are closed: they cost little, but a flood must not take every descriptor.
pub(crate) const GREETING_PEERS: usize = 8192;

/// Hashing waits this long for more pieces to fill the lanes.
pub(crate) const HASH_PATIENCE: Duration = Duration::from_millis(5);

/// Blocks received and not yet hashed at which hashing no longer waits: 4 MiB, more than which
/// would leave the cache.
pub(crate) const HASH_BACKLOG: u32 = 256;

/// Commands in line for one shard. What finds it full waits on the control side.
pub(crate) const COMMANDS: usize = 8192;

/// Reports in line for the control side. A full line makes the shard keep them until the next tick.
pub(crate) const REPORTS: usize = 8192;

/// A fresh shard takes the place of one that panicked after this long, so that a cause that comes
/// at once again does not keep a core busy.
pub(crate) const RESTART_PAUSE: Duration = Duration::from_millis(500);

/// How often a shard looks at its clocks and publishes figures.
pub(crate) const TICK: Duration = Duration::from_secs(1);

/// Outgoing connections that one torrent starts in one tick, so that one torrent with thousands of
/// addresses leaves room for others.
pub(crate) const CONNECTS_PER_TICK: usize = 16;

/// A stopping shard waits this long for its last writes and syncs.
pub(crate) const STOP_PATIENCE: Duration = Duration::from_millis(1500);

/// The control side waits this long for the answer to a question about one torrent.
pub(crate) const DETAIL_PATIENCE: Duration = Duration::from_millis(500);

/// Threads that end are waited for so long when the session stops; a disk that hangs holds one up.
pub(crate) const JOIN_PATIENCE: Duration = Duration::from_millis(500);

/// A torrent that is being removed can be added again after so long at most.
pub(crate) const REMOVAL_PATIENCE: Duration = Duration::from_secs(30);

/// Removed torrents are named for this long, as Transmission's clients expect.
pub(crate) const REMOVED_FOR: u64 = 70;

/// Removed torrents that are named at most: more than a person removes in a go, and little memory.
pub(crate) const REMOVED: usize = 65_536;

/// Events kept for a reader that is behind; it is told how many it has missed.
pub(crate) const EVENTS: usize = 4096;

/// How often the room for downloads is looked at.
pub(crate) const ROOM_INTERVAL: Duration = Duration::from_secs(30);

/// Room in the download folder, in bytes, below which it is told to be short: some minutes of a fast
/// link.
pub(crate) const SHORT_OF_ROOM: u64 = 2 << 30;

/// A torrent that a local error stopped is tried again after this long.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(30);

/// A torrent that ended its shard by a panic more than once is tried again after this long, and
/// after twice as long each further time: every try costs the shard's other torrents a moment.
pub(crate) const PANIC_RETRY: Duration = Duration::from_secs(3600);

/// The longest such wait.
pub(crate) const PANIC_RETRY_MAX: Duration = Duration::from_secs(24 * 3600);

/// Figures of running torrents are written to the database this often.
pub(crate) const SAVE_INTERVAL: Duration = Duration::from_secs(30);

/// Addresses that are kept for a torrent that does not run yet.
pub(crate) const WAITING_PEERS: usize = 200;

/// Moves of torrents' files under way at a time, each between other devices.
pub(crate) const MOVES: usize = 8;

/// Threads that look which devices a move is between: a mount that hangs holds one up.
pub(crate) const MOVES_LOOKING: usize = 4;

/// Scripts that run at a time: each is a process, and many torrents can end at once.
pub(crate) const SCRIPTS: usize = 4;

/// Scripts that wait for that; what comes beyond it is not run, and the log says so.
pub(crate) const SCRIPTS_WAITING: usize = 10_000;

/// Bytes of a script's output, and of its errors, that go into the log.
pub(crate) const SCRIPT_OUTPUT: u64 = 64 * 1024;

/// After a script has ended, its output is read for this long at most.
pub(crate) const SCRIPT_LAST_WORDS: Duration = Duration::from_secs(1);

/// Watch folders are looked at this often even without a notice: some file systems give none.
pub(crate) const WATCH_INTERVAL: Duration = Duration::from_secs(30);

/// A .torrent file that could not be read is tried again after so long, even without a notice.
pub(crate) const WATCH_RETRY: Duration = Duration::from_secs(1);

/// Somebody may still be writing to a file that has changed this lately.
pub(crate) const WATCH_PATIENCE: Duration = Duration::from_secs(5);

/// After a notice, more are waited for this long, so that many files are one look.
pub(crate) const WATCH_CALM: Duration = Duration::from_millis(100);

/// Entries of a watch folder that are looked at.
pub(crate) const WATCH_FILES: usize = 100_000;

/// Watch folders: each costs a look now and then, and an inotify watch.
pub(crate) const WATCH_FOLDERS: usize = 64;

/// Bytes of a blocklist, unpacked: the largest that are published have about 30 MiB.
pub(crate) const BLOCKLIST_BYTES: usize = 256 << 20;

/// Rules of a blocklist: 32 MiB of ranges at most for IPv4, far more than any published list has.
pub(crate) const BLOCKLIST_RULES: usize = 4_000_000;

/// A blocklist must have come by then.
pub(crate) const BLOCKLIST_PATIENCE: Duration = Duration::from_secs(120);

/// A piece in flight that has got nothing for this long gives way when memory for pieces is short.
pub(crate) const IDLE_PIECE: Duration = Duration::from_secs(60);

/// Time between two grants of credit where speeds are limited: short enough that a limited stream is
/// even to people and to TCP, long enough that a grant costs nothing.
pub(crate) const GRANT_INTERVAL: Duration = Duration::from_millis(50);

/// What a limit lets pass in so long may be kept for later, beyond a grant.
pub(crate) const GRANT_HOLD: Duration = Duration::from_millis(100);

/// What shards leave of a limit that they share may add up to what it lets pass in so long. A shard
/// that is late, because its core is busy, must find what others have left for it meanwhile.
pub(crate) const SPARE_HOLD: Duration = Duration::from_millis(250);

/// A grant that comes later than this is not made up for: the second in which it comes must not see
/// twice what the limit says.
pub(crate) const GRANT_LATEST: Duration = Duration::from_millis(500);

/// Bandwidth groups: a shard looks at those in use twenty times a second.
pub(crate) const GROUPS: usize = 1000;

/// Bytes in the name of a bandwidth group.
pub(crate) const GROUP_NAME_BYTES: usize = 256;

/// Longer .torrent files are parsed on a thread of their own: this many bytes take a fraction of a
/// millisecond, as waking one does.
pub(crate) const PARSED_AT_ONCE: usize = 32 * 1024;

/// Removed torrents whose disk had refused something, as long as they are remembered for the case that
/// they come back.
pub(crate) const SUSPECTS: usize = 10_000;

/// Steps by which the thread that makes copies of .torrent files is nicer than others.
pub(crate) const COPIES_NICE: i32 = 10;

/// How long no further torrent must have come before copies of .torrent files are made: to make a
/// file can take more of the processor than everything else that an added torrent needs.
pub(crate) const COPIES_PAUSE: Duration = Duration::from_millis(200);

/// How long copies wait at most while torrents keep coming.
pub(crate) const COPIES_DELAY: Duration = Duration::from_secs(10);

/// Bytes of copies beyond which they are made at once.
pub(crate) const COPIES_BYTES: usize = 16 << 20;

/// Bytes of copies to be made beyond which no further torrent is added until some are written.
pub(crate) const COPIES_MOST_BYTES: usize = 64 << 20;

/// Copies of .torrent files that are not written this long after the end are left out.
pub(crate) const COPIES_PATIENCE: Duration = Duration::from_millis(300);

/// Descriptors that neither peers nor cached files get, or a quarter of all if that is less: the
/// control side's connections, requests to trackers, the database, checks and moves, second
/// descriptors of files that are being written.
pub(crate) const DESCRIPTORS_KEPT: usize = 1024;

/// Files that a shard may keep open, at least and at most: what work under way needs, and more than
/// which would save no opening.
pub(crate) const OPEN_FILES: (usize, usize) = (16, 65_536);
