//! Bencoding, written.

/// Writes bencoding piece by piece.
///
/// It writes what it is told: that keys ascend and that each has a value is the caller's part.
#[derive(Debug, Default)]
pub struct Writer {
    out: Vec<u8>,
}

impl Writer {
    /// With nothing written.
    pub fn new() -> Writer {
        Writer::default()
    }

    /// A number.
    pub fn int(&mut self, number: i64) -> &mut Writer {
        self.out.extend_from_slice(format!("i{number}e").as_bytes());
        self
    }

    /// A string.
    pub fn bytes(&mut self, bytes: impl AsRef<[u8]>) -> &mut Writer {
        let bytes = bytes.as_ref();
        self.out.extend_from_slice(format!("{}:", bytes.len()).as_bytes());
        self.out.extend_from_slice(bytes);
        self
    }

    /// A dictionary key; the value is to follow.
    pub fn key(&mut self, key: impl AsRef<[u8]>) -> &mut Writer {
        self.bytes(key)
    }

    /// A list of what `fill` writes.
    pub fn list(&mut self, fill: impl FnOnce(&mut Writer)) -> &mut Writer {
        self.enclosed(b'l', fill)
    }

    /// A dictionary of what `fill` writes, keys and values by turns.
    pub fn dict(&mut self, fill: impl FnOnce(&mut Writer)) -> &mut Writer {
        self.enclosed(b'd', fill)
    }

    /// A value that is bencoded already.
    pub fn raw(&mut self, value: &[u8]) -> &mut Writer {
        self.out.extend_from_slice(value);
        self
    }

    /// What was written.
    pub fn finish(self) -> Vec<u8> {
        self.out
    }

    fn enclosed(&mut self, opening: u8, fill: impl FnOnce(&mut Writer)) -> &mut Writer {
        self.out.push(opening);
        fill(self);
        self.out.push(b'e');
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bencode::{Document, Limits, Node};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_again(numbers: Vec<i64>, strings: Vec<Vec<u8>>) {
            let mut writer = Writer::new();
            writer.dict(|w| {
                w.key("n").list(|w| numbers.iter().for_each(|&n| { w.int(n); }));
                w.key("s").list(|w| strings.iter().for_each(|s| { w.bytes(s); }));
            });
            let bytes = writer.finish();
            let document = Document::scan(&bytes, &Limits::TORRENT).unwrap();
            let root = document.root();
            prop_assert!(root.is_canonical());
            let read: Vec<i64> = root.get_list("n").unwrap().filter_map(Node::as_int).collect();
            prop_assert_eq!(read, numbers);
            let read: Vec<&[u8]> = root.get_list("s").unwrap().filter_map(Node::as_bytes).collect();
            prop_assert_eq!(read, strings);
        }
    }
}
