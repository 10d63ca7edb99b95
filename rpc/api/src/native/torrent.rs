//! What is known of a torrent: one row for each field. The same fields are listed, filtered, sorted
//! by, and pushed when they change.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

/// What a torrent is doing.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing, by wish or because of an error.
    Stopped,
    /// Waiting for its turn to be checked.
    QueuedToVerify,
    /// Its files are being checked.
    Verifying,
    /// Waiting for its turn to download.
    QueuedToDownload,
    /// Its files are being taken to another folder, or wait for that.
    Moving,
    /// Fetching what is wanted.
    Downloading,
    /// Waiting for its turn to seed.
    QueuedToSeed,
    /// Everything wanted is there.
    Seeding,
}

impl State {
    /// All of them.
    pub const ALL: [State; 8] = [
        State::Stopped,
        State::QueuedToVerify,
        State::Verifying,
        State::QueuedToDownload,
        State::Moving,
        State::Downloading,
        State::QueuedToSeed,
        State::Seeding,
    ];

    /// As JSON names it.
    pub fn name(self) -> &'static str {
        match self {
            State::Stopped => "stopped",
            State::QueuedToVerify => "queued_to_verify",
            State::Verifying => "verifying",
            State::QueuedToDownload => "queued_to_download",
            State::Moving => "moving",
            State::Downloading => "downloading",
            State::QueuedToSeed => "queued_to_seed",
            State::Seeding => "seeding",
        }
    }
}

/// Where something is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TroubleKind {
    /// A tracker answered with a warning.
    TrackerWarning,
    /// A tracker refused or cannot be reached.
    TrackerError,
    /// Files or disk; the torrent has been stopped by it and is tried again from time to time.
    Local,
}

/// What is wrong with a torrent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Trouble {
    /// Where.
    pub kind: TroubleKind,
    /// What, for people.
    pub message: String,
}

/// What a torrent weighs among others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// A third of what others get.
    Low,
    /// As others.
    Normal,
    /// Three times what others get.
    High,
}

/// Whose goal of seeding holds, if it is not a torrent's own number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GoalOf {
    /// That of the settings, if there is one.
    Settings,
    /// There is none.
    None,
}

/// The ratio at which a torrent stops seeding: a number, `"settings"` or `"none"`.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RatioGoal {
    /// Not a number of its own.
    Of(GoalOf),
    /// Bytes sent for each byte of `wanted_size`, 0 or more.
    Ratio(f64),
}

/// The time without payload after which a torrent stops seeding: a number, `"settings"` or
/// `"none"`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum IdleGoal {
    /// Not a number of its own.
    Of(GoalOf),
    /// Seconds, kept in whole minutes, rounded up.
    Seconds(u32),
}

/// Connected peers by where their addresses came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct PeerOrigins {
    /// Trackers.
    pub tracker: u32,
    /// They connected to us.
    pub incoming: u32,
    /// Other peers.
    pub pex: u32,
    /// The DHT.
    pub dht: u32,
    /// The local network.
    pub local: u32,
    /// An earlier run.
    pub cache: u32,
    /// A person, or a program.
    pub manual: u32,
}

/// A field that is there, if only with null.
pub(super) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

macro_rules! fields {
    ($( $(#[doc = $doc:literal])+ $field:ident: $type:ty; )*) => {
        /// A field of a torrent.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
        #[allow(non_camel_case_types)]
        pub enum Field { $( $(#[doc = $doc])+ $field, )* }

        impl Field {
            /// All of them.
            pub const ALL: &'static [Field] = &[$(Field::$field,)*];

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self { $( Field::$field => stringify!($field), )* }
            }

            /// What it tells.
            pub fn doc(self) -> &'static str {
                match self { $( Field::$field => concat!($($doc),+).trim_ascii(), )* }
            }

            /// Writes its value as JSON.
            pub fn write<V: View + ?Sized>(self, view: &V, out: &mut Vec<u8>) {
                // Writing such values to memory cannot fail.
                let _ = match self {
                    $( Field::$field => serde_json::to_writer(out, &view.$field()), )*
                };
            }
        }

        /// A torrent, or what has changed of it: only fields that were asked for, or that changed,
        /// are there.
        #[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
        pub struct Torrent {
            /// The session's number: from 1, of this run only.
            pub id: u32,
            $(
                $(#[doc = $doc])+
                #[serde(
                    default,
                    skip_serializing_if = "Option::is_none",
                    deserialize_with = "present"
                )]
                pub $field: Option<$type>,
            )*
        }

        impl Torrent {
            /// Takes over what has changed.
            pub fn merge(&mut self, change: Torrent) {
                $( if change.$field.is_some() { self.$field = change.$field; } )*
            }

            /// The torrent with all its fields.
            pub fn of<V: View + ?Sized>(view: &V) -> Torrent {
                Torrent { id: view.id(), $( $field: Some(view.$field()), )* }
            }
        }

        /// A torrent that can be told about: one method for each field.
        pub trait View {
            /// The session's number.
            fn id(&self) -> u32;
            $( $(#[doc = $doc])+ fn $field(&self) -> $type; )*
        }
    };
}

fields! {
    /// Its name.
    name: String;
    /// The version-1 info-hash in lower-case hexadecimal digits.
    info_hash: String;
    /// The version-2 info-hash of a hybrid torrent.
    info_hash_v2: Option<String>;
    /// What it is doing.
    state: State;
    /// What is wrong, if anything.
    error: Option<Trouble>;
    /// Share of what is wanted that is here, 0 to 1.
    progress: f64;
    /// Share of the files that has been checked, 0 to 1; 0 when not verifying.
    verify_progress: f64;
    /// Bytes of all its files.
    size: u64;
    /// Bytes wanted, and those here of what is not.
    wanted_size: u64;
    /// Bytes wanted and missing.
    left: u64;
    /// Bytes in verified pieces.
    have: u64;
    /// Bytes in pieces that are not complete yet.
    unverified: u64;
    /// Bytes wanted, missing, and held by some connected peer.
    available: u64;
    /// Bytes per second of payload coming in.
    download_rate: u64;
    /// Bytes per second of payload going out.
    upload_rate: u64;
    /// Payload bytes received and kept, ever.
    downloaded: u64;
    /// Payload bytes sent, ever.
    uploaded: u64;
    /// Bytes thrown away after a failed hash, ever.
    corrupt: u64;
    /// Bytes sent for each byte of `wanted_size`; null if that is 0.
    ratio: Option<f64>;
    /// Seconds to completion at the rate of now; null if it is not downloading, or nothing comes.
    eta: Option<u64>;
    /// Connected peers.
    peers: u32;
    /// Peers that send us payload now.
    peers_sending: u32;
    /// Peers that get payload from us now.
    peers_getting: u32;
    /// Connected peers that have everything.
    seeds: u32;
    /// Peers at most.
    peer_limit: u32;
    /// Connected peers by where their addresses came from.
    peer_origins: PeerOrigins;
    /// Pieces in order rather than rarest first.
    sequential: bool;
    /// The piece that they begin with then.
    sequential_from: u32;
    /// Its weight among others where a shared speed limit binds.
    priority: Weight;
    /// Its own limit on payload going out, in bytes per second; null for none.
    upload_limit: Option<u64>;
    /// Its own limit on payload coming in, in bytes per second; null for none.
    download_limit: Option<u64>;
    /// Whether the speed limits of the settings hold for it.
    honors_session_limits: bool;
    /// The bandwidth group whose limits it shares.
    group: Option<String>;
    /// The ratio at which it stops seeding.
    ratio_goal: RatioGoal;
    /// The time without payload after which it stops seeding.
    idle_goal: IdleGoal;
    /// Whether one of these has stopped it, and nobody has started it since.
    goal_reached: bool;
    /// Its place in the queue of all torrents, from 0.
    queue_position: u32;
    /// Labels in their order.
    labels: Vec<String>;
    /// Announce URLs by tier.
    trackers: Vec<Vec<String>>;
    /// Web servers that have the files.
    web_seeds: Vec<String>;
    /// The folder that its name lies in.
    download_dir: String;
    /// The folder that its files are in until it is complete, if that is another one.
    incomplete_dir: Option<String>;
    /// The folder that its files are being taken to, if they are.
    moving_to: Option<String>;
    /// Share of its bytes that have been taken there, 0 to 1; 0 when not moving.
    move_progress: f64;
    /// Peers come from its trackers only.
    private: bool;
    /// Number of pieces.
    piece_count: u32;
    /// Bytes in a piece.
    piece_length: u32;
    /// Number of files, padding not counted.
    file_count: u32;
    /// The maker's comment.
    comment: String;
    /// The program that made the torrent.
    creator: String;
    /// The tracker it was made for.
    source: String;
    /// Seconds since 1970 when it was made; null if that is not known.
    created_at: Option<u64>;
    /// Seconds since 1970 when it was added.
    added_at: u64;
    /// Seconds since 1970 when it was last started; null for never.
    started_at: Option<u64>;
    /// Seconds since 1970 of completion, or of being found complete; null for never.
    completed_at: Option<u64>;
    /// Seconds since 1970 of the last edit in this run of the server; null for never.
    edited_at: Option<u64>;
    /// Seconds since 1970 of the last payload in either direction; null for never.
    active_at: Option<u64>;
    /// Seconds spent downloading, ever; pushed when something else changes.
    seconds_downloading: u64;
    /// Seconds spent seeding, ever; pushed when something else changes.
    seconds_seeding: u64;
    /// A magnet link with its hash, name, trackers and web seeds.
    magnet: String;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_news_and_absence_is_none() {
        let change: Torrent = serde_json::from_str(r#"{"id":1,"eta":null,"peers":3}"#).unwrap();
        assert_eq!((change.eta, change.peers, change.ratio), (Some(None), Some(3), None));
        let text = serde_json::to_string(&change).unwrap();
        assert_eq!(text, r#"{"id":1,"eta":null,"peers":3}"#);
        let mut whole = Torrent { id: 1, eta: Some(Some(9)), left: Some(5), ..Torrent::default() };
        whole.merge(change);
        assert_eq!((whole.eta, whole.left, whole.peers), (Some(None), Some(5), Some(3)));
    }

    #[test]
    fn names_of_states_and_fields_are_those_of_json() {
        for state in State::ALL {
            assert_eq!(serde_json::to_value(state).unwrap(), state.name());
        }
        for field in Field::ALL {
            assert_eq!(serde_json::to_value(field).unwrap(), field.name());
            assert!(!field.doc().is_empty());
        }
    }
}
