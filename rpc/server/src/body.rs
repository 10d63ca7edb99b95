//! Bodies of requests and answers.

use crate::limits;
use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// An answer in parts, sent one after the other without being copied together.
#[derive(Clone, Debug, Default)]
pub struct Chunks(VecDeque<Bytes>);

impl Chunks {
    pub(crate) fn of<const N: usize>(parts: [Bytes; N]) -> Chunks {
        parts.into_iter().collect()
    }

    /// The parts that are left, in their order.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &Bytes> + Clone {
        self.0.iter()
    }

    /// Bytes of all parts.
    pub(crate) fn length(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }
}

impl FromIterator<Bytes> for Chunks {
    fn from_iter<I: IntoIterator<Item = Bytes>>(parts: I) -> Chunks {
        Chunks(parts.into_iter().filter(|part| !part.is_empty()).collect())
    }
}

impl From<Bytes> for Chunks {
    fn from(bytes: Bytes) -> Chunks {
        Chunks::of([bytes])
    }
}

impl Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|part| Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length() as u64)
    }
}

/// Why a request's body is not there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum BodyError {
    TooLarge,
    TooSlow,
    Broken,
}

/// Places for large bodies, shared by all requests: callers cannot fill the memory by being many.
#[derive(Clone, Debug)]
pub(crate) struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Room {
        Room(Arc::new(Semaphore::new(limits::LARGE_BODIES)))
    }
}

/// A body that has come whole. What it takes in memory is given back with it.
pub(crate) struct Whole {
    pub(crate) bytes: Vec<u8>,
    /// The place of a large one.
    _place: Option<OwnedSemaphorePermit>,
}

/// Reads a whole body. A large one waits for a place before the rest of it is taken in.
pub(crate) async fn read<B: Body<Data: Buf> + Unpin>(
    body: B,
    room: &Room,
) -> Result<Whole, BodyError> {
    let expected = body.size_hint().lower() as usize;
    let mut bytes = Vec::with_capacity(expected.min(limits::BODY_RESERVE));
    let keep = |part: &[u8]| bytes.extend_from_slice(part);
    let _place = receive(body, limits::BODY_TIME, Some(room), keep).await?;
    Ok(Whole { bytes, _place })
}

/// Takes a body in without keeping it: a client that is still sending when it is refused would see
/// a broken connection instead of the refusal. One that takes longer than `patience` is left.
pub(crate) async fn discard<B: Body<Data: Buf> + Unpin>(body: B, patience: Duration) {
    // A body that does not end is the client's own loss.
    let _ = receive(body, patience, None, |_| {}).await;
}

async fn receive<B: Body<Data: Buf> + Unpin>(
    mut body: B,
    patience: Duration,
    room: Option<&Room>,
    mut part: impl FnMut(&[u8]),
) -> Result<Option<OwnedSemaphorePermit>, BodyError> {
    let mut left = api::limits::REQUEST_BYTES;
    let mut place = None;
    if body.size_hint().lower() > left as u64 {
        return Err(BodyError::TooLarge);
    }
    let deadline = tokio::time::Instant::now() + patience;
    loop {
        let pause = deadline.min(tokio::time::Instant::now() + limits::BODY_PAUSE);
        let frame = tokio::time::timeout_at(pause, body.frame()).await;
        let Some(frame) = frame.map_err(|_| BodyError::TooSlow)? else { return Ok(place) };
        let Ok(mut data) = frame.map_err(|_| BodyError::Broken)?.into_data() else { continue };
        left = left.checked_sub(data.remaining()).ok_or(BodyError::TooLarge)?;
        let is_large = api::limits::REQUEST_BYTES - left > limits::BODY_RESERVE;
        if let Some(Room(places)) = room.filter(|_| is_large && place.is_none()) {
            let turn = Arc::clone(places).acquire_owned();
            let turn = tokio::time::timeout_at(deadline, turn).await;
            place = turn.map_err(|_| BodyError::TooSlow)?.ok();
        }
        while data.has_remaining() {
            let chunk = data.chunk();
            part(chunk);
            data.advance(chunk.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::Full;

    fn body(length: usize) -> Full<Bytes> {
        Full::new(vec![b' '; length].into())
    }

    #[tokio::test(start_paused = true)]
    async fn large_bodies_wait_for_a_place_and_small_ones_do_not() {
        let room = Room::default();
        let large = limits::BODY_RESERVE + 1;
        let mut held = Vec::new();
        for _ in 0..limits::LARGE_BODIES {
            held.push(read(body(large), &room).await.unwrap_or_else(|_| panic!("there is room")));
        }
        let small = read(body(limits::BODY_RESERVE), &room).await;
        assert_eq!(small.map(|body| body.bytes.len()).ok(), Some(limits::BODY_RESERVE));
        // As long as nothing is given back, the next one waits until its time is over.
        let start = tokio::time::Instant::now();
        assert_eq!(read(body(large), &room).await.err(), Some(BodyError::TooSlow));
        assert_eq!(start.elapsed(), limits::BODY_TIME);
        held.pop();
        let next = read(body(large), &room).await;
        assert_eq!(next.map(|body| body.bytes.len()).ok(), Some(large));
    }
}
