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
mod stalled;
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
    /// Download hot data alone and beside leechers of cold data
    Cold(leech::cold::Cold),
    /// Be the seeds that a client downloads from and measure the client
    Seed(seed::Seed),
    /// Serve a torrent with a bare io_uring loop that does nothing else
    Floor(floor::Floor),
    /// Be a disk that does not answer when it is told so
    StalledDisk(stalled::StalledDisk),
}

fn main() -> anyhow::Result<()> {
    run(Cli::parse())
}

fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::MakeData(options) => data::make(&options),
        Command::Leech(options) => leech::run(&options),
        Command::Cold(options) => leech::cold::run(&options),
        Command::Seed(options) => seed::run(&options),
        Command::Floor(options) => floor::run(&options),
        Command::StalledDisk(options) => stalled::run(&options),
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, path::Path, thread, time::Duration};

    use super::*;

    fn command(line: &str) -> anyhow::Result<()> {
        run(Cli::try_parse_from(line.split_whitespace())?)
    }

    fn make(folder: &Path, seed: u32) {
        let out = folder.display();
        command(&format!(
            "x make-data --size 3000000 --piece-length 65536 --seed {seed} --out {out}"
        ))
        .unwrap();
    }

    /// A floor that serves `data`, and its address; `None` where io_uring is refused.
    fn serve(torrent: &Path, data: &Path, zero_copy: &str) -> Option<String> {
        io_uring::IoUring::new(2).ok()?;
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let line = format!(
            "x floor --listen {address} --torrent {} --data {} --zero-copy {zero_copy}",
            torrent.display(),
            data.display()
        );
        thread::spawn(move || command(&line));
        thread::sleep(Duration::from_millis(300));
        Some(address.to_string())
    }

    fn leech(address: &str, folder: &Path, more: &str) -> anyhow::Result<()> {
        let torrent = folder.join("data.torrent");
        command(&format!(
            "x leech --target {address} --torrent {} --data {} --connections 7 --bytes 20000000 {more}",
            torrent.display(),
            folder.join("data").display()
        ))
    }

    #[test]
    fn leechers_get_from_the_floor_what_the_torrent_holds() {
        let folder = tempfile::tempdir().unwrap();
        make(folder.path(), 1);
        let (torrent, data) = (folder.path().join("data.torrent"), folder.path().join("data"));
        for zero_copy in ["on", "off"] {
            let Some(address) = serve(&torrent, &data, zero_copy) else { return };
            leech(&address, folder.path(), "--check-every 1").unwrap();
            leech(&address, folder.path(), "--random-pieces --requests 100").unwrap();
        }
    }

    #[test]
    fn a_server_of_wrong_data_is_found_out() {
        let (right, wrong) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        make(right.path(), 1);
        make(wrong.path(), 2);
        let torrent = right.path().join("data.torrent");
        let Some(address) = serve(&torrent, &wrong.path().join("data"), "on") else { return };
        let found = leech(&address, right.path(), "").unwrap_err();
        assert!(found.to_string().contains("wrong data"), "{found}");
    }
}
