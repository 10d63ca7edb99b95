//! The commands for what torrents share, as types: speed limits, groups, the queue; and what a torrent
//! has to say about them.

use super::remote::{ChosenArgs, Connection};
use crate::given::{self, Count, Days, Rate, Schedule};
use api::native::{IdleGoal, RatioGoal, Weight};
use clap::{Args, Subcommand};

/// A weight by its name.
fn weight(text: &str) -> Result<Weight, String> {
    match text.to_ascii_lowercase().as_str() {
        "low" => Ok(Weight::Low),
        "normal" => Ok(Weight::Normal),
        "high" => Ok(Weight::High),
        _ => Err("the priorities are low, normal and high".to_owned()),
    }
}

/// Speed and the end of seeding of a torrent.
#[derive(Args, Debug, Clone, Default)]
#[command(next_help_heading = "Speed and seeding")]
#[allow(missing_docs)]
pub struct RulesArgs {
    /// low, normal or high: the weight among others where a shared limit binds
    #[arg(long, value_name = "WEIGHT", value_parser = weight)]
    pub priority: Option<Weight>,
    /// Limit on what goes out: 500k, 2M, or none
    #[arg(long, value_name = "RATE", value_parser = given::rate)]
    pub up: Option<Rate>,
    /// Limit on what comes in
    #[arg(long, value_name = "RATE", value_parser = given::rate)]
    pub down: Option<Rate>,
    /// Whether the daemon's own limits hold too
    #[arg(long, value_name = "BOOL")]
    pub honor_limits: Option<bool>,
    /// Bandwidth group to share limits with, made if need be; empty for none
    #[arg(long, value_name = "NAME")]
    pub group: Option<String>,
    /// Ratio at which seeding ends: 1.5, none, or settings for that of the settings
    #[arg(long, value_name = "RATIO", value_parser = given::ratio_goal)]
    pub ratio: Option<RatioGoal>,
    /// Time without payload after which seeding ends: 30m, 2h, none or settings
    #[arg(long, value_name = "TIME", value_parser = given::idle_goal)]
    pub idle: Option<IdleGoal>,
}

#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct StartArgs {
    /// Without waiting in a queue
    #[arg(long)]
    pub now: bool,
    #[command(flatten)]
    pub chosen: ChosenArgs,
}

/// Without options, the limits are shown.
#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct LimitArgs {
    /// What goes out at most: 500k, 2M, or none
    #[arg(long, value_name = "RATE", value_parser = given::rate)]
    pub up: Option<Rate>,
    /// What comes in at most
    #[arg(long, value_name = "RATE", value_parser = given::rate)]
    pub down: Option<Rate>,
    /// Switch the alternative limits on or off
    #[arg(long, value_name = "on|off", value_parser = given::switch)]
    pub alt: Option<bool>,
    /// What goes out at most while the alternative limits hold
    #[arg(long, value_name = "RATE", value_parser = given::rate)]
    pub alt_up: Option<Rate>,
    /// What comes in at most while the alternative limits hold
    #[arg(long, value_name = "RATE", value_parser = given::rate)]
    pub alt_down: Option<Rate>,
    /// When the alternative limits hold by the daemon's clock: 22:00-06:30, or none
    #[arg(long, value_name = "HOURS", value_parser = given::schedule)]
    pub alt_hours: Option<Schedule>,
    /// On which days they begin: mon-fri,sun, or all
    #[arg(long, value_name = "DAYS", value_parser = given::days)]
    pub alt_days: Option<Days>,
    #[command(flatten)]
    pub connection: Connection,
}

#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct GroupArgs {
    #[command(subcommand)]
    pub command: GroupCommand,
}

#[derive(Subcommand, Debug)]
#[allow(missing_docs)]
pub enum GroupCommand {
    /// List the groups
    #[command(visible_alias = "ls")]
    List {
        #[command(flatten)]
        connection: Connection,
    },
    /// Make a group, or change one; `ringseed edit --group` puts torrents into it
    Set {
        /// Its name
        name: String,
        /// What goes out of its torrents together at most: 500k, 2M, or none
        #[arg(long, value_name = "RATE", value_parser = given::rate)]
        up: Option<Rate>,
        /// What comes in to its torrents together at most
        #[arg(long, value_name = "RATE", value_parser = given::rate)]
        down: Option<Rate>,
        /// Whether the daemon's own limits hold for its torrents too
        #[arg(long, value_name = "BOOL")]
        honor_limits: Option<bool>,
        #[command(flatten)]
        connection: Connection,
    },
    /// Remove a group; its torrents stay
    #[command(visible_alias = "rm")]
    Remove {
        /// Its name
        name: String,
        #[command(flatten)]
        connection: Connection,
    },
}

#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct QueueArgs {
    #[command(subcommand)]
    pub command: QueueCommand,
}

#[derive(Subcommand, Debug)]
#[allow(missing_docs)]
pub enum QueueCommand {
    /// List torrents in the order of the queue
    #[command(visible_alias = "ls")]
    List {
        #[command(flatten)]
        connection: Connection,
    },
    /// Move torrents before all others
    Top(ChosenArgs),
    /// Move torrents one place forward
    Up(ChosenArgs),
    /// Move torrents one place back
    Down(ChosenArgs),
    /// Move torrents behind all others
    Bottom(ChosenArgs),
    /// Move torrents to a position
    Put {
        /// Where the first of them goes, from 0
        #[arg(value_name = "POSITION")]
        position: u32,
        #[command(flatten)]
        chosen: ChosenArgs,
    },
    /// Show or change how many torrents run at a time
    Size {
        /// Torrents that download at a time, or none for any number
        #[arg(long, value_name = "N", value_parser = given::count)]
        downloads: Option<Count>,
        /// Torrents that seed at a time
        #[arg(long, value_name = "N", value_parser = given::count)]
        seeds: Option<Count>,
        #[command(flatten)]
        connection: Connection,
    },
}
