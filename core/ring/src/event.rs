//! What a ring reports.

use crate::{Buf, File, FileStat, RecvBuf};
use std::{fmt, io, net::SocketAddr, os::fd::OwnedFd};

/// The caller's own number for a file operation, given back with its result.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Token(pub u64);

/// A connection of one ring: a slot and the generation of its use, so that a late completion of a
/// closed connection is never taken for one of its successor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

impl ConnId {
    /// As one number, for use in the caller's own tokens.
    pub fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.slot)
    }

    /// The id of which [`Self::to_bits`] gave the number.
    pub fn from_bits(bits: u64) -> ConnId {
        ConnId { slot: bits as u32, generation: (bits >> 32) as u32 }
    }

    /// The slot, for tables beside the ring's own: small, dense, reused after a close.
    pub fn slot(self) -> usize {
        self.slot as usize
    }
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "conn {}.{}", self.slot, self.generation)
    }
}

/// A listening socket of one ring.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ListenerId(pub(crate) u32);

/// Something that has happened.
#[derive(Debug)]
pub enum Event {
    /// A peer connected to a listener; receiving has started.
    Accepted {
        /// Where it came in.
        listener: ListenerId,
        /// The new connection.
        conn: ConnId,
        /// The other side.
        peer: SocketAddr,
    },
    /// An outgoing connection stands; receiving has started.
    Connected {
        /// The one that [`crate::Ring::connect`] gave.
        conn: ConnId,
    },
    /// Bytes came in; never empty.
    Received {
        /// From whom.
        conn: ConnId,
        /// The bytes, lent until dropped.
        data: RecvBuf,
    },
    /// The kernel has taken the whole batch.
    Sent {
        /// Whose batch it was.
        conn: ConnId,
        /// Bytes in it.
        bytes: u64,
    },
    /// The connection is gone: the other side closed it (`Ok`), or it failed. The last event of it.
    Closed {
        /// Which.
        conn: ConnId,
        /// Why.
        result: io::Result<()>,
    },
    /// The socket, as asked for by [`crate::Ring::detach`]. The last event of this connection.
    Detached {
        /// Which.
        conn: ConnId,
        /// The socket, to be adopted elsewhere.
        socket: OwnedFd,
    },
    /// A file operation ended.
    File(FileDone),
    /// A [`crate::Waker`] was used since the last wait.
    Woken,
}

/// The end of a file operation.
#[derive(Debug)]
pub struct FileDone {
    /// The one it was submitted with.
    pub token: Token,
    /// Bytes read or written, 0 for operations without a count; or the error.
    pub result: io::Result<usize>,
    /// The buffer of a read, filled as far as `result` says; `None` for everything else.
    pub buf: Option<Buf>,
    /// The file that was opened.
    pub file: Option<File>,
    /// What [`crate::FileOp::Stat`] found.
    pub stat: Option<FileStat>,
}
