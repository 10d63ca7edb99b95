//! A disk that stops answering when it is told to.

use anyhow::Context;
use clap::Args;
use faulty::{FaultyDisk, Hang};
use std::{io::BufRead, path::PathBuf};

/// `stalled-disk`: mounts a file system in memory until its input ends.
#[derive(Args)]
pub struct StalledDisk {
    /// The empty folder to mount it on
    #[arg(long)]
    at: PathBuf,
    /// Bytes that it holds
    #[arg(long)]
    size: u64,
}

/// Obeys the lines of its input, `hang` and `answer`, and says each that is done.
pub fn run(options: &StalledDisk) -> anyhow::Result<()> {
    let disk = FaultyDisk::mount(&options.at, options.size).context("cannot mount by FUSE")?;
    println!("{{\"mounted\":true}}");
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let hang = match line.trim() {
            "hang" => Hang::Everything,
            "answer" => Hang::Nothing,
            other => anyhow::bail!("{other}: neither hang nor answer"),
        };
        disk.set(|faults| faults.hang = hang);
        println!("{{\"done\":\"{}\",\"hanging\":{}}}", line.trim(), disk.hanging());
    }
    Ok(())
}
