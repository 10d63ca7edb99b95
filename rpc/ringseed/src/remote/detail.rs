//! One torrent in detail: `ringseed show`, `files`, `trackers`, `peers`.

use super::{columns, connect, reference, selection};
use crate::{
    cli::{ChosenArgs, OneArgs, PeersArgs},
    human, output, process,
    table::{Align, Table},
};
use api::native::{
    AddPeers, Call, File, FlagSet, GoalOf, IdleGoal, List, Listing, Nothing, One, Peer, Priority,
    RatioGoal, Torrent, TorrentRef, Tracker, TrackerState, call,
};
use client::Client;
use serde::Serialize;
use std::fmt::Write;

/// Everything about a torrent; what `ringseed show --json` prints.
#[derive(Serialize)]
struct Sheet {
    #[serde(flatten)]
    torrent: Torrent,
    files: Vec<File>,
    tracker_states: Vec<Tracker>,
    connected: Vec<Peer>,
}

pub fn show(args: ChosenArgs) -> anyhow::Result<()> {
    let sheets = process::block_on(async {
        let client = connect(&args.connection)?;
        let torrents = Some(selection(&args.ids, &args.filter)?);
        let list = List { torrents, ..List::default() };
        let Listing { torrents, .. } = client.call::<call::TorrentList>(list).await?;
        let mut sheets = Vec::with_capacity(torrents.len());
        for torrent in torrents {
            let one = || One { torrent: TorrentRef::Id(torrent.id) };
            sheets.push(Sheet {
                files: client.call::<call::TorrentFiles>(one()).await?,
                tracker_states: client.call::<call::TorrentTrackers>(one()).await?,
                connected: client.call::<call::TorrentPeers>(one()).await?,
                torrent,
            });
        }
        Ok(sheets)
    })?;
    if args.connection.json {
        return output::print_json(&sheets);
    }
    output::print(&sheets.iter().map(sheet).collect::<Vec<_>>().join("\n"))
}

fn sheet(sheet: &Sheet) -> String {
    let torrent = &sheet.torrent;
    let text = |text: &Option<String>| human::plain(text.as_deref().unwrap_or_default());
    let number = |number: Option<u64>| number.unwrap_or(0);
    let yes = |yes: Option<bool>| if yes == Some(true) { "yes" } else { "no" }.to_owned();
    let date = |time: Option<Option<u64>>| time.flatten().map(human::date).unwrap_or_default();
    let pieces = format!(
        "{} of {} bytes",
        torrent.piece_count.unwrap_or(0),
        torrent.piece_length.unwrap_or(0)
    );
    let mut lines = vec![
        ("Name", text(&torrent.name)),
        ("Id", torrent.id.to_string()),
        ("Info-hash", text(&torrent.info_hash)),
        ("Status", columns::status(torrent)),
        ("Error", human::plain(&columns::error(torrent))),
        (
            "Done",
            format!("{} of {}", columns::done(torrent), human::bytes(number(torrent.wanted_size))),
        ),
        ("Time left", columns::eta(torrent)),
        ("Size", columns::size(torrent)),
        ("Pieces", pieces),
        ("Folder", text(&torrent.download_dir)),
        ("Labels", human::plain(&torrent.labels.clone().unwrap_or_default().join(", "))),
        ("Private", yes(torrent.private)),
        ("In order", yes(torrent.sequential)),
        ("Peer limit", torrent.peer_limit.unwrap_or(0).to_string()),
        ("Queue place", torrent.queue_position.unwrap_or(0).to_string()),
        ("Priority", columns::priority(torrent)),
        ("Limits", limits(torrent)),
        ("Group", human::plain(&torrent.group.clone().flatten().unwrap_or_default())),
        ("Seeds until", goals(torrent)),
        ("Downloaded", transfer(number(torrent.downloaded), number(torrent.download_rate))),
        ("Uploaded", transfer(number(torrent.uploaded), number(torrent.upload_rate))),
        ("Ratio", columns::ratio(torrent)),
        ("Corrupt", human::bytes(number(torrent.corrupt))),
        ("Added", torrent.added_at.map(human::date).unwrap_or_default()),
        ("Completed", date(torrent.completed_at)),
        ("Last active", date(torrent.active_at)),
        ("Comment", text(&torrent.comment)),
        ("Made by", text(&torrent.creator)),
    ];
    lines.retain(|(_, value)| !value.is_empty());
    let mut out = String::new();
    for (name, value) in lines {
        // Writing to memory cannot fail.
        let _ = writeln!(out, "{name:<12} {value}");
    }
    for (title, table) in [
        ("Files", files_table(&sheet.files)),
        ("Trackers", trackers_table(&sheet.tracker_states)),
        ("Peers", peers_table(&sheet.connected)),
    ] {
        let _ = write!(out, "\n{title}\n{}", table.render());
    }
    out
}

/// Its own speed limits; nothing if it has none.
fn limits(torrent: &Torrent) -> String {
    let own = |way: &str, limit: Option<Option<u64>>| {
        limit.flatten().map(|limit| format!("{way} {}", human::limit(Some(limit))))
    };
    let limits = [own("up", torrent.upload_limit), own("down", torrent.download_limit)];
    let free = torrent.honors_session_limits == Some(false);
    let free = free.then(|| "not under the daemon's".to_owned());
    limits.into_iter().flatten().chain(free).collect::<Vec<_>>().join(", ")
}

/// Its own goals of seeding; nothing if they are those of the settings.
fn goals(torrent: &Torrent) -> String {
    let ratio = torrent.ratio_goal.and_then(|goal| match goal {
        RatioGoal::Of(GoalOf::Settings) => None,
        RatioGoal::Of(GoalOf::None) => Some("any ratio".to_owned()),
        RatioGoal::Ratio(ratio) => Some(format!("ratio {ratio:.2}")),
    });
    let idle = torrent.idle_goal.and_then(|goal| match goal {
        IdleGoal::Of(GoalOf::Settings) => None,
        IdleGoal::Of(GoalOf::None) => Some("idle for any time".to_owned()),
        IdleGoal::Seconds(time) => Some(format!("idle for {}", human::duration(i64::from(time)))),
    });
    let reached = torrent.goal_reached == Some(true);
    let reached = reached.then(|| "reached".to_owned());
    ratio.into_iter().chain(idle).chain(reached).collect::<Vec<_>>().join(", ")
}

fn transfer(total: u64, rate: u64) -> String {
    match rate {
        0 => human::bytes(total),
        rate => format!("{} ({})", human::bytes(total), human::rate(rate)),
    }
}

/// A command that prints one list about one torrent.
fn one<C>(args: &OneArgs, table: fn(&[C::Item]) -> Table) -> anyhow::Result<()>
where
    C: ListCall,
{
    let list = process::block_on(async {
        let client = connect(&args.connection)?;
        let one = One { torrent: reference(&args.id)? };
        Ok(C::items(client.call::<C>(one).await?))
    })?;
    if args.connection.json {
        return output::print_json(&list);
    }
    output::print(&table(&list).render())
}

/// A method about one torrent that gives a list.
trait ListCall: Call<Params = One> {
    type Item: Serialize;
    fn items(output: Self::Output) -> Vec<Self::Item>;
}

impl ListCall for call::TorrentFiles {
    type Item = File;
    fn items(output: Vec<File>) -> Vec<File> {
        output
    }
}

impl ListCall for call::TorrentTrackers {
    type Item = Tracker;
    fn items(output: Vec<Tracker>) -> Vec<Tracker> {
        output
    }
}

impl ListCall for call::TorrentPeers {
    type Item = Peer;
    fn items(output: Vec<Peer>) -> Vec<Peer> {
        output
    }
}

pub fn files(args: OneArgs) -> anyhow::Result<()> {
    one::<call::TorrentFiles>(&args, files_table)
}

pub fn trackers(args: OneArgs) -> anyhow::Result<()> {
    one::<call::TorrentTrackers>(&args, trackers_table)
}

pub fn peers(args: PeersArgs) -> anyhow::Result<()> {
    let PeersArgs { id, add, connection } = args;
    if add.is_empty() {
        return one::<call::TorrentPeers>(&OneArgs { id, connection }, peers_table);
    }
    let count = add.len();
    let Nothing {} = process::block_on(async {
        let client: Client = connect(&connection)?;
        let params = AddPeers { torrent: reference(&id)?, peers: add };
        Ok(client.call::<call::TorrentAddPeers>(params).await?)
    })?;
    output::print(&format!("connecting to {count} peers\n"))
}

fn files_table(files: &[File]) -> Table {
    let mut table = Table::new([
        ("#", Align::Right),
        ("DONE", Align::Right),
        ("PRIORITY", Align::Left),
        ("SIZE", Align::Right),
        ("PATH", Align::Left),
    ]);
    for file in files {
        let share = if file.size == 0 { 1.0 } else { file.have as f64 / file.size as f64 };
        let priority = match file.priority {
            Priority::Skip => "skip",
            Priority::Low => "low",
            Priority::Normal => "normal",
            Priority::High => "high",
        };
        table.push([
            file.file.to_string(),
            human::percent(share),
            priority.to_owned(),
            human::bytes(file.size),
            file.path.clone(),
        ]);
    }
    table
}

fn trackers_table(trackers: &[Tracker]) -> Table {
    let mut table = Table::new([
        ("TIER", Align::Right),
        ("STATE", Align::Left),
        ("SEEDS", Align::Right),
        ("LEECHES", Align::Right),
        ("PEERS", Align::Right),
        ("LAST ANNOUNCE", Align::Left),
        ("URL", Align::Left),
    ]);
    let known =
        |count: Option<u32>| count.map_or_else(|| "-".to_owned(), |count| count.to_string());
    for tracker in trackers {
        let state = match tracker.state {
            TrackerState::Idle => "idle",
            TrackerState::Waiting => "waiting",
            TrackerState::Queued => "queued",
            TrackerState::Announcing => "announcing",
        };
        table.push([
            tracker.tier.to_string(),
            state.to_owned(),
            known(tracker.seeds),
            known(tracker.leeches),
            tracker.peers.to_string(),
            tracker.message.clone(),
            tracker.announce.clone(),
        ]);
    }
    table
}

fn peers_table(peers: &[Peer]) -> Table {
    let mut table = Table::new([
        ("ADDRESS", Align::Left),
        ("FLAGS", Align::Left),
        ("DONE", Align::Right),
        ("DOWN", Align::Right),
        ("UP", Align::Right),
        ("CLIENT", Align::Left),
    ]);
    for peer in peers {
        table.push([
            peer.address.clone(),
            flags(&peer.flags),
            human::percent(peer.progress),
            human::rate(peer.download_rate),
            human::rate(peer.upload_rate),
            peer.client.clone(),
        ]);
    }
    table
}

/// A letter for each: what we want, what it wants (small if the other side chokes), and I for a
/// connection that came in.
fn flags(flags: &FlagSet) -> String {
    let letters = [
        (flags.optimistic, 'O'),
        (flags.we_are_interested && !flags.chokes_us, 'D'),
        (flags.we_are_interested && flags.chokes_us, 'd'),
        (flags.is_interested && !flags.choked, 'U'),
        (flags.is_interested && flags.choked, 'u'),
        (flags.incoming, 'I'),
    ];
    letters.iter().filter(|(holds, _)| *holds).map(|(_, letter)| letter).collect()
}
