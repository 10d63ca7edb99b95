//! The end of the process at any moment, by SIGKILL or SIGTERM, while it seeds, downloads, adds,
//! checks, moves and removes: at its next start it has what it said, and goes on.
//!
//! What is random comes from a seed, which is printed; `RINGSEED_SEED` gives it again (the moments,
//! not what the machine does meanwhile). `RINGSEED_ENDS` says how often the process is ended.

use anyhow::{Context, Error, Result, ensure};
use data_encoding::BASE64;
use fastrand::Rng;
use ringseed_tests::leech::{Known, visit};
use ringseed_tests::peer::{Manner, Seed};
use ringseed_tests::{
    Client, Conditions, Dialect, Options, Relay, Remote, Ringseed, Scene, ScriptedTracker, Shape,
    Torrent, for_each_driver, wait_complete, wait_for, wait_until,
};
use serde_json::json;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const ENOUGH: Duration = Duration::from_secs(120);

/// What is not waited for when it is asked for (a stop, a removal) is written down by then.
const WRITTEN_DOWN: Duration = Duration::from_secs(5);

for_each_driver! {
    ended_at_any_moment_the_daemon_has_what_it_said_and_goes_on;
}

fn ended_at_any_moment_the_daemon_has_what_it_said_and_goes_on(scene: &Scene) -> Result<()> {
    let given = |name| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let seed = given("RINGSEED_SEED").unwrap_or_else(|| fastrand::u64(..));
    scene.say(format_args!("seed {seed}"));
    let mut random = Rng::with_seed(seed);
    let mut world = World::make(scene)?;
    let mut daemon = Ringseed::start_with(Options { cores: 2, ..Options::new(scene)? })?;
    for known in &world.seeded {
        daemon.add(&known.torrent.with_trackers(&[])?, known.torrent.source())?;
        wait_complete(&mut daemon, &known.torrent, ENOUGH)?;
    }
    for end in 1..=given("RINGSEED_ENDS").unwrap_or(5) {
        if end % 2 == 1 {
            world.begin_a_download(scene, &mut daemon)?;
        }
        // What was found out at the start is to be written down before the first end.
        let least = if end == 1 { 1500 } else { 50 };
        let time = Duration::from_millis(random.u64(least..least + 3000));
        let is_kill = random.bool();
        let how = if is_kill { "SIGKILL" } else { "SIGTERM" };
        scene.say(format_args!("end {end}: {how} after {time:?}"));
        let ended = world.run_for(&mut daemon, time, is_kill, &mut random)?;
        daemon.start_again()?;
        let checked = world.check(&mut daemon, ended, is_kill);
        checked.with_context(|| format!("after end {end} by {how}"))?;
    }
    for download in &world.downloads {
        wait_complete(&mut daemon, &download.known.torrent, ENOUGH)?;
        download.known.torrent.compare_exactly(&download.folder)?;
    }
    scene.say(format_args!("{} MiB were served meanwhile, every byte checked", world.served >> 20));
    Ok(())
}

struct World {
    seeded: Vec<Known>,
    downloads: Vec<Download>,
    wanderers: Vec<Wanderer>,
    tracker: ScriptedTracker,
    /// Between which wanderers move, on more than one file system where there is one.
    places: Vec<PathBuf>,
    _elsewhere: Option<tempfile::TempDir>,
    served: u64,
}

/// A torrent that is being downloaded, slowly.
struct Download {
    known: Known,
    folder: PathBuf,
    _seed: Seed,
    _relay: Relay,
}

/// A torrent that is added, moved and removed, and what is known of it by what was answered.
struct Wanderer {
    known: Known,
    /// Whether it is in the list; `None` while a call about that is under way.
    listed: Option<bool>,
    since: Instant,
    /// Where its data may be.
    places: Vec<PathBuf>,
    /// Whether there is any: it was not removed with its data.
    has_data: bool,
}

impl World {
    fn make(scene: &Scene) -> Result<World> {
        let make = |shape: Shape| Known::make(&shape, &scene.new_folder("source")?);
        let files = |count: u64, length: u64| {
            (0..count).map(|number| (format!("{}/{number}", number % 2), length + number)).collect()
        };
        let seeded = vec![
            make(Shape::file("seeded", 12_000_001, 256 << 10))?,
            make(Shape::folder("seeded in parts", files(12, 400_000), 64 << 10))?,
        ];
        let elsewhere = scene.folder_elsewhere();
        let mut places = vec![scene.new_folder("here")?, scene.new_folder("there")?];
        places.extend(elsewhere.as_ref().map(|folder| folder.path().to_path_buf()));
        let wanderers = (0..2).map(|number| {
            let shape = Shape::folder(&format!("wanders {number}"), files(9, 700_000), 128 << 10);
            Ok(Wanderer {
                known: make(shape)?,
                listed: Some(false),
                since: Instant::now(),
                places: places[..1].to_vec(),
                has_data: false,
            })
        });
        let wanderers = wanderers.collect::<Result<_>>()?;
        let (downloads, tracker) = (Vec::new(), ScriptedTracker::start()?);
        let _elsewhere = elsewhere;
        Ok(World { seeded, downloads, wanderers, tracker, places, _elsewhere, served: 0 })
    }

    fn begin_a_download(&mut self, scene: &Scene, daemon: &mut Ringseed) -> Result<()> {
        let name = format!("download {}", self.downloads.len());
        let files =
            vec![("a".to_owned(), 9_000_001), ("b/c".into(), 2), ("b/d".into(), 11_000_001)];
        let shape = Shape::folder(&name, files, 128 << 10);
        let known = Known::make(&shape, &scene.new_folder("source")?)?;
        let seed = Seed::start(&known.torrent, Ipv4Addr::LOCALHOST, Manner::Honest)?;
        let conditions = Conditions { rate: Some(3_000_000), ..Conditions::default() };
        let relay = Relay::start(seed.address(), conditions)?;
        self.tracker.set_peers(known.torrent.info_hash(), &[relay.address()]);
        let folder = scene.new_folder("downloads")?;
        daemon.add(&known.torrent.with_trackers(&[&self.tracker.url()])?, &folder)?;
        self.downloads.push(Download { known, folder, _seed: seed, _relay: relay });
        Ok(())
    }

    /// Keeps the daemon busy for so long and ends it. Gives when.
    fn run_for(
        &mut self,
        daemon: &mut Ringseed,
        time: Duration,
        is_kill: bool,
        random: &mut Rng,
    ) -> Result<Instant> {
        let (peers, control) = (daemon.peer_address(), daemon.control_address());
        let is_ending = &AtomicBool::new(false);
        let World { seeded, downloads, wanderers, places, .. } = self;
        let visited: Vec<&Known> =
            seeded.iter().chain(downloads.iter().map(|download| &download.known)).collect();
        let (ended, served) = thread::scope(|scope| {
            let visitors: Vec<_> = (0..3)
                .map(|_| (Rng::with_seed(random.u64(..)), &visited))
                .map(|(random, visited)| {
                    scope.spawn(|| keep_visiting(peers, visited, random, is_ending))
                })
                .collect();
            let wander = |wanderer| {
                let mut random = Rng::with_seed(random.u64(..));
                let mut remote = Remote::new(control, Dialect::JsonRpc);
                let places = &*places;
                scope.spawn(move || wander(wanderer, &mut remote, places, &mut random, is_ending))
            };
            let wandering: Vec<_> = wanderers.iter_mut().map(wander).collect();
            thread::sleep(time);
            is_ending.store(true, Ordering::SeqCst);
            let ended = Instant::now();
            let result = end(daemon, is_kill);
            for wanderer in wandering {
                wanderer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            }
            let mut served = 0;
            for visitor in visitors {
                served +=
                    visitor.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            }
            result?;
            Ok::<_, Error>((ended, served))
        })?;
        self.served += served;
        Ok(ended)
    }

    fn check(&mut self, daemon: &mut Ringseed, ended: Instant, is_kill: bool) -> Result<()> {
        let mut remote = Remote::new(daemon.control_address(), Dialect::JsonRpc);
        for known in &self.seeded {
            let name = known.torrent.layout().name();
            wait_until(&format!("{name} is seeded again"), ENOUGH, || {
                let status = remote.field(known.torrent.info_hash(), "status")?;
                let status = status.with_context(|| format!("{name} is not in the list"))?;
                ensure!(status != 1 && status != 2, "{name} is checked again");
                let state = remote.state(known.torrent.info_hash())?;
                ensure!(state.error.is_none(), "{name}: {:?}", state.error);
                Ok(state.seeding)
            })?;
        }
        for Download { known, folder, .. } in &self.downloads {
            check_claims(&mut remote, &known.torrent, folder)?;
        }
        for wanderer in &mut self.wanderers {
            let name = wanderer.known.torrent.layout().name().to_owned();
            wanderer.check(&mut remote, ended, is_kill).context(name)?;
        }
        daemon.process().check()
    }
}

fn end(daemon: &mut Ringseed, is_kill: bool) -> Result<()> {
    if is_kill {
        return daemon.kill();
    }
    let (took, status) = daemon.process().terminate(ENOUGH)?;
    ensure!(status.success(), "it ended with {status}: {}", daemon.process().log_tail());
    ensure!(took < Duration::from_secs(15), "it took {took:?} to end");
    Ok(())
}

/// Visits torrents until the end; gives the bytes that came, all of them right.
fn keep_visiting(
    peers: SocketAddr,
    torrents: &[&Known],
    mut random: Rng,
    is_ending: &AtomicBool,
) -> Result<u64> {
    let mut served = 0;
    while !is_ending.load(Ordering::SeqCst) {
        let known = random.choice(torrents).context("no torrent")?;
        let time = Duration::from_millis(random.u64(50..800));
        served += visit(peers, &known.content, &mut random, time)?;
        thread::sleep(Duration::from_millis(random.u64(..100)));
    }
    Ok(served)
}

/// Leads a torrent about until the end, which shows as a call that fails.
fn wander(
    wanderer: &mut Wanderer,
    remote: &mut Remote,
    places: &[PathBuf],
    random: &mut Rng,
    is_ending: &AtomicBool,
) -> Result<()> {
    while !is_ending.load(Ordering::SeqCst) {
        let step = wanderer.step(remote, places, random);
        if is_ending.load(Ordering::SeqCst) {
            return Ok(());
        }
        step.with_context(|| wanderer.known.torrent.layout().name().to_owned())?;
    }
    Ok(())
}

impl Wanderer {
    /// One thing that somebody does with it.
    fn step(&mut self, remote: &mut Remote, places: &[PathBuf], random: &mut Rng) -> Result<()> {
        let torrent = &self.known.torrent;
        let hash = torrent.info_hash();
        if self.listed == Some(false) {
            if !self.has_data {
                let place = random.choice(places).context("no place")?;
                torrent.copy_to(place)?;
                (self.places, self.has_data) = (vec![place.clone()], true);
            }
            self.listed = None;
            remote.add(&torrent.with_trackers(&[])?, &self.places[0])?;
            self.listed = Some(true);
            return remote.wait_seeding(torrent);
        }
        match random.u8(..6) {
            0 | 1 => {
                let to = random.choice(places).context("no place")?.clone();
                self.places.push(to.clone());
                remote.relocate(hash, &to)?;
                remote.wait_seeding(torrent)?;
                self.places = vec![to];
            }
            2 => {
                remote.act("torrent_verify", hash, json!({}))?;
                remote.wait_seeding(torrent)?;
            }
            3 => {
                remote.act("torrent_stop", hash, json!({}))?;
                remote.wait_stopped(hash)?;
                remote.act("torrent_start", hash, json!({}))?;
                remote.wait_seeding(torrent)?;
            }
            _ => {
                let with_data = random.bool();
                (self.listed, self.has_data) = (None, !with_data);
                remote.remove(hash, with_data)?;
                (self.listed, self.since) = (Some(false), Instant::now());
                thread::sleep(Duration::from_millis(random.u64(..500)));
                // Who asks notices the end.
                wait_until("its data is deleted", ENOUGH, || {
                    remote.field(hash, "status")?;
                    Ok(!with_data || torrent.is_gone_from(&self.places[0]))
                })?;
            }
        }
        Ok(())
    }

    /// What was answered holds, what was under way has happened or not, and nothing in between.
    fn check(&mut self, remote: &mut Remote, ended: Instant, is_kill: bool) -> Result<()> {
        let torrent = &self.known.torrent;
        let hash = torrent.info_hash();
        let folder = remote.field(hash, "download_dir")?;
        let is_sure = !is_kill || ended.saturating_duration_since(self.since) > WRITTEN_DOWN;
        match self.listed {
            Some(true) => ensure!(folder.is_some(), "it is not in the list"),
            Some(false) if is_sure => ensure!(folder.is_none(), "it is back in the list"),
            _ => {}
        }
        self.listed = Some(folder.is_some());
        if folder.is_none() {
            return self.check_removed();
        }
        // One that was stopped when the end came stays so.
        remote.act("torrent_start", hash, json!({}))?;
        let folder = wait_for("it is in one place, and nowhere else", ENOUGH, || {
            let state = remote.state(hash)?;
            ensure!(state.error.is_none(), "{:?}", state.error);
            let folder = remote.field(hash, "download_dir")?.context("it is gone")?;
            let folder = PathBuf::from(folder.as_str().context("a folder")?);
            let mut elsewhere = self.places.iter().filter(|place| **place != folder);
            let is_moved = elsewhere.all(|place| torrent.is_gone_from(place));
            Ok((state.seeding && is_moved).then_some(folder))
        })?;
        ensure!(self.places.contains(&folder), "it is in {folder:?}, not in {:?}", self.places);
        torrent.compare(&folder)?;
        (self.places, self.has_data) = (vec![folder], true);
        Ok(())
    }

    fn check_removed(&mut self) -> Result<()> {
        let torrent = &self.known.torrent;
        if !self.has_data {
            return wait_until("its data is deleted", ENOUGH, || {
                Ok(self.places.iter().all(|place| torrent.is_gone_from(place)))
            });
        }
        let place = self.places.iter().find(|place| !torrent.is_gone_from(place));
        let place = place.context("its data is nowhere")?.clone();
        torrent.compare(&place)?;
        self.places = vec![place];
        Ok(())
    }
}

/// Every piece that is claimed is in the files, and the torrent goes on.
fn check_claims(remote: &mut Remote, torrent: &Torrent, folder: &Path) -> Result<()> {
    let name = torrent.layout().name();
    wait_until(&format!("{name} goes on"), ENOUGH, || {
        let state = remote.state(torrent.info_hash())?;
        ensure!(state.error.is_none(), "{name}: {:?}", state.error);
        let status = remote.field(torrent.info_hash(), "status")?;
        Ok(status == Some(json!(4)) || status == Some(json!(6)))
    })?;
    let pieces = remote.field(torrent.info_hash(), "pieces")?.context("no pieces")?;
    let pieces = BASE64.decode(pieces.as_str().context("pieces as text")?.as_bytes())?;
    for index in 0..torrent.layout().geometry().piece_count() {
        if pieces[index as usize / 8] & (0x80 >> (index % 8)) != 0 {
            ensure!(
                torrent.is_piece_in(folder, index)?,
                "{name}: piece {index} is not in the files"
            );
        }
    }
    Ok(())
}
