//! The log: to stderr, by `RUST_LOG`, as text or JSON.

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Begins logging; `info` unless `RUST_LOG` says otherwise.
pub fn start(json: bool, default: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if json {
        log.json().init();
    } else {
        log.with_ansi(std::io::stderr().is_terminal()).init();
    }
}
