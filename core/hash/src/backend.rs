//! Which instructions compute, and which of them this CPU has.

use crate::lanes::SIDE_BY_SIDE;
use std::{fmt, str::FromStr};

/// Which implementation computes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Backend {
    /// 16 lanes of AVX-512, or 8 while few are busy; SHA-NI where that is faster.
    Avx512,
    /// 8 lanes of AVX2; SHA-NI where that is faster.
    Avx2,
    /// No vectors: SHA-NI where the CPU has it, with 4 inputs side by side (SHA-256: one after the
    /// other); else one after the other in scalar code.
    Single,
}

/// The text names no backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a hash backend is one of avx512, avx2, single")]
pub struct UnknownBackend;

impl Backend {
    /// Every backend, the fastest first.
    pub const ALL: [Backend; 3] = [Backend::Avx512, Backend::Avx2, Backend::Single];

    /// The fastest that this CPU has for many inputs at once.
    pub fn detect() -> Backend {
        Backend::ALL.into_iter().find(|backend| backend.is_available()).unwrap_or(Backend::Single)
    }

    /// Whether this CPU, and the operating system on it, can run it.
    pub fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Backend::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
            }
            #[cfg(target_arch = "x86_64")]
            Backend::Avx2 => is_x86_feature_detected!("avx2"),
            #[cfg(not(target_arch = "x86_64"))]
            Backend::Avx512 | Backend::Avx2 => false,
            Backend::Single => true,
        }
    }

    /// How many inputs it works on at the same time: hand it at least so many jobs where you can.
    pub fn lanes(self) -> usize {
        match self {
            Backend::Avx512 => 16,
            Backend::Avx2 => 8,
            Backend::Single if has_sha_ni() => SIDE_BY_SIDE,
            Backend::Single => 1,
        }
    }
}

/// Whether the CPU has instructions for the hashes themselves, which few lanes of a vector cannot
/// beat.
#[cfg(target_arch = "x86_64")]
pub(crate) fn has_sha_ni() -> bool {
    is_x86_feature_detected!("sha")
        && is_x86_feature_detected!("ssse3")
        && is_x86_feature_detected!("sse4.1")
}

/// Other architectures' SHA instructions are used for one input at a time.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn has_sha_ni() -> bool {
    false
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Backend::Avx512 => "avx512",
            Backend::Avx2 => "avx2",
            Backend::Single => "single",
        })
    }
}

impl FromStr for Backend {
    type Err = UnknownBackend;

    fn from_str(text: &str) -> Result<Backend, UnknownBackend> {
        match text {
            "avx512" => Ok(Backend::Avx512),
            "avx2" => Ok(Backend::Avx2),
            "single" => Ok(Backend::Single),
            _ => Err(UnknownBackend),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_detected_can_run() {
        assert!(Backend::detect().is_available());
    }

    #[test]
    fn a_backend_is_read_back_from_its_name() {
        for backend in Backend::ALL {
            assert_eq!(backend.to_string().parse(), Ok(backend));
        }
        assert_eq!("AVX".parse::<Backend>(), Err(UnknownBackend));
    }
}
