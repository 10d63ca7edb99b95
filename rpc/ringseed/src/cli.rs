//! The command line as types.

use crate::flags::SettingsFlags;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// A BitTorrent server for people who seed and download at scale.
#[derive(Parser, Debug)]
#[command(name = "ringseed", version, about, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand, Debug)]
#[allow(missing_docs)]
pub enum Command {
    /// Run the server in the foreground
    Daemon(DaemonArgs),
    /// Add .torrent files to the running daemon
    Add(AddArgs),
    /// List all torrents
    List(ListArgs),
    /// Show everything about a torrent
    Show(ShowArgs),
    /// Start torrents
    Start(IdsArgs),
    /// Stop torrents
    Stop(IdsArgs),
    /// Check the files of torrents
    Verify(IdsArgs),
    /// Remove torrents, and their files if asked
    Remove(RemoveArgs),
    /// Download one torrent without a daemon
    Get(GetArgs),
    /// Make a .torrent of a file or folder
    Create(CreateArgs),
    /// Show what is in a .torrent
    Inspect(InspectArgs),
}

#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct DaemonArgs {
    /// Folder of the settings (ringseed.toml), the session and copies of the .torrent files
    /// [default: $XDG_CONFIG_HOME/ringseed or ~/.config/ringseed]
    #[arg(long, value_name = "DIR")]
    pub config_dir: Option<PathBuf>,
    /// Write the log as JSON, one object a line
    #[arg(long)]
    pub log_json: bool,
    #[command(flatten)]
    pub settings: SettingsFlags<true>,
}

/// Where the daemon is.
#[derive(Args, Debug, Clone)]
pub struct Connection {
    /// URL of the daemon's control interface
    #[arg(
        long,
        value_name = "URL",
        env = "RINGSEED_RPC",
        default_value = "http://127.0.0.1:9091/transmission/rpc"
    )]
    pub rpc: String,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct AddArgs {
    /// .torrent files on this machine
    #[arg(required = true, value_name = "FILE")]
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
    #[command(flatten)]
    pub connection: Connection,
}

#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct ListArgs {
    #[command(flatten)]
    pub connection: Connection,
}

#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct ShowArgs {
    /// A torrent's id or info-hash
    #[arg(required = true, value_name = "ID")]
    pub ids: Vec<String>,
    #[command(flatten)]
    pub connection: Connection,
}

#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct IdsArgs {
    /// Ids, info-hashes, or `all`
    #[arg(required = true, value_name = "ID")]
    pub ids: Vec<String>,
    #[command(flatten)]
    pub connection: Connection,
}

#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct RemoveArgs {
    /// Delete the downloaded files too
    #[arg(long)]
    pub delete_data: bool,
    #[command(flatten)]
    pub ids: IdsArgs,
}

#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct GetArgs {
    /// The .torrent file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Folder for the data
    #[arg(long, short, value_name = "DIR", default_value = ".")]
    pub out: PathBuf,
    /// Keep seeding when it is complete, until interrupted
    #[arg(long)]
    pub seed: bool,
    /// A peer to connect to besides those that trackers name; may be given several times
    #[arg(long = "peer", value_name = "IP:PORT")]
    pub peers: Vec<std::net::SocketAddr>,
    #[command(flatten)]
    pub settings: SettingsFlags<false>,
}

/// Which standards a new torrent follows.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Version {
    V1,
    V2,
    Hybrid,
}

#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct CreateArgs {
    /// The file or folder
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
    /// Where to write the .torrent [default: NAME.torrent here]
    #[arg(long, short = 'o', value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Replace a file that is there
    #[arg(long)]
    pub force: bool,
    /// Name of the torrent [default: that of the file or folder]
    #[arg(long)]
    pub name: Option<String>,
    /// Bytes in a piece, a power of two such as 262144, 256K or 4M [default: by size]
    #[arg(long, value_name = "BYTES", value_parser = crate::human::parse_bytes)]
    pub piece_length: Option<u32>,
    /// Which standards to follow
    #[arg(long = "version", value_enum, default_value = "v1")]
    pub version: Version,
    /// Peers come from the trackers only
    #[arg(long)]
    pub private: bool,
    /// A tracker's announce URL, or several of one tier with commas; may be given several times
    #[arg(long = "tracker", short = 't', value_name = "URL")]
    pub trackers: Vec<String>,
    /// A web server that has the files; may be given several times
    #[arg(long = "web-seed", short = 'w', value_name = "URL")]
    pub web_seeds: Vec<String>,
    /// A comment
    #[arg(long)]
    pub comment: Option<String>,
    /// The tracker it is made for: torrents that differ in it differ in their info-hash
    #[arg(long)]
    pub source: Option<String>,
    /// Threads that hash [default: one for each core]
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    pub threads: usize,
}

#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct InspectArgs {
    /// The .torrent file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_version_of_a_new_torrent_is_not_the_programs() {
        let cli = Cli::try_parse_from(["ringseed", "create", "x", "--version", "hybrid"]).unwrap();
        let Command::Create(args) = cli.command else { panic!() };
        assert_eq!(args.version, Version::Hybrid);
    }
}
