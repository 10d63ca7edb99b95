//! JSON straight into one buffer: an answer about ten thousand torrents is never a tree in memory.

use crate::Dialect;
use data_encoding::BASE64;
use std::{borrow::Cow, io::Write};

/// Writes JSON without blanks, and puts the commas.
///
/// The caller keeps the grammar: a key before each value inside an object, every object and list
/// ended. Numbers are always finite: NaN and infinities, which JSON lacks, become 0.
#[derive(Debug)]
pub struct Writer {
    buffer: Vec<u8>,
    dialect: Dialect,
    /// Whether a value before this place wants a comma after it.
    comma: bool,
}

impl Writer {
    /// Goes on at the end of `buffer`.
    pub fn new(buffer: Vec<u8>, dialect: Dialect) -> Writer {
        Writer { buffer, dialect, comma: false }
    }

    /// Which names the answer uses.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Bytes of text so far.
    pub fn written(&self) -> usize {
        self.buffer.len()
    }

    /// The text so far.
    pub fn finish(self) -> Vec<u8> {
        self.buffer
    }

    /// `{`
    pub fn begin_object(&mut self) {
        self.open(b'{');
    }

    /// `}`
    pub fn end_object(&mut self) {
        self.close(b'}');
    }

    /// `[`
    pub fn begin_list(&mut self) {
        self.open(b'[');
    }

    /// `]`
    pub fn end_list(&mut self) {
        self.close(b']');
    }

    /// A key that needs no escapes: one of our own names.
    pub fn key(&mut self, name: &'static str) -> &mut Writer {
        self.separate();
        self.buffer.push(b'"');
        self.buffer.extend_from_slice(name.as_bytes());
        self.buffer.extend_from_slice(b"\":");
        self.comma = false;
        self
    }

    /// Any value.
    pub fn value<T: ToJson + ?Sized>(&mut self, value: &T) {
        value.write(self);
    }

    /// A value that is JSON already.
    pub fn raw(&mut self, json: &[u8]) {
        self.separate();
        self.buffer.extend_from_slice(json);
    }

    fn open(&mut self, bracket: u8) {
        self.separate();
        self.buffer.push(bracket);
        self.comma = false;
    }

    fn close(&mut self, bracket: u8) {
        self.buffer.push(bracket);
        self.comma = true;
    }

    fn separate(&mut self) {
        if self.comma {
            self.buffer.push(b',');
        }
        self.comma = true;
    }

    fn string(&mut self, text: &str) {
        self.separate();
        self.buffer.push(b'"');
        let mut rest = text.as_bytes();
        while let Some(at) = rest.iter().position(|&byte| needs_escape(byte)) {
            self.buffer.extend_from_slice(&rest[..at]);
            self.escape(rest[at]);
            rest = &rest[at + 1..];
        }
        self.buffer.extend_from_slice(rest);
        self.buffer.push(b'"');
    }

    fn escape(&mut self, byte: u8) {
        let short = match byte {
            b'"' => b'"',
            b'\\' => b'\\',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            _ => {
                self.text(format_args!("\\u{byte:04x}"));
                return;
            }
        };
        self.buffer.extend_from_slice(&[b'\\', short]);
    }

    fn text(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to memory cannot fail.
        let _ = self.buffer.write_fmt(text);
    }
}

fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// What can be written as JSON; its spelling may depend on the dialect.
pub trait ToJson {
    /// Writes one value.
    fn write(&self, writer: &mut Writer);
}

macro_rules! integers {
    ($($type:ty),*) => {$(
        impl ToJson for $type {
            fn write(&self, writer: &mut Writer) {
                writer.separate();
                writer.buffer.extend_from_slice(itoa::Buffer::new().format(*self).as_bytes());
            }
        }
    )*};
}

integers!(i8, i32, i64, u16, u32, u64, usize);

impl ToJson for bool {
    fn write(&self, writer: &mut Writer) {
        writer.raw(if *self { b"true" } else { b"false" });
    }
}

impl ToJson for f64 {
    /// The shortest form, always with a fraction or an exponent.
    fn write(&self, writer: &mut Writer) {
        writer.separate();
        let finite = if self.is_finite() { *self } else { 0.0 };
        writer.text(format_args!("{finite:?}"));
    }
}

impl ToJson for str {
    fn write(&self, writer: &mut Writer) {
        writer.string(self);
    }
}

impl ToJson for String {
    fn write(&self, writer: &mut Writer) {
        writer.string(self);
    }
}

impl ToJson for Cow<'_, str> {
    fn write(&self, writer: &mut Writer) {
        writer.string(self);
    }
}

impl<T: ToJson + ?Sized> ToJson for &T {
    fn write(&self, writer: &mut Writer) {
        (**self).write(writer);
    }
}

impl<T: ToJson> ToJson for [T] {
    fn write(&self, writer: &mut Writer) {
        writer.begin_list();
        self.iter().for_each(|item| item.write(writer));
        writer.end_list();
    }
}

impl<T: ToJson, const N: usize> ToJson for [T; N] {
    fn write(&self, writer: &mut Writer) {
        self[..].write(writer);
    }
}

impl<T: ToJson> ToJson for Vec<T> {
    fn write(&self, writer: &mut Writer) {
        self[..].write(writer);
    }
}

/// Bytes, written as base64.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Base64<'a>(pub Cow<'a, [u8]>);

impl ToJson for Base64<'_> {
    fn write(&self, writer: &mut Writer) {
        writer.separate();
        writer.buffer.push(b'"');
        let start = writer.buffer.len();
        writer.buffer.resize(start + BASE64.encode_len(self.0.len()), 0);
        BASE64.encode_mut(&self.0, &mut writer.buffer[start..]);
        writer.buffer.push(b'"');
    }
}

/// For each file whether it is wanted: booleans in JSON-RPC, 0 and 1 in the older dialect.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Wanted(pub Vec<bool>);

impl ToJson for Wanted {
    fn write(&self, writer: &mut Writer) {
        writer.begin_list();
        for &wanted in &self.0 {
            match writer.dialect {
                Dialect::JsonRpc => wanted.write(writer),
                Dialect::Legacy => i32::from(wanted).write(writer),
            }
        }
        writer.end_list();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written<T: ToJson + ?Sized>(value: &T) -> String {
        let mut writer = Writer::new(Vec::new(), Dialect::JsonRpc);
        writer.value(value);
        String::from_utf8(writer.finish()).unwrap()
    }

    #[test]
    fn commas_stand_between_values_and_nowhere_else() {
        let mut writer = Writer::new(Vec::new(), Dialect::JsonRpc);
        writer.begin_object();
        writer.key("a").value(&[1u32, 2]);
        writer.key("b").begin_list();
        writer.begin_object();
        writer.end_object();
        writer.value(&Vec::<u32>::new());
        writer.value("x");
        writer.end_list();
        writer.key("c").raw(b"{}");
        writer.end_object();
        assert_eq!(writer.finish(), br#"{"a":[1,2],"b":[{},[],"x"],"c":{}}"#);
    }

    #[test]
    fn doubles_have_a_fraction_and_are_finite() {
        assert_eq!(written(&1.0), "1.0");
        assert_eq!(written(&0.5), "0.5");
        assert_eq!(written(&-2.0), "-2.0");
        assert_eq!(written(&f64::NAN), "0.0");
        assert_eq!(written(&f64::INFINITY), "0.0");
    }

    #[test]
    fn wanted_is_numbers_only_in_the_older_dialect() {
        let wanted = Wanted(vec![true, false]);
        assert_eq!(written(&wanted), "[true,false]");
        let mut writer = Writer::new(Vec::new(), Dialect::Legacy);
        writer.value(&wanted);
        assert_eq!(writer.finish(), b"[1,0]");
    }

    proptest! {
        #[test]
        fn a_text_reads_back_as_it_was(text: String) {
            let json = written(text.as_str());
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }

        #[test]
        fn a_number_reads_back_as_it_was(integer: i64, double in -1e18f64..1e18) {
            prop_assert_eq!(serde_json::from_str::<i64>(&written(&integer)).unwrap(), integer);
            let read: f64 = serde_json::from_str(&written(&double)).unwrap();
            prop_assert!((read - double).abs() <= double.abs() * 1e-15);
        }

        #[test]
        fn bytes_read_back_as_they_were(bytes: Vec<u8>) {
            let json = written(&Base64(bytes.clone().into()));
            prop_assert_eq!(BASE64.decode(json.trim_matches('"').as_bytes()).unwrap(), bytes);
        }
    }
}
