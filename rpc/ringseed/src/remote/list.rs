//! `ringseed list`

use super::{columns, connect, filter, reference};
use crate::{cli::ListArgs, failure::Failed, human, output, process, table::Align, table::Table};
use api::native::{List, Listing, Selection, call};

pub fn list(args: ListArgs) -> anyhow::Result<()> {
    let filter = filter(&args.filter);
    let torrents = match (&args.ids[..], filter.is_open()) {
        ([], _) => Selection::Matching(filter),
        (ids, true) => {
            Selection::These(ids.iter().map(|id| reference(id)).collect::<Result<_, _>>()?)
        }
        _ => return Err(Failed::usage("give either ids or filters")),
    };
    let params = List {
        torrents: Some(torrents),
        fields: Some(columns::FIELDS.to_vec()),
        sort: args.sort,
        descending: args.reverse,
        limit: args.limit,
        ..List::default()
    };
    let Listing { torrents, .. } = process::block_on(async {
        Ok(connect(&args.connection)?.call::<call::TorrentList>(params).await?)
    })?;
    if args.connection.json {
        return output::print_json(&torrents);
    }
    if args.quiet {
        return output::print(
            &torrents.iter().map(|torrent| format!("{}\n", torrent.id)).collect::<String>(),
        );
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
        table.push([
            torrent.id.to_string(),
            columns::status(torrent),
            columns::done(torrent),
            columns::size(torrent),
            columns::down(torrent),
            columns::up(torrent),
            columns::ratio(torrent),
            columns::peers(torrent),
            columns::eta(torrent),
            columns::name(torrent),
        ]);
    }
    let total = |of: fn(&api::native::Torrent) -> Option<u64>| {
        human::rate(torrents.iter().filter_map(of).sum())
    };
    let (down, up) = (total(|torrent| torrent.download_rate), total(|torrent| torrent.upload_rate));
    let footer = match torrents.len() {
        0 => "no torrents\n".to_owned(),
        1 => format!("1 torrent, down {down}, up {up}\n"),
        count => format!("{count} torrents, down {down}, up {up}\n"),
    };
    output::print(&(table.render() + &footer))
}
