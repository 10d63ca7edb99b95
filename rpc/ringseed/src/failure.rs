//! Exit codes: what scripts go by.

use api::native::Code;
use client::Error;

/// What the program ended with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// Anything else.
    Failure = 1,
    /// The command line makes no sense; clap's own number.
    Usage = 2,
    /// Nobody is there, or nobody answers.
    Unreachable = 3,
    /// Not known, not allowed, or too often.
    Refused = 4,
    /// No such torrent, file, group or setting.
    Missing = 5,
}

/// A failure whose exit code is known where it happens.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct Failed {
    exit: Exit,
    text: String,
}

impl Failed {
    /// Something that is named does not exist.
    pub fn missing(text: impl Into<String>) -> anyhow::Error {
        Failed { exit: Exit::Missing, text: text.into() }.into()
    }

    /// The command line makes no sense.
    pub fn usage(text: impl Into<String>) -> anyhow::Error {
        Failed { exit: Exit::Usage, text: text.into() }.into()
    }
}

/// The exit code of an error.
pub fn exit(error: &anyhow::Error) -> Exit {
    if let Some(failed) = error.downcast_ref::<Failed>() {
        return failed.exit;
    }
    match error.downcast_ref::<Error>() {
        Some(Error::Target(_) | Error::Login) => Exit::Usage,
        Some(Error::Unreachable { .. } | Error::TimedOut { .. } | Error::Busy { .. }) => {
            Exit::Unreachable
        }
        Some(Error::Unauthorised { .. } | Error::NotLetIn { .. } | Error::TooMany { .. }) => {
            Exit::Refused
        }
        Some(Error::Refused(failure)) => match failure.kind() {
            Some(Code::Forbidden | Code::TooManyRequests) => Exit::Refused,
            Some(Code::NoSuchTorrent | Code::NoSuchFile | Code::NoSuchGroup) => Exit::Missing,
            _ => Exit::Failure,
        },
        _ => Exit::Failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::native::Failure;

    #[test]
    fn an_error_keeps_its_code_under_what_is_said_of_it() {
        let refused = |code| Error::Refused(Failure::new(code, "x"));
        for (error, code) in [
            (Error::TimedOut { at: "x".into() }, Exit::Unreachable),
            (Error::Busy { at: "x".into() }, Exit::Unreachable),
            (Error::Unauthorised { at: "x".into() }, Exit::Refused),
            (refused(Code::Forbidden), Exit::Refused),
            (refused(Code::NoSuchTorrent), Exit::Missing),
            (refused(Code::InvalidTorrent), Exit::Failure),
        ] {
            assert_eq!(exit(&anyhow::Error::new(error).context("doing it")), code);
        }
        assert_eq!(exit(&anyhow::anyhow!("x")), Exit::Failure);
        assert_eq!(exit(&Failed::missing("x").context("y")), Exit::Missing);
    }
}
