//! transmission-remote, Transmission's command line.

use super::transmission::Release;
use crate::pair::Side;
use crate::peer_program;
use anyhow::Result;
use std::process::Command;

/// What it said when it was run for one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// What it printed, errors too, without what is the server's own ([`Side::strip`]).
    pub text: String,
    /// Whether it says that all went well.
    pub success: bool,
}

/// Runs it for a server, `{folder}` in its arguments filled in.
pub fn transmission_remote(release: Release, side: &Side, arguments: &[&str]) -> Result<Said> {
    let program = match release {
        Release::V3 => "transmission-remote-3",
        Release::V4 => "transmission-remote-4",
    };
    let mut command = Command::new(peer_program(program)?);
    // Its messages are translated, and its times are told in the local zone.
    command.env("LC_ALL", "C.UTF-8").env("TZ", "UTC").arg(side.control.to_string());
    let output = command.args(arguments.iter().map(|argument| side.fill(argument))).output()?;
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Ok(Said { text: side.strip(&text), success: output.status.success() })
}
