//! The harness of the end-to-end tests: real clients and a real tracker around the daemon.
//!
//! A test is a scene ([`for_each_driver`], [`Scene`]) with a folder of its own that is kept when the
//! test fails. Into it go [`Torrent`]s made of pseudo-random bytes, the [`Client`]s that fetch and
//! seed them, [`Opentracker`] or a [`ScriptedTracker`] that says who is there, a [`Relay`] where a
//! path is to be long, narrow or cut, and [`peer`]s that behave as no client does, or [`leech`]es that check what
//! they get. Whatever a test
//! starts ends with it.
//!
//! The clients come from `scripts/setup-peers`; the daemon is built when it is first needed, or is
//! the program that `RINGSEED_BIN` names. Without `RINGSEED_DRIVER` every test runs in both drivers.

mod browser;
mod clients;
pub mod leech;
mod memory_limit;
mod opentracker;
pub mod pair;
pub mod peer;
mod ports;
mod process;
mod programs;
mod relay;
mod remote;
mod rpc;
mod scene;
mod scripted_tracker;
pub mod soak;
mod torrent;
mod wait;

pub use browser::{Browser, Target};
pub use clients::aria2::Aria2;
pub use clients::libtorrent::Libtorrent;
pub use clients::qbittorrent::QBittorrent;
pub use clients::remote::{Said, transmission_remote};
pub use clients::ringseed::{Options, Ringseed};
pub use clients::transmission::{Release, Transmission};
pub use clients::{Client, State, wait_complete};
pub use machine::note;
pub use memory_limit::MemoryLimit;
pub use opentracker::Opentracker;
pub use ports::free_port;
pub use process::Process;
pub use programs::{Missing, peer_folder, peer_program, ringseed as ringseed_program};
pub use relay::{Conditions, Relay};
pub use remote::Remote;
pub use rpc::{Dialect, Rpc, agent};
pub use scene::{Driver, Scene, alone, perform};
pub use scripted_tracker::{Announce, ScriptedTracker};
pub use torrent::{Shape, Torrent};
pub use wait::{wait_for, wait_until};
