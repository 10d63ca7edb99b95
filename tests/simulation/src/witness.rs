//! Whether what an announcer says to trackers makes sense: it hears every word in the order in which
//! it is said, and what comes back, as the announcer itself does.

use crate::tracker::{
    Front, HTTP_FRONT, UDP_FRONT,
    message::{self, Asked, Heard, Kind, Packet},
};
use anyhow::{Context, Result, ensure};
use discovery::{
    simulated::HttpAnswer,
    tracker::{AnnounceReply, Event, Retry, TrackerError, http},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// As the announcer's limits have it: the least wait where the tracker names none, the first waits after
/// failures and refusals, and the longest.
const MIN_INTERVAL: Duration = Duration::from_secs(120);
const BACKOFF_FIRST: Duration = Duration::from_secs(5);
const BACKOFF_REFUSED: Duration = Duration::from_secs(60);
const BACKOFF_MAX: Duration = Duration::from_secs(30 * 60);

/// How much of that a wait is at least, in percent.
const JITTER: u32 = 80;

/// How often a tracker is told `stopped` at most.
const STOP_TRIES: u32 = 3;

/// How long an announcer has for its goodbyes.
const GOODBYE: Duration = Duration::from_millis(2200);

/// For messages.
const NAMES: [&str; 2] = ["the HTTP tracker", "the UDP tracker"];

/// What a torrent goes by here. One that was removed and added again is another peer, and may be talked
/// of while the former says goodbye.
pub fn name(info_hash: [u8; 20], peer_id: [u8; 20]) -> [u8; 20] {
    std::array::from_fn(|at| info_hash[at] ^ peer_id[at])
}

/// What one process says.
pub struct Witness {
    port: u16,
    key: u32,
    is_shared: bool,
    runs: BTreeMap<[u8; 20], Run>,
    talks: BTreeMap<(Front, [u8; 20]), Talk>,
    /// Announces over HTTP under way.
    requests: BTreeMap<u64, About>,
    /// All announces over UDP.
    transactions: BTreeMap<u32, Transaction>,
    /// Transactions that ask for a connection id, since the last was had.
    connects: BTreeSet<u32>,
    /// Trackers whose names are looked up just now, or could not be found.
    nameless: [bool; 2],
    /// What it waited for has come in this turn.
    has_just_come: [bool; 2],
    is_ending: bool,
    /// When it is to have ended.
    deadline: Duration,
    is_over: bool,
    /// There was no time to say everything.
    ran_out_of_time: bool,
}

/// What an announce is about.
#[derive(Clone, Copy)]
struct About {
    info_hash: [u8; 20],
    event: Event,
    /// The run of the torrent that it belongs to; 0 if that is not known.
    run: u32,
}

/// An announce over UDP.
struct Transaction {
    about: About,
    is_answered: bool,
}

/// A torrent, since it began last.
struct Run {
    /// How often it has begun.
    number: u32,
    peer_id: [u8; 20],
    is_running: bool,
    /// It has become complete.
    completed: bool,
}

/// What was said of a torrent to a tracker.
#[derive(Default)]
struct Talk {
    /// A `started` of this run was confirmed.
    is_started: bool,
    /// A belated `started` was said, perhaps of this run.
    may_be_started: bool,
    /// No `stopped` was confirmed since it heard of us, perhaps in a former run.
    knows_us: bool,
    /// Nor said.
    owes_stopped: bool,
    /// An announce may follow that was decided on before the torrent began or ended last: it waits for
    /// the tracker's name or for a connection id.
    is_belated: bool,
    stops: u32,
    completed: bool,
    figures: Option<[u64; 3]>,
    allowed_at: Duration,
    failures: u32,
    retry_at: Duration,
    tracker_id: Option<Vec<u8>>,
    in_flight: bool,
    /// An announce may have failed before it was said.
    may_have_failed: bool,
}

/// What happens to the server.
impl Witness {
    /// Of an announcer with this key, whose server listens at this port.
    pub fn new(port: u16, key: u32, is_shared: bool) -> Witness {
        Witness {
            port,
            key,
            is_shared,
            runs: BTreeMap::new(),
            talks: BTreeMap::new(),
            requests: BTreeMap::new(),
            transactions: BTreeMap::new(),
            connects: BTreeSet::new(),
            nameless: [false; 2],
            has_just_come: [false; 2],
            is_ending: false,
            deadline: Duration::MAX,
            is_over: false,
            ran_out_of_time: false,
        }
    }

    /// A torrent begins.
    pub fn begins(&mut self, info_hash: [u8; 20], peer_id: [u8; 20]) {
        let number = self.runs.get(&info_hash).map_or(0, |run| run.number) + 1;
        self.runs.insert(info_hash, Run { number, peer_id, is_running: true, completed: false });
        for front in [HTTP_FRONT, UDP_FRONT] {
            let is_belated = self.hangs(front);
            let talk = self.talks.entry((front, info_hash)).or_default();
            *talk = Talk {
                knows_us: talk.knows_us,
                owes_stopped: talk.owes_stopped,
                is_belated,
                may_have_failed: is_belated,
                in_flight: talk.in_flight,
                tracker_id: talk.tracker_id.take(),
                ..Talk::default()
            };
        }
    }

    /// It ends.
    pub fn ends(&mut self, info_hash: &[u8; 20]) {
        if let Some(run) = self.runs.get_mut(info_hash) {
            run.is_running = false;
        }
        for front in [HTTP_FRONT, UDP_FRONT] {
            let is_belated = self.hangs(front);
            if let Some(talk) = self.talks.get_mut(&(front, *info_hash)) {
                talk.is_belated |= is_belated;
            }
        }
    }

    /// It has become complete.
    pub fn completes(&mut self, info_hash: &[u8; 20]) {
        if let Some(run) = self.runs.get_mut(info_hash) {
            run.completed = true;
        }
    }

    /// Everything ends.
    pub fn ends_all(&mut self, now: Duration) {
        self.is_ending = true;
        self.deadline = now + GOODBYE;
        let all: Vec<[u8; 20]> = self.runs.keys().copied().collect();
        all.iter().for_each(|info_hash| self.ends(info_hash));
    }

    /// The announcer has ended: what comes now, nobody hears.
    pub fn is_over(&mut self, now: Duration) {
        self.is_over = true;
        self.ran_out_of_time = now >= self.deadline;
    }

    /// After a good end: whoever knew of a torrent was told that it has stopped, if there was a way.
    pub fn check_end(&self) -> Result<()> {
        for (&(front, _), talk) in &self.talks {
            let could_not = talk.in_flight || talk.may_have_failed || self.hangs(front);
            let could_not = could_not || self.ran_out_of_time;
            let name = NAMES[front];
            ensure!(
                !talk.owes_stopped || could_not,
                "{name} was not told that a torrent has stopped"
            );
        }
        Ok(())
    }

    /// Whether announces wait for something else than an answer.
    fn hangs(&self, front: Front) -> bool {
        let waits = self.nameless[front] || (front == UDP_FRONT && !self.connects.is_empty());
        waits || self.has_just_come[front]
    }
}

/// What the announcer says.
impl Witness {
    /// Its process takes a turn: what had waited for mail may be said in that in which it comes.
    pub fn begins_turn(&mut self) {
        self.has_just_come = [false; 2];
    }

    /// It looks a name up, or has.
    pub fn looks_up(&mut self, front: Front, found: bool) {
        self.nameless[front] = !found || self.is_over;
        self.has_just_come[front] |= found;
        self.may_fail(front);
    }

    fn may_fail(&mut self, front: Front) {
        let all = self.talks.iter_mut().filter(|((of, _), _)| *of == front);
        all.for_each(|(_, talk)| talk.may_have_failed = true);
    }

    /// It asks the HTTP tracker.
    pub fn requests(&mut self, now: Duration, id: u64, url: &str) -> Result<()> {
        let Asked::Announce(mut heard) = message::read_url(url)? else { return Ok(()) };
        heard.info_hash = name(heard.info_hash, heard.peer_id);
        let mut others = self.requests.values();
        let is_alone = others.all(|about| about.info_hash != heard.info_hash);
        ensure!(is_alone, "two announces at once");
        let about = self.announces(HTTP_FRONT, now, &heard)?;
        self.requests.insert(id, about);
        Ok(())
    }

    /// It sends a datagram to the UDP tracker.
    pub fn sends(&mut self, now: Duration, packet: &[u8]) -> Result<()> {
        let (transaction, packet) = message::read_packet(packet)?;
        match packet {
            Packet::Connect => {
                self.connects.insert(transaction);
                self.may_fail(UDP_FRONT);
            }
            Packet::Ask(_, Asked::Announce(mut heard)) => {
                heard.info_hash = name(heard.info_hash, heard.peer_id);
                // Sent again, perhaps before an answer was read that is there already.
                if let Some(Transaction { about, .. }) = self.transactions.get(&transaction) {
                    let said = (about.info_hash, about.event);
                    ensure!(said == (heard.info_hash, heard.event), "other words the second time");
                    return Ok(());
                }
                let about = self.announces(UDP_FRONT, now, &heard)?;
                self.transactions.insert(transaction, Transaction { about, is_answered: false });
            }
            Packet::Ask(..) => {}
        }
        Ok(())
    }

    fn announces(&mut self, front: Front, now: Duration, heard: &Heard) -> Result<About> {
        self.check(front, now, heard).with_context(|| {
            format!("{} is told {:?} with {:?}", NAMES[front], heard.event, heard.figures)
        })?;
        self.nameless[front] = false;
        let talk = self.talks.entry((front, heard.info_hash)).or_default();
        let is_belated = std::mem::take(&mut talk.is_belated);
        (talk.in_flight, talk.may_have_failed) = (true, false);
        talk.may_be_started |= is_belated && heard.event == Event::Started;
        if !is_belated {
            talk.figures = Some(heard.figures);
        }
        if heard.event == Event::Stopped {
            talk.stops += 1;
            talk.owes_stopped = false;
        }
        let run = self.runs.get(&heard.info_hash).map_or(0, |run| run.number);
        let run = if is_belated { 0 } else { run };
        Ok(About { info_hash: heard.info_hash, event: heard.event, run })
    }

    fn check(&self, front: Front, now: Duration, heard: &Heard) -> Result<()> {
        let run = self.runs.get(&heard.info_hash).context("no such torrent")?;
        let talk = self.talks.get(&(front, heard.info_hash)).context("no such torrent")?;
        ensure!(heard.port == self.port, "the port is {}", heard.port);
        ensure!(heard.key == self.key, "the key is {}", heard.key);
        ensure!(heard.peer_id == run.peer_id, "the peer id is another");
        let is_new = !talk.is_started && heard.tracker_id.is_none();
        let is_right = is_new || heard.tracker_id == talk.tracker_id;
        ensure!(is_right, "the tracker id is {:?}", heard.tracker_id);
        if talk.is_belated {
            return Ok(());
        }
        if let Some([uploaded, downloaded, left]) = talk.figures {
            let [up, down, missing] = heard.figures;
            let is_on = up >= uploaded && down >= downloaded && missing <= left;
            ensure!(is_on, "it was {:?} before", talk.figures);
        }
        let early = talk.retry_at.saturating_sub(now);
        let may_try = heard.event == Event::Stopped || self.is_ending || early.is_zero();
        ensure!(may_try, "{early:?} too early after {} failures", talk.failures);
        self.check_event(run, talk, now, heard)?;
        let other = self.talks.get(&(1 - front, heard.info_hash));
        let is_in_use = self.is_shared && other.is_some_and(Talk::works);
        let is_alone = !run.is_running || !is_in_use;
        ensure!(is_alone, "another tracker of the tier works");
        Ok(())
    }

    fn check_event(&self, run: &Run, talk: &Talk, now: Duration, heard: &Heard) -> Result<()> {
        let is_started = talk.is_started || talk.may_be_started;
        match heard.event {
            Event::Started => {
                ensure!(run.is_running, "it does not run");
                ensure!(!talk.is_started, "it was started before");
            }
            Event::Regular => {
                ensure!(run.is_running, "it does not run");
                ensure!(is_started, "it was not started");
                let early = talk.allowed_at.saturating_sub(now);
                ensure!(early.is_zero(), "{early:?} before the tracker's min interval");
            }
            Event::Completed => {
                ensure!(is_started, "it was not started");
                ensure!(run.completed && heard.figures[2] == 0, "it is not complete");
                ensure!(!talk.completed, "it was said before");
            }
            Event::Stopped => {
                ensure!(!run.is_running, "it runs");
                ensure!(talk.knows_us, "it was not started, or stopped before");
                ensure!(talk.stops < STOP_TRIES, "it was said often enough");
            }
        }
        Ok(())
    }
}

/// What the announcer hears.
impl Witness {
    /// The HTTP tracker's answer has come.
    pub fn answered(&mut self, now: Duration, id: u64, answer: &Result<HttpAnswer, TrackerError>) {
        let Some(about) = self.requests.remove(&id).filter(|_| !self.is_over) else { return };
        let reply = match answer {
            Ok(page) if page.status.is_success() || page.body.starts_with(b"d") => {
                http::decode_announce(&page.body)
            }
            Ok(HttpAnswer { status, retry_after, .. }) => {
                let after = |seconds| Retry::After(Duration::from_secs(seconds));
                let retry = retry_after.map_or(Retry::Unsaid, after);
                Err(TrackerError::Status { status: *status, retry })
            }
            Err(error) => Err(error.clone()),
        };
        self.hears(HTTP_FRONT, now, about, &reply);
    }

    /// A datagram of the UDP tracker has come.
    pub fn replied(&mut self, now: Duration, packet: &[u8]) {
        match message::kind_of(packet).filter(|_| !self.is_over) {
            Some((Kind::Connection, transaction)) if self.connects.contains(&transaction) => {
                self.connects.clear();
                self.has_just_come[UDP_FRONT] = true;
            }
            Some((Kind::Error, transaction)) if self.connects.remove(&transaction) => {}
            Some((Kind::Connection, _)) | None => {}
            Some((kind, transaction)) => {
                let open = self.transactions.get_mut(&transaction).filter(|t| !t.is_answered);
                let Some(Transaction { about, is_answered }) = open else { return };
                *is_answered = true;
                let about = *about;
                let reply = match kind {
                    Kind::Error => {
                        Err(TrackerError::Refused { reason: String::new(), retry: Retry::Unsaid })
                    }
                    _ => Ok(AnnounceReply::default()),
                };
                self.hears(UDP_FRONT, now, about, &reply);
            }
        }
    }

    fn hears(
        &mut self,
        front: Front,
        now: Duration,
        About { info_hash, event, run }: About,
        reply: &Result<AnnounceReply, TrackerError>,
    ) {
        let is_of_this_run = self.runs.get(&info_hash).is_some_and(|now| now.number == run);
        let talk = self.talks.entry((front, info_hash)).or_default();
        talk.in_flight = false;
        match reply {
            Ok(reply) => talk.is_answered(now, event, is_of_this_run, reply),
            Err(error) => talk.is_refused(now, error),
        }
    }
}

impl Talk {
    /// Whether the tracker has no reason to be passed over.
    fn works(&self) -> bool {
        self.is_started && self.failures == 0 && !self.in_flight && !self.may_have_failed
    }

    fn is_answered(
        &mut self,
        now: Duration,
        event: Event,
        is_of_this_run: bool,
        reply: &AnnounceReply,
    ) {
        self.failures = 0;
        self.retry_at = now;
        self.allowed_at = now + reply.min_interval.unwrap_or(MIN_INTERVAL);
        self.knows_us = event != Event::Stopped;
        self.owes_stopped = self.knows_us;
        self.is_started |= is_of_this_run && event == Event::Started;
        self.is_started &= self.knows_us;
        self.completed |= is_of_this_run && event == Event::Completed;
        if reply.tracker_id.is_some() {
            self.tracker_id = reply.tracker_id.as_deref().map(<[u8]>::to_vec);
        }
    }

    fn is_refused(&mut self, now: Duration, error: &TrackerError) {
        let (first, asked) = match error {
            TrackerError::Refused { retry, .. } | TrackerError::Status { retry, .. } => {
                (BACKOFF_REFUSED, *retry)
            }
            _ => (BACKOFF_FIRST, Retry::Unsaid),
        };
        let wait = first.saturating_mul(1 << self.failures.min(16)).min(BACKOFF_MAX);
        let wait = wait * JITTER / 100;
        self.failures += 1;
        self.retry_at = now
            + match asked {
                Retry::After(asked) => wait.max(asked),
                Retry::Unsaid | Retry::Never => wait,
            };
    }
}
