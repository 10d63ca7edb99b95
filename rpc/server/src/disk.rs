//! Questions to file systems, any of which may hang. Each that does holds a thread until it answers;
//! there are few such threads, so that what else needs one, as a log-in, still finds it.

use crate::limits;
use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::Semaphore;

static PLACES: Semaphore = Semaphore::const_new(limits::DISK_QUESTIONS);

/// Asks on a thread that may wait. No answer in time is an error; the question is not withdrawn.
pub(crate) async fn ask<T: Send + 'static>(
    patience: Duration,
    question: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    ask_at(&PLACES, patience, question).await
}

async fn ask_at<T: Send + 'static>(
    places: &'static Semaphore,
    patience: Duration,
    question: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let answer = async {
        let place = places.acquire().await.map_err(io::Error::other)?;
        let asked = tokio::task::spawn_blocking(move || {
            let answer = question();
            // Given back only now: whoever asked may have gone long ago.
            drop(place);
            answer
        });
        asked.await.map_err(io::Error::other)?
    };
    let silent = || io::Error::new(ErrorKind::TimedOut, "the file system does not answer");
    tokio::time::timeout(patience, answer).await.unwrap_or_else(|_| Err(silent()))
}

/// The folder that was found good last, and when: who adds thousands of torrents names one folder
/// thousands of times.
static GOOD: Mutex<Option<(PathBuf, Instant)>> = Mutex::new(None);

/// Whether a folder can be there, or be made: what there is of its path are folders. A disk that
/// does not answer soon may have it.
pub(crate) async fn check_folder(folder: &Path) -> io::Result<()> {
    let good = || GOOD.lock().unwrap_or_else(PoisonError::into_inner);
    let is_this = |known: &(PathBuf, Instant)| {
        known.0 == folder && known.1.elapsed() < limits::FOLDER_GOOD_FOR
    };
    if good().as_ref().is_some_and(is_this) {
        return Ok(());
    }
    let path = folder.to_owned();
    let look = ask(limits::DISK_PATIENCE, move || {
        for above in path.ancestors() {
            match above.metadata() {
                Ok(meta) if meta.is_dir() => return Ok(()),
                Ok(_) => return Err(ErrorKind::NotADirectory.into()),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    });
    match look.await {
        Err(error) if error.kind() == ErrorKind::TimedOut => Ok(()),
        looked => looked.inspect(|()| *good() = Some((folder.to_owned(), Instant::now()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Barrier};

    #[tokio::test]
    async fn a_disk_that_hangs_keeps_few_threads_busy() {
        let places: &Semaphore = Box::leak(Box::new(Semaphore::new(3)));
        let hang = Arc::new(Barrier::new(4));
        for _ in 0..3 {
            let hang = Arc::clone(&hang);
            let asked = ask_at(places, Duration::from_millis(1), move || {
                hang.wait();
                Ok(())
            });
            assert_eq!(asked.await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        }
        // The next one does not even begin, while other work does.
        let next = ask_at(places, Duration::from_millis(20), || -> io::Result<()> {
            unreachable!("there is no place for it")
        });
        assert_eq!(next.await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        tokio::task::spawn_blocking(|| ()).await.unwrap();
        hang.wait();
        ask_at(places, Duration::from_secs(60), || Ok(())).await.unwrap();
    }
}
