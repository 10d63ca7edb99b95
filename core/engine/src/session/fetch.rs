//! Fetching over HTTP(S): .torrent files, blocklists, the test of the port.

use reqwest::{Client, Url, header::COOKIE};
use std::{
    error::Error,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Once,
    time::Duration,
};

/// Over which protocol to ask.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

/// Why nothing was fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum FetchError {
    #[error("{0}: not a web address")]
    Address(String),
    #[error("{url}: {message}")]
    Failed { url: String, message: String },
    #[error("{url}: the server answered {status}")]
    Status { url: String, status: u16 },
    #[error("{url}: the answer is larger than {limit} bytes")]
    TooLarge { url: String, limit: usize },
}

/// What to fetch.
#[derive(Clone, Debug)]
pub struct Fetch<'a> {
    /// An `http` or `https` address.
    pub url: &'a str,
    /// `a=b; c=d`, if any.
    pub cookies: Option<&'a str>,
    /// Over which protocol; `None` for either.
    pub family: Option<Family>,
    /// Bytes of the answer at most.
    pub limit: usize,
    /// How long it may take in all.
    pub timeout: Duration,
}

/// An answer.
#[derive(Debug)]
pub struct Fetched {
    /// Its body, unpacked if it came packed.
    pub body: Vec<u8>,
    /// Over which protocol it came, if that is known.
    pub family: Option<Family>,
}

impl Fetch<'_> {
    /// Fetches it; redirections are followed.
    pub async fn run(&self) -> Result<Fetched, FetchError> {
        let url = Url::parse(self.url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let url = url.ok_or_else(|| FetchError::Address(self.url.to_owned()))?;
        // What is told must not have a password or a passkey in it.
        let shown = || match url.port() {
            Some(port) => format!("{}:{port}", url.host_str().unwrap_or_default()),
            None => url.host_str().unwrap_or_default().to_owned(),
        };
        let failed = |error: reqwest::Error| FetchError::Failed {
            url: shown(),
            message: deepest(&error.without_url()),
        };
        let mut request = self.client().map_err(failed)?.get(url.clone());
        if let Some(cookies) = self.cookies {
            request = request.header(COOKIE, cookies);
        }
        let mut response = request.send().await.map_err(failed)?;
        let family = response.remote_addr().map(|addr| match addr.ip().to_canonical() {
            IpAddr::V4(_) => Family::V4,
            IpAddr::V6(_) => Family::V6,
        });
        let status = response.status();
        if !status.is_success() {
            return Err(FetchError::Status { url: shown(), status: status.as_u16() });
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > self.limit {
                return Err(FetchError::TooLarge { url: shown(), limit: self.limit });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Fetched { body, family })
    }

    fn client(&self) -> Result<Client, reqwest::Error> {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| {
            // Fails only where there is one already, which serves as well.
            let _ = rustls::crypto::ring::default_provider().install_default();
        });
        let source = self.family.map(|family| match family {
            Family::V4 => IpAddr::from(Ipv4Addr::UNSPECIFIED),
            Family::V6 => IpAddr::from(Ipv6Addr::UNSPECIFIED),
        });
        let builder = || {
            Client::builder()
                .user_agent(concat!("Ringseed/", env!("CARGO_PKG_VERSION")))
                .local_address(source)
                .timeout(self.timeout)
        };
        // Without system certificates plain HTTP still works.
        builder().build().or_else(|_| builder().tls_certs_only([]).build())
    }
}

/// The innermost cause: the outer ones only say that sending failed.
fn deepest(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".into();
    }
    let mut cause: &dyn Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
