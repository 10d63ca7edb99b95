//! How far one input has come: its hash so far, and the bytes that do not fill a block yet.

/// Bytes that one round of the compression takes, in SHA-1 and SHA-256 alike (FIPS 180-4).
pub(crate) const BLOCK: usize = 64;

/// Where the padding keeps the input's length: the last 8 bytes of the last block.
const LENGTH_AT: usize = BLOCK - 8;

/// The state of one piece's SHA-1 while its bytes come in, in any portions.
///
/// Less than 128 bytes, nothing on the heap. Bytes are added by [`Hasher::update`].
///
/// [`Hasher::update`]: crate::Hasher::update
#[derive(Clone)]
pub struct Sha1State(pub(crate) State<5>);

impl Sha1State {
    /// The state before the first byte.
    pub fn new() -> Sha1State {
        Sha1State(State::SHA1)
    }

    /// Bytes added so far.
    pub fn bytes_hashed(&self) -> u64 {
        self.0.length
    }

    /// The digest of all bytes added.
    ///
    /// Computes the last one or two blocks alone; [`Hasher::finish_many`] does so in lanes.
    ///
    /// [`Hasher::finish_many`]: crate::Hasher::finish_many
    pub fn finish(self) -> [u8; 20] {
        let mut digest = [0; 20];
        self.0.finish_alone(crate::lanes::sha1_alone, &mut digest);
        digest
    }
}

impl Default for Sha1State {
    fn default() -> Sha1State {
        Sha1State::new()
    }
}

impl std::fmt::Debug for Sha1State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sha1State({} bytes hashed)", self.bytes_hashed())
    }
}

/// The state of either hash: SHA-1 has 5 words, SHA-256 has 8.
///
/// The first `length % 64` bytes of `tail` are input that is not in `words` yet.
#[derive(Clone)]
pub(crate) struct State<const WORDS: usize> {
    pub words: [u32; WORDS],
    pub length: u64,
    pub tail: [u8; BLOCK],
}

impl State<5> {
    /// SHA-1 of nothing yet (FIPS 180-4 §5.3.1).
    pub const SHA1: State<5> = State {
        words: [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0],
        length: 0,
        tail: [0; BLOCK],
    };
}

impl State<8> {
    /// SHA-256 of nothing yet (FIPS 180-4 §5.3.3).
    pub const SHA256: State<8> = State {
        words: [
            0x6a09_e667,
            0xbb67_ae85,
            0x3c6e_f372,
            0xa54f_f53a,
            0x510e_527f,
            0x9b05_688c,
            0x1f83_d9ab,
            0x5be0_cd19,
        ],
        length: 0,
        tail: [0; BLOCK],
    };
}

impl<const WORDS: usize> State<WORDS> {
    /// Bytes that wait in the tail; less than a block.
    pub fn tail_length(&self) -> usize {
        (self.length % BLOCK as u64) as usize
    }

    /// Moves bytes from `data` to the tail until either is used up; gives the rest of `data`, and
    /// whether the tail is now a whole block, which is to be compressed before anything else.
    pub fn fill_tail<'d>(&mut self, data: &'d [u8]) -> (&'d [u8], bool) {
        let at = self.tail_length();
        let (now, rest) = data.split_at(data.len().min(BLOCK - at));
        self.tail[at..at + now.len()].copy_from_slice(now);
        self.length += now.len() as u64;
        (rest, at + now.len() == BLOCK)
    }

    /// Writes the end mark and zeros behind the input, and the input's length where it fits.
    ///
    /// Gives whether it did; if not, [`State::pad_with_length`] makes one more block.
    pub fn pad(&mut self) -> bool {
        let at = self.tail_length();
        self.tail[at] = 0x80;
        self.tail[at + 1..].fill(0);
        let fits = at < LENGTH_AT;
        if fits {
            self.write_length();
        }
        fits
    }

    /// Makes the tail the block that holds nothing but the input's length.
    pub fn pad_with_length(&mut self) {
        self.tail.fill(0);
        self.write_length();
    }

    fn write_length(&mut self) {
        let bits = self.length.wrapping_mul(8);
        self.tail[LENGTH_AT..].copy_from_slice(&bits.to_be_bytes());
    }

    /// Pads, compresses the last blocks with `compress`, and writes the digest.
    pub fn finish_alone(mut self, compress: fn(&mut [u32; WORDS], &[u8]), digest: &mut [u8]) {
        if !self.pad() {
            compress(&mut self.words, &self.tail);
            self.pad_with_length();
        }
        compress(&mut self.words, &self.tail);
        self.write_digest(digest);
    }

    /// The words as bytes, big-endian: the digest, once the padding is in.
    pub fn write_digest(&self, digest: &mut [u8]) {
        for (bytes, word) in digest.chunks_exact_mut(4).zip(self.words) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
    }
}
