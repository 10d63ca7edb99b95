//! Taking a torrent's files to other folders and names.
#![allow(clippy::unwrap_used)]

use machine::Mount;
use metainfo::{
    InfoHash, Layout,
    create::{NewFile, Plan, Version},
};
use ringseed_storage::{Place, RelocateError, Relocation, RelocationProgress, part_file};
use std::{
    fs,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
};

const HASH: InfoHash = InfoHash([7; 20]);

fn layout(lengths: &[u64]) -> Arc<Layout> {
    let files: Vec<NewFile> = lengths
        .iter()
        .enumerate()
        .map(|(number, &length)| NewFile {
            path: vec![format!("folder {}", number % 2), format!("file {number}")],
            length,
            attributes: Default::default(),
        })
        .collect();
    Arc::new(Plan::new("top", &files, Some(16384), Version::V1).unwrap().layout().clone())
}

fn bytes(number: usize, length: u64) -> Vec<u8> {
    (0..length).map(|at| (at * 31 + at / 256 + number as u64) as u8).collect()
}

fn fill(place: &Place) {
    for (index, file) in place.layout.files() {
        let path = place.root.join(file.path().as_path());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes(index.as_usize(), file.length())).unwrap();
    }
}

fn is_whole(place: &Place) -> bool {
    place.layout.files().all(|(index, file)| {
        let read = fs::read(place.root.join(file.path().as_path()));
        read.is_ok_and(|read| read == bytes(index.as_usize(), file.length()))
    })
}

fn stamps(place: &Place) -> Vec<(u64, i64, i64)> {
    let of = |path: PathBuf| {
        let meta = fs::metadata(path).unwrap();
        (meta.len(), meta.mtime(), meta.mtime_nsec())
    };
    place.layout.files().map(|(_, file)| of(place.root.join(file.path().as_path()))).collect()
}

/// Everything below a folder.
fn names(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        names.push(path.file_name().unwrap().to_string_lossy().into_owned());
        names.extend(names_below(&path));
    }
    names.sort();
    names
}

fn names_below(path: &Path) -> Vec<String> {
    if path.is_dir() { names(path) } else { Vec::new() }
}

fn place(root: &Path, layout: &Arc<Layout>) -> Place {
    Place { root: root.into(), layout: Arc::clone(layout) }
}

fn relocation(from: &Place, to: &Place) -> Relocation {
    Relocation {
        info_hash: HASH,
        from: from.clone(),
        to: to.clone(),
        resumed: false,
        progress: Arc::new(RelocationProgress::default()),
    }
}

#[test]
fn files_move_on_one_file_system_without_being_copied() {
    let home = tempfile::tempdir().unwrap();
    let layout = layout(&[100_000, 0, 70_000]);
    let from = place(&home.path().join("old"), &layout);
    let to = place(&home.path().join("new/deeper"), &layout);
    fill(&from);
    fs::write(part_file(&from.root, HASH), b"parts").unwrap();
    fs::write(from.root.join("top/folder 0/other"), b"not ours").unwrap();
    let before = stamps(&from);
    let inode = |place: &Place| fs::metadata(place.root.join("top/folder 0/file 0")).unwrap().ino();
    let old = inode(&from);
    let job = relocation(&from, &to);
    job.prepare().unwrap();
    assert!(is_whole(&from) && is_whole(&to), "both places are whole until the old one is cleared");
    job.finish().unwrap();
    assert!(is_whole(&to));
    assert_eq!((inode(&to), stamps(&to)), (old, before));
    assert_eq!(fs::read(part_file(&to.root, HASH)).unwrap(), b"parts");
    assert_eq!(names(&from.root), ["folder 0", "other", "top"], "what is not the torrent's stays");
    assert_eq!(job.progress.bytes(), (170_005, 170_005));
}

#[test]
fn files_move_to_another_file_system_with_holes_and_times() {
    let Some(mount) = Mount::small("64m") else { return };
    let home = tempfile::tempdir().unwrap();
    let layout = layout(&[100_000, 30 << 20, 0]);
    let (from, to) = (place(home.path(), &layout), place(&mount.folder().join("new"), &layout));
    fill(&from);
    // Most of the large file has not been downloaded yet.
    let large = from.root.join("top/folder 1/file 1");
    let file = fs::File::create(&large).unwrap();
    file.set_len(30 << 20).unwrap();
    file.write_all_at(b"here", 20 << 20).unwrap();
    let before = stamps(&from);
    let job = relocation(&from, &to);
    job.prepare().unwrap();
    job.finish().unwrap();
    assert_eq!(stamps(&to), before);
    let moved = to.root.join("top/folder 1/file 1");
    let mut expected = vec![0; 30 << 20];
    expected[20 << 20..(20 << 20) + 4].copy_from_slice(b"here");
    assert!(fs::read(&moved).unwrap() == expected);
    assert!(fs::metadata(&moved).unwrap().blocks() * 512 < 2 << 20, "the holes are still holes");
    assert_eq!(names(home.path()), [] as [&str; 0]);
    let (done, total) = job.progress.bytes();
    assert_eq!(done, total);
}

#[test]
fn a_full_disk_changes_nothing() {
    let Some(mount) = Mount::small("1m") else { return };
    let home = tempfile::tempdir().unwrap();
    let layout = layout(&[600_000, 600_000, 600_000]);
    let (from, to) = (place(home.path(), &layout), place(mount.folder(), &layout));
    fill(&from);
    let error = relocation(&from, &to).prepare().unwrap_err();
    assert!(
        matches!(error, RelocateError::NoRoom { needed, .. } if needed >= 1_800_000),
        "{error}"
    );
    // Room that vanishes while it copies: the target says 1 MiB until then.
    let small = Arc::new(
        Plan::new(
            "top",
            &[600_000, 600_000].map(|length| NewFile {
                path: vec![format!("f{length}"), fastrand::u64(..).to_string()],
                length,
                attributes: Default::default(),
            }),
            Some(16384),
            Version::V1,
        )
        .unwrap()
        .layout()
        .clone(),
    );
    let from = place(&home.path().join("sparse"), &small);
    fill(&from);
    for (_, file) in small.files() {
        // Data that takes no blocks yet as far as the look beforehand can tell.
        let path = from.root.join(file.path().as_path());
        let handle = fs::File::create(&path).unwrap();
        handle.write_all_at(&vec![1; 600_000], 0).unwrap();
    }
    let filler = mount.folder().join("filler");
    fs::write(&filler, vec![1; 200_000]).unwrap();
    let error = relocation(&from, &place(mount.folder(), &small)).prepare().unwrap_err();
    assert!(error.to_string().contains("space"), "{error}");
    assert_eq!(names(mount.folder()), ["filler"], "nothing is left behind");
    assert!(small.files().all(|(_, file)| from.root.join(file.path().as_path()).exists()));
}

#[test]
fn another_file_in_the_way_stops_it_and_stays() {
    for mount in [None, Mount::small("8m")] {
        let (home, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir_in("/tmp").unwrap());
        let layout = layout(&[50_000, 60_000, 70_000]);
        let from = place(home.path(), &layout);
        let to = place(mount.as_ref().map_or(other.path(), Mount::folder), &layout);
        fill(&from);
        // The first is the same file already, the last is another one of the same length.
        fs::create_dir_all(to.root.join("top/folder 0")).unwrap();
        fs::write(to.root.join("top/folder 0/file 0"), bytes(0, 50_000)).unwrap();
        fs::write(to.root.join("top/folder 0/file 2"), vec![9; 70_000]).unwrap();
        let error = relocation(&from, &to).prepare().unwrap_err();
        assert!(
            matches!(&error, RelocateError::Occupied(path) if path.ends_with("file 2")),
            "{error}"
        );
        assert!(is_whole(&from));
        assert_eq!(names(&to.root), ["file 0", "file 2", "folder 0", "top"]);
        assert_eq!(fs::read(to.root.join("top/folder 0/file 2")).unwrap(), vec![9; 70_000]);
        // Without it the rest goes, past the file that is there.
        fs::remove_file(to.root.join("top/folder 0/file 2")).unwrap();
        let job = relocation(&from, &to);
        job.prepare().unwrap();
        job.finish().unwrap();
        assert!(is_whole(&to) && names(&from.root).is_empty());
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_one_clear_error() {
    let home = tempfile::tempdir().unwrap();
    let layout = layout(&[5000, 6000]);
    let from = place(&home.path().join("old"), &layout);
    fill(&from);
    fs::write(home.path().join("file"), b"").unwrap();
    let error = relocation(&from, &place(&home.path().join("file/new"), &layout)).prepare();
    assert!(error.unwrap_err().to_string().contains("file"), "names what is in the way");
    assert!(is_whole(&from));
}

#[test]
fn two_ways_to_one_folder_lose_nothing() {
    let home = tempfile::tempdir().unwrap();
    let layout = layout(&[5000, 6000]);
    let from = place(&home.path().join("old"), &layout);
    fill(&from);
    // Other programs have names for the same file.
    fs::hard_link(from.root.join("top/folder 0/file 0"), home.path().join("linked")).unwrap();
    std::os::unix::fs::symlink(&from.root, home.path().join("alias")).unwrap();
    let job = relocation(&from, &place(&home.path().join("alias"), &layout));
    job.prepare().unwrap();
    job.finish().unwrap();
    assert!(is_whole(&from));
}

#[test]
fn names_change_also_only_in_case_and_in_a_ring() {
    let home = tempfile::tempdir().unwrap();
    let old = layout(&[5000, 6000]);
    let from = place(home.path(), &old);
    fill(&from);
    let new = old.rename("top/folder 0/file 0", "FILE 0").unwrap().rename("top", "other").unwrap();
    let to = place(home.path(), &Arc::new(new));
    let job = relocation(&from, &to);
    job.prepare().unwrap();
    job.finish().unwrap();
    assert!(is_whole(&to));
    assert!(!home.path().join("top").exists());
    let again = Arc::new(to.layout.rename("other/folder 0/FILE 0", "File 0").unwrap());
    let job = relocation(&to, &place(home.path(), &again));
    job.prepare().unwrap();
    job.finish().unwrap();
    assert!(is_whole(&place(home.path(), &again)));
}

/// A crash at any moment, as far as it shows: broken off with everything left as it is, again and
/// again, and resumed each time.
#[test]
fn whenever_it_breaks_off_one_place_is_whole_and_it_can_be_resumed() {
    let Some(mount) = Mount::small("256m") else { return };
    let home = tempfile::tempdir().unwrap();
    // So much that it is not over before it is told to break off.
    let layout = layout(&[60 << 20, 60 << 20, 1 << 20, 60 << 20]);
    let (from, to) = (place(home.path(), &layout), place(mount.folder(), &layout));
    fill(&from);
    let mut breaks = 0;
    let mut wait = 0;
    loop {
        let job = Relocation { resumed: breaks > 0, ..relocation(&from, &to) };
        let progress = Arc::clone(&job.progress);
        let run = std::thread::spawn(move || job.prepare());
        let give_up = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while !run.is_finished() && progress.bytes().0 < wait && std::time::Instant::now() < give_up
        {
            std::thread::yield_now();
        }
        progress.break_off();
        match run.join().unwrap() {
            Ok(()) => break,
            Err(RelocateError::Cancelled) => assert!(is_whole(&from)),
            Err(error) => panic!("{error}"),
        }
        breaks += 1;
        wait += 27 << 20;
    }
    assert!(breaks > 0);
    assert!(is_whole(&from) && is_whole(&to));
    assert!(names(&to.root).iter().all(|name| !name.ends_with("moving")));
    relocation(&from, &to).finish().unwrap();
    assert!(is_whole(&to) && names(&from.root).is_empty());
    // Once more, after a crash before that was written down.
    relocation(&from, &to).finish().unwrap();
    assert!(is_whole(&to));
}

#[test]
fn turning_back_leaves_nothing_at_the_new_place() {
    let Some(mount) = Mount::small("512m") else { return };
    let home = tempfile::tempdir().unwrap();
    // So much that it is not over before it is told to turn back.
    let layout = layout(&[200 << 20, 200 << 20]);
    let (from, to) = (place(home.path(), &layout), place(&mount.folder().join("a/b"), &layout));
    fill(&from);
    let job = relocation(&from, &to);
    let progress = Arc::clone(&job.progress);
    let run = std::thread::spawn(move || job.prepare());
    while !run.is_finished() && progress.bytes().0 == 0 {
        std::thread::yield_now();
    }
    progress.turn_back();
    match run.join().unwrap() {
        Err(RelocateError::Cancelled) => assert!(names(mount.folder()).is_empty()),
        other => panic!("{other:?}"),
    }
    assert!(is_whole(&from));
}
