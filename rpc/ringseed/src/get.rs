//! `ringseed get`: one torrent, downloaded in the foreground by an engine of its own.

use crate::{cli::GetArgs, config, human, inspect, limits, logging, output, process};
use anyhow::{Context, bail};
use engine::{
    NewTorrent, Options, Session,
    settings::Settings,
    status::{Activity, Torrent, TorrentId, Trouble},
};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::Path;

/// `ringseed get`
pub fn run(args: GetArgs) -> anyhow::Result<()> {
    let _log = logging::start(false, "warn");
    let torrent = inspect::read(&args.file)?;
    inspect::parse(&args.file, &torrent)?;
    let out = std::path::absolute(&args.out)?;
    std::fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    let settings = Settings {
        download_dir: out,
        start_added_torrents: true,
        ..config::without_file(&args.settings.0)?
    };
    process::raise_file_limit();
    // For the engine's session, which is of no use afterwards: what is there of the files is found
    // again by checking them.
    let state = tempfile::Builder::new()
        .prefix("ringseed-get-")
        .tempdir()
        .context("cannot make a temporary folder")?;
    process::block_on(download(&args, torrent, settings, state.path()))
}

async fn download(
    args: &GetArgs,
    metainfo: Vec<u8>,
    settings: Settings,
    state: &Path,
) -> anyhow::Result<()> {
    let mut signals = process::Signals::catch()?;
    let options = Options { config_dir: state.to_owned(), settings };
    let session = Session::start(options).await.context("cannot start")?;
    let added = session.add(NewTorrent { metainfo, ..NewTorrent::default() }).await?;
    session.add_peers(added.id, args.peers.clone());
    let outcome = tokio::select! {
        outcome = watch(&session, added.id, args.seed) => outcome,
        () = signals.next() => Ok(()),
    };
    let left = session.read(|catalog| catalog.get(added.id).map_or(0, |torrent| torrent.left));
    let stopped = tokio::time::timeout(limits::STOP_PATIENCE, session.stop()).await;
    outcome?;
    stopped.context("did not stop in time")?;
    if left > 0 {
        bail!("interrupted with {} to go: the same command goes on from here", human::bytes(left));
    }
    output::print(&format!("{}\n", args.out.join(&added.name).display()))
}

/// Shows progress until the download is complete, or for ever.
async fn watch(session: &Session, id: TorrentId, seed: bool) -> anyhow::Result<()> {
    let template = "{bar:30} {percent:>3}%  {bytes} of {total_bytes}  {msg}";
    let bar = ProgressBar::new(0).with_style(ProgressStyle::with_template(template)?);
    let mut ticks = tokio::time::interval(limits::PROGRESS_INTERVAL);
    let mut told = None;
    loop {
        ticks.tick().await;
        let Some(torrent) = session.read(|catalog| catalog.get(id).cloned()) else {
            bail!("the torrent is gone");
        };
        if let Some(Trouble::Local(text)) = &torrent.trouble {
            bail!("{text}");
        }
        let warning = match &torrent.trouble {
            Some(Trouble::TrackerError(text) | Trouble::TrackerWarning(text)) => Some(text.clone()),
            _ => None,
        };
        if warning != told {
            told = warning;
            if let Some(text) = &told {
                bar.suspend(|| eprintln!("tracker: {}", human::plain(text)));
            }
        }
        bar.set_length(torrent.size_when_done());
        bar.set_position(torrent.have_bytes);
        bar.set_message(doing(&torrent));
        if torrent.activity == Activity::Seeding && torrent.is_done() && !seed {
            bar.finish_and_clear();
            return Ok(());
        }
    }
}

fn doing(torrent: &Torrent) -> String {
    let traffic = &torrent.traffic;
    match torrent.activity {
        Activity::Stopped
        | Activity::Moving
        | Activity::QueuedToDownload
        | Activity::QueuedToSeed => "starting".to_owned(),
        Activity::QueuedToVerify | Activity::Verifying => {
            format!("checking {}", human::percent(torrent.verify_progress))
        }
        Activity::Downloading => {
            let left = match traffic.download_rate {
                0 => -1,
                rate => i64::try_from(torrent.left / rate).unwrap_or(-1),
            };
            format!(
                "{} down  {} up  {} peers  {}",
                human::rate(traffic.download_rate),
                human::rate(traffic.upload_rate),
                traffic.peers,
                human::duration(left)
            )
        }
        Activity::Seeding => {
            format!("seeding  {} up  {} peers", human::rate(traffic.upload_rate), traffic.peers)
        }
    }
}
