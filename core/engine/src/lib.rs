//! The whole: shards, the supervisor, the session and its settings, and what it shows of itself.

pub mod blocklist;
mod catalog;
mod clock;
mod descriptors;
mod event;
mod limiter;
mod limits;
pub mod rules;
mod session;
pub mod settings;
mod shard;
#[cfg(feature = "sim")]
pub mod simulated;
pub mod status;
mod supervisor;
mod work;

pub use event::{Event, Notice, Subject};
pub use ring::process;
pub use session::{
    AddError, Added, BlocklistError, Change, EditError, Family, Fetch, FetchError, Fetched,
    GroupError, NewTorrent, Options, PlaceError, QueueMove, Session, StartError,
};
pub use status::{Catalog, Detail, Priority, Torrent, TorrentId};
pub use supervisor::usable_cpus;
