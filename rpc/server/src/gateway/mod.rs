//! The HTTP side: what must hold before a request is looked into, in the order that clients rely on,
//! whatever is asked for then. Every way in shares it:
//!
//! 1. the method is one of three (501), the address may connect (403) and does not ask too often
//!    (429), OPTIONS is answered, as are `/healthz` and `/readyz`;
//! 2. who asks is known (401; 403 where nobody can be; 429 after too many guesses), and does not ask
//!    too often either;
//! 3. paths that are nowhere are redirected (301), web files served;
//! 4. the Host header cannot be a page's own name (421), unless one had to log in;
//! 5. `/transmission/rpc`: the session id is repeated (409), the method is POST (405).
//!
//! What is run then is run for a [`Caller`] at the [`calls::Desk`], which says whether they may, and
//! tells the log.

mod allow;
pub(crate) mod caller;
pub(crate) mod calls;
mod confine;
mod cors;
mod front;
mod gzip;
mod hosts;
mod login;
mod meter;
mod metrics;
pub(crate) mod pages;
mod policy;
mod refusals;
mod session_id;
mod throttle;
mod web;
mod wildcard;

pub(crate) use caller::{Caller, Peer};
pub(crate) use front::{Door, Front};
pub(crate) use login::Login;
pub(crate) use pages::Answer;
pub(crate) use policy::{Policy, Rules};
pub(crate) use session_id::SessionIds;
pub(crate) use throttle::key as peer_key;

use crate::accounts::AccountsError;
use crate::body::{self, Chunks, Room};
use crate::native::{Native, Place};
use crate::{execute, limits};
use api::envelope::{Message, parse};
use bytes::Buf;
use calls::Desk;
use engine::Session;
use gzip::Gzip;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, header, request::Parts};
use http_body::Body;
use jsonrpsee::server::Methods;
use meter::Meter;
use pages::{json, page, response, text, with};
use std::{
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use throttle::Buckets;
use web::Web;

/// What Transmission's paths begin with; fixed, as clients have it built in.
const BASE: &str = "/transmission/";
const SESSION_ID: HeaderName = HeaderName::from_static("x-transmission-session-id");

/// Answers requests; cheap to clone.
#[derive(Clone)]
pub(crate) struct Gateway(Arc<Inner>);

struct Inner {
    transmission: Methods,
    native: Native,
    session: Session,
    ids: Arc<SessionIds>,
    desk: Arc<Desk>,
    login: Login,
    rules: Arc<Rules>,
    /// Requests by address.
    by_address: Mutex<Buckets<IpAddr>>,
    gzip: Gzip,
    room: Room,
    web: Web,
    accounts_seen: Mutex<crate::accounts::Stamp>,
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gateway")
    }
}

/// What a request that was let in is for.
enum Wanted {
    /// Calls in Transmission's dialects.
    Transmission,
    /// Calls of the native API.
    Native,
    /// A file of the web interface, by its path.
    Web(String),
    /// Figures for Prometheus.
    Metrics,
}

impl Gateway {
    /// Blocks while it looks at the accounts' file.
    pub(crate) fn new(
        transmission: Methods,
        native: Native,
        desk: Arc<Desk>,
        session: Session,
        ids: Arc<SessionIds>,
        login: Login,
        rules: Arc<Rules>,
    ) -> Gateway {
        let seen = login.file().stamp();
        Gateway(Arc::new(Inner {
            transmission,
            native,
            desk,
            session,
            ids,
            login,
            rules,
            by_address: Mutex::default(),
            gzip: Gzip::default(),
            room: Room::default(),
            web: Web::default(),
            accounts_seen: Mutex::new(seen),
        }))
    }

    /// Ends what goes on after an answer: WebSockets.
    pub(crate) fn stop(&self) {
        self.0.native.stop();
    }

    /// What is counted.
    pub(crate) fn meter(&self) -> &Meter {
        self.0.desk.meter()
    }

    /// Closes the WebSockets of those who would not be let in now. An HTTP request is let in for
    /// itself; a WebSocket lasts.
    pub(crate) fn close_what_is_let_in_no_more(&self) {
        let policy = self.0.rules.now();
        self.0.native.close_unless(|caller| {
            let may_connect = match caller.peer {
                Peer::Ip(ip) => policy.allowed.allows(ip),
                Peer::Unix => true,
            };
            may_connect && self.0.login.still_holds(caller)
        });
    }

    /// Takes over the accounts if their file has changed. Blocks.
    pub(crate) fn look_at_accounts(&self) {
        let now = self.0.login.file().stamp();
        let mut seen = self.0.accounts_seen.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut *seen, now) == now {
            return;
        }
        let path = self.0.login.file().path().display();
        match self.0.login.reload() {
            Ok(()) => tracing::info!("users and tokens were read anew from {path}"),
            Err(AccountsError::File { error, .. }) => {
                tracing::warn!("{path}: {error}; users and tokens stay as they were");
            }
            Err(error) => tracing::warn!("{error}; until then users and tokens stay as they were"),
        }
    }

    async fn answer<B: Body<Data: Buf> + Unpin>(&self, peer: Peer, request: Request<B>) -> Answer {
        let (parts, body) = request.into_parts();
        let policy = self.0.rules.now();
        let mut answer = match self.admit(peer, &parts, &policy).await {
            Err(refusal) => {
                // Who asked before sending (Expect: 100-continue) needs no more than the answer.
                if !parts.headers.contains_key(header::EXPECT) {
                    // What was sent with an old session id is sent again, however long it takes.
                    let patience = match refusal.status() {
                        StatusCode::CONFLICT => limits::BODY_TIME,
                        _ => limits::DISCARD_TIME,
                    };
                    body::discard(body, patience).await;
                }
                *refusal
            }
            Ok((caller, Wanted::Transmission)) => {
                let answer = self.run(&caller, body).await;
                self.0.gzip.pack(peer, &parts.headers, answer).await
            }
            Ok((caller, Wanted::Native)) => {
                let answer = self.0.native.run(&caller, parts.clone(), body, &self.0.room).await;
                let answer = answer.unwrap_or_else(|error| *refusals::unreadable(error));
                self.0.gzip.pack(peer, &parts.headers, answer).await
            }
            Ok((_, Wanted::Web(path))) => {
                let home = policy.web_home.as_deref();
                let answer = self.0.web.answer(home, &parts.method, &path).await;
                self.0.gzip.pack(peer, &parts.headers, answer).await
            }
            Ok((_, Wanted::Metrics)) => *self.metrics().await,
        };
        self.meter().answer(answer.status().as_u16());
        cors::tell(&policy, &parts, &mut answer);
        finished(answer)
    }

    /// Everything that is the same for every way in; `Ok` for a request to be run.
    async fn admit(
        &self,
        peer: Peer,
        request: &Parts,
        policy: &Policy,
    ) -> Result<(Caller, Wanted), Box<Answer>> {
        let (method, path) = (&request.method, request.uri.path());
        if ![Method::GET, Method::POST, Method::OPTIONS].contains(method) {
            return Err(page(StatusCode::NOT_IMPLEMENTED, "This method is not implemented."));
        }
        self.check_address(peer, policy)?;
        if method == Method::OPTIONS {
            return Err(text(StatusCode::OK, ""));
        }
        match path {
            "/healthz" => return Err(text(StatusCode::OK, "ok\n")),
            "/readyz" => return Err(self.readiness()),
            _ => {}
        }
        let identified = self.0.login.identify(peer, &request.headers, policy.failures).await;
        let caller = identified.map_err(refusals::not_let_in)?;
        self.0.desk.charge(&caller, 1).map_err(refusals::too_often)?;
        if path == "/metrics" {
            self.check_host(request, policy, peer)?;
            return Ok((caller, Wanted::Metrics));
        }
        if let Some(place) = Native::place(path) {
            return self.admit_to_native(caller, place, request, policy);
        }
        let Some(below) = path.strip_prefix(BASE).filter(|below| !matches!(*below, "" | "web"))
        else {
            return Err(refusals::elsewhere());
        };
        if let Some(file) = below.strip_prefix("web/") {
            return Ok((caller, Wanted::Web(file.to_owned())));
        }
        self.check_host(request, policy, peer)?;
        self.check_session_id(request)?;
        if !matches!(below, "rpc" | "rpc/") {
            return Err(page(StatusCode::NOT_FOUND, "There is nothing here."));
        }
        if method != Method::POST {
            let refusal = page(StatusCode::METHOD_NOT_ALLOWED, "Calls are made by POST.");
            return Err(with(refusal, header::ALLOW, HeaderValue::from_static("POST")));
        }
        Ok((caller, Wanted::Transmission))
    }

    /// The native API has no session ids: browsers let no page send JSON elsewhere unasked, and say
    /// of a WebSocket which page opens it.
    fn admit_to_native(
        &self,
        caller: Caller,
        place: Place,
        request: &Parts,
        policy: &Policy,
    ) -> Result<(Caller, Wanted), Box<Answer>> {
        self.check_host(request, policy, caller.peer)?;
        if !cors::is_from_here(policy, request) {
            return Err(page(StatusCode::FORBIDDEN, "Pages from elsewhere may not ask here."));
        }
        match place {
            Place::Calls => Ok((caller, Wanted::Native)),
            Place::Description => Err(Box::new(json(self.0.native.description()))),
        }
    }

    /// Refuses addresses that may not connect, or ask too often. On this machine an address says
    /// nothing: behind a proxy there all clients have it.
    fn check_address(&self, peer: Peer, policy: &Policy) -> Result<(), Box<Answer>> {
        let Peer::Ip(ip) = peer else { return Ok(()) };
        if !policy.allowed.allows(ip) {
            return Err(refusals::address(ip));
        }
        let Some(key) = peer_key(peer).filter(|_| !peer.is_local()) else { return Ok(()) };
        let mut buckets = self.0.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = buckets.take(key, policy.address_rate, 1, Instant::now());
        taken.map_err(refusals::too_often)
    }

    /// A page that logs in cannot be one that was led here by its name: with log-ins every name
    /// passes, as it does for Transmission.
    fn check_host(&self, request: &Parts, policy: &Policy, peer: Peer) -> Result<(), Box<Answer>> {
        if self.0.login.is_asked_for() || peer == Peer::Unix {
            return Ok(());
        }
        let header = request.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let host = request.uri.authority().map(http::uri::Authority::as_str).or(header);
        match host.is_some_and(|host| policy.hosts.allow(host)) {
            true => Ok(()),
            false => Err(refusals::host()),
        }
    }

    /// Some clients fetch the session id by GET and take anything but 409 for a wrong password: the
    /// id is checked before the method.
    fn check_session_id(&self, request: &Parts) -> Result<(), Box<Answer>> {
        let now = Instant::now();
        let given = request.headers.get(SESSION_ID);
        if given.is_some_and(|id| self.0.ids.accepts(id.as_bytes(), now)) {
            return Ok(());
        }
        Err(refusals::session_id(self.0.ids.current(now)))
    }

    async fn run<B: Body<Data: Buf> + Unpin>(&self, caller: &Caller, body: B) -> Answer {
        let body = match body::read(body, &self.0.room).await {
            Ok(body) => body,
            Err(error) => return *refusals::unreadable(error),
        };
        let message = parse(&body.bytes);
        if let Message::Batch(calls) = &message
            && let Err(wait) = self.0.desk.charge(caller, calls.len())
        {
            return *refusals::too_often(wait);
        }
        match execute::run(&self.0.transmission, &self.0.desk, &message, caller).await {
            Some(answer) => json(answer),
            None => response(StatusCode::NO_CONTENT, Chunks::default()),
        }
    }

    /// Whether clients can be sent here.
    fn readiness(&self) -> Box<Answer> {
        match self.0.session.is_ready() {
            true => text(StatusCode::OK, "ready\n"),
            false => text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
        }
    }

    async fn metrics(&self) -> Box<Answer> {
        let exposition = metrics::exposition(&self.0.session, &self.meter().read()).await;
        let answer = text(StatusCode::OK, &exposition);
        let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        with(answer, header::CONTENT_TYPE, kind)
    }
}

/// What every answer says.
fn finished(mut answer: Answer) -> Answer {
    let headers = answer.headers_mut();
    // Some clients know the server only by this name.
    headers.insert(header::SERVER, HeaderValue::from_static("Transmission"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("SAMEORIGIN"));
    let policy = HeaderValue::from_static("frame-ancestors 'self'");
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    answer
}

/// Whole seconds for a Retry-After header, never zero.
fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + 1
}

#[cfg(test)]
mod tests;
