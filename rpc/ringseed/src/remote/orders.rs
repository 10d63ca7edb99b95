//! Orders for torrents: `ringseed start`, `stop`, `verify`, `announce`, `remove`.

use super::{chosen, connect, exactly, reference, say, wait};
use crate::{
    cli::{ChosenArgs, MoveArgs, RemoveArgs, RenameArgs, StartArgs, VerifyArgs},
    output, process,
};
use api::native::{Call, Field, Move, Remove, Rename, Several, Start, Torrent, call};
use client::Client;

/// What is printed of the torrents of an order.
const FIELDS: [Field; 2] = [Field::name, Field::info_hash];

pub fn start(args: StartArgs) -> anyhow::Result<()> {
    let torrents = process::block_on(async {
        let client = connect(&args.chosen.connection)?;
        let torrents = chosen(&client, &args.chosen, &FIELDS).await?;
        let params = Start { torrents: exactly(&torrents), now: args.now };
        client.call::<call::TorrentStart>(params).await?;
        Ok(torrents)
    })?;
    say(&args.chosen.connection, "started", &torrents)
}

pub fn stop(args: ChosenArgs) -> anyhow::Result<()> {
    order::<call::TorrentStop>(&args, "stopped")
}

pub fn announce(args: ChosenArgs) -> anyhow::Result<()> {
    order::<call::TorrentReannounce>(&args, "announcing")
}

fn order<C: Call<Params = Several>>(args: &ChosenArgs, done: &str) -> anyhow::Result<()> {
    let torrents = process::block_on(async {
        let client = connect(&args.connection)?;
        give::<C>(&client, args).await
    })?;
    say(&args.connection, done, &torrents)
}

/// Calls a method for the chosen torrents; gives them.
async fn give<C: Call<Params = Several>>(
    client: &Client,
    args: &ChosenArgs,
) -> anyhow::Result<Vec<Torrent>> {
    let torrents = chosen(client, args, &FIELDS).await?;
    client.call::<C>(Several { torrents: exactly(&torrents) }).await?;
    Ok(torrents)
}

pub fn verify(args: VerifyArgs) -> anyhow::Result<()> {
    if !args.wait {
        return order::<call::TorrentVerify>(&args.chosen, "verifying");
    }
    let torrents = process::block_on(async {
        let client = connect(&args.chosen.connection)?;
        // From before the order on, so that the end of a quick check is not missed.
        let watch = wait::Watch::begin(&client).await?;
        let torrents = give::<call::TorrentVerify>(&client, &args.chosen).await?;
        watch.until_verified(&client, &torrents).await?;
        Ok(torrents)
    })?;
    say(&args.chosen.connection, "verified", &torrents)
}

pub fn relocate(args: MoveArgs) -> anyhow::Result<()> {
    let to = std::path::absolute(&args.to)?;
    let torrents = process::block_on(async {
        let client = connect(&args.chosen.connection)?;
        let torrents = chosen(&client, &args.chosen, &FIELDS).await?;
        let params = Move {
            torrents: exactly(&torrents),
            download_dir: to.to_string_lossy().into_owned(),
            bring: !args.no_files,
        };
        client.call::<call::TorrentMove>(params).await?;
        if args.wait {
            wait::until_moved(&client, &torrents).await?;
        }
        Ok(torrents)
    })?;
    let done = if args.wait { "moved" } else { "moving" };
    say(&args.chosen.connection, done, &torrents)
}

pub fn rename(args: RenameArgs) -> anyhow::Result<()> {
    process::block_on(async {
        let client = connect(&args.connection)?;
        let (torrent, path) = (reference(&args.id)?, args.path.clone());
        let params = Rename { torrent, path, name: args.name.clone() };
        client.call::<call::TorrentRename>(params).await?;
        Ok(())
    })?;
    match args.connection.json {
        true => output::print_json(&args.name),
        false => output::print(&format!("renamed: {} is {}\n", args.path, args.name)),
    }
}

pub fn remove(args: RemoveArgs) -> anyhow::Result<()> {
    let torrents = process::block_on(async {
        let client = connect(&args.chosen.connection)?;
        let torrents = chosen(&client, &args.chosen, &FIELDS).await?;
        let params = Remove { torrents: exactly(&torrents), delete_data: args.delete_data };
        client.call::<call::TorrentRemove>(params).await?;
        Ok(torrents)
    })?;
    say(&args.chosen.connection, "removed", &torrents)
}
