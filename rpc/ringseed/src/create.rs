//! `ringseed create`: a new .torrent.

use crate::{cli, cli::CreateArgs, config, inspect, limits, output};
use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use metainfo::create::{Options, Version};
use std::{ops::ControlFlow, path::PathBuf, time::SystemTime};
use storage::{CreateProgress, CreateRequest, create_torrent};

/// `ringseed create`
pub fn run(args: CreateArgs) -> anyhow::Result<()> {
    let out = match &args.out {
        Some(out) => out.clone(),
        None => default_out(&args)?,
    };
    if out.exists() && !args.force {
        bail!("{} exists: name another file with --out, or replace it with --force", out.display());
    }
    let bar = ProgressBar::new(0).with_style(style()?);
    bar.enable_steady_tick(limits::PROGRESS_INTERVAL);
    let progress = |progress: CreateProgress| {
        bar.set_length(progress.bytes_total);
        bar.set_position(progress.bytes_done);
        ControlFlow::Continue(())
    };
    let made = create_torrent(&request(&args), &progress);
    bar.finish_and_clear();
    let torrent = made.with_context(|| format!("no torrent of {}", args.path.display()))?;
    config::replace(&out, &torrent).with_context(|| format!("cannot write {}", out.display()))?;
    let metainfo = inspect::parse(&out, &torrent)?;
    let hashes = [
        metainfo.info_hash_v1.map(|hash| hash.to_string()),
        metainfo.info_hash_v2.map(|hash| hash.to_string()),
    ];
    let hashes: Vec<String> = hashes.into_iter().flatten().collect();
    output::print(&format!("{}: {}\n", out.display(), hashes.join(" ")))
}

fn style() -> anyhow::Result<ProgressStyle> {
    let template = "{bar:30} {percent:>3}%  {bytes} of {total_bytes}  {bytes_per_sec}  {eta}";
    Ok(ProgressStyle::with_template(template)?)
}

fn default_out(args: &CreateArgs) -> anyhow::Result<PathBuf> {
    let path = args.path.canonicalize().with_context(|| format!("{}", args.path.display()))?;
    let own = path.file_name().context("name the torrent with --out")?;
    let mut name = args.name.clone().map_or_else(|| own.to_owned(), Into::into);
    name.push(".torrent");
    Ok(PathBuf::from(name))
}

fn request(args: &CreateArgs) -> CreateRequest {
    let tier = |tier: &String| -> Vec<String> {
        tier.split(',').map(str::trim).filter(|url| !url.is_empty()).map(str::to_owned).collect()
    };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    CreateRequest {
        path: args.path.clone(),
        name: args.name.clone(),
        piece_length: args.piece_length,
        version: match args.version {
            cli::Version::V1 => Version::V1,
            cli::Version::V2 => Version::V2,
            cli::Version::Hybrid => Version::Hybrid,
        },
        options: Options {
            private: args.private,
            trackers: args.trackers.iter().map(tier).filter(|tier| !tier.is_empty()).collect(),
            web_seeds: args.web_seeds.clone(),
            comment: args.comment.clone(),
            created_by: Some(concat!("Ringseed/", env!("CARGO_PKG_VERSION")).to_owned()),
            creation_date: now.ok().map(|now| now.as_secs()),
            source: args.source.clone(),
        },
        threads: args.threads,
    }
}
