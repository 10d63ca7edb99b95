use super::*;
use metainfo::Metainfo;

const ROTATING: Device = Device { id: 1, is_rotating: true };
const SOLID: Device = Device { id: 2, is_rotating: false };

/// Threads' work without the threads.
fn shared(readers: usize) -> Arc<Shared> {
    let (state, hasher) = (Mutex::default(), Hasher::detect());
    Arc::new(Shared { state, wake: Condvar::new(), hasher, readers, synced: settle::Synced::new() })
}

/// A torrent of many pieces of which nothing is there, on this device.
fn job(shared: &Arc<Shared>, device: Device, piece_length: u64) -> Arc<Job> {
    let pieces = 200;
    let mut torrent = format!(
        "d4:infod6:lengthi{}e4:name1:f12:piece lengthi{piece_length}e6:pieces{}:",
        piece_length * pieces,
        pieces * 20
    )
    .into_bytes();
    torrent.extend(vec![0; pieces as usize * 20]);
    torrent.extend(b"ee");
    let metainfo = Metainfo::parse(&torrent).expect("a sound torrent");
    let checker = Checker { shared: Arc::clone(shared), threads: Mutex::default() };
    let handle = checker.submit(CheckRequest {
        info_hash: metainfo.info_hash(),
        pieces: Bitfield::all(pieces as u32),
        past_cache: false,
        hashes: Arc::new(metainfo.piece_hashes.clone().expect("version 1")),
        layout: Arc::new(metainfo.layout),
        root: Path::new("/nowhere").into(),
        report: Box::new(|_| {}),
    });
    std::mem::forget(checker);
    handle.job.course().device = Some(device);
    handle.job
}

fn group(turn: Turn) -> (Arc<Job>, usize) {
    match turn {
        Turn::Group(job, _, pieces) => (job, pieces.len()),
        _ => panic!("no group of pieces"),
    }
}

fn nothing() -> reader::Found {
    reader::Found { pieces: Vec::new(), error: None }
}

#[test]
fn a_rotating_disk_has_one_reader_while_others_have_all() {
    let shared = shared(3);
    let first = job(&shared, ROTATING, 1 << 14);
    let second = job(&shared, ROTATING, 1 << 14);
    let third = job(&shared, SOLID, 1 << 14);
    assert!(Arc::ptr_eq(&group(shared.next_turn()).0, &first));
    for _ in 0..3 {
        assert!(Arc::ptr_eq(&group(shared.next_turn()).0, &third), "the first disk is busy");
    }
    shared.take_back(&first, ROTATING, nothing());
    assert!(Arc::ptr_eq(&group(shared.next_turn()).0, &first), "one torrent after the other");
    shared.take_back(&first, ROTATING, nothing());
    first.cancelled.store(true, Relaxed);
    assert!(matches!(shared.next_turn(), Turn::End(ended) if Arc::ptr_eq(&ended, &first)));
    assert!(Arc::ptr_eq(&group(shared.next_turn()).0, &second));
}

#[test]
fn large_pieces_of_a_rotating_disk_are_read_few_at_a_time() {
    let shared = shared(1);
    let lanes = shared.hasher.backend().lanes();
    let rotating = job(&shared, ROTATING, 32 << 20);
    assert_eq!(group(shared.next_turn()).1, lanes.min(2));
    rotating.cancelled.store(true, Relaxed);
    shared.take_back(&rotating, ROTATING, nothing());
    assert!(matches!(shared.next_turn(), Turn::End(_)));
    job(&shared, SOLID, 32 << 20);
    assert_eq!(group(shared.next_turn()).1, lanes);
}
