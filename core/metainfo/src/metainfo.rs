//! A .torrent file, read and checked (BEP 3, 12, 19, 27, 47, 52).

use crate::bencode::{BencodeError, Document, Limits, Node};
use crate::{
    FileIndex, Geometry, InfoHash, InfoHashV2, Layout, PieceIndex, file_list, limits, merkle,
};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Why a .torrent is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum MetainfoError {
    #[error("not a .torrent file: {0}")]
    Bencode(#[from] BencodeError),
    #[error("not a .torrent file: no dictionary with an `info` dictionary")]
    NoInfo,
    #[error("the torrent has no usable name")]
    NoName,
    #[error("piece length missing or not supported")]
    PieceLength,
    #[error("the list of files is malformed")]
    FileList,
    #[error("a file has no length or an impossible one")]
    FileLength,
    #[error("a file has no path or a malformed one")]
    FilePath,
    #[error("a file lies more than {} folders deep", limits::PATH_COMPONENTS)]
    TooDeep,
    #[error("the paths of all files together are longer than {} bytes", limits::PATH_BYTES)]
    PathsTooLong,
    #[error("the torrent has no files")]
    NoFiles,
    #[error("the torrent has no bytes")]
    Empty,
    #[error("the torrent has more than {} pieces", limits::PIECES)]
    TooManyPieces,
    #[error("the piece hashes are missing")]
    NoPieceHashes,
    #[error("{found} bytes of piece hashes where the files need {expected}")]
    PieceHashes { expected: u64, found: u64 },
    #[error("meta version {0} is not known")]
    Version(i64),
    #[error("a file tree and meta version 2 must come together")]
    FileTree,
    #[error("a torrent with a meta version must be encoded canonically")]
    NotCanonical,
    #[error("a file has no version-2 root hash")]
    NoRoot,
    #[error("a version-2 file tree contains a pad file")]
    PadInTree,
    #[error("the version-1 and version-2 lists of files differ")]
    Inconsistent,
    #[error("a piece layer does not belong to the files")]
    PieceLayer,
}

/// What the maker of a torrent says about it; nothing that downloading needs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Description {
    /// Free text.
    pub comment: Option<String>,
    /// The program that made it.
    pub created_by: Option<String>,
    /// Seconds since 1970.
    pub creation_date: Option<u64>,
    /// The character encoding that the maker claims; everything is read as UTF-8 all the same.
    pub encoding: Option<String>,
    /// The tracker it was made for (part of `info`, so it changes the info-hash).
    pub source: Option<String>,
}

/// The SHA-1 of every piece, in one buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PieceHashes(Box<[[u8; 20]]>);

impl PieceHashes {
    /// The hash that the piece must have.
    pub fn get(&self, piece: PieceIndex) -> &[u8; 20] {
        &self.0[piece.as_usize()]
    }

    /// All, in the order of the pieces.
    pub fn as_slice(&self) -> &[[u8; 20]] {
        &self.0
    }
}

/// A torrent as its .torrent file describes it, checked in all its parts.
///
/// A running torrent needs `layout` and the hashes; everything else can be let go by taking the
/// struct apart. `info_bytes` alone is as large as the piece hashes and the paths together, and is
/// needed only to answer `ut_metadata` requests or to write the .torrent again.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metainfo {
    /// Present unless the torrent is version 2 only.
    pub info_hash_v1: Option<InfoHash>,
    /// Present in version-2 and hybrid torrents.
    pub info_hash_v2: Option<InfoHashV2>,
    /// The files over the pieces. Where there is a version 2, with the pad files that let every file
    /// start a piece (a hybrid torrent has them in its list, the file tree implies them).
    pub layout: Layout,
    /// Present unless the torrent is version 2 only: what it takes to download over version 1.
    pub piece_hashes: Option<PieceHashes>,
    /// The nodes of the pieces of each file longer than a piece, by the file's root (BEP 52).
    pub piece_layers: BTreeMap<merkle::Hash, Box<[merkle::Hash]>>,
    /// Peers may come from the trackers only (BEP 27).
    pub private: bool,
    /// Trackers by tier (BEP 12); no tier is empty, no tracker appears twice.
    pub trackers: Vec<Vec<String>>,
    /// Web servers that have the files (BEP 19).
    pub web_seeds: Vec<String>,
    /// What the maker says about it.
    pub description: Description,
    pub(crate) info: Box<[u8]>,
}

impl Metainfo {
    /// Reads a .torrent file. What follows the bencoded dictionary is ignored.
    pub fn parse(bytes: &[u8]) -> Result<Metainfo, MetainfoError> {
        let (document, _) = Document::scan_prefix(bytes, &Limits::TORRENT)?;
        let root = document.root();
        let info = root.get_dict("info").ok_or(MetainfoError::NoInfo)?;
        let mut metainfo = Metainfo::read_info(info)?;
        metainfo.piece_layers = read_piece_layers(root, &metainfo.layout)?;
        metainfo.trackers = read_trackers(root);
        metainfo.web_seeds = read_web_seeds(root);
        let description = &mut metainfo.description;
        description.comment = text(root, "comment");
        description.created_by = text(root, "created by");
        description.encoding = text(root, "encoding");
        description.creation_date =
            root.get_int("creation date").and_then(|date| u64::try_from(date).ok());
        Ok(metainfo)
    }

    /// Reads a bare `info` dictionary, as peers send it (BEP 9). The caller compares the info-hash.
    pub fn parse_info(bytes: &[u8]) -> Result<Metainfo, MetainfoError> {
        let document = Document::scan(bytes, &Limits::TORRENT)?;
        Metainfo::read_info(document.root())
    }

    fn read_info(info: Node<'_>) -> Result<Metainfo, MetainfoError> {
        if !info.is_dict() {
            return Err(MetainfoError::NoInfo);
        }
        let is_v2 = is_version_2(info)?;
        let mut files = info.get_list("files");
        let has_v1 = !is_v2 || files.is_some() || info.get("length").is_some();
        let has_v1_files = files.as_mut().is_none_or(|files| files.next().is_some());
        let info_hash_v1 = InfoHash(Sha1::digest(info.raw()).into());
        let piece_length = piece_length(info, is_v2)?;
        let layout = file_list::read(info, piece_length, is_v2, has_v1, info_hash_v1)?;
        Ok(Metainfo {
            info_hash_v1: has_v1.then_some(info_hash_v1),
            info_hash_v2: is_v2.then(|| InfoHashV2(Sha256::digest(info.raw()).into())),
            piece_hashes: read_piece_hashes(info, layout.geometry(), is_v2)?
                .filter(|_| has_v1 && has_v1_files),
            layout,
            piece_layers: BTreeMap::new(),
            private: info.get_int("private").is_some_and(|private| private != 0),
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            description: Description { source: text(info, "source"), ..Description::default() },
            info: info.raw().into(),
        })
    }

    /// The name in handshakes and announces: of version 1 if there is one, else the shortened one of
    /// version 2 (BEP 52).
    pub fn info_hash(&self) -> InfoHash {
        match (self.info_hash_v1, self.info_hash_v2) {
            (Some(v1), _) => v1,
            (None, Some(v2)) => v2.truncated(),
            (None, None) => unreachable!("a torrent has one version at least"),
        }
    }

    /// The torrent's name, one safe path component.
    pub fn name(&self) -> &str {
        self.layout.name()
    }

    /// The pieces.
    pub fn geometry(&self) -> Geometry {
        self.layout.geometry()
    }

    /// The raw `info` dictionary, whose hash the info-hash is.
    pub fn info_bytes(&self) -> &[u8] {
        &self.info
    }

    /// The nodes of the file's pieces in its version-2 hash tree: its root alone if it is not longer
    /// than a piece. `None` if it is empty, the torrent is version 1, or the .torrent leaves it out.
    pub fn piece_layer(&self, file: FileIndex) -> Option<&[merkle::Hash]> {
        let file = &self.layout[file];
        let root = file.root()?;
        if file.length() <= u64::from(self.geometry().piece_length()) {
            return Some(std::slice::from_ref(root));
        }
        self.piece_layers.get(root).map(|layer| &**layer)
    }
}

fn is_version_2(info: Node<'_>) -> Result<bool, MetainfoError> {
    let has_tree = info.get_dict("file tree").is_some();
    match info.get_int("meta version").unwrap_or(1) {
        3.. => Err(MetainfoError::Version(info.get_int("meta version").unwrap_or_default())),
        2 if !has_tree => Err(MetainfoError::FileTree),
        1 | 2 if info.get_int("meta version").is_some() && !info.is_canonical() => {
            Err(MetainfoError::NotCanonical)
        }
        2 => Ok(true),
        _ if has_tree => Err(MetainfoError::FileTree),
        _ => Ok(false),
    }
}

fn piece_length(info: Node<'_>, is_v2: bool) -> Result<u32, MetainfoError> {
    info.get_int("piece length")
        .and_then(|length| u32::try_from(length).ok())
        .filter(|&length| (1..=limits::PIECE_LENGTH).contains(&length))
        .filter(|&length| !is_v2 || is_piece_length_v2(length))
        .ok_or(MetainfoError::PieceLength)
}

/// A power of two of at least 16 KiB (BEP 52).
pub(crate) fn is_piece_length_v2(length: u32) -> bool {
    length >= crate::BLOCK_LENGTH && length.is_power_of_two()
}

fn read_piece_hashes(
    info: Node<'_>,
    geometry: Geometry,
    is_v2: bool,
) -> Result<Option<PieceHashes>, MetainfoError> {
    let Some(bytes) = info.get_bytes("pieces") else {
        return if is_v2 { Ok(None) } else { Err(MetainfoError::NoPieceHashes) };
    };
    let expected = u64::from(geometry.piece_count()) * 20;
    let found = bytes.len() as u64;
    if found != expected {
        return Err(MetainfoError::PieceHashes { expected, found });
    }
    Ok(Some(PieceHashes(bytes.as_chunks().0.into())))
}

/// Every layer must be that of a file that needs one, and hash to its root; a file may lack its own
/// (it can be asked of peers).
fn read_piece_layers(
    root: Node<'_>,
    layout: &Layout,
) -> Result<BTreeMap<merkle::Hash, Box<[merkle::Hash]>>, MetainfoError> {
    let piece_length = layout.geometry().piece_length();
    let mut layers = BTreeMap::new();
    let Some(given) = root.get_dict("piece layers").and_then(Node::as_dict) else {
        return Ok(layers);
    };
    let mut lengths = BTreeMap::new();
    for (_, file) in layout.files() {
        if let Some(root) = file.root().filter(|_| file.length() > u64::from(piece_length)) {
            lengths.insert(*root, file.length());
        }
    }
    if lengths.is_empty() && layout.files().all(|(_, file)| file.root().is_none()) {
        return Ok(layers);
    }
    for (root, layer) in given {
        let root = merkle::Hash::try_from(root).map_err(|_| MetainfoError::PieceLayer)?;
        let length = lengths.get(&root).ok_or(MetainfoError::PieceLayer)?;
        let (layer, rest) = layer.as_bytes().ok_or(MetainfoError::PieceLayer)?.as_chunks();
        let pieces = length.div_ceil(u64::from(piece_length));
        if !rest.is_empty()
            || layer.len() as u64 != pieces
            || merkle::layer_root(layer, piece_length) != root
        {
            return Err(MetainfoError::PieceLayer);
        }
        layers.insert(root, layer.into());
    }
    Ok(layers)
}

/// `announce-list` if it names any tracker, else `announce` (BEP 12).
fn read_trackers(root: Node<'_>) -> Vec<Vec<String>> {
    let mut seen = std::collections::HashSet::new();
    let mut tier = |trackers: &mut dyn Iterator<Item = Node<'_>>| -> Vec<String> {
        trackers.filter_map(address).filter(|tracker| seen.insert(tracker.clone())).collect()
    };
    let list = root.get_list("announce-list").into_iter().flatten().filter_map(Node::as_list);
    let mut tiers: Vec<Vec<String>> = list.map(|mut trackers| tier(&mut trackers)).collect();
    tiers.retain(|tier| !tier.is_empty());
    if tiers.is_empty() {
        tiers.extend(root.get("announce").and_then(address).map(|tracker| vec![tracker]));
    }
    tiers
}

/// `url-list`: one address or a list of them (BEP 19).
fn read_web_seeds(root: Node<'_>) -> Vec<String> {
    let Some(value) = root.get("url-list") else { return Vec::new() };
    let mut seen = std::collections::HashSet::new();
    let addresses: Vec<String> = match value.as_list() {
        Some(list) => list.filter_map(address).collect(),
        None => address(value).into_iter().collect(),
    };
    addresses.into_iter().filter(|address| seen.insert(address.clone())).collect()
}

/// An address with a scheme, without the blanks around it that some makers leave.
fn address(node: Node<'_>) -> Option<String> {
    let address = std::str::from_utf8(node.as_bytes()?).ok()?.trim();
    let (scheme, rest) = address.split_once("://")?;
    let valid = !rest.is_empty()
        && scheme.starts_with(|char: char| char.is_ascii_alphabetic())
        && scheme.chars().all(|char| char.is_ascii_alphanumeric() || "+-.".contains(char))
        && !address.contains(char::is_control);
    valid.then(|| address.to_owned())
}

/// Text under `key`, or better under `key.utf-8`.
fn text(node: Node<'_>, key: &str) -> Option<String> {
    node.get_text(&format!("{key}.utf-8")).or_else(|| node.get_text(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bencode::Writer;

    /// A torrent of one byte with these top-level entries before and after `info`.
    fn torrent(before: impl FnOnce(&mut Writer), after: impl FnOnce(&mut Writer)) -> Metainfo {
        let mut writer = Writer::new();
        writer.dict(|w| {
            before(w);
            w.key("info").dict(|w| {
                w.key("length").int(1).key("name").bytes("n").key("piece length").int(16384);
                w.key("pieces").bytes([7; 20]).key("private").int(1).key("source").bytes("s");
            });
            after(w);
        });
        Metainfo::parse(&writer.finish()).unwrap()
    }

    #[test]
    fn what_the_maker_says_is_kept() {
        let torrent = torrent(
            |w| {
                w.key("comment").bytes("plain").key("comment.utf-8").bytes("better");
                w.key("created by").bytes("me").key("creation date").int(1_234_567);
                w.key("encoding").bytes("UTF-8");
            },
            |_| {},
        );
        let expected = Description {
            comment: Some("better".to_owned()),
            created_by: Some("me".to_owned()),
            creation_date: Some(1_234_567),
            encoding: Some("UTF-8".to_owned()),
            source: Some("s".to_owned()),
        };
        assert_eq!(torrent.description, expected);
        assert!(torrent.private);
        let first = torrent.geometry().piece(0).unwrap();
        assert_eq!(torrent.piece_hashes.unwrap().get(first), &[7; 20]);
    }

    #[test]
    fn the_info_hash_is_of_the_raw_bytes() {
        let torrent = torrent(|_| {}, |_| {});
        let digest: [u8; 20] = Sha1::digest(torrent.info_bytes()).into();
        assert_eq!(torrent.info_hash(), InfoHash(digest));
        assert!(torrent.info_bytes().starts_with(b"d6:length"));
        assert_eq!(
            Metainfo::parse_info(torrent.info_bytes()).unwrap().info_hash(),
            InfoHash(digest)
        );
    }

    #[test]
    fn tiers_are_kept_and_a_single_tracker_only_counts_without_them() {
        let trackers = |tiers: &[&[&str]]| {
            let before = |w: &mut Writer| {
                w.key("announce").bytes(" http://single/ ").key("announce-list").list(|w| {
                    for tier in tiers {
                        w.list(|w| {
                            tier.iter().for_each(|tracker| {
                                w.bytes(tracker);
                            })
                        });
                    }
                });
            };
            torrent(before, |_| {}).trackers
        };
        assert_eq!(
            trackers(&[
                &["http://a/", " udp://b:1 ", "junk"],
                &[],
                &["http://a/", "://", "http://c/"]
            ]),
            [vec!["http://a/", "udp://b:1"], vec!["http://c/"]]
        );
        assert_eq!(trackers(&[&["junk"], &[]]), [["http://single/"]]);
        assert_eq!(trackers(&[]), [["http://single/"]]);
    }

    #[test]
    fn web_seeds_may_be_one_or_a_list() {
        let one = torrent(
            |_| {},
            |w| {
                w.key("url-list").bytes("http://a/");
            },
        );
        assert_eq!(one.web_seeds, ["http://a/"]);
        let list = torrent(
            |_| {},
            |w| {
                w.key("url-list").list(|w| {
                    w.bytes("http://a/").bytes("").bytes("http://a/").int(1);
                });
            },
        );
        assert_eq!(list.web_seeds, ["http://a/"]);
    }
}
