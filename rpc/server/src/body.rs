//! Bodies of requests and answers.

use crate::limits;
use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

/// An answer in parts, sent one after the other without being copied together.
#[derive(Debug, Default)]
pub struct Chunks(VecDeque<Bytes>);

impl Chunks {
    pub(crate) fn of<const N: usize>(parts: [Bytes; N]) -> Chunks {
        Chunks(parts.into_iter().filter(|part| !part.is_empty()).collect())
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

impl From<Bytes> for Chunks {
    fn from(bytes: Bytes) -> Chunks {
        Chunks(Some(bytes).filter(|bytes| !bytes.is_empty()).into_iter().collect())
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

/// Reads a whole body.
pub(crate) async fn read<B: Body<Data: Buf> + Unpin>(body: B) -> Result<Vec<u8>, BodyError> {
    let expected = body.size_hint().lower() as usize;
    let mut bytes = Vec::with_capacity(expected.min(limits::BODY_RESERVE));
    receive(body, limits::BODY_TIME, |part| bytes.extend_from_slice(part)).await?;
    Ok(bytes)
}

/// Takes a body in without keeping it: a client that is still sending when it is refused would see
/// a broken connection instead of the refusal. One that takes longer than `patience` is left.
pub(crate) async fn discard<B: Body<Data: Buf> + Unpin>(body: B, patience: Duration) {
    // A body that does not end is the client's own loss.
    let _ = receive(body, patience, |_| {}).await;
}

async fn receive<B: Body<Data: Buf> + Unpin>(
    mut body: B,
    patience: Duration,
    mut part: impl FnMut(&[u8]),
) -> Result<(), BodyError> {
    let mut left = api::limits::REQUEST_BYTES;
    if body.size_hint().lower() > left as u64 {
        return Err(BodyError::TooLarge);
    }
    let deadline = tokio::time::Instant::now() + patience;
    loop {
        let pause = deadline.min(tokio::time::Instant::now() + limits::BODY_PAUSE);
        let frame = tokio::time::timeout_at(pause, body.frame()).await;
        let Some(frame) = frame.map_err(|_| BodyError::TooSlow)? else { return Ok(()) };
        let Ok(mut data) = frame.map_err(|_| BodyError::Broken)?.into_data() else { continue };
        left = left.checked_sub(data.remaining()).ok_or(BodyError::TooLarge)?;
        while data.has_remaining() {
            let chunk = data.chunk();
            part(chunk);
            data.advance(chunk.len());
        }
    }
}
