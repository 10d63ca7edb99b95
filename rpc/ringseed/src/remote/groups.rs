//! Bandwidth groups: `ringseed group`.

use super::connect;
use crate::{
    cli::{Connection, GroupArgs, GroupCommand},
    given::Rate,
    human, output, process,
    table::{Align, Table},
};
use api::native::{Group, GroupChange, GroupName, Nothing, call};

pub fn group(args: GroupArgs) -> anyhow::Result<()> {
    match args.command {
        GroupCommand::List { connection } => list(&connection),
        GroupCommand::Set { name, up, down, honor_limits, connection } => {
            let limit = |rate: Option<Rate>| rate.map(|Rate(bytes)| bytes);
            let change = GroupChange {
                name,
                upload_limit: limit(up),
                download_limit: limit(down),
                honors_session_limits: honor_limits,
            };
            set(change, &connection)
        }
        GroupCommand::Remove { name, connection } => remove(name, &connection),
    }
}

fn list(connection: &Connection) -> anyhow::Result<()> {
    let groups = process::block_on(async {
        Ok(connect(connection)?.call::<call::GroupList>(Nothing {}).await?)
    })?;
    show(&groups, connection)
}

fn set(change: GroupChange, connection: &Connection) -> anyhow::Result<()> {
    let group = process::block_on(async {
        Ok(connect(connection)?.call::<call::GroupSet>(change).await?)
    })?;
    show(&[group], connection)
}

fn show(groups: &[Group], connection: &Connection) -> anyhow::Result<()> {
    if connection.json {
        return output::print_json(&groups);
    }
    let mut table = Table::new([
        ("NAME", Align::Left),
        ("UP", Align::Right),
        ("DOWN", Align::Right),
        ("TORRENTS", Align::Right),
        ("", Align::Left),
    ]);
    for group in groups {
        let own = if group.honors_session_limits { "" } else { "not under the daemon's limits" };
        table.push([
            group.name.clone(),
            human::limit(group.upload_limit),
            human::limit(group.download_limit),
            group.torrents.to_string(),
            own.to_owned(),
        ]);
    }
    output::print(&table.render())
}

fn remove(name: String, connection: &Connection) -> anyhow::Result<()> {
    process::block_on(async {
        let client = connect(connection)?;
        client.call::<call::GroupRemove>(GroupName { name: name.clone() }).await?;
        Ok(())
    })?;
    match connection.json {
        true => output::print_json(&name),
        false => output::print(&format!("removed: {}\n", human::plain(&name))),
    }
}
