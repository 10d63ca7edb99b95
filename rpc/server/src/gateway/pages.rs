//! Answers that are no results: small pages and texts.

use crate::body::Chunks;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

/// What every request is answered with.
pub(crate) type Answer = Response<Chunks>;

/// An answer in JSON.
pub(crate) fn json(answer: Chunks) -> Answer {
    let mut response = response(StatusCode::OK, answer);
    let json = HeaderValue::from_static("application/json; charset=UTF-8");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// Plain text.
pub(crate) fn text(status: StatusCode, text: &str) -> Box<Answer> {
    let mut answer = response(status, Bytes::copy_from_slice(text.as_bytes()).into());
    let plain = HeaderValue::from_static("text/plain; charset=UTF-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, plain);
    Box::new(answer)
}

/// A small page: clients show it to people when they do not know the status.
pub(crate) fn page(status: StatusCode, text: &str) -> Box<Answer> {
    let html = format!("<!doctype html><title>{status}</title><h1>{status}</h1><p>{text}</p>\n");
    let mut answer = response(status, Bytes::from(html).into());
    let html = HeaderValue::from_static("text/html; charset=UTF-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, html);
    Box::new(answer)
}

/// Any answer.
pub(crate) fn response(status: StatusCode, body: Chunks) -> Answer {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

/// The same answer with one header more.
pub(crate) fn with(
    mut answer: Box<Answer>,
    name: header::HeaderName,
    value: HeaderValue,
) -> Box<Answer> {
    answer.headers_mut().insert(name, value);
    answer
}
