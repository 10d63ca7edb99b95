//! Where a torrent's bytes live.
//!
//! - [`Store`] serves one shard: blocks go out of mapped files when they are in memory and are read
//!   through the ring when they are not; verified pieces are written and synced. Nothing in it ever
//!   waits for a disk.
//! - [`ResumeData`] is what is remembered between two runs; [`check_stamps`] tells what of it still
//!   holds.
//! - [`Checker`] reads whole torrents and says which pieces are good, with all cores.
//! - [`create_torrent`] makes a .torrent of a file or folder, with all cores too.
//! - [`Relocation`] takes a torrent's files to another folder or to other names, safe from crashes.
//! - [`free_space`] and [`remove_data`] are for the control thread, and block.

mod check;
mod create;
mod descriptors;
mod disk;
mod error;
mod limits;
mod mapping;
mod paths;
mod relocate;
mod remove;
mod resume;
mod space;
mod store;

pub use check::{
    CheckEvent, CheckHandle, CheckOutcome, CheckProgress, CheckRequest, CheckWorker, Checker,
};
pub use create::{CreateProgress, CreateRequest, CreateTorrentError, create_torrent};
pub use disk::{allocated, exists, make_folders, remove_file, write_file};
pub use error::StorageError;
pub use limits::StoreLimits;
pub use paths::part_file;
pub use relocate::{Place, RelocateError, Relocation, RelocationProgress, device_of};
pub use remove::remove_data;
pub use resume::{FileStamp, ResumeData, ResumeError, StampReport, check_stamps, compare_stamps};
pub use space::{FreeSpace, free_space};
pub use store::{Allocation, Pushed, Store, StoreEvent, StoreKey, TOKEN_SPACE, TorrentFiles};
