//! Options that set what holds for the whole session.

use crate::run::{Step, run_all};
use anyhow::Result;
use ringseed_tests::pair::{At, Pair};
use ringseed_tests::{Release, Scene};

/// What both remotes can set.
const BOTH: &[Step] = &[
    (&["-as"], &["alt_speed_enabled"]),
    (&["-AS"], &["alt_speed_enabled"]),
    (&["-asd", "77"], &["alt_speed_down"]),
    (&["-asu", "33"], &["alt_speed_up"]),
    (&["--alt-speed-time-begin", "0130"], &["alt_speed_time_begin"]),
    (&["--alt-speed-time-end", "2245"], &["alt_speed_time_end"]),
    (&["--alt-speed-days", "1-5"], &["alt_speed_time_day"]),
    (&["-asc"], &["alt_speed_time_enabled"]),
    (&["-ASC"], &["alt_speed_time_enabled"]),
    (&["-c", "{folder}/incomplete"], &["incomplete_dir", "incomplete_dir_enabled"]),
    (&["-C"], &["incomplete_dir_enabled"]),
    (&["-d", "111"], &["speed_limit_down", "speed_limit_down_enabled"]),
    (&["-D"], &["speed_limit_down_enabled"]),
    (&["-u", "222"], &["speed_limit_up", "speed_limit_up_enabled"]),
    (&["-U"], &["speed_limit_up_enabled"]),
    (&["-e", "7"], &["cache_size_mib"]),
    (&["-er"], &["encryption"]),
    (&["-et"], &["encryption"]),
    (&["-ep"], &["encryption"]),
    (&["-m"], &["port_forwarding_enabled"]),
    (&["-M"], &["port_forwarding_enabled"]),
    (&["-o"], &["dht_enabled"]),
    (&["-O"], &["dht_enabled"]),
    (&["-p", "12345"], &["peer_port"]),
    (&["-P"], &["peer_port_random_on_start"]),
    (&["-pr", "99"], &["peer_limit_global"]),
    (
        &["--torrent-done-script", "{folder}/done"],
        &["script_torrent_done_enabled", "script_torrent_done_filename"],
    ),
    (&["--no-torrent-done-script"], &["script_torrent_done_enabled"]),
    (&["-gsr", "1.25"], &["seed_ratio_limit", "seed_ratio_limited"]),
    (&["-GSR"], &["seed_ratio_limited"]),
    (&["--start-paused"], &["start_added_torrents"]),
    (&["--no-start-paused"], &["start_added_torrents"]),
    (&["--trash-torrent"], &["trash_original_torrent_files"]),
    (&["--no-trash-torrent"], &["trash_original_torrent_files"]),
    (&["--utp"], &["utp_enabled"]),
    (&["--no-utp"], &["utp_enabled"]),
    (&["-x"], &["pex_enabled"]),
    (&["-X"], &["pex_enabled"]),
    (&["-y"], &["lpd_enabled"]),
    (&["-Y"], &["lpd_enabled"]),
    (&["-w", "{folder}/other"], &["download_dir"]),
];

/// What only 4.1's can.
const NEWER: &[Step] = &[
    (&["-gisl", "45"], &["idle_seeding_limit", "idle_seeding_limit_enabled"]),
    (&["-GISL"], &["idle_seeding_limit_enabled"]),
    (
        &["--torrent-done-seeding-script", "{folder}/seeded"],
        &["script_torrent_done_seeding_enabled", "script_torrent_done_seeding_filename"],
    ),
    (&["--no-torrent-done-seeding-script"], &["script_torrent_done_seeding_enabled"]),
    (&["--preferred-transports", "utp,tcp"], &["preferred_transports"]),
    (&["-seq"], &["sequential_download"]),
    (&["-SEQ"], &["sequential_download"]),
];

pub fn settings_of_the_session(scene: &Scene, release: Release) -> Result<()> {
    let mut pair = Pair::start(scene)?;
    let mut steps = BOTH.to_vec();
    if release == Release::V4 {
        steps.extend(NEWER);
    }
    run_all(&mut pair, release, At::Session, &steps).result()
}
