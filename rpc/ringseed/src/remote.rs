//! Commands for a running daemon.

use crate::cli::{AddArgs, Connection, IdsArgs, ListArgs, RemoveArgs};
use crate::{client::Client, human, inspect, output, process, table::Align, table::Table};
use anyhow::bail;
use data_encoding::BASE64;
use serde_json::{Map, Value, json};

mod show;
pub use show::show;

/// What the list shows, and what `--json` prints.
const LIST_FIELDS: [&str; 16] = [
    "id",
    "name",
    "hash_string",
    "status",
    "error",
    "error_string",
    "percent_done",
    "total_size",
    "left_until_done",
    "rate_download",
    "rate_upload",
    "upload_ratio",
    "peers_connected",
    "eta",
    "labels",
    "recheck_progress",
];

/// `ringseed add`
pub fn add(args: AddArgs) -> anyhow::Result<()> {
    let dir = args.download_dir.map(std::path::absolute).transpose()?;
    let mut added = Vec::new();
    process::block_on(async {
        let mut client = Client::new(&args.connection.rpc)?;
        for file in &args.files {
            let metainfo = inspect::read(file)?;
            let mut params = json!({ "metainfo": BASE64.encode(&metainfo), "labels": args.labels });
            if args.paused {
                params["paused"] = json!(true);
            }
            if let Some(dir) = dir.as_ref().map(|dir| dir.to_string_lossy()) {
                params["download_dir"] = json!(dir);
            }
            let answer = client
                .call("torrent_add", params)
                .await
                .map_err(|error| error.context(format!("{} is not added", file.display())))?;
            let (torrent, duplicate) = match answer.get("torrent_added") {
                Some(torrent) => (torrent, false),
                None => (&answer["torrent_duplicate"], true),
            };
            if !args.connection.json {
                let what = if duplicate { "is there already" } else { "added" };
                let name = human::plain(torrent["name"].as_str().unwrap_or_default());
                output::print(&format!("{what}: {} {name}\n", torrent["id"]))?;
            }
            let mut torrent = torrent.clone();
            torrent["duplicate"] = json!(duplicate);
            added.push(torrent);
        }
        Ok(())
    })?;
    if args.connection.json { output::print_json(&added) } else { Ok(()) }
}

/// `ringseed list`
pub fn list(args: ListArgs) -> anyhow::Result<()> {
    let torrents = process::block_on(async {
        let mut client = Client::new(&args.connection.rpc)?;
        torrents(&mut client, None, &LIST_FIELDS).await
    })?;
    if args.connection.json {
        return output::print_json(&torrents);
    }
    let mut table = Table::new([
        ("ID", Align::Right),
        ("STATUS", Align::Left),
        ("DONE", Align::Right),
        ("SIZE", Align::Right),
        ("DOWN", Align::Right),
        ("UP", Align::Right),
        ("RATIO", Align::Right),
        ("PEERS", Align::Right),
        ("ETA", Align::Right),
        ("NAME", Align::Left),
    ]);
    for torrent in &torrents {
        let number = |name: &str| torrent[name].as_u64().unwrap_or(0);
        table.push([
            number("id").to_string(),
            status(torrent),
            human::percent(torrent["percent_done"].as_f64().unwrap_or(0.0)),
            human::bytes(number("total_size")),
            human::rate(number("rate_download")),
            human::rate(number("rate_upload")),
            ratio(torrent),
            number("peers_connected").to_string(),
            human::duration(torrent["eta"].as_i64().unwrap_or(-1)),
            torrent["name"].as_str().unwrap_or_default().to_owned(),
        ]);
    }
    output::print(&table.render())
}

/// `ringseed start`
pub fn start(args: IdsArgs) -> anyhow::Result<()> {
    act(args, "torrent_start", "started", json!({}))
}

/// `ringseed stop`
pub fn stop(args: IdsArgs) -> anyhow::Result<()> {
    act(args, "torrent_stop", "stopped", json!({}))
}

/// `ringseed verify`
pub fn verify(args: IdsArgs) -> anyhow::Result<()> {
    act(args, "torrent_verify", "verifying", json!({}))
}

/// `ringseed remove`
pub fn remove(args: RemoveArgs) -> anyhow::Result<()> {
    let params = json!({ "delete_local_data": args.delete_data });
    act(args.ids, "torrent_remove", "removed", params)
}

/// Calls a method for torrents and says for each what became of it.
fn act(args: IdsArgs, method: &str, done: &str, mut params: Value) -> anyhow::Result<()> {
    let found = process::block_on(async {
        let mut client = Client::new(&args.connection.rpc)?;
        let found = chosen(&mut client, &args.ids, &["id", "name", "hash_string"]).await?;
        let ids: Vec<&Value> = found.iter().map(|torrent| &torrent["hash_string"]).collect();
        params["ids"] = json!(ids);
        client.call(method, params).await?;
        Ok(found)
    })?;
    say(&args.connection, done, &found)
}

fn say(connection: &Connection, done: &str, torrents: &[Value]) -> anyhow::Result<()> {
    if connection.json {
        return output::print_json(&torrents);
    }
    let line = |torrent: &Value| {
        let name = human::plain(torrent["name"].as_str().unwrap_or_default());
        format!("{done}: {} {name}\n", torrent["id"])
    };
    output::print(&torrents.iter().map(line).collect::<String>())
}

/// The torrents that ids, info-hashes or `all` name; one that does not exist is an error, before
/// anything is done.
async fn chosen(
    client: &mut Client,
    ids: &[String],
    fields: &[&str],
) -> anyhow::Result<Vec<Value>> {
    if ids.iter().any(|id| id == "all") {
        return torrents(client, None, fields).await;
    }
    let mut wanted = Vec::new();
    for id in ids {
        match id.parse::<u32>() {
            Ok(number) => wanted.push(json!(number)),
            Err(_) if api::ids::hash(id).is_some() => wanted.push(json!(id)),
            Err(_) => {
                bail!("'{id}' is no id: give a number or info-hash of `ringseed list`, or `all`")
            }
        }
    }
    let mut found: Vec<Value> = Vec::new();
    for (id, wanted) in ids.iter().zip(wanted) {
        match torrents(client, Some(wanted), fields).await?.pop() {
            Some(torrent) if !found.contains(&torrent) => found.push(torrent),
            Some(_) => {}
            None => bail!("there is no torrent {id}: see `ringseed list`"),
        }
    }
    Ok(found)
}

async fn torrents(
    client: &mut Client,
    ids: Option<Value>,
    fields: &[&str],
) -> anyhow::Result<Vec<Value>> {
    let mut params = Map::from_iter([("fields".to_owned(), json!(fields))]);
    params.extend(ids.map(|ids| ("ids".to_owned(), ids)));
    match client.call("torrent_get", Value::Object(params)).await?["torrents"].take() {
        Value::Array(torrents) => Ok(torrents),
        _ => bail!("the daemon's answer has no torrents"),
    }
}

fn status(torrent: &Value) -> String {
    let checked = || human::percent(torrent["recheck_progress"].as_f64().unwrap_or(0.0));
    let doing = match torrent["status"].as_i64() {
        Some(0) => "stopped".to_owned(),
        Some(1) => "to verify".to_owned(),
        Some(2) => format!("verifying {}", checked()),
        Some(4) => "downloading".to_owned(),
        Some(6) => "seeding".to_owned(),
        _ => "queued".to_owned(),
    };
    match torrent["error"].as_i64() {
        Some(3) => "error".to_owned(),
        Some(1 | 2) => format!("{doing} (!)"),
        _ => doing,
    }
}

fn ratio(torrent: &Value) -> String {
    match torrent["upload_ratio"].as_f64() {
        Some(ratio) if ratio >= 0.0 => format!("{ratio:.2}"),
        Some(-2.0) => "∞".to_owned(),
        _ => "-".to_owned(),
    }
}
