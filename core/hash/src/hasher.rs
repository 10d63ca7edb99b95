//! The hasher: many inputs in, their states or digests out.

use crate::{
    backend::Backend,
    lanes::{self, Kernels},
    schedule::{self, Feed},
    state::{Sha1State, State},
};

/// One run of bytes to add to one state.
pub struct Job<'a> {
    /// What the bytes are added to.
    pub state: &'a mut Sha1State,
    /// The bytes; any number.
    pub data: &'a [u8],
}

/// Computes many hashes at once.
///
/// Holds no input and no memory of its own: one per thread or one for all is the same. Inputs of
/// any lengths share the lanes, but the last ones to end have fewer to share with; so where
/// lengths differ much, the longest belong first.
#[derive(Clone, Copy)]
pub struct Hasher {
    backend: Backend,
    sha1: Kernels<5>,
    sha256: Kernels<8>,
}

impl Hasher {
    /// A hasher on this backend, or on [`Backend::Single`] where the CPU lacks it.
    pub fn new(backend: Backend) -> Hasher {
        let backend = if backend.is_available() { backend } else { Backend::Single };
        Hasher { backend, sha1: lanes::sha1(backend), sha256: lanes::sha256(backend) }
    }

    /// A hasher on the fastest backend that the CPU has.
    pub fn detect() -> Hasher {
        Hasher::new(Backend::detect())
    }

    /// What it runs on.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Adds every job's data to its state.
    ///
    /// A lane whose job ends takes the next one. At least [`Backend::lanes`] jobs at a time keep
    /// all lanes busy; of fewer, some may have to wait for others where that is faster.
    pub fn update(&self, jobs: &mut [Job<'_>]) {
        let feeds = jobs.iter_mut().map(|job| Feed::update(&mut job.state.0, job.data));
        schedule::run(&self.sha1, feeds);
    }

    /// The digests of states that have got all their bytes, each written to `out` at the state's
    /// place.
    ///
    /// # Panics
    /// If there are not as many places as states.
    pub fn finish_many(&self, states: &[Sha1State], out: &mut [[u8; 20]]) {
        assert_eq!(states.len(), out.len(), "a place for each digest");
        let pairs = states.iter().zip(out);
        schedule::run(
            &self.sha1,
            pairs.map(|(state, into)| Feed::digest(state.0.clone(), &[], into)),
        );
    }

    /// The SHA-1 of each input, written to `out` at the input's place.
    ///
    /// # Panics
    /// If there are not as many places as inputs.
    pub fn digest_many(&self, inputs: &[&[u8]], out: &mut [[u8; 20]]) {
        assert_eq!(inputs.len(), out.len(), "a place for each digest");
        let pairs = inputs.iter().zip(out);
        schedule::run(&self.sha1, pairs.map(|(data, into)| Feed::digest(State::SHA1, data, into)));
    }

    /// The SHA-256 of each input, written to `out` at the input's place: the leaves of a file's
    /// merkle tree from its 16 KiB blocks, and their parents from pairs of hashes (BEP 52).
    ///
    /// # Panics
    /// If there are not as many places as inputs.
    pub fn sha256_many(&self, inputs: &[&[u8]], out: &mut [[u8; 32]]) {
        assert_eq!(inputs.len(), out.len(), "a place for each digest");
        let pairs = inputs.iter().zip(out);
        schedule::run(
            &self.sha256,
            pairs.map(|(data, into)| Feed::digest(State::SHA256, data, into)),
        );
    }
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hasher({})", self.backend)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha1_has_as_many_lanes_as_the_backend_says() {
        for backend in Backend::ALL.into_iter().filter(|backend| backend.is_available()) {
            assert_eq!(Hasher::new(backend).sha1.lanes(), backend.lanes(), "{backend}");
        }
    }
}
