//! `ringseed edit`

use super::{chosen, connect, exactly, say};
use crate::{
    cli::{EditArgs, Numbers},
    process,
};
use api::native::{Edit, Field, FileChoice, Priority, Torrent, call};

pub fn edit(args: EditArgs) -> anyhow::Result<()> {
    let torrents = process::block_on(async {
        let client = connect(&args.chosen.connection)?;
        let fields = [Field::name, Field::info_hash, Field::labels, Field::trackers];
        let torrents = chosen(&client, &args.chosen, &fields).await?;
        // Labels and trackers are added to what each has.
        for torrent in &torrents {
            let edit = Edit {
                labels: labels(&args, torrent),
                trackers: trackers(&args, torrent),
                files: files(&args),
                peer_limit: args.peer_limit,
                sequential: args.sequential,
                sequential_from: args.sequential_from,
                priority: args.rules.priority,
                upload_limit: args.rules.up.map(|rate| rate.0),
                download_limit: args.rules.down.map(|rate| rate.0),
                honors_session_limits: args.rules.honor_limits,
                group: args
                    .rules
                    .group
                    .clone()
                    .map(|name| Some(name).filter(|name| !name.is_empty())),
                ratio_goal: args.rules.ratio,
                idle_goal: args.rules.idle,
                ..Edit::of(exactly(std::slice::from_ref(torrent)))
            };
            client.call::<call::TorrentEdit>(edit).await?;
        }
        Ok(torrents)
    })?;
    say(&args.chosen.connection, "edited", &torrents)
}

/// The labels of a torrent after the edit; `None` if they stay.
fn labels(args: &EditArgs, torrent: &Torrent) -> Option<Vec<String>> {
    if args.add_labels.is_empty() && args.remove_labels.is_empty() {
        return None;
    }
    let mut labels = torrent.labels.clone().unwrap_or_default();
    labels.retain(|label| !args.remove_labels.contains(label));
    for label in &args.add_labels {
        if !labels.contains(label) {
            labels.push(label.clone());
        }
    }
    Some(labels)
}

/// The same for its trackers.
fn trackers(args: &EditArgs, torrent: &Torrent) -> Option<Vec<Vec<String>>> {
    if args.add_trackers.is_empty() && args.remove_trackers.is_empty() {
        return None;
    }
    let mut tiers = torrent.trackers.clone().unwrap_or_default();
    for tier in &mut tiers {
        tier.retain(|url| !args.remove_trackers.contains(url));
    }
    tiers.retain(|tier| !tier.is_empty());
    for url in &args.add_trackers {
        if !tiers.iter().flatten().any(|known| known == url) {
            tiers.push(vec![url.clone()]);
        }
    }
    Some(tiers)
}

fn files(args: &EditArgs) -> Vec<FileChoice> {
    [
        choices(args.skip.as_ref(), Priority::Skip),
        choices(args.low.as_ref(), Priority::Low),
        choices(args.normal.as_ref(), Priority::Normal),
        choices(args.high.as_ref(), Priority::High),
    ]
    .concat()
}

/// Files by their numbers, each wanted so much.
pub(super) fn choices(numbers: Option<&Numbers>, priority: Priority) -> Vec<FileChoice> {
    let numbers = numbers.into_iter().flat_map(|numbers| &numbers.0);
    numbers.map(|&file| FileChoice { file, priority }).collect()
}
