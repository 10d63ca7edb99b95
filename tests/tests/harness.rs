//! The harness itself, without Ringseed: each client fetches what another has, through the tracker.
//! What fails here says nothing about Ringseed.

use anyhow::Result;
use ringseed_tests::{
    Aria2, Client, Driver, Libtorrent, Opentracker, QBittorrent, Release, Scene, Shape, Torrent,
    Transmission, perform, wait_complete,
};
use std::net::Ipv4Addr;
use std::time::Duration;

const ENOUGH: Duration = Duration::from_secs(60);

#[test]
fn every_client_fetches_from_the_others() {
    perform("every_client_fetches_from_the_others", Driver::Uring, everyone);
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
