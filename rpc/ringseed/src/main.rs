//! The `ringseed` program: the daemon, and the command line that talks to it.
//!
//! Exit codes are those of [`failure::Exit`]; a failure is told in one line on stderr.

mod accounts;
mod cli;
mod config;
mod create;
mod daemon;
mod failure;
mod flags;
mod get;
mod given;
mod human;
mod inspect;
mod limits;
mod logging;
mod output;
mod process;
mod remote;
mod shell;
mod table;

use clap::Parser;
use cli::{Cli, Command};
use std::{
    io::{self, Write},
    process::ExitCode,
};

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Daemon(args) => daemon::run(args),
        Command::Get(args) => get::run(args),
        Command::Create(args) => create::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::User(args) => accounts::user(args),
        Command::Token(args) => accounts::token(args),
        Command::Add(args) => remote::add(args),
        Command::List(args) => remote::list(args),
        Command::Show(args) => remote::show(args),
        Command::Files(args) => remote::files(args),
        Command::Trackers(args) => remote::trackers(args),
        Command::Peers(args) => remote::peers(args),
        Command::Start(args) => remote::start(args),
        Command::Stop(args) => remote::stop(args),
        Command::Verify(args) => remote::verify(args),
        Command::Announce(args) => remote::announce(args),
        Command::Edit(args) => remote::edit(args),
        Command::Move(args) => remote::relocate(args),
        Command::Rename(args) => remote::rename(args),
        Command::Remove(args) => remote::remove(args),
        Command::Queue(args) => remote::queue(args),
        Command::Limit(args) => remote::limit(args),
        Command::Group(args) => remote::group(args),
        Command::Stats(args) => remote::stats(args),
        Command::Space(args) => remote::space(args),
        Command::Settings(args) => remote::settings(args),
        Command::PortTest(args) => remote::port_test(args),
        Command::Blocklist(args) => remote::blocklist(args),
        Command::Events(args) => remote::events(args),
        Command::Top(args) => remote::top(args),
        Command::Call(args) => remote::call(args),
        Command::Shutdown(args) => remote::shutdown(args),
        Command::Completions(args) => shell::completions(args),
        Command::Man(args) => shell::man(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // In one write, so that lines of several programs do not mix.
            let line = format!("ringseed: {}\n", output::error_line(&error));
            let _ = io::stderr().write_all(line.as_bytes());
            ExitCode::from(failure::exit(&error) as u8)
        }
    }
}
