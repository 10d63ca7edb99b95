//! Files that tell of torrents.

use metainfo::bencode::{Document, Limits, Node, Writer};
use metainfo::{Bitfield, Geometry, Magnet, Metainfo};
use std::sync::LazyLock;
use storage::ResumeData;

/// Every value is found where the scan says, and what is canonical is written as it was.
pub fn bencode(bytes: &[u8]) {
    let Ok((document, length)) = Document::scan_prefix(bytes, &Limits::MESSAGE) else { return };
    let root = document.root();
    assert_eq!(root.raw(), &bytes[..length]);
    let mut writer = Writer::new();
    write(root, &mut writer);
    let once = writer.finish();
    assert!(!root.is_canonical() || once == root.raw(), "not the one encoding of it");
    let again = Document::scan(&once, &Limits::MESSAGE).expect("what was written is bencoded");
    let mut writer = Writer::new();
    write(again.root(), &mut writer);
    assert_eq!(writer.finish(), once);
}

fn write(node: Node<'_>, writer: &mut Writer) {
    if let Some(bytes) = node.as_bytes() {
        writer.bytes(bytes);
    } else if let Some(list) = node.as_list() {
        writer.list(|writer| list.for_each(|node| write(node, writer)));
    } else if let Some(dict) = node.as_dict() {
        writer.dict(|writer| {
            for (key, value) in dict {
                write(value, writer.key(key));
            }
        });
    } else if let Some(number) = node.as_int() {
        writer.int(number);
    } else {
        writer.raw(node.raw());
    }
}

/// Pieces and files cover each other, and the same torrent is read from what is written of it.
pub fn metainfo(bytes: &[u8]) {
    let Ok(torrent) = Metainfo::parse(bytes) else { return };
    let again = Metainfo::parse(&torrent.to_torrent()).expect("what was written is a torrent");
    assert_eq!(again, torrent);
    let info = Metainfo::parse_info(torrent.info_bytes()).expect("its info is an info");
    assert_eq!(info.info_hash(), torrent.info_hash());
    let (layout, geometry) = (&torrent.layout, torrent.geometry());
    let mut end = 0;
    for (index, file) in layout.files() {
        assert_eq!(file.offset(), end);
        end = file.end();
        assert!(file.path().as_path().is_relative());
        let plain = |part| matches!(part, std::path::Component::Normal(_));
        assert!(file.path().as_path().components().all(plain), "{:?}", file.path());
        let pieces = layout.pieces_of(index);
        for piece in pieces.clone().take(1).chain(pieces.last()) {
            assert!(geometry.piece(piece).is_some());
        }
    }
    assert_eq!(end, geometry.total_length());
    for piece in sample(geometry) {
        let piece = geometry.piece(piece).expect("it is one of them");
        let spans: u64 = layout.piece_spans(piece).map(|span| span.length).sum();
        assert_eq!(spans, u64::from(geometry.length_of(piece)));
        let blocks: u32 = geometry.blocks(piece).take(1 << 16).map(|block| block.length()).sum();
        assert_eq!(blocks, geometry.length_of(piece));
    }
    if let Some(hashes) = &torrent.piece_hashes {
        assert_eq!(hashes.as_slice().len(), geometry.piece_count() as usize);
    }
}

/// The first pieces and the last.
fn sample(geometry: Geometry) -> impl Iterator<Item = u32> {
    let count = geometry.piece_count();
    (0..count.min(3)).chain(count.checked_sub(1))
}

/// A torrent is named, and nothing twice.
pub fn magnet(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(magnet) = Magnet::parse(&text) else { return };
    assert!(magnet.info_hash_v1.is_some() || magnet.info_hash_v2.is_some());
    for list in [&magnet.trackers, &magnet.web_seeds] {
        let mut sorted = list.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), list.len());
    }
    assert!(magnet.select_only.iter().all(|range| range.start() <= range.end()));
}

/// A torrent of three files and eleven pieces.
static TORRENT: LazyLock<Metainfo> = LazyLock::new(|| {
    let mut writer = Writer::new();
    writer.dict(|w| {
        w.key("info").dict(|w| {
            w.key("files").list(|w| {
                for (name, length) in [("a", 100_000), ("b", 1), ("c", 70_000)] {
                    w.dict(|w| {
                        w.key("length").int(length);
                        w.key("path").list(|w| _ = w.bytes(name));
                    });
                }
            });
            w.key("name").bytes("torrent");
            w.key("piece length").int(16384);
            w.key("pieces").bytes([7; 220]);
        });
    });
    Metainfo::parse(&writer.finish()).expect("it is a torrent")
});

/// The bytes as they are, and with the checksum that belongs to them.
pub fn resume(bytes: &[u8]) {
    let layout = &TORRENT.layout;
    let sum = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum: u64, &byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let summed = [bytes, &sum.to_le_bytes()].concat();
    for bytes in [bytes, &summed] {
        let Ok(resume) = ResumeData::from_bytes(bytes, layout) else { continue };
        assert_eq!(resume.stamps.len(), 4);
        let same = Bitfield::from_bytes(resume.have.as_bytes(), layout.geometry().piece_count());
        assert_eq!(same.as_ref(), Ok(&resume.have));
        assert_eq!(ResumeData::from_bytes(&resume.to_bytes(), layout), Ok(resume));
    }
}
