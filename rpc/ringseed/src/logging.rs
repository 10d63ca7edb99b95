//! The log: to stderr, by `RUST_LOG`, as text or JSON. A thread of its own writes it, for whoever
//! reads stderr may be slow, or not read at all, and no shard may wait for that.

use crate::limits;
use std::io::{self, BufWriter, IsTerminal};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

/// The log under way; what is in line is written when it is dropped.
pub struct Log {
    lost: ErrorCounter,
    _worker: WorkerGuard,
}

/// Begins logging; `default` unless `RUST_LOG` says otherwise.
#[must_use = "dropped, it ends the log"]
pub fn start(json: bool, default: &str) -> Log {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let (writer, worker) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(limits::LOG_LINES)
        .thread_name("log")
        .finish(BufWriter::new(io::stderr()));
    let log = Log { lost: writer.error_counter(), _worker: worker };
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    if json {
        subscriber.json().init();
    } else {
        subscriber.with_ansi(io::stderr().is_terminal()).init();
    }
    log
}

impl Log {
    /// Says from time to time how many lines were lost because stderr was not read in time. Never
    /// ends.
    pub fn tell_losses(&self) -> impl Future<Output = ()> + Send + use<> {
        let lost = self.lost.clone();
        async move {
            let mut told = 0;
            loop {
                tokio::time::sleep(limits::LOG_LOSSES_EVERY).await;
                let lines = lost.dropped_lines();
                if lines != told {
                    tracing::warn!(
                        lines = lines - told,
                        "lines of the log are lost: stderr is read too slowly"
                    );
                    told = lines;
                }
            }
        }
    }
}
