//! The whole: shards, the supervisor, the session and its settings, and what it shows of itself.

mod limits;
mod session;
pub mod settings;
mod shard;
pub mod status;
mod supervisor;

pub use session::{
    AddError, Added, Change, EditError, NewTorrent, Options, PlaceError, Session, StartError,
};
pub use status::{Catalog, Detail, Priority, Torrent, TorrentId};
pub use supervisor::usable_cpus;
