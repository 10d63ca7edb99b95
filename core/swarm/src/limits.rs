//! Every bound of a swarm in one place, each with the reason for its number.

use std::time::Duration;

/// Bytes of the longest request served. BEP 3 clients ask for 16 KiB; some old ones ask for up to
/// 128 KiB, and none asks for more.
pub const MAX_REQUEST_LENGTH: u32 = 128 * 1024;

/// Requests assumed to fit into a peer's upload queue while it has not said so (`reqq`, BEP 10).
/// What libtorrent and its relatives have taken for granted for two decades.
pub const DEFAULT_REQQ: u32 = 250;

/// The largest `reqq` believed, so that a peer cannot make our request queue grow without bound.
pub const MAX_REQQ: u32 = 2000;

/// Requests beyond the bound of the upload queue that a peer may send before it counts as a flood.
/// A peer that has not read our `reqq` yet overshoots by its own default at most.
pub const MAX_EXCESS_REQUESTS: u32 = 10_000;

/// Bytes of control messages that may wait for a peer which does not read. A bitfield of a million
/// pieces, a `have` for each of 100,000, and rejects for a full request queue fit.
pub const MAX_CONTROL_BACKLOG: usize = 2 * 1024 * 1024;

/// Requests kept outstanding with a peer of unknown speed: enough to see more than one round trip.
pub const INITIAL_PIPELINE: u32 = 8;

/// The least kept outstanding with a peer that sends: one arriving, one on its way, two asked for.
pub const MIN_PIPELINE: u32 = 4;

/// Seconds of a peer's measured rate that its outstanding requests cover, on top of two round trips.
pub const PIPELINE_SECONDS: f32 = 1.0;

/// Longest stretch of new requests saved up before they are sent together.
pub const MAX_REQUEST_BATCH: u32 = 16;

/// Peers that may be asked for the same block in end game. More costs waste and gains nothing.
pub const MAX_ASKED: u8 = 3;

/// Blocks of others that an idle peer is asked for at a time in end game.
pub const END_GAME_BLOCKS: usize = 8;

/// The pieces picked at random before rarity counts, so that a new peer soon has something to give.
pub const RANDOM_FIRST_PIECES: u32 = 4;

/// Random positions tried for a random piece before the order of rarity is used after all.
pub const RANDOM_TRIES: u32 = 16;

/// Availabilities told apart when the rarest piece is wanted; above it, pieces count as equal.
pub const MAX_BUCKETS: usize = 256;

/// A peer that would need longer than this for a whole piece shares pieces with others.
pub const EXCLUSIVE_PIECE_TIME: Duration = Duration::from_secs(10);

/// Pieces that a peer may name as allowed fast; BEP 6 suggests sets of 10.
pub const MAX_ALLOWED_FAST: usize = 32;

/// Pieces that a peer may have suggested at a time (BEP 6); a newer one takes the place of the oldest.
/// As many as libtorrent keeps, and few enough to look through for each new piece.
pub const MAX_SUGGESTED: usize = 16;

/// Pieces that a choked newcomer may ask us for (BEP 6, its example's k).
pub const ALLOWED_FAST_SET: usize = 10;

/// Requests served to a choked peer out of its allowed fast set, in bytes, as a number of pieces.
pub const ALLOWED_FAST_TIMES: u64 = 2;

/// Blocks that nobody asked for, taken from one peer before it is dropped. Late answers to requests
/// that we cancelled are normal, in end game up to a full pipeline of them.
pub const MAX_UNWANTED_BLOCKS: u32 = 2 * MAX_REQQ;

/// Rejects without a block between them before a peer is left alone for a while.
pub const MAX_REJECTS_IN_A_ROW: u32 = 32;

/// How long it is left alone then.
pub const REJECT_PAUSE: Duration = Duration::from_secs(5);

/// How long a peer that did not send what it was asked for leaves a piece that failed its hash to others:
/// they look for work once a second.
pub const LET_DOWN_PAUSE: Duration = Duration::from_secs(5);

/// Peers of this kind that are remembered for a piece; whoever leaves and comes back is another one.
pub const LET_DOWN_PEERS: usize = 64;

/// Blocks in a peer's first transmit. Doubles while transmits leave quickly, so a fast peer soon gets
/// as many as the caller takes, and a slow one is not handed minutes of data that it might cancel.
pub const FIRST_BURST: u16 = 8;

/// The most blocks in a transmit, whatever the caller takes.
pub const MAX_BURST: u16 = 256;

/// A transmit that has left within this time lets the next one be twice as long.
pub const QUICK_TRANSMIT: Duration = Duration::from_millis(500);

/// A transmit that took longer than this halves the next one.
pub const SLOW_TRANSMIT: Duration = Duration::from_secs(2);

/// Addresses that a torrent remembers.
pub const MAX_CANDIDATES: usize = 1000;

/// Failures in a row after which an address is forgotten; a tracker that still lists it brings it
/// back.
pub const MAX_CONNECT_FAILURES: u8 = 8;

/// Wait after the first failed connection; doubles with each further one.
pub const RETRY_BASE: Duration = Duration::from_secs(30);

/// The longest wait between two attempts.
pub const RETRY_MAX: Duration = Duration::from_secs(3600);

/// Addresses banned at a time; the oldest is pardoned for a newer one.
pub const MAX_BANS: usize = 4096;

/// Blocks of failed pieces remembered for comparison: a 16 MiB piece failing sixteen times.
pub const MAX_SUSPECT_BLOCKS: usize = 16 * 1024;

/// Time between two rounds of the choker (BEP 3).
pub const CHOKE_ROUND: Duration = Duration::from_secs(10);

/// Rounds that an optimistic unchoke lasts (BEP 3: 30 seconds).
pub const OPTIMISTIC_ROUNDS: u32 = 3;

/// One in so many upload slots is given optimistically while downloading.
pub const OPTIMISTIC_SHARE: usize = 5;

/// While seeding a peer keeps its slot at least this long and for this many pieces, before one that
/// waits may have it.
pub const SEED_TURN: Duration = Duration::from_secs(60);

/// See [`SEED_TURN`].
pub const SEED_TURN_PIECES: u64 = 20;

/// A message is sent at least this often; peers drop silent connections after two minutes (BEP 3).
pub const KEEP_ALIVE: Duration = Duration::from_secs(110);

/// Interval of [`crate::Swarm::tick`] while there are peers.
pub const TICK: Duration = Duration::from_secs(1);

/// A connection that brought us data and broke is made again after this long.
pub const RETRY_AFTER_USE: Duration = Duration::from_secs(5);

/// Times that a peer may cease to be a seed (BEP 54), besides once for each second it is connected: it
/// costs a look at every piece, as becoming one does.
pub const MAX_EARLY_LAPSES: u32 = 10;

/// Two connections with one peer that came about within this time of each other may be each side's
/// attempt to reach the other: handshakes over the longest paths take less.
pub const CROSSING: Duration = Duration::from_secs(10);
