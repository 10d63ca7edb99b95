//! Why a peer is refused or thrown out.

/// Why a peer is not taken in. The connection should be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A peer of this id is connected already.
    #[error("already connected to this peer id")]
    SamePeerId,
    /// It has our own id: we connected to ourselves.
    #[error("connected to ourselves")]
    Ourselves,
    /// There are as many peers as the settings allow.
    #[error("this torrent has its maximum of peers")]
    Full,
    /// Its host sent bad data before.
    #[error("the host is banned for sending bad data")]
    Banned,
}

/// What a peer did wrong. The connection must be closed, with [`crate::Reason::Fault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// It named a piece that does not exist.
    #[error("the peer named piece {0}, which does not exist")]
    NoSuchPiece(u32),
    /// It asked for or sent a range that does not exist or is too long.
    #[error("the peer asked for or sent a range that no piece has")]
    NoSuchRange,
    /// Its bitfield has the wrong length or spare bits set.
    #[error("the peer sent a {0}")]
    Bitfield(#[from] metainfo::BitfieldError),
    /// It said that it had all pieces, and lost one, more than once a second.
    #[error("the peer gains and loses pieces over and over")]
    GainsAndLoses,
    /// It used a message of the fast extension without having agreed on it.
    #[error("the peer sent a message of the fast extension, which it does not have")]
    NotFast,
    /// It sends requests beyond all bounds, or does not read our answers.
    #[error("the peer floods us with requests")]
    Flood,
    /// It sends blocks that nobody asked for.
    #[error("the peer sends blocks that were not requested")]
    UnwantedBlocks,
    /// Its extension handshake cannot be read.
    #[error("the peer's {0}")]
    Extension(#[from] wire::extension::ExtensionError),
}
