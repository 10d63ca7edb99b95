//! The commands that say who may log in.

use api::Role;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Whose users and tokens.
#[derive(Args, Debug, Clone)]
pub struct Folder {
    /// The daemon's folder, whether it runs or not
    /// [default: $XDG_CONFIG_HOME/ringseed or ~/.config/ringseed]
    #[arg(long, value_name = "DIR", global = true)]
    pub config_dir: Option<PathBuf>,
    /// Print JSON instead of a table
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct UserArgs {
    #[command(subcommand)]
    pub command: UserCommand,
    #[command(flatten)]
    pub folder: Folder,
}

#[derive(Subcommand, Debug)]
#[allow(missing_docs)]
pub enum UserCommand {
    /// Add a user; the password is asked for, or read as a line from stdin
    Add {
        /// Name to log in with
        name: String,
        /// admin, user (changes torrents, not settings) or read-only
        #[arg(long, default_value_t = Role::User)]
        role: Role,
        /// The only folders that they may name; may be given several times
        #[arg(long = "folder", value_name = "DIR")]
        folders: Vec<PathBuf>,
        /// Make up a password and print it
        #[arg(long)]
        generate: bool,
    },
    /// List the users
    List,
    /// Remove a user
    Remove {
        /// Their name
        name: String,
    },
    /// Give a user another password
    Passwd {
        /// Their name
        name: String,
        /// Make up a password and print it
        #[arg(long)]
        generate: bool,
    },
    /// Give a user another role
    Role {
        /// Their name
        name: String,
        /// admin, user or read-only
        role: Role,
    },
}

#[derive(Args, Debug)]
#[allow(missing_docs)]
pub struct TokenArgs {
    #[command(subcommand)]
    pub command: TokenCommand,
    #[command(flatten)]
    pub folder: Folder,
}

#[derive(Subcommand, Debug)]
#[allow(missing_docs)]
pub enum TokenCommand {
    /// Make a token and print it, once
    Create {
        /// What it is for
        name: String,
        /// admin, user or read-only
        #[arg(long, default_value_t = Role::ReadOnly)]
        role: Role,
        /// The only methods it may call, as torrent_get; may be given several times
        #[arg(long = "method", value_name = "METHOD")]
        methods: Vec<String>,
        /// The only folders that it may name; may be given several times
        #[arg(long = "folder", value_name = "DIR")]
        folders: Vec<PathBuf>,
        /// How long it is good, as 12h, 30d or 1y [default: for ever]
        #[arg(long, value_name = "TIME", value_parser = lifetime)]
        expires: Option<u64>,
    },
    /// List the tokens that were handed out
    List,
    /// Take a token back
    Revoke {
        /// Its id, as the list has it
        id: String,
    },
}

/// Seconds of a time such as `90m`, `12h`, `30d` or `1y`.
fn lifetime(text: &str) -> Result<u64, String> {
    let wrong = || format!("'{text}' is no time: it looks like 90m, 12h, 30d or 1y");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        'y' => 365 * 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    number.checked_mul(seconds).filter(|&seconds| seconds > 0).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::lifetime;

    #[test]
    fn times_have_a_number_and_a_unit() {
        assert_eq!(lifetime("90m"), Ok(5400));
        assert_eq!(lifetime("30d"), Ok(2_592_000));
        for bad in ["", "d", "30", "-1d", "0h", "1w", "99999999999999999y", "1ä"] {
            assert!(lifetime(bad).is_err(), "{bad}");
        }
    }
}
