//! A long path does not slow a download down.

use anyhow::{Result, ensure};
use ringseed_tests::peer::{Manner, Seed};
use ringseed_tests::{
    Conditions, Relay, Ringseed, Scene, ScriptedTracker, Shape, Torrent, alone, for_each_driver,
    wait_complete, wait_until,
};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

const ENOUGH: Duration = Duration::from_secs(120);

for_each_driver! {
    a_path_of_50_ms_each_way_costs_less_than_a_fifth;
}

/// Well below what the machine can do, so that the path is what counts.
const RATE: u64 = 25_000_000;

fn a_path_of_50_ms_each_way_costs_less_than_a_fifth(scene: &Scene) -> Result<()> {
    let _alone = alone();
    let shape = Shape::file("path", 150_000_000, 512 << 10);
    let torrent = Torrent::make(&shape, &scene.new_folder("source")?)?;
    // Not a client, which would call the daemon by itself, past the relay.
    let seed = Seed::start(&torrent, Ipv4Addr::LOCALHOST, Manner::Honest)?;
    let mut rates = Vec::new();
    for latency in [Duration::ZERO, Duration::from_millis(50)] {
        let rate = download(scene, &torrent, &seed, latency)?;
        scene.say(format_args!("{latency:?} each way: {:.1} MB/s", rate / 1e6));
        rates.push(rate);
    }
    ensure!(rates[0] > 0.5 * RATE as f64, "without latency it is slow already");
    ensure!(
        rates[1] >= 0.8 * rates[0],
        "50 ms each way leave {:.0} %",
        100.0 * rates[1] / rates[0]
    );
    Ok(())
}

/// Bytes per second from the first byte to the last.
fn download(scene: &Scene, torrent: &Torrent, seed: &Seed, latency: Duration) -> Result<f64> {
    let relay = Relay::start(seed.address(), Conditions { latency, rate: Some(RATE) })?;
    let tracker = ScriptedTracker::start()?;
    tracker.set_peers(torrent.info_hash(), &[relay.address()]);
    let mut ringseed = Ringseed::start(scene)?;
    ringseed.download(&torrent.with_trackers(&[&tracker.url()])?)?;
    wait_until("the first bytes come", ENOUGH, || Ok(relay.returned() > 0))?;
    let start = Instant::now();
    // Not when it is said to be complete, which waits for the disk and for a clock of a second.
    let total = torrent.layout().geometry().total_length();
    wait_until("all bytes have come", ENOUGH, || Ok(relay.returned() >= total))?;
    let rate = total as f64 / start.elapsed().as_secs_f64();
    wait_complete(&mut ringseed, torrent, ENOUGH)?;
    torrent.compare_exactly(ringseed.downloads())?;
    Ok(rate)
}
