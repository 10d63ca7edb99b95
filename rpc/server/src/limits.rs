//! Every bound of this crate, with the reason for its number.

use std::time::Duration;

/// Connections at a time. Each costs some tens of KiB; a remote keeps one or a few.
pub(crate) const CONNECTIONS: usize = 512;

/// Connections at a time of one address elsewhere: a remote keeps one, a browser six. One address
/// cannot take the places of all others.
pub(crate) const CONNECTIONS_PER_ADDRESS: usize = 128;

/// Connections at a time over Unix sockets. They have places of their own: the operator gets in
/// however many others there are.
pub(crate) const UNIX_CONNECTIONS: usize = 64;

/// Accepting rests for so long after a failure, for want of descriptors say.
pub(crate) const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Trouble that goes on is told again after so long.
pub(crate) const TELL_AGAIN: Duration = Duration::from_secs(60);

/// A handshake of TLS must be done by then, for the same reason as below.
pub(crate) const TLS_TIMEOUT: Duration = Duration::from_secs(10);

/// An answer of which a client takes nothing for so long is given up: its bytes are in our memory.
pub(crate) const ANSWER_PAUSE: Duration = Duration::from_secs(60);

/// How often the files of certificate and accounts are looked at: soon enough after a renewal or a
/// new user, and cheap.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Bytes of a file with certificates or a key.
pub(crate) const PEM_BYTES: u64 = 1 << 20;

/// A request's head must be in by then: long enough for any link, short enough that half-sent ones
/// do not pile up.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// Bytes of a request's head, which anybody can send: browsers' have some KiB. Bodies pass through the
/// same buffer.
pub(crate) const HEAD_BYTES: usize = 64 << 10;

/// A request's body may not pause for longer.
pub(crate) const BODY_PAUSE: Duration = Duration::from_secs(20);

/// A request's body must be in by then, however steadily it drips: 64 MiB at 2 Mbit/s.
pub(crate) const BODY_TIME: Duration = Duration::from_secs(270);

/// The rest of a request that was refused is taken in for so long, so that its sender sees why. Who
/// has not logged in holds a connection no longer than this with a body.
pub(crate) const DISCARD_TIME: Duration = Duration::from_secs(10);

/// Bytes reserved for a body on its sender's word; more as it arrives. Beyond this a body is large.
pub(crate) const BODY_RESERVE: usize = 1 << 20;

/// Large bodies in memory at a time, of all callers together: 64 MiB each at most, and what becomes of
/// them. Few .torrent files are large, and the next one waits.
pub(crate) const LARGE_BODIES: usize = 4;

/// Bytes of a message that comes over a WebSocket, which is in memory before anybody looks at it, and
/// there may be many WebSockets. What is larger goes by HTTP.
pub(crate) const SOCKET_BYTES: u32 = 8 << 20;

/// A request that comes while torrents are being loaded waits so long for that: less than remotes
/// wait for an answer (30 s and more).
pub(crate) const START_PATIENCE: Duration = Duration::from_secs(20);

/// Time for answers under way when the server stops.
pub(crate) const STOP_PATIENCE: Duration = Duration::from_millis(500);

/// How long a session id is handed out. Its predecessor is accepted for as long again, so that a
/// client which polls does not fail when the id changes.
pub(crate) const SESSION_ID_LIFE: Duration = Duration::from_secs(3600);

/// A folder that was there is taken to be there for this long.
pub(crate) const FOLDER_GOOD_FOR: Duration = Duration::from_secs(1);

/// A question to the file system that takes longer is answered as unknown where the answer is a
/// side line: a disk that hangs must not hang every client.
pub(crate) const DISK_PATIENCE: Duration = Duration::from_millis(15);

/// The same where the answer is all that was asked for.
pub(crate) const FREE_SPACE_PATIENCE: Duration = Duration::from_secs(5);

/// Such questions at a time: enough for many clients with a slow disk, and an eighth of the threads
/// that there may be, so that a disk which hangs does not hold up log-ins.
pub(crate) const DISK_QUESTIONS: usize = 64;

/// Shards asked at a time for one answer.
pub(crate) const DETAILS_AT_ONCE: usize = 32;

/// Answers about all torrents that are kept for others who ask the same. Remotes of one kind ask the
/// same, and few kinds ask at the same moment; each may be some megabytes.
pub(crate) const KEPT_ANSWERS: usize = 4;

/// How long such an answer is given again if no torrent changes: what grows with time alone, such as
/// the time spent seeding, is told in whole seconds.
pub(crate) const TRUE_FOR: Duration = Duration::from_secs(1);

/// How long it is kept as the base of the next: remotes poll every one to five seconds.
pub(crate) const KEPT_FOR: Duration = Duration::from_secs(6);

/// Shorter answers are made anew.
pub(crate) const KEPT_FROM: usize = 64 * 1024;

/// Seconds for which a change counts as recent.
pub(crate) const RECENT: u64 = 60;

/// An answer in Transmission's dialects, as below. A batch whose answers are larger together runs no
/// further.
pub(crate) const ANSWER_BYTES: usize = 256 << 20;

/// Bytes reserved for an answer by what is asked for; more as it grows.
pub(crate) const ANSWER_RESERVE: usize = 64 << 20;

/// Labels, and bytes of a text, in a filter, which is compared with every torrent.
pub(crate) const FILTER_LABELS: usize = 1000;
pub(crate) const FILTER_TEXT: usize = 1024;

/// An answer of the native API: that for 100,000 torrents with all their fields, which is more than
/// anybody should ask for at a time.
pub(crate) const NATIVE_ANSWER_BYTES: u32 = 256 << 20;

/// Calls in one batch of the native API.
pub(crate) const NATIVE_BATCH: u32 = 256;

/// WebSockets at a time. Each has a task, a buffer or two, and what it has not read yet.
pub(crate) const SOCKETS: usize = 256;

/// WebSockets of one user or token among them: a browser has a few. One user cannot take the places
/// of all others.
pub(crate) const SOCKETS_OF_ONE: usize = 64;

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

/// Addresses that are remembered for having asked or failed to log in: some hundred KiB.
pub(crate) const ADDRESSES: usize = 4096;

/// How many seconds' requests may come at once: clients add thousands of torrents in one go.
pub(crate) const BURST_SECONDS: f64 = 10.0;

/// The longest that an address waits after failed log-ins: a guess a minute finds nothing, and a
/// person who mistyped does not give up.
pub(crate) const FAILURE_WAIT: Duration = Duration::from_secs(60);

/// How long a failed log-in is held against an address.
pub(crate) const FAILURE_MEMORY: Duration = Duration::from_secs(900);

/// Passwords verified at a time: each takes 19 MiB and a core.
pub(crate) const VERIFYING: usize = 2;

/// Requests that wait for that: at some 30 ms each, about a second.
pub(crate) const WAITING: usize = 64;

/// Those of one address among them: a browser opens six connections at once.
pub(crate) const WAITING_PER_ADDRESS: usize = 8;

/// How long a password that was right is remembered: long enough for a client that polls every half
/// minute.
pub(crate) const REMEMBER: Duration = Duration::from_secs(60);

/// Log-ins that are remembered.
pub(crate) const REMEMBERED: usize = 1024;

/// Bytes of an Authorization header's credentials.
pub(crate) const CREDENTIALS_BYTES: usize = 4096;

/// Bytes of accounts.json.
pub(crate) const ACCOUNTS_BYTES: u64 = 4 << 20;

/// Users.
pub(crate) const USERS: usize = 1000;

/// Tokens.
pub(crate) const TOKENS: usize = 10_000;

/// Bytes of a user's or a token's name.
pub(crate) const NAME_BYTES: usize = 64;

/// Bytes of the shortest password: what can be tried at a guess a minute is nowhere near it.
pub(crate) const PASSWORD_LEAST: usize = 8;

/// Bytes of the longest password.
pub(crate) const PASSWORD_BYTES: usize = 1024;

/// KiB of memory that a hash in the file may ask for.
pub(crate) const ARGON2_KIB: u32 = 256 * 1024;

/// Passes that a hash in the file may ask for.
pub(crate) const ARGON2_PASSES: u32 = 16;

/// Rounds that a hash in the file may ask for: about a second.
pub(crate) const PBKDF2_ROUNDS: u32 = 4_000_000;

/// Answers compressed at a time: one core at most works for that.
pub(crate) const COMPRESSING: usize = 1;

/// How often the same long part of an answer is given as it is to clients on this machine that take
/// gzip: to compress the list of 10,000 torrents takes 6 ms, to send it over loopback 1.5 to 2.5 ms,
/// and compressed 0.2 ms.
pub(crate) const GIVEN_PLAIN: u32 = 2;

/// Bytes from which an answer is compressed: below, it fits a packet or two anyway.
pub(crate) const COMPRESS_FROM: usize = 2048;

/// Bytes of a file of the web interface; Transmission's largest has less than one MiB.
pub(crate) const WEB_FILE_BYTES: u64 = 32 << 20;

/// Files of the web interface read at a time.
pub(crate) const FILES_AT_ONCE: usize = 8;

/// How long a file of the web interface may take.
pub(crate) const FILE_PATIENCE: Duration = Duration::from_secs(5);
