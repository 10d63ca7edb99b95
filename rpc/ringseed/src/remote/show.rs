//! `ringseed show`: everything about a torrent.

use super::{chosen, ratio, status};
use crate::{cli::ShowArgs, client::Client, human, output, process, table::Align, table::Table};
use serde_json::Value;
use std::fmt::Write;

const FIELDS: [&str; 34] = [
    "id",
    "name",
    "hash_string",
    "status",
    "error",
    "error_string",
    "percent_done",
    "total_size",
    "size_when_done",
    "left_until_done",
    "have_valid",
    "downloaded_ever",
    "uploaded_ever",
    "corrupt_ever",
    "rate_download",
    "rate_upload",
    "upload_ratio",
    "eta",
    "recheck_progress",
    "download_dir",
    "labels",
    "is_private",
    "piece_count",
    "piece_size",
    "added_date",
    "done_date",
    "activity_date",
    "comment",
    "creator",
    "files",
    "file_stats",
    "tracker_stats",
    "peers",
    "sequential_download",
];

/// `ringseed show`
pub fn show(args: ShowArgs) -> anyhow::Result<()> {
    let torrents = process::block_on(async {
        let mut client = Client::new(&args.connection.rpc)?;
        chosen(&mut client, &args.ids, &FIELDS).await
    })?;
    if args.connection.json {
        return output::print_json(&torrents);
    }
    let sheets: Vec<String> = torrents.iter().map(sheet).collect();
    output::print(&sheets.join("\n"))
}

fn sheet(torrent: &Value) -> String {
    let text = |name: &str| human::plain(torrent[name].as_str().unwrap_or_default());
    let number = |name: &str| torrent[name].as_u64().unwrap_or(0);
    let percent = human::percent(torrent["percent_done"].as_f64().unwrap_or(0.0));
    let labels: Vec<&str> = list(&torrent["labels"]).filter_map(Value::as_str).collect();
    let mut lines = vec![
        ("Name", text("name")),
        ("Id", number("id").to_string()),
        ("Info-hash", text("hash_string")),
        ("Status", status(torrent)),
        ("Error", text("error_string")),
        ("Done", format!("{percent} of {}", human::bytes(number("size_when_done")))),
        ("Time left", human::duration(torrent["eta"].as_i64().unwrap_or(-1))),
        ("Size", human::bytes(number("total_size"))),
        ("Pieces", format!("{} of {} bytes", number("piece_count"), number("piece_size"))),
        ("Folder", text("download_dir")),
        ("Labels", human::plain(&labels.join(", "))),
        ("Private", if torrent["is_private"] == true { "yes" } else { "no" }.to_owned()),
        ("Downloaded", transfer(number("downloaded_ever"), number("rate_download"))),
        ("Uploaded", transfer(number("uploaded_ever"), number("rate_upload"))),
        ("Ratio", ratio(torrent)),
        ("Corrupt", human::bytes(number("corrupt_ever"))),
        ("Added", human::date(number("added_date"))),
        ("Completed", human::date(number("done_date"))),
        ("Last active", human::date(number("activity_date"))),
        ("Comment", text("comment")),
        ("Made by", text("creator")),
    ];
    lines.retain(|(_, value)| !value.is_empty());
    let mut sheet = String::new();
    for (name, value) in lines {
        // Writing to memory cannot fail.
        let _ = writeln!(sheet, "{name:<12} {value}");
    }
    for (title, table) in
        [("Files", files(torrent)), ("Trackers", trackers(torrent)), ("Peers", peers(torrent))]
    {
        let _ = write!(sheet, "\n{title}\n{}", table.render());
    }
    sheet
}

fn transfer(total: u64, rate: u64) -> String {
    match rate {
        0 => human::bytes(total),
        rate => format!("{} ({})", human::bytes(total), human::rate(rate)),
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn files(torrent: &Value) -> Table {
    let mut table = Table::new([
        ("#", Align::Right),
        ("DONE", Align::Right),
        ("PRIORITY", Align::Left),
        ("SIZE", Align::Right),
        ("PATH", Align::Left),
    ]);
    let files = list(&torrent["files"]).zip(list(&torrent["file_stats"]));
    for (at, (file, stat)) in files.enumerate() {
        let (done, length) = (file["bytes_completed"].as_u64(), file["length"].as_u64());
        let share = match (done, length) {
            (Some(done), Some(length)) if length > 0 => done as f64 / length as f64,
            _ => 1.0,
        };
        let priority = match (stat["wanted"].as_bool(), stat["priority"].as_i64()) {
            (Some(false), _) => "skip",
            (_, Some(-1)) => "low",
            (_, Some(1)) => "high",
            _ => "normal",
        };
        table.push([
            at.to_string(),
            human::percent(share),
            priority.to_owned(),
            human::bytes(length.unwrap_or(0)),
            file["name"].as_str().unwrap_or_default().to_owned(),
        ]);
    }
    table
}

fn trackers(torrent: &Value) -> Table {
    let mut table = Table::new([
        ("TIER", Align::Right),
        ("SEEDS", Align::Right),
        ("LEECHES", Align::Right),
        ("PEERS", Align::Right),
        ("LAST ANNOUNCE", Align::Left),
        ("URL", Align::Left),
    ]);
    let known = |value: &Value| match value.as_u64() {
        Some(count) => count.to_string(),
        None => "-".to_owned(),
    };
    for tracker in list(&torrent["tracker_stats"]) {
        table.push([
            known(&tracker["tier"]),
            known(&tracker["seeder_count"]),
            known(&tracker["leecher_count"]),
            known(&tracker["last_announce_peer_count"]),
            tracker["last_announce_result"].as_str().unwrap_or_default().to_owned(),
            tracker["announce"].as_str().unwrap_or_default().to_owned(),
        ]);
    }
    table
}

fn peers(torrent: &Value) -> Table {
    let mut table = Table::new([
        ("ADDRESS", Align::Left),
        ("FLAGS", Align::Left),
        ("DONE", Align::Right),
        ("DOWN", Align::Right),
        ("UP", Align::Right),
        ("CLIENT", Align::Left),
    ]);
    for peer in list(&torrent["peers"]) {
        let address = peer["address"].as_str().unwrap_or_default();
        let bracketed =
            if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
        table.push([
            format!("{bracketed}:{}", peer["port"]),
            peer["flag_str"].as_str().unwrap_or_default().to_owned(),
            human::percent(peer["progress"].as_f64().unwrap_or(0.0)),
            human::rate(peer["rate_to_client"].as_u64().unwrap_or(0)),
            human::rate(peer["rate_to_peer"].as_u64().unwrap_or(0)),
            peer["client_name"].as_str().unwrap_or_default().to_owned(),
        ]);
    }
    table
}
