//! The daemon itself: `ringseed stats`, `space`, `settings`, `events`, `call`, `shutdown`.

use super::connect;
use crate::{
    cli::{BlocklistArgs, CallArgs, ConnectionArgs, EventsArgs, SettingsArgs, SpaceArgs},
    failure::Failed,
    human, output, process,
    table::{Align, Table},
};
use anyhow::bail;
use api::native::{
    Counters, Event, EventStream, Folder, Info, Nothing, PortTest, Setting, SettingKind,
    SettingsChange, call,
};
use serde_json::{Map, Value};
use std::fmt::Write;

pub fn stats(args: ConnectionArgs) -> anyhow::Result<()> {
    let (figures, info) = process::block_on(async {
        let client = connect(&args.connection)?;
        let figures = client.call::<call::StatisticsGet>(Nothing {}).await?;
        Ok((figures, client.call::<call::ServerInfo>(Nothing {}).await?))
    })?;
    if args.connection.json {
        return output::print_json(&figures);
    }
    let mut out = String::new();
    let torrents = format!(
        "{} ({} downloading, {} seeding, {} verifying, {} moving, {} queued, {} stopped, {} with errors)",
        figures.torrents,
        figures.downloading,
        figures.seeding,
        figures.verifying,
        figures.moving,
        figures.queued,
        figures.stopped,
        figures.errors
    );
    for (name, value) in [
        ("Server", server(&info)),
        ("Torrents", torrents),
        ("Peers", figures.peers.to_string()),
        ("Down", human::rate(figures.download_rate)),
        ("Up", human::rate(figures.upload_rate)),
    ] {
        // Writing to memory cannot fail.
        let _ = writeln!(out, "{name:<12} {value}");
    }
    let mut table = Table::new([
        ("", Align::Left),
        ("DOWNLOADED", Align::Right),
        ("UPLOADED", Align::Right),
        ("ADDED", Align::Right),
        ("STARTS", Align::Right),
        ("TIME", Align::Right),
    ]);
    for (name, counters) in [("this run", figures.this_run), ("all runs", figures.all_runs)] {
        let Counters { downloaded, uploaded, torrents_added, runs, seconds } = counters;
        table.push([
            name.to_owned(),
            human::bytes(downloaded),
            human::bytes(uploaded),
            torrents_added.to_string(),
            runs.to_string(),
            human::duration(i64::try_from(seconds).unwrap_or(i64::MAX)),
        ]);
    }
    output::print(&(out + "\n" + &table.render()))
}

/// What the server is, in a line.
fn server(info: &Info) -> String {
    let running = info.shards.iter().filter(|shard| shard.running).count();
    let shards = match (running, info.shards.len()) {
        (1, 1) => "1 shard".to_owned(),
        (running, count) if running == count => format!("{count} shards"),
        (running, count) => format!("{running} of {count} shards"),
    };
    format!("{} {}, {}, {shards}", info.name, info.version, info.driver)
}

pub fn space(args: SpaceArgs) -> anyhow::Result<()> {
    let room = process::block_on(async {
        let client = connect(&args.connection)?;
        Ok(client.call::<call::ServerFreeSpace>(Folder { path: args.path }).await?)
    })?;
    if args.connection.json {
        return output::print_json(&room);
    }
    let (free, total) = (human::bytes(room.free), human::bytes(room.total));
    output::print(&format!("{free} of {total} free in {}\n", human::plain(&room.path)))
}

pub fn port_test(args: ConnectionArgs) -> anyhow::Result<()> {
    let state = process::block_on(async {
        let client = connect(&args.connection)?;
        Ok(client.call::<call::ServerPortTest>(PortTest::default()).await?)
    })?;
    if args.connection.json {
        return output::print_json(&state);
    }
    output::print(if state.open { "the port is open\n" } else { "the port is closed\n" })
}

pub fn blocklist(args: BlocklistArgs) -> anyhow::Result<()> {
    let state = process::block_on(async {
        let client = connect(&args.connection)?;
        Ok(match args.update {
            true => client.call::<call::BlocklistUpdate>(Nothing {}).await?,
            false => client.call::<call::BlocklistGet>(Nothing {}).await?,
        })
    })?;
    if args.connection.json {
        return output::print_json(&state);
    }
    let holds = if state.enabled { "in force" } else { "not in force" };
    output::print(&format!("{} rules, {holds}\n", state.rules))
}

pub fn settings(args: SettingsArgs) -> anyhow::Result<()> {
    let rows = process::block_on(async {
        let client = connect(&args.connection)?;
        let rows = client.call::<call::SettingsDescribe>(Nothing {}).await?;
        let mut names = Vec::new();
        let mut changes = Map::new();
        for given in &args.settings {
            let (name, value) = match given.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (given.as_str(), None),
            };
            let name = name.replace('-', "_");
            let Some(row) = rows.iter().find(|row| row.name == name) else {
                return Err(Failed::missing(format!(
                    "there is no setting {name}: see `ringseed settings`"
                )));
            };
            if let Some(value) = value {
                changes.insert(name.clone(), parse(row, value)?);
            }
            names.push(name);
        }
        let rows = match changes.is_empty() {
            true => rows,
            false => {
                client.call::<call::SettingsSet>(SettingsChange { settings: changes }).await?;
                client.call::<call::SettingsDescribe>(Nothing {}).await?
            }
        };
        let is_asked = |row: &Setting| names.is_empty() || names.contains(&row.name);
        Ok(rows.into_iter().filter(is_asked).collect::<Vec<_>>())
    })?;
    if args.connection.json {
        return output::print_json(&rows);
    }
    let mut table = Table::new([
        ("SETTING", Align::Left),
        ("VALUE", Align::Left),
        ("UNIT", Align::Left),
        ("", Align::Left),
    ]);
    for row in &rows {
        let value = match &row.value {
            Value::String(text) => text.clone(),
            value => value.to_string(),
        };
        let restart = if row.restart { "from the next start" } else { "" };
        table.push([row.name.clone(), value, row.unit.clone(), restart.to_owned()]);
    }
    output::print(&table.render())
}

/// A value as its setting wants it.
fn parse(row: &Setting, text: &str) -> anyhow::Result<Value> {
    let wrong = |wants: &str| Failed::usage(format!("{} is {wants}, not '{text}'", row.name));
    match row.kind {
        SettingKind::Switch => text.parse().map(Value::Bool).map_err(|_| wrong("true or false")),
        SettingKind::Number => match serde_json::from_str(text) {
            Ok(number @ Value::Number(_)) => Ok(number),
            _ => Err(wrong("a number")),
        },
        SettingKind::Folders => match serde_json::from_str(text) {
            Ok(folders @ Value::Array(_)) => Ok(folders),
            _ => Err(wrong("a JSON array of folders")),
        },
        SettingKind::Text | SettingKind::Path => Ok(Value::String(text.to_owned())),
    }
}

pub fn events(args: EventsArgs) -> anyhow::Result<()> {
    process::block_on(async {
        let client = connect(&args.connection)?;
        let mut events = client.subscribe::<call::Events>(EventStream::default()).await?;
        let mut left = args.count.unwrap_or(u64::MAX);
        while left > 0 {
            let Some(event) = events.next().await else {
                bail!("the daemon has closed the connection");
            };
            let event = event?;
            output::print(&match args.connection.json {
                true => serde_json::to_string(&event)? + "\n",
                false => line(&event),
            })?;
            left -= 1;
        }
        Ok(())
    })
}

fn line(event: &Event) -> String {
    let mut line = format!("{} {}", human::date(event.at), event.kind.name().replace('_', " "));
    let details = [
        event.id.map(|id| id.to_string()),
        event.name.clone(),
        event.address.clone(),
        event.path.clone(),
        event.free.map(|free| format!("{} free", human::bytes(free))),
        event.missed.map(|missed| format!("{missed} events")),
        event.message.as_ref().map(|message| format!("({message})")),
    ];
    for detail in details.into_iter().flatten() {
        line.push(' ');
        line.push_str(&human::plain(&detail));
    }
    line.push('\n');
    line
}

pub fn call(args: CallArgs) -> anyhow::Result<()> {
    let params: Value = serde_json::from_str(&args.params)
        .map_err(|error| Failed::usage(format!("the parameters are not JSON: {error}")))?;
    let result = process::block_on(async {
        Ok(connect(&args.connection)?.call_by_name(&args.method, &params).await?)
    })?;
    output::print_json(&result)
}

pub fn shutdown(args: ConnectionArgs) -> anyhow::Result<()> {
    process::block_on(async {
        let client = connect(&args.connection)?;
        client.call::<call::ServerShutdown>(Nothing {}).await?;
        Ok(())
    })?;
    output::print("the daemon is stopping\n")
}
