//! Bencoding (BEP 3), read and written.
//!
//! [`Document::scan`] checks the whole structure once, without recursion, against limits of depth,
//! size and number of values, and notes where each value begins and ends. A [`Node`] is then a
//! cursor into it: reading allocates nothing, skipping a value takes constant time however large it
//! is, and the raw bytes of any value are at hand — the info-hash is made of those.
//!
//! The scan accepts what other clients accept in practice (numbers with leading zeros, unsorted or
//! repeated keys: the first counts); [`Node::is_canonical`] tells whether a value is exactly as the
//! standard wants it.
//!
//! ```
//! # use ringseed_metainfo as metainfo;
//! use metainfo::bencode::{Document, Limits, Writer};
//!
//! let mut writer = Writer::new();
//! writer.dict(|w| {
//!     w.key("interval").int(1800);
//!     w.key("peers").bytes(b"\x7f\0\0\x01\x1a\xe1");
//! });
//! let bytes = writer.finish();
//!
//! let document = Document::scan(&bytes, &Limits::MESSAGE)?;
//! assert_eq!(document.root().get_int("interval"), Some(1800));
//! assert_eq!(document.root().get_bytes("peers").map(<[u8]>::len), Some(6));
//! # Ok::<(), metainfo::bencode::BencodeError>(())
//! ```

mod writer;

use crate::limits;

pub use writer::Writer;

/// What a scan allows.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of input, at most 4 GiB.
    pub bytes: usize,
    /// Values of all kinds, keys included.
    pub items: usize,
    /// Lists and dictionaries inside one another.
    pub depth: usize,
}

impl Limits {
    /// For a .torrent file or the `info` dictionary of one.
    pub const TORRENT: Limits =
        Limits { bytes: limits::TORRENT_BYTES, items: limits::TORRENT_ITEMS, depth: limits::DEPTH };

    /// For what a tracker or a peer sends: an answer of a few thousand peers in the long form fits.
    pub const MESSAGE: Limits = Limits { bytes: 4 << 20, items: 100_000, depth: 16 };
}

/// Why bytes are not bencoded, with the position of the byte that shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum BencodeError {
    #[error("more than {0} bytes")]
    TooLong(usize),
    #[error("more than {0} values")]
    TooManyItems(usize),
    #[error("nested deeper than {0} levels")]
    TooDeep(usize),
    #[error("ends in the middle of a value, at byte {0}")]
    Truncated(usize),
    #[error("no value starts as byte {0} does")]
    NotAValue(usize),
    #[error("a dictionary key that is no string, at byte {0}")]
    KeyNotString(usize),
    #[error("a dictionary key without a value, at byte {0}")]
    NoValue(usize),
    #[error("not a number, at byte {0}")]
    NotANumber(usize),
    #[error("something follows the value, at byte {0}")]
    Trailing(usize),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Integer,
    String,
    List,
    Dictionary,
}

/// Where a value is. `next` is the number of the token after it and everything in it.
#[derive(Clone, Copy)]
struct Token {
    start: u32,
    end: u32,
    next: u32,
    kind: Kind,
    /// Bytes before a string's or number's own.
    head: u8,
}

/// The longest number accepted: what fits 64 bits, a sign and leading zeros within reason.
const NUMBER_DIGITS: usize = 20;

/// Bytes whose structure has been checked.
pub struct Document<'a> {
    bytes: &'a [u8],
    tokens: Vec<Token>,
}

impl<'a> Document<'a> {
    /// Checks that `bytes` are one value and nothing else.
    pub fn scan(bytes: &'a [u8], limits: &Limits) -> Result<Document<'a>, BencodeError> {
        let (document, length) = Document::scan_prefix(bytes, limits)?;
        if length != bytes.len() {
            return Err(BencodeError::Trailing(length));
        }
        Ok(document)
    }

    /// Checks that `bytes` start with a value; gives its length too. What follows is not looked at
    /// (a `ut_metadata` message carries its piece there, BEP 9).
    pub fn scan_prefix(
        bytes: &'a [u8],
        limits: &Limits,
    ) -> Result<(Document<'a>, usize), BencodeError> {
        if bytes.len() > limits.bytes.min(u32::MAX as usize) {
            return Err(BencodeError::TooLong(limits.bytes));
        }
        let mut scan = Scan { bytes, limits, at: 0, tokens: Vec::new(), open: Vec::new() };
        loop {
            scan.step()?;
            if scan.open.is_empty() {
                let length = scan.at;
                return Ok((Document { bytes, tokens: scan.tokens }, length));
            }
        }
    }

    /// The value itself.
    pub fn root(&self) -> Node<'_> {
        Node { document: self, at: 0 }
    }
}

/// A list or dictionary whose end has not been seen.
struct Open {
    token: usize,
    dictionary: bool,
    value_due: bool,
}

struct Scan<'a, 'l> {
    bytes: &'a [u8],
    limits: &'l Limits,
    at: usize,
    tokens: Vec<Token>,
    open: Vec<Open>,
}

impl Scan<'_, '_> {
    /// Takes one number, string, opening or closing.
    fn step(&mut self) -> Result<(), BencodeError> {
        let byte = self.byte()?;
        if byte == b'e' {
            return self.close();
        }
        if let Some(open) = self.open.last_mut().filter(|open| open.dictionary) {
            if !open.value_due && !byte.is_ascii_digit() {
                return Err(BencodeError::KeyNotString(self.at));
            }
            open.value_due = !open.value_due;
        }
        if self.tokens.len() == self.limits.items {
            return Err(BencodeError::TooManyItems(self.limits.items));
        }
        match byte {
            b'l' => self.open(Kind::List),
            b'd' => self.open(Kind::Dictionary),
            b'i' => self.integer(),
            b'0'..=b'9' => self.string(),
            _ => Err(BencodeError::NotAValue(self.at)),
        }
    }

    fn byte(&self) -> Result<u8, BencodeError> {
        self.bytes.get(self.at).copied().ok_or(BencodeError::Truncated(self.at))
    }

    fn open(&mut self, kind: Kind) -> Result<(), BencodeError> {
        if self.open.len() == self.limits.depth {
            return Err(BencodeError::TooDeep(self.limits.depth));
        }
        let token = self.tokens.len();
        self.push(kind, self.at, 1);
        self.open.push(Open { token, dictionary: kind == Kind::Dictionary, value_due: false });
        self.at += 1;
        Ok(())
    }

    fn close(&mut self) -> Result<(), BencodeError> {
        let open = self.open.pop().ok_or(BencodeError::NotAValue(self.at))?;
        if open.value_due {
            return Err(BencodeError::NoValue(self.at));
        }
        self.at += 1;
        let next = self.tokens.len() as u32;
        let token = &mut self.tokens[open.token];
        token.end = self.at as u32;
        token.next = next;
        Ok(())
    }

    fn integer(&mut self) -> Result<(), BencodeError> {
        let start = self.at;
        self.at += 1;
        if self.byte()? == b'-' {
            self.at += 1;
        }
        self.digits(b'e')?;
        self.push(Kind::Integer, start, 1);
        Ok(())
    }

    fn string(&mut self) -> Result<(), BencodeError> {
        let start = self.at;
        let length = self.digits(b':')?;
        let head = (self.at - start) as u8;
        let left = self.bytes.len() - self.at;
        let length = usize::try_from(length)
            .ok()
            .filter(|&length| length <= left)
            .ok_or(BencodeError::Truncated(self.bytes.len()))?;
        self.at += length;
        self.push(Kind::String, start, head);
        Ok(())
    }

    /// At least one digit, then `end`; gives the number, or the largest if it does not fit.
    fn digits(&mut self, end: u8) -> Result<u64, BencodeError> {
        let start = self.at;
        let mut number = 0u64;
        loop {
            let byte = self.byte()?;
            if byte == end && self.at > start {
                self.at += 1;
                return Ok(number);
            }
            if !byte.is_ascii_digit() || self.at - start == NUMBER_DIGITS {
                return Err(BencodeError::NotANumber(self.at));
            }
            number = number.saturating_mul(10).saturating_add(u64::from(byte - b'0'));
            self.at += 1;
        }
    }

    fn push(&mut self, kind: Kind, start: usize, head: u8) {
        let next = self.tokens.len() as u32 + 1;
        self.tokens.push(Token { start: start as u32, end: self.at as u32, next, kind, head });
    }
}

/// One value of a [`Document`].
#[derive(Clone, Copy)]
pub struct Node<'d> {
    document: &'d Document<'d>,
    at: u32,
}

impl<'d> Node<'d> {
    fn token(self) -> Token {
        self.document.tokens[self.at as usize]
    }

    /// The bytes of the value as they stand in the document.
    pub fn raw(self) -> &'d [u8] {
        let token = self.token();
        &self.document.bytes[token.start as usize..token.end as usize]
    }

    /// The number, if it is one and fits 64 bits.
    pub fn as_int(self) -> Option<i64> {
        let token = self.token();
        if token.kind != Kind::Integer {
            return None;
        }
        let digits = &self.raw()[1..self.raw().len() - 1];
        std::str::from_utf8(digits).ok()?.parse().ok()
    }

    /// The bytes, if it is a string.
    pub fn as_bytes(self) -> Option<&'d [u8]> {
        let token = self.token();
        (token.kind == Kind::String).then(|| &self.raw()[usize::from(token.head)..])
    }

    /// The values in order, if it is a list.
    pub fn as_list(self) -> Option<List<'d>> {
        (self.token().kind == Kind::List).then(|| List(self.children()))
    }

    /// The keys and values in the order of the document, if it is a dictionary.
    pub fn as_dict(self) -> Option<Dict<'d>> {
        (self.token().kind == Kind::Dictionary).then(|| Dict(self.children()))
    }

    /// Whether it is a dictionary.
    pub fn is_dict(self) -> bool {
        self.token().kind == Kind::Dictionary
    }

    /// The value of the first such key, if it is a dictionary that has it.
    pub fn get(self, key: &str) -> Option<Node<'d>> {
        self.as_dict()?.find(|(name, _)| *name == key.as_bytes()).map(|(_, value)| value)
    }

    /// The number under `key`.
    pub fn get_int(self, key: &str) -> Option<i64> {
        self.get(key)?.as_int()
    }

    /// The string under `key`.
    pub fn get_bytes(self, key: &str) -> Option<&'d [u8]> {
        self.get(key)?.as_bytes()
    }

    /// The string under `key` as text; what is not UTF-8 is replaced.
    pub fn get_text(self, key: &str) -> Option<String> {
        self.get_bytes(key).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    /// The list under `key`.
    pub fn get_list(self, key: &str) -> Option<List<'d>> {
        self.get(key)?.as_list()
    }

    /// The dictionary under `key`.
    pub fn get_dict(self, key: &str) -> Option<Node<'d>> {
        self.get(key).filter(|node| node.is_dict())
    }

    /// Whether it and everything in it is the one right encoding of what it says: no needless
    /// zeros, keys ascending without repetition.
    pub fn is_canonical(self) -> bool {
        let end = self.token().next;
        (self.at..end).all(|at| Node { document: self.document, at }.is_canonical_itself())
    }

    fn is_canonical_itself(self) -> bool {
        let token = self.token();
        match token.kind {
            Kind::List => true,
            Kind::String => token.head == 2 || self.raw()[0] != b'0',
            Kind::Integer => {
                let raw = &self.raw()[1..self.raw().len() - 1];
                raw == b"0" || !matches!(raw, [b'0', ..] | [b'-', b'0', ..])
            }
            Kind::Dictionary => {
                let keys = || Dict(self.children()).map(|(key, _)| key);
                keys().zip(keys().skip(1)).all(|(key, next)| key < next)
            }
        }
    }

    fn children(self) -> Children<'d> {
        Children { document: self.document, at: self.at + 1, end: self.token().next }
    }
}

#[derive(Clone)]
struct Children<'d> {
    document: &'d Document<'d>,
    at: u32,
    end: u32,
}

impl<'d> Iterator for Children<'d> {
    type Item = Node<'d>;

    fn next(&mut self) -> Option<Node<'d>> {
        if self.at >= self.end {
            return None;
        }
        let node = Node { document: self.document, at: self.at };
        self.at = node.token().next;
        Some(node)
    }
}

/// The values of a list.
#[derive(Clone)]
pub struct List<'d>(Children<'d>);

impl<'d> Iterator for List<'d> {
    type Item = Node<'d>;

    fn next(&mut self) -> Option<Node<'d>> {
        self.0.next()
    }
}

/// The keys and values of a dictionary.
#[derive(Clone)]
pub struct Dict<'d>(Children<'d>);

impl<'d> Iterator for Dict<'d> {
    type Item = (&'d [u8], Node<'d>);

    fn next(&mut self) -> Option<Self::Item> {
        let key = self.0.next()?.as_bytes()?;
        Some((key, self.0.next()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scan(bytes: &[u8]) -> Result<Document<'_>, BencodeError> {
        Document::scan(bytes, &Limits::TORRENT)
    }

    #[test]
    fn what_is_not_bencoded_is_refused() {
        let bad: [&[u8]; 22] = [
            b"",
            b"i",
            b"ie",
            b"i-e",
            b"i+1e",
            b"i1",
            b"i1xe",
            b"1",
            b"1:",
            b"5:abcd",
            b"-1:a",
            b"l",
            b"le ",
            b"d",
            b"d1:ae",
            b"di1ei1ee",
            b"d1:a",
            b"e",
            b"x",
            b"i1ei2e",
            b"99999999999999999999:a",
            b"i999999999999999999999e",
        ];
        for bytes in bad {
            assert!(scan(bytes).is_err(), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn sloppy_encoding_is_read_but_is_not_canonical() {
        for (bytes, canonical) in [
            (&b"i0e"[..], true),
            (b"i-1e", true),
            (b"i-0e", false),
            (b"i01e", false),
            (b"0:", true),
            (b"01:a", false),
            (b"d1:ai1e1:bi2ee", true),
            (b"d1:bi1e1:ai2ee", false),
            (b"d1:ai1e1:ai2ee", false),
            (b"ld1:ai00eee", false),
            (b"10:abcdefghij", true),
        ] {
            let document = scan(bytes).unwrap();
            assert_eq!(document.root().is_canonical(), canonical, "{}", bytes.escape_ascii());
        }
        assert_eq!(scan(b"d1:ai1e1:ai2ee").unwrap().root().get_int("a"), Some(1));
    }

    #[test]
    fn the_raw_bytes_of_a_value_are_found() {
        let bytes = b"d1:ald1:xi1eee4:infod4:name1:nee";
        assert_eq!(scan(bytes).unwrap().root().get("info").unwrap().raw(), b"d4:name1:ne");
    }

    #[test]
    fn what_follows_a_value_can_be_told_from_it() {
        let (document, length) = Document::scan_prefix(b"d1:ai1eedata", &Limits::MESSAGE).unwrap();
        assert_eq!((document.root().get_int("a"), length), (Some(1), 8));
    }

    #[test]
    fn limits_hold() {
        let limits = Limits { bytes: 1000, items: 10, depth: 5 };
        let fails = |bytes: &[u8]| Document::scan(bytes, &limits).err();
        assert_eq!(fails(&[b'l'; 6]), Some(BencodeError::TooDeep(5)));
        assert_eq!(fails(b"llllleeeee"), None);
        assert_eq!(fails(b"l0:0:0:0:0:0:0:0:0:e"), None);
        assert_eq!(fails(b"l0:0:0:0:0:0:0:0:0:0:e"), Some(BencodeError::TooManyItems(10)));
        assert_eq!(fails(&[b'l'; 1001]), Some(BencodeError::TooLong(1000)));
    }

    #[test]
    fn numbers_that_do_not_fit_have_no_value() {
        assert_eq!(scan(b"i9223372036854775807e").unwrap().root().as_int(), Some(i64::MAX));
        assert_eq!(scan(b"i9223372036854775808e").unwrap().root().as_int(), None);
        assert_eq!(scan(b"i-9223372036854775808e").unwrap().root().as_int(), Some(i64::MIN));
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes in prop::collection::vec(
            prop_oneof![prop::sample::select(b"dlei0123456789:-".to_vec()), any::<u8>()], 0..200)) {
            if let Ok(document) = scan(&bytes) {
                prop_assert_eq!(document.root().raw(), &bytes[..]);
                document.root().is_canonical();
                let _ = (document.root().as_int(), document.root().as_bytes());
                for (_, value) in document.root().as_dict().into_iter().flatten() {
                    value.raw();
                }
            }
        }
    }
}
