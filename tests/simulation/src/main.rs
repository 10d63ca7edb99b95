//! `simulate`: runs seeds of scenarios on all cores, and says which failed.

use anyhow::{Result, bail};
use clap::Parser;
use ringseed_simulation::scenario::{SCENARIOS, Scenario};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

/// Failures that are shown in full; a broken engine fails with almost every seed.
const SHOWN: u64 = 10;

/// Run the engine in simulated worlds that fail by their seeds.
#[derive(Parser)]
#[command(name = "simulate")]
struct Options {
    /// Seeds of each scenario.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Only this scenario.
    #[arg(long)]
    scenario: Option<String>,
    /// Threads; as many as there are cores without it.
    #[arg(long)]
    threads: Option<usize>,
    /// Show what happens (RUST_LOG=trace for all of it).
    #[arg(long)]
    trace: bool,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    if options.trace {
        let level = std::env::var("RUST_LOG").is_ok_and(|level| level == "trace");
        let level = if level { tracing::Level::TRACE } else { tracing::Level::DEBUG };
        tracing_subscriber::fmt()
            .with_max_level(level)
            .without_time()
            .with_writer(std::io::stderr)
            .init();
    }
    let chosen: Vec<&Scenario> = SCENARIOS
        .iter()
        .filter(|scenario| options.scenario.as_deref().is_none_or(|name| name == scenario.name))
        .collect();
    if chosen.is_empty() {
        let names: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        bail!("no such scenario; there are: {}", names.join(", "));
    }
    let failed = run_all(&options, &chosen);
    let passed = options.seeds * chosen.len() as u64 - failed;
    println!("seeds: {passed} passed, {failed} failed");
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How many failed.
fn run_all(options: &Options, scenarios: &[&Scenario]) -> u64 {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let total = options.seeds * scenarios.len() as u64;
    let (next, failed) = (AtomicU64::new(0), AtomicU64::new(0));
    let bar = indicatif::ProgressBar::new(total);
    thread::scope(|scope| {
        for _ in 0..options.threads.unwrap_or(cores) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= total {
                        return;
                    }
                    let scenario = scenarios[(number % scenarios.len() as u64) as usize];
                    let seed = options.from + number / scenarios.len() as u64;
                    if let Err(message) = run_one(scenario, seed)
                        && failed.fetch_add(1, Ordering::Relaxed) < SHOWN
                    {
                        bar.suspend(|| eprintln!("{message}"));
                    }
                    bar.inc(1);
                }
            });
        }
    });
    bar.finish_and_clear();
    failed.into_inner()
}

fn run_one(scenario: &Scenario, seed: u64) -> Result<(), String> {
    let replay = format!("scripts/simulate --scenario {} --from {seed} --trace", scenario.name);
    match catch_unwind(AssertUnwindSafe(|| (scenario.run)(seed))) {
        Ok(Ok(summary)) => {
            tracing::info!(scenario = scenario.name, seed, ?summary, "passed");
            Ok(())
        }
        Ok(Err(error)) => {
            Err(format!("{}, seed {seed}: {error:#}\n  replay: {replay}", scenario.name))
        }
        Err(_) => Err(format!("{}, seed {seed}: a panic\n  replay: {replay}", scenario.name)),
    }
}
