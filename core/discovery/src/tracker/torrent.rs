//! Which of a torrent's trackers is told what, and when.
//!
//! Trackers are in tiers (BEP 12): each tier is announced to, through one tracker of it at a time.
//! The order within a tier is random at first; one that answers moves to the front, one that fails
//! is left alone for a while, during which the next of its tier is asked.
//!
//! What is owed is state, not a queue: a tracker that is used is owed `started` after each start, one
//! that knows us is owed `stopped` when the torrent stops, a tier may be owed `completed`, and what to
//! say is decided when an announce is about to be sent. So nothing is lost to a failure or a change in between,
//! nothing is said twice, and `started` always comes first.
//!
//! ```text
//!            due()               begin()               finish()
//!   Idle ───────────▶ Queued ───────────▶ Active ───────────────▶ Idle
//!                        └── nothing to say any more ──▶ Idle
//! ```
//!
//! While a tracker of a tier is queued or active for announcing, no other of the tier is, except
//! that a stopping torrent tells all trackers that know it at once.

use super::{
    AnnounceReply, Counts, Event, Moment, Retry, TrackerError,
    status::{AnnounceState, Exchange, TrackerStatus},
    url::TrackerUrl,
};
use crate::limits;
use std::{collections::HashSet, sync::Arc, time::Duration};

/// The trackers of one torrent.
pub struct TorrentTrackers {
    /// Those on the list, then those that are off it and owed a `stopped`: so the indices that
    /// tiers hold stay good while the latter are dropped.
    trackers: Vec<Tracker>,
    tiers: Vec<Tier>,
    running: bool,
    rng: fastrand::Rng,
}

/// Trackers that stand in for one another.
struct Tier {
    /// Indices of its trackers, the one to try first in front.
    order: Vec<usize>,
    owes_completed: bool,
}

struct Tracker {
    id: u32,
    url: Arc<TrackerUrl>,
    host: Arc<str>,
    /// Index of its tier; `None` once it is off the list and only owed a `stopped`.
    tier: Option<usize>,
    step: Step,
    /// It counts us among the peers, perhaps since a former start.
    knows_us: bool,
    /// It has not confirmed that it heard of the last start.
    owes_started: bool,
    /// It asked never to be asked again (BEP 31).
    dismissed: bool,
    tracker_id: Option<Arc<[u8]>>,
    failures: u32,
    stop_failures: u32,
    /// After a failure, when it may be tried again.
    retry_at: Duration,
    /// When the next regular announce is due.
    next_at: Duration,
    /// When the next voluntary announce is allowed.
    allowed_at: Duration,
    announced: Exchange,
    peer_count: u32,
    warning: Option<Arc<str>>,
    scraping: Step,
    scrape_at: Option<Duration>,
    scrape_failures: u32,
    /// It said nothing of this torrent when it was asked for several.
    scrapes_alone: bool,
    scraped: Exchange,
    counts: Counts,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Idle,
    Queued,
    Active(Event),
}

/// How soon a job should be done where not all can be at once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Urgency {
    /// An event: somebody waits for it.
    Event,
    /// A regular announce.
    Regular,
    /// A scrape.
    Scrape,
}

/// Something whose time has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Due {
    /// The tracker's id.
    pub tracker: u32,
    /// Its host and port, by which the pace is kept.
    pub host: Arc<str>,
    /// How soon it should be done; [`Urgency::Scrape`] means to scrape, others to announce.
    pub urgency: Urgency,
}

/// An announce to be sent now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Begin {
    /// Where to.
    pub url: Arc<TrackerUrl>,
    /// What to say.
    pub event: Event,
    /// To be sent along.
    pub tracker_id: Option<Arc<[u8]>>,
}

impl TorrentTrackers {
    /// A stopped torrent with these announce URLs by tier. Tracker ids are drawn from `next_id`.
    pub fn new(tiers: &[Vec<String>], next_id: &mut u32, seed: u64) -> TorrentTrackers {
        let rng = fastrand::Rng::with_seed(seed);
        let mut torrent = TorrentTrackers { trackers: vec![], tiers: vec![], running: false, rng };
        torrent.set_tiers(tiers, next_id, Duration::ZERO);
        torrent
    }

    /// Replaces the list. A tracker that stays keeps its id and state; one that goes and knows us
    /// is told `stopped`. Empty and repeated URLs are left out.
    pub fn set_tiers(&mut self, tiers: &[Vec<String>], next_id: &mut u32, now: Duration) {
        let mut old = std::mem::take(&mut self.trackers);
        let old_tiers = std::mem::take(&mut self.tiers);
        let mut seen = HashSet::new();
        for urls in tiers {
            let mut order = vec![];
            let mut owed = vec![];
            for url in urls.iter().map(|url| url.trim()).filter(|url| !url.is_empty()) {
                if seen.len() >= limits::TRACKERS_PER_TORRENT || !seen.insert(url) {
                    continue;
                }
                let known = old.iter().position(|tracker| &**tracker.url.announce() == url);
                let mut tracker = match known {
                    Some(at) => old.swap_remove(at),
                    None => {
                        *next_id += 1;
                        Tracker::new(*next_id, url)
                    }
                };
                owed.extend(tracker.tier.map(|tier| old_tiers[tier].owes_completed));
                tracker.tier = Some(self.tiers.len());
                order.push(self.trackers.len());
                self.trackers.push(tracker);
            }
            if order.is_empty() {
                continue;
            }
            self.rng.shuffle(&mut order);
            // Those in use stay in use.
            order.sort_by_key(|&at| !self.trackers[at].knows_us);
            let owes_completed = match owed.is_empty() {
                true => old_tiers.iter().any(|tier| tier.owes_completed),
                false => owed.contains(&true),
            };
            self.tiers.push(Tier { order, owes_completed });
        }
        for mut leaving in old {
            if leaving.tier.take().is_some() {
                leaving.prepare_stop(now);
            }
            self.trackers.push(leaving);
        }
        self.forget_gone();
    }

    /// The torrent runs: every tier is told `started`.
    pub fn start(&mut self, now: Duration) {
        if std::mem::replace(&mut self.running, true) {
            return;
        }
        // A completion that nobody has heard of belongs to a former start.
        self.tiers.iter_mut().for_each(|tier| tier.owes_completed = false);
        for tracker in &mut self.trackers {
            tracker.owes_started = true;
            if tracker.tier.is_none() {
                continue;
            }
            // What is under way is of a former start.
            if let Step::Active(event @ (Event::Started | Event::Completed)) = &mut tracker.step {
                *event = Event::Regular;
            }
            tracker.retry_at = now;
            tracker.scrape_at = None;
        }
    }

    /// The torrent stops: every tracker that knows us is told so, a few times if need be.
    pub fn stop(&mut self, now: Duration) {
        if std::mem::replace(&mut self.running, false) {
            self.trackers.iter_mut().for_each(|tracker| tracker.prepare_stop(now));
        }
    }

    /// [`Self::stop`] when there is no time to try again: also for stops that are under way.
    pub fn stop_finally(&mut self, now: Duration) {
        self.stop(now);
        for tracker in &mut self.trackers {
            tracker.retry_at = now;
            tracker.stop_failures = tracker.stop_failures.max(limits::STOP_TRIES - 1);
        }
    }

    /// The download has become complete: every tier is told so, once, after `started`.
    pub fn completed(&mut self) {
        self.tiers.iter_mut().for_each(|tier| tier.owes_completed = true);
    }

    /// A person wants an announce now: it is made as soon as the trackers allow. Trackers that
    /// failed or asked to be left alone get another chance.
    pub fn reannounce(&mut self, now: Duration) {
        for tracker in &mut self.trackers {
            tracker.dismissed = false;
            if tracker.failures > 0 {
                tracker.retry_at = tracker.retry_at.min(now.max(tracker.allowed_at));
            }
            tracker.next_at = tracker.next_at.min(now.max(tracker.allowed_at));
        }
    }

    /// The torrent is short of peers: trackers that work are asked as soon as they allow.
    pub fn want_peers(&mut self, now: Duration) {
        for tracker in self.trackers.iter_mut().filter(|tracker| tracker.failures == 0) {
            tracker.next_at = tracker.next_at.min(now.max(tracker.allowed_at));
        }
    }

    /// Whether it owes nobody anything and nobody owes it an answer, so that it can be dropped.
    pub fn is_quiet(&self) -> bool {
        self.trackers
            .iter()
            .all(|tracker| !matches!(tracker.step, Step::Active(_)) && self.plan(tracker).is_none())
    }

    /// Whether a tracker that knows us has yet to hear or to confirm that we stopped.
    pub fn owes_stopped(&self) -> bool {
        !self.running
            && self.trackers.iter().any(|tracker| tracker.knows_us && self.plan(tracker).is_some())
    }

    /// What is to be done by now. Each is given once, until it is [begun](Self::begin) and
    /// [finished](Self::finish).
    pub fn due(&mut self, now: Duration) -> Vec<Due> {
        let mut due = vec![];
        for at in 0..self.trackers.len() {
            let tracker = &self.trackers[at];
            let announce = self.planned(tracker, now).filter(|&(time, _)| time <= now);
            let scrape = tracker.scrape_at.filter(|&time| self.running && time <= now);
            let tracker = &mut self.trackers[at];
            if let Some((_, event)) = announce {
                tracker.step = Step::Queued;
                let urgency =
                    if event == Event::Regular { Urgency::Regular } else { Urgency::Event };
                due.push(Due { tracker: tracker.id, host: tracker.host.clone(), urgency });
            }
            if scrape.is_some() && tracker.scraping == Step::Idle {
                tracker.scraping = Step::Queued;
                let host = tracker.host.clone();
                due.push(Due { tracker: tracker.id, host, urgency: Urgency::Scrape });
            }
        }
        due
    }

    /// When [`Self::due`] next has something, after it was called at `now`.
    pub fn next_due(&self, now: Duration) -> Option<Duration> {
        let announces = self
            .trackers
            .iter()
            .filter_map(|tracker| self.planned(tracker, now))
            .map(|(time, _)| time);
        let scrapes = self
            .trackers
            .iter()
            .filter(|tracker| self.running && tracker.scraping == Step::Idle)
            .filter_map(|tracker| tracker.scrape_at);
        announces.chain(scrapes).min()
    }

    /// Takes up a queued announce; `None` if there is nothing to say any more.
    pub fn begin(&mut self, id: u32, now: Moment) -> Option<Begin> {
        let at = self.trackers.iter().position(|tracker| tracker.id == id)?;
        if self.trackers[at].step != Step::Queued {
            return None;
        }
        self.trackers[at].step = Step::Idle;
        let planned = self.planned(&self.trackers[at], now.at);
        let Some((_, event)) = planned.filter(|&(time, _)| time <= now.at) else {
            self.forget_gone();
            return None;
        };
        let tracker = &mut self.trackers[at];
        tracker.step = Step::Active(event);
        // Should it be used again, whether it confirms this or not.
        tracker.owes_started |= event == Event::Stopped;
        tracker.announced.start_time = now.unix;
        let (url, tracker_id) = (tracker.url.clone(), tracker.tracker_id.clone());
        Some(Begin { url, event, tracker_id })
    }

    /// The announce that was begun has ended.
    pub fn finish(&mut self, id: u32, now: Moment, result: &Result<AnnounceReply, TrackerError>) {
        let Some(at) = self.trackers.iter().position(|tracker| tracker.id == id) else { return };
        let tracker = &mut self.trackers[at];
        let Step::Active(event) = std::mem::replace(&mut tracker.step, Step::Idle) else { return };
        match result {
            Ok(reply) => {
                tracker.succeeded(event, now, reply, &mut self.rng);
                self.settle(at, event);
            }
            Err(error) => {
                let stopping = !self.running || tracker.tier.is_none();
                let is_goodbye = event == Event::Stopped;
                tracker.failed(now, error, stopping && is_goodbye, &mut self.rng);
                if stopping && !is_goodbye {
                    // `stopped` has tries of its own, and may have no time to wait.
                    tracker.retry_at = now.at;
                }
            }
        }
        self.forget_gone();
    }

    /// The tier of a tracker that answered has had its say, and prefers it from now on.
    fn settle(&mut self, at: usize, event: Event) {
        let Some(tier) = self.trackers[at].tier else { return };
        let tier = &mut self.tiers[tier];
        if event == Event::Completed {
            tier.owes_completed = false;
        }
        if event != Event::Stopped
            && let Some(place) = tier.order.iter().position(|&other| other == at)
        {
            tier.order[..=place].rotate_right(1);
        }
    }

    /// Whether a scrape that is queued, if it is wanted still, may go in one request with others to this
    /// scrape URL.
    pub fn may_join_scrape(&self, id: u32, url: &str) -> bool {
        self.trackers.iter().find(|tracker| tracker.id == id).is_none_or(|tracker| {
            !tracker.scrapes_alone && tracker.url.scrape().is_none_or(|scrape| &**scrape == url)
        })
    }

    /// Takes up a queued scrape; `None` if it is not wanted any more.
    pub fn begin_scrape(&mut self, id: u32, now: Moment) -> Option<Arc<TrackerUrl>> {
        let running = self.running;
        let tracker = self.trackers.iter_mut().find(|tracker| tracker.id == id)?;
        if tracker.scraping != Step::Queued {
            return None;
        }
        tracker.scraping = Step::Idle;
        if !running || tracker.scrape_at.is_none() {
            return None;
        }
        tracker.scraping = Step::Active(Event::Regular);
        tracker.scraped.start_time = now.unix;
        Some(tracker.url.clone())
    }

    /// The scrape that was begun has ended. One that went together with those of others and brought an
    /// answer but no counts is soon made again, alone.
    pub fn finish_scrape(
        &mut self,
        id: u32,
        now: Moment,
        result: &Result<Counts, TrackerError>,
        was_alone: bool,
    ) {
        let Some(tracker) = self.trackers.iter_mut().find(|tracker| tracker.id == id) else {
            return;
        };
        tracker.scraping = Step::Idle;
        tracker.scraped.ended(now, result.as_ref().err());
        let said_no = result.as_ref().is_err_and(TrackerError::is_about_the_question);
        if said_no && !was_alone {
            tracker.scrapes_alone = true;
            tracker.scrape_at = Some(now.at + limits::BACKOFF_FIRST);
            return;
        }
        match result {
            Ok(counts) => {
                tracker.scrape_failures = 0;
                tracker.counts.update(counts);
            }
            Err(_) => tracker.scrape_failures += 1,
        }
        let wait = limits::SCRAPE_INTERVAL * (1 << tracker.scrape_failures.min(5));
        let next = now.at + wait.min(limits::INTERVAL_MAX);
        tracker.scrape_at = Some(end_of(next, limits::SCRAPE_WINDOW));
    }

    /// Another answer to an announce that has been [finished](Self::finish), by another way (the
    /// other address family), brought more peers.
    pub fn more_peers(&mut self, id: u32, count: usize) {
        if let Some(tracker) = self.trackers.iter_mut().find(|tracker| tracker.id == id) {
            tracker.peer_count = tracker.peer_count.saturating_add(count as u32);
        }
    }

    /// How things stand, in the order of the list.
    pub fn statuses(&self, now: Moment) -> Vec<TrackerStatus> {
        self.trackers.iter().filter_map(|tracker| self.status(tracker, now)).collect()
    }

    fn status(&self, tracker: &Tracker, now: Moment) -> Option<TrackerStatus> {
        let tier = tracker.tier?;
        let candidate = self.candidate(&self.tiers[tier], now.at).map(|chosen| chosen.id);
        let planned = self.planned(tracker, now.at).map(|(time, _)| time);
        let scrape_at = tracker.scrape_at.filter(|_| self.running);
        Some(TrackerStatus {
            id: tracker.id,
            tier: tier as u32,
            announce: tracker.url.announce().clone(),
            scrape: tracker.url.scrape().cloned().unwrap_or_default(),
            host: tracker.host.clone(),
            sitename: tracker.url.sitename(),
            is_backup: candidate != Some(tracker.id),
            last_announce: tracker.announced.with_plan(tracker.step, planned, now),
            last_announce_peer_count: tracker.peer_count,
            warning: tracker.warning.clone(),
            last_scrape: tracker.scraped.with_plan(tracker.scraping, scrape_at, now),
            counts: tracker.counts,
        })
    }

    /// What an idle tracker is to be told, and from when.
    fn planned(&self, tracker: &Tracker, now: Duration) -> Option<(Duration, Event)> {
        if tracker.step != Step::Idle {
            return None;
        }
        let (time, event) = self.plan(tracker)?;
        if let Some(tier) = tracker.tier
            && self.running
        {
            let tier = &self.tiers[tier];
            let busy = tier.order.iter().any(|&at| self.trackers[at].is_busy());
            let its_turn = self.candidate(tier, now).is_some_and(|chosen| chosen.id == tracker.id);
            if busy || !its_turn {
                return None;
            }
        }
        Some((time, event))
    }

    /// What a tracker is to be told if it is its tier's turn.
    fn plan(&self, tracker: &Tracker) -> Option<(Duration, Event)> {
        let tier = tracker.tier.map(|tier| &self.tiers[tier]);
        let owes_completed = tier.is_some_and(|tier| tier.owes_completed);
        if !tracker.is_usable() {
            return None;
        }
        if tier.is_some() && self.running {
            let is_started = tracker.knows_us && !tracker.owes_started;
            return Some(match (is_started, owes_completed) {
                (false, _) => (tracker.retry_at, Event::Started),
                (true, true) => (tracker.retry_at, Event::Completed),
                (true, false) => (tracker.retry_at.max(tracker.next_at), Event::Regular),
            });
        }
        if !tracker.knows_us || tracker.stop_failures >= limits::STOP_TRIES {
            return None;
        }
        let in_use = tier.and_then(|tier| tier.order.first()).map(|&at| self.trackers[at].id);
        let completed_first = owes_completed
            && in_use == Some(tracker.id)
            && tracker.failures == 0
            && !tracker.owes_started;
        let event = if completed_first { Event::Completed } else { Event::Stopped };
        Some((tracker.retry_at, event))
    }

    /// The tracker whose turn it is in its tier: the first that has not just failed, or else the
    /// one that may be tried again soonest.
    fn candidate(&self, tier: &Tier, now: Duration) -> Option<&Tracker> {
        let usable = || {
            tier.order.iter().map(|&at| &self.trackers[at]).filter(|tracker| tracker.is_usable())
        };
        usable()
            .find(|tracker| tracker.retry_at <= now)
            .or_else(|| usable().min_by_key(|tracker| tracker.retry_at))
    }

    /// Drops trackers that are off the list and owed nothing more.
    fn forget_gone(&mut self) {
        let gone = |tracker: &Tracker| {
            let owed = tracker.knows_us && tracker.stop_failures < limits::STOP_TRIES;
            tracker.tier.is_none() && !tracker.is_busy() && !owed
        };
        self.trackers.retain(|tracker| !gone(tracker));
    }
}

impl Tracker {
    fn new(id: u32, announce: &str) -> Tracker {
        let url = TrackerUrl::new(announce);
        let result = url.scheme().err().unwrap_or_default().into();
        Tracker {
            id,
            host: url.host_port().into(),
            url: Arc::new(url),
            tier: None,
            step: Step::Idle,
            knows_us: false,
            owes_started: false,
            dismissed: false,
            tracker_id: None,
            failures: 0,
            stop_failures: 0,
            retry_at: Duration::ZERO,
            next_at: Duration::ZERO,
            allowed_at: Duration::ZERO,
            announced: Exchange { result, ..Exchange::default() },
            peer_count: 0,
            warning: None,
            scraping: Step::Idle,
            scrape_at: None,
            scrape_failures: 0,
            scrapes_alone: false,
            scraped: Exchange::default(),
            counts: Counts::default(),
        }
    }

    fn is_usable(&self) -> bool {
        !self.dismissed && self.url.scheme().is_ok()
    }

    fn is_busy(&self) -> bool {
        self.step != Step::Idle
    }

    fn prepare_stop(&mut self, now: Duration) {
        self.stop_failures = 0;
        self.retry_at = now;
    }

    fn succeeded(
        &mut self,
        event: Event,
        now: Moment,
        reply: &AnnounceReply,
        rng: &mut fastrand::Rng,
    ) {
        self.failures = 0;
        self.stop_failures = 0;
        self.knows_us = event != Event::Stopped;
        self.owes_started &= event != Event::Started;
        let min = reply.min_interval.unwrap_or(limits::MIN_INTERVAL_DEFAULT);
        let interval = reply.interval.unwrap_or(limits::INTERVAL_DEFAULT);
        let interval = interval.clamp(min.min(limits::INTERVAL_MAX), limits::INTERVAL_MAX);
        self.retry_at = now.at;
        self.allowed_at = now.at + min;
        // Torrents that were started together drift apart.
        self.next_at = now.at + interval.mul_f64(1.0 + 0.03 * rng.f64());
        if reply.tracker_id.is_some() {
            self.tracker_id.clone_from(&reply.tracker_id);
        }
        self.peer_count = reply.peers.len() as u32;
        self.warning = reply.warning.as_deref().map(Into::into);
        self.counts.update(&reply.counts);
        self.announced.ended(now, None);
        if let Some(warning) = &self.warning {
            self.announced.result = warning.clone();
        }
        if !reply.counts.is_full() && self.url.scrape().is_some() && self.scrape_at.is_none() {
            self.scrape_at = Some(end_of(now.at, limits::SCRAPE_FIRST_WINDOW));
        }
    }

    fn failed(
        &mut self,
        now: Moment,
        error: &TrackerError,
        is_goodbye: bool,
        rng: &mut fastrand::Rng,
    ) {
        self.failures += 1;
        self.stop_failures += u32::from(is_goodbye);
        let (first, asked) = match error {
            TrackerError::Refused { retry, .. } | TrackerError::Status { retry, .. } => {
                (limits::BACKOFF_REFUSED, *retry)
            }
            _ => (limits::BACKOFF_FIRST, Retry::Unsaid),
        };
        let wait = first.saturating_mul(1 << (self.failures - 1).min(16)).min(limits::BACKOFF_MAX);
        let wait = wait.mul_f64(0.8 + 0.4 * rng.f64());
        let wait = match asked {
            Retry::Unsaid => wait,
            Retry::After(asked) => wait.max(asked),
            Retry::Never => {
                self.dismissed = true;
                wait
            }
        };
        self.retry_at = now.at + wait;
        self.next_at = self.retry_at;
        self.allowed_at = now.at + limits::MANUAL_RETRY;
        self.announced.ended(now, Some(error));
    }
}

/// The end of the window that the moment lies in: the same for all torrents.
fn end_of(at: Duration, window: Duration) -> Duration {
    Duration::from_secs((at.as_secs() / window.as_secs() + 1) * window.as_secs())
}

impl Counts {
    /// Takes over what `newer` says.
    fn update(&mut self, newer: &Counts) {
        self.seeders = newer.seeders.or(self.seeders);
        self.leechers = newer.leechers.or(self.leechers);
        self.downloads = newer.downloads.or(self.downloads);
        self.downloaders = newer.downloaders.or(self.downloaders);
    }

    fn is_full(&self) -> bool {
        self.seeders.is_some() && self.leechers.is_some() && self.downloads.is_some()
    }
}

impl Exchange {
    fn ended(&mut self, now: Moment, error: Option<&TrackerError>) {
        self.time = now.unix;
        self.happened = true;
        self.succeeded = error.is_none();
        self.timed_out = matches!(error, Some(TrackerError::TimedOut));
        self.result = error.map_or_else(|| "Success".into(), |error| error.to_string().into());
    }

    fn with_plan(&self, step: Step, planned: Option<Duration>, now: Moment) -> Exchange {
        let (state, next_time) = match (step, planned) {
            (Step::Active(_), _) => (AnnounceState::Active, 0),
            (Step::Queued, _) => (AnnounceState::Queued, 0),
            (Step::Idle, None) => (AnnounceState::Inactive, 0),
            (Step::Idle, Some(time)) => {
                (AnnounceState::Waiting, now.unix + time.saturating_sub(now.at).as_secs())
            }
        };
        Exchange { state, next_time, ..self.clone() }
    }
}

#[cfg(test)]
mod tests;
