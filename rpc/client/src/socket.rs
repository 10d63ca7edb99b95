//! Subscriptions: a WebSocket over TCP, TLS or a Unix socket.

use crate::{Error, Login, Target, limits};
use api::native::Failure;
use jsonrpsee_client_transport::ws::{WsHandshakeError, WsTransportClientBuilder};
use jsonrpsee_core::{
    client::{
        Client as RpcClient, ClientBuilder, Error as RpcError, Subscription as RpcSubscription,
        SubscriptionClientT, SubscriptionCloseReason,
    },
    traits::ToRpcParams,
};
use reqwest::{
    Url,
    header::{AUTHORIZATION, HeaderMap},
};
use rustls_platform_verifier::ConfigVerifierExt;
use serde::de::DeserializeOwned;
use serde_json::{Value, value::RawValue};
use std::{io, sync::Arc};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};

/// Messages until it is dropped.
pub struct Subscription<T> {
    messages: RpcSubscription<T>,
    at: String,
    /// The connection, which lasts as long as the subscription.
    _client: RpcClient,
}

impl<T: DeserializeOwned> Subscription<T> {
    /// The next message; `None` when the daemon has closed the connection.
    pub async fn next(&mut self) -> Option<Result<T, Error>> {
        match self.messages.next().await {
            Some(Ok(message)) => Some(Ok(message)),
            Some(Err(error)) => {
                Some(Err(Error::Strange { at: self.at.clone(), what: error.to_string() }))
            }
            None => match self.messages.close_reason() {
                Some(SubscriptionCloseReason::Lagged) => Some(Err(Error::Behind)),
                _ => None,
            },
        }
    }
}

/// What to subscribe to.
pub(crate) struct Wish {
    pub(crate) name: &'static str,
    pub(crate) unsubscribe: &'static str,
    pub(crate) params: Value,
}

struct Named(Value);

impl ToRpcParams for Named {
    fn to_rpc_params(self) -> Result<Option<Box<RawValue>>, serde_json::Error> {
        serde_json::value::to_raw_value(&self.0).map(Some)
    }
}

pub(crate) async fn subscribe<T: DeserializeOwned>(
    target: &Target,
    login: &Login,
    wish: Wish,
) -> Result<Subscription<T>, Error> {
    let at = target.to_string();
    // A daemon that is starting answers when it has started.
    let patience = limits::ANSWER_PATIENCE;
    let client = tokio::time::timeout(patience, connect(target, login))
        .await
        .map_err(|_| Error::TimedOut { at: at.clone() })??;
    let messages = client
        .subscribe(wish.name, Named(wish.params), wish.unsubscribe)
        .await
        .map_err(|error| match error {
            RpcError::Call(error) => Error::Refused(Failure {
                code: error.code(),
                message: error.message().to_owned(),
                data: error.data().and_then(|data| serde_json::from_str(data.get()).ok()),
            }),
            RpcError::RequestTimeout => Error::TimedOut { at: at.clone() },
            error => Error::Strange { at: at.clone(), what: error.to_string() },
        })?;
    Ok(Subscription { messages, at, _client: client })
}

async fn connect(target: &Target, login: &Login) -> Result<RpcClient, Error> {
    let unreachable = |error: io::Error| Error::Unreachable {
        at: target.to_string(),
        reason: error.to_string(),
        is_socket: target.is_socket(),
    };
    let mut url = target.url();
    match target {
        Target::Socket(path) => {
            let _ = url.set_scheme("ws");
            let stream = UnixStream::connect(path).await.map_err(unreachable)?;
            shake_hands(target, login, url, stream).await
        }
        Target::Url(_) => {
            let is_tls = url.scheme() == "https";
            let host = url.host_str().unwrap_or_default().to_owned();
            let port = url.port_or_known_default().unwrap_or(80);
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            let stream = TcpStream::connect((bare, port));
            let stream = tokio::time::timeout(limits::CONNECT_PATIENCE, stream).await;
            let stream = stream.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            let stream = stream.map_err(unreachable)?;
            let _ = stream.set_nodelay(true);
            if !is_tls {
                let _ = url.set_scheme("ws");
                return shake_hands(target, login, url, stream).await;
            }
            let _ = url.set_scheme("wss");
            let config = rustls::ClientConfig::with_platform_verifier()
                .map_err(|error| Error::Setup(error.to_string()))?;
            let name = rustls::pki_types::ServerName::try_from(bare.to_owned())
                .map_err(|error| Error::Setup(error.to_string()))?;
            let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
            let stream = connector.connect(name, stream).await.map_err(unreachable)?;
            shake_hands(target, login, url, stream).await
        }
    }
}

async fn shake_hands<S>(
    target: &Target,
    login: &Login,
    url: Url,
    stream: S,
) -> Result<RpcClient, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut headers = HeaderMap::new();
    if let Some(value) = login.header()? {
        headers.insert(AUTHORIZATION, value);
    }
    let at = target.to_string();
    let (sender, receiver) = WsTransportClientBuilder::default()
        .set_headers(headers)
        .max_response_size(limits::MESSAGE_BYTES)
        .build_with_stream(url, stream)
        .await
        .map_err(|error| match error {
            WsHandshakeError::Rejected { status_code: 401 } => Error::Unauthorised { at },
            WsHandshakeError::Rejected { status_code: 429 } => Error::TooMany { at },
            WsHandshakeError::Rejected { status_code: 503 } => Error::Busy { at },
            WsHandshakeError::Rejected { status_code: status @ (403 | 421) } => {
                Error::NotLetIn { at, status }
            }
            error => Error::Strange { at, what: error.to_string() },
        })?;
    let client = ClientBuilder::new()
        .request_timeout(limits::ANSWER_PATIENCE)
        .max_buffer_capacity_per_subscription(limits::WAITING_MESSAGES)
        .build_with_tokio(sender, receiver);
    Ok(client)
}
