//! Answers made smaller for clients far away. It costs CPU, so it is decided for each answer: who is
//! on this machine gets it as it is, and so does everybody while another answer is being compressed.

use super::{Answer, Peer};
use crate::{body::Chunks, limits};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, Response, header};
use std::io::Write;
use tokio::sync::Semaphore;

/// Compresses one answer at a time, on a thread that may take as long as it needs.
#[derive(Debug)]
pub(crate) struct Gzip(Semaphore);

impl Default for Gzip {
    fn default() -> Gzip {
        Gzip(Semaphore::new(limits::COMPRESSING))
    }
}

impl Gzip {
    /// The same answer, smaller if the client takes that and it pays.
    pub(crate) async fn pack(&self, peer: Peer, request: &HeaderMap, answer: Answer) -> Answer {
        if peer.is_local() || !accepts(request) || !is_worth_it(&answer) {
            return answer;
        }
        let Ok(_turn) = self.0.try_acquire() else { return answer };
        let (mut parts, body) = answer.into_parts();
        let packed = tokio::task::spawn_blocking(move || {
            let packed = compress(body.parts());
            (packed, body)
        });
        let Ok((packed, body)) = packed.await else {
            return *super::pages::text(http::StatusCode::INTERNAL_SERVER_ERROR, "");
        };
        parts.headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        match packed {
            Some(packed) => {
                let gzip = HeaderValue::from_static("gzip");
                parts.headers.insert(header::CONTENT_ENCODING, gzip);
                Response::from_parts(parts, Chunks::of([packed.into()]))
            }
            None => Response::from_parts(parts, body),
        }
    }
}

/// The parts as gzip, unless that is not smaller.
fn compress<'a>(parts: impl Iterator<Item = &'a Bytes> + Clone) -> Option<Vec<u8>> {
    let whole: usize = parts.clone().map(Bytes::len).sum();
    // Lists of torrents shrink to less than a quarter at the fastest level already.
    let mut encoder = GzEncoder::new(Vec::with_capacity(whole / 4), Compression::fast());
    for part in parts {
        encoder.write_all(part).ok()?;
    }
    encoder.finish().ok().filter(|packed| packed.len() < whole)
}

fn is_worth_it(answer: &Answer) -> bool {
    let kind = answer.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let is_text = kind.is_some_and(|kind| {
        ["text/", "application/json", "application/javascript", "image/svg"]
            .iter()
            .any(|text| kind.starts_with(text))
    });
    is_text && answer.body().length() >= limits::COMPRESS_FROM
}

/// Whether Accept-Encoding names gzip, and not to refuse it.
fn accepts(request: &HeaderMap) -> bool {
    let values = request.get_all(header::ACCEPT_ENCODING).into_iter();
    values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(
        |coding| {
            let mut words = coding.split(';').map(str::trim);
            let named = words.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
            let zero = |word: &str| {
                let weight = word.strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok());
                weight == Some(0.0)
            };
            named && !words.any(zero)
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::pages;
    use flate2::read::GzDecoder;
    use std::io::Read;

    const FAR: &str = "203.0.113.1";

    async fn packed(from: &str, accept: &str, body: &[u8]) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_ENCODING, accept.parse().unwrap());
        let halves = body.split_at(body.len() / 2);
        let answer = pages::json(Chunks::of([halves.0.to_vec().into(), halves.1.to_vec().into()]));
        Gzip::default().pack(Peer::of(from.parse().unwrap()), &headers, answer).await
    }

    fn is_packed(answer: &Answer) -> bool {
        answer.headers().contains_key(header::CONTENT_ENCODING)
    }

    #[tokio::test]
    async fn long_answers_are_packed_for_far_clients_that_take_it() {
        let body = br#"{"torrents": []}"#.repeat(1000);
        for accept in ["gzip", "deflate, gzip;q=0.5, br", "GZIP"] {
            let answer = packed(FAR, accept, &body).await;
            assert_eq!(answer.headers()[header::CONTENT_ENCODING], "gzip");
            let bytes: Vec<u8> = answer.body().parts().flatten().copied().collect();
            assert!(bytes.len() < body.len() / 4);
            let mut back = Vec::new();
            GzDecoder::new(&bytes[..]).read_to_end(&mut back).unwrap();
            assert!(back == body);
        }
        for accept in ["", "br", "gzip;q=0", "gzip; q=0.0, deflate", "xgzip"] {
            assert!(!is_packed(&packed(FAR, accept, &body).await), "{accept}");
        }
        assert!(!is_packed(&packed("127.0.0.1", "gzip", &body).await));
        assert!(!is_packed(&packed(FAR, "gzip", &body[..64]).await));
    }

    #[tokio::test]
    async fn what_does_not_shrink_is_sent_as_it_is() {
        let mut noise = vec![0; 20_000];
        getrandom::fill(&mut noise).unwrap();
        let answer = packed(FAR, "gzip", &noise).await;
        assert!(!is_packed(&answer));
        let bytes: Vec<u8> = answer.body().parts().flatten().copied().collect();
        assert!(bytes == noise);
    }
}
