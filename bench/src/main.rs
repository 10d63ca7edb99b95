//! The load that benchmarks put on a BitTorrent client, and the bare server loop that is the floor
//! to compare it with.
//!
//! All of it speaks the protocol on its own, so that nothing is shared with what is measured. Each
//! command prints one JSON object to standard output. `bench/compare` runs them in turn.

mod data;
mod floor;
mod leech;
mod measure;
mod seed;
mod torrent;
mod wire;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(version, about = "Load generator and floor for BitTorrent benchmarks")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write a file of pseudo-random bytes and its .torrent
    MakeData(data::MakeData),
    /// Download from a client over many connections and measure the client
    Leech(leech::Leech),
    /// Be the seeds that a client downloads from and measure the client
    Seed(seed::Seed),
    /// Serve a torrent with a bare io_uring loop that does nothing else
    Floor(floor::Floor),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::MakeData(options) => data::make(&options),
        Command::Leech(options) => leech::run(&options),
        Command::Seed(options) => seed::run(&options),
        Command::Floor(options) => floor::run(&options),
    }
}
