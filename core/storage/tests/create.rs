//! Torrents made of real files: read back, and their data found good.
#![allow(clippy::unwrap_used)]

use metainfo::{
    Metainfo,
    create::{Options, Version},
    merkle::{FileHash, block_hash},
};
use ringseed_storage::{
    CheckEvent, CheckRequest, Checker, CreateRequest, CreateTorrentError, StorageError,
    create_torrent,
};
use std::{
    fs,
    ops::ControlFlow,
    path::Path,
    sync::{Arc, mpsc},
};

fn request(path: &Path, version: Version) -> CreateRequest {
    CreateRequest {
        path: path.to_path_buf(),
        name: None,
        piece_length: Some(32768),
        version,
        options: Options::default(),
        threads: 2,
    }
}

fn create(request: &CreateRequest) -> Result<Metainfo, CreateTorrentError> {
    let torrent = create_torrent(request, &|_| ControlFlow::Continue(()))?;
    Ok(Metainfo::parse(&torrent).expect("a sound torrent"))
}

fn lay_down(folder: &Path) {
    let mut random = fastrand::Rng::with_seed(1);
    for (name, length) in [
        ("b/long", 1_000_000usize),
        ("a", 32768),
        ("b/empty", 0),
        (".hidden", 5),
        ("c/d/e", 32769),
        ("z", 100_000),
    ] {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut bytes = vec![0; length];
        random.fill(&mut bytes);
        fs::write(path, bytes).unwrap();
    }
}

fn is_good(metainfo: &Metainfo, root: &Path) -> bool {
    let (ended, outcome) = mpsc::channel();
    let checker = Checker::new(1).unwrap();
    checker.submit(CheckRequest {
        info_hash: metainfo.info_hash(),
        layout: Arc::new(metainfo.layout.clone()),
        root: root.into(),
        hashes: Arc::new(metainfo.piece_hashes.clone().unwrap()),
        pieces: metainfo::Bitfield::all(metainfo.geometry().piece_count()),
        past_cache: false,
        report: Box::new(move |event| {
            if let CheckEvent::Ended(outcome) = event {
                ended.send(outcome).unwrap();
            }
        }),
    });
    outcome.recv().unwrap().have.is_all()
}

fn trees_are_right(metainfo: &Metainfo, root: &Path) {
    let piece_length = metainfo.geometry().piece_length();
    for (index, file) in metainfo.layout.files().filter(|(_, file)| !file.is_pad()) {
        let bytes = fs::read(root.join(file.path().as_path())).unwrap();
        let blocks: Vec<_> = bytes.chunks(16384).map(block_hash).collect();
        let tree = FileHash::from_blocks(&blocks, piece_length);
        assert_eq!(file.root(), tree.as_ref().map(|tree| &tree.root));
        if let Some(tree) = tree.filter(|tree| !tree.layer.is_empty()) {
            assert_eq!(metainfo.piece_layer(index).unwrap(), tree.layer);
        }
    }
}

#[test]
fn a_folder_becomes_a_torrent_whose_data_is_good() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("things");
    lay_down(&folder);
    for version in [Version::V1, Version::Hybrid, Version::V2] {
        let metainfo = create(&request(&folder, version)).unwrap();
        assert_eq!(metainfo.name(), "things");
        let real = metainfo.layout.files().filter(|(_, file)| !file.is_pad());
        let paths: Vec<&str> = real.map(|(_, file)| file.path().as_str()).collect();
        let expected = [
            "things/.hidden",
            "things/a",
            "things/b/empty",
            "things/b/long",
            "things/c/d/e",
            "things/z",
        ];
        assert_eq!(paths, expected);
        if version != Version::V2 {
            assert!(is_good(&metainfo, root.path()));
        }
        if version != Version::V1 {
            trees_are_right(&metainfo, root.path());
        }
    }
}

#[test]
fn a_single_file_becomes_a_torrent_of_one_file() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("one"), vec![7; 70_000]).unwrap();
    let metainfo = create(&request(&root.path().join("one"), Version::Hybrid)).unwrap();
    assert!(!metainfo.layout.has_folder());
    assert!(is_good(&metainfo, root.path()));
    trees_are_right(&metainfo, root.path());
}

#[test]
fn links_are_followed_but_not_in_circles() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("things");
    lay_down(&folder);
    std::os::unix::fs::symlink("b", folder.join("link")).unwrap();
    let metainfo = create(&request(&folder, Version::V1)).unwrap();
    assert!(metainfo.layout.files().any(|(_, file)| file.path().as_str() == "things/link/long"));
    assert!(is_good(&metainfo, root.path()));
    std::os::unix::fs::symlink("..", folder.join("b/circle")).unwrap();
    let error = create(&request(&folder, Version::V1)).unwrap_err();
    assert!(matches!(error, CreateTorrentError::Loop(_)), "{error}");
}

#[test]
fn what_cannot_be_made_is_said_clearly() {
    let root = tempfile::tempdir().unwrap();
    let error = create(&request(&root.path().join("nothing"), Version::V1)).unwrap_err();
    assert!(matches!(error, CreateTorrentError::File(StorageError::Missing { .. })), "{error}");
    let error = create(&request(root.path(), Version::V1)).unwrap_err();
    assert!(matches!(error, CreateTorrentError::Torrent(_)), "{error}");
    lay_down(root.path());
    let cancelled = create_torrent(&request(root.path(), Version::V1), &|_| ControlFlow::Break(()));
    assert!(matches!(cancelled, Err(CreateTorrentError::Cancelled)));
}
