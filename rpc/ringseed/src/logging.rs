//! The log: to stderr, by `RUST_LOG`, as text or JSON. A thread of its own writes it, for whoever
//! reads stderr may be slow, or not read at all, and no shard may wait for that.

use crate::limits;
use std::io::{self, BufWriter, IsTerminal, Write};
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
    let has_colours = !json && io::stderr().is_terminal();
    let lines = Lines { out: BufWriter::new(io::stderr()), has_colours };
    let (writer, worker) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(limits::LOG_LINES)
        .thread_name("log")
        .finish(lines);
    let log = Log { lost: writer.error_counter(), _worker: worker };
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    if json {
        subscriber.json().init();
    } else {
        subscriber.with_ansi(has_colours).init();
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

/// Writes each event as one line. Names of files and messages of errors come from elsewhere: a line
/// break in one must not begin what looks like an event of its own.
struct Lines<W> {
    out: W,
    /// Whether escape sequences belong to the log.
    has_colours: bool,
}

impl<W: Write> Write for Lines<W> {
    /// An event comes in one piece.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.out.write_all(&line(event, self.has_colours))?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn line(event: &[u8], has_colours: bool) -> Vec<u8> {
    let text = event.strip_suffix(b"\n").unwrap_or(event);
    let belongs =
        |byte: &u8| !byte.is_ascii_control() || *byte == b'\t' || (has_colours && *byte == b'\x1b');
    let mut line: Vec<u8> =
        text.iter().map(|byte| if belongs(byte) { *byte } else { b'?' }).collect();
    line.extend_from_slice(&event[text.len()..]);
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_whatever_is_in_it() {
        let of = |text: &str, has_colours| {
            String::from_utf8(line(text.as_bytes(), has_colours)).expect("text")
        };
        let forged = "INFO path=/a\n2026 INFO audit: who=\"eve\"\r\u{1b}[2Kx \u{e4}\n";
        assert_eq!(of(forged, false), "INFO path=/a?2026 INFO audit: who=\"eve\"??[2Kx \u{e4}\n");
        assert_eq!(of("\u{1b}[2mINFO\u{1b}[0m a\tb\n", true), "\u{1b}[2mINFO\u{1b}[0m a\tb\n");
        assert_eq!(of("no end", false), "no end");
    }
}
