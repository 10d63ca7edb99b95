//! The engine in a world that breaks everything.
//!
//! A run is one [`scenario`] with one seed: [`server`]s that are whole processes, on machines with disks
//! and a network that fail as the seed says ([`ring::sim`]), scripted [`peer`]s, and [`tracker`]s, in
//! one thread under a virtual clock ([`stage`]). What must always hold is checked while it runs; a
//! run that breaks it ends with an error, and the same seed ends the same way:
//!
//! ```text
//! scripts/simulate --seeds 1000                      runs 1,000 seeds of every scenario
//! scripts/simulate --scenario mixed --from 17 --trace   shows what happens with seed 17
//! ```

pub mod announcer;
pub mod held;
pub mod peer;
pub mod scenario;
pub mod server;
pub mod stage;
pub mod torrent;
pub mod tracker;
pub mod witness;
