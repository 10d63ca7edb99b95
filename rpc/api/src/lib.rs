//! Control as types: what a client may ask and what it is answered, without sockets or engine.
//!
//! One method table, one table of torrent fields and one of session settings carry the names of both
//! dialects that Transmission's clients speak ([`Dialect`]), so that neither can know something the
//! other does not. Reading order: [`envelope`] takes a request body apart and puts answers together,
//! [`method`] lists what can be called, [`params`] reads arguments as leniently as clients need,
//! [`torrent`] and [`session`] hold the tables of what can be read and changed.
//!
//! ```
//! use ringseed_api::{Dialect, envelope::{Incoming, Message, parse}};
//!
//! let body = br#"{"method": "torrent-get", "arguments": {"fields": ["id"]}, "tag": 7}"#;
//! let Message::Single(Incoming::Call(call)) = parse(body) else { panic!() };
//! assert_eq!(call.dialect, Dialect::Legacy);
//! assert_eq!(call.method.unwrap().name, "torrent_get");
//!
//! let mut answer = Vec::new();
//! call.write_success(&mut answer, br#"{"torrents":[]}"#);
//! assert_eq!(answer, br#"{"arguments":{"torrents":[]},"result":"success","tag":7}"#);
//! ```

mod access;
pub mod envelope;
mod error;
pub mod ids;
mod json;
pub mod limits;
pub mod method;
pub mod native;
pub mod objects;
pub mod params;
pub mod session;
pub mod torrent;
pub mod tracker_list;
pub mod version;

pub use access::{Access, Role};
pub use error::{Code, RpcError};
pub use json::{Base64, ToJson, Wanted, Writer};

/// How a request is spelled, and so its answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    /// `{method, arguments, tag}` with names in kebab-case and camelCase: every release of
    /// Transmission.
    Legacy,
    /// JSON-RPC 2.0 with names in snake_case: Transmission 4.1 and later.
    JsonRpc,
}

/// A name in both dialects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Name {
    /// JSON-RPC's.
    pub snake: &'static str,
    /// The older one's; often the same.
    pub legacy: &'static str,
}

impl Name {
    /// As an answer in this dialect spells it.
    pub fn in_dialect(self, dialect: Dialect) -> &'static str {
        match dialect {
            Dialect::JsonRpc => self.snake,
            Dialect::Legacy => self.legacy,
        }
    }

    /// Whether a request in this dialect means it: the older one may also use the newer spelling.
    pub fn is(self, text: &str, dialect: Dialect) -> bool {
        text == self.snake || (dialect == Dialect::Legacy && text == self.legacy)
    }
}
