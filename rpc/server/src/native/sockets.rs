//! Open WebSockets: how many there may be, and how one ends whose owner may no longer ask.

use crate::{gateway::Caller, limits};
use jsonrpsee::server::ServerHandle;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// All that are open.
#[derive(Clone)]
pub(super) struct Sockets {
    places: Arc<Semaphore>,
    open: Arc<Mutex<HashMap<u32, Socket>>>,
}

struct Socket {
    caller: Caller,
    /// Ends its connection and with it all subscriptions, when its calls have ended.
    connection: ServerHandle,
    /// Ends its calls.
    revoked: watch::Sender<bool>,
}

/// Tells a socket's calls that their caller may no longer make them.
pub(super) type Revoked = watch::Receiver<bool>;

/// A socket's place, given back when it is dropped.
pub(super) struct Place {
    id: u32,
    sockets: Sockets,
    _permit: OwnedSemaphorePermit,
}

impl Default for Sockets {
    fn default() -> Sockets {
        let places = Arc::new(Semaphore::new(limits::SOCKETS));
        Sockets { places, open: Arc::default() }
    }
}

impl Sockets {
    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Socket>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more, if this caller may have it.
    pub(super) fn open(
        &self,
        id: u32,
        caller: &Caller,
        connection: ServerHandle,
    ) -> Option<(Place, Revoked)> {
        let permit = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let mut open = self.lock();
        let is_theirs = |socket: &&Socket| socket.caller.who == caller.who;
        if open.values().filter(is_theirs).count() >= limits::SOCKETS_OF_ONE {
            return None;
        }
        let (revoked, told) = watch::channel(false);
        open.insert(id, Socket { caller: caller.clone(), connection, revoked });
        Some((Place { id, sockets: self.clone(), _permit: permit }, told))
    }

    /// Ends all of callers who may no longer ask. They are told by the end of the connection.
    pub(super) fn close_unless(&self, may: impl Fn(&Caller) -> bool) {
        for socket in self.lock().values().filter(|socket| !may(&socket.caller)) {
            if socket.revoked.send_replace(true) {
                // It was told before.
                continue;
            }
            let (who, from) = (&*socket.caller.who, socket.caller.peer);
            tracing::info!(target: "audit", who, %from, "a WebSocket is closed: it would not be let in now");
            // An error means that it has ended by itself.
            let _ = socket.connection.stop();
        }
    }

    /// Ends all, letting calls under way finish.
    pub(super) fn stop(&self) {
        for socket in self.lock().values() {
            let _ = socket.connection.stop();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.sockets.lock().remove(&self.id);
    }
}
