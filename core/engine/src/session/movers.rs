//! Moving files on threads of the runtime's pool: one move at a time between two devices, so that
//! moves do not fight for a disk, and a few in all.

use crate::{limits, work};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use storage::{RelocateError, Relocation, StorageError, device_of};
use tokio::sync::Semaphore;

/// Two devices, the smaller number first.
type Pair = (u64, u64);

pub(super) struct Movers {
    pairs: Mutex<HashMap<Pair, Arc<Semaphore>>>,
    looking: Semaphore,
    moving: Semaphore,
}

impl Movers {
    pub(super) fn new() -> Movers {
        Movers {
            pairs: Mutex::default(),
            looking: Semaphore::new(limits::MOVES_LOOKING),
            moving: Semaphore::new(limits::MOVES),
        }
    }

    /// Brings the files when it is their turn; see [`Relocation::prepare`].
    pub(super) async fn prepare(&self, job: &Relocation) -> Result<(), RelocateError> {
        let gone = |_| RelocateError::Cancelled;
        let pair = {
            let _turn = self.looking.acquire().await.map_err(gone)?;
            let (from, to) = (Arc::clone(&job.from.root), Arc::clone(&job.to.root));
            let look = move || (device_of(&from).unwrap_or(0), device_of(&to).unwrap_or(0));
            let (from, to) = work::spawn(look).await.map_err(|_| RelocateError::Cancelled)?;
            (from.min(to), from.max(to))
        };
        let line = {
            let mut pairs = self.pairs.lock().unwrap_or_else(PoisonError::into_inner);
            pairs.retain(|_, line| Arc::strong_count(line) > 1);
            Arc::clone(pairs.entry(pair).or_insert_with(|| Arc::new(Semaphore::new(1))))
        };
        let _turn = line.acquire().await.map_err(gone)?;
        let _room = self.moving.acquire().await.map_err(gone)?;
        let job = job.clone();
        let moved = work::spawn(move || job.prepare()).await;
        moved.unwrap_or_else(|error| Err(StorageError::new("moving".into(), error).into()))
    }

    /// Waits for the moves under way, which have been told to break off, so long at most. No other
    /// begins.
    pub(super) async fn end(&self, patience: Duration) {
        let all = self.moving.acquire_many(limits::MOVES as u32);
        let ended = tokio::time::timeout(patience, all).await;
        self.moving.close();
        drop(ended);
    }

    /// Clears the old place; what cannot be deleted is logged and stays.
    pub(super) async fn finish(&self, job: &Relocation) {
        let Ok(_room) = self.moving.acquire().await else { return };
        let job = job.clone();
        let _ = work::spawn(move || {
            if let Err(error) = job.finish() {
                tracing::warn!(torrent = %job.info_hash, %error, "the old place is not all cleared");
            }
        })
        .await;
    }
}
