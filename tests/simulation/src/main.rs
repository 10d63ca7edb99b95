//! `simulate`: runs seeds of scenarios on all cores, and says which failed.

use anyhow::{Result, bail};
use clap::Parser;
use ringseed_simulation::{
    scenario::{SCENARIOS, Scenario},
    stage::Summary,
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Failures that are shown in full; a broken engine fails with almost every seed.
const SHOWN: u64 = 10;

/// Of a scenario that is big, one seed is run for so many of the others, unless it is named.
const BIG: u64 = 50;

/// Run the engine in simulated worlds that fail by their seeds.
#[derive(Parser)]
#[command(name = "simulate")]
struct Options {
    /// Seeds of each scenario; of those that take seconds, a fiftieth.
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
    /// End at the first failure.
    #[arg(long)]
    first: bool,
}

/// A seed of a scenario, by its place in the list.
type Run = (usize, u64);

/// What the seeds of a scenario came to.
#[derive(Clone, Copy, Default)]
struct Tally {
    seeds: u64,
    /// Time of one core.
    time: Duration,
    /// Virtual time, and turns in which somebody did something, of those that passed.
    lived: Duration,
    turns: u64,
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
    let is_chosen =
        |scenario: &Scenario| options.scenario.as_deref().is_none_or(|name| name == scenario.name);
    let mut runs: Vec<Run> = Vec::new();
    for number in 0..options.seeds {
        for (at, scenario) in SCENARIOS.iter().enumerate().filter(|(_, one)| is_chosen(one)) {
            if !scenario.is_big || options.scenario.is_some() || number % BIG == 0 {
                runs.push((at, options.from + number));
            }
        }
    }
    if !SCENARIOS.iter().any(is_chosen) {
        let names: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        bail!("no such scenario; there are: {}", names.join(", "));
    }
    quiet_ordered_panics();
    let failed = run_all(&options, &runs);
    println!("seeds: {} passed, {failed} failed", runs.len() as u64 - failed);
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Panics that a scenario orders are part of it.
fn quiet_ordered_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.payload().downcast_ref::<&str>().is_none_or(|text| *text != "as ordered") {
            usual(panic);
        }
    }));
}

/// How many failed.
fn run_all(options: &Options, runs: &[Run]) -> u64 {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let (next, failed) = (AtomicU64::new(0), AtomicU64::new(0));
    let tallies = Mutex::new(vec![Tally::default(); SCENARIOS.len()]);
    let bar = indicatif::ProgressBar::new(runs.len() as u64);
    thread::scope(|scope| {
        for _ in 0..options.threads.unwrap_or(cores) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(&(at, seed)) = runs.get(number as usize) else { return };
                    let begun = Instant::now();
                    let outcome = run_one(&SCENARIOS[at], seed);
                    let took = begun.elapsed();
                    let summary = outcome.as_ref().copied().unwrap_or_default();
                    if let Err(message) = outcome
                        && failed.fetch_add(1, Ordering::Relaxed) < SHOWN
                    {
                        bar.suspend(|| eprintln!("run {}: {message}", number + 1));
                        if options.first {
                            next.store(runs.len() as u64, Ordering::Relaxed);
                        }
                    }
                    let mut tallies = tallies.lock().unwrap_or_else(|poison| poison.into_inner());
                    let tally = &mut tallies[at];
                    tally.seeds += 1;
                    tally.time += took;
                    tally.lived += summary.took;
                    tally.turns += summary.turns;
                    bar.inc(1);
                }
            });
        }
    });
    bar.finish_and_clear();
    let tallies = tallies.into_inner().unwrap_or_else(|poison| poison.into_inner());
    let ran = tallies.iter().zip(SCENARIOS).filter(|(tally, _)| tally.seeds > 0);
    for (&Tally { seeds, time, lived, turns }, scenario) in ran {
        let each = time.as_secs_f64() * 1000.0 / seeds as f64;
        let (name, hours) = (scenario.name, lived.as_secs_f64() / 3600.0);
        println!(
            "{name:20} {seeds:6} seeds, {each:8.1} ms each, {hours:8.1} h lived, {turns:10} turns"
        );
    }
    failed.into_inner()
}

fn run_one(scenario: &Scenario, seed: u64) -> Result<Summary, String> {
    let replay = format!("scripts/simulate --scenario {} --from {seed} --trace", scenario.name);
    match catch_unwind(AssertUnwindSafe(|| (scenario.run)(seed))) {
        Ok(Ok(summary)) => {
            tracing::info!(scenario = scenario.name, seed, ?summary, "passed");
            Ok(summary)
        }
        Ok(Err(error)) => {
            Err(format!("{}, seed {seed}: {error:#}\n  replay: {replay}", scenario.name))
        }
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default();
            let text = text.lines().next().unwrap_or_default();
            Err(format!("{}, seed {seed}: panic: {text}\n  replay: {replay}", scenario.name))
        }
    }
}
