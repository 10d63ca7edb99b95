//! What a connection sees first: the gateway, or, from the moment the daemon listens until its
//! torrents are loaded, what can be said without it.
//!
//! An orchestrator is told at once that the process lives (`/healthz`) and cannot be used yet
//! (`/readyz`). Everything else waits for the gateway, as clients of Transmission expect while it loads:
//! most take any refusal for a wrong address or password.

use super::{Answer, Gateway, Peer, Policy, Rules, finished, meter::Meter, pages::text, refusals};
use crate::limits;
use bytes::Buf;
use http::{Request, StatusCode};
use http_body::Body;
use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::sync::watch;

/// Stands where the gateway will be; cheap to clone.
#[derive(Clone)]
pub(crate) struct Front(Arc<Inner>);

struct Inner {
    rules: Arc<Rules>,
    meter: Arc<Meter>,
    gateway: watch::Sender<Option<Gateway>>,
}

impl fmt::Debug for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Front")
    }
}

/// The front as one connection sees it.
#[derive(Clone)]
pub(crate) struct Door {
    front: Front,
    peer: Peer,
}

impl Front {
    /// Without a gateway yet; its rules say who may connect.
    pub(crate) fn new(rules: Arc<Rules>) -> Front {
        let (gateway, meter) = (watch::Sender::new(None), Arc::default());
        Front(Arc::new(Inner { rules, meter, gateway }))
    }

    /// What is counted, before there is a gateway and afterwards.
    pub(crate) fn meter(&self) -> &Arc<Meter> {
        &self.0.meter
    }

    /// Hands all requests to the gateway, those that have waited for it, too.
    pub(crate) fn open(&self, gateway: Gateway) {
        self.0.gateway.send_replace(Some(gateway));
    }

    /// The gateway, if there is one.
    pub(crate) fn gateway(&self) -> Option<Gateway> {
        self.0.gateway.borrow().clone()
    }

    /// The service of a connection from there.
    pub(crate) fn door(&self, peer: Peer) -> Door {
        Door { front: self.clone(), peer }
    }

    async fn answer<B: Body<Data: Buf> + Unpin>(&self, peer: Peer, request: Request<B>) -> Answer {
        if let Some(gateway) = self.gateway() {
            return gateway.answer(peer, request).await;
        }
        let answer = match at_once(peer, request.uri().path(), &self.0.rules.now()) {
            Some(answer) => answer,
            None => match self.opened().await {
                Some(gateway) => return gateway.answer(peer, request).await,
                None => refusals::starting(),
            },
        };
        self.0.meter.answer(answer.status().as_u16());
        finished(*answer)
    }

    /// The gateway as soon as there is one, unless that takes too long.
    async fn opened(&self) -> Option<Gateway> {
        let mut gateway = self.0.gateway.subscribe();
        let opened = gateway.wait_for(Option::is_some);
        tokio::time::timeout(limits::START_PATIENCE, opened).await.ok()?.ok()?.clone()
    }
}

/// What needs no gateway to be answered.
fn at_once(peer: Peer, path: &str, policy: &Policy) -> Option<Box<Answer>> {
    if let Peer::Ip(ip) = peer
        && !policy.allowed.allows(ip)
    {
        return Some(refusals::address(ip));
    }
    match path {
        "/healthz" => Some(text(StatusCode::OK, "ok\n")),
        "/readyz" => Some(text(StatusCode::SERVICE_UNAVAILABLE, "starting\n")),
        _ => None,
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
        let Door { front, peer } = self.clone();
        Box::pin(async move { Ok(front.answer(peer, request).await) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::settings::Settings;
    use http_body_util::Full;
    use std::time::Duration;
    use tokio::time::Instant;

    async fn ask(front: &Front, peer: &str, path: &str) -> Answer {
        let request = Request::builder().method("POST").uri(path);
        let request = request.body(Full::new(bytes::Bytes::from_static(b"{}"))).unwrap();
        front.answer(Peer::of(peer.parse().unwrap()), request).await
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_gateway_probes_are_answered_at_once_and_calls_wait_but_not_for_ever() {
        let settings = Settings { rpc_whitelist: "127.0.0.1".into(), ..Settings::default() };
        let front = Front::new(Arc::new(Rules::new(&settings).unwrap()));
        let start = Instant::now();
        assert_eq!(ask(&front, "127.0.0.1", "/healthz").await.status(), 200);
        assert_eq!(ask(&front, "127.0.0.1", "/readyz").await.status(), 503);
        for path in ["/healthz", "/transmission/rpc"] {
            assert_eq!(ask(&front, "192.0.2.1", path).await.status(), 403, "{path}");
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        for path in ["/transmission/rpc", "/rpc/v1", "/metrics", "/"] {
            let start = Instant::now();
            let answer = ask(&front, "127.0.0.1", path).await;
            assert_eq!(answer.status(), 503, "{path}");
            assert!(answer.headers().contains_key("retry-after"), "{path}");
            assert_eq!(start.elapsed(), limits::START_PATIENCE, "{path}");
        }
        assert_eq!(front.meter().read().statuses[&503], 5);
    }
}
