//! A client of Ringseed's native API: typed calls over HTTP and subscriptions over WebSocket, to a
//! daemon on this machine by its Unix socket or to any by its URL.
//!
//! ```no_run
//! use api::native::{List, Nothing, TorrentStream, call};
//! use ringseed_client::{Client, Login, Target};
//!
//! # async fn example() -> Result<(), ringseed_client::Error> {
//! let target = Target::parse("http://127.0.0.1:9091")?;
//! let client = Client::new(target, Login::Token("secret".into()))?;
//! let figures = client.call::<call::StatisticsGet>(Nothing {}).await?;
//! let list = client.call::<call::TorrentList>(List::default()).await?;
//! let mut changes = client.subscribe::<call::Torrents>(TorrentStream::default()).await?;
//! while let Some(changes) = changes.next().await {
//!     println!("{} torrents have changed", changes?.torrents.len());
//! }
//! # Ok(())
//! # }
//! ```

mod error;
mod limits;
mod socket;
mod target;

pub use error::Error;
pub use socket::Subscription;
pub use target::{Login, Target};

use api::native::{Call, Failure, Subscribe};
use reqwest::{
    StatusCode, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};

/// A daemon somewhere. Calls share connections.
#[derive(Debug)]
pub struct Client {
    target: Target,
    login: Login,
    url: Url,
    http: reqwest::Client,
}

#[derive(Serialize)]
struct Request<'a, P> {
    jsonrpc: &'static str,
    id: u32,
    method: &'a str,
    params: &'a P,
}

#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    error: Option<Failure>,
}

impl Client {
    /// A client of the daemon there. Connects when it is first used.
    pub fn new(target: Target, login: Login) -> Result<Client, Error> {
        // The HTTP client wants a provider of cryptography even for plain connections. A second
        // installation is refused, and then there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut headers = HeaderMap::new();
        if let Some(value) = login.header()? {
            headers.insert(AUTHORIZATION, value);
        }
        let mut http = reqwest::Client::builder()
            .no_proxy()
            .default_headers(headers)
            .connect_timeout(limits::CONNECT_PATIENCE)
            .timeout(limits::ANSWER_PATIENCE)
            .redirect(reqwest::redirect::Policy::none());
        if let Target::Socket(path) = &target {
            http = http.unix_socket(path.as_path());
        }
        let http = http.build().map_err(|error| Error::Setup(error.to_string()))?;
        let url = target.url();
        Ok(Client { target, login, url, http })
    }

    /// Where the daemon is.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Calls a method.
    pub async fn call<C: Call>(&self, params: C::Params) -> Result<C::Output, Error> {
        self.call_as(C::NAME, &params).await
    }

    /// Calls a method by its name, for whoever knows it only at run time.
    pub async fn call_by_name(&self, name: &str, params: &Value) -> Result<Value, Error> {
        self.call_as(name, params).await
    }

    async fn call_as<R: DeserializeOwned>(
        &self,
        name: &str,
        params: &impl Serialize,
    ) -> Result<R, Error> {
        let request = Request { jsonrpc: "2.0", id: 1, method: name, params };
        let body = serde_json::to_vec(&request).map_err(|error| self.strange(error))?;
        let request =
            self.http.post(self.url.clone()).header(CONTENT_TYPE, "application/json").body(body);
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        self.check_status(response.status())?;
        let answer = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        let answer: Response<'_> =
            serde_json::from_slice(&answer).map_err(|error| self.strange(error))?;
        if let Some(failure) = answer.error {
            return Err(Error::Refused(failure));
        }
        let result = answer.result.map_or("null", RawValue::get);
        serde_json::from_str(result).map_err(|error| self.strange(error))
    }

    /// Begins a subscription, over a WebSocket of its own.
    pub async fn subscribe<S: Subscribe>(
        &self,
        params: S::Params,
    ) -> Result<Subscription<S::Item>, Error> {
        let params = serde_json::to_value(&params).map_err(|error| self.strange(error))?;
        let wish = socket::Wish { name: S::NAME, unsubscribe: S::UNSUBSCRIBE, params };
        socket::subscribe(&self.target, &self.login, wish).await
    }

    fn check_status(&self, status: StatusCode) -> Result<(), Error> {
        let at = self.target.to_string();
        match status {
            StatusCode::OK => Ok(()),
            StatusCode::UNAUTHORIZED => Err(Error::Unauthorised { at }),
            StatusCode::FORBIDDEN | StatusCode::MISDIRECTED_REQUEST => {
                Err(Error::NotLetIn { at, status: status.as_u16() })
            }
            StatusCode::TOO_MANY_REQUESTS => Err(Error::TooMany { at }),
            StatusCode::SERVICE_UNAVAILABLE => Err(Error::Busy { at }),
            status => Err(Error::Strange { at, what: format!("it answers {status}") }),
        }
    }

    fn strange(&self, error: impl std::fmt::Display) -> Error {
        Error::Strange { at: self.target.to_string(), what: error.to_string() }
    }

    fn unreachable(&self, error: &reqwest::Error) -> Error {
        let at = self.target.to_string();
        if error.is_timeout() && !error.is_connect() {
            return Error::TimedOut { at };
        }
        Error::Unreachable { at, reason: cause(error), is_socket: self.target.is_socket() }
    }
}

/// The first cause of an error: what the system said.
fn cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
