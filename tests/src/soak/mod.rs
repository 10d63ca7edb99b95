//! A daemon under churn for long: whether its memory, its descriptors and its processor time per
//! byte stay what they are.
//!
//! The churn goes in rounds. In a round, workers take torrents through their lives: added,
//! downloaded, served to peers that come and go, stopped, checked, moved between folders and file
//! systems, removed with their data and without; two torrents are seeded to visitors all the time;
//! remotes poll in both dialects; one of two trackers is down now and then. All data is checked. At
//! a round's end the workers finish what they have in hand, and the daemon is looked at while nothing
//! is asked of it and it has the same torrents: states that can be compared. Rounds before
//! the end of the warm-up do not count.

mod churn;
mod gate;
mod gauge;

use crate::leech::Known;
use crate::{Client, Dialect, Options, Remote, Ringseed, Scene, ScriptedTracker, Shape};
use anyhow::{Context, Result, ensure};
use churn::{World, life, visitor};
use fastrand::Rng;
use gauge::{Look, growth, median};
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

/// How long, and what may grow by how much after the warm-up.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// The whole run, about.
    pub time: Duration,
    /// Its first part, which does not count.
    pub warm_up: Duration,
    /// Time until the workers are sent to rest.
    pub round: Duration,
    /// Part of all that is resident by which the daemon's own memory may grow.
    pub memory: f64,
    /// Part of itself by which processor time per byte may grow.
    pub cpu: f64,
    /// Memory for pieces being downloaded, in MiB: what the daemon fills its pools with, so that it
    /// is warm sooner with less.
    pub download_memory: u32,
    /// What is random comes from it.
    pub seed: u64,
}

/// Looks, four in a second, in which memory must not have gone back any more, but by these bytes; and the
/// most that are waited for.
const SETTLED_LOOKS: usize = 8;
const SETTLED_BYTES: u64 = 256 << 10;
const MOST_LOOKS: usize = 40;

/// Descriptors by which a daemon at rest may differ: a tracker is just being announced to.
const DESCRIPTORS: f64 = 2.0;

/// Workers that take torrents through their lives.
const LIVES: u64 = 4;

/// Workers that visit the torrents which stay.
const VISITORS: u64 = 3;

/// What was measured of one round.
#[derive(Debug, Clone, Copy)]
struct Round {
    /// Seconds since the start at its end.
    at: f64,
    /// The daemon at rest after it.
    rest: Look,
    /// Memory in its middle, and the most descriptors that were seen.
    memory: f64,
    descriptors: u64,
    /// Bytes that were up- and downloaded, and processor seconds for each GiB of them.
    moved: u64,
    cpu: f64,
    /// Torrents whose lives ended in it.
    lives: u64,
}

impl Round {
    /// GiB that were moved.
    fn gib(&self) -> f64 {
        self.moved as f64 / f64::from(1 << 30)
    }
}

/// Runs a daemon for so long.
pub fn soak(scene: &Scene, plan: &Plan) -> Result<()> {
    let (minutes, seed) = (plan.time.as_secs_f64() / 60.0, plan.seed);
    scene.say(format_args!("{minutes:.1} minutes, seed {seed}"));
    let flags = vec!["--download-memory-mib".to_owned(), plan.download_memory.to_string()];
    let mut daemon = Ringseed::start_with(Options { cores: 2, flags, ..Options::new(scene)? })?;
    let elsewhere = scene.folder_elsewhere();
    let mut places = vec![scene.new_folder("here")?, scene.new_folder("there")?];
    places.extend(elsewhere.as_ref().map(|folder| folder.path().to_path_buf()));
    let world = World {
        control: daemon.control_address(),
        peers: daemon.peer_address(),
        gate: gate::Gate::default(),
        places,
        steady: ScriptedTracker::start()?,
        fickle: Mutex::new(ScriptedTracker::start()?),
        lives: Default::default(),
        served: Default::default(),
    };
    let stay = torrents_that_stay(scene)?;
    let come_and_go: Vec<Vec<Known>> =
        (0..LIVES).map(|number| torrents_of(scene, number)).collect::<Result<_>>()?;
    let mut remote = Remote::new(world.control, Dialect::JsonRpc);
    for known in &stay {
        remote.add(&world.metainfo(&known.torrent)?, known.torrent.source())?;
        remote.wait_seeding(&known.torrent)?;
    }
    let rounds = thread::scope(|scope| {
        let world = &world;
        for (number, known) in (0..).zip(&come_and_go) {
            scope.spawn(move || lead_lives(world, known, plan.seed ^ number));
        }
        for number in 0..VISITORS {
            let (stay, mut random) = (&stay, Rng::with_seed(plan.seed ^ (number + 100)));
            scope.spawn(move || {
                world.gate.work(|| {
                    let known = random.choice(stay).context("no torrent stays")?;
                    visitor(world, known, random.u64(..))
                })
            });
        }
        for (number, dialect) in [(200, Dialect::JsonRpc), (201, Dialect::Legacy)] {
            let (mut random, mut remote) =
                (Rng::with_seed(plan.seed ^ number), Remote::new(world.control, dialect));
            let folder = &world.places[0];
            scope.spawn(move || {
                world.gate.work(|| {
                    thread::sleep(Duration::from_millis(random.u64(50..300)));
                    remote.poll(&mut random, folder)
                })
            });
        }
        let mut random = Rng::with_seed(plan.seed ^ 300);
        scope.spawn(move || world.gate.work(|| world.tracker_naps(&mut random)));
        let rounds = run_rounds(scene, world, &mut daemon, &mut remote, plan);
        world.gate.end();
        rounds
    })?;
    judge(scene, &rounds, plan)?;
    for known in &stay {
        known.torrent.compare(known.torrent.source())?;
    }
    let (_, status) = daemon.process().terminate(Duration::from_secs(30))?;
    ensure!(status.success(), "it ended with {status}");
    Ok(())
}

fn lead_lives(world: &World, known: &[Known], seed: u64) {
    let mut random = Rng::with_seed(seed);
    let mut remote = Remote::new(world.control, Dialect::JsonRpc);
    world.gate.work(|| {
        let known = random.choice(known).context("no torrent")?;
        life(world, &mut remote, known, &mut random)
    });
}

fn run_rounds(
    scene: &Scene,
    world: &World,
    daemon: &mut Ringseed,
    remote: &mut Remote,
    plan: &Plan,
) -> Result<Vec<Round>> {
    let start = Instant::now();
    let mut rounds = Vec::new();
    scene.say("   time   at rest: MiB  resident  descr.  threads   at work: MiB  descr.   moved MiB  CPU s/GiB   lives");
    while start.elapsed() < plan.time {
        daemon.process().check()?;
        let before = (Look::at(daemon.process().id())?, remote.moved()?);
        let lived = world.lives.load(Ordering::Relaxed);
        world.gate.open();
        let (mut memory, mut descriptors) = (Vec::new(), 0);
        let end = Instant::now() + plan.round;
        while Instant::now() < end && !world.gate.has_failed() {
            thread::sleep(Duration::from_millis(250));
            let look = Look::at(daemon.process().id()).context("the daemon has ended")?;
            memory.push(look.memory as f64);
            descriptors = descriptors.max(look.descriptors);
        }
        if let Err(error) = world.gate.close() {
            daemon.process().check()?;
            return Err(error.context(daemon.process().log_tail()));
        }
        let rest = at_rest(daemon.process().id())?;
        let moved = remote.moved()?.saturating_sub(before.1);
        let cpu = rest.time_since(&before.0).as_secs_f64() * f64::from(1 << 30) / moved as f64;
        let at = start.elapsed().as_secs_f64();
        let lives = world.lives.load(Ordering::Relaxed) - lived;
        let round = Round { at, rest, memory: median(memory), descriptors, moved, cpu, lives };
        scene.say(round.row());
        rounds.push(round);
    }
    let served = world.served.load(Ordering::Relaxed) >> 20;
    scene.say(format_args!("{served} MiB were served to visitors, every byte checked"));
    Ok(rounds)
}

/// Looks while nothing is asked of the daemon, until it has given back what it does not need: some of it
/// each second. It still announces, so the fewest descriptors count.
fn at_rest(process: u32) -> Result<Look> {
    let mut looks: Vec<Look> = Vec::new();
    loop {
        thread::sleep(Duration::from_millis(250));
        let last = Look::at(process)?;
        looks.push(last);
        let is_settled = looks.len().checked_sub(SETTLED_LOOKS).is_some_and(|since| {
            looks[since..].iter().all(|look| look.memory <= last.memory + SETTLED_BYTES)
        });
        if is_settled || looks.len() >= MOST_LOOKS {
            let descriptors = looks.iter().map(|look| look.descriptors).min().unwrap_or_default();
            return Ok(Look { descriptors, ..last });
        }
    }
}

impl Round {
    fn row(&self) -> String {
        let lives = self.lives;
        let Look { memory, resident, descriptors, threads, .. } = self.rest;
        format!(
            "{:6.0} s {:15.2} {:9.2} {descriptors:7} {threads:8} {:14.2} {:7} {:11} {:10.3} {lives:7}",
            self.at,
            mib(memory as f64),
            mib(resident as f64),
            mib(self.memory),
            self.descriptors,
            self.moved >> 20,
            self.cpu,
        )
    }
}

fn mib(bytes: f64) -> f64 {
    bytes / f64::from(1 << 20)
}

/// Whether anything has grown in the rounds after the warm-up.
fn judge(scene: &Scene, rounds: &[Round], plan: &Plan) -> Result<()> {
    let warm = plan.warm_up.as_secs_f64();
    let counting: Vec<&Round> = rounds.iter().filter(|round| round.at > warm).collect();
    ensure!(counting.len() >= 4, "only {} rounds count: more time is needed", counting.len());
    let series = |figure: fn(&Round) -> f64| {
        let points: Vec<(f64, f64)> =
            counting.iter().map(|round| (round.at, figure(round))).collect();
        (growth(&points), median(points.iter().map(|(_, figure)| *figure).collect()))
    };
    let (memory, level) = series(|round| round.rest.memory as f64);
    let (_, resident) = series(|round| round.rest.resident as f64);
    let grown = memory * level / resident;
    let (busy, busy_level) = series(|round| round.memory);
    let (descriptors, number) = series(|round| round.rest.descriptors as f64);
    let (_, cost) = series(|round| round.cpu);
    let cpu = cpu_growth(&counting);
    let minutes = (counting[counting.len() - 1].at - counting[0].at) / 60.0;
    scene.say(format_args!(
        "growth in {minutes:.1} minutes: memory at rest {:+.2} MiB ({:+.2} % of what is resident), at work \
         {:+.2} % of {:.1} MiB, descriptors {:+.1} of {number}, CPU for the same work {:+.1} % (median \
         {cost:.3} s/GiB)",
        mib(memory * level),
        grown * 100.0,
        busy * 100.0,
        mib(busy_level),
        descriptors * number,
        cpu * 100.0,
    ));
    ensure!(grown < plan.memory, "memory grows by {:.2} % of what is resident", grown * 100.0);
    ensure!(descriptors * number < DESCRIPTORS, "{:.1} descriptors more", descriptors * number);
    ensure!(cpu < plan.cpu, "processor time for the same work grows by {:.1} %", cpu * 100.0);
    Ok(())
}

/// Rounds move more bytes or end more lives, as it happens, and both cost: it is compared with what
/// they let expect.
fn cpu_growth(rounds: &[&Round]) -> f64 {
    let rows: Vec<[f64; 3]> = rounds
        .iter()
        .map(|round| [round.cpu * round.gib(), round.gib(), round.lives as f64])
        .collect();
    let ratios = gauge::against_expected(&rows);
    let points: Vec<(f64, f64)> = rounds.iter().map(|round| round.at).zip(ratios).collect();
    growth(&points)
}

fn torrents_that_stay(scene: &Scene) -> Result<Vec<Known>> {
    let files = (0..24).map(|number| (format!("part {number}"), 700_000 + number)).collect();
    let shapes = [
        Shape::file("stays", 48_000_001, 1 << 20),
        Shape::folder("stays in parts", files, 128 << 10),
    ];
    shapes.iter().map(|shape| Known::make(shape, &scene.new_folder("stay")?)).collect()
}

/// A worker's torrents: one file, many, and a hybrid one with padding.
fn torrents_of(scene: &Scene, worker: u64) -> Result<Vec<Known>> {
    let many = (0..40).map(|number| (format!("{}/{number}", number % 3), number * 7001)).collect();
    let few = (0..5).map(|number| (format!("{number}"), 800_000 + number)).collect();
    let shapes = [
        Shape::file(&format!("one {worker}"), 16_000_000 + worker, 256 << 10),
        Shape::folder(&format!("many {worker}"), many, 64 << 10),
        Shape::folder(&format!("padded {worker}"), few, 32 << 10).padded(),
    ];
    shapes.iter().map(|shape| Known::make(shape, &scene.new_folder("source")?)).collect()
}
