//! Every target over its corpus, and over what a fixed sequence of changes makes of it.

use anyhow::{Context, Result, ensure};
use ringseed_fuzzing::mutate::mutate;
use ringseed_fuzzing::{TARGETS, Target};
use std::panic::catch_unwind;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, thread};

/// Changed inputs for each target; `RINGSEED_FUZZ_ROUNDS` asks for others.
const ROUNDS: u32 = 50_000;

/// No input may take longer, even on a busy machine: they have 64 KiB at most.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the corpora may take in the repository.
const CORPUS_BYTES: u64 = 200_000;

#[test]
fn no_input_of_the_corpora_or_like_them_does_harm() -> Result<()> {
    let rounds = match std::env::var("RINGSEED_FUZZ_ROUNDS") {
        Ok(rounds) => rounds.parse()?,
        Err(_) => ROUNDS,
    };
    thread::scope(|scope| {
        let workers: Vec<_> =
            TARGETS.iter().map(|target| scope.spawn(move || run(*target, rounds))).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("it catches panics"))
    })
}

#[test]
fn the_corpora_are_small_and_each_belongs_to_a_target() -> Result<()> {
    let mut bytes = 0;
    for entry in fs::read_dir(corpora())? {
        let entry = entry?;
        let name = entry.file_name().into_string().ok().context("a name that is no text")?;
        ensure!(TARGETS.iter().any(|(target, _)| *target == name), "no target is called {name}");
        for input in fs::read_dir(entry.path())? {
            bytes += input?.metadata()?.len();
        }
    }
    ensure!(bytes <= CORPUS_BYTES, "{bytes} bytes, more than {CORPUS_BYTES}");
    Ok(())
}

fn run((name, target): Target, rounds: u32) -> Result<()> {
    let inputs = corpus(name)?;
    let mut rng = fastrand::Rng::with_seed(name.bytes().map(u64::from).sum());
    for input in &inputs {
        try_one(name, target, input)?;
    }
    for _ in 0..rounds {
        let mut input = rng.choice(&inputs).cloned().unwrap_or_default();
        mutate(&mut input, &inputs, &mut rng);
        try_one(name, target, &input)?;
    }
    Ok(())
}

/// A failing input is kept, so that it can join the corpus.
fn try_one(name: &str, target: fn(&[u8]), input: &[u8]) -> Result<()> {
    let start = Instant::now();
    let outcome = catch_unwind(|| target(input));
    if outcome.is_ok() && start.elapsed() < PATIENCE {
        return Ok(());
    }
    let kept = std::env::temp_dir().join(format!("ringseed-fuzz-{name}"));
    fs::write(&kept, input)?;
    ensure!(outcome.is_ok(), "{name} fails with the input kept as {}", kept.display());
    anyhow::bail!("{name} took {:?} with the input kept as {}", start.elapsed(), kept.display())
}

fn corpora() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/corpus"))
}

/// The inputs of a target, in the order of their names.
fn corpus(name: &str) -> Result<Vec<Vec<u8>>> {
    let folder = corpora().join(name);
    let entries = fs::read_dir(&folder).with_context(|| format!("{}", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    ensure!(!paths.is_empty(), "{} is empty", folder.display());
    paths.sort();
    paths.iter().map(|path| Ok(fs::read(path)?)).collect()
}
