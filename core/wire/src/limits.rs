//! What a peer may make us hold or wait for.

/// Bytes of data in one `piece` message, at most: 128 KiB, eight times what anyone asks for, so that
/// a peer which answers with larger blocks than agreed is told apart from one that sends junk.
pub const BLOCK_LENGTH: u32 = 128 * 1024;

/// Bytes of a message whose kind is not known, its id included: 1 MiB. It is skipped without being
/// held, so the number only bounds how long a peer can keep us listening to nothing.
pub const UNKNOWN_LENGTH: u32 = 1024 * 1024;

/// Bytes of a bitfield unless the torrent's size says otherwise: 512 KiB, four million pieces.
pub const BITFIELD_BYTES: u32 = 512 * 1024;

/// Bytes of an extended message after its id unless told otherwise: 64 KiB, enough for a 16 KiB
/// piece of metadata (BEP 9) and for the largest peer exchange (BEP 11) by far.
pub const EXTENDED_BYTES: u32 = 64 * 1024;

/// Values in an extension handshake: real ones have some forty.
pub const HANDSHAKE_ITEMS: usize = 1024;

/// Lists and dictionaries inside one another in an extension handshake: real ones have two.
pub const HANDSHAKE_DEPTH: usize = 8;

/// Characters of a peer's own name that are kept.
pub const CLIENT_NAME_CHARS: usize = 64;

/// Pieces of an allowed-fast set, at most: BEP 6 suggests 10.
pub const ALLOWED_FAST: usize = 64;
