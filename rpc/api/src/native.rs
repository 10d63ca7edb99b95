//! The native API: JSON-RPC 2.0 under `/rpc/v1`, over HTTP and WebSocket, as types.
//!
//! Every call is a type that implements [`Call`]: its name, what it takes and what it gives. Every
//! subscription is one that implements [`Subscribe`]. Both have a row in [`TABLE`], from which the
//! server registers them, the client calls them, and [`openrpc::document`] describes them.
//!
//! ```
//! use ringseed_api::native::{Call, Selection, TorrentRef, call};
//!
//! assert_eq!(call::TorrentStart::NAME, "torrent.start");
//! let these: Selection = serde_json::from_str(r#"[7, "00112233445566778899aabbccddeeff00112233"]"#)?;
//! let Selection::These(list) = these else { panic!() };
//! assert_eq!(list[0], TorrentRef::Id(7));
//! # Ok::<(), serde_json::Error>(())
//! ```

pub mod call;
mod change;
mod detail;
mod error;
pub mod openrpc;
mod select;
mod server;
mod shared;
mod stream;
mod torrent;

pub use change::{
    AddPeers, AddTorrent, Added, Edit, FileChoice, Move, Priority, Remove, Rename, Start,
};
pub use detail::{File, FlagSet, Peer, Pieces, Tracker, TrackerState};
pub use error::{Code, Failure};
pub use select::{Filter, List, Listing, Named, One, Selection, Several, TorrentRef, name_is_like};
pub use server::{
    AddressFamily, BlocklistState, Counters, Folder, Info, PortState, PortTest, Room, Setting,
    SettingKind, Settings, SettingsChange, Shard, Statistics,
};
pub use shared::{Group, GroupChange, GroupName, MoveInQueue, QueueTarget, QueueWay};
pub use stream::{
    Changes, Event, EventKind, EventStream, LEAST_INTERVAL, MOST_INTERVAL, StatisticsStream,
    TorrentStream,
};
pub use torrent::{
    Field, GoalOf, IdleGoal, PeerOrigins, RatioGoal, State, Torrent, Trouble, TroubleKind, View,
    Weight,
};

use crate::Access;
use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

/// Where the API is served; the number changes when something is taken away or changes its meaning.
pub const PATH: &str = "/rpc/v1";

/// Where its description is served.
pub const DESCRIPTION_PATH: &str = "/rpc/v1/openrpc.json";

/// The API's version: the first number is the path's, the second counts additions.
pub const VERSION: &str = "1.1.0";

/// A method: one question, one answer.
pub trait Call {
    /// Its name.
    const NAME: &'static str;
    /// Who may call it.
    const ACCESS: Access;
    /// What it takes: an object.
    type Params: Serialize + DeserializeOwned + JsonSchema + Send;
    /// What it gives.
    type Output: Serialize + DeserializeOwned + JsonSchema + Send;
}

/// A subscription: messages until it is ended. WebSocket only.
pub trait Subscribe {
    /// The name of the method that begins it.
    const NAME: &'static str;
    /// The name of the method that ends it; takes the number that the first one gave.
    const UNSUBSCRIBE: &'static str;
    /// The name under which its messages come.
    const NOTIFICATION: &'static str;
    /// Who may subscribe.
    const ACCESS: Access;
    /// What it takes: an object.
    type Params: Serialize + DeserializeOwned + JsonSchema + Send;
    /// A message.
    type Item: Serialize + DeserializeOwned + JsonSchema + Send;
}

/// What a row is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A method.
    Call,
    /// A subscription.
    Subscription {
        /// The method that ends it.
        unsubscribe: &'static str,
        /// The name of its messages.
        notification: &'static str,
    },
}

/// A method or subscription as data.
#[derive(Clone, Copy)]
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub doc: &'static str,
    /// Who may call it.
    pub access: Access,
    /// Call or subscription.
    pub kind: Kind,
    /// The schema of what it takes.
    pub params: fn(&mut SchemaGenerator) -> schemars::Schema,
    /// The schema of what it gives, or of a message.
    pub result: fn(&mut SchemaGenerator) -> schemars::Schema,
    /// An example of both.
    pub example: fn() -> (Value, Value),
    /// Reads parameters and a result as the types have them and writes them again.
    pub round_trip: fn(Value, Value) -> serde_json::Result<(Value, Value)>,
}

/// Every method and subscription, in the order of the documentation.
pub const TABLE: &[Row] = call::TABLE;

/// The row of a method, by its name; also by the name of a method that ends a subscription.
pub fn row(name: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| {
        row.name == name
            || matches!(row.kind, Kind::Subscription { unsubscribe, .. } if unsubscribe == name)
    })
}

/// Nothing: `{}`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}
