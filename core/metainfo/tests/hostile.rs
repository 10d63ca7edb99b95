//! Files that somebody made to hurt: no panic, no escape from the folder, no unbounded time.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use ringseed_metainfo::bencode::Writer;
use ringseed_metainfo::{Metainfo, MetainfoError};
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// A version-1 torrent of these files, all with bytes.
fn torrent(paths: &[Vec<Vec<u8>>]) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.dict(|w| {
        w.key("info").dict(|w| {
            w.key("files").list(|w| {
                for path in paths {
                    w.dict(|w| {
                        w.key("length").int(1);
                        w.key("path").list(|w| {
                            path.iter().for_each(|part| {
                                w.bytes(part);
                            })
                        });
                    });
                }
            });
            w.key("name").bytes("name");
            w.key("piece length").int(1 << 20);
            w.key("pieces").bytes(vec![0; 20 * paths.len().div_ceil(1 << 20)]);
        });
    });
    writer.finish()
}

/// A version-2 torrent, `depth` folders with long names around many files.
fn deep_tree(depth: usize, files: usize) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.dict(|w| {
        w.key("info").dict(|w| {
            w.key("file tree");
            for _ in 0..depth {
                w.raw(b"d").bytes(vec![b'x'; 250]);
            }
            w.dict(|w| {
                for file in 0..files {
                    w.key(format!("{file:06}")).raw(b"d0:d6:lengthi0eee");
                }
            });
            w.raw(&vec![b'e'; depth]);
            w.key("meta version").int(2).key("name").bytes("n").key("piece length").int(1 << 20);
        });
    });
    writer.finish()
}

/// What every torrent that is read must keep.
fn check(torrent: &Metainfo) {
    let mut seen = HashSet::new();
    let mut offset = 0;
    for (index, file) in torrent.layout.files() {
        let path = file.path();
        assert!(path.as_path().is_relative());
        for part in path.components() {
            assert!(!matches!(part, "" | "." | ".."), "{path}");
            assert!(!part.contains(['\\', '\0']) && part.len() <= 255, "{path}");
        }
        assert!(seen.insert(path.as_str().to_ascii_lowercase()), "{path} twice");
        assert_eq!(file.offset(), offset);
        offset = file.end();
        torrent.piece_layer(index);
    }
    for (_, file) in torrent.layout.files() {
        let path = file.path().as_str().to_ascii_lowercase();
        for (at, _) in path.match_indices('/') {
            assert!(!seen.contains(&path[..at]), "{path} lies in a file");
        }
    }
    assert_eq!(offset, torrent.geometry().total_length());
    if let Some(hashes) = &torrent.piece_hashes {
        assert_eq!(hashes.as_slice().len(), torrent.geometry().piece_count() as usize);
    }
    torrent.info_hash();
}

fn timed(bytes: &[u8]) -> Result<Metainfo, MetainfoError> {
    let start = Instant::now();
    let result = Metainfo::parse(bytes);
    let took = start.elapsed();
    eprintln!(
        "{} bytes in {took:?}: {:?}",
        bytes.len(),
        result.as_ref().map(|t| t.layout.file_count())
    );
    // Ten times what it takes on a slow machine without optimisation.
    assert!(took < Duration::from_secs(10), "{took:?}");
    result
}

#[test]
fn ten_megabytes_of_nesting_are_refused_at_once() {
    assert!(timed(&vec![b'l'; 10 << 20]).is_err());
    assert!(timed(&b"d1:a".repeat(10 << 18)).is_err());
    assert!(timed(&[&b"d"[..], &b"0:le".repeat(10 << 18), b"e"].concat()).is_err());
    assert!(timed(&vec![b'9'; 10 << 20]).is_err());
}

#[test]
fn ten_megabytes_of_tiny_files_are_read_in_bounded_time() {
    let same = torrent(&vec![vec![b"a".to_vec()]; 330_000]);
    check(&timed(&same).unwrap());
    let numbered: Vec<_> = (0..300_000u32).map(|n| vec![n.to_string().into_bytes()]).collect();
    check(&timed(&torrent(&numbered)).unwrap());
    let folders: Vec<_> = (0..28_000u32)
        .map(|n| {
            let mut path = vec![b"x".to_vec(); 98];
            path.insert(0, n.to_string().into_bytes());
            path
        })
        .collect();
    check(&timed(&torrent(&folders)).unwrap());
}

#[test]
fn a_tree_that_would_ask_for_gigabytes_of_paths_is_refused() {
    assert_eq!(timed(&deep_tree(90, 200_000)).err(), Some(MetainfoError::PathsTooLong));
    assert_eq!(timed(&deep_tree(1, 20_000)).err(), Some(MetainfoError::Empty));
}

#[test]
fn one_layer_for_many_files_is_checked_once() {
    let layer = vec![[7u8; 32]; 100_000];
    let root = ringseed_metainfo::merkle::layer_root(&layer, 16384);
    let mut writer = Writer::new();
    writer.dict(|w| {
        w.key("info").dict(|w| {
            w.key("file tree").dict(|w| {
                for file in 0..15 {
                    w.key(format!("{file:06}")).dict(|w| {
                        w.key("").dict(|w| {
                            w.key("length").int(100_000 * 16384).key("pieces root").bytes(root);
                        });
                    });
                }
            });
            w.key("meta version").int(2).key("name").bytes("n").key("piece length").int(16384);
        });
        w.key("piece layers").dict(|w| {
            w.key(root).bytes(layer.as_flattened());
        });
    });
    let torrent = timed(&writer.finish()).unwrap();
    assert_eq!(torrent.piece_layers.len(), 1);
    check(&torrent);
}

/// Names that do harm, or collide.
fn any_part() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::sample::select(vec![
            &b".."[..],
            b".",
            b"",
            b"/",
            b"\\",
            b"../..",
            b"/etc/passwd",
            b"a",
            b"A",
            b"a.1",
            b"b",
            b"a/b",
            b"\0",
            b"\xff",
            b"a\xff",
            b"con",
            b".pad",
            "\u{202e}a".as_bytes(),
            &[b'y'; 300],
            b"_____padding_file_1",
        ])
        .prop_map(<[u8]>::to_vec),
        prop::collection::vec(any::<u8>(), 0..8),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn whatever_files_are_called_they_stay_apart_in_the_folder(
        paths in prop::collection::vec(prop::collection::vec(any_part(), 1..4), 1..12),
    ) {
        let torrent = Metainfo::parse(&torrent(&paths)).unwrap();
        prop_assert_eq!(torrent.layout.file_count() as usize, paths.len());
        check(&torrent);
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        let _ = Metainfo::parse(&bytes);
    }

    #[test]
    fn no_change_to_a_torrent_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4), 1..6),
        v2: bool,
    ) {
        let mut bytes = if v2 {
            HYBRID.to_vec()
        } else {
            torrent(&[vec![b"a".to_vec()], vec![b"b".to_vec(), b"c".to_vec()]])
        };
        for (at, byte, action) in changes {
            let at = at.index(bytes.len());
            match action {
                0 => bytes[at] = byte,
                1 => bytes[at] = b"0123456789ilde:"[usize::from(byte) % 15],
                2 => drop(bytes.remove(at)),
                _ => bytes.insert(at, byte),
            }
        }
        if let Ok(torrent) = Metainfo::parse(&bytes) {
            check(&torrent);
        }
    }
}

/// Two files of one byte, described by both versions.
const HYBRID: &[u8] = b"d4:infod9:file treed1:ad0:d6:lengthi1e11:pieces root32:rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrree\
1:bd1:cd0:d6:lengthi1e11:pieces root32:ssssssssssssssssssssssssssssssssee\
ee5:filesld6:lengthi1e4:pathl1:aeed4:attr1:p6:lengthi16383e4:pathl4:.pad5:16383eed6:lengthi1e4:pathl1:b1:ceee\
12:meta versioni2e4:name1:n12:piece lengthi16384e6:pieces40:0123456789012345678901234567890123456789ee";

#[test]
fn the_torrent_that_is_changed_is_a_good_one() {
    let hybrid = Metainfo::parse(HYBRID).unwrap();
    assert_eq!(hybrid.layout.file_count(), 3);
    assert!(hybrid.info_hash_v1.is_some() && hybrid.info_hash_v2.is_some());
    check(&hybrid);
}
