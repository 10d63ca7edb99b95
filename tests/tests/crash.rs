//! What survives the end of the process: kill -9 during a download, a restart, a graceful stop.

use anyhow::{Context, Result, ensure};
use ringseed_tests::peer::{Manner, Seed};
use ringseed_tests::{
    Client, Conditions, Libtorrent, Options, Relay, Ringseed, Scene, ScriptedTracker, Shape,
    Torrent, for_each_driver, wait_complete, wait_for, wait_until,
};
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

const ENOUGH: Duration = Duration::from_secs(120);

for_each_driver! {
    killed_ten_times_a_download_still_ends_right;
    a_restart_resumes_everything_without_a_recheck;
    a_graceful_stop_is_quick_and_tells_the_trackers;
}

/// What may be fetched again after a kill: what came in so many seconds before it. Data is synced
/// every five seconds (the setting `sync_interval`), and that takes its time.
const LOST: Duration = Duration::from_secs(7);

fn killed_ten_times_a_download_still_ends_right(scene: &Scene) -> Result<()> {
    const RATE: u64 = 5_000_000;
    const LENGTH: u64 = 240_000_003;
    let files = [("a", 110_000_001), ("b/c", 60_000_001), ("b/d", 70_000_001)];
    let files = files.map(|(path, length)| (path.to_owned(), length)).to_vec();
    let shape = Shape::folder("killed", files, 256 << 10);
    let torrent = Torrent::make(&shape, &scene.new_folder("source")?)?;
    // Not a client, which would call the daemon by itself, past the relay.
    let seed = Seed::start(&torrent, Ipv4Addr::LOCALHOST, Manner::Honest)?;
    let conditions = Conditions { rate: Some(RATE), ..Conditions::default() };
    let relay = Relay::start(seed.address(), conditions)?;
    let tracker = ScriptedTracker::start()?;
    tracker.set_peers(torrent.info_hash(), &[relay.address()]);

    let mut ringseed = Ringseed::start(scene)?;
    ringseed.download(&torrent.with_trackers(&[&tracker.url()])?)?;
    let (mut lost, mut resumed) = (0, None);
    for kill in 1..=10 {
        let time = Duration::from_millis(fastrand::u64(300..6500));
        let samples = run_for(&mut ringseed, &torrent, time)?;
        ringseed.kill()?;
        let killed = Instant::now();
        let (_, last) = *samples.last().context("no sample")?;
        let durable = samples.iter().rev().find(|(at, _)| killed - *at >= LOST);
        let durable = durable.map(|(_, left)| *left).or(resumed);
        let allowed = durable.unwrap_or(LENGTH);
        ringseed.start_again()?;
        let left = wait_for("the torrent is resumed", ENOUGH, || {
            let status = ringseed.number(torrent.info_hash(), "status")?;
            // Of a download's first moments nothing is known yet, and checking is all that helps.
            ensure!(status != 2 || durable.is_none(), "it is checked again");
            Ok((status == 4).then_some(ringseed.number(torrent.info_hash(), "left_until_done")?))
        })?;
        scene.say(format_args!("kill {kill}: {last} bytes left before it, {left} after it"));
        ensure!(left <= allowed, "more than the last {LOST:?} is lost: {left} left, not {allowed}");
        lost += left.saturating_sub(last);
        resumed = Some(left);
    }
    wait_complete(&mut ringseed, &torrent, ENOUGH)?;
    torrent.compare_exactly(ringseed.downloads())?;
    let came = relay.returned();
    scene.say(format_args!("{came} bytes came for {LENGTH}; the kills cost {lost}"));
    // Each kill also costs the blocks of unfinished pieces and what was on its way.
    let excess = came.saturating_sub(LENGTH + lost);
    ensure!(excess < 10 * 2 * RATE, "{excess} bytes more came than were lost");
    Ok(())
}

/// Samples of what is left, with the time before each was asked for.
fn run_for(
    ringseed: &mut Ringseed,
    torrent: &Torrent,
    time: Duration,
) -> Result<Vec<(Instant, u64)>> {
    // A moment within the download, so not before it has got on.
    let before = ringseed.number(torrent.info_hash(), "left_until_done")?;
    wait_until("the download gets on", ENOUGH, || {
        Ok(ringseed.number(torrent.info_hash(), "left_until_done")? < before)
    })?;
    let start = Instant::now();
    let mut samples = Vec::new();
    while start.elapsed() < time || samples.is_empty() {
        // What a status says is done may lag behind, so a sample is no older than its answer.
        let left = ringseed.number(torrent.info_hash(), "left_until_done")?;
        samples.push((Instant::now(), left));
        sleep(Duration::from_millis(50));
    }
    Ok(samples)
}

fn a_restart_resumes_everything_without_a_recheck(scene: &Scene) -> Result<()> {
    let make = |name: &str, length| {
        Torrent::make(&Shape::file(name, length, 64 << 10), &scene.new_folder(name)?)
    };
    let (seeded, fetched) = (make("seeded", 20_000_000)?, make("fetched", 10_000_001)?);
    let (partial, stopped) = (make("partial", 40_000_000)?, make("stopped", 5_000_000)?);
    let tracker = ScriptedTracker::start()?;
    let mut seed = Libtorrent::start(&scene.new_folder("libtorrent")?, Ipv4Addr::LOCALHOST)?;
    for torrent in [&fetched, &partial] {
        seed.add(&torrent.with_trackers(&[])?, torrent.source())?;
        wait_complete(&mut seed, torrent, ENOUGH)?;
    }
    let conditions = Conditions { rate: Some(4_000_000), ..Conditions::default() };
    let relay = Relay::start(seed.peer_address(), conditions)?;
    tracker.set_peers(fetched.info_hash(), &[seed.peer_address()]);
    tracker.set_peers(partial.info_hash(), &[relay.address()]);

    let mut ringseed = Ringseed::start_with(Options { cores: 2, ..Options::new(scene)? })?;
    let url = tracker.url();
    ringseed.add(&seeded.with_trackers(&[&url])?, seeded.source())?;
    ringseed.add(&stopped.with_trackers(&[&url])?, stopped.source())?;
    ringseed.download(&fetched.with_trackers(&[&url])?)?;
    ringseed.download(&partial.with_trackers(&[&url])?)?;
    for torrent in [&seeded, &stopped, &fetched] {
        wait_complete(&mut ringseed, torrent, ENOUGH)?;
    }
    ringseed.act("torrent_stop", stopped.info_hash())?;
    wait_until("the torrent is stopped and the other on its way", ENOUGH, || {
        Ok(ringseed.number(stopped.info_hash(), "status")? == 0
            && ringseed.number(partial.info_hash(), "left_until_done")? < 30_000_000)
    })?;
    relay.stall(true);
    let left = settled(&mut ringseed, &partial)?;
    ringseed.process().terminate(ENOUGH)?;
    relay.stall(false);

    // A wrong byte, which only a recheck could find.
    spoil(&seeded.source().join("seeded"))?;
    ringseed.start_again()?;
    for torrent in [&seeded, &fetched] {
        wait_complete(&mut ringseed, torrent, ENOUGH)?;
    }
    ensure!(ringseed.number(stopped.info_hash(), "status")? == 0, "the stopped one was started");
    ensure!(
        ringseed.number(stopped.info_hash(), "left_until_done")? == 0,
        "the stopped one forgot"
    );
    let resumed = ringseed.number(partial.info_hash(), "left_until_done")?;
    ensure!(resumed <= left, "{resumed} bytes left after a graceful stop, {left} before");
    wait_complete(&mut ringseed, &partial, ENOUGH)?;
    partial.compare(ringseed.downloads())?;

    // And a recheck that is asked for does find it.
    ringseed.act("torrent_verify", seeded.info_hash())?;
    wait_until("the recheck finds the wrong byte", ENOUGH, || {
        Ok(ringseed.number(seeded.info_hash(), "left_until_done")? == 64 << 10)
    })
}

/// What is left of a torrent once that no longer changes.
fn settled(ringseed: &mut Ringseed, torrent: &Torrent) -> Result<u64> {
    let mut last = (Instant::now(), u64::MAX);
    wait_for("nothing comes any more", ENOUGH, || {
        let left = ringseed.number(torrent.info_hash(), "left_until_done")?;
        if left != last.1 {
            last = (Instant::now(), left);
        }
        Ok((last.0.elapsed() > Duration::from_secs(2)).then_some(left))
    })
}

/// Changes a byte in the middle and leaves no trace in the file's times.
fn spoil(path: &Path) -> Result<()> {
    let file = File::options().read(true).write(true).open(path)?;
    let metadata = file.metadata()?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, metadata.len() / 2)?;
    file.write_all_at(&[byte[0] ^ 1], metadata.len() / 2)?;
    let times = std::fs::FileTimes::new();
    Ok(file
        .set_times(times.set_modified(metadata.modified()?).set_accessed(metadata.accessed()?))?)
}

fn a_graceful_stop_is_quick_and_tells_the_trackers(scene: &Scene) -> Result<()> {
    let tracker = ScriptedTracker::start()?;
    // One that takes connections and never answers, as trackers do.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let silent_url = format!("http://{}/announce", silent.local_addr()?);
    let mut ringseed = Ringseed::start_with(Options { cores: 2, ..Options::new(scene)? })?;
    let mut torrents = Vec::new();
    for number in 0..20 {
        let shape = Shape::file(&format!("torrent {number}"), 100_000, 16 << 10);
        let torrent = Torrent::make(&shape, &scene.new_folder("source")?)?;
        let url = if number == 0 { silent_url.clone() } else { tracker.url() };
        ringseed.add(&torrent.with_trackers(&[&url])?, torrent.source())?;
        torrents.push(torrent);
    }
    for torrent in &torrents[1..] {
        wait_complete(&mut ringseed, torrent, ENOUGH)?;
        tracker.wait_for_event(torrent.info_hash(), "started", ENOUGH)?;
    }
    let (took, status) = ringseed.process().terminate(ENOUGH)?;
    scene.say(format_args!("stopped within {took:?}, {status}"));
    ensure!(status.success(), "it ended with {status}");
    ensure!(took < Duration::from_secs(3), "it took {took:?}");
    let announces = tracker.announces();
    for torrent in &torrents[1..] {
        let hash = torrent.info_hash();
        let stopped =
            announces.iter().filter(|said| said.info_hash == hash && said.event == "stopped");
        ensure!(stopped.count() == 1, "not one `stopped` for {}", torrent.layout().name());
    }
    Ok(())
}
