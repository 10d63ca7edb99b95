//! Commands for a running daemon, over the native API.

mod add;
mod columns;
mod detail;
mod edit;
mod groups;
mod limits;
mod list;
mod orders;
mod queue;
mod server;
mod top;
mod wait;

pub use add::add;
pub use detail::{files, peers, show, trackers};
pub use edit::edit;
pub use groups::group;
pub use limits::limit;
pub use list::list;
pub use orders::{announce, relocate, remove, rename, start, stop, verify};
pub use queue::queue;
pub use server::{blocklist, call, events, port_test, settings, shutdown, space, stats};
pub use top::top;

use crate::{
    cli::{ChosenArgs, Connection, FilterArgs},
    config,
    failure::Failed,
    human, output,
};
use api::native::{Field, Filter, List, Listing, Selection, Torrent, TorrentRef, call as method};
use client::{Client, Login, Target};

/// The name of the socket in the daemon's folder.
pub const SOCKET: &str = "control.sock";

/// Where a daemon listens unless it is told otherwise.
const DEFAULT_URL: &str = "http://127.0.0.1:9091";

/// The client for the daemon that the flags name.
fn connect(connection: &Connection) -> anyhow::Result<Client> {
    let target = match (&connection.url, &connection.config_dir) {
        (Some(url), _) => Target::parse(url)?,
        (None, Some(dir)) => Target::Socket(std::path::absolute(dir)?.join(SOCKET)),
        (None, None) => {
            let socket = config::default_dir()?.join(SOCKET);
            if socket.exists() { Target::Socket(socket) } else { Target::parse(DEFAULT_URL)? }
        }
    };
    let login = match (&connection.token, &connection.user) {
        (Some(token), _) => Login::Token(token.clone()),
        (None, Some(user)) => Login::Password {
            user: user.clone(),
            password: connection.password.clone().unwrap_or_default(),
        },
        (None, None) => Login::None,
    };
    Ok(Client::new(target, login)?)
}

/// A torrent by its id or info-hash.
fn reference(text: &str) -> anyhow::Result<TorrentRef> {
    match text.parse() {
        Ok(id) => Ok(TorrentRef::Id(id)),
        Err(_) if api::ids::hash(text).is_some() => Ok(TorrentRef::Hash(text.to_owned())),
        Err(_) => Err(Failed::missing(format!(
            "'{text}' is no id: give a number or info-hash of `ringseed list`, or `all`"
        ))),
    }
}

fn filter(args: &FilterArgs) -> Filter {
    Filter {
        states: args.states.clone(),
        labels: args.labels.clone(),
        tracker: args.tracker.clone(),
        name: args.name.clone(),
        error: args.error.then_some(true),
        active: args.active.then_some(true),
        complete: args.incomplete.then_some(false),
    }
}

/// The torrents that ids or filters name.
fn selection(ids: &[String], args: &FilterArgs) -> anyhow::Result<Selection> {
    if ids.iter().any(|id| id == "all") {
        return Ok(Selection::ALL);
    }
    match ids {
        [] => Ok(Selection::Matching(filter(args))),
        ids => ids.iter().map(|id| reference(id)).collect::<Result<_, _>>().map(Selection::These),
    }
}

/// The chosen torrents with these fields.
async fn chosen(
    client: &Client,
    args: &ChosenArgs,
    fields: &[Field],
) -> anyhow::Result<Vec<Torrent>> {
    let list = List {
        torrents: Some(selection(&args.ids, &args.filter)?),
        fields: Some(fields.to_vec()),
        ..List::default()
    };
    let Listing { torrents, .. } = client.call::<method::TorrentList>(list).await?;
    Ok(torrents)
}

/// A selection of just these.
fn exactly(torrents: &[Torrent]) -> Selection {
    Selection::These(torrents.iter().map(|torrent| TorrentRef::Id(torrent.id)).collect())
}

/// Says for each torrent what became of it.
fn say(connection: &Connection, done: &str, torrents: &[Torrent]) -> anyhow::Result<()> {
    if connection.json {
        return output::print_json(&torrents);
    }
    let line = |torrent: &Torrent| {
        let name = human::plain(torrent.name.as_deref().unwrap_or_default());
        format!("{done}: {} {name}\n", torrent.id)
    };
    output::print(&torrents.iter().map(line).collect::<String>())
}
