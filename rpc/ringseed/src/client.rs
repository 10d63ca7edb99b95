//! Calls to a daemon: JSON-RPC 2.0, with the session-id handshake.

use crate::limits;
use anyhow::{Context, bail};
use reqwest::{StatusCode, Url, header::CONTENT_TYPE};
use serde_json::{Value, json};

const SESSION_ID: &str = "X-Transmission-Session-Id";

/// A daemon somewhere.
pub struct Client {
    url: Url,
    http: reqwest::Client,
    session_id: String,
}

impl Client {
    /// For the daemon at this URL.
    pub fn new(url: &str) -> anyhow::Result<Client> {
        // The HTTP client wants a provider of cryptography even for plain connections. A second
        // installation is refused, and then there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut url = Url::parse(url).with_context(|| {
            format!("'{url}' is no URL: it looks like http://127.0.0.1:9091/transmission/rpc")
        })?;
        if url.path() == "/" {
            url.set_path("/transmission/rpc");
        }
        let http = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(limits::CONNECT_PATIENCE)
            .timeout(limits::ANSWER_PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Client { url, http, session_id: String::new() })
    }

    /// Calls a method by its JSON-RPC name and gives its result.
    pub async fn call(&mut self, method: &str, params: Value) -> anyhow::Result<Value> {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let body = request.to_string();
        let mut response = self.post(body.clone()).await?;
        if response.status() == StatusCode::CONFLICT {
            let id = response.headers().get(SESSION_ID).and_then(|id| id.to_str().ok());
            self.session_id =
                id.context("the server wants a session id but gives none")?.to_owned();
            response = self.post(body).await?;
        }
        match response.status() {
            StatusCode::OK => {}
            StatusCode::MISDIRECTED_REQUEST => bail!(
                "the daemon refuses the name in {}: use its IP address or localhost",
                self.url
            ),
            status => bail!("{} answers {status}: is it Ringseed's control interface?", self.url),
        }
        let answer = response.bytes().await.context("the answer broke off")?;
        let mut answer: Value = serde_json::from_slice(&answer)
            .with_context(|| format!("{} does not answer in JSON", self.url))?;
        if let Some(error) = answer.get("error") {
            let detail = error.pointer("/data/error_string").and_then(Value::as_str);
            let text = detail.or_else(|| error["message"].as_str()).unwrap_or("unknown error");
            bail!("{text}");
        }
        Ok(answer["result"].take())
    }

    async fn post(&self, body: String) -> anyhow::Result<reqwest::Response> {
        let request = self
            .http
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(SESSION_ID, &self.session_id)
            .body(body);
        request.send().await.map_err(|error| {
            if error.is_timeout() {
                anyhow::anyhow!("the daemon at {} does not answer", self.url)
            } else if error.is_connect() {
                anyhow::anyhow!(
                    "no daemon at {}: start one with `ringseed daemon`, or name another with --rpc",
                    self.url
                )
            } else {
                anyhow::Error::new(error).context(format!("cannot ask {}", self.url))
            }
        })
    }
}
