//! Disks that give no answer, or errors: calls are answered all the same, other torrents go on, and
//! the torrent that it concerns says so and recovers when the cause goes.

use anyhow::{Result, ensure};
use faulty::{FaultyDisk, Hang};
use metainfo::InfoHash;
use ringseed_tests::peer::{Connection, Manner, Seed};
use ringseed_tests::{
    Client, Dialect, Libtorrent, Missing, Ringseed, Rpc, Scene, ScriptedTracker, Shape, Torrent,
    for_each_driver, wait_complete, wait_for, wait_until,
};
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};
use wire::{Message, RawBlock};

const ENOUGH: Duration = Duration::from_secs(120);

/// Longer than a call takes on a machine that has other things to do, of whose disk every setting is
/// synced; `bench/control` measures how long they really take. The disk that hangs does so for ever.
const PROMPT: Duration = Duration::from_secs(5);

for_each_driver! {
    a_disk_that_hangs_reads_holds_up_no_call_and_no_other_torrent;
    a_disk_that_hangs_writes_holds_up_no_other_download;
    a_folder_that_hangs_holds_up_nobody_who_starts_or_checks_elsewhere;
    reads_writes_and_syncs_that_fail_are_errors_of_their_torrents;
}

fn disk(scene: &Scene) -> Result<FaultyDisk> {
    let folder = scene.new_folder("disk")?;
    let mounted = FaultyDisk::mount(&folder, 64 << 20);
    Ok(mounted.map_err(|error| Missing(format!("the right to mount by FUSE ({error})")))?)
}

fn make(scene: &Scene, name: &str, length: u64) -> Result<Torrent> {
    Torrent::make(&Shape::file(name, length, 64 << 10), &scene.new_folder("source")?)
}

/// Lets Ringseed seed a torrent of which this folder has the data.
fn seed_from(ringseed: &mut Ringseed, torrent: &Torrent, folder: &Path) -> Result<()> {
    ringseed.add(&torrent.with_trackers(&[])?, folder)?;
    wait_complete(ringseed, torrent, ENOUGH)
}

/// Takes the file out of the page cache.
fn forget(path: &Path) -> Result<()> {
    let file = std::fs::File::open(path)?;
    Ok(rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?)
}

fn request(at: u32) -> Message<'static> {
    Message::Request(RawBlock { index: at / 4, begin: at % 4 * (16 << 10), length: 16 << 10 })
}

/// A leecher that asks for this many blocks, a piece apart from each other.
fn asks(ringseed: &mut Ringseed, info_hash: InfoHash, blocks: u32) -> Result<Connection> {
    let mut leech = Connection::open(ringseed.peer_address(), info_hash)?;
    leech.send(&[Message::Interested])?;
    leech
        .read(ENOUGH, |item| matches!(item, wire::Item::Message(Message::Unchoke)).then_some(()))?;
    let wanted: Vec<Message<'_>> = (0..blocks).map(|block| request(block * 4)).collect();
    leech.send(&wanted)?;
    Ok(leech)
}

/// A client fetches it whole from Ringseed.
fn is_served(scene: &Scene, ringseed: &mut Ringseed, torrent: &Torrent) -> Result<()> {
    let mut client = Libtorrent::start(&scene.new_folder("witness")?, Ipv4Addr::LOCALHOST)?;
    let folder = scene.new_folder("witnessed")?;
    client.add(&torrent.with_trackers(&[])?, &folder)?;
    client.connect(torrent.info_hash(), ringseed.peer_address())?;
    wait_complete(&mut client, torrent, ENOUGH)?;
    torrent.compare(&folder)
}

/// Ringseed downloads it to this folder.
fn is_fetched(scene: &Scene, ringseed: &mut Ringseed, name: &str, folder: &Path) -> Result<()> {
    let torrent = make(scene, name, 4_000_000)?;
    let seed = Seed::start(&torrent, Ipv4Addr::LOCALHOST, Manner::Honest)?;
    let tracker = ScriptedTracker::start()?;
    tracker.set_peers(torrent.info_hash(), &[seed.address()]);
    ringseed.add(&torrent.with_trackers(&[&tracker.url()])?, folder)?;
    wait_complete(ringseed, &torrent, ENOUGH)?;
    torrent.compare(folder)
}

fn error_of(ringseed: &mut Ringseed, torrent: &Torrent) -> Result<String> {
    wait_for("the torrent says what is wrong", ENOUGH, || {
        ringseed.process().check()?;
        Ok(ringseed.state(torrent.info_hash())?.error)
    })
}

fn recovers(ringseed: &mut Ringseed, torrent: &Torrent) -> Result<()> {
    wait_until("the torrent recovers by itself", ENOUGH, || {
        ringseed.process().check()?;
        let state = ringseed.state(torrent.info_hash())?;
        Ok(state.seeding && state.error.is_none())
    })
}

/// All calls that one would make meanwhile are answered soon.
fn calls_are_answered(scene: &Scene, ringseed: &mut Ringseed, torrent: &Torrent) -> Result<()> {
    let mut rpc = Rpc::new(ringseed.control_address(), Dialect::JsonRpc);
    let ids = json!([torrent.info_hash().to_string()]);
    let elsewhere = ringseed.downloads().to_owned();
    let fields = json!(["id", "name", "status", "files", "peers", "error_string", "tracker_stats"]);
    let calls: [(&str, Value); 8] = [
        ("torrent_get", json!({ "fields": fields })),
        ("torrent_get", json!({ "fields": ["id"], "ids": "recently_active" })),
        ("session_get", json!({})),
        ("session_stats", json!({})),
        ("torrent_set", json!({ "ids": ids, "labels": ["x"] })),
        ("session_set", json!({ "peer_limit_global": 300 })),
        ("torrent_reannounce", json!({ "ids": ids })),
        ("free_space", json!({ "path": elsewhere })),
    ];
    let mut slowest = (Duration::ZERO, "");
    for (method, arguments) in calls.iter().cycle().take(80) {
        let start = Instant::now();
        rpc.call(method, arguments.clone())?;
        slowest = slowest.max((start.elapsed(), *method));
    }
    scene.say(format_args!("the slowest call: {slowest:?}"));
    ensure!(slowest.0 < PROMPT, "{slowest:?}");
    Ok(())
}

fn a_disk_that_hangs_reads_holds_up_no_call_and_no_other_torrent(scene: &Scene) -> Result<()> {
    let disk = disk(scene)?;
    let stuck = make(scene, "stuck", 16 << 20)?;
    let other = make(scene, "other", 3_000_001)?;
    let mut ringseed = Ringseed::start(scene)?;
    let _healed = disk.healed();
    seed_from(&mut ringseed, &other, other.source())?;
    stuck.copy_to(disk.folder())?;
    seed_from(&mut ringseed, &stuck, disk.folder())?;
    disk.set(|faults| faults.hang = Hang::Data);
    forget(&disk.folder().join("stuck"))?;
    let mut leech = asks(&mut ringseed, stuck.info_hash(), 60)?;
    wait_until("reads hang", ENOUGH, || Ok(disk.hanging() > 0))?;
    let said = error_of(&mut ringseed, &stuck)?;
    scene.say(&said);
    ensure!(said.contains("does not answer"), "{said}");
    calls_are_answered(scene, &mut ringseed, &stuck)?;
    forget(&other.source().join("other"))?;
    is_served(scene, &mut ringseed, &other)?;
    is_fetched(scene, &mut ringseed, "new", &scene.new_folder("new")?)?;

    // Then it answers, and so does Ringseed.
    disk.set(|faults| faults.hang = Hang::Nothing);
    let mut blocks = 0;
    leech.read(ENOUGH, |item| {
        blocks += u32::from(matches!(item, wire::Item::BlockEnd));
        (blocks == 60).then_some(())
    })?;
    recovers(&mut ringseed, &stuck)?;
    is_served(scene, &mut ringseed, &stuck)
}

fn a_disk_that_hangs_writes_holds_up_no_other_download(scene: &Scene) -> Result<()> {
    let disk = disk(scene)?;
    let stuck = make(scene, "stuck", 24 << 20)?;
    let seed = Seed::start(&stuck, Ipv4Addr::LOCALHOST, Manner::Honest)?;
    let tracker = ScriptedTracker::start()?;
    tracker.set_peers(stuck.info_hash(), &[seed.address()]);
    let mut ringseed = Ringseed::start(scene)?;
    let _healed = disk.healed();
    disk.set(|faults| faults.delay = Duration::from_millis(20));
    ringseed.add(&stuck.with_trackers(&[&tracker.url()])?, disk.folder())?;
    wait_until("the download is on its way", ENOUGH, || {
        Ok(ringseed.number(stuck.info_hash(), "left_until_done")? < 23 << 20)
    })?;
    disk.set(|faults| faults.hang = Hang::Everything);
    let said = error_of(&mut ringseed, &stuck)?;
    ensure!(said.contains("does not answer"), "{said}");
    is_fetched(scene, &mut ringseed, "other", &scene.new_folder("other")?)?;
    calls_are_answered(scene, &mut ringseed, &stuck)?;

    // It can be stopped, for what cannot be written is not claimed.
    ringseed.act("torrent_stop", stuck.info_hash())?;
    wait_until("it stops", ENOUGH, || Ok(ringseed.number(stuck.info_hash(), "status")? == 0))?;
    disk.set(|faults| *faults = faulty::Faults::default());
    ringseed.act("torrent_start", stuck.info_hash())?;
    recovers(&mut ringseed, &stuck)?;
    stuck.compare_exactly(disk.folder())
}

fn a_folder_that_hangs_holds_up_nobody_who_starts_or_checks_elsewhere(scene: &Scene) -> Result<()> {
    let disk = disk(scene)?;
    let mut ringseed = Ringseed::start(scene)?;
    let _healed = disk.healed();
    let other = make(scene, "other", 3_000_001)?;
    seed_from(&mut ringseed, &other, other.source())?;
    let mut stuck = Vec::new();
    for number in 0..6 {
        let torrent = make(scene, &format!("stuck {number}"), 1_000_000)?;
        torrent.copy_to(disk.folder())?;
        stuck.push(torrent);
    }
    // Some hang when they are looked at, some when they are read.
    for (torrent, hang) in stuck.iter().zip([Hang::Data, Hang::Everything].into_iter().cycle()) {
        disk.set(|faults| faults.hang = hang);
        ringseed.add(&torrent.with_trackers(&[])?, disk.folder())?;
    }
    disk.set(|faults| faults.hang = Hang::Everything);
    wait_until("somebody hangs", ENOUGH, || Ok(disk.hanging() > 0))?;
    calls_are_answered(scene, &mut ringseed, &other)?;
    wait_until("somebody says so", ENOUGH, || {
        let mut states = stuck.iter().map(|torrent| ringseed.state(torrent.info_hash()));
        let says = |error: &String| error.contains("does not answer");
        states.try_fold(false, |any, state| Ok(any || state?.error.as_ref().is_some_and(says)))
    })?;
    is_fetched(scene, &mut ringseed, "new", &scene.new_folder("new")?)?;
    ringseed.act("torrent_verify", other.info_hash())?;
    std::thread::sleep(Duration::from_millis(200));
    recovers(&mut ringseed, &other)?;
    disk.set(|faults| faults.hang = Hang::Nothing);
    for torrent in &stuck {
        recovers(&mut ringseed, torrent)?;
    }
    Ok(())
}

/// A download to a disk of its own, on its way.
fn fetches_to(
    scene: &Scene,
    ringseed: &mut Ringseed,
    name: &str,
    disk: &FaultyDisk,
) -> Result<(Torrent, Seed, ScriptedTracker)> {
    let torrent = make(scene, name, 16 << 20)?;
    let seed = Seed::start(&torrent, Ipv4Addr::LOCALHOST, Manner::Honest)?;
    let tracker = ScriptedTracker::start()?;
    tracker.set_peers(torrent.info_hash(), &[seed.address()]);
    disk.set(|faults| faults.delay = Duration::from_millis(20));
    ringseed.add(&torrent.with_trackers(&[&tracker.url()])?, disk.folder())?;
    wait_until("the download is on its way", ENOUGH, || {
        Ok(ringseed.number(torrent.info_hash(), "left_until_done")? < 15 << 20)
    })?;
    Ok((torrent, seed, tracker))
}

fn reads_writes_and_syncs_that_fail_are_errors_of_their_torrents(scene: &Scene) -> Result<()> {
    let (reads, writes, syncs) = (disk(scene)?, disk(scene)?, disk(scene)?);
    let seeding = make(scene, "seeding", 4 << 20)?;
    let other = make(scene, "other", 3_000_001)?;
    let mut ringseed = Ringseed::start(scene)?;
    seed_from(&mut ringseed, &other, other.source())?;
    seeding.copy_to(reads.folder())?;
    seed_from(&mut ringseed, &seeding, reads.folder())?;
    let (writing, ..) = &fetches_to(scene, &mut ringseed, "writing", &writes)?;
    let (syncing, ..) = &fetches_to(scene, &mut ringseed, "syncing", &syncs)?;

    reads.set(|faults| faults.reads = Some(libc::EIO));
    forget(&reads.folder().join("seeding"))?;
    let _leech = asks(&mut ringseed, seeding.info_hash(), 8)?;
    writes.set(|faults| faults.writes = Some(libc::EIO));
    syncs.set(|faults| faults.syncs = Some(libc::EIO));
    for (torrent, disk) in [(&seeding, &reads), (writing, &writes), (syncing, &syncs)] {
        let said = error_of(&mut ringseed, torrent)?;
        scene.say(&said);
        let folder = disk.folder().display().to_string();
        ensure!(said.contains(&folder) && said.contains("Input/output"), "{said}");
    }
    is_served(scene, &mut ringseed, &other)?;

    for (torrent, disk) in [(&seeding, &reads), (writing, &writes), (syncing, &syncs)] {
        disk.set(|faults| *faults = faulty::Faults::default());
        recovers(&mut ringseed, torrent)?;
        torrent.compare_exactly(disk.folder())?;
    }
    is_served(scene, &mut ringseed, &seeding)
}
