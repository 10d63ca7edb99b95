//! The commands for a running daemon, as types.

use super::shared::RulesArgs;
use api::native::{Field, State};
use clap::{
    Arg, Args, Command, ValueEnum,
    builder::{PossibleValue, TypedValueParser},
};
use std::{ffi::OsStr, net::SocketAddr, path::PathBuf};

/// Where the daemon is, and who asks.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Connection")]
pub struct Connection {
    /// Where the daemon is: http://HOST:PORT, https://HOST:PORT or unix:/PATH
    /// [default: the Unix socket in its folder, or else http://127.0.0.1:9091]
    #[arg(long, value_name = "URL", env = "RINGSEED_URL", alias = "rpc")]
    pub url: Option<String>,
    /// The daemon's folder, where its Unix socket is
    /// [default: $XDG_CONFIG_HOME/ringseed or ~/.config/ringseed]
    #[arg(long, value_name = "DIR", env = "RINGSEED_CONFIG_DIR")]
    pub config_dir: Option<PathBuf>,
    /// Log in as this user; the password comes from RINGSEED_PASSWORD or --password
    #[arg(long, value_name = "NAME", env = "RINGSEED_USER")]
    pub user: Option<String>,
    /// The user's password; other users of the machine can see it here, but not in the environment
    #[arg(long, value_name = "TEXT", env = "RINGSEED_PASSWORD", hide_env_values = true)]
    pub password: Option<String>,
    /// An API token
    #[arg(long, value_name = "TOKEN", env = "RINGSEED_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Which torrents.
#[derive(Args, Debug, Clone, Default)]
#[command(next_help_heading = "Filters")]
pub struct FilterArgs {
    /// Only torrents in this state; may be given several times
    #[arg(long = "state", value_name = "STATE", value_parser = STATES)]
    pub states: Vec<State>,
    /// Only torrents with this label; may be given several times
    #[arg(long = "label", value_name = "LABEL")]
    pub labels: Vec<String>,
    /// Only torrents with this text in a tracker's URL
    #[arg(long, value_name = "TEXT")]
    pub tracker: Option<String>,
    /// Only torrents with a name like this: * for any text, ? for one character
    #[arg(long, value_name = "PATTERN")]
    pub name: Option<String>,
    /// Only torrents with an error
    #[arg(long)]
    pub error: bool,
    /// Only torrents that send or get something now
    #[arg(long)]
    pub active: bool,
    /// Only torrents that are incomplete
    #[arg(long)]
    pub incomplete: bool,
}

/// One of several by its name, also with dashes. Shells complete the names.
#[derive(Clone)]
struct Named<T: 'static> {
    /// What they are.
    what: &'static str,
    all: &'static [T],
    name: fn(&T) -> &'static str,
}

const STATES: Named<State> = Named { what: "states", all: &State::ALL, name: |it| it.name() };
const FIELDS: Named<Field> = Named { what: "fields", all: Field::ALL, name: |it| it.name() };

impl<T: Copy> Named<T> {
    fn find(&self, text: &str) -> Result<T, String> {
        let name = text.to_ascii_lowercase().replace('-', "_");
        self.all.iter().copied().find(|it| (self.name)(it) == name).ok_or_else(|| {
            let names: Vec<&str> = self.all.iter().map(self.name).collect();
            format!("the {} are {}", self.what, names.join(", "))
        })
    }
}

impl<T: Copy + Send + Sync> TypedValueParser for Named<T> {
    type Value = T;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<T, clap::Error> {
        let this = self.clone();
        (move |text: &str| this.find(text)).parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.all.iter().map(self.name).map(PossibleValue::new)))
    }
}

#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct ConnectionArgs {
    #[command(flatten)]
    pub connection: Connection,
}

#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct AddArgs {
    /// .torrent files on this machine, or their web addresses
    #[arg(required = true, value_name = "FILE|URL")]
    pub files: Vec<PathBuf>,
    /// Do not start them
    #[arg(long)]
    pub paused: bool,
    /// Folder for their data [default: the daemon's]
    #[arg(long, value_name = "DIR")]
    pub download_dir: Option<PathBuf>,
    /// A label; may be given several times
    #[arg(long = "label", value_name = "LABEL")]
    pub labels: Vec<String>,
    /// Fetch their pieces in order
    #[arg(long)]
    pub sequential: bool,
    /// Peers of each at most
    #[arg(long, value_name = "N")]
    pub peer_limit: Option<u32>,
    /// Do not download these files: numbers of `ringseed inspect`, as in 0,3-5
    #[arg(long, value_name = "FILES", value_parser = crate::human::parse_numbers)]
    pub skip: Option<Numbers>,
    /// Take files that are there in full length as good, without a check
    #[arg(long)]
    pub trust_files: bool,
    /// Wait until what is there of them has been checked and they run
    #[arg(long, conflicts_with = "paused")]
    pub wait: bool,
    #[command(flatten)]
    pub rules: RulesArgs,
    #[command(flatten)]
    pub connection: Connection,
}

#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct ListArgs {
    /// Only these: ids or info-hashes
    #[arg(value_name = "ID")]
    pub ids: Vec<String>,
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Sort by this field of the native API
    #[arg(long, value_name = "FIELD", value_parser = FIELDS, hide_possible_values = true)]
    pub sort: Option<Field>,
    /// The other way round
    #[arg(long)]
    pub reverse: bool,
    /// Print this many at most
    #[arg(long, value_name = "N")]
    pub limit: Option<u32>,
    /// Print ids only, one a line
    #[arg(long, short, conflicts_with = "json")]
    pub quiet: bool,
    #[command(flatten)]
    pub connection: Connection,
}

/// Several torrents: ids, `all`, or filters.
#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct ChosenArgs {
    /// Ids, info-hashes, or `all`
    #[arg(
        value_name = "ID",
        required_unless_present_any =
            ["states", "labels", "tracker", "name", "error", "active", "incomplete"],
        conflicts_with_all =
            ["states", "labels", "tracker", "name", "error", "active", "incomplete"]
    )]
    pub ids: Vec<String>,
    #[command(flatten)]
    pub filter: FilterArgs,
    #[command(flatten)]
    pub connection: Connection,
}

#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct OneArgs {
    /// An id or info-hash
    #[arg(value_name = "ID")]
    pub id: String,
    #[command(flatten)]
    pub connection: Connection,
}

#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct PeersArgs {
    /// An id or info-hash
    #[arg(value_name = "ID")]
    pub id: String,
    /// Connect to this peer; may be given several times
    #[arg(long = "add", value_name = "IP:PORT")]
    pub add: Vec<SocketAddr>,
    #[command(flatten)]
    pub connection: Connection,
}

#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct VerifyArgs {
    /// Wait until they are checked
    #[arg(long)]
    pub wait: bool,
    #[command(flatten)]
    pub chosen: ChosenArgs,
}

#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct RemoveArgs {
    /// Delete the downloaded files too
    #[arg(long)]
    pub delete_data: bool,
    #[command(flatten)]
    pub chosen: ChosenArgs,
}

#[derive(Args, Debug)]
#[allow(missing_docs)]
#[command(group(clap::ArgGroup::new("edit").required(true).multiple(true).args([
    "add_labels", "remove_labels", "add_trackers", "remove_trackers", "skip", "low", "normal",
    "high", "peer_limit", "sequential", "sequential_from", "priority", "up", "down", "honor_limits",
    "group", "ratio", "idle",
])))]
pub struct EditArgs {
    /// Add this label; may be given several times
    #[arg(long = "add-label", value_name = "LABEL")]
    pub add_labels: Vec<String>,
    /// Remove this label; may be given several times
    #[arg(long = "remove-label", value_name = "LABEL")]
    pub remove_labels: Vec<String>,
    /// Add this tracker in a tier of its own; may be given several times
    #[arg(long = "add-tracker", value_name = "URL")]
    pub add_trackers: Vec<String>,
    /// Remove this tracker; may be given several times
    #[arg(long = "remove-tracker", value_name = "URL")]
    pub remove_trackers: Vec<String>,
    /// Do not download these files: numbers of `ringseed files`, as in 0,3-5
    #[arg(long, value_name = "FILES", value_parser = crate::human::parse_numbers)]
    pub skip: Option<Numbers>,
    /// Download these files after the others
    #[arg(long, value_name = "FILES", value_parser = crate::human::parse_numbers)]
    pub low: Option<Numbers>,
    /// Download these files as usual
    #[arg(long, value_name = "FILES", value_parser = crate::human::parse_numbers)]
    pub normal: Option<Numbers>,
    /// Download these files before the others
    #[arg(long, value_name = "FILES", value_parser = crate::human::parse_numbers)]
    pub high: Option<Numbers>,
    /// Peers at most
    #[arg(long, value_name = "N")]
    pub peer_limit: Option<u32>,
    /// Whether pieces are fetched in order
    #[arg(long, value_name = "BOOL")]
    pub sequential: Option<bool>,
    /// The piece that they begin with then
    #[arg(long, value_name = "PIECE")]
    pub sequential_from: Option<u32>,
    #[command(flatten)]
    pub rules: RulesArgs,
    #[command(flatten)]
    pub chosen: ChosenArgs,
}

#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct MoveArgs {
    /// The folder on the server
    #[arg(long = "to", value_name = "DIR", required = true)]
    pub to: PathBuf,
    /// Leave the files where they are, and look for them in the folder
    #[arg(long)]
    pub no_files: bool,
    /// Wait until they are there
    #[arg(long, conflicts_with = "no_files")]
    pub wait: bool,
    #[command(flatten)]
    pub chosen: ChosenArgs,
}

#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct RenameArgs {
    /// An id or info-hash
    #[arg(value_name = "ID")]
    pub id: String,
    /// The file or folder, as `ringseed files` shows it; the torrent's own name for all of it
    #[arg(value_name = "PATH")]
    pub path: String,
    /// Its new name, without folders
    #[arg(value_name = "NAME")]
    pub name: String,
    #[command(flatten)]
    pub connection: Connection,
}

/// Numbers of files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Numbers(pub Vec<u32>);

#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct SpaceArgs {
    /// An absolute path on the server [default: its download folder]
    #[arg(value_name = "DIR")]
    pub path: Option<String>,
    #[command(flatten)]
    pub connection: Connection,
}

#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct SettingsArgs {
    /// Show only this setting, or change it with NAME=VALUE; all if none is given
    #[arg(value_name = "NAME[=VALUE]")]
    pub settings: Vec<String>,
    #[command(flatten)]
    pub connection: Connection,
}

#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct BlocklistArgs {
    /// Read it anew from where the settings say
    #[arg(long)]
    pub update: bool,
    #[command(flatten)]
    pub connection: Connection,
}

#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct EventsArgs {
    /// End after this many
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    #[command(flatten)]
    pub connection: Connection,
}

/// What `ringseed top` sorts by.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum TopSort {
    Id,
    Name,
    Down,
    Up,
    Progress,
    Ratio,
    Size,
    Peers,
}

#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct TopArgs {
    /// Milliseconds between two pictures, from 100
    #[arg(long, value_name = "MS", default_value_t = 1000,
        value_parser = clap::value_parser!(u32).range(100..=60_000))]
    pub interval: u32,
    /// What to sort by
    #[arg(long, value_enum, default_value = "up")]
    pub sort: TopSort,
    #[command(flatten)]
    pub connection: Connection,
}

#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct CallArgs {
    /// The method, such as torrent.list: see docs/api.md, or `ringseed call rpc.discover`
    #[arg(value_name = "METHOD")]
    pub method: String,
    /// Its parameters, a JSON object
    #[arg(value_name = "JSON", default_value = "{}")]
    pub params: String,
    #[command(flatten)]
    pub connection: Connection,
}
