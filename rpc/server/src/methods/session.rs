//! session_get, session_set, session_stats and free_space.

use super::{Control, nothing, system_error};
use crate::{disk, execute::Outcome, limits};
use api::{
    Code, RpcError, ToJson, Writer,
    objects::{Counters, SessionStats, Space},
    params::{FreeSpace, Params},
    session::{Encryption, SessionField, SessionSet, SessionValues},
};
use engine::{
    settings::Settings,
    status::{Activity, SessionCounters},
};
use std::{io, path::PathBuf, sync::Arc, time::Duration, time::Instant};

pub(super) async fn session_get(control: Arc<Control>, params: Params) -> Outcome {
    let fields = SessionField::asked(&params);
    let settings = control.session.settings();
    let free = match fields.contains(&SessionField::download_dir_free_space) {
        true => room(settings.download_dir.clone(), limits::DISK_PATIENCE).await.ok(),
        false => None,
    };
    let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
    let values = SessionValues {
        anti_brute_force_enabled: settings.anti_brute_force_enabled,
        anti_brute_force_threshold: settings.anti_brute_force_threshold,
        cache_size_mib: settings.cache_size_mib,
        dht_enabled: settings.dht_enabled,
        encryption: Encryption::of_word(&settings.encryption).unwrap_or(Encryption::Allowed),
        lpd_enabled: settings.lpd_enabled,
        pex_enabled: settings.pex_enabled,
        port_forwarding_enabled: settings.port_forwarding_enabled,
        utp_enabled: settings.transports().any(|way| way == "utp"),
        preferred_transports: settings
            .transports()
            .map(|way| if way == "utp" { "utp" } else { "tcp" })
            .collect(),
        config_dir: text(&control.config_dir),
        download_dir: text(&settings.download_dir),
        download_dir_free_space: free.map_or(-1, |room| signed(room.free)),
        blocklist_size: control.session.blocklist_size(),
        blocklist_enabled: settings.blocklist_enabled,
        blocklist_url: settings.blocklist_url.clone(),
        script_torrent_added_enabled: settings.script_torrent_added_enabled,
        script_torrent_added_filename: text(&settings.script_torrent_added_filename),
        script_torrent_done_enabled: settings.script_torrent_done_enabled,
        script_torrent_done_filename: text(&settings.script_torrent_done_filename),
        script_torrent_done_seeding_enabled: settings.script_torrent_done_seeding_enabled,
        script_torrent_done_seeding_filename: text(&settings.script_torrent_done_seeding_filename),
        trash_original_torrent_files: settings.trash_original_torrent_files,
        incomplete_dir: text(&settings.incomplete_dir),
        incomplete_dir_enabled: settings.incomplete_dir_enabled,
        rename_partial_files: settings.rename_partial_files,
        peer_limit_global: settings.peer_limit_global,
        peer_limit_per_torrent: settings.peer_limit_per_torrent,
        peer_port: port(&control, &settings),
        peer_port_random_on_start: settings.peer_port_random_on_start || settings.peer_port == 0,
        reqq: settings.reqq,
        sequential_download: settings.sequential_download,
        session_id: control.ids.current(Instant::now()),
        start_added_torrents: settings.start_added_torrents,
        default_trackers: settings.default_trackers.clone(),
        alt_speed_down: settings.alt_speed_down,
        alt_speed_enabled: settings.alt_speed_enabled,
        alt_speed_time_begin: settings.alt_speed_time_begin,
        alt_speed_time_day: settings.alt_speed_time_day,
        alt_speed_time_enabled: settings.alt_speed_time_enabled,
        alt_speed_time_end: settings.alt_speed_time_end,
        alt_speed_up: settings.alt_speed_up,
        speed_limit_down: settings.speed_limit_down,
        speed_limit_down_enabled: settings.speed_limit_down_enabled,
        speed_limit_up: settings.speed_limit_up,
        speed_limit_up_enabled: settings.speed_limit_up_enabled,
        download_queue_enabled: settings.download_queue_enabled,
        download_queue_size: settings.download_queue_size,
        idle_seeding_limit: settings.idle_seeding_limit,
        idle_seeding_limit_enabled: settings.idle_seeding_limit_enabled,
        queue_stalled_enabled: settings.queue_stalled_enabled,
        queue_stalled_minutes: settings.queue_stalled_minutes,
        seed_queue_enabled: settings.seed_queue_enabled,
        seed_queue_size: settings.seed_queue_size,
        seed_ratio_limit: settings.seed_ratio_limit,
        seed_ratio_limited: settings.seed_ratio_limited,
        ..SessionValues::default()
    };
    let mut writer = Writer::new(Vec::new(), params.dialect());
    values.write(&mut writer, &fields);
    Ok(writer.finish())
}

/// The port as it was set, which the next start takes; where any is taken, the one that was.
fn port(control: &Control, settings: &Settings) -> u16 {
    match settings.port_at_start() {
        0 => control.session.peer_addr().first().map_or(0, |addr| addr.port()),
        port => port,
    }
}

pub(super) async fn session_set(control: Arc<Control>, params: Params) -> Outcome {
    let set = SessionSet::parse(&params)?;
    if set == SessionSet::default() {
        return nothing();
    }
    control.keeper.change(|settings| changed(settings, set)).await?;
    nothing()
}

fn changed(mut settings: Settings, set: SessionSet) -> Result<Settings, RpcError> {
    fn put<T: TryFrom<i64>>(place: &mut T, value: Option<i64>, name: &str) -> Result<(), RpcError> {
        if let Some(value) = value {
            *place = T::try_from(value)
                .map_err(|_| RpcError::invalid(format!("{name} cannot be {value}")))?;
        }
        Ok(())
    }
    put(&mut settings.peer_limit_global, set.peer_limit_global, "peer_limit_global")?;
    put(
        &mut settings.peer_limit_per_torrent,
        set.peer_limit_per_torrent,
        "peer_limit_per_torrent",
    )?;
    put(&mut settings.peer_port, set.peer_port, "peer_port")?;
    put(&mut settings.reqq, set.reqq, "reqq")?;
    macro_rules! numbers {
        ($($name:ident)*) => { $( put(&mut settings.$name, set.$name, stringify!($name))?; )* };
    }
    macro_rules! as_given {
        ($($name:ident)*) => { $( settings.$name = set.$name.unwrap_or(settings.$name); )* };
    }
    numbers! {
        alt_speed_down alt_speed_time_begin alt_speed_time_day alt_speed_time_end alt_speed_up
        anti_brute_force_threshold cache_size_mib download_queue_size idle_seeding_limit queue_stalled_minutes seed_queue_size
        speed_limit_down speed_limit_up
    }
    as_given! {
        anti_brute_force_enabled dht_enabled lpd_enabled peer_port_random_on_start pex_enabled
        port_forwarding_enabled alt_speed_enabled alt_speed_time_enabled speed_limit_down_enabled speed_limit_up_enabled
        download_queue_enabled idle_seeding_limit_enabled queue_stalled_enabled seed_queue_enabled
        seed_ratio_limit seed_ratio_limited
    }
    if let Some(encryption) = set.encryption {
        settings.encryption = encryption.word().into();
    }
    if let Some(list) = set.preferred_transports {
        settings.preferred_transports = list.join(",");
    }
    if let Some(utp) = set.utp_enabled {
        let others = settings.transports().filter(|way| *way != "utp");
        settings.preferred_transports =
            utp.then_some("utp").into_iter().chain(others).collect::<Vec<_>>().join(",");
    }
    if let Some(folder) = set.download_dir {
        settings.download_dir = folder.into();
    }
    settings.blocklist_enabled = set.blocklist_enabled.unwrap_or(settings.blocklist_enabled);
    if let Some(text) = set.blocklist_url {
        settings.blocklist_url = text;
    }
    settings.script_torrent_added_enabled =
        set.script_torrent_added_enabled.unwrap_or(settings.script_torrent_added_enabled);
    if let Some(text) = set.script_torrent_added_filename {
        settings.script_torrent_added_filename = text.into();
    }
    settings.script_torrent_done_enabled =
        set.script_torrent_done_enabled.unwrap_or(settings.script_torrent_done_enabled);
    if let Some(text) = set.script_torrent_done_filename {
        settings.script_torrent_done_filename = text.into();
    }
    settings.script_torrent_done_seeding_enabled = set
        .script_torrent_done_seeding_enabled
        .unwrap_or(settings.script_torrent_done_seeding_enabled);
    if let Some(text) = set.script_torrent_done_seeding_filename {
        settings.script_torrent_done_seeding_filename = text.into();
    }
    settings.trash_original_torrent_files =
        set.trash_original_torrent_files.unwrap_or(settings.trash_original_torrent_files);
    if let Some(folder) = set.incomplete_dir {
        settings.incomplete_dir = folder.into();
    }
    settings.incomplete_dir_enabled =
        set.incomplete_dir_enabled.unwrap_or(settings.incomplete_dir_enabled);
    settings.rename_partial_files =
        set.rename_partial_files.unwrap_or(settings.rename_partial_files);
    if let Some(trackers) = set.default_trackers {
        settings.default_trackers = trackers;
    }
    settings.sequential_download = set.sequential_download.unwrap_or(settings.sequential_download);
    settings.start_added_torrents =
        set.start_added_torrents.unwrap_or(settings.start_added_torrents);
    settings.check().map_err(RpcError::invalid)?;
    Ok(settings)
}

pub(super) async fn session_stats(control: Arc<Control>, params: Params) -> Outcome {
    let (current, cumulative) = control.session.counters();
    let mut stats = control.session.read(|catalog| {
        let mut stats = SessionStats { torrent_count: catalog.len() as u64, ..Default::default() };
        for torrent in catalog.iter() {
            let active = matches!(torrent.activity, Activity::Downloading | Activity::Seeding);
            stats.active_torrent_count += u64::from(active);
            stats.download_speed += torrent.traffic.download_rate;
            stats.upload_speed += torrent.traffic.upload_rate;
        }
        stats
    });
    stats.paused_torrent_count = stats.torrent_count - stats.active_torrent_count;
    stats.current_stats = Counters { session_count: 1, ..counters(current) };
    stats.cumulative_stats = counters(cumulative);
    Ok(written(&stats, &params))
}

fn counters(counters: SessionCounters) -> Counters {
    Counters {
        downloaded_bytes: counters.downloaded,
        files_added: counters.files_added,
        seconds_active: counters.seconds_active,
        session_count: counters.sessions,
        uploaded_bytes: counters.uploaded,
    }
}

/// Errors carry the path too: a client shows the folder that it asked about.
pub(super) async fn free_space(_: Arc<Control>, params: Params) -> Outcome {
    let FreeSpace { path } = FreeSpace::parse(&params)?;
    let space = |size_bytes, total_size| {
        let space = Space { path: path.as_str().into(), size_bytes, total_size };
        written(&space, &params)
    };
    if !path.starts_with('/') {
        return Err(RpcError::from(Code::PathNotAbsolute).with_result(space(-1, -1)));
    }
    match room(path.clone().into(), limits::FREE_SPACE_PATIENCE).await {
        Ok(room) => Ok(space(signed(room.free), signed(room.total))),
        Err(error) => Err(system_error(&path, &error).with_result(space(-1, -1))),
    }
}

fn written(value: &impl ToJson, params: &Params) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), params.dialect());
    writer.value(value);
    writer.finish()
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// The room at a path that exists. A file system that hangs costs a waiting thread, not the caller.
pub(crate) async fn room(path: PathBuf, patience: Duration) -> io::Result<storage::FreeSpace> {
    disk::ask(patience, move || {
        path.metadata()?;
        storage::free_space(&path)
    })
    .await
}

/// The same, also where the path will be made when it is needed.
pub(crate) async fn room_to_be(
    path: PathBuf,
    patience: Duration,
) -> io::Result<storage::FreeSpace> {
    disk::ask(patience, move || storage::free_space(&path)).await
}
