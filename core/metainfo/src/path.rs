//! Paths that cannot leave the torrent's folder, and that no two files share.
//!
//! What a .torrent calls its files is made safe rather than refused, in the same way as libtorrent
//! does it, so that data which another client wrote is found again: separators, NUL and marks that
//! are not seen or turn the writing direction vanish, control characters and what is not UTF-8
//! become `_`, a component that would be empty, `.` or `..` becomes `_`, and a name that is too long
//! is shortened in front of its extension.

use crate::limits;
use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hasher};
use std::{fmt, path::Path};

/// A relative path with `/` between components, none of which is empty, `.` or `..`, contains `/`,
/// `\`, NUL or a control character, or is longer than 255 bytes.
///
/// Only reading or creating a torrent makes one.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TorrentPath(Box<str>);

impl TorrentPath {
    /// From components that [`clean_component`] gave, already joined.
    pub(crate) fn from_clean(path: String) -> TorrentPath {
        debug_assert!(path.split('/').all(|part| clean(part.as_bytes()).as_deref() == Some(part)));
        TorrentPath(path.into_boxed_str())
    }

    /// With `/` between the components.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// For joining to a folder.
    pub fn as_path(&self) -> &Path {
        Path::new(&*self.0)
    }

    /// The components in order; at least one.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// The last component.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }
}

impl fmt::Display for TorrentPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TorrentPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A safe component for whatever the .torrent calls it.
pub(crate) fn clean_component(raw: &[u8]) -> String {
    clean(raw).unwrap_or_else(|| "_".to_owned())
}

/// The safe form of a name; `None` if nothing of it is left, or only `.` or `..`.
pub(crate) fn clean(raw: &[u8]) -> Option<String> {
    let mut name = String::with_capacity(raw.len().min(limits::NAME_BYTES));
    clean_into(&mut name, raw);
    if name.len() > limits::NAME_BYTES {
        name = shortened(&name);
    }
    (!matches!(name.as_str(), "" | "." | "..")).then_some(name)
}

fn clean_into(name: &mut String, raw: &[u8]) {
    let mut rest = raw;
    loop {
        // Most names are nothing else.
        let plain = rest.iter().take_while(|&&byte| is_plain(byte)).count();
        let (run, others) = rest.split_at(plain);
        name.push_str(std::str::from_utf8(run).unwrap_or_default());
        let Some(&lead) = others.first() else { return };
        let (head, tail) = others.split_at(sequence_length(lead).min(others.len()));
        rest = tail;
        match std::str::from_utf8(head).ok().and_then(|text| text.chars().next()) {
            Some(char) if vanishes(char) => {}
            Some(char) if !char.is_control() => name.push(char),
            _ => name.push('_'),
        }
    }
}

/// What can be seen of ASCII, but for separators.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && !matches!(byte, b'/' | b'\\')
}

/// Bytes that a UTF-8 sequence with this first byte should have.
fn sequence_length(lead: u8) -> usize {
    match lead {
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf7 => 4,
        0xf8..=0xfb => 5,
        _ => 1,
    }
}

/// Separators, and marks without width by which a name can be made to look like another.
fn vanishes(char: char) -> bool {
    matches!(
        char,
        '/' | '\\'
            | '\0'
            | '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2064}'
            | '\u{2066}'..='\u{2069}'
            | '\u{feff}'
    )
}

/// Bytes kept of a name that is too long, before its extension.
const KEPT_BYTES: usize = 240;
/// The longest extension that is kept, with its dot.
const EXTENSION_BYTES: usize = 9;

fn shortened(name: &str) -> String {
    let extension = name.rfind('.').map_or("", |dot| &name[dot..]);
    let extension = if extension.len() <= EXTENSION_BYTES { extension } else { "" };
    format!("{}{extension}", cut(name, KEPT_BYTES))
}

/// As much of the text as fits `bytes` without splitting a character.
fn cut(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Renames until no path equals another or a folder that another lies in.
///
/// Upper and lower case (ASCII) count as equal: a folder may be moved to a file system that does not
/// tell them apart. The first keeps its name, the next `a.txt` becomes `a.1.txt`. Paths for which
/// `yields` holds come after all others.
pub(crate) fn tell_apart(paths: &mut [String], yields: impl Fn(usize) -> bool) {
    let mut taken = HashSet::with_capacity(paths.len() * 2);
    for path in &*paths {
        fold(path, |folder| {
            taken.insert(folder);
        });
    }
    let mut counters = HashMap::new();
    for turn in [false, true] {
        for index in (0..paths.len()).filter(|&index| yields(index) == turn) {
            let folded = fold(&paths[index], |_| {});
            if taken.insert(folded) {
                continue;
            }
            let counter = counters.entry(folded).or_insert(0u32);
            loop {
                *counter += 1;
                let renamed = numbered(&paths[index], *counter);
                if taken.insert(fold(&renamed, |_| {})) {
                    paths[index] = renamed;
                    break;
                }
            }
        }
    }
}

/// A number for the path in which case does not matter; `folder` gets those of the folders it lies
/// in. Two paths of the same number are rarely different, and then one is renamed needlessly.
fn fold(path: &str, mut folder: impl FnMut(u64)) -> u64 {
    let mut hasher = DefaultHasher::new();
    for (at, part) in path.split('/').enumerate() {
        if at > 0 {
            folder(hasher.finish());
            hasher.write_u8(b'/');
        }
        let mut buffer = [0; limits::NAME_BYTES];
        let lower = &mut buffer[..part.len().min(limits::NAME_BYTES)];
        lower.copy_from_slice(&part.as_bytes()[..lower.len()]);
        lower.make_ascii_lowercase();
        hasher.write(lower);
    }
    hasher.finish()
}

/// `folder/a.txt` with the number 1 is `folder/a.1.txt`.
fn numbered(path: &str, number: u32) -> String {
    let (folder, name) = path.split_at(path.rfind('/').map_or(0, |slash| slash + 1));
    let (stem, extension) = name.split_at(name.rfind('.').unwrap_or(name.len()));
    let number = format!(".{number}");
    let extension = cut(extension, limits::NAME_BYTES / 2);
    let stem = cut(stem, limits::NAME_BYTES - number.len() - extension.len());
    format!("{folder}{stem}{number}{extension}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_made_safe() {
        for (raw, safe) in [
            (&b"plain.txt"[..], "plain.txt"),
            (b"..", "_"),
            (b".", "_"),
            (b"", "_"),
            (b"...", "..."),
            (b"/etc/passwd", "etcpasswd"),
            (b"..\\..", "...."),
            (b"./.", "_"),
            (b"a\0b", "ab"),
            (b"a\x01\x7fb", "a__b"),
            (b"\xff\xfe", "__"),
            (b"a\xe2\x82b", "a_"),
            (b"\xc0\x80", "_"),
            (b"\xed\xa0\x80x", "_x"),
            ("gpj\u{202e}exe.".as_bytes(), "gpjexe."),
            ("日本語".as_bytes(), "日本語"),
            (b"CON", "CON"),
            (b" a ", " a "),
        ] {
            assert_eq!(clean_component(raw), safe, "{}", raw.escape_ascii());
        }
    }

    #[test]
    fn long_names_keep_their_extension() {
        let long = clean_component(format!("{}.torrent", "é".repeat(200)).as_bytes());
        assert_eq!(long, format!("{}.torrent", "é".repeat(120)));
        assert_eq!(clean_component(&[b'a'; 255]).len(), 255);
        assert_eq!(clean_component(&[b'a'; 256]).len(), 240);
        assert_eq!(
            clean_component(format!("{}.verylongone", "a".repeat(255)).as_bytes()).len(),
            240
        );
    }

    #[test]
    fn files_of_one_name_are_told_apart() {
        let mut paths: Vec<String> = [
            "n/a.txt",
            "n/a.txt",
            "n/A.TXT",
            "n/a.1.txt",
            "n/b",
            "n/b/c",
            "n/.x",
            "n/.x",
            "n/d/e",
            "n/D",
        ]
        .map(str::to_owned)
        .to_vec();
        tell_apart(&mut paths, |_| false);
        assert_eq!(
            paths,
            [
                "n/a.txt",
                "n/a.1.txt",
                "n/A.2.TXT",
                "n/a.1.1.txt",
                "n/b.1",
                "n/b/c",
                "n/.x",
                "n/.1.x",
                "n/d/e",
                "n/D.1"
            ]
        );
    }

    #[test]
    fn many_files_of_one_name_take_linear_time() {
        let mut paths = vec!["n/same".to_owned(); 200_000];
        let start = std::time::Instant::now();
        tell_apart(&mut paths, |_| false);
        assert!(start.elapsed().as_secs() < 5);
        assert_eq!(paths.iter().collect::<HashSet<_>>().len(), paths.len());
    }

    proptest! {
        #[test]
        fn whatever_the_bytes_the_name_stays_in_its_folder(raw: Vec<u8>) {
            let name = clean_component(&raw);
            prop_assert!(!matches!(name.as_str(), "" | "." | ".."));
            prop_assert!(!name.contains(['/', '\\', '\0']));
            prop_assert!(name.len() <= 255);
            prop_assert_eq!(clean_component(name.as_bytes()), name);
        }

        #[test]
        fn no_two_paths_are_equal_afterwards(
            mut paths in prop::collection::vec("[ab](\\.1)?(/[aAb](\\.[1b])?){0,2}", 0..20),
        ) {
            tell_apart(&mut paths, |index| index % 3 == 0);
            let folded: Vec<String> = paths.iter().map(|path| path.to_lowercase()).collect();
            for (at, path) in folded.iter().enumerate() {
                for (other_at, other) in folded.iter().enumerate() {
                    prop_assert!(at == other_at || path != other);
                    prop_assert!(!other.starts_with(&format!("{path}/")), "{} {}", path, other);
                }
            }
        }
    }
}
