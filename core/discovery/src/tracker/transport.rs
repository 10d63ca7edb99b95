//! One HTTP request to a tracker, over one address family.

#[cfg(feature = "sim")]
use super::simulated::SimNetwork;
use super::{Retry, TrackerError, resolver::Resolver};
use crate::limits;
use reqwest::{Client, StatusCode, Url, header::RETRY_AFTER, redirect};
use std::{error::Error, net::IpAddr, sync::Once, time::Duration};

/// Who carries requests.
#[derive(Clone)]
pub enum Http {
    /// The system's sockets.
    System(HttpClients),
    /// A simulated network.
    #[cfg(feature = "sim")]
    Simulated(SimNetwork),
}

impl Http {
    /// The body of the answer, whatever its status, if it looks like a tracker's.
    ///
    /// # Errors
    /// If there is no answer, it is larger than [`limits::HTTP_BODY`], or it has an error status and
    /// is not bencoded.
    pub async fn get(&self, url: &str, over_ipv6: bool) -> Result<Vec<u8>, TrackerError> {
        let answer = match self {
            Http::System(clients) => clients.get(url, over_ipv6).await,
            #[cfg(feature = "sim")]
            Http::Simulated(network) => network.get(url, over_ipv6).await,
        }?;
        if answer.status.is_success() || answer.body.starts_with(b"d") {
            return Ok(answer.body);
        }
        Err(error_status(answer.status, answer.retry_after))
    }
}

/// What came back for a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HttpAnswer {
    /// Its status.
    pub status: StatusCode,
    /// Seconds in its `Retry-After`.
    pub retry_after: Option<u64>,
    /// What it carries.
    pub body: Vec<u8>,
}

/// A client for each family, so that a tracker learns both our addresses (BEP 7).
#[derive(Clone)]
pub struct HttpClients {
    v4: Client,
    v6: Client,
}

impl HttpClients {
    /// Clients that send from these addresses.
    ///
    /// # Errors
    /// If the system's TLS or sockets cannot be set up.
    pub fn new(
        resolver: &Resolver,
        user_agent: &str,
        sources: [IpAddr; 2],
        timeout: Duration,
    ) -> Result<HttpClients, reqwest::Error> {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| {
            // Fails only where the program has installed one already, which serves as well.
            let _ = rustls::crypto::ring::default_provider().install_default();
        });
        let build = |source| {
            let builder = || {
                Client::builder()
                    .user_agent(user_agent)
                    .local_address(Some(source))
                    .dns_resolver(resolver.clone())
                    .no_proxy()
                    .redirect(redirect_policy())
                    .timeout(timeout)
                    .pool_max_idle_per_host(8)
            };
            builder().build().or_else(|error| {
                tracing::warn!(%error, "no system certificates: HTTPS trackers cannot be used");
                builder().tls_certs_only([]).build()
            })
        };
        Ok(HttpClients { v4: build(sources[0])?, v6: build(sources[1])? })
    }

    async fn get(&self, url: &str, over_ipv6: bool) -> Result<HttpAnswer, TrackerError> {
        let client = if over_ipv6 { &self.v6 } else { &self.v4 };
        let mut response = client.get(url).send().await.map_err(failed)?;
        let status = response.status();
        let retry = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = retry.and_then(|seconds| seconds.trim().parse().ok());
        let mut body = vec![];
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > limits::HTTP_BODY {
                return Err(TrackerError::Malformed("it is too long"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(HttpAnswer { status, retry_after, body })
    }
}

fn error_status(status: StatusCode, retry: Option<u64>) -> TrackerError {
    let retry = match retry {
        Some(seconds) => Retry::After(Duration::from_secs(seconds).min(limits::INTERVAL_MAX)),
        None => Retry::Unsaid,
    };
    TrackerError::Status { status, retry }
}

/// The URL is kept out of the text: it may hold a passkey.
fn failed(error: reqwest::Error) -> TrackerError {
    if error.is_timeout() {
        return TrackerError::TimedOut;
    }
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
    }
    TrackerError::Unreachable(super::printable(text.as_bytes()))
}

/// Follows a few redirects, but never from HTTPS to HTTP (the URL may hold a passkey) and never
/// from outside to an address on this machine or its network.
fn redirect_policy() -> redirect::Policy {
    redirect::Policy::custom(|attempt| {
        let previous = attempt.previous();
        let unsafe_move = previous.last().is_some_and(|from| {
            let downgrade = from.scheme() == "https" && attempt.url().scheme() != "https";
            downgrade || (is_inside(attempt.url()) && !is_inside(from))
        });
        if previous.len() > limits::REDIRECTS {
            attempt.error("too many redirects")
        } else if unsafe_move {
            attempt.error("a redirect that is not safe to follow")
        } else {
            attempt.follow()
        }
    })
}

fn is_inside(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        Some(url::Host::Ipv6(ip)) => {
            ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()
        }
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => true,
    }
}
