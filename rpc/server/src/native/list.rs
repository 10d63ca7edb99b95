//! torrent.list and torrent.get: which torrents, what of them, in which order.

use super::{Control, Outcome, find, view};
use crate::limits::{FILTER_LABELS, FILTER_TEXT};
use api::native::{
    Code, Failure, Field, Filter, List, Named, One, Selection, Torrent as Native, call,
    name_is_like,
};
use engine::status::{Catalog, Torrent, TorrentId};
use serde_json::{Value, value::RawValue};
use std::{cmp::Ordering, collections::HashSet, sync::Arc};
use view::Told;

/// Bytes that a field takes on the average, with its name.
const BYTES_PER_FIELD: usize = 32;

/// The torrents of a selection, each once; those of a list in its order, others by id.
pub(super) fn selected(
    catalog: &Catalog,
    selection: &Selection,
) -> Result<Vec<TorrentId>, Failure> {
    match selection {
        Selection::All(Named::All) => Ok(catalog.iter().map(|torrent| torrent.id).collect()),
        Selection::These(list) => {
            let mut seen = HashSet::new();
            let ids = list.iter().map(|wanted| find(catalog, wanted));
            ids.filter(|id| id.as_ref().map_or(true, |id| seen.insert(*id))).collect()
        }
        Selection::Matching(filter) => {
            check_filter(filter)?;
            let filter = Lowered::new(filter);
            let matching = catalog.iter().filter(|torrent| filter.lets_through(torrent));
            Ok(matching.map(|torrent| torrent.id).collect())
        }
    }
}

/// Refuses a filter that would be long compared with each torrent.
fn check_filter(filter: &Filter) -> Result<(), Failure> {
    let is_long = |text: &Option<String>| text.as_ref().is_some_and(|it| it.len() > FILTER_TEXT);
    let refuse = |text: String| Err(Failure::new(Code::InvalidParams, text));
    match () {
        () if filter.labels.len() > FILTER_LABELS || filter.states.len() > FILTER_LABELS => {
            refuse(format!("a filter has {FILTER_LABELS} labels and states at most"))
        }
        () if is_long(&filter.name) || is_long(&filter.tracker) => {
            refuse(format!("a text to look for has {FILTER_TEXT} bytes at most"))
        }
        () => Ok(()),
    }
}

/// A filter with what is compared in either case in lower case.
struct Lowered<'a> {
    filter: &'a Filter,
    tracker: Option<String>,
}

impl Lowered<'_> {
    fn new(filter: &Filter) -> Lowered<'_> {
        Lowered { filter, tracker: filter.tracker.as_ref().map(|text| text.to_lowercase()) }
    }

    fn lets_through(&self, torrent: &Torrent) -> bool {
        let filter = self.filter;
        let is = |wanted: Option<bool>, has: bool| wanted.is_none_or(|wanted| wanted == has);
        let traffic = &torrent.traffic;
        let has_label = || filter.labels.iter().any(|label| torrent.labels.contains(label));
        let has_tracker = |text: &String| {
            let mut urls = torrent.trackers.iter().flatten();
            urls.any(|url| url.to_lowercase().contains(text.as_str()))
        };
        is(filter.error, torrent.trouble.is_some())
            && is(filter.active, traffic.download_rate + traffic.upload_rate > 0)
            && is(filter.complete, torrent.is_done())
            && (filter.states.is_empty() || filter.states.contains(&view::state(torrent)))
            && (filter.labels.is_empty() || has_label())
            && self.tracker.as_ref().is_none_or(has_tracker)
            && filter
                .name
                .as_ref()
                .is_none_or(|pattern| name_is_like(torrent.meta.layout.name(), pattern))
    }
}

/// Sorts ids by a field; torrents that are equal in it stay in the order of their ids.
fn sort(catalog: &Catalog, ids: &mut [TorrentId], by: Field, descending: bool) {
    let mut buffer = Vec::new();
    let mut key = |id: &TorrentId| {
        buffer.clear();
        let torrent = catalog.get(*id)?;
        by.write(&Told(torrent), &mut buffer);
        serde_json::from_slice::<Value>(&buffer).ok()
    };
    let mut keyed: Vec<(Option<Value>, TorrentId)> = ids.iter().map(|id| (key(id), *id)).collect();
    keyed.sort_by(|(one, _), (other, _)| {
        let order = compare(one.as_ref(), other.as_ref());
        if descending { order.reverse() } else { order }
    });
    for (place, (_, id)) in ids.iter_mut().zip(keyed) {
        *place = id;
    }
}

/// Numbers by size, text in either case; what is not there comes first.
fn compare(one: Option<&Value>, other: Option<&Value>) -> Ordering {
    match (one, other) {
        (Some(Value::Number(one)), Some(Value::Number(other))) => {
            match (one.as_u64(), other.as_u64()) {
                (Some(one), Some(other)) => one.cmp(&other),
                _ => one.as_f64().partial_cmp(&other.as_f64()).unwrap_or(Ordering::Equal),
            }
        }
        (Some(Value::String(one)), Some(Value::String(other))) => {
            one.to_lowercase().cmp(&other.to_lowercase())
        }
        (Some(Value::Bool(one)), Some(Value::Bool(other))) => one.cmp(other),
        (Some(one), Some(other)) => match (one.is_null(), other.is_null()) {
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            _ => one.to_string().cmp(&other.to_string()),
        },
        (one, other) => one.is_some().cmp(&other.is_some()),
    }
}

/// The fields asked for, each once; all if none are named.
pub(super) fn distinct(fields: Option<Vec<Field>>) -> Vec<Field> {
    match fields {
        Some(fields) => {
            let mut seen = HashSet::new();
            fields.into_iter().filter(|field| seen.insert(*field)).collect()
        }
        None => Field::ALL.to_vec(),
    }
}

/// Writes a torrent as an object with its id and these fields.
pub(super) fn write(out: &mut Vec<u8>, torrent: &Torrent, fields: impl Iterator<Item = Field>) {
    let told = Told(torrent);
    out.extend_from_slice(b"{\"id\":");
    out.extend_from_slice(torrent.id.0.to_string().as_bytes());
    for field in fields {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(field.name().as_bytes());
        out.extend_from_slice(b"\":");
        field.write(&told, out);
    }
    out.push(b'}');
}

/// What was written, as an answer.
pub(super) fn raw(out: Vec<u8>) -> Result<Box<RawValue>, Failure> {
    let internal = |text: String| Failure::new(Code::Internal, text);
    let text = String::from_utf8(out).map_err(|error| internal(error.to_string()))?;
    RawValue::from_string(text).map_err(|error| internal(error.to_string()))
}

pub(super) async fn list(control: Arc<Control>, params: List) -> Result<Box<RawValue>, Failure> {
    let selection = params.torrents.unwrap_or(Selection::ALL);
    let fields = distinct(params.fields);
    control.session.settle_queue();
    let out = control.session.read(|catalog| {
        let mut ids = selected(catalog, &selection)?;
        if let Some(by) = params.sort {
            sort(catalog, &mut ids, by, params.descending);
        } else if params.descending {
            ids.reverse();
        }
        let first = ids.len().min(params.offset as usize);
        let most = params.limit.map_or(usize::MAX, |limit| limit as usize);
        let page = ids[first..].iter().take(most);
        let mut out = Vec::with_capacity(64 + page.len() * (fields.len() + 1) * BYTES_PER_FIELD);
        out.extend_from_slice(
            format!(
                "{{\"counter\":{},\"total\":{},\"torrents\":[",
                catalog.change_counter(),
                ids.len()
            )
            .as_bytes(),
        );
        for (at, torrent) in page.filter_map(|id| catalog.get(*id)).enumerate() {
            if at > 0 {
                out.push(b',');
            }
            write(&mut out, torrent, fields.iter().copied());
        }
        out.extend_from_slice(b"]}");
        Ok::<_, Failure>(out)
    })?;
    raw(out)
}

pub(super) async fn get(control: Arc<Control>, params: One) -> Outcome<call::TorrentGet> {
    control.session.settle_queue();
    control.session.read(|catalog| {
        let id = find(catalog, &params.torrent)?;
        let torrent = catalog.get(id).map(|torrent| Native::of(&Told(torrent)));
        torrent.ok_or_else(|| Failure::new(Code::Internal, "the torrent has just gone"))
    })
}
