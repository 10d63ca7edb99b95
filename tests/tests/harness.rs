//! The harness itself, without Ringseed: each client fetches what another has, through the tracker.
//! What fails here says nothing about Ringseed.

use anyhow::{Result, ensure};
use ringseed_tests::peer::{Connection, Manner, Seed};
use ringseed_tests::{
    Aria2, Client, Conditions, Driver, Libtorrent, Opentracker, QBittorrent, Relay, Release, Scene,
    ScriptedTracker, Shape, Torrent, Transmission, perform, wait_complete,
};
use std::net::Ipv4Addr;
use std::time::Duration;
use wire::{Item, Message};

const ENOUGH: Duration = Duration::from_secs(60);

#[test]
fn every_client_fetches_from_the_others() {
    perform("every_client_fetches_from_the_others", Driver::Uring, everyone);
}

#[test]
fn scripted_peers_are_peers() {
    perform("scripted_peers_are_peers", Driver::Uring, scripted);
}

/// A scripted seed behind a long path, one that corrupts, and a scripted tracker, for libtorrent.
fn scripted(scene: &Scene) -> Result<()> {
    let shape = Shape::file("scripted", 6_000_001, 64 << 10).private();
    let torrent = Torrent::make(&shape, &scene.new_folder("source")?)?;
    let tracker = ScriptedTracker::start()?;
    let honest = Seed::start(&torrent, Ipv4Addr::new(127, 0, 0, 2), Manner::Honest)?;
    let corrupting = Seed::start(&torrent, Ipv4Addr::new(127, 0, 0, 3), Manner::Corrupts)?;
    let conditions = Conditions { latency: Duration::from_millis(20), rate: Some(3_000_000) };
    let relay = Relay::start(honest.address(), conditions)?;
    tracker.set_peers(torrent.info_hash(), &[relay.address(), corrupting.address()]);

    let mut client = Libtorrent::start(&scene.new_folder("client")?, Ipv4Addr::LOCALHOST)?;
    let folder = scene.new_folder("downloads")?;
    client.add(&torrent.with_trackers(&[&tracker.url()])?, &folder)?;
    wait_complete(&mut client, &torrent, ENOUGH)?;
    torrent.compare(&folder)?;
    let started = tracker.wait_for_event(torrent.info_hash(), "started", ENOUGH)?;
    ensure!(started.left == 6_000_001 && started.port == client.peer_address().port());
    tracker.wait_for_event(torrent.info_hash(), "completed", ENOUGH)?;
    ensure!(relay.returned() >= 6_000_001, "{} through the relay", relay.returned());
    ensure!(corrupting.served() > 0, "nothing was asked of the one that corrupts");
    let mut leech = Connection::open(client.peer_address(), torrent.info_hash())?;
    leech.send(&[Message::Interested])?;
    leech.read(ENOUGH, |item| (item == Item::Message(Message::Unchoke)).then_some(()))
}

fn everyone(scene: &Scene) -> Result<()> {
    let files =
        vec![("a".to_owned(), 3_000_001), ("b/none".to_owned(), 0), ("b/c".to_owned(), 70_000)];
    let shape = Shape::folder("everyone", files, 64 << 10);
    let torrent = Torrent::make(&shape, &scene.new_folder("source")?)?;
    let tracker = Opentracker::start(&scene.new_folder("tracker")?, &[&torrent])?;
    let bytes = torrent.with_trackers(&[&tracker.http()])?;

    let ip = |last| Ipv4Addr::new(127, 0, 0, last);
    let mut seed = Libtorrent::start(&scene.new_folder("libtorrent")?, ip(2))?;
    let mut clients: Vec<Box<dyn Client>> = vec![
        Box::new(Transmission::start(Release::V4, &scene.new_folder("transmission-4")?, ip(3))?),
        Box::new(Transmission::start(Release::V3, &scene.new_folder("transmission-3")?, ip(4))?),
        Box::new(QBittorrent::start(&scene.new_folder("qbittorrent")?, ip(5))?),
        Box::new(Aria2::start(&scene.new_folder("aria2")?, ip(6))?),
    ];
    scene.say("all clients run");
    seed.add(&bytes, torrent.source())?;
    wait_complete(&mut seed, &torrent, ENOUGH)?;
    tracker.wait_for_seeds(&torrent, 1)?;
    for (number, client) in clients.iter_mut().enumerate() {
        let folder = scene.new_folder("downloads")?;
        client.add(&bytes, &folder)?;
        // Transmission takes no loopback address from a tracker: it has to be called.
        seed.connect(torrent.info_hash(), client.peer_address())?;
        wait_complete(&mut **client, &torrent, ENOUGH)?;
        torrent.compare(&folder)?;
        tracker.wait_for_seeds(&torrent, number as u64 + 2)?;
        scene.say(format_args!("{} has it", client.name()));
    }
    Ok(())
}
