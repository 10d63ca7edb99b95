//! What tests need of the machine they run on: what it lacks is a visible skip, and a failure where
//! nothing may be left out.

mod mount;

pub use mount::Mount;
use std::fmt;
use std::io::Write;

/// Prints a line past the test runner, which would keep it to itself unless the test failed.
pub fn note(line: impl fmt::Display) {
    // Nothing can be done if there is nowhere to print.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Whether tests may leave out what this machine lacks: not in CI.
pub fn may_skip() -> bool {
    std::env::var_os("CI").is_none()
}

/// Says that the running test, or a part of it, is left out, and `why`. `scripts/test` repeats the line
/// in its summary.
///
/// # Panics
/// In CI.
pub fn skip(why: impl fmt::Display) {
    assert!(may_skip(), "{why}");
    let test = std::thread::current();
    note(format_args!("{} SKIPPED: {why}", test.name().unwrap_or("a test")));
}
