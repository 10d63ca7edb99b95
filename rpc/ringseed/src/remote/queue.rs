//! The order in which torrents get their turn: `ringseed queue`.

use super::{chosen, columns, connect, exactly, limits::change, say};
use crate::{
    cli::{ChosenArgs, Connection, QueueArgs, QueueCommand},
    given::Count,
    output, process,
    table::{Align, Table},
};
use api::native::{Field, List, Listing, MoveInQueue, QueueTarget, QueueWay, call};
use serde_json::{Map, Value, json};

pub fn queue(args: QueueArgs) -> anyhow::Result<()> {
    let way = |way: QueueWay, chosen: &ChosenArgs| shift(QueueTarget::Way(way), chosen);
    match args.command {
        QueueCommand::List { connection } => list(&connection),
        QueueCommand::Top(chosen) => way(QueueWay::Top, &chosen),
        QueueCommand::Up(chosen) => way(QueueWay::Up, &chosen),
        QueueCommand::Down(chosen) => way(QueueWay::Down, &chosen),
        QueueCommand::Bottom(chosen) => way(QueueWay::Bottom, &chosen),
        QueueCommand::Put { position, chosen } => shift(QueueTarget::Position(position), &chosen),
        QueueCommand::Size { downloads, seeds, connection } => size(downloads, seeds, &connection),
    }
}

fn list(connection: &Connection) -> anyhow::Result<()> {
    let fields = [&[Field::queue_position, Field::priority], &columns::FIELDS[..]].concat();
    let params =
        List { fields: Some(fields), sort: Some(Field::queue_position), ..List::default() };
    let Listing { torrents, .. } = process::block_on(async {
        Ok(connect(connection)?.call::<call::TorrentList>(params).await?)
    })?;
    if connection.json {
        return output::print_json(&torrents);
    }
    let mut table = Table::new([
        ("PLACE", Align::Right),
        ("ID", Align::Right),
        ("STATUS", Align::Left),
        ("DONE", Align::Right),
        ("PRIORITY", Align::Left),
        ("NAME", Align::Left),
    ]);
    for torrent in &torrents {
        table.push([
            torrent.queue_position.unwrap_or(0).to_string(),
            torrent.id.to_string(),
            columns::status(torrent),
            columns::done(torrent),
            columns::priority(torrent),
            columns::name(torrent),
        ]);
    }
    output::print(&table.render())
}

fn shift(to: QueueTarget, args: &ChosenArgs) -> anyhow::Result<()> {
    let fields = [Field::name, Field::info_hash, Field::queue_position];
    let torrents = process::block_on(async {
        let client = connect(&args.connection)?;
        let torrents = chosen(&client, args, &fields).await?;
        let torrents = exactly(&torrents);
        client.call::<call::QueueMove>(MoveInQueue { torrents: torrents.clone(), to }).await?;
        let fields = Some(fields.to_vec());
        let params = List { torrents: Some(torrents), fields, ..List::default() };
        Ok(client.call::<call::TorrentList>(params).await?.torrents)
    })?;
    say(&args.connection, "moved", &torrents)
}

fn size(
    downloads: Option<Count>,
    seeds: Option<Count>,
    connection: &Connection,
) -> anyhow::Result<()> {
    let mut changes = Map::new();
    for (name, count) in [("download_queue", downloads), ("seed_queue", seeds)] {
        if let Some(Count(count)) = count {
            changes.insert(format!("{name}_enabled"), json!(count.is_some()));
            count.map(|count| changes.insert(format!("{name}_size"), json!(count)));
        }
    }
    let mut settings = process::block_on(async {
        let client = connect(connection)?;
        Ok(change(&client, changes).await?)
    })?;
    settings.retain(|name, _| name.starts_with("download_queue") || name.starts_with("seed_queue"));
    if connection.json {
        return output::print_json(&settings);
    }
    let told = |name: &str| match settings.get(&format!("{name}_enabled")) {
        Some(Value::Bool(true)) => settings[&format!("{name}_size")].to_string(),
        _ => "any number of".to_owned(),
    };
    let (downloads, seeds) = (told("download_queue"), told("seed_queue"));
    output::print(&format!("{downloads} downloads and {seeds} seeds at a time\n"))
}
