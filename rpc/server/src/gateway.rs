//! The HTTP side of `/transmission/rpc`: what must hold before a request is looked into, in the
//! order that clients rely on.

use crate::body::{self, BodyError, Chunks};
use crate::{execute, host, session_id::SessionIds};
use bytes::Buf;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body;
use jsonrpsee::server::Methods;
use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

/// What paths begin with; fixed, as clients have it built in.
const BASE: &str = "/transmission/";
const SESSION_ID: &str = "x-transmission-session-id";

/// Answers requests; cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    methods: Methods,
    ids: Arc<SessionIds>,
}

type Answer = Response<Chunks>;

impl Gateway {
    pub(crate) fn new(methods: Methods, ids: Arc<SessionIds>) -> Gateway {
        Gateway { methods, ids }
    }

    async fn answer<B: Body<Data: Buf> + Unpin>(&self, request: Request<B>) -> Answer {
        let mut answer = match self.check(&request) {
            Err(refusal) => {
                // Who asked before sending (Expect: 100-continue) needs no more than the answer.
                if !request.headers().contains_key(header::EXPECT) {
                    body::discard(request.into_body()).await;
                }
                *refusal
            }
            Ok(()) => self.run(request.into_body()).await,
        };
        let headers = answer.headers_mut();
        // Some clients know the server only by this name.
        headers.insert(header::SERVER, HeaderValue::from_static("Transmission"));
        headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("SAMEORIGIN"));
        let policy = HeaderValue::from_static("frame-ancestors 'self'");
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        answer
    }

    /// `Ok` for a request to be run. Some clients fetch the session id by GET and take anything but
    /// 409 for a wrong password: the id is checked before the method.
    fn check<B>(&self, request: &Request<B>) -> Result<(), Box<Answer>> {
        let (method, path) = (request.method(), request.uri().path());
        if ![Method::GET, Method::POST, Method::OPTIONS].contains(method) {
            return Err(page(StatusCode::NOT_IMPLEMENTED, "This method is not implemented."));
        }
        if path == "/healthz" {
            return Err(text(StatusCode::OK, "ok\n"));
        }
        if method == Method::OPTIONS {
            return Err(text(StatusCode::OK, ""));
        }
        let Some(below) = path.strip_prefix(BASE).filter(|below| !matches!(*below, "" | "web"))
        else {
            return Err(elsewhere());
        };
        if below.starts_with("web/") {
            return Err(page(StatusCode::NOT_FOUND, "There is no web interface."));
        }
        if !host_is_allowed(request) {
            return Err(page(
                StatusCode::MISDIRECTED_REQUEST,
                "Use the server's IP address or localhost: other names are refused, since a page \
                 could point its own name here (DNS rebinding).",
            ));
        }
        self.check_session_id(request)?;
        if !matches!(below, "rpc" | "rpc/") {
            return Err(page(StatusCode::NOT_FOUND, "There is nothing here."));
        }
        if method != Method::POST {
            let mut refusal = page(StatusCode::METHOD_NOT_ALLOWED, "Calls are made by POST.");
            refusal.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
            return Err(refusal);
        }
        Ok(())
    }

    fn check_session_id<B>(&self, request: &Request<B>) -> Result<(), Box<Answer>> {
        let now = Instant::now();
        let given = request.headers().get(SESSION_ID);
        if given.is_some_and(|id| self.ids.accepts(id.as_bytes(), now)) {
            return Ok(());
        }
        let id = self.ids.current(now);
        let mut refusal = page(
            StatusCode::CONFLICT,
            &format!(
                "A request must carry the session id, so that a web page cannot make it on its own. \
                 Repeat it with this header:</p><p><code>X-Transmission-Session-Id: {id}</code>"
            ),
        );
        let id = HeaderValue::try_from(id).expect("session ids are alphanumeric");
        refusal.headers_mut().insert(SESSION_ID, id);
        Err(refusal)
    }

    async fn run<B: Body<Data: Buf> + Unpin>(&self, body: B) -> Answer {
        match body::read(body).await {
            Ok(body) => match execute::run(&self.methods, &body).await {
                Some(answer) => json(answer),
                None => response(StatusCode::NO_CONTENT, Chunks::default()),
            },
            Err(BodyError::TooLarge) => {
                *page(StatusCode::PAYLOAD_TOO_LARGE, "A request has 64 MiB at most.")
            }
            Err(BodyError::TooSlow) => {
                *page(StatusCode::REQUEST_TIMEOUT, "The body stopped coming.")
            }
            Err(BodyError::Broken) => *page(StatusCode::BAD_REQUEST, "The body broke off."),
        }
    }
}

impl<B> tower::Service<Request<B>> for Gateway
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
        let gateway = self.clone();
        Box::pin(async move { Ok(gateway.answer(request).await) })
    }
}

fn host_is_allowed<B>(request: &Request<B>) -> bool {
    let header = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let host = request.uri().authority().map(http::uri::Authority::as_str).or(header);
    host.is_some_and(host::is_allowed)
}

fn elsewhere() -> Box<Answer> {
    let mut answer = page(StatusCode::MOVED_PERMANENTLY, "Look under /transmission/.");
    let location = HeaderValue::from_static("/transmission/web/");
    answer.headers_mut().insert(header::LOCATION, location);
    answer
}

fn json(answer: Chunks) -> Answer {
    let mut response = response(StatusCode::OK, answer);
    let json = HeaderValue::from_static("application/json; charset=UTF-8");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

fn text(status: StatusCode, text: &str) -> Box<Answer> {
    let mut answer = response(status, Chunks::of([text.as_bytes().to_vec()]));
    let plain = HeaderValue::from_static("text/plain; charset=UTF-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, plain);
    Box::new(answer)
}

/// A small page: clients show it to people when they do not know the status.
fn page(status: StatusCode, text: &str) -> Box<Answer> {
    let html = format!("<!doctype html><title>{status}</title><h1>{status}</h1><p>{text}</p>\n");
    let mut answer = response(status, Chunks::of([html.into_bytes()]));
    let html = HeaderValue::from_static("text/html; charset=UTF-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, html);
    Box::new(answer)
}

fn response(status: StatusCode, body: Chunks) -> Answer {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}
