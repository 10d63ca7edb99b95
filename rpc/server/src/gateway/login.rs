//! Who makes a request: HTTP Basic with a user's password, or a token.
//!
//! A password that was right is remembered for a minute by a keyed hash, so that a client that polls
//! does not pay for its verification each time, and neither does anybody who waits behind it. Who
//! guesses waits longer with each failure; nobody else does, and what is remembered or a token
//! passes from an address that waits, too.

use super::{
    Caller, Peer,
    caller::Proof,
    throttle::{self, About, Failures},
};
use crate::{
    accounts::{Accounts, AccountsError, AccountsFile, token_hash, verify_password},
    limits,
};
use data_encoding::{BASE64, HEXLOWER};
use http::{HeaderMap, header};
use ring_crypto::hmac;
use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
    io,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::sync::Semaphore;

/// Why somebody is not let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// No credentials, or wrong ones.
    Unknown,
    /// There is nobody who could log in, and the request comes from elsewhere.
    NobodyYet,
    /// Too many failures from this address: wait so long.
    Slowed(Duration),
    /// More log-ins wait to be verified than are worth waiting for.
    Busy,
}

/// Knows everybody who may log in.
pub(crate) struct Login {
    file: AccountsFile,
    known: RwLock<Arc<Known>>,
    /// Of this run only: remembered log-ins are worth nothing elsewhere.
    key: hmac::Key,
    remembered: Mutex<HashMap<[u8; 32], Remembered>>,
    failures: Arc<Mutex<Failures>>,
    /// What names are told apart by in `failures`.
    digests: RandomState,
    /// Verifications take tens of milliseconds and 19 MiB each.
    verifying: Arc<Semaphore>,
    /// Those that wait for it, by address.
    waiting: Mutex<HashMap<Option<IpAddr>, usize>>,
}

/// The accounts, ready to be looked up.
#[derive(Default)]
struct Known {
    users: HashMap<String, (String, Caller)>,
    tokens: HashMap<[u8; 32], (Option<u64>, Caller)>,
}

struct Remembered {
    until: Instant,
    /// The accounts that it was right for.
    known: Arc<Known>,
    caller: Caller,
}

enum Credentials {
    Token(String),
    Password { user: String, password: String },
}

impl Login {
    /// Reads the accounts. Blocks.
    pub(crate) fn open(file: AccountsFile) -> Result<Login, AccountsError> {
        let accounts = file.read()?;
        let mut key = [0; 32];
        getrandom::fill(&mut key).expect("the kernel has randomness");
        Ok(Login {
            known: RwLock::new(Arc::new(Known::new(&accounts))),
            file,
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
            remembered: Mutex::default(),
            failures: Arc::default(),
            digests: RandomState::new(),
            verifying: Arc::new(Semaphore::new(limits::VERIFYING)),
            waiting: Mutex::default(),
        })
    }

    /// Whether anybody can log in; if not, nobody is asked to.
    pub(crate) fn is_asked_for(&self) -> bool {
        !self.known().is_empty()
    }

    /// Takes over what has become of the accounts, which forgets remembered log-ins. An error
    /// leaves everything as it was, and so does a file that has gone: users are removed by name, and
    /// with none of them this machine would be let in as it is. Blocks.
    pub(crate) fn reload(&self) -> Result<(), AccountsError> {
        if self.is_asked_for() && !self.file.exists() {
            let path = self.file.path().to_owned();
            return Err(AccountsError::File { path, error: io::ErrorKind::NotFound.into() });
        }
        let accounts = self.file.read()?;
        let new = Arc::new(Known::new(&accounts));
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = new;
        lock(&self.remembered).clear();
        Ok(())
    }

    /// The file that the accounts come from.
    pub(crate) fn file(&self) -> &AccountsFile {
        &self.file
    }

    fn known(&self) -> Arc<Known> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Says who makes a request with these headers. `threshold` is how many failures an address has
    /// before it is slowed.
    pub(crate) async fn identify(
        &self,
        peer: Peer,
        headers: &HeaderMap,
        threshold: Option<u32>,
    ) -> Result<Caller, Refusal> {
        let known = self.known();
        // With nobody to log in, an Authorization header means nothing: some clients always send one.
        if peer == Peer::Unix || (known.is_empty() && peer.is_local()) {
            return Ok(Caller::local(peer));
        }
        if known.is_empty() {
            return Err(Refusal::NobodyYet);
        }
        let caller = match credentials(headers).ok_or(Refusal::Unknown)? {
            Credentials::Token(token) => match known.token(&token) {
                Some(caller) => caller,
                None => {
                    self.check_wait(peer)?;
                    self.attempt(peer, None, threshold).ended(false, None);
                    return Err(Refusal::Unknown);
                }
            },
            Credentials::Password { user, password } => {
                self.verified(peer, &known, &user, password, threshold).await?
            }
        };
        Ok(Caller { peer, ..caller })
    }

    /// Whether somebody who was let in would be again: their account is what it was, and has not
    /// ended.
    pub(crate) fn still_holds(&self, caller: &Caller) -> bool {
        let known = self.known();
        let now = match &caller.proof {
            Proof::Nothing => {
                return caller.peer == Peer::Unix || (known.is_empty() && caller.peer.is_local());
            }
            Proof::Password(_) => known.users.get(&*caller.who).map(|(_, caller)| caller.clone()),
            Proof::Token(hash) => known.token_of(hash),
        };
        now.is_some_and(|now| Caller { peer: caller.peer, ..now } == *caller)
    }

    /// A log-in that is about to be tried.
    fn attempt(&self, peer: Peer, user: Option<&str>, threshold: Option<u32>) -> Attempt {
        let about = user.map(|user| self.digests.hash_one(user));
        let address = throttle::key(peer);
        Attempt { failures: Arc::clone(&self.failures), peer, address, about, threshold }
    }

    fn check_wait(&self, peer: Peer) -> Result<(), Refusal> {
        let failures = lock(&self.failures);
        let wait = throttle::key(peer).and_then(|address| failures.wait(address, Instant::now()));
        wait.map_or(Ok(()), |wait| Err(Refusal::Slowed(wait)))
    }

    async fn verified(
        &self,
        peer: Peer,
        known: &Arc<Known>,
        user: &str,
        password: String,
        threshold: Option<u32>,
    ) -> Result<Caller, Refusal> {
        let tag = self.tag(user, &password);
        if let Some(caller) = self.recall(&tag, known) {
            return Ok(caller);
        }
        self.check_wait(peer)?;
        let _waiting = self.line_up(throttle::key(peer))?;
        let turn = Arc::clone(&self.verifying).acquire_owned().await;
        let turn = turn.map_err(|_| Refusal::Busy)?;
        // Who waited behind the same log-in, or behind failures, need not be verified again.
        if let Some(caller) = self.recall(&tag, known) {
            return Ok(caller);
        }
        self.check_wait(peer)?;
        // A name that nobody has takes as long as one that somebody has.
        let (hash, caller) = match known.users.get(user) {
            Some((hash, caller)) => (hash.clone(), Some(caller.clone())),
            None => (NOBODY.to_owned(), None),
        };
        let attempt = self.attempt(peer, Some(user), threshold);
        let who = caller.as_ref().map(|caller| Arc::clone(&caller.who));
        let verify = move || {
            let right = verify_password(&hash, password.as_bytes()) && who.is_some();
            // Here rather than by who waits for it: one who hangs up has guessed, and costs, as much.
            attempt.ended(right, who.as_deref());
            drop(turn);
            right
        };
        let right = tokio::task::spawn_blocking(verify).await.unwrap_or(false);
        let caller = caller.filter(|_| right).ok_or(Refusal::Unknown)?;
        self.remember(tag, known, &caller);
        Ok(caller)
    }

    fn tag(&self, user: &str, password: &str) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        // A name has no colon.
        [user, ":", password].iter().for_each(|part| context.update(part.as_bytes()));
        let mut tag = [0; 32];
        tag.copy_from_slice(context.sign().as_ref());
        tag
    }

    fn recall(&self, tag: &[u8; 32], known: &Arc<Known>) -> Option<Caller> {
        let remembered = lock(&self.remembered);
        let found = remembered.get(tag)?;
        let holds = Arc::ptr_eq(&found.known, known) && Instant::now() < found.until;
        holds.then(|| found.caller.clone())
    }

    fn remember(&self, tag: [u8; 32], known: &Arc<Known>, caller: &Caller) {
        let now = Instant::now();
        let mut remembered = lock(&self.remembered);
        if remembered.len() >= limits::REMEMBERED {
            remembered.retain(|_, found| now < found.until);
        }
        if remembered.len() >= limits::REMEMBERED {
            remembered.clear();
        }
        let (known, caller) = (Arc::clone(known), caller.clone());
        remembered.insert(tag, Remembered { until: now + limits::REMEMBER, known, caller });
    }

    /// A place in the line for verification, which is short for each address and altogether.
    fn line_up(&self, address: Option<IpAddr>) -> Result<Place<'_>, Refusal> {
        let mut waiting = lock(&self.waiting);
        let all: usize = waiting.values().sum();
        let own = waiting.get(&address).copied().unwrap_or(0);
        if all >= limits::WAITING || own >= limits::WAITING_PER_ADDRESS {
            return Err(Refusal::Busy);
        }
        waiting.insert(address, own + 1);
        Ok(Place { login: self, address })
    }
}

/// A log-in that is being tried.
struct Attempt {
    failures: Arc<Mutex<Failures>>,
    peer: Peer,
    address: Option<IpAddr>,
    about: About,
    threshold: Option<u32>,
}

impl Attempt {
    /// Holds a failure against the address, and tells the log of it. `who` is the user's name, if
    /// there is such a user: what else was typed as a name might be a password.
    fn ended(&self, right: bool, who: Option<&str>) {
        if !right {
            let (from, who) = (self.peer, who.unwrap_or("nobody"));
            tracing::info!(target: "audit", who, %from, "a log-in failed");
        }
        let Some(address) = self.address else { return };
        let mut failures = lock(&self.failures);
        match (right, self.threshold) {
            (true, _) => failures.succeeded(address, self.about),
            (false, Some(most)) => failures.failed(address, self.about, most, Instant::now()),
            (false, None) => {}
        }
    }
}

/// A place in the line, given back when it is dropped.
struct Place<'a> {
    login: &'a Login,
    address: Option<IpAddr>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut waiting = lock(&self.login.waiting);
        let left = waiting.get(&self.address).map_or(0, |places| places.saturating_sub(1));
        match left {
            0 => waiting.remove(&self.address),
            left => waiting.insert(self.address, left),
        };
    }
}

/// The hash of a password that was thrown away, of the same cost as all new ones.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$\
    bm9ib2R5IGhhcyB0aGlzIQ$R3O4XkB0RkqPnqDpnJfVnUCk3xk0d3a9m6w0b7r2s1Q";

impl Known {
    fn new(accounts: &Accounts) -> Known {
        let caller = |who: String, proof, role, methods: &[String], folders: &[_]| Caller {
            who: who.into(),
            proof,
            role,
            methods: (!methods.is_empty()).then(|| methods.into()),
            folders: folders.into(),
            peer: Peer::Unix,
        };
        let users = accounts.users.iter().map(|user| {
            let proof = Proof::Password(user.password.as_str().into());
            let caller = caller(user.name.clone(), proof, user.role, &[], &user.folders);
            (user.name.clone(), (user.password.clone(), caller))
        });
        let tokens = accounts.tokens.iter().filter_map(|token| {
            let hash = HEXLOWER.decode(token.sha256.as_bytes()).ok()?.try_into().ok()?;
            let (who, proof) = (format!("token:{}", token.name), Proof::Token(hash));
            let caller = caller(who, proof, token.role, &token.methods, &token.folders);
            Some((hash, (token.expires, caller)))
        });
        Known { users: users.collect(), tokens: tokens.collect() }
    }

    fn is_empty(&self) -> bool {
        self.users.is_empty() && self.tokens.is_empty()
    }

    fn token(&self, token: &str) -> Option<Caller> {
        self.token_of(&token_hash(token.as_bytes()))
    }

    /// The owner of the token with this hash, unless it has ended.
    fn token_of(&self, hash: &[u8; 32]) -> Option<Caller> {
        let (expires, caller) = self.tokens.get(hash)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        expires.is_none_or(|expires| now < expires).then(|| caller.clone())
    }
}

/// What an Authorization header says. A token may also stand for a password, for clients that know
/// Basic only; the user's name means nothing then.
fn credentials(headers: &HeaderMap) -> Option<Credentials> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    let rest = rest.trim();
    if rest.len() > limits::CREDENTIALS_BYTES {
        return None;
    }
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Credentials::Token(rest.to_owned()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(BASE64.decode(rest.as_bytes()).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some(match password.starts_with("rs_") && password.len() == TOKEN_LENGTH {
        true => Credentials::Token(password.to_owned()),
        false => Credentials::Password { user: user.to_owned(), password: password.to_owned() },
    })
}

/// `rs_` and 32 bytes in base64.
const TOKEN_LENGTH: usize = 3 + 43;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
