//! The `ringseed` program: the daemon, and the command line that talks to it.
//!
//! Exit codes: 0 for success, 1 for a failure (told in one line on stderr), 2 for wrong usage.

mod cli;
mod client;
mod config;
mod create;
mod daemon;
mod flags;
mod get;
mod human;
mod inspect;
mod limits;
mod logging;
mod output;
mod process;
mod remote;
mod table;

use clap::Parser;
use cli::{Cli, Command};
use std::process::ExitCode;

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Daemon(args) => daemon::run(args),
        Command::Get(args) => get::run(args),
        Command::Create(args) => create::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Add(args) => remote::add(args),
        Command::List(args) => remote::list(args),
        Command::Show(args) => remote::show(args),
        Command::Start(args) => remote::start(args),
        Command::Stop(args) => remote::stop(args),
        Command::Verify(args) => remote::verify(args),
        Command::Remove(args) => remote::remove(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringseed: {}", output::error_line(&error));
            ExitCode::FAILURE
        }
    }
}
