//! Answers made smaller for clients that take gzip (RFC 1952).
//!
//! It costs CPU, so it is decided for each answer. Clients far away get it packed, unless another
//! answer is being packed at the moment. Those on this machine gain nothing by that; but where many
//! ask for the same, as remotes do that poll, to pack it once costs less than to send it to them all.
//! So a long part that is given again is packed once: gzip's data is a series of blocks, and those of
//! one part can follow those of any other.

use super::{Answer, Peer};
use crate::{body::Chunks, limits};
use bytes::Bytes;
use flate2::{Compress, Compression, Crc, FlushCompress};
use http::{HeaderMap, HeaderValue, Response, header};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::{sync::Semaphore, time::Instant};

/// What a member begins with: its magic number, deflate, no flags, no time, any system.
const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// The last of a series of blocks (RFC 1951): fixed codes, and nothing but the end.
const LAST_BLOCK: [u8; 2] = [0x03, 0x00];

/// Packs one answer at a time, on a thread that may take as long as it needs. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Gzip(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    turns: Semaphore,
    /// Long parts that somebody holds to give them again, the oldest first.
    shared: Mutex<Vec<Shared>>,
}

#[derive(Debug)]
struct Shared {
    /// While it is held, no other part can be where it is.
    part: Bytes,
    since: Instant,
    /// How often it was given as it is to clients on this machine that take gzip.
    given: u32,
    packed: Option<Packed>,
}

/// A part as blocks, none of them the last.
#[derive(Clone, Debug)]
struct Packed {
    blocks: Bytes,
    crc: Arc<Crc>,
}

impl Default for Gzip {
    fn default() -> Gzip {
        let turns = Semaphore::new(limits::COMPRESSING);
        Gzip(Arc::new(Inner { turns, shared: Mutex::default() }))
    }
}

impl Gzip {
    /// The same answer, smaller if the client takes that and it pays.
    pub(crate) async fn pack(&self, peer: Peer, request: &HeaderMap, answer: Answer) -> Answer {
        if !accepts(request) || !is_worth_it(&answer) {
            return answer;
        }
        let shared = answer.body().parts().position(is_shared);
        let part = shared.and_then(|at| answer.body().parts().nth(at)).cloned();
        let known = part.as_ref().and_then(|part| self.find(part));
        if known.is_none() && peer.is_local() && !part.as_ref().is_some_and(|part| self.pays(part))
        {
            return answer;
        }
        let (mut head, body) = answer.into_parts();
        let packed = match known {
            Some(known) => {
                let of =
                    |(at, part)| if Some(at) == shared { known.clone() } else { Packed::of(part) };
                body.parts().enumerate().map(of).collect()
            }
            None => {
                let Ok(_turn) = self.0.turns.try_acquire() else {
                    return Response::from_parts(head, body);
                };
                let plain = body.clone();
                let pack = move || plain.parts().map(Packed::of).collect::<Vec<_>>();
                let Ok(packed) = tokio::task::spawn_blocking(pack).await else {
                    return *super::pages::text(http::StatusCode::INTERNAL_SERVER_ERROR, "");
                };
                if let (Some(at), Some(part)) = (shared, part) {
                    self.change(&part, |shared| shared.packed = Some(packed[at].clone()));
                }
                packed
            }
        };
        let packed = member(packed);
        head.headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        if packed.length() >= body.length() {
            return Response::from_parts(head, body);
        }
        head.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        Response::from_parts(head, packed)
    }

    fn find(&self, part: &Bytes) -> Option<Packed> {
        self.lock().iter().find(|shared| shared.is(part))?.packed.clone()
    }

    /// Whether a part is asked for so often on this machine that it pays to pack it.
    fn pays(&self, part: &Bytes) -> bool {
        self.change(part, |shared| {
            shared.given += 1;
            shared.given > limits::GIVEN_PLAIN
        })
    }

    /// Changes what is known of a part, and sees to it that it is forgotten.
    fn change<R>(&self, part: &Bytes, change: impl FnOnce(&mut Shared) -> R) -> R {
        let mut all = self.lock();
        if let Some(shared) = all.iter_mut().find(|shared| shared.is(part)) {
            return change(shared);
        }
        let mut new = Shared { part: part.clone(), since: Instant::now(), given: 0, packed: None };
        let result = change(&mut new);
        if all.len() == limits::KEPT_ANSWERS {
            all.remove(0);
        }
        all.push(new);
        drop(all);
        let gzip = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(limits::TRUE_FOR).await;
            gzip.lock().retain(|shared| shared.since.elapsed() < limits::TRUE_FOR);
        });
        result
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Shared>> {
        self.0.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn is(&self, part: &Bytes) -> bool {
        (self.part.as_ptr(), self.part.len()) == (part.as_ptr(), part.len())
    }
}

impl Packed {
    fn of(part: &Bytes) -> Packed {
        let mut crc = Crc::new();
        crc.update(part);
        let blocks = match part.len() < limits::COMPRESS_FROM {
            true => stored(part),
            false => deflated(part),
        };
        Packed { blocks: blocks.into(), crc: Arc::new(crc) }
    }
}

/// What somebody else holds too, to give it again.
fn is_shared(part: &Bytes) -> bool {
    part.len() >= limits::KEPT_FROM && !part.is_unique()
}

/// A short part, as it is.
fn stored(part: &[u8]) -> Vec<u8> {
    const { assert!(limits::COMPRESS_FROM <= 1 << 16) };
    let length = (part.len() as u16).to_le_bytes();
    [&[0], &length[..], &length.map(|byte| !byte), part].concat()
}

/// Lists of torrents shrink to a tenth at the fastest level already.
fn deflated(part: &[u8]) -> Vec<u8> {
    let mut compress = Compress::new(Compression::fast(), false);
    let mut blocks = Vec::with_capacity(part.len() / 8);
    loop {
        let taken = compress.total_in() as usize;
        // Ends the last block at a whole byte. It cannot fail: what it writes to grows.
        let _ = compress.compress_vec(&part[taken..], &mut blocks, FlushCompress::Sync);
        if compress.total_in() as usize == part.len() && blocks.len() < blocks.capacity() {
            return blocks;
        }
        blocks.reserve(blocks.len());
    }
}

/// The parts as one member.
fn member(packed: Vec<Packed>) -> Chunks {
    let mut whole = Crc::new();
    packed.iter().for_each(|part| whole.combine(&part.crc));
    let end = [&LAST_BLOCK[..], &whole.sum().to_le_bytes(), &whole.amount().to_le_bytes()].concat();
    let blocks = packed.into_iter().map(|part| part.blocks);
    [Bytes::from_static(&HEAD)].into_iter().chain(blocks).chain([end.into()]).collect()
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
    use proptest::prelude::*;
    use std::io::Read;

    const FAR: &str = "203.0.113.1";
    const HERE: &str = "127.0.0.1";

    async fn pack(gzip: &Gzip, from: &str, accept: &str, parts: [Bytes; 3]) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_ENCODING, accept.parse().unwrap());
        gzip.pack(Peer::of(from.parse().unwrap()), &headers, pages::json(Chunks::of(parts))).await
    }

    async fn packed(from: &str, accept: &str, body: &[u8]) -> Answer {
        let halves = body.split_at(body.len() / 2);
        let parts = [halves.0.to_vec().into(), halves.1.to_vec().into(), Bytes::new()];
        pack(&Gzip::default(), from, accept, parts).await
    }

    fn is_packed(answer: &Answer) -> bool {
        answer.headers().contains_key(header::CONTENT_ENCODING)
    }

    fn bytes(answer: &Answer) -> Vec<u8> {
        answer.body().parts().flatten().copied().collect()
    }

    fn unpacked(answer: &Answer) -> Vec<u8> {
        let mut plain = Vec::new();
        GzDecoder::new(&bytes(answer)[..]).read_to_end(&mut plain).unwrap();
        plain
    }

    #[tokio::test]
    async fn long_answers_are_packed_for_far_clients_that_take_it() {
        let body = br#"{"torrents": []}"#.repeat(1000);
        for accept in ["gzip", "deflate, gzip;q=0.5, br", "GZIP"] {
            let answer = packed(FAR, accept, &body).await;
            assert_eq!(answer.headers()[header::CONTENT_ENCODING], "gzip");
            assert!(answer.body().length() < body.len() / 4);
            assert!(unpacked(&answer) == body);
        }
        for accept in ["", "br", "gzip;q=0", "gzip; q=0.0, deflate", "xgzip"] {
            assert!(!is_packed(&packed(FAR, accept, &body).await), "{accept}");
        }
        assert!(!is_packed(&packed(HERE, "gzip", &body).await));
        assert!(!is_packed(&packed(FAR, "gzip", &body[..64]).await));
    }

    #[tokio::test]
    async fn what_does_not_shrink_is_sent_as_it_is() {
        let mut noise = vec![0; 20_000];
        getrandom::fill(&mut noise).unwrap();
        let answer = packed(FAR, "gzip", &noise).await;
        assert!(!is_packed(&answer));
        assert!(bytes(&answer) == noise);
    }

    #[tokio::test]
    async fn what_many_ask_for_is_packed_once_for_all_of_them() {
        let gzip = Gzip::default();
        let list = Bytes::from(br#"{"torrents": []}"#.repeat(10_000));
        let ask = async |from: &str, number: u64| {
            let before = format!("{{\"tag\":{number},").into();
            let answer = pack(&gzip, from, "gzip", [before, list.clone(), "}".into()]).await;
            let plain = if is_packed(&answer) { unpacked(&answer) } else { bytes(&answer) };
            let expected = [format!("{{\"tag\":{number},").as_bytes(), &list, b"}"].concat();
            assert!(plain == expected, "answer {number}");
            answer
        };
        for number in 0..u64::from(limits::GIVEN_PLAIN) {
            assert!(!is_packed(&ask(HERE, number).await));
        }
        let first = ask(HERE, 7).await;
        assert!(is_packed(&first));
        for (number, from) in [(8, HERE), (9, FAR)] {
            let next = ask(from, number).await;
            let blocks = |answer: &Answer| {
                answer.body().parts().max_by_key(|part| part.len()).unwrap().as_ptr()
            };
            assert_eq!(blocks(&next), blocks(&first), "the same blocks");
        }
        // Who does not take gzip gets it as it is, whatever there is.
        assert!(!is_packed(
            &pack(&gzip, FAR, "br", [list.clone(), Bytes::new(), Bytes::new()]).await
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_packed_is_forgotten() {
        let gzip = Gzip::default();
        for number in 0..2 * limits::KEPT_ANSWERS {
            let list = Bytes::from(vec![number as u8; limits::KEPT_FROM]);
            let parts = [list.clone(), Bytes::new(), Bytes::new()];
            assert!(is_packed(&pack(&gzip, FAR, "gzip", parts).await));
            assert!(gzip.lock().len() <= limits::KEPT_ANSWERS);
        }
        assert_eq!(gzip.lock().len(), limits::KEPT_ANSWERS);
        tokio::time::sleep(2 * limits::TRUE_FOR).await;
        assert!(gzip.lock().is_empty());
    }

    proptest! {
        #[test]
        fn parts_of_any_length_are_one_member(
            parts in prop::collection::vec(
                prop::collection::vec(b'a'..b'e', 0..3 * limits::COMPRESS_FROM),
                0..6,
            ),
        ) {
            let parts: Vec<Bytes> = parts.into_iter().map(Bytes::from).collect();
            let member = member(parts.iter().map(Packed::of).collect());
            let packed: Vec<u8> = member.parts().flatten().copied().collect();
            let mut plain = Vec::new();
            let mut decoder = GzDecoder::new(&packed[..]);
            decoder.read_to_end(&mut plain).unwrap();
            prop_assert!(plain == parts.concat());
            prop_assert!(decoder.into_inner().is_empty(), "nothing is left over");
        }
    }
}
