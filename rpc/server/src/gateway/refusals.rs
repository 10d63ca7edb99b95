//! How a request is turned away: the status that clients understand, and a page for people.

use super::{
    Answer, SESSION_ID,
    login::Refusal,
    pages::{page, with},
};
use crate::body::BodyError;
use http::{HeaderName, HeaderValue, StatusCode, header};
use std::{net::IpAddr, time::Duration};

const RPC_VERSION: HeaderName = HeaderName::from_static("x-transmission-rpc-version");

/// Who is not let in, and why.
pub(super) fn not_let_in(refusal: Refusal) -> Box<Answer> {
    match refusal {
        Refusal::Unknown => {
            let answer = page(StatusCode::UNAUTHORIZED, "Log in with a name and a password.");
            // Browsers and libcurl ask for a password only then.
            let basic = HeaderValue::from_static("Basic realm=\"Transmission\", charset=\"UTF-8\"");
            with(answer, header::WWW_AUTHENTICATE, basic)
        }
        Refusal::NobodyYet => page(
            StatusCode::FORBIDDEN,
            "There are no users yet, so only this machine may ask. Add one there with \
             <code>ringseed user add</code>.",
        ),
        Refusal::Slowed(wait) => {
            let text = "Too many log-ins have failed from your address.";
            retry_after(page(StatusCode::TOO_MANY_REQUESTS, text), wait)
        }
        Refusal::Busy => {
            let text = "Too many log-ins wait to be verified.";
            retry_after(page(StatusCode::SERVICE_UNAVAILABLE, text), Duration::ZERO)
        }
    }
}

/// An address that is not in the list.
pub(super) fn address(ip: IpAddr) -> Box<Answer> {
    let text = format!("The address {ip} is not in the list of those that may connect.");
    page(StatusCode::FORBIDDEN, &text)
}

/// More requests than the operator lets one address or user make.
pub(super) fn too_often(wait: Duration) -> Box<Answer> {
    retry_after(page(StatusCode::TOO_MANY_REQUESTS, "You ask too often."), wait)
}

fn retry_after(answer: Box<Answer>, wait: Duration) -> Box<Answer> {
    with(answer, header::RETRY_AFTER, HeaderValue::from(super::seconds(wait)))
}

/// A name that anybody could have made up.
pub(super) fn host() -> Box<Answer> {
    page(
        StatusCode::MISDIRECTED_REQUEST,
        "Use the server's IP address or localhost, or have the name added to the setting \
         rpc_host_whitelist: other names are refused, since a page could point its own name here \
         (DNS rebinding).",
    )
}

/// A session id that is missing or old; the one to use comes along.
pub(super) fn session_id(id: String) -> Box<Answer> {
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
    refusal
}

/// Tells clients that they may speak JSON-RPC, by the version of its contract.
fn announce_version(answer: &mut Answer, version: Option<&'static str>) {
    if let Some(version) = version {
        answer.headers_mut().insert(RPC_VERSION, HeaderValue::from_static(version));
    }
}

/// Torrents are being loaded, and have been for longer than anybody waits.
pub(super) fn starting() -> Box<Answer> {
    let text = "The daemon is starting: its torrents are being loaded. Try again in a moment.";
    retry_after(page(StatusCode::SERVICE_UNAVAILABLE, text), Duration::ZERO)
}

/// A path that is nowhere.
pub(super) fn elsewhere() -> Box<Answer> {
    let answer = page(StatusCode::MOVED_PERMANENTLY, "Look under /transmission/.");
    with(answer, header::LOCATION, HeaderValue::from_static("/transmission/web/"))
}

/// A body that did not come whole.
pub(super) fn unreadable(error: BodyError) -> Box<Answer> {
    match error {
        BodyError::TooLarge => page(StatusCode::PAYLOAD_TOO_LARGE, "A request has 64 MiB at most."),
        BodyError::TooSlow => page(StatusCode::REQUEST_TIMEOUT, "The body stopped coming."),
        BodyError::Broken => page(StatusCode::BAD_REQUEST, "The body broke off."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_announced_only_when_the_newer_dialect_is_complete() {
        let mut answer = page(StatusCode::CONFLICT, "");
        announce_version(&mut answer, None);
        assert!(!answer.headers().contains_key(RPC_VERSION));
        announce_version(&mut answer, Some("6.0.1"));
        assert_eq!(answer.headers()[RPC_VERSION], "6.0.1");
        let refusal = session_id("x".repeat(48));
        let announced = refusal.headers().get(RPC_VERSION).map(|value| value.to_str().unwrap());
        assert_eq!(announced, api::version::ANNOUNCED);
    }
}
