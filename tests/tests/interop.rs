//! Each real client downloads from Ringseed and seeds to it, through the tracker over HTTP and UDP.

use anyhow::Result;
use ringseed_tests::{
    Aria2, Client, Libtorrent, Opentracker, Options, QBittorrent, Release, Ringseed, Scene, Shape,
    Torrent, Transmission, for_each_driver, wait_complete, wait_until,
};
use std::net::Ipv4Addr;
use std::time::Duration;

const ENOUGH: Duration = Duration::from_secs(90);

/// An address of its own for the client: some hold one connection to an address only.
const CLIENT_IP: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

for_each_driver! {
    libtorrent_downloads_and_seeds;
    transmission_4_downloads_and_seeds;
    transmission_3_downloads_and_seeds;
    qbittorrent_downloads_and_seeds;
    aria2_downloads_and_seeds;
    two_daemons_of_two_shards_exchange_torrents;
}

fn libtorrent_downloads_and_seeds(scene: &Scene) -> Result<()> {
    both_ways(scene, &mut Libtorrent::start(&scene.new_folder("client")?, CLIENT_IP)?)
}

fn transmission_4_downloads_and_seeds(scene: &Scene) -> Result<()> {
    let folder = scene.new_folder("client")?;
    both_ways(scene, &mut Transmission::start(Release::V4, &folder, CLIENT_IP)?)
}

fn transmission_3_downloads_and_seeds(scene: &Scene) -> Result<()> {
    let folder = scene.new_folder("client")?;
    both_ways(scene, &mut Transmission::start(Release::V3, &folder, CLIENT_IP)?)
}

fn qbittorrent_downloads_and_seeds(scene: &Scene) -> Result<()> {
    both_ways(scene, &mut QBittorrent::start(&scene.new_folder("client")?, CLIENT_IP)?)
}

fn aria2_downloads_and_seeds(scene: &Scene) -> Result<()> {
    both_ways(scene, &mut Aria2::start(&scene.new_folder("client")?, CLIENT_IP)?)
}

/// Files that share pieces, empty ones, a folder in a folder, a name beyond ASCII, padding between
/// files, and a short piece at the end.
fn shape(name: &str) -> Shape {
    let files = [
        ("a first.bin", 9_000_000),
        ("empty", 0),
        ("folder/empty too", 0),
        ("folder/one byte", 1),
        ("folder/within/größer", 5_000_017),
        ("folder/within/small", 20_000),
        ("z last", 1_234_567),
    ];
    let files = files.map(|(path, length)| (path.to_owned(), length));
    Shape::folder(name, files.to_vec(), 64 << 10)
}

fn both_ways(scene: &Scene, client: &mut dyn Client) -> Result<()> {
    let name = client.name().to_owned();
    let shape = |name| if client.reads_hybrids() { shape(name).padded() } else { shape(name) };
    let ours = Torrent::make(&shape("ours"), &scene.new_folder("ours")?)?;
    let theirs = Torrent::make(&shape("theirs"), &scene.new_folder("theirs")?)?;
    let tracker = Opentracker::start(&scene.new_folder("tracker")?, &[&ours, &theirs])?;
    let mut ringseed = Ringseed::start_with(Options { cores: 2, ..Options::new(scene)? })?;

    // The downloading side comes first each time, so that the seed is told of it and calls it:
    // Transmission itself takes no loopback address from a tracker.
    let fetched = scene.new_folder("client-downloads")?;
    client.add(&ours.with_trackers(&[&tracker.http()])?, &fetched)?;
    wait_until("the client has announced itself", ENOUGH, || {
        Ok(tracker.counts(ours.info_hash())?.incomplete == 1)
    })?;
    ringseed.add(&ours.with_trackers(&[&tracker.http()])?, ours.source())?;
    wait_complete(&mut ringseed, &ours, ENOUGH)?;
    scene.say("Ringseed has checked what it is to seed");

    client.add(&theirs.with_trackers(&[&tracker.http()])?, theirs.source())?;
    wait_complete(client, &theirs, ENOUGH)?;
    tracker.wait_for_seeds(&theirs, 1)?;
    ringseed.download(&theirs.with_trackers(&[&tracker.udp()])?)?;

    wait_complete(client, &ours, ENOUGH)?;
    ours.compare(&fetched)?;
    scene.say(format_args!("{name} has downloaded from Ringseed"));
    wait_complete(&mut ringseed, &theirs, ENOUGH)?;
    theirs.compare_exactly(ringseed.downloads())?;
    scene.say(format_args!("Ringseed has downloaded from {name}"));

    // Both have announced it over HTTP and UDP.
    tracker.wait_for_seeds(&ours, 2)?;
    tracker.wait_for_seeds(&theirs, 2)
}

/// Three torrents each way: each daemon has three on each of its shards, and most connections reach a
/// shard that must hand them to the other one.
fn two_daemons_of_two_shards_exchange_torrents(scene: &Scene) -> Result<()> {
    const EACH_WAY: usize = 3;
    let torrents = (0..2 * EACH_WAY).map(|number| {
        Torrent::make(&shape(&format!("number {number}")), &scene.new_folder("source")?)
    });
    let torrents = torrents.collect::<Result<Vec<_>>>()?;
    let known: Vec<&Torrent> = torrents.iter().collect();
    let tracker = Opentracker::start(&scene.new_folder("tracker")?, &known)?;
    let start = || Ringseed::start_with(Options { cores: 2, ..Options::new(scene)? });
    let mut daemons = [start()?, start()?];
    // Daemon 0 has the even ones, daemon 1 the odd ones.
    for (number, torrent) in torrents.iter().enumerate() {
        let seed = &mut daemons[number % 2];
        seed.add(&torrent.with_trackers(&[&tracker.http()])?, torrent.source())?;
        wait_complete(seed, torrent, ENOUGH)?;
        tracker.wait_for_seeds(torrent, 1)?;
    }
    for (number, torrent) in torrents.iter().enumerate() {
        daemons[1 - number % 2].download(&torrent.with_trackers(&[&tracker.udp()])?)?;
    }
    for (number, torrent) in torrents.iter().enumerate() {
        let leech = &mut daemons[1 - number % 2];
        wait_complete(leech, torrent, ENOUGH)?;
        torrent.compare(leech.downloads())?;
    }
    Ok(())
}
