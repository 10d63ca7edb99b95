//! What the server logs, for tests that look at it.

use std::{
    io,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

/// Everything that this process has logged since the first call.
#[derive(Clone)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

/// Begins to keep what is logged.
pub fn capture() -> Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    let begin = || {
        let log = Log(Arc::default());
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::INFO)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::set_global_default(subscriber).unwrap();
        log
    };
    LOG.get_or_init(begin).clone()
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// The lines so far that contain all of these.
    pub fn lines(&self, parts: &[&str]) -> Vec<String> {
        let log = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let fits = |line: &&str| parts.iter().all(|part| line.contains(part));
        log.lines().filter(fits).map(str::to_owned).collect()
    }

    /// Waits until there is such a line.
    pub async fn wait_for(&self, parts: &[&str]) {
        for _ in 0..600 {
            if !self.lines(parts).is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("nothing was logged with {parts:?}");
    }
}
