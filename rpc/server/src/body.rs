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
};

/// An answer in parts, sent one after the other without being copied together.
#[derive(Debug, Default)]
pub struct Chunks(VecDeque<Bytes>);

impl Chunks {
    pub(crate) fn of<const N: usize>(parts: [Vec<u8>; N]) -> Chunks {
        Chunks(parts.into_iter().filter(|part| !part.is_empty()).map(Bytes::from).collect())
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
        SizeHint::with_exact(self.0.iter().map(|part| part.len() as u64).sum())
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
pub(crate) async fn read<B: Body<Data: Buf> + Unpin>(mut body: B) -> Result<Vec<u8>, BodyError> {
    let expected = body.size_hint().lower();
    if expected > api::limits::REQUEST_BYTES as u64 {
        return Err(BodyError::TooLarge);
    }
    let mut bytes = Vec::with_capacity((expected as usize).min(limits::BODY_RESERVE));
    loop {
        let frame = tokio::time::timeout(limits::BODY_PAUSE, body.frame()).await;
        let Some(frame) = frame.map_err(|_| BodyError::TooSlow)? else { return Ok(bytes) };
        let Ok(mut data) = frame.map_err(|_| BodyError::Broken)?.into_data() else { continue };
        if bytes.len() + data.remaining() > api::limits::REQUEST_BYTES {
            return Err(BodyError::TooLarge);
        }
        while data.has_remaining() {
            let chunk = data.chunk();
            bytes.extend_from_slice(chunk);
            data.advance(chunk.len());
        }
    }
}
