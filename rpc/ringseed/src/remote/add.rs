//! `ringseed add`

use super::{connect, edit::choices, wait};
use crate::{cli::AddArgs, human, inspect, output, process};
use anyhow::Context;
use api::native::{AddTorrent, Priority, Torrent, call};
use data_encoding::BASE64;

/// Whether it is something for the daemon to fetch.
fn is_url(text: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme))
}

pub fn add(args: AddArgs) -> anyhow::Result<()> {
    let dir = args.download_dir.as_ref().map(std::path::absolute).transpose()?;
    let mut added = Vec::new();
    process::block_on(async {
        let client = connect(&args.connection)?;
        for file in &args.files {
            let url = file.to_str().filter(|text| is_url(text)).map(str::to_owned);
            let metainfo = match url {
                Some(_) => None,
                None => Some(BASE64.encode(&inspect::read(file)?)),
            };
            let params = AddTorrent {
                metainfo,
                url,
                download_dir: dir.as_ref().map(|dir| dir.to_string_lossy().into_owned()),
                paused: args.paused.then_some(true),
                labels: args.labels.clone(),
                sequential: args.sequential.then_some(true),
                peer_limit: args.peer_limit,
                files: choices(args.skip.as_ref(), Priority::Skip),
                priority: args.rules.priority,
                upload_limit: args.rules.up.and_then(|rate| rate.0),
                download_limit: args.rules.down.and_then(|rate| rate.0),
                honors_session_limits: args.rules.honor_limits,
                group: args.rules.group.clone(),
                ratio_goal: args.rules.ratio,
                idle_goal: args.rules.idle,
                trust_files: args.trust_files,
                ..AddTorrent::default()
            };
            let answer = client.call::<call::TorrentAdd>(params).await;
            let answer = answer.with_context(|| format!("{} is not added", file.display()))?;
            if !args.connection.json {
                let what = if answer.duplicate { "is there already" } else { "added" };
                output::print(&format!("{what}: {} {}\n", answer.id, human::plain(&answer.name)))?;
            }
            added.push(answer);
        }
        if args.wait {
            let named = added.iter().filter(|added| !added.duplicate).map(|added| Torrent {
                id: added.id,
                name: Some(added.name.clone()),
                ..Torrent::default()
            });
            wait::until_running(&client, &named.collect::<Vec<_>>()).await?;
        }
        Ok(())
    })?;
    if args.connection.json { output::print_json(&added) } else { Ok(()) }
}
