//! Torrents of every shape, each to and from libtorrent, and the extremes to and from every client; several
//! peers at once, IPv6, private ones.

use anyhow::{Result, ensure};
use ringseed_tests::peer::Connection;
use ringseed_tests::{
    Aria2, Client, Conditions, Libtorrent, Options, QBittorrent, Relay, Release, Ringseed, Scene,
    ScriptedTracker, Shape, Torrent, Transmission, for_each_driver, wait_complete, wait_for,
    wait_until,
};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

const ENOUGH: Duration = Duration::from_secs(120);

/// Not this daemon's: some clients hold one connection to an address only.
const CLIENT_IP: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

for_each_driver! {
    every_piece_size_goes_both_ways;
    a_thousand_files_go_both_ways;
    odd_lengths_go_both_ways;
    a_private_torrent_goes_both_ways;
    extremes_go_to_and_from_transmission_4;
    extremes_go_to_and_from_transmission_3;
    extremes_go_to_and_from_qbittorrent;
    extremes_go_to_and_from_aria2;
    peers_meet_over_ipv6;
    three_seeds_at_once_each_give_a_part;
    three_leeches_at_once_are_served;
}

fn every_piece_size_goes_both_ways(scene: &Scene) -> Result<()> {
    let shapes = (14..=24).map(|log| {
        let piece_length = 1 << log;
        // At least two pieces and a short one.
        let length = (2 * u64::from(piece_length)).max(3_000_000) + 12_345;
        Shape::file(&format!("pieces of {} KiB", piece_length >> 10), length, piece_length)
    });
    both_ways(scene, &mut libtorrent(scene)?, shapes.collect())
}

fn a_thousand_files_go_both_ways(scene: &Scene) -> Result<()> {
    let padded = Shape { name: "a thousand padded".to_owned(), ..a_thousand_files() }.padded();
    both_ways(scene, &mut libtorrent(scene)?, vec![a_thousand_files(), padded])
}

fn a_thousand_files() -> Shape {
    let file = |number: u64| (format!("{}/{number}", number % 10), number * number % 40_009);
    Shape::folder("a thousand", (0..1000).map(file).collect(), 16 << 10)
}

fn odd_lengths_go_both_ways(scene: &Scene) -> Result<()> {
    let two = vec![("a".to_owned(), 16_383), ("b".to_owned(), 1)];
    let only_empty_but_one = (0..5).map(|number| (number.to_string(), number / 4 * 100_000));
    both_ways(
        scene,
        &mut libtorrent(scene)?,
        vec![
            Shape::file("one byte", 1, 16 << 10),
            Shape::file("one block", 16 << 10, 32 << 10),
            Shape::file("one piece", 256 << 10, 256 << 10),
            Shape::file("whole pieces", 4 << 20, 256 << 10),
            Shape::file("a byte more than whole pieces", (4 << 20) + 1, 256 << 10),
            Shape::folder("a piece of two files", two, 16 << 10),
            Shape::folder("mostly empty", only_empty_but_one.collect(), 16 << 10),
        ],
    )
}

fn a_private_torrent_goes_both_ways(scene: &Scene) -> Result<()> {
    let shape = Shape::file("private", 10_000_000, 128 << 10).private();
    both_ways(scene, &mut libtorrent(scene)?, vec![shape])
}

fn extremes_go_to_and_from_transmission_4(scene: &Scene) -> Result<()> {
    extremes(scene, &mut Transmission::start(Release::V4, &scene.new_folder("client")?, CLIENT_IP)?)
}

fn extremes_go_to_and_from_transmission_3(scene: &Scene) -> Result<()> {
    extremes(scene, &mut Transmission::start(Release::V3, &scene.new_folder("client")?, CLIENT_IP)?)
}

fn extremes_go_to_and_from_qbittorrent(scene: &Scene) -> Result<()> {
    extremes(scene, &mut QBittorrent::start(&scene.new_folder("client")?, CLIENT_IP)?)
}

fn extremes_go_to_and_from_aria2(scene: &Scene) -> Result<()> {
    extremes(scene, &mut Aria2::start(&scene.new_folder("client")?, CLIENT_IP)?)
}

/// The smallest and the largest pieces, a thousand files, and a private torrent.
fn extremes(scene: &Scene, client: &mut dyn Client) -> Result<()> {
    let files =
        if client.reads_hybrids() { a_thousand_files().padded() } else { a_thousand_files() };
    let shapes = vec![
        Shape::file("small pieces", 3_000_001, 16 << 10),
        Shape::file("large pieces", (32 << 20) + 12_345, 16 << 20),
        files,
        Shape::file("private", 3_000_001, 128 << 10).private(),
    ];
    both_ways(scene, client, shapes)
}

fn libtorrent(scene: &Scene) -> Result<Libtorrent> {
    Libtorrent::start(&scene.new_folder("libtorrent")?, CLIENT_IP)
}

/// Makes two torrents of each shape; one goes from Ringseed to the client, one the other way, all at
/// the same time and on two shards.
fn both_ways(scene: &Scene, client: &mut dyn Client, shapes: Vec<Shape>) -> Result<()> {
    let tracker = ScriptedTracker::start()?;
    let mut ringseed = Ringseed::start_with(Options { cores: 2, ..Options::new(scene)? })?;
    let fetched = scene.new_folder("fetched")?;
    let mut out = Vec::new();
    let mut back = Vec::new();
    for shape in shapes {
        let named = |way| Shape { name: format!("{} {way}", shape.name), ..shape.clone() };
        out.push(Torrent::make(&named("out"), &scene.new_folder("source-out")?)?);
        back.push(Torrent::make(&named("back"), &scene.new_folder("source-back")?)?);
    }
    scene.say(format_args!("{} torrents are made", out.len() + back.len()));
    // The client comes first, and Ringseed is told of it and calls it.
    for torrent in &out {
        let bytes = torrent.with_trackers(&[&tracker.url()])?;
        client.add(&bytes, &fetched)?;
        tracker.wait_for_event(torrent.info_hash(), "started", ENOUGH)?;
        tracker.set_peers(torrent.info_hash(), &[client.peer_address()]);
        ringseed.add(&bytes, torrent.source())?;
    }
    for torrent in &back {
        let bytes = torrent.with_trackers(&[&tracker.url()])?;
        client.add(&bytes, torrent.source())?;
        wait_complete(client, torrent, ENOUGH)?;
        tracker.wait_for_event(torrent.info_hash(), "started", ENOUGH)?;
        tracker.set_peers(torrent.info_hash(), &[client.peer_address()]);
        ringseed.download(&bytes)?;
    }
    for torrent in &out {
        wait_complete(client, torrent, ENOUGH)?;
        torrent.compare(&fetched)?;
    }
    for torrent in &back {
        wait_complete(&mut ringseed, torrent, ENOUGH)?;
        torrent.compare(ringseed.downloads())?;
        let private = ringseed.get(torrent.info_hash(), &["is_private"])?["is_private"] == true;
        ensure!(private == torrent.metainfo.private, "is_private is {private}");
    }
    Ok(())
}

fn peers_meet_over_ipv6(scene: &Scene) -> Result<()> {
    let tracker = ScriptedTracker::start()?;
    let ours = Torrent::make(&Shape::file("ours", 8_000_000, 64 << 10), &scene.new_folder("o")?)?;
    let theirs =
        Torrent::make(&Shape::file("theirs", 8_000_000, 64 << 10), &scene.new_folder("t")?)?;
    let mut ringseed = Ringseed::start(scene)?;
    let mut client = Libtorrent::start(&scene.new_folder("libtorrent")?, Ipv6Addr::LOCALHOST)?;
    let fetched = scene.new_folder("fetched")?;

    // Of ours, only libtorrent is told who has it; of theirs, only Ringseed.
    let bytes = ours.with_trackers(&[&tracker.url()])?;
    ringseed.add(&bytes, ours.source())?;
    wait_complete(&mut ringseed, &ours, ENOUGH)?;
    client.add(&ours.with_trackers(&[])?, &fetched)?;
    client.connect(ours.info_hash(), ringseed.peer_address_v6())?;

    tracker.set_peers(theirs.info_hash(), &[client.peer_address()]);
    client.add(&theirs.with_trackers(&[])?, theirs.source())?;
    wait_complete(&mut client, &theirs, ENOUGH)?;
    ringseed.download(&theirs.with_trackers(&[&tracker.url()])?)?;

    wait_complete(&mut client, &ours, ENOUGH)?;
    ours.compare(&fetched)?;
    wait_complete(&mut ringseed, &theirs, ENOUGH)?;
    theirs.compare_exactly(ringseed.downloads())
}

fn three_seeds_at_once_each_give_a_part(scene: &Scene) -> Result<()> {
    // So slow that every seed's choker comes round, some every ten seconds, before it is over.
    const RATE: u64 = 1_500_000;
    let shape = Shape::file("three", 40_000_001, 256 << 10);
    let torrent = Torrent::make(&shape, &scene.new_folder("source")?)?;
    let tracker = ScriptedTracker::start()?;
    let mut relays = Vec::new();
    let mut seeds = clients(scene)?;
    for seed in &mut seeds {
        seed.add(&torrent.with_trackers(&[])?, torrent.source())?;
        wait_complete(&mut **seed, &torrent, ENOUGH)?;
        wait_until("it takes connections", ENOUGH, || {
            Ok(Connection::open(seed.peer_address(), torrent.info_hash()).is_ok())
        })?;
        let conditions = Conditions { rate: Some(RATE), ..Conditions::default() };
        relays.push(Relay::start(seed.peer_address(), conditions)?);
    }
    let peers: Vec<SocketAddr> = relays.iter().map(Relay::address).collect();
    tracker.set_peers(torrent.info_hash(), &peers);
    let mut ringseed = Ringseed::start(scene)?;
    ringseed.download(&torrent.with_trackers(&[&tracker.url()])?)?;
    wait_complete(&mut ringseed, &torrent, ENOUGH)?;
    torrent.compare_exactly(ringseed.downloads())?;
    for (seed, relay) in seeds.iter().zip(&relays) {
        let (asked, gave) = (relay.forwarded(), relay.returned());
        scene.say(format_args!("{} got {asked} bytes and gave {gave}", seed.name()));
        ensure!(relay.returned() > 1_000_000, "{} gave little", seed.name());
    }
    let all: u64 = relays.iter().map(Relay::returned).sum();
    // In the end game the peers that are done are asked for what the others still owe.
    ensure!(all < 40_000_001 + RATE, "{all} bytes came for 40,000,001: too many came twice");
    Ok(())
}

fn three_leeches_at_once_are_served(scene: &Scene) -> Result<()> {
    let shape = Shape::file("three", 40_000_001, 256 << 10);
    let torrent = Torrent::make(&shape, &scene.new_folder("source")?)?;
    let tracker = ScriptedTracker::start()?;
    let mut ringseed = Ringseed::start(scene)?;
    ringseed.add(&torrent.with_trackers(&[])?, torrent.source())?;
    wait_complete(&mut ringseed, &torrent, ENOUGH)?;
    tracker.set_peers(torrent.info_hash(), &[ringseed.peer_address()]);
    let mut leeches = clients(scene)?;
    let mut folders = Vec::new();
    for leech in &mut leeches {
        let folder = scene.new_folder("fetched")?;
        leech.add(&torrent.with_trackers(&[&tracker.url()])?, &folder)?;
        folders.push(folder);
    }
    for (leech, folder) in leeches.iter_mut().zip(&folders) {
        wait_complete(&mut **leech, &torrent, ENOUGH)?;
        torrent.compare(folder)?;
        scene.say(format_args!("{} has it", leech.name()));
    }
    // Its counters are published once a second.
    wait_for("all that was sent is counted", Duration::from_secs(10), || {
        let sent = ringseed.number(torrent.info_hash(), "uploaded_ever")?;
        Ok((sent >= 3 * 40_000_001).then_some(()))
    })?;
    Ok(())
}

fn clients(scene: &Scene) -> Result<Vec<Box<dyn Client>>> {
    let ip = |last| Ipv4Addr::new(127, 0, 0, last);
    Ok(vec![
        Box::new(Libtorrent::start(&scene.new_folder("libtorrent")?, ip(2))?),
        Box::new(QBittorrent::start(&scene.new_folder("qbittorrent")?, ip(3))?),
        Box::new(Aria2::start(&scene.new_folder("aria2")?, ip(4))?),
    ])
}
