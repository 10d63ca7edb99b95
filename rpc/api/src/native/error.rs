//! Why a native call fails.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

macro_rules! codes {
    ($( $(#[doc = $doc:literal])+ $name:ident = $number:literal; )*) => {
        /// The kind of an error, by its number in `error.code`.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Code { $( $(#[doc = $doc])+ $name = $number, )* }

        impl Code {
            /// All of them.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];

            /// The code with this number.
            pub fn of(number: i32) -> Option<Code> {
                match number { $( $number => Some(Code::$name), )* _ => None }
            }

            /// What it means.
            pub fn doc(self) -> &'static str {
                match self { $( Code::$name => concat!($($doc),+).trim_ascii(), )* }
            }
        }
    };
}

codes! {
    /// The request is not JSON.
    Parse = -32700;
    /// The request is not one of JSON-RPC 2.0.
    InvalidRequest = -32600;
    /// There is no such method.
    MethodNotFound = -32601;
    /// The parameters cannot be used; nothing has changed.
    InvalidParams = -32602;
    /// The server's own fault.
    Internal = -32603;
    /// No torrent has this id or info-hash; nothing has changed.
    NoSuchTorrent = 1;
    /// No file of the torrent has this number; nothing has changed.
    NoSuchFile = 2;
    /// What was to be added is no valid torrent.
    InvalidTorrent = 3;
    /// A path cannot be used: it is not absolute, or not where this user may write.
    InvalidPath = 4;
    /// The operating system refused.
    System = 5;
    /// This user may not do this.
    Forbidden = 6;
    /// Too many requests in a short time.
    TooManyRequests = 7;
    /// Something else is being done with the torrent: try again when that has ended.
    Busy = 8;
    /// A web server could not be asked, or gave something else.
    Http = 9;
    /// No bandwidth group has this name; nothing has changed.
    NoSuchGroup = 10;
}

impl Code {
    /// The number in `error.code`.
    pub fn number(self) -> i32 {
        self as i32
    }
}

/// An error as a call gives it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error, Serialize, Deserialize, JsonSchema)]
#[error("{message}")]
pub struct Failure {
    /// The number of the kind; see the list of errors.
    pub code: i32,
    /// What went wrong, for people.
    pub message: String,
    /// What it is about, for programs: an object with the `torrent`, `file`, `path`, `setting`,
    /// `group` or `parameter` that the call named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

impl Failure {
    /// An error of this kind.
    pub fn new(code: Code, message: impl Into<String>) -> Failure {
        Failure { code: code.number(), message: message.into(), data: None }
    }

    /// The same, about something that the call named.
    pub fn about(mut self, data: Value) -> Failure {
        self.data = Some(data);
        self
    }

    /// The kind; `None` for one that this version does not know.
    pub fn kind(&self) -> Option<Code> {
        Code::of(self.code)
    }
}
