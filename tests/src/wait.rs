//! Waiting for something to become so, never for time to pass.

use anyhow::{Result, bail};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often it is looked.
const POLL: Duration = Duration::from_millis(50);

/// Asks until there is an answer; an error if there is none `within` the time.
pub fn wait_for<T>(
    what: &str,
    within: Duration,
    mut ask: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if start.elapsed() > within {
            bail!("after {} s still not: {what}", within.as_secs());
        }
        sleep(POLL);
    }
}

/// Waits until it is so; an error if it is not `within` the time.
pub fn wait_until(
    what: &str,
    within: Duration,
    mut is_so: impl FnMut() -> Result<bool>,
) -> Result<()> {
    wait_for(what, within, || Ok(is_so()?.then_some(())))
}
