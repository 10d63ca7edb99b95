//! The short form of `scripts/soak`.

use anyhow::Result;
use ringseed_tests::soak::{Plan, soak};
use ringseed_tests::{Scene, for_each_driver};
use std::time::Duration;

for_each_driver! {
    under_churn_nothing_grows;
}

/// What has not levelled out after so little time is caches and the allocator's free lists: some MiB of
/// the hundred that are resident. A leak of a piece's buffer or a torrent in each life exceeds that; smaller
/// ones are found by the long form (docs/reliability.md). Other tests run on the same cores.
fn under_churn_nothing_grows(scene: &Scene) -> Result<()> {
    let plan = Plan {
        time: Duration::from_secs(65),
        warm_up: Duration::from_secs(25),
        round: Duration::from_secs(4),
        memory: 0.1,
        cpu: 1.0,
        download_memory: 8,
        seed: fastrand::u64(..),
    };
    soak(scene, &plan)
}
