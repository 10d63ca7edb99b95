//! Why a call did not do what was asked.

use api::native::Failure;

/// An error, with what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The daemon's address cannot be read.
    #[error(
        "'{0}' is no address of a daemon: it looks like http://127.0.0.1:9091 or unix:/path/to/control.sock"
    )]
    Target(String),
    /// A user name, password or token that cannot be sent.
    #[error("the user name, password or token has characters that cannot be sent")]
    Login,
    /// The client cannot be set up.
    #[error("cannot set up the connection: {0}")]
    Setup(String),
    /// Nobody is there.
    #[error("no daemon at {at} ({reason}): {}", remedy(*is_socket))]
    Unreachable {
        /// Where.
        at: String,
        /// What the system said.
        reason: String,
        /// Whether it is a Unix socket.
        is_socket: bool,
    },
    /// No answer in time.
    #[error("the daemon at {at} does not answer")]
    TimedOut {
        /// Where.
        at: String,
    },
    /// It wants to know who asks.
    #[error(
        "the daemon at {at} wants a user name and password, or a token: give --user or --token, or set RINGSEED_TOKEN"
    )]
    Unauthorised {
        /// Where.
        at: String,
    },
    /// It does not let this client in, whoever asks.
    #[error(
        "the daemon at {at} does not let us in ({status}): use its IP address or localhost, or see its list of allowed addresses"
    )]
    NotLetIn {
        /// Where.
        at: String,
        /// The HTTP status.
        status: u16,
    },
    /// Too many requests in a short time.
    #[error(
        "the daemon at {at} has had too many requests or failed log-ins from here: wait and try again"
    )]
    TooMany {
        /// Where.
        at: String,
    },
    /// It lives, and cannot answer yet, or not all at once.
    #[error("the daemon at {at} is starting, or has too much to do: try again in a moment")]
    Busy {
        /// Where.
        at: String,
    },
    /// Not what a daemon of this version says.
    #[error("{at} does not answer like Ringseed: {what}")]
    Strange {
        /// Where.
        at: String,
        /// What it said.
        what: String,
    },
    /// The daemon understood, and refused.
    #[error("{0}")]
    Refused(Failure),
    /// A subscription's messages came faster than they were read; subscribe anew.
    #[error("messages came faster than they were read")]
    Behind,
}

fn remedy(is_socket: bool) -> &'static str {
    match is_socket {
        true => {
            "start one with `ringseed daemon`, name its folder with --config-dir, or its URL with \
             --url"
        }
        false => "start one with `ringseed daemon`, or name another with --url",
    }
}
