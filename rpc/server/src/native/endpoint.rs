//! `/rpc/v1` over HTTP and WebSocket: jsonrpsee runs the calls of callers that the gateway let in.

use super::{
    Control, module,
    sockets::{Revoked, Sockets},
};
use crate::{
    body::{self, BodyError, Chunks, Room},
    gateway::{
        Answer, Caller,
        calls::{Asked, Desk},
        pages::{json, response, text},
    },
    limits,
};
use api::{
    Dialect,
    native::{Code, DESCRIPTION_PATH, Kind, PATH, row},
};
use bytes::{Buf, Bytes};
use http::{Request, Response, StatusCode, request::Parts};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use jsonrpsee::{
    BatchResponseBuilder, MethodResponse,
    core::middleware::{
        Batch, BatchEntry, Notification, Request as CallRequest, RpcServiceBuilder, RpcServiceT,
    },
    server::{
        BatchRequestConfig, HttpBody, Methods, PingConfig, Server, ServerConfig, stop_channel,
        ws::is_upgrade_request,
    },
    types::ErrorObjectOwned,
};
use serde::Deserialize;
use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Instant,
};
use tower::Service;

const TOO_MANY_SOCKETS: &str = "There are too many WebSockets.\n";

/// Answers what comes for `/rpc/v1`.
pub(crate) struct Native {
    methods: Methods,
    desk: Arc<Desk>,
    /// Counts requests and WebSockets.
    connections: AtomicU32,
    sockets: Sockets,
    description: Vec<u8>,
}

/// What a path asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// Calls.
    Calls,
    /// The description of the API.
    Description,
}

impl Native {
    pub(crate) fn new(control: Arc<Control>, desk: Arc<Desk>) -> Native {
        Native {
            methods: module(control).into(),
            desk,
            connections: AtomicU32::new(0),
            sockets: Sockets::default(),
            description: api::native::openrpc::document().to_string().into_bytes(),
        }
    }

    /// What is asked for, if it is something of the native API.
    pub(crate) fn place(path: &str) -> Option<Place> {
        match path.strip_suffix('/').unwrap_or(path) {
            PATH => Some(Place::Calls),
            DESCRIPTION_PATH => Some(Place::Description),
            _ => None,
        }
    }

    /// The description of the API, in JSON.
    pub(crate) fn description(&self) -> Chunks {
        Bytes::from(self.description.clone()).into()
    }

    /// Closes all WebSockets.
    pub(crate) fn stop(&self) {
        self.sockets.stop();
    }

    /// Closes the WebSockets of callers who may no longer ask.
    pub(crate) fn close_unless(&self, may: impl Fn(&Caller) -> bool) {
        self.sockets.close_unless(may);
    }

    /// Runs the calls of a request, or makes it a WebSocket.
    pub(crate) async fn run<B: Body<Data: Buf> + Unpin>(
        &self,
        caller: &Caller,
        mut parts: Parts,
        body: B,
        room: &Room,
    ) -> Result<Answer, BodyError> {
        // Until the answer is made, it has its place among large ones.
        let mut whole = body::read(body, room).await?;
        let asked = Bytes::from(std::mem::take(&mut whole.bytes));
        parts.extensions.insert(caller.clone());
        let request = Request::from_parts(parts, HttpBody::new(Full::new(asked.clone())));
        let id = self.connections.fetch_add(1, Ordering::Relaxed);
        let (stop, connection) = stop_channel();
        let place = match is_upgrade_request(&request) {
            true => match self.sockets.open(id, caller, connection) {
                Some(place) => Some(place),
                None => return Ok(*text(StatusCode::SERVICE_UNAVAILABLE, TOO_MANY_SOCKETS)),
            },
            false => None,
        };
        let (place, revoked) = place.unzip();
        // The request has paid for its first call already.
        let paid = Arc::new(AtomicBool::new(revoked.is_none()));
        let desk = Arc::clone(&self.desk);
        let guard = move |service| Guard {
            service,
            desk: Arc::clone(&desk),
            revoked: revoked.clone(),
            paid: Arc::clone(&paid),
        };
        let middleware = RpcServiceBuilder::new().layer_fn(guard);
        let mut service = Server::builder()
            .set_config(config(place.is_some()))
            .to_service_builder()
            .set_rpc_middleware(middleware)
            .connection_id(id)
            .build(self.methods.clone(), stop);
        if let Some(place) = place {
            let closed = service.on_session_closed();
            tokio::spawn(async move {
                closed.await;
                drop(place);
            });
        }
        let answer = match service.call(request).await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::debug!("native call: {error}");
                return Err(BodyError::Broken);
            }
        };
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.map_err(|_| BodyError::Broken)?.to_bytes();
        if parts.status == StatusCode::OK && body == "null" {
            return Ok(unanswered(&asked));
        }
        Ok(Response::from_parts(parts, Chunks::from(body)))
    }
}

/// What stands for the answer to a notification: none. A call whose id cannot be one passes for a
/// notification with jsonrpsee, which does not run those.
fn unanswered(asked: &[u8]) -> Answer {
    #[derive(serde::Deserialize)]
    struct Call {
        #[serde(default, deserialize_with = "is_there")]
        id: bool,
    }
    fn is_there<'de, D: serde::Deserializer<'de>>(id: D) -> Result<bool, D::Error> {
        serde::de::IgnoredAny::deserialize(id).map(|_| true)
    }
    if !serde_json::from_slice::<Call>(asked).is_ok_and(|call| call.id) {
        return response(StatusCode::NO_CONTENT, Chunks::default());
    }
    let text = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"the id is no text or number"}}"#;
    json(Bytes::from_static(text.as_bytes()).into())
}

fn config(is_socket: bool) -> ServerConfig {
    let most = if is_socket { limits::SOCKET_BYTES } else { api::limits::REQUEST_BYTES as u32 };
    let ping = PingConfig::new()
        .ping_interval(limits::PING_INTERVAL)
        .inactive_limit(limits::SOCKET_SILENCE)
        .max_failures(1);
    ServerConfig::builder()
        .max_request_body_size(most)
        .max_response_body_size(limits::NATIVE_ANSWER_BYTES)
        .max_subscriptions_per_connection(limits::SUBSCRIPTIONS)
        .set_batch_request_config(BatchRequestConfig::Limit(limits::NATIVE_BATCH))
        .set_message_buffer_capacity(limits::SOCKET_MESSAGES)
        .enable_ws_ping(ping)
        .build()
}

/// Lets only calls through that their caller may make, and tells the log of those that change
/// something.
#[derive(Clone)]
struct Guard<S> {
    service: S,
    desk: Arc<Desk>,
    /// Of a WebSocket: whether its caller may no longer ask.
    revoked: Option<Revoked>,
    /// Whether the next call has been paid for by its request.
    paid: Arc<AtomicBool>,
}

impl<S> Guard<S> {
    /// Refuses a call that its caller may not make, or not so soon.
    async fn check(&self, asked: &Asked<'_>) -> Result<(), (Code, String)> {
        if !self.paid.swap(false, Ordering::Relaxed)
            && let Err(wait) = self.desk.charge(asked.caller, 1)
        {
            let text = format!("you ask too often: wait {} s", wait.as_secs() + 1);
            return Err((Code::TooManyRequests, text));
        }
        let checked = self.desk.check(asked).await;
        checked.map_err(|refusal| (Code::Forbidden, refusal.text().to_owned()))
    }
}

/// Waits until a WebSocket's caller may no longer ask; for ever if there is no WebSocket, or it ends.
async fn is_revoked(revoked: Option<Revoked>) {
    if let Some(mut revoked) = revoked
        && revoked.wait_for(|revoked| *revoked).await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

impl<S> RpcServiceT for Guard<S>
where
    S: RpcServiceT<
            MethodResponse = MethodResponse,
            BatchResponse = MethodResponse,
            NotificationResponse = MethodResponse,
        > + Clone
        + Send
        + Sync
        + 'static,
{
    type MethodResponse = MethodResponse;
    type BatchResponse = MethodResponse;
    type NotificationResponse = MethodResponse;

    fn call<'a>(
        &self,
        request: CallRequest<'a>,
    ) -> impl Future<Output = MethodResponse> + Send + 'a {
        let guard = self.clone();
        async move {
            let caller = request.extensions.get::<Caller>().cloned();
            let (Some(caller), Some(row)) = (caller, row(&request.method)) else {
                // What has no row is no method; jsonrpsee says so.
                return guard.service.call(request).await;
            };
            let params = request.params.as_ref().map(|params| params.get().to_owned());
            let asked = Asked {
                caller: &caller,
                method: row.name,
                access: row.access,
                dialect: Dialect::JsonRpc,
                params: params.as_deref(),
            };
            let (start, id) = (Instant::now(), request.id.clone());
            let refused = |code: Code, text: &str| {
                guard.desk.ended(&asked, start, "", Err((code.number(), text)));
                let error = ErrorObjectOwned::owned(code.number(), text, None::<()>);
                MethodResponse::error(id.clone(), error)
            };
            if let Err((code, text)) = guard.check(&asked).await {
                return refused(code, &text);
            }
            if guard.revoked.is_none() && row.kind != Kind::Call {
                return refused(Code::InvalidRequest, "subscriptions need a WebSocket");
            }
            let response = tokio::select! {
                response = guard.service.call(request) => response,
                () = is_revoked(guard.revoked.clone()) => {
                    return refused(Code::Forbidden, "your log-in holds no longer");
                }
            };
            let ended = response.as_error_code().map_or(Ok(()), |code| Err((code, "")));
            guard.desk.ended(&asked, start, "", ended);
            response
        }
    }

    fn batch<'a>(&self, batch: Batch<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let service = self.clone();
        async move {
            let most = limits::NATIVE_ANSWER_BYTES as usize;
            let mut answers = BatchResponseBuilder::new_with_limit(most);
            let mut has_notification = false;
            for entry in batch {
                let answer = match entry {
                    Ok(BatchEntry::Call(call)) => service.call(call).await,
                    Ok(BatchEntry::Notification(notification)) => {
                        has_notification = true;
                        service.notification(notification).await;
                        continue;
                    }
                    Err(error) => {
                        let (error, id) = error.into_parts();
                        MethodResponse::error(id, error)
                    }
                };
                if let Err(too_large) = answers.append(answer) {
                    return too_large;
                }
            }
            match answers.is_empty() && has_notification {
                true => MethodResponse::notification(),
                false => MethodResponse::from_batch(answers.finish()),
            }
        }
    }

    fn notification<'a>(
        &self,
        notification: Notification<'a>,
    ) -> impl Future<Output = MethodResponse> + Send + 'a {
        self.service.notification(notification)
    }
}
