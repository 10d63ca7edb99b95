//! torrent_get.

use super::{
    Control,
    kept::{Kept, Parts, Unchanged},
    resolve, unix_now,
};
use crate::{execute::Outcome, limits, trackers, view::View};
use api::{
    Dialect, RpcError, Writer,
    ids::Selector,
    params::{Params, TorrentGet},
    torrent::{TorrentField, TorrentList},
};
use bytes::Bytes;
use engine::{
    Session,
    settings::Settings,
    status::{Catalog, Detail, TorrentId},
};
use std::{collections::HashMap, sync::Arc, time::Instant};
use tokio::task::JoinSet;

/// Bytes that a field takes in an answer on the average, with its name.
const BYTES_PER_FIELD: usize = 24;

pub(super) async fn torrent_get(control: Arc<Control>, params: Params) -> Outcome<Bytes> {
    let question = (params.dialect(), TorrentGet::parse(&params)?);
    if !may_be_kept(&question.1) {
        return Ok(answer(&control, &question).await?.into());
    }
    let (counter, now) = (control.session.read(Catalog::change_counter), Instant::now());
    let kept = control.kept.find(&question);
    if let Some(kept) = &kept
        && kept.is_true(counter, now)
    {
        return Ok(kept.answer.clone());
    }
    let settings = control.session.settings();
    let base = kept.filter(|kept| may_be_continued(&question.1) && kept.settings == settings);
    if asks(&question.1, TorrentField::queue_position) {
        control.session.settle_queue();
    }
    let (answer, parts) =
        list(&control, &question, &settings, base.as_deref()).ok_or_else(too_large)?;
    let answer = Bytes::from(answer);
    let kept = Kept { question, settings, counter, made: now, answer: answer.clone(), parts };
    control.kept.keep(kept);
    Ok(answer)
}

fn asks(get: &TorrentGet, field: TorrentField) -> bool {
    get.fields.contains(&field)
}

/// Whether the answer depends on nothing but the catalog, the settings and the second.
fn may_be_kept(get: &TorrentGet) -> bool {
    use TorrentField as F;
    let elsewhere = [F::peers, F::availability, F::trackers, F::tracker_stats];
    get.ids == Selector::All && !elsewhere.into_iter().any(|field| asks(get, field))
}

/// Whether it also says the same of a torrent until that has changed.
fn may_be_continued(get: &TorrentGet) -> bool {
    use TorrentField as F;
    let of_time = [F::eta_idle, F::is_stalled, F::seconds_downloading, F::seconds_seeding];
    // Moving one torrent moves others in the queue.
    let of_others = [F::queue_position];
    !of_time.into_iter().chain(of_others).any(|field| asks(get, field))
}

/// All torrents, and where each is in the answer. Those that have not changed since the base was
/// made are copied from it. `None` if it would be too large.
fn list(
    control: &Control,
    (dialect, get): &(Dialect, TorrentGet),
    settings: &Settings,
    base: Option<&Kept>,
) -> Option<(Vec<u8>, Parts)> {
    let copies = control.config_dir.join("torrents");
    control.session.read(|catalog| {
        let expected =
            (catalog.len() * get.fields.len() * BYTES_PER_FIELD).min(limits::ANSWER_RESERVE);
        let size = 256 + base.map_or(expected, Kept::length);
        let mut writer = Writer::new(Vec::with_capacity(size), *dialect);
        writer.begin_object();
        writer.key("torrents");
        let mut list = TorrentList::begin(&mut writer, get);
        let mut parts = Parts::with_capacity(catalog.len());
        let mut base = base.map(|base| Unchanged::since(base, catalog));
        for torrent in catalog.iter() {
            let mut unchanged = base.as_mut();
            if unchanged.as_mut().is_some_and(|base| base.take(torrent.id)) {
                continue;
            }
            if let Some(base) = unchanged {
                base.copy(&mut list, &mut parts);
            }
            let (detail, trackers) = (None, Vec::new());
            let view = View { torrent, settings, detail, copies: &copies, trackers };
            list.push(&view);
            if list.written() > limits::ANSWER_BYTES {
                return None;
            }
            parts.push(torrent.id, list.written());
        }
        if let Some(base) = &mut base {
            base.copy(&mut list, &mut parts);
        }
        list.end();
        writer.end_object();
        Some((writer.finish(), parts))
    })
}

/// An answer that needs more than the catalog, or is about some torrents.
async fn answer(control: &Control, (dialect, get): &(Dialect, TorrentGet)) -> Outcome {
    let ids = control.session.read(|catalog| resolve(catalog, &get.ids));
    let asks = |field| asks(get, field);
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
    let expected = 256 + ids.len() * get.fields.len() * BYTES_PER_FIELD;
    let buffer = Vec::with_capacity(expected.min(limits::ANSWER_RESERVE));
    let mut writer = Writer::new(buffer, *dialect);
    writer.begin_object();
    let known: Vec<_> = match with_trackers {
        true => ids.iter().map(|&id| control.session.trackers(id)).collect(),
        false => Vec::new(),
    };
    let fits = control.session.read(|catalog| {
        if get.ids == Selector::RecentlyActive {
            writer.key("removed");
            write_removed(&mut writer, catalog);
        }
        writer.key("torrents");
        let mut list = TorrentList::begin(&mut writer, get);
        for (at, id) in ids.iter().enumerate() {
            // One that was removed meanwhile is left out.
            let Some(torrent) = catalog.get(*id) else { continue };
            if list.written() > limits::ANSWER_BYTES {
                return false;
            }
            list.push(&View {
                torrent,
                settings: &settings,
                detail: details.get(id),
                copies: &copies,
                trackers: known.get(at).map_or(Vec::new(), |known| trackers::of(torrent, known)),
            });
        }
        list.end();
        true
    });
    if !fits {
        return Err(too_large());
    }
    writer.end_object();
    Ok(writer.finish())
}

fn too_large() -> RpcError {
    RpcError::invalid("the answer would be too large: ask for fewer torrents or fields at a time")
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
