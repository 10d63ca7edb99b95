//! Every bound of this crate, with the reason for its number.

use std::time::Duration;

/// Connections at a time. Each costs some tens of KiB; a remote keeps one or a few.
pub(crate) const CONNECTIONS: usize = 512;

/// A request's head must be in by then: long enough for any link, short enough that half-sent ones
/// do not pile up.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// A request's body may not pause for longer.
pub(crate) const BODY_PAUSE: Duration = Duration::from_secs(20);

/// Bytes reserved for a body on its sender's word; more as it arrives.
pub(crate) const BODY_RESERVE: usize = 1 << 20;

/// Time for answers under way when the server stops.
pub(crate) const STOP_PATIENCE: Duration = Duration::from_millis(500);

/// How long a session id is handed out. Its predecessor is accepted for as long again, so that a
/// client which polls does not fail when the id changes.
pub(crate) const SESSION_ID_LIFE: Duration = Duration::from_secs(3600);

/// A question to the file system that takes longer is answered as unknown where the answer is a
/// side line: a disk that hangs must not hang every client.
pub(crate) const DISK_PATIENCE: Duration = Duration::from_millis(15);

/// The same where the answer is all that was asked for.
pub(crate) const FREE_SPACE_PATIENCE: Duration = Duration::from_secs(5);

/// Shards asked at a time for one answer.
pub(crate) const DETAILS_AT_ONCE: usize = 32;

/// Answers about all torrents that are kept for others who ask the same. Remotes of one kind ask the
/// same, and few kinds ask at the same moment; each may be some megabytes.
pub(crate) const KEPT_ANSWERS: usize = 4;

/// How long such an answer is kept if no torrent changes: what grows with time alone, such as the
/// time spent seeding, is told in whole seconds.
pub(crate) const KEPT_FOR: Duration = Duration::from_secs(1);

/// Shorter answers are made anew.
pub(crate) const KEPT_FROM: usize = 64 * 1024;

/// Seconds for which a change counts as recent.
pub(crate) const RECENT: u64 = 60;

/// An answer of the native API: that for 100,000 torrents with all their fields, which is more than
/// anybody should ask for at a time.
pub(crate) const NATIVE_ANSWER_BYTES: u32 = 256 << 20;

/// Calls in one batch of the native API.
pub(crate) const NATIVE_BATCH: u32 = 256;

/// WebSockets at a time. Each has a task, a buffer or two, and what it has not read yet.
pub(crate) const SOCKETS: usize = 256;

/// Subscriptions of one WebSocket: a client needs one of each kind.
pub(crate) const SUBSCRIPTIONS: u32 = 16;

/// Messages in line for a WebSocket. Each is made when there is room for it, so that a subscriber
/// that does not read has no more than these in memory.
pub(crate) const SOCKET_MESSAGES: u32 = 2;

/// A WebSocket is asked this often whether anybody is there,
pub(crate) const PING_INTERVAL: Duration = Duration::from_secs(20);

/// and closed when nothing has come for so long.
pub(crate) const SOCKET_SILENCE: Duration = Duration::from_secs(60);

/// A subscriber that has not taken a message for so long gets a snapshot next.
pub(crate) const SLOW_SUBSCRIBER: Duration = Duration::from_secs(5);

/// A .torrent that is fetched from a web server must have come by then.
pub(crate) const FETCH_PATIENCE: Duration = Duration::from_secs(60);

/// The test of the port must have answered by then, as with Transmission.
pub(crate) const PORT_TEST_PATIENCE: Duration = Duration::from_secs(20);

/// The answer to a test of the port: one digit, and some space.
pub(crate) const PORT_TEST_BYTES: usize = 1024;
