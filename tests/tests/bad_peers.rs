//! Peers that are broken rather than hostile: the download ends right without them.

use anyhow::{Result, ensure};
use ringseed_tests::peer::{Connection, Manner, Seed, is_closed_within};
use ringseed_tests::{
    Client, Conditions, Libtorrent, Relay, Ringseed, Scene, ScriptedTracker, Shape, Torrent,
    for_each_driver, wait_complete, wait_until,
};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};
use wire::{Item, Message, RawBlock};

const ENOUGH: Duration = Duration::from_secs(120);

for_each_driver! {
    a_peer_that_corrupts_is_banned_and_the_download_ends_right;
    a_peer_that_stalls_does_not_hold_up_the_download;
    peers_that_never_read_cost_a_bounded_amount;
    a_connection_that_breaks_is_made_again;
}

fn torrent(scene: &Scene) -> Result<Torrent> {
    let shape = Shape::file("torrent", 24_000_001, 256 << 10);
    Torrent::make(&shape, &scene.new_folder("source")?)
}

fn a_peer_that_corrupts_is_banned_and_the_download_ends_right(scene: &Scene) -> Result<()> {
    let torrent = torrent(scene)?;
    let bad = Seed::start(&torrent, Ipv4Addr::new(127, 0, 0, 9), Manner::Corrupts)?;
    let good = Seed::start(&torrent, Ipv4Addr::new(127, 0, 0, 2), Manner::Honest)?;
    let conditions = Conditions { rate: Some(4_000_000), ..Conditions::default() };
    let relay = Relay::start(good.address(), conditions)?;
    let tracker = ScriptedTracker::start()?;
    tracker.set_peers(torrent.info_hash(), &[bad.address(), relay.address()]);
    let mut ringseed = Ringseed::start(scene)?;
    ringseed.download(&torrent.with_trackers(&[&tracker.url()])?)?;
    wait_complete(&mut ringseed, &torrent, ENOUGH)?;
    torrent.compare_exactly(ringseed.downloads())?;
    let (connections, served) = (bad.connections(), bad.served());
    scene.say(format_args!("it corrupted {served} blocks in {connections} connections"));
    ensure!(served > 0, "the one that corrupts was never asked");
    ensure!(served * (16 << 10) < 12_000_000, "it was asked for {served} blocks: not banned");
    let corrupt = ringseed.number(torrent.info_hash(), "corrupt_ever")?;
    ensure!(corrupt > 0, "corrupt_ever counts nothing");

    // Banned is its address: it cannot come back from there.
    let mut back = bad.call(ringseed.peer_address(), torrent.info_hash())?;
    ensure!(is_closed_within(&mut back, Duration::from_secs(20))?, "it may come back");
    Ok(())
}

fn a_peer_that_stalls_does_not_hold_up_the_download(scene: &Scene) -> Result<()> {
    let torrent = torrent(scene)?;
    let stalling = [3, 4, 5].map(|last| {
        Seed::start(&torrent, Ipv4Addr::new(127, 0, 0, last), Manner::Stalls(20 * u64::from(last)))
    });
    let stalling = stalling.into_iter().collect::<Result<Vec<Seed>>>()?;
    let good = Seed::start(&torrent, Ipv4Addr::new(127, 0, 0, 2), Manner::Honest)?;
    let conditions = Conditions { rate: Some(4_000_000), ..Conditions::default() };
    let relay = Relay::start(good.address(), conditions)?;
    let mut peers: Vec<_> = stalling.iter().map(Seed::address).collect();
    peers.push(relay.address());
    let tracker = ScriptedTracker::start()?;
    tracker.set_peers(torrent.info_hash(), &peers);
    let mut ringseed = Ringseed::start(scene)?;
    let start = Instant::now();
    ringseed.download(&torrent.with_trackers(&[&tracker.url()])?)?;
    wait_complete(&mut ringseed, &torrent, ENOUGH)?;
    torrent.compare_exactly(ringseed.downloads())?;
    let took = start.elapsed();
    scene.say(format_args!("it took {took:?}; six seconds from the good one alone"));
    ensure!(took < Duration::from_secs(45), "it took {took:?}");
    for seed in &stalling {
        ensure!(seed.served() > 0, "one that stalls was never asked");
    }
    Ok(())
}

fn peers_that_never_read_cost_a_bounded_amount(scene: &Scene) -> Result<()> {
    const PEERS: usize = 50;
    let torrent = torrent(scene)?;
    let mut ringseed = Ringseed::start(scene)?;
    ringseed.add(&torrent.with_trackers(&[])?, torrent.source())?;
    wait_complete(&mut ringseed, &torrent, ENOUGH)?;
    let before = ringseed.process().resident_memory()?;

    let pieces = torrent.layout().geometry().piece_count() - 1;
    let mut requests = Vec::new();
    for piece in 0..pieces {
        for begin in (0..256 << 10).step_by(16 << 10) {
            let block = RawBlock { index: piece, begin, length: 16 << 10 };
            Message::Request(block).encode_into(&mut requests);
        }
    }
    let mut idle = Vec::new();
    for _ in 0..PEERS {
        let mut peer = Connection::open(ringseed.peer_address(), torrent.info_hash())?;
        peer.send(&[Message::Interested])?;
        // With more who want than there are slots, some stay choked; their requests are noise.
        peer.send_what_fits(&requests)?;
        idle.push(peer);
    }
    let mut most = 0;
    let mut client = Libtorrent::start(&scene.new_folder("client")?, Ipv4Addr::new(127, 0, 0, 2))?;
    let folder = scene.new_folder("fetched")?;
    client.add(&torrent.with_trackers(&[])?, &folder)?;
    client.connect(torrent.info_hash(), ringseed.peer_address())?;
    wait_until("an honest peer is served beside them", ENOUGH, || {
        most = most.max(ringseed.process().resident_memory()?);
        Ok(client.state(torrent.info_hash())?.seeding)
    })?;
    torrent.compare(&folder)?;
    let grown = most.saturating_sub(before);
    scene.say(format_args!("{PEERS} that never read cost {} KiB", grown >> 10));
    ensure!(grown < 32 << 20, "{PEERS} peers that never read cost {grown} bytes");
    Ok(())
}

fn a_connection_that_breaks_is_made_again(scene: &Scene) -> Result<()> {
    let torrent = torrent(scene)?;
    let seed = Seed::start(&torrent, Ipv4Addr::LOCALHOST, Manner::Honest)?;
    let conditions = Conditions { rate: Some(4_000_000), ..Conditions::default() };
    let relay = Relay::start(seed.address(), conditions)?;
    let tracker = ScriptedTracker::start()?;
    tracker.set_peers(torrent.info_hash(), &[relay.address()]);
    let mut ringseed = Ringseed::start(scene)?;
    ringseed.download(&torrent.with_trackers(&[&tracker.url()])?)?;
    wait_until("some has come", ENOUGH, || Ok(relay.returned() > 8_000_000))?;
    relay.reset();
    wait_complete(&mut ringseed, &torrent, ENOUGH)?;
    torrent.compare_exactly(ringseed.downloads())?;
    ensure!(seed.connections() > 1, "it was not connected again");
    ensure!(relay.returned() < 28_000_000, "{} bytes came: too many twice", relay.returned());
    let mut peer = Connection::open(ringseed.peer_address(), torrent.info_hash())?;
    peer.send(&[Message::Interested])?;
    peer.read(ENOUGH, |item| (item == Item::Message(Message::Unchoke)).then_some(()))
}
