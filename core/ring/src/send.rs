//! What one `sendmsg` carries.

use crate::Buf;
use std::{fmt, ops::Range, rc::Rc};

/// Bytes at a fixed address that the kernel may read for as long as the value lives: a file mapping,
/// for instance. The drivers never look at the bytes themselves.
///
/// # Safety
/// [`PinnedBytes::span`] must give the same pointer and length each time, the range must be mapped
/// (or at worst fault in the kernel, giving `EFAULT`) until the value is dropped, and moving the
/// value must not move the bytes.
#[allow(unsafe_code)]
pub unsafe trait PinnedBytes: 'static {
    /// Address and length.
    fn span(&self) -> (*const u8, usize);
}

#[derive(Clone)]
enum Source {
    /// Bytes of the batch's own arena.
    Own,
    Pinned(Rc<dyn PinnedBytes>),
    Buf(Rc<Buf>),
}

struct Part {
    source: Source,
    range: Range<usize>,
}

/// A place in a [`SendBatch`] to go back to.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    own: usize,
    parts: usize,
    last_end: usize,
    length: u64,
}

/// Bytes to send in order: small ones copied in, large ones by reference.
#[derive(Default)]
pub struct SendBatch {
    own: Vec<u8>,
    parts: Vec<Part>,
    length: u64,
    /// Made when the batch is handed in; kept here to be recycled with it.
    pub(crate) iovecs: Vec<libc::iovec>,
}

impl SendBatch {
    /// Appends a copy of `bytes`.
    pub fn push_bytes(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let start = self.own.len();
        self.own.extend_from_slice(bytes);
        self.length += bytes.len() as u64;
        if let Some(Part { source: Source::Own, range }) = self.parts.last_mut() {
            range.end += bytes.len();
        } else {
            self.parts.push(Part { source: Source::Own, range: start..start + bytes.len() });
        }
    }

    /// Appends the part of `source` in `range` by reference.
    ///
    /// # Panics
    /// If the range is not within the source: callers compute it from checked values.
    pub fn push_pinned(&mut self, source: Rc<dyn PinnedBytes>, range: Range<usize>) {
        assert!(range.start <= range.end && range.end <= source.span().1);
        self.push(Source::Pinned(source), range);
    }

    /// Appends the part of `source` in `range` by reference.
    ///
    /// # Panics
    /// If the range is not within the source: callers compute it from checked values.
    pub fn push_buf(&mut self, source: Rc<Buf>, range: Range<usize>) {
        assert!(range.start <= range.end && range.end <= source.len());
        self.push(Source::Buf(source), range);
    }

    fn push(&mut self, source: Source, range: Range<usize>) {
        if !range.is_empty() {
            self.length += range.len() as u64;
            self.parts.push(Part { source, range });
        }
    }

    /// Where the batch ends now, for [`Self::rewind`].
    pub fn mark(&self) -> Mark {
        Mark {
            own: self.own.len(),
            parts: self.parts.len(),
            last_end: self.parts.last().map_or(0, |part| part.range.end),
            length: self.length,
        }
    }

    /// Takes back everything that was pushed since the mark.
    pub fn rewind(&mut self, mark: Mark) {
        self.own.truncate(mark.own);
        self.parts.truncate(mark.parts);
        if let Some(last) = self.parts.last_mut() {
            last.range.end = mark.last_end;
        }
        self.length = mark.length;
    }

    /// Bytes in all.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Number of separate parts; one `sendmsg` carries [`crate::limits::PARTS_PER_SEND`].
    pub fn parts(&self) -> usize {
        self.parts.len()
    }

    /// Whether every byte is the batch's own: such a batch is small, and copying it costs less than
    /// pinning pages.
    pub(crate) fn is_small(&self) -> bool {
        self.parts.iter().all(|part| matches!(part.source, Source::Own))
    }

    /// Fills `iovecs` with the addresses of the parts. They stay true for as long as the batch lives
    /// and nothing is pushed.
    pub(crate) fn resolve(&mut self) {
        self.iovecs.clear();
        for part in &self.parts {
            let base = match &part.source {
                Source::Own => self.own.as_ptr(),
                Source::Pinned(pinned) => pinned.span().0,
                Source::Buf(buf) => buf.as_ptr(),
            };
            self.iovecs.push(libc::iovec {
                iov_base: base.wrapping_add(part.range.start) as *mut libc::c_void,
                iov_len: part.range.len(),
            });
        }
    }

    /// A copy of all bytes, in order.
    #[cfg(feature = "sim")]
    #[allow(unsafe_code)]
    pub(crate) fn copy(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.length as usize);
        for part in &self.parts {
            bytes.extend_from_slice(match &part.source {
                Source::Own => &self.own[part.range.clone()],
                Source::Buf(buf) => &buf[part.range.clone()],
                // SAFETY: the trait's contract: mapped while the value lives, and in a simulated
                // world nothing that a file cut short could unmap is ever pinned.
                Source::Pinned(pinned) => unsafe {
                    let (start, length) = pinned.span();
                    &std::slice::from_raw_parts(start, length)[part.range.clone()]
                },
            });
        }
        bytes
    }

    pub(crate) fn clear(&mut self) {
        self.own.clear();
        self.parts.clear();
        self.iovecs.clear();
        self.length = 0;
    }
}

/// Moves the start of what is left, beginning at part `first`, by `count` bytes; the new first part.
pub(crate) fn advance(parts: &mut [libc::iovec], mut first: usize, mut count: usize) -> usize {
    while let Some(part) = parts.get_mut(first) {
        if count < part.iov_len {
            part.iov_base = part.iov_base.wrapping_byte_add(count);
            part.iov_len -= count;
            break;
        }
        count -= part.iov_len;
        first += 1;
    }
    first
}

impl fmt::Debug for SendBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SendBatch({} bytes in {} parts)", self.length, self.parts.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BufPool;

    #[test]
    fn a_rewound_batch_is_as_it_was() {
        let mut batch = SendBatch::default();
        batch.push_bytes(b"abc");
        let mark = batch.mark();
        batch.push_bytes(b"defg");
        batch.push_buf(Rc::new(BufPool::new(0).get(10)), 2..7);
        assert_eq!((batch.len(), batch.parts()), (12, 2));
        batch.rewind(mark);
        assert_eq!((batch.len(), batch.parts(), batch.own.as_slice()), (3, 1, &b"abc"[..]));
        batch.push_bytes(b"x");
        batch.resolve();
        assert_eq!(batch.iovecs[0].iov_len, 4);
    }
}
