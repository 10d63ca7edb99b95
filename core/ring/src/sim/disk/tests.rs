use super::*;

fn disk() -> (Disk, u64) {
    let mut disk = Disk { capacity: 1 << 20, ..Disk::default() };
    disk.make_folder(Path::new("/d")).unwrap();
    let inode = disk.open(Path::new("/d/f"), OpenOptions::WRITE, Duration::ZERO).unwrap();
    (disk, inode)
}

fn sync_names(disk: &mut Disk) {
    let folder = disk.open(Path::new("/d"), OpenOptions::READ, Duration::ZERO).unwrap();
    sync(disk, folder);
}

fn sync(disk: &mut Disk, inode: u64) {
    let syncing = disk.begin_sync(inode);
    disk.end_sync(inode, syncing, true).unwrap();
}

#[test]
fn what_was_synced_survives_a_loss_of_power_and_the_rest_may_not() {
    let mut lost = 0;
    for seed in 0..50 {
        let (mut disk, inode) = disk();
        disk.write(inode, 0, &[1; 5000], Duration::ZERO).unwrap();
        sync_names(&mut disk);
        sync(&mut disk, inode);
        disk.write(inode, 5000, &[2; 5000], Duration::ZERO).unwrap();
        disk.lose_power(&mut fastrand::Rng::with_seed(seed));
        let content = disk.content(Path::new("/d/f")).unwrap();
        assert!(content[..5000].iter().all(|&byte| byte == 1));
        lost += usize::from(content.len() < 10_000 || content[5000..].contains(&0));
    }
    assert!((1..50).contains(&lost), "{lost}");
}

#[test]
fn a_file_whose_name_was_never_synced_may_vanish() {
    let mut there = 0;
    for seed in 0..50 {
        let (mut disk, inode) = disk();
        disk.write(inode, 0, &[1; 10], Duration::ZERO).unwrap();
        sync(&mut disk, inode);
        disk.lose_power(&mut fastrand::Rng::with_seed(seed));
        there += usize::from(disk.content(Path::new("/d/f")).is_some());
    }
    assert!((1..50).contains(&there), "{there}");
}

#[test]
fn a_sync_that_failed_keeps_nothing_and_the_next_one_succeeds() {
    let (mut disk, inode) = disk();
    sync(&mut disk, inode);
    disk.write(inode, 0, &[1; 10], Duration::ZERO).unwrap();
    let syncing = disk.begin_sync(inode);
    assert!(disk.end_sync(inode, syncing, false).is_err());
    sync(&mut disk, inode);
    assert_eq!(disk.content(Path::new("/d/f")).unwrap(), [1; 10]);
    disk.drop_clean_pages();
    assert_eq!(disk.content(Path::new("/d/f")).unwrap(), [0; 10]);
}

#[test]
fn a_full_disk_takes_what_fits() {
    let (mut disk, inode) = disk();
    disk.capacity = 2 * PAGE;
    let error = disk.write(inode, 0, &[1; 3 * PAGE as usize], Duration::ZERO).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(disk.content(Path::new("/d/f")).unwrap().len() as u64, 2 * PAGE);
}
