//! How the descriptors that a process may have are shared out, so that none of those who want them
//! takes them all: peers in their thousands, files of thousands of torrents, and the control side,
//! through which an operator must still get in.

use crate::limits;

/// Who may have how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptors {
    /// Open files of each shard.
    pub(crate) files: usize,
    /// Connections to peers of all shards together.
    pub(crate) peers: usize,
}

impl Descriptors {
    /// Shares out what this process may have.
    pub(crate) fn of_process(shards: usize) -> Descriptors {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        Descriptors::share(limit.map_or(usize::MAX, |limit| limit as usize), shards)
    }

    /// A part is kept for the control side and for work under way; of the rest a third is for files,
    /// which are opened again when they were closed to make room, and what is left for peers.
    fn share(limit: usize, shards: usize) -> Descriptors {
        let shards = shards.max(1);
        let kept = (limit / 4).min(limits::DESCRIPTORS_KEPT);
        let rest = limit.saturating_sub(kept);
        let files = (rest / 3 / shards).clamp(limits::OPEN_FILES.0, limits::OPEN_FILES.1);
        Descriptors { files, peers: rest.saturating_sub(files * shards).max(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_given_away_is_there_and_something_is_kept() {
        for shards in [1, 2, 16] {
            for limit in [256, 1024, 4096, 20_000, 1 << 20] {
                let shared = Descriptors::share(limit, shards);
                let given = shared.files * shards + shared.peers;
                let kept = (limit / 4).min(limits::DESCRIPTORS_KEPT);
                assert!(given + kept <= limit.max(24 * shards), "{limit}, {shards}: {shared:?}");
                assert!(shared.files >= 16 && shared.peers >= 1);
            }
        }
        assert_eq!(Descriptors::share(256, 2), Descriptors { files: 32, peers: 128 });
    }

    #[test]
    fn without_a_limit_files_have_their_own() {
        assert_eq!(Descriptors::share(usize::MAX, 2).files, 65_536);
    }
}
