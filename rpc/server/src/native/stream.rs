//! Subscriptions: torrent changes, events, figures.
//!
//! A message is made when its subscriber can take it, from what is the case then. A subscriber that
//! does not read holds up its own task and nothing else: what happens meanwhile is told in one go
//! later, as a fresh snapshot if it was long.

use super::{Control, Ledger, list, server};
use crate::limits;
use api::native::{
    Event as Native, EventKind, EventStream, Field, LEAST_INTERVAL, MOST_INTERVAL,
    StatisticsStream, TorrentStream,
};
use engine::{
    Event, Notice, Session,
    status::{Catalog, Torrent},
};
use jsonrpsee::SubscriptionSink;
use serde_json::value::{RawValue, to_raw_value};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::broadcast::error::RecvError,
    time::{Instant, MissedTickBehavior},
};

fn interval(milliseconds: u32) -> tokio::time::Interval {
    let milliseconds = milliseconds.clamp(LEAST_INTERVAL, MOST_INTERVAL);
    let mut interval = tokio::time::interval(Duration::from_millis(u64::from(milliseconds)));
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// Sends a message; `false` when nobody is there any more.
async fn send(sink: &SubscriptionSink, message: Vec<u8>) -> bool {
    match list::raw(message) {
        Ok(message) => deliver(sink, message).await,
        Err(_) => false,
    }
}

async fn deliver(sink: &SubscriptionSink, message: Box<RawValue>) -> bool {
    sink.send(message).await.is_ok()
}

/// A place in the ledger for as long as a subscription lasts.
struct Reading<'a>(&'a Mutex<Ledger>);

impl<'a> Reading<'a> {
    fn open(ledger: &'a Mutex<Ledger>) -> Reading<'a> {
        let reading = Reading(ledger);
        reading.lock().open();
        reading
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        // It is whole between any two of its changes.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.lock().close();
    }
}

pub(super) async fn torrents(control: Arc<Control>, params: TorrentStream, sink: SubscriptionSink) {
    let fields = list::distinct(params.fields);
    let reading = Reading::open(&control.ledger);
    let mut ticks = interval(params.interval);
    let mut told: Option<u64> = None;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = sink.closed() => return,
        }
        let message = message(&control.session, &reading, &fields, told);
        let Some((counter, text)) = message else { continue };
        let begun = Instant::now();
        if !send(&sink, text).await {
            return;
        }
        // Who kept us waiting for long gets the whole state anew; but not after the whole state, or
        // a slow line would get nothing else.
        let is_slow = told.is_some() && begun.elapsed() >= limits::SLOW_SUBSCRIBER;
        told = (!is_slow).then_some(counter);
    }
}

/// What is to be told, and the counter it is told up to; `None` if nothing has changed.
fn message(
    session: &Session,
    reading: &Reading<'_>,
    fields: &[Field],
    told: Option<u64>,
) -> Option<(u64, Vec<u8>)> {
    session.settle_queue();
    session
        .read(|catalog| {
            if told == Some(catalog.change_counter()) {
                return None;
            }
            let mut ledger = reading.lock();
            ledger.advance(catalog);
            let counter = catalog.change_counter();
            let removed = told.and_then(|told| catalog.removed_since(told));
            let text = match (told, removed) {
                (Some(told), Some(removed)) => {
                    let text = delta(catalog, &ledger, fields, told);
                    if text.is_empty() && removed.is_empty() {
                        return Some((counter, None));
                    }
                    let removed: Vec<u32> = removed.into_iter().map(|id| id.0).collect();
                    framed(counter, false, &text, &removed)
                }
                _ => framed(counter, true, &snapshot(catalog, fields), &[]),
            };
            Some((counter, Some(text)))
        })
        .and_then(|(counter, text)| Some((counter, text?)))
}

fn framed(counter: u64, snapshot: bool, torrents: &[u8], removed: &[u32]) -> Vec<u8> {
    let before = format!("{{\"counter\":{counter},\"snapshot\":{snapshot},\"torrents\":[");
    let after = format!("],\"removed\":{removed:?}}}");
    [before.as_bytes(), torrents, after.as_bytes()].concat()
}

/// All torrents, separated by commas.
pub(super) fn snapshot(catalog: &Catalog, fields: &[Field]) -> Vec<u8> {
    let mut out = Vec::new();
    for torrent in catalog.iter() {
        push(&mut out, torrent, fields.iter().copied());
    }
    out
}

/// Changed fields of torrents changed since, separated by commas.
pub(super) fn delta(catalog: &Catalog, ledger: &Ledger, fields: &[Field], told: u64) -> Vec<u8> {
    let mut out = Vec::new();
    for torrent in catalog.changed_since(told) {
        let changed = ledger.changed(torrent, told);
        let mut news = fields.iter().copied().filter(|field| changed(*field)).peekable();
        // A torrent is told of when it is new, even if nothing is asked of it but its number.
        if news.peek().is_some() || ledger.is_new(torrent, told) {
            push(&mut out, torrent, news);
        }
    }
    out
}

fn push(out: &mut Vec<u8>, torrent: &Torrent, fields: impl Iterator<Item = Field>) {
    if !out.is_empty() {
        out.push(b',');
    }
    list::write(out, torrent, fields);
}

pub(super) async fn figures(
    control: Arc<Control>,
    params: StatisticsStream,
    sink: SubscriptionSink,
) {
    let mut ticks = interval(params.interval);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = sink.closed() => return,
        }
        let Ok(message) = to_raw_value(&server::figures(&control.session)) else { return };
        if !deliver(&sink, message).await {
            return;
        }
    }
}

pub(super) async fn events(control: Arc<Control>, params: EventStream, sink: SubscriptionSink) {
    let mut events = control.session.events();
    let wanted = |kind| {
        kind == EventKind::Missed || params.kinds.as_ref().is_none_or(|kinds| kinds.contains(&kind))
    };
    loop {
        let received = tokio::select! {
            received = events.recv() => received,
            () = sink.closed() => return,
        };
        let event = match received {
            Ok(notice) => told(notice),
            Err(RecvError::Lagged(missed)) => {
                Native { missed: Some(missed), ..Native::new(crate::unix_now(), EventKind::Missed) }
            }
            Err(RecvError::Closed) => return,
        };
        if !wanted(event.kind) {
            continue;
        }
        let Ok(message) = to_raw_value(&event) else { return };
        if !deliver(&sink, message).await {
            return;
        }
    }
}

/// An event as it is told.
fn told(notice: Notice) -> Native {
    let mut event = Native::new(notice.at, EventKind::Added);
    if let Some(torrent) = notice.torrent {
        event.id = Some(torrent.id.0);
        event.info_hash = Some(torrent.info_hash.to_string());
        event.name = Some(torrent.name);
    }
    let mut with = |message: String| event.message = Some(message);
    event.kind = match notice.event {
        Event::Added => EventKind::Added,
        Event::Completed => EventKind::Completed,
        Event::SeedingGoal => EventKind::SeedingGoal,
        Event::Removed => EventKind::Removed,
        Event::Verified => EventKind::Verified,
        Event::Error(message) => {
            with(message);
            EventKind::Error
        }
        Event::TrackerError(message) => {
            with(message);
            EventKind::TrackerError
        }
        Event::TrackerWarning(message) => {
            with(message);
            EventKind::TrackerWarning
        }
        Event::TrackerRecovered => EventKind::TrackerRecovered,
        Event::PeerBanned(address) => {
            event.address = Some(address.to_canonical().to_string());
            EventKind::PeerBanned
        }
        Event::Room { path, free, is_short } => {
            event.path = Some(path.to_string_lossy().into_owned());
            event.free = Some(free);
            if is_short { EventKind::RoomShort } else { EventKind::RoomEnough }
        }
    };
    event
}

/// What a subscription to torrents would send, without a socket: for benches.
#[doc(hidden)]
pub struct Feed {
    session: Session,
    ledger: Mutex<Ledger>,
    fields: Vec<Field>,
    told: Option<u64>,
}

impl Feed {
    /// A subscription with these fields.
    pub fn new(session: Session, fields: Vec<Field>) -> Feed {
        let ledger = Mutex::<Ledger>::default();
        ledger.lock().unwrap_or_else(PoisonError::into_inner).open();
        Feed { session, ledger, fields, told: None }
    }

    /// The next message has the whole state.
    pub fn begin_anew(&mut self) {
        self.told = None;
    }

    /// The next message, if there is anything to tell.
    pub fn next_message(&mut self) -> Option<Vec<u8>> {
        let reading = Reading(&self.ledger);
        let message = message(&self.session, &reading, &self.fields, self.told);
        // The place in the ledger is kept.
        std::mem::forget(reading);
        let (counter, text) = message?;
        self.told = Some(counter);
        Some(text)
    }
}
