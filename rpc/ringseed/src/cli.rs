//! The command line as types.

mod remote;
mod shared;

pub use remote::*;
pub use shared::*;

use crate::flags::SettingsFlags;

pub mod accounts;

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// What scripts go by.
const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed
  2  wrong usage
  3  no daemon there, or no answer
  4  refused: not known, not allowed, or too often
  5  no such torrent, file, group or setting";

/// A BitTorrent server for people who seed and download at scale.
#[derive(Parser, Debug)]
#[command(name = "ringseed", version, about, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand, Debug)]
#[allow(missing_docs)]
#[allow(clippy::large_enum_variant, reason = "a process has one")]
pub enum Command {
    /// Run the server in the foreground
    Daemon(DaemonArgs),
    /// Add .torrent files to the running daemon
    Add(AddArgs),
    /// List torrents
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Show everything about torrents
    Show(ChosenArgs),
    /// List the files of a torrent
    Files(OneArgs),
    /// List the trackers of a torrent
    Trackers(OneArgs),
    /// List the connected peers of a torrent, or connect to more
    Peers(PeersArgs),
    /// Start torrents
    Start(StartArgs),
    /// Stop torrents
    Stop(ChosenArgs),
    /// Check the files of torrents
    Verify(VerifyArgs),
    /// Announce torrents to their trackers as soon as those allow
    Announce(ChosenArgs),
    /// Change labels, trackers, files, limits and goals of torrents
    Edit(EditArgs),
    /// Give torrents another folder, and take their files there
    Move(MoveArgs),
    /// Give a file or folder of a torrent another name
    Rename(RenameArgs),
    /// Remove torrents, and their files if asked
    #[command(visible_alias = "rm")]
    Remove(RemoveArgs),
    /// Show or change the order in which torrents get their turn
    Queue(QueueArgs),
    /// Show or change the daemon's speed limits
    Limit(LimitArgs),
    /// Show or change bandwidth groups, whose torrents share limits
    Group(GroupArgs),
    /// Show the figures of the whole session
    Stats(ConnectionArgs),
    /// Show the room in a folder of the server
    Space(SpaceArgs),
    /// Show or change the settings of the running daemon
    Settings(SettingsArgs),
    /// Ask a web server whether it can reach the daemon's peer port
    PortTest(ConnectionArgs),
    /// Show the blocklist's state, or read it anew
    Blocklist(BlocklistArgs),
    /// Print what happens, as it happens
    Events(EventsArgs),
    /// Watch torrents in the terminal
    Top(TopArgs),
    /// Call a method of the native API and print what it gives, in JSON
    Call(CallArgs),
    /// End the running daemon
    Shutdown(ConnectionArgs),
    /// Download one torrent without a daemon
    Get(GetArgs),
    /// Make a .torrent of a file or folder
    Create(CreateArgs),
    /// Show what is in a .torrent
    Inspect(InspectArgs),
    /// Print the completions of a shell
    Completions(CompletionsArgs),
    /// Write the manual pages
    Man(ManArgs),
    /// Say who may log in to the daemon
    User(accounts::UserArgs),
    /// Hand out tokens to scripts, and take them back
    Token(accounts::TokenArgs),
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

#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct ManArgs {
    /// Folder for the pages, one for each command [default: the page of ringseed itself, printed]
    #[arg(value_name = "DIR")]
    pub dir: Option<PathBuf>,
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
