//! The id that every request must repeat: a page in a browser can make it send requests here, but
//! cannot read the id from our refusal.

use crate::limits;
use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};

const LENGTH: usize = 48;
const DIGITS: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// The current session id and the one before it.
#[derive(Debug)]
pub(crate) struct SessionIds(Mutex<Ids>);

#[derive(Debug)]
struct Ids {
    current: String,
    previous: String,
    since: Instant,
}

impl SessionIds {
    pub(crate) fn new(now: Instant) -> SessionIds {
        SessionIds(Mutex::new(Ids { current: random_id(), previous: String::new(), since: now }))
    }

    /// The id to hand out; a new one when its time is over.
    pub(crate) fn current(&self, now: Instant) -> String {
        self.renewed(now, |ids| ids.current.clone())
    }

    /// Whether a request with this id may pass.
    pub(crate) fn accepts(&self, id: &[u8], now: Instant) -> bool {
        self.renewed(now, |ids| {
            id == ids.current.as_bytes() || (!id.is_empty() && id == ids.previous.as_bytes())
        })
    }

    fn renewed<R>(&self, now: Instant, read: impl FnOnce(&Ids) -> R) -> R {
        let mut ids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let age = now.saturating_duration_since(ids.since);
        if age >= limits::SESSION_ID_LIFE {
            let old = std::mem::replace(&mut ids.current, random_id());
            // An id that nobody could have got within its grace is not worth keeping.
            ids.previous = if age < 2 * limits::SESSION_ID_LIFE { old } else { String::new() };
            ids.since = now;
        }
        read(&ids)
    }
}

fn random_id() -> String {
    let mut id = String::with_capacity(LENGTH);
    while id.len() < LENGTH {
        let mut bytes = [0; LENGTH];
        getrandom::fill(&mut bytes).expect("the kernel has randomness");
        // 248 is four times 62: every digit is as likely as any other.
        let digits =
            bytes.iter().filter(|&&byte| byte < 248).map(|byte| DIGITS[usize::from(byte % 62)]);
        id.extend(digits.take(LENGTH - id.len()).map(char::from));
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn an_id_lives_for_an_hour_and_is_accepted_for_one_more() {
        let start = Instant::now();
        let after = |minutes: u64| start + Duration::from_secs(minutes * 60);
        let ids = SessionIds::new(start);
        let first = ids.current(after(59));
        assert!(first.len() == LENGTH && first.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert!(ids.accepts(first.as_bytes(), after(59)));
        let second = ids.current(after(61));
        assert_ne!(first, second);
        assert!(
            ids.accepts(first.as_bytes(), after(100)) && ids.accepts(second.as_bytes(), after(100))
        );
        assert!(!ids.accepts(first.as_bytes(), after(122)));
        assert!(!ids.accepts(second.as_bytes(), after(400)));
        assert!(!ids.accepts(b"", after(401)));
    }
}
