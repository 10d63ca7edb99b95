//! torrent_get.

use super::{Control, resolve, unix_now};
use crate::{execute::Outcome, limits, trackers, view::View};
use api::{
    Dialect, Writer,
    ids::Selector,
    params::{Params, TorrentGet},
    torrent::{TorrentField, TorrentList},
};
use bytes::Bytes;
use engine::{
    Session,
    status::{Catalog, Detail, TorrentId},
};
use std::{collections::HashMap, sync::Arc, time::Instant};
use tokio::task::JoinSet;

/// Bytes that a field takes in an answer on the average, with its name.
const BYTES_PER_FIELD: usize = 24;

pub(super) async fn torrent_get(control: Arc<Control>, params: Params) -> Outcome<Bytes> {
    let question = (params.dialect(), TorrentGet::parse(&params)?);
    if !may_be_kept(&question.1) {
        return Ok(answer(&control, &question).await.into());
    }
    let (counter, now) = (control.session.read(Catalog::change_counter), Instant::now());
    if let Some(kept) = control.kept.find(&question, counter, now) {
        return Ok(kept);
    }
    let answer = Bytes::from(answer(&control, &question).await);
    control.kept.keep(question, counter, now, &answer);
    Ok(answer)
}

/// Whether the answer depends on nothing but the catalog and the second.
fn may_be_kept(get: &TorrentGet) -> bool {
    use TorrentField as F;
    let elsewhere = [F::peers, F::availability, F::trackers, F::tracker_stats];
    get.ids == Selector::All && !get.fields.iter().any(|field| elsewhere.contains(field))
}

async fn answer(control: &Control, (dialect, get): &(Dialect, TorrentGet)) -> Vec<u8> {
    let ids = control.session.read(|catalog| resolve(catalog, &get.ids));
    let asks = |field| get.fields.contains(&field);
    let details = if asks(TorrentField::peers) || asks(TorrentField::availability) {
        details(&control.session, &ids).await
    } else {
        HashMap::new()
    };
    let with_trackers = asks(TorrentField::trackers) || asks(TorrentField::tracker_stats);
    if asks(TorrentField::queue_position) {
        control.session.settle_queue();
    }
    let settings = control.session.settings();
    let copies = control.config_dir.join("torrents");
    let buffer = Vec::with_capacity(256 + ids.len() * get.fields.len() * BYTES_PER_FIELD);
    let mut writer = Writer::new(buffer, *dialect);
    writer.begin_object();
    let known: Vec<_> = match with_trackers {
        true => ids.iter().map(|&id| control.session.trackers(id)).collect(),
        false => Vec::new(),
    };
    control.session.read(|catalog| {
        if get.ids == Selector::RecentlyActive {
            writer.key("removed");
            write_removed(&mut writer, catalog);
        }
        writer.key("torrents");
        let mut list = TorrentList::begin(&mut writer, get);
        for (at, id) in ids.iter().enumerate() {
            // One that was removed meanwhile is left out.
            let Some(torrent) = catalog.get(*id) else { continue };
            list.push(&View {
                torrent,
                settings: &settings,
                detail: details.get(id),
                copies: &copies,
                trackers: known.get(at).map_or(Vec::new(), |known| trackers::of(torrent, known)),
            });
        }
        list.end();
    });
    writer.end_object();
    writer.finish()
}

fn write_removed(writer: &mut Writer, catalog: &Catalog) {
    let removed = catalog.removed_at_or_after(unix_now().saturating_sub(limits::RECENT));
    let removed: Vec<u32> = removed.into_iter().map(|id| id.0).collect();
    writer.value(&removed);
}

/// What only shards know, asked of several at a time.
async fn details(session: &Session, ids: &[TorrentId]) -> HashMap<TorrentId, Detail> {
    let mut details = HashMap::with_capacity(ids.len());
    let mut asked = JoinSet::new();
    let mut ids = ids.iter().copied();
    loop {
        while asked.len() < limits::DETAILS_AT_ONCE
            && let Some(id) = ids.next()
        {
            let session = session.clone();
            asked.spawn(async move { (id, session.detail(id).await) });
        }
        match asked.join_next().await {
            Some(Ok((id, Some(detail)))) => {
                details.insert(id, detail);
            }
            Some(_) => {}
            None => return details,
        }
    }
}
