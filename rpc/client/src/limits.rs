//! Every bound of this crate, with the reason for its number.

use std::time::Duration;

/// How long a call waits for its answer. Adding a torrent waits for a durable write.
pub(crate) const ANSWER_PATIENCE: Duration = Duration::from_secs(60);

/// How long a call waits for a connection: the daemon is there or it is not.
pub(crate) const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

/// Messages of a subscription that wait for the program. One that falls further behind is told so,
/// and can subscribe anew.
pub(crate) const WAITING_MESSAGES: usize = 256;

/// A message: a snapshot of as many torrents as the server tells of in one answer.
pub(crate) const MESSAGE_BYTES: u32 = 256 << 20;
