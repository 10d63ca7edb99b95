//! `/rpc/v1` over HTTP and WebSocket: jsonrpsee runs the calls of callers that the gateway let in.

use super::{Control, module};
use crate::{
    body::{self, BodyError, Chunks},
    gateway::{
        Answer, Caller,
        calls::{Asked, Desk},
        pages::text,
    },
    limits,
};
use api::native::{Code, DESCRIPTION_PATH, PATH, row};
use bytes::Buf;
use http::{Request, Response, StatusCode, request::Parts};
use http_body::Body;
use http_body_util::BodyExt;
use jsonrpsee::{
    BatchResponseBuilder, MethodResponse,
    core::middleware::{
        Batch, BatchEntry, Notification, Request as CallRequest, RpcServiceBuilder, RpcServiceT,
    },
    server::{
        BatchRequestConfig, HttpBody, Methods, PingConfig, Server, ServerConfig, ServerHandle,
        StopHandle, stop_channel, ws::is_upgrade_request,
    },
    types::ErrorObjectOwned,
};
use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Instant,
};
use tokio::sync::Semaphore;
use tower::Service;

/// Answers what comes for `/rpc/v1`.
pub(crate) struct Native {
    methods: Methods,
    desk: Arc<Desk>,
    stop: StopHandle,
    running: ServerHandle,
    connections: AtomicU32,
    /// Places for WebSockets.
    sockets: Arc<Semaphore>,
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
        let (stop, running) = stop_channel();
        Native {
            methods: module(control).into(),
            desk,
            stop,
            running,
            connections: AtomicU32::new(0),
            sockets: Arc::new(Semaphore::new(limits::SOCKETS)),
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
        bytes::Bytes::from(self.description.clone()).into()
    }

    /// Closes all WebSockets.
    pub(crate) fn stop(&self) {
        // It has been stopped before: then there is nothing to do.
        let _ = self.running.stop();
    }

    /// Runs the calls of a request, or makes it a WebSocket.
    pub(crate) async fn run<B: Body<Data: Buf> + Unpin>(
        &self,
        caller: &Caller,
        mut parts: Parts,
        body: B,
    ) -> Result<Answer, BodyError> {
        let body = body::read(body).await?;
        parts.extensions.insert(caller.clone());
        let request = Request::from_parts(parts, HttpBody::from(body));
        let desk = Arc::clone(&self.desk);
        let guard = move |service| Guard { service, desk: Arc::clone(&desk) };
        let middleware = RpcServiceBuilder::new().layer_fn(guard);
        let mut service = Server::builder()
            .set_config(config())
            .to_service_builder()
            .set_rpc_middleware(middleware)
            .connection_id(self.connections.fetch_add(1, Ordering::Relaxed))
            .build(self.methods.clone(), self.stop.clone());
        if is_upgrade_request(&request) {
            let Ok(place) = Arc::clone(&self.sockets).try_acquire_owned() else {
                return Ok(*text(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "There are too many WebSockets.\n",
                ));
            };
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
        Ok(Response::from_parts(parts, Chunks::from(body)))
    }
}

fn config() -> ServerConfig {
    let ping = PingConfig::new()
        .ping_interval(limits::PING_INTERVAL)
        .inactive_limit(limits::SOCKET_SILENCE)
        .max_failures(1);
    ServerConfig::builder()
        .max_request_body_size(api::limits::REQUEST_BYTES as u32)
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
        let (service, desk) = (self.service.clone(), Arc::clone(&self.desk));
        async move {
            let caller = request.extensions.get::<Caller>().cloned();
            let (Some(caller), Some(row)) = (caller, row(&request.method)) else {
                // What has no row is no method; jsonrpsee says so.
                return service.call(request).await;
            };
            let params = request.params.as_ref().map(|params| params.get().to_owned());
            let (method, access, params) = (row.name, row.access, params.as_deref());
            let asked = Asked { caller: &caller, method, access, params };
            let start = Instant::now();
            if let Err(refusal) = desk.check(&asked).await {
                let (code, text) = (Code::Forbidden.number(), refusal.text());
                desk.ended(&asked, start, "", Err((code, text)));
                let error = ErrorObjectOwned::owned(code, text, None::<()>);
                return MethodResponse::error(request.id, error);
            }
            let response = service.call(request).await;
            let ended = response.as_error_code().map_or(Ok(()), |code| Err((code, "")));
            desk.ended(&asked, start, "", ended);
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
