//! Trackers that fail for long.

use super::{BACKED_OFF, millis};
use crate::{
    stage::{Stage, Summary},
    tracker::{Front, HTTP_FRONT, UDP_FRONT},
};
use anyhow::Result;
use ring::sim::Crash;
use std::time::Duration;

/// For good.
const EVER: Duration = Duration::from_secs(1 << 40);

/// One of them is gone for good, or both are down for up to three hours, or neither; what is there fails
/// in all other ways for a while. Servers come, crash and have their files checked meanwhile, and
/// everybody finishes in the end.
pub(super) fn trackers(seed: u64) -> Result<Summary> {
    let mut stage = Stage::new(seed, &[vec![200_000, 70_000]], 16_384)?;
    let dead = some_front(&mut stage.rng);
    let outage = millis(&mut stage.rng, 1..3 * 3_600_000);
    match stage.rng.u32(..3) {
        0 => stage.trackers.take_down(dead, EVER),
        1 => [HTTP_FRONT, UDP_FRONT]
            .into_iter()
            .for_each(|front| stage.trackers.take_down(front, outage)),
        _ => {}
    }
    let fails = stage.rng.u32(..90);
    stage.trackers.set_fails(fails);
    for number in 0..stage.rng.usize(2..5) {
        stage.add_server(1, number == 0)?;
        let pause = millis(&mut stage.rng, 1..60_000);
        stage.run_for(pause)?;
    }
    for _ in 0..stage.rng.usize(..4) {
        let pause = millis(&mut stage.rng, 1..900_000);
        stage.run_for(pause)?;
        let victim = stage.rng.usize(..stage.servers.len());
        match stage.rng.u32(..3) {
            0 => stage.servers[victim].crash(Crash::Process, Duration::from_secs(1))?,
            1 => stage.servers[victim].verify(0),
            _ => {
                let front = some_front(&mut stage.rng);
                let until = stage.world.now() + millis(&mut stage.rng, 1..600_000);
                stage.trackers.take_down(front, until);
            }
        }
    }
    stage.trackers.set_fails(0);
    stage.expect_completion(outage + BACKED_OFF)?;
    stage.end()
}

fn some_front(rng: &mut fastrand::Rng) -> Front {
    [HTTP_FRONT, UDP_FRONT][rng.usize(..2)]
}
