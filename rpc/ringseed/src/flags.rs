//! The flags that the engine's table of settings yields: one for each row, checked as it says.

use clap::{
    Arg, ArgMatches, Args, Command, FromArgMatches, builder::PossibleValuesParser, value_parser,
};
use engine::settings::{Kind, Row, TABLE};
use toml_edit::Value;

/// Settings given on the command line, by their names. The daemon takes all, a command that runs
/// an engine for itself all but those that it decides.
#[derive(Debug, Clone, Default)]
pub struct SettingsFlags<const DAEMON: bool>(pub Vec<(&'static str, Value)>);

/// Settings that `ringseed get` has its own words for, or no use.
const DAEMON_ONLY: &[&str] = &[
    "download_dir",
    "incomplete_dir",
    "incomplete_dir_enabled",
    "rpc_bind",
    "rpc_socket_mode",
    "rpc_whitelist",
    "rpc_host_whitelist",
    "rpc_cors_origins",
    "rpc_rate_limit",
    "rpc_user_rate_limit",
    "anti_brute_force_enabled",
    "anti_brute_force_threshold",
    "rpc_tls_cert",
    "rpc_tls_key",
    "web_home",
    "start_added_torrents",
    "default_trackers",
    "alt_speed_up",
    "alt_speed_down",
    "alt_speed_enabled",
    "alt_speed_time_enabled",
    "alt_speed_time_begin",
    "alt_speed_time_end",
    "alt_speed_time_day",
    "download_queue_enabled",
    "download_queue_size",
    "seed_queue_enabled",
    "seed_queue_size",
    "queue_stalled_enabled",
    "queue_stalled_minutes",
];

impl<const DAEMON: bool> SettingsFlags<DAEMON> {
    fn rows() -> impl Iterator<Item = &'static Row> {
        let rows = TABLE.iter().filter(|row| row.kind != Kind::Folders);
        rows.filter(|row| DAEMON || !DAEMON_ONLY.contains(&row.name))
    }
}

impl<const DAEMON: bool> Args for SettingsFlags<DAEMON> {
    fn augment_args(command: Command) -> Command {
        Self::rows()
            .fold(command.next_help_heading("Settings"), |command, row| command.arg(arg(row)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn arg(row: &'static Row) -> Arg {
    let doc: Vec<&str> = row.doc.lines().map(str::trim).collect();
    let help = doc.join(" ").trim().trim_end_matches('.').to_owned();
    let arg = Arg::new(row.name).long(row.name.replace('_', "-")).help(help);
    match row.kind {
        Kind::Switch => arg
            .value_parser(value_parser!(bool))
            .value_name("BOOL")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
        Kind::Number { least, most } => arg
            .value_parser(value_parser!(u64).range(least..=most))
            .value_name(if row.unit.is_empty() { "N" } else { row.unit }),
        Kind::Decimal => arg.value_parser(value_parser!(f64)).value_name("N"),
        Kind::Text if row.name == "driver" => {
            arg.value_parser(PossibleValuesParser::new(["auto", "uring", "mio"]))
        }
        Kind::Text => arg.value_name("TEXT"),
        Kind::Path | Kind::Folders => arg.value_name("PATH"),
    }
}

impl<const DAEMON: bool> FromArgMatches for SettingsFlags<DAEMON> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let value = |row: &Row| -> Option<Value> {
            match row.kind {
                Kind::Switch => matches.get_one::<bool>(row.name).map(|&value| value.into()),
                // The table's largest number fits.
                Kind::Number { .. } => matches
                    .get_one::<u64>(row.name)
                    .map(|&value| i64::try_from(value).unwrap_or(i64::MAX).into()),
                Kind::Folders => None,
                Kind::Decimal => matches.get_one::<f64>(row.name).map(|&value| value.into()),
                Kind::Text | Kind::Path => matches.get_one::<String>(row.name).map(Value::from),
            }
        };
        Ok(SettingsFlags(Self::rows().filter_map(|row| Some((row.name, value(row)?))).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn daemon(flags: &[&str]) -> Result<Vec<(&'static str, String)>, clap::error::ErrorKind> {
        let line = ["ringseed", "daemon"].iter().chain(flags);
        let cli = Cli::try_parse_from(line).map_err(|error| error.kind())?;
        let Command::Daemon(args) = cli.command else { panic!() };
        let shown = |(name, value): &(_, toml_edit::Value)| (*name, value.to_string());
        Ok(args.settings.0.iter().map(shown).collect())
    }

    #[test]
    fn each_row_of_the_table_is_a_flag() {
        assert_eq!(daemon(&[]).unwrap(), []);
        let given =
            daemon(&["--peer-port", "7", "--zero-copy=false", "--preallocate", "--driver", "mio"]);
        let expected = [
            ("peer_port", "7"),
            ("driver", "\"mio\""),
            ("zero_copy", "false"),
            ("preallocate", "true"),
        ];
        assert_eq!(given.unwrap(), expected.map(|(name, value)| (name, value.to_owned())));
    }

    #[test]
    fn values_out_of_range_are_wrong_usage() {
        for bad in
            [["--peer-port", "65536"], ["--reqq", "0"], ["--driver", "epoll"], ["--cores", "x"]]
        {
            assert!(daemon(&bad).is_err(), "{bad:?}");
        }
    }
}
