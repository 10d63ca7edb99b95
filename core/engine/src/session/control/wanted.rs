//! Which files of a torrent are wanted, and how much of them is there.

use crate::status::{Activity, Priority, Torrent};

/// Sets the byte counts that follow from the pieces and the files' priorities.
pub(super) fn measure(torrent: &mut Torrent) {
    let layout = &torrent.meta.layout;
    let geometry = layout.geometry();
    if torrent.have.is_all() {
        (torrent.have_bytes, torrent.left) = (geometry.total_length(), 0);
        return;
    }
    let length =
        |index: u32| geometry.piece(index).map_or(0, |piece| u64::from(geometry.length_of(piece)));
    torrent.have_bytes = torrent.have.iter().map(length).sum();
    torrent.left = match torrent.file_priorities.is_empty() {
        true => geometry.total_length() - torrent.have_bytes,
        false => crate::shard::piece_priorities(layout, &torrent.file_priorities)
            .iter()
            .zip(geometry.pieces())
            .filter(|&(&priority, piece)| priority != Priority::Skip && !torrent.have.has(piece))
            .map(|(_, piece)| u64::from(geometry.length_of(piece)))
            .sum(),
    };
}

pub(super) fn running_activity(torrent: &Torrent) -> Activity {
    if torrent.is_done() { Activity::Seeding } else { Activity::Downloading }
}

/// Priorities of all files with some of them changed; empty if all are normal. The number of a file
/// that does not exist is the error.
pub(super) fn merge_priorities(
    old: &[Priority],
    changes: &[(u32, Priority)],
    files: u32,
) -> Result<Vec<Priority>, u32> {
    let mut all = old.to_vec();
    all.resize(files as usize, Priority::Normal);
    for &(file, priority) in changes {
        *all.get_mut(file as usize).ok_or(file)? = priority;
    }
    if all.iter().all(|&priority| priority == Priority::Normal) {
        all.clear();
    }
    Ok(all)
}

pub(super) fn priority_number(priority: Priority) -> i8 {
    match priority {
        Priority::Skip => -2,
        Priority::Low => -1,
        Priority::Normal => 0,
        Priority::High => 1,
    }
}

pub(super) fn priority_of(number: i8) -> Priority {
    match number {
        ..=-2 => Priority::Skip,
        -1 => Priority::Low,
        0 => Priority::Normal,
        1.. => Priority::High,
    }
}
