//! Rechecks and resume data on real files.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Sample, sample};
use hash::{Backend, Hasher};
use metainfo::{Bitfield, FileIndex};
use proptest::prelude::*;
use ringseed_storage::{
    CheckEvent, CheckOutcome, CheckRequest, Checker, FileStamp, ResumeData, ResumeError,
    check_stamps, part_file, remove_data,
};
use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

type Told = Arc<Mutex<Bitfield>>;

fn request(sample: &Sample, root: &Path) -> (CheckRequest, Told, mpsc::Receiver<CheckOutcome>) {
    let told = Arc::new(Mutex::new(Bitfield::none(sample.layout.geometry().piece_count())));
    let (ended, outcome) = mpsc::channel();
    let request = CheckRequest {
        info_hash: sample.info_hash,
        layout: Arc::clone(&sample.layout),
        root: root.into(),
        hashes: Arc::clone(&sample.hashes),
        pieces: sample.all_pieces(),
        past_cache: false,
        report: Box::new({
            let told = Arc::clone(&told);
            move |event| match event {
                CheckEvent::Pieces(pieces) => {
                    let mut told = told.lock().unwrap();
                    for (piece, _) in pieces.into_iter().filter(|(_, good)| *good) {
                        assert!(told.set(piece), "told once");
                    }
                }
                CheckEvent::Ended(outcome) => ended.send(outcome).unwrap(),
            }
        }),
    };
    (request, told, outcome)
}

fn check(checker: &Checker, sample: &Sample, root: &Path) -> CheckOutcome {
    let (request, told, outcome) = request(sample, root);
    let handle = checker.submit(request);
    let outcome = outcome.recv_timeout(Duration::from_secs(60)).expect("it ends");
    assert_eq!(*told.lock().unwrap(), outcome.have);
    assert!(!outcome.cancelled);
    let progress = handle.progress();
    assert_eq!(progress.bytes_done, progress.bytes_total);
    assert_eq!(progress.bytes_total, sample.layout.geometry().total_length());
    outcome
}

fn pieces_of(sample: &Sample, file: u32) -> Vec<u32> {
    sample.layout.pieces_of(sample.layout.file(file).unwrap()).collect()
}

fn missing(outcome: &CheckOutcome) -> Vec<u32> {
    (0..outcome.have.piece_count())
        .filter(|index| !outcome.have.iter().any(|i| i == *index))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn just_the_pieces_that_are_good_are_found(
        lengths in prop::collection::vec((0u64..200_000, prop::bool::weighted(0.2)), 1..12),
        damage in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
        piece_length in prop::sample::select(vec![16384u32, 65536]), seed: u64,
    ) {
        prop_assume!(lengths.iter().any(|&(length, pad)| length > 0 && !pad));
        let mut sample = sample(&lengths, piece_length, seed);
        let mut bad = std::collections::BTreeSet::new();
        let offsets: Vec<u64> =
            damage.iter().map(|index| index.index(sample.bytes.len()) as u64).collect();
        for offset in offsets {
            let span = sample.layout.spans(offset, 1).next().unwrap();
            if !span.pad {
                sample.bytes[offset as usize] ^= 0x55;
                bad.insert((offset / u64::from(piece_length)) as u32);
            }
        }
        // The same byte hit twice is whole again.
        let still_bad = |piece: &u32| {
            use sha1::{Digest, Sha1};
            let index = sample.layout.geometry().piece(*piece).unwrap();
            let start = *piece as usize * piece_length as usize;
            let end = (start + piece_length as usize).min(sample.bytes.len());
            Sha1::digest(&sample.bytes[start..end])[..] != sample.hashes.get(index)[..]
        };
        let bad: Vec<u32> = bad.into_iter().filter(still_bad).collect();
        let folder = tempfile::tempdir().unwrap();
        sample.lay_down(folder.path());
        for backend in Backend::ALL {
            let checker = Checker::with_hasher(2, Hasher::new(backend)).unwrap();
            prop_assert_eq!(missing(&check(&checker, &sample, folder.path())), bad.clone());
        }
    }

    #[test]
    fn resume_data_is_read_back(bits: u64, stamps: Vec<(u64, i64)>, is_final: bool, suspects_cache: bool) {
        let files = vec![(1000, false); stamps.len().max(1)];
        let sample = sample(&files, 256, 1);
        let geometry = sample.layout.geometry();
        let mut have = Bitfield::none(geometry.piece_count());
        for piece in geometry.pieces().filter(|piece| bits >> (piece.get() % 64) & 1 != 0) {
            have.set(piece);
        }
        let mut stamps: Vec<FileStamp> = stamps
            .into_iter()
            .map(|(length, modified_ns)| FileStamp { length, modified_ns })
            .collect();
        stamps.resize(files.len() + 1, FileStamp::ABSENT);
        let resume = ResumeData { have, stamps, is_final, suspects_cache };
        let bytes = resume.to_bytes();
        prop_assert_eq!(ResumeData::from_bytes(&bytes, &sample.layout), Ok(resume));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            prop_assert!(ResumeData::from_bytes(&damaged, &sample.layout).is_err());
            prop_assert!(ResumeData::from_bytes(&bytes[..at], &sample.layout).is_err());
        }
    }

    #[test]
    fn whatever_the_bytes_resume_data_is_read_or_refused(bytes: Vec<u8>) {
        let sample = sample(&[(1000, false)], 256, 1);
        let _ = ResumeData::from_bytes(&bytes, &sample.layout);
    }
}

#[test]
fn missing_and_short_files_are_pieces_not_had() {
    let sample = sample(&[(100_000, false), (100_000, false), (100_000, false)], 16384, 1);
    let folder = tempfile::tempdir().unwrap();
    let checker = Checker::new(2).unwrap();
    assert_eq!(check(&checker, &sample, folder.path()).have.count(), 0);
    sample.lay_down(folder.path());
    fs::remove_file(sample.path(folder.path(), 1)).unwrap();
    let last = sample.path(folder.path(), 2);
    fs::OpenOptions::new().write(true).open(&last).unwrap().set_len(99_999).unwrap();
    let outcome = check(&checker, &sample, folder.path());
    let mut expected = pieces_of(&sample, 1);
    expected.push(18);
    assert_eq!(missing(&outcome), expected);
    assert!(outcome.error.is_none());
    assert_eq!(outcome.stamps[1], FileStamp::ABSENT);
    assert_eq!(outcome.stamps[2], FileStamp::read(&last).unwrap());
}

#[test]
fn a_hole_is_not_read_but_pieces_of_real_zeros_are_good() {
    let sample = sample(&[(1 << 20, true), (1 << 20, false)], 1 << 16, 1);
    let folder = tempfile::tempdir().unwrap();
    let path = sample.path(folder.path(), 1);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::File::create(&path).unwrap().set_len(1 << 20).unwrap();
    let checker = Checker::new(1).unwrap();
    assert_eq!(missing(&check(&checker, &sample, folder.path())), (16..32).collect::<Vec<_>>());
}

#[test]
fn bytes_in_the_part_file_are_found() {
    let sample = sample(&[(40_000, false), (40_000, false)], 16384, 1);
    let folder = tempfile::tempdir().unwrap();
    sample.lay_down(folder.path());
    fs::remove_file(sample.path(folder.path(), 1)).unwrap();
    let mut parts = vec![0; 40_000];
    parts.extend(&sample.bytes[40_000..3 * 16384]);
    fs::write(part_file(folder.path(), sample.info_hash), parts).unwrap();
    let outcome = check(&Checker::new(2).unwrap(), &sample, folder.path());
    assert_eq!(missing(&outcome), [3, 4]);
}

#[test]
fn a_folder_in_the_way_of_a_file_is_a_piece_not_had() {
    let sample = sample(&[(1000, false)], 16384, 1);
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(sample.path(folder.path(), 0)).unwrap();
    assert_eq!(check(&Checker::new(1).unwrap(), &sample, folder.path()).have.count(), 0);
}

#[test]
fn what_cannot_be_opened_to_be_synced_ends_the_check() {
    let folder = tempfile::tempdir().unwrap();
    let sample = sample(&[(70_000, false), (70_000, false)], 1 << 16, 1);
    sample.lay_down(folder.path());
    let path = sample.path(folder.path(), 1);
    fs::remove_file(&path).unwrap();
    // Opening it is an error, whoever asks.
    let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let (request, told, outcome) = request(&sample, folder.path());
    let checker = Checker::new(1).unwrap();
    checker.submit(request);
    let outcome = outcome.recv_timeout(Duration::from_secs(60)).expect("it ends");
    assert!(outcome.cancelled && outcome.have.is_none() && told.lock().unwrap().is_none());
    assert!(outcome.error.unwrap().to_string().starts_with(path.to_str().unwrap()));
}

#[test]
fn a_check_can_be_paused_resumed_and_cancelled() {
    let sample = sample(&[(1 << 20, false)], 16384, 1);
    let folder = tempfile::tempdir().unwrap();
    sample.lay_down(folder.path());
    let checker = Checker::new(1).unwrap();
    // Holds the only thread until all have been submitted and paused.
    let (mut first, _, first_outcome) = request(&sample, folder.path());
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(Some(wait));
    let report = first.report;
    first.report = Box::new(move |event| {
        if let Some(wait) = wait.lock().unwrap().take() {
            wait.recv().unwrap();
        }
        report(event);
    });
    checker.submit(first);
    let (paused, _, paused_outcome) = request(&sample, folder.path());
    let (cancelled, _, cancelled_outcome) = request(&sample, folder.path());
    let paused = checker.submit(paused);
    paused.pause();
    let cancelled = checker.submit(cancelled);
    cancelled.cancel();
    go.send(()).unwrap();
    assert!(first_outcome.recv().unwrap().have.is_all());
    assert!(cancelled_outcome.recv().unwrap().cancelled);
    assert_eq!(paused.progress().bytes_done, 0);
    paused.resume();
    assert!(paused_outcome.recv().unwrap().have.is_all());
    let (last, _, last_outcome) = request(&sample, folder.path());
    let last = checker.submit(last);
    last.pause();
    drop(checker);
    assert!(last_outcome.recv().unwrap().cancelled);
}

#[test]
fn only_what_was_asked_for_is_checked() {
    let sample = sample(&[(1 << 20, false)], 16384, 1);
    let folder = tempfile::tempdir().unwrap();
    sample.lay_down(folder.path());
    let checker = Checker::new(2).unwrap();
    for pieces in [vec![], vec![0], vec![63], vec![5, 40, 41]] {
        let (mut request, _, outcome) = request(&sample, folder.path());
        request.pieces = Bitfield::none(64);
        for &piece in &pieces {
            request.pieces.set(sample.layout.geometry().piece(piece).unwrap());
        }
        checker.submit(request);
        let outcome = outcome.recv_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!(outcome.have.iter().collect::<Vec<_>>(), pieces);
    }
}

fn resume(sample: &Sample, root: &Path, have: Bitfield, is_final: bool) -> ResumeData {
    let mut stamps: Vec<FileStamp> = (0..sample.layout.file_count())
        .map(|file| FileStamp::read(&sample.path(root, file)).unwrap())
        .collect();
    stamps.push(FileStamp::read(&part_file(root, sample.info_hash)).unwrap());
    ResumeData { have, stamps, is_final, suspects_cache: false }
}

fn touch(path: &Path) {
    let later = std::time::SystemTime::now() + Duration::from_secs(10);
    fs::OpenOptions::new().append(true).open(path).unwrap().set_modified(later).unwrap();
}

#[test]
fn only_pieces_in_files_that_changed_are_doubted() {
    let sample = sample(&[(100_000, false), (100_000, false), (100_000, false)], 16384, 1);
    let folder = tempfile::tempdir().unwrap();
    sample.lay_down(folder.path());
    let parts = part_file(folder.path(), sample.info_hash);
    let compare = |resume: &ResumeData| {
        let report = check_stamps(folder.path(), &parts, &sample.layout, resume).unwrap();
        let changed: Vec<u32> = report.changed.iter().map(|file| FileIndex::get(*file)).collect();
        (changed, report.doubtful.iter().collect::<Vec<u32>>(), report.trusted.count())
    };
    let all = resume(&sample, folder.path(), sample.all_pieces(), false);
    assert_eq!(compare(&all), (vec![], vec![], 19));
    touch(&sample.path(folder.path(), 1));
    let in_file = pieces_of(&sample, 1);
    assert_eq!(compare(&all), (vec![1], in_file.clone(), 19 - in_file.len() as u32));

    // While a file is being written its age says nothing, unless the data is final.
    let mut some = sample.all_pieces();
    some.clear(sample.layout.geometry().piece(9).unwrap());
    let unfinished = resume(&sample, folder.path(), some.clone(), false);
    touch(&sample.path(folder.path(), 1));
    assert_eq!(compare(&unfinished), (vec![], vec![], 18));
    let last = ResumeData { is_final: true, ..unfinished.clone() };
    fs::write(sample.path(folder.path(), 1), &sample.bytes[100_000..200_000]).unwrap();
    assert_eq!(compare(&last).0, [1]);
    fs::write(sample.path(folder.path(), 1), &sample.bytes[100_000..150_000]).unwrap();
    assert_eq!(compare(&unfinished).0, [1]);
    fs::remove_file(sample.path(folder.path(), 0)).unwrap();
    assert_eq!(compare(&unfinished).0, [0, 1]);
}

#[test]
fn what_a_check_left_unknown_is_checked_whatever_it_looks_like() {
    let sample = sample(&[(100_000, false), (100_000, false), (100_000, false)], 16384, 1);
    let folder = tempfile::tempdir().unwrap();
    sample.lay_down(folder.path());
    fs::remove_file(sample.path(folder.path(), 2)).unwrap();
    let parts = part_file(folder.path(), sample.info_hash);
    fs::write(&parts, b"parts").unwrap();
    let stamps = resume(&sample, folder.path(), sample.all_pieces(), true).stamps;
    let unknown = ResumeData::unknown(&sample.layout, &stamps, None);
    assert!(unknown.suspects_cache);
    assert_eq!(unknown.stamps[..2], [FileStamp::DUBIOUS; 2], "nothing was known of it before");
    let again = ResumeData::unknown(&sample.layout, &stamps, Some(&unknown));
    assert_eq!(again.stamps, unknown.stamps);
    let before = resume(&sample, folder.path(), sample.all_pieces(), true);
    let once_known = ResumeData::unknown(&sample.layout, &stamps, Some(&before));
    assert_eq!(once_known.stamps[..2], [FileStamp::UNKNOWN; 2]);
    let unknown = ResumeData::from_bytes(&unknown.to_bytes(), &sample.layout).unwrap();
    let report = check_stamps(folder.path(), &parts, &sample.layout, &unknown).unwrap();
    let missing = pieces_of(&sample, 2);
    let rest: Vec<u32> = (0..19).filter(|piece| !missing.contains(piece)).collect();
    assert!(report.trusted.is_none());
    assert_eq!(report.doubtful.iter().collect::<Vec<_>>(), rest);
}

#[test]
fn resume_data_of_another_torrent_is_refused() {
    let one = sample(&[(1000, false)], 256, 1);
    let other = sample(&[(500, false), (500, false)], 256, 1);
    let folder = tempfile::tempdir().unwrap();
    let bytes = resume(&one, folder.path(), one.all_pieces(), true).to_bytes();
    assert_eq!(ResumeData::from_bytes(&bytes, &other.layout), Err(ResumeError::OtherTorrent));
}

#[test]
fn removed_data_leaves_what_is_not_ours() {
    let sample = sample(&[(100, false), (100, false), (100, false)], 256, 1);
    let folder = tempfile::tempdir().unwrap();
    sample.lay_down(folder.path());
    fs::write(part_file(folder.path(), sample.info_hash), b"parts").unwrap();
    fs::write(folder.path().join("data/folder1/mine"), b"mine").unwrap();
    remove_data(folder.path(), &sample.layout, sample.info_hash).unwrap();
    let left: Vec<_> = fs::read_dir(folder.path().join("data")).unwrap().flatten().collect();
    assert_eq!(left.len(), 1);
    assert!(folder.path().join("data/folder1/mine").exists());
    fs::remove_file(folder.path().join("data/folder1/mine")).unwrap();
    remove_data(folder.path(), &sample.layout, sample.info_hash).unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
