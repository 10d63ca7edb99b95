//! What went wrong with a call, as both dialects tell it.

use crate::{Dialect, Writer};

/// The kind of an error: JSON-RPC's own and Transmission's numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub enum Code {
    /// The body is not JSON.
    Parse = -32700,
    /// Not a request: wrong type, version or id.
    InvalidRequest = -32600,
    /// Unknown or missing method.
    MethodNotFound = -32601,
    /// Arguments that cannot be used.
    InvalidParams = -32602,
    /// Our own fault.
    Internal = -32603,
    /// The caller is not allowed this. Transmission has no such error; the number is from
    /// JSON-RPC's range for servers.
    Forbidden = -32001,
    /// No tracker was changed by a request to change trackers.
    TrackersUnchanged = 1,
    /// A list of trackers cannot be read.
    InvalidTrackerList = 2,
    /// A path must be absolute.
    PathNotAbsolute = 3,
    /// What was to be added is no torrent, file, magnet link or hash.
    UnrecognizedInfo = 4,
    /// The operating system refused.
    System = 5,
    /// No file of the torrent has this number.
    FileIndex = 6,
    /// No piece of the torrent has this number.
    PieceIndex = 7,
    /// A web server could not be asked.
    Http = 8,
    /// The metainfo is malformed or inconsistent.
    CorruptTorrent = 9,
}

impl Code {
    /// The number in `error.code`.
    pub fn number(self) -> i32 {
        self as i32
    }

    /// What it means, for `error.message`. Clients of the older dialect recognise some of these
    /// texts.
    pub fn message(self) -> &'static str {
        match self {
            Code::Parse => "the request is not valid JSON",
            Code::InvalidRequest => "not a valid request",
            Code::MethodNotFound => "method name not recognized",
            Code::InvalidParams => "invalid argument",
            Code::Internal => "internal error",
            Code::Forbidden => "not allowed",
            Code::TrackersUnchanged => "no tracker changed",
            Code::InvalidTrackerList => "invalid tracker list",
            Code::PathNotAbsolute => "the path must be absolute",
            Code::UnrecognizedInfo => "unrecognized info",
            Code::System => "operating system error",
            Code::FileIndex => "file index out of range",
            Code::PieceIndex => "piece index out of range",
            Code::Http => "the web server could not be asked",
            Code::CorruptTorrent => "invalid or corrupt torrent file",
        }
    }
}

/// Why a call failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}", self.text())]
pub struct RpcError {
    /// The kind.
    pub code: Code,
    /// More about this case, for people; may be empty.
    pub detail: String,
    /// What the method gives in spite of the failure: a JSON object, in the request's dialect.
    pub result: Option<Vec<u8>>,
}

impl RpcError {
    /// An error with something to say about this case.
    pub fn new(code: Code, detail: impl Into<String>) -> RpcError {
        RpcError { code, detail: detail.into(), result: None }
    }

    /// Unusable arguments, with the reason.
    pub fn invalid(detail: impl Into<String>) -> RpcError {
        RpcError::new(Code::InvalidParams, detail)
    }

    /// The same error with what the method gives all the same.
    pub fn with_result(mut self, result: Vec<u8>) -> RpcError {
        self.result = Some(result);
        self
    }

    /// What a person should read.
    pub fn text(&self) -> &str {
        if self.detail.is_empty() { self.code.message() } else { &self.detail }
    }

    /// Writes the `error` object of JSON-RPC.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(std::mem::take(out), Dialect::JsonRpc);
        writer.begin_object();
        writer.key("code").value(&i64::from(self.code.number()));
        writer.key("message").value(self.code.message());
        if !self.detail.is_empty() || self.result.is_some() {
            writer.key("data").begin_object();
            if !self.detail.is_empty() {
                writer.key("error_string").value(self.detail.as_str());
            }
            if let Some(result) = &self.result {
                writer.key("result").raw(result);
            }
            writer.end_object();
        }
        writer.end_object();
        *out = writer.finish();
    }
}

impl From<Code> for RpcError {
    fn from(code: Code) -> RpcError {
        RpcError::new(code, "")
    }
}
