//! The HTTP side: what must hold before a request is looked into, in the order that clients rely on,
//! whatever is asked for then. Every way in shares it:
//!
//! 1. the method is one of three (501), the address may connect (403), OPTIONS is answered;
//! 2. who asks is known (401), and does not ask too often (429);
//! 3. paths that are nowhere are redirected (301), web files served;
//! 4. the Host header cannot be a page's own name (421);
//! 5. `/transmission/rpc`: the session id is repeated (409), the method is POST (405).
//!
//! What is run then is run for a [`Caller`]: [`calls`] says whether they may, and tells the log.

pub(crate) mod caller;
pub(crate) mod calls;
mod hosts;
pub(crate) mod pages;
mod session_id;

pub(crate) use caller::{Caller, Peer};
pub(crate) use pages::Answer;
pub(crate) use session_id::SessionIds;

use crate::body::{self, BodyError, Chunks};
use crate::execute;
use crate::native::{Native, Place};
use bytes::Buf;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, header, request::Parts};
use http_body::Body;
use jsonrpsee::server::Methods;
use pages::{json, page, response, text, with};
use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

/// What Transmission's paths begin with; fixed, as clients have it built in.
const BASE: &str = "/transmission/";
const SESSION_ID: HeaderName = HeaderName::from_static("x-transmission-session-id");
const RPC_VERSION: HeaderName = HeaderName::from_static("x-transmission-rpc-version");

/// Answers requests; cheap to clone.
#[derive(Clone)]
pub(crate) struct Gateway(Arc<Inner>);

struct Inner {
    transmission: Methods,
    native: Native,
    ids: Arc<SessionIds>,
}

/// The gateway as one connection sees it.
#[derive(Clone)]
pub(crate) struct Door {
    gateway: Gateway,
    peer: Peer,
}

/// What a request that was let in is for.
enum Wanted {
    /// Calls in Transmission's dialects.
    Transmission,
    /// Calls of the native API.
    Native,
}

impl Gateway {
    pub(crate) fn new(transmission: Methods, native: Native, ids: Arc<SessionIds>) -> Gateway {
        Gateway(Arc::new(Inner { transmission, native, ids }))
    }

    /// Ends what goes on after an answer: WebSockets.
    pub(crate) fn stop(&self) {
        self.0.native.stop();
    }

    /// The service of a connection from there.
    pub(crate) fn door(&self, peer: Peer) -> Door {
        Door { gateway: self.clone(), peer }
    }

    async fn answer<B: Body<Data: Buf> + Unpin>(&self, peer: Peer, request: Request<B>) -> Answer {
        let (parts, body) = request.into_parts();
        let mut answer = match self.admit(peer, &parts).await {
            Err(refusal) => {
                // Who asked before sending (Expect: 100-continue) needs no more than the answer.
                if !parts.headers.contains_key(header::EXPECT) {
                    body::discard(body).await;
                }
                *refusal
            }
            Ok((caller, Wanted::Transmission)) => self.run(&caller, body).await,
            Ok((caller, Wanted::Native)) => {
                let answer = self.0.native.run(&caller, parts, body).await;
                answer.unwrap_or_else(|error| *unreadable(error))
            }
        };
        let headers = answer.headers_mut();
        // Some clients know the server only by this name.
        headers.insert(header::SERVER, HeaderValue::from_static("Transmission"));
        headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("SAMEORIGIN"));
        let policy = HeaderValue::from_static("frame-ancestors 'self'");
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        answer
    }

    /// Everything that is the same for every way in; `Ok` for a request to be run.
    async fn admit(&self, peer: Peer, request: &Parts) -> Result<(Caller, Wanted), Box<Answer>> {
        let (method, path) = (&request.method, request.uri.path());
        if ![Method::GET, Method::POST, Method::OPTIONS].contains(method) {
            return Err(page(StatusCode::NOT_IMPLEMENTED, "This method is not implemented."));
        }
        if path == "/healthz" {
            return Err(text(StatusCode::OK, "ok\n"));
        }
        if method == Method::OPTIONS {
            return Err(text(StatusCode::OK, ""));
        }
        let caller = Caller::local(peer);
        if let Some(place) = Native::place(path) {
            return self.admit_to_native(caller, place, request);
        }
        let Some(below) = path.strip_prefix(BASE).filter(|below| !matches!(*below, "" | "web"))
        else {
            return Err(elsewhere());
        };
        if below.starts_with("web/") {
            return Err(page(StatusCode::NOT_FOUND, "There is no web interface."));
        }
        check_host(request)?;
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
    ) -> Result<(Caller, Wanted), Box<Answer>> {
        check_host(request)?;
        if Native::is_foreign(&request.headers) {
            return Err(page(StatusCode::FORBIDDEN, "Pages from elsewhere may not ask here."));
        }
        match place {
            Place::Calls => Ok((caller, Wanted::Native)),
            Place::Description => Err(Box::new(json(self.0.native.description()))),
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
        let id = self.0.ids.current(now);
        let refusal = page(
            StatusCode::CONFLICT,
            &format!(
                "A request must carry the session id, so that a web page cannot make it on its own. \
                 Repeat it with this header:</p><p><code>X-Transmission-Session-Id: {id}</code>"
            ),
        );
        let id = HeaderValue::try_from(id).expect("session ids are alphanumeric");
        let mut refusal = with(refusal, SESSION_ID, id);
        announce_version(&mut refusal, api::version::ANNOUNCED);
        Err(refusal)
    }

    async fn run<B: Body<Data: Buf> + Unpin>(&self, caller: &Caller, body: B) -> Answer {
        match body::read(body).await {
            Ok(body) => match execute::run(&self.0.transmission, &body, caller).await {
                Some(answer) => json(answer),
                None => response(StatusCode::NO_CONTENT, Chunks::default()),
            },
            Err(error) => *unreadable(error),
        }
    }
}

impl<B> tower::Service<Request<B>> for Door
where
    B: Body<Data: Buf + Send> + Unpin + Send + 'static,
{
    type Response = Answer;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Door { gateway, peer } = self.clone();
        Box::pin(async move { Ok(gateway.answer(peer, request).await) })
    }
}

/// The answer to a body that did not come whole.
fn unreadable(error: BodyError) -> Box<Answer> {
    match error {
        BodyError::TooLarge => page(StatusCode::PAYLOAD_TOO_LARGE, "A request has 64 MiB at most."),
        BodyError::TooSlow => page(StatusCode::REQUEST_TIMEOUT, "The body stopped coming."),
        BodyError::Broken => page(StatusCode::BAD_REQUEST, "The body broke off."),
    }
}

fn check_host(request: &Parts) -> Result<(), Box<Answer>> {
    let header = request.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = request.uri.authority().map(http::uri::Authority::as_str).or(header);
    if host.is_some_and(hosts::is_allowed) {
        return Ok(());
    }
    Err(page(
        StatusCode::MISDIRECTED_REQUEST,
        "Use the server's IP address or localhost: other names are refused, since a page \
         could point its own name here (DNS rebinding).",
    ))
}

/// Tells clients that they may speak JSON-RPC, by the version of its contract.
fn announce_version(answer: &mut Answer, version: Option<&'static str>) {
    if let Some(version) = version {
        answer.headers_mut().insert(RPC_VERSION, HeaderValue::from_static(version));
    }
}

fn elsewhere() -> Box<Answer> {
    let answer = page(StatusCode::MOVED_PERMANENTLY, "Look under /transmission/.");
    with(answer, header::LOCATION, HeaderValue::from_static("/transmission/web/"))
}

#[cfg(test)]
mod tests;
