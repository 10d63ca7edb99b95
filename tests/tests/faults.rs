//! What goes wrong around the daemon: the disk, the files, the tracker. The torrent that it concerns
//! says so and recovers when the cause goes; the others notice nothing.

use anyhow::{Context, Result, ensure};
use ringseed_tests::peer::{Manner, Seed};
use ringseed_tests::{
    Client, Conditions, Libtorrent, Relay, Ringseed, Scene, ScriptedTracker, Shape, Torrent,
    for_each_driver, wait_complete, wait_for, wait_until,
};
use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

const ENOUGH: Duration = Duration::from_secs(120);

for_each_driver! {
    a_disk_too_small_is_refused_before_the_download;
    a_disk_that_fills_up_stops_the_download_until_there_is_room;
    a_read_only_folder_stops_the_download_until_it_is_writable;
    a_file_deleted_while_seeding_is_an_error_of_that_torrent;
    a_file_truncated_while_seeding_is_an_error_of_that_torrent;
    a_tracker_that_was_down_is_found_when_it_is_up;
}

/// A torrent that Ringseed seeds all the while, to show that it is unharmed.
struct Bystander {
    torrent: Torrent,
}

impl Bystander {
    fn new(scene: &Scene, ringseed: &mut Ringseed) -> Result<Bystander> {
        let shape = Shape::file("bystander", 3_000_001, 64 << 10);
        let torrent = Torrent::make(&shape, &scene.new_folder("bystander")?)?;
        ringseed.add(&torrent.with_trackers(&[])?, torrent.source())?;
        wait_complete(ringseed, &torrent, ENOUGH)?;
        Ok(Bystander { torrent })
    }

    /// A client fetches it whole.
    fn is_served(&self, scene: &Scene, ringseed: &mut Ringseed) -> Result<()> {
        let mut client = Libtorrent::start(&scene.new_folder("witness")?, Ipv4Addr::LOCALHOST)?;
        let folder = scene.new_folder("witnessed")?;
        client.add(&self.torrent.with_trackers(&[])?, &folder)?;
        client.connect(self.torrent.info_hash(), ringseed.peer_address())?;
        wait_complete(&mut client, &self.torrent, ENOUGH)?;
        self.torrent.compare(&folder)?;
        let state = ringseed.state(self.torrent.info_hash())?;
        ensure!(state.seeding && state.error.is_none(), "the other torrent is {state:?}");
        Ok(())
    }
}

/// Waits until the torrent says what is wrong with it.
fn error_of(ringseed: &mut Ringseed, torrent: &Torrent) -> Result<String> {
    wait_for("the torrent says what is wrong", ENOUGH, || {
        ringseed.process().check()?;
        Ok(ringseed.state(torrent.info_hash())?.error)
    })
}

/// Waits until it has recovered: by itself, for nothing is done but waiting.
fn recovers(ringseed: &mut Ringseed, torrent: &Torrent) -> Result<()> {
    wait_until("the torrent recovers by itself", ENOUGH, || {
        ringseed.process().check()?;
        let state = ringseed.state(torrent.info_hash())?;
        Ok(state.seeding && state.error.is_none())
    })
}

fn a_disk_too_small_is_refused_before_the_download(scene: &Scene) -> Result<()> {
    let disk = scene.disk("8m")?;
    let shape = Shape::file("too large", 20_000_000, 64 << 10);
    let torrent = Torrent::make(&shape, &scene.new_folder("source")?)?;
    let seed = Seed::start(&torrent, Ipv4Addr::LOCALHOST, Manner::Honest)?;
    let tracker = ScriptedTracker::start()?;
    tracker.set_peers(torrent.info_hash(), &[seed.address()]);
    let mut ringseed = Ringseed::start(scene)?;
    let bystander = Bystander::new(scene, &mut ringseed)?;
    ringseed.add(&torrent.with_trackers(&[&tracker.url()])?, disk.folder())?;
    let error = error_of(&mut ringseed, &torrent)?;
    scene.say(&error);
    ensure!(error.contains("space") || error.contains("full"), "it does not say why: {error}");
    ensure!(seed.served() == 0, "{} blocks were fetched in vain", seed.served());
    bystander.is_served(scene, &mut ringseed)
}

fn a_disk_that_fills_up_stops_the_download_until_there_is_room(scene: &Scene) -> Result<()> {
    let disk = scene.disk("40m")?;
    let shape = Shape::file("filling", 24_000_000, 64 << 10);
    let torrent = Torrent::make(&shape, &scene.new_folder("source")?)?;
    let seed = Seed::start(&torrent, Ipv4Addr::LOCALHOST, Manner::Honest)?;
    let conditions = Conditions { rate: Some(6_000_000), ..Conditions::default() };
    let relay = Relay::start(seed.address(), conditions)?;
    let tracker = ScriptedTracker::start()?;
    tracker.set_peers(torrent.info_hash(), &[relay.address()]);
    let mut ringseed = Ringseed::start(scene)?;
    let bystander = Bystander::new(scene, &mut ringseed)?;
    ringseed.add(&torrent.with_trackers(&[&tracker.url()])?, disk.folder())?;
    wait_until("the download is on its way", ENOUGH, || {
        Ok(ringseed.number(torrent.info_hash(), "left_until_done")? < 22_000_000)
    })?;
    // Somebody else fills the disk.
    let ballast = disk.folder().join("ballast");
    let filled = fs::write(&ballast, vec![1; 36 << 20]);
    scene.say(format_args!("ballast: {filled:?}"));
    let error = error_of(&mut ringseed, &torrent)?;
    scene.say(&error);
    ensure!(error.contains("space") || error.contains("full"), "it does not say why: {error}");
    bystander.is_served(scene, &mut ringseed)?;
    fs::remove_file(&ballast)?;
    recovers(&mut ringseed, &torrent)?;
    torrent.compare_exactly(disk.folder())
}

fn a_read_only_folder_stops_the_download_until_it_is_writable(scene: &Scene) -> Result<()> {
    let disk = scene.disk("40m")?;
    disk.read_only(true)?;
    let files = vec![("a".to_owned(), 2_000_000), ("b/c".to_owned(), 1_000_000)];
    let shape = Shape::folder("unwritable", files, 64 << 10);
    let torrent = Torrent::make(&shape, &scene.new_folder("source")?)?;
    let seed = Seed::start(&torrent, Ipv4Addr::LOCALHOST, Manner::Honest)?;
    let tracker = ScriptedTracker::start()?;
    tracker.set_peers(torrent.info_hash(), &[seed.address()]);
    let mut ringseed = Ringseed::start(scene)?;
    let bystander = Bystander::new(scene, &mut ringseed)?;
    ringseed.add(&torrent.with_trackers(&[&tracker.url()])?, disk.folder())?;
    let error = error_of(&mut ringseed, &torrent)?;
    scene.say(&error);
    ensure!(error.to_lowercase().contains("read-only"), "it does not say why: {error}");
    bystander.is_served(scene, &mut ringseed)?;
    disk.read_only(false)?;
    recovers(&mut ringseed, &torrent)?;
    torrent.compare_exactly(disk.folder())
}

fn a_file_deleted_while_seeding_is_an_error_of_that_torrent(scene: &Scene) -> Result<()> {
    harmed_while_seeding(scene, |path| Ok(fs::remove_file(path)?))
}

fn a_file_truncated_while_seeding_is_an_error_of_that_torrent(scene: &Scene) -> Result<()> {
    harmed_while_seeding(scene, |path| {
        Ok(fs::File::options().write(true).open(path)?.set_len(100_000)?)
    })
}

/// Does harm to a file of a torrent that is being seeded, asks for it, and undoes the harm.
fn harmed_while_seeding(scene: &Scene, harm: fn(&std::path::Path) -> Result<()>) -> Result<()> {
    let files = vec![("a".to_owned(), 20_000_000), ("b".to_owned(), 8_000_000)];
    let shape = Shape::folder("harmed", files, 64 << 10);
    let torrent = Torrent::make(&shape, &scene.new_folder("source")?)?;
    let served = scene.new_folder("served")?;
    torrent.copy_to(&served)?;
    let mut ringseed = Ringseed::start(scene)?;
    let bystander = Bystander::new(scene, &mut ringseed)?;
    ringseed.add(&torrent.with_trackers(&[])?, &served)?;
    wait_complete(&mut ringseed, &torrent, ENOUGH)?;

    // A client is half-way through when it happens.
    let conditions = Conditions { rate: Some(8_000_000), ..Conditions::default() };
    let relay = Relay::start(ringseed.peer_address(), conditions)?;
    let mut client = Libtorrent::start(&scene.new_folder("client")?, Ipv4Addr::new(127, 0, 0, 2))?;
    let folder = scene.new_folder("fetched")?;
    client.add(&torrent.with_trackers(&[])?, &folder)?;
    client.connect(torrent.info_hash(), relay.address())?;
    wait_until("the client is half-way", ENOUGH, || Ok(relay.returned() > 6_000_000))?;
    let path = served.join("harmed/a");
    harm(&path)?;
    // Files that are open stay readable after they are deleted until the daemon reopens them, and
    // it may: then the client gets everything and nothing is wrong yet.
    let error = wait_for("the client is done or the torrent says what is wrong", ENOUGH, || {
        ringseed.process().check()?;
        let state = ringseed.state(torrent.info_hash())?;
        let done = client.state(torrent.info_hash())?.seeding;
        Ok(state.error.map(Some).or(done.then_some(None)))
    })?;
    match &error {
        Some(error) => {
            scene.say(error);
            ensure!(error.contains('a'), "it does not say which file: {error}");
        }
        None => {
            scene.say("the client got everything from the open file");
            ringseed.act("torrent_verify", torrent.info_hash())?;
            let error = error_of(&mut ringseed, &torrent)?;
            scene.say(&error);
        }
    }
    bystander.is_served(scene, &mut ringseed)?;

    fs::copy(torrent.source().join("harmed/a"), &path).context("undoing the harm")?;
    ringseed.act("torrent_verify", torrent.info_hash())?;
    ringseed.act("torrent_start", torrent.info_hash())?;
    recovers(&mut ringseed, &torrent)?;
    client.connect(torrent.info_hash(), relay.address())?;
    wait_complete(&mut client, &torrent, ENOUGH)?;
    torrent.compare(&folder)
}

fn a_tracker_that_was_down_is_found_when_it_is_up(scene: &Scene) -> Result<()> {
    let shape = Shape::file("found", 3_000_000, 64 << 10);
    let torrent = Torrent::make(&shape, &scene.new_folder("source")?)?;
    let seed = Seed::start(&torrent, Ipv4Addr::LOCALHOST, Manner::Honest)?;
    let mut tracker = ScriptedTracker::start()?;
    tracker.set_peers(torrent.info_hash(), &[seed.address()]);
    tracker.down();
    let mut ringseed = Ringseed::start(scene)?;
    ringseed.download(&torrent.with_trackers(&[&tracker.url()])?)?;
    let said = wait_for("the tracker's trouble is told", ENOUGH, || {
        let torrent =
            ringseed.get(torrent.info_hash(), &["error", "error_string", "tracker_stats"])?;
        let stats = &torrent["tracker_stats"][0];
        let failed = stats["has_announced"] == true && stats["last_announce_succeeded"] == false;
        Ok(failed.then(|| stats["last_announce_result"].as_str().unwrap_or_default().to_owned()))
    })?;
    scene.say(format_args!("of the tracker it says: {said}"));
    ensure!(!said.is_empty(), "it says nothing of the tracker's trouble");
    tracker.up()?;
    wait_complete(&mut ringseed, &torrent, ENOUGH)?;
    tracker.wait_for_event(torrent.info_hash(), "completed", ENOUGH)?;

    // It goes while the torrent is seeded: the torrent goes on, and is announced again later.
    tracker.down();
    ringseed.act("torrent_reannounce", torrent.info_hash())?;
    ensure!(ringseed.state(torrent.info_hash())?.seeding, "it no longer seeds");
    let before = tracker.announces().len();
    tracker.up()?;
    wait_until("it is announced again", ENOUGH, || Ok(tracker.announces().len() > before))?;
    torrent.compare_exactly(ringseed.downloads())
}
