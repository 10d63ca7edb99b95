//! What a browser is told of pages from elsewhere: nothing, unless the operator has named their
//! origin. Any other page could read the session id, and with it do as it likes.

use super::{Answer, Policy};
use http::{HeaderValue, Method, header, request::Parts};

const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, OPTIONS");
const HEADERS: HeaderValue =
    HeaderValue::from_static("authorization, content-type, x-transmission-session-id");
const EXPOSED: HeaderValue =
    HeaderValue::from_static("x-transmission-session-id, x-transmission-rpc-version, retry-after");

/// Adds to an answer what its page needs to read it, if it may.
pub(super) fn tell(policy: &Policy, request: &Parts, answer: &mut Answer) {
    let Some(origin) = request.headers.get(header::ORIGIN) else { return };
    if !origin.to_str().is_ok_and(|origin| policy.allows_origin(origin)) {
        return;
    }
    let headers = answer.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    if request.method == Method::OPTIONS {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
    } else {
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
}

/// Whether a request may come from the page that it says it comes from: none, one of this server,
/// or one that the operator has named. What browsers send without asking first, as WebSockets, must
/// be checked by this.
pub(crate) fn is_from_here(policy: &Policy, request: &Parts) -> bool {
    let Some(origin) = request.headers.get(header::ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    let host = request.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let own = origin.split_once("://").map(|(_, host)| host);
    (own.is_some() && own == host) || policy.allows_origin(origin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{body::Chunks, gateway::pages};
    use engine::settings::Settings;
    use http::{Request, StatusCode};

    fn request(method: &str, origin: &str) -> Parts {
        let builder = Request::builder().method(method).header("Host", "box:9091");
        builder.header("Origin", origin).body(()).unwrap().into_parts().0
    }

    fn policy(origins: &str) -> Policy {
        let origins = origins.to_owned();
        Policy::new(&Settings { rpc_cors_origins: origins, ..Settings::default() }).unwrap()
    }

    #[test]
    fn only_pages_that_the_operator_named_may_read_answers() {
        let told = |origins: &str, origin: &str| {
            let mut answer = pages::response(StatusCode::OK, Chunks::default());
            tell(&policy(origins), &request("POST", origin), &mut answer);
            answer.headers().get(header::ACCESS_CONTROL_ALLOW_ORIGIN).cloned()
        };
        assert_eq!(told("", "https://ui.example"), None);
        assert_eq!(told("https://ui.example", "https://evil.example"), None);
        let ui = Some(HeaderValue::from_static("https://ui.example"));
        assert_eq!(told("https://x.example, https://ui.example", "https://ui.example"), ui);
        assert_eq!(told("*", "https://ui.example"), ui);
    }

    #[test]
    fn a_request_is_from_here_if_its_page_is() {
        let policy = policy("https://ui.example");
        let is = |origin| is_from_here(&policy, &request("GET", origin));
        assert!(is("http://box:9091") && is("https://ui.example"));
        assert!(!is("http://box") && !is("null") && !is("http://evil") && !is("box:9091"));
        let (none, ()) = Request::new(()).into_parts();
        assert!(is_from_here(&policy, &none));
    }
}
