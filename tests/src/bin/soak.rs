//! A daemon under churn for as long as wanted; scripts/soak builds and starts it.

use anyhow::Result;
use clap::Parser;
use ringseed_tests::soak::{Plan, soak};
use ringseed_tests::{Driver, perform};
use std::time::Duration;

/// Runs the daemon under churn and fails if its memory, descriptors or processor time per byte grow.
#[derive(Parser)]
#[command(name = "soak")]
struct Arguments {
    /// Minutes in all; a quarter of them, ten at most, is warm-up.
    #[arg(long, default_value_t = 15.0)]
    minutes: f64,
    /// The daemon's driver.
    #[arg(long, default_value = "uring", value_parser = ["uring", "mio"])]
    driver: String,
    /// What is random comes from it; another one each time if it is not given.
    #[arg(long)]
    seed: Option<u64>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let time = Duration::from_secs_f64(arguments.minutes * 60.0);
    let plan = Plan {
        time,
        warm_up: (time / 4).min(Duration::from_secs(600)),
        round: (time / 30).clamp(Duration::from_secs(5), Duration::from_secs(60)),
        memory: 0.01,
        cpu: 0.25,
        download_memory: 48,
        seed: arguments.seed.unwrap_or_else(|| fastrand::u64(..)),
    };
    let driver = if arguments.driver == "mio" { Driver::Mio } else { Driver::Uring };
    perform("soak", driver, |scene| soak(scene, &plan));
    Ok(())
}
