//! Lets workers work and rest together.

use anyhow::Error;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What the workers go by.
#[derive(Default)]
pub struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    is_open: bool,
    has_ended: bool,
    at_work: usize,
    error: Option<Error>,
}

impl Gate {
    /// A worker's life: one piece of work after the other while the gate is open, until the end or
    /// the first error of anybody.
    pub fn work(&self, mut work: impl FnMut() -> Result<(), Error>) {
        while self.enter() {
            let result = work();
            let mut state = self.lock();
            state.at_work -= 1;
            if let Err(error) = result {
                state.error.get_or_insert(error);
                state.has_ended = true;
            }
            drop(state);
            self.changed.notify_all();
        }
    }

    fn enter(&self) -> bool {
        let mut state = self.lock();
        while !state.is_open && !state.has_ended {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.at_work += usize::from(!state.has_ended);
        !state.has_ended
    }

    /// Lets everybody work from now on.
    pub fn open(&self) {
        self.lock().is_open = true;
        self.changed.notify_all();
    }

    /// Waits until everybody has ended the work in hand, or for the first error, which it gives.
    pub fn close(&self) -> Result<(), Error> {
        let mut state = self.lock();
        state.is_open = false;
        while state.at_work > 0 && state.error.is_none() {
            let waited = self.changed.wait_timeout(state, Duration::from_secs(1));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.error.take().map_or(Ok(()), Err)
    }

    /// Sends everybody home.
    pub fn end(&self) {
        self.lock().has_ended = true;
        self.changed.notify_all();
    }

    /// Whether somebody has met an error.
    pub fn has_failed(&self) -> bool {
        self.lock().error.is_some()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
