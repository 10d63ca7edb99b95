//! The server itself: settings, figures, what it is, and its end.

use super::{Control, Outcome, view};
use crate::{
    limits,
    methods::{room, room_to_be},
};
use api::native::{
    Code, Counters, Failure, Folder, Info, Nothing, Room, Setting, SettingKind, Settings,
    SettingsChange, Shard, State, Statistics, VERSION, call,
};
use engine::{
    Session,
    settings::{Kind, Settings as EngineSettings, TABLE},
    status::{SessionCounters, ShardStatus},
};
use serde_json::{Map, Value, json};
use std::{io, sync::Arc};

fn values(settings: &EngineSettings) -> Result<Map<String, Value>, Failure> {
    match serde_json::to_value(settings) {
        Ok(Value::Object(values)) => Ok(values),
        _ => Err(Failure::new(Code::Internal, "the settings cannot be told")),
    }
}

pub(super) async fn settings(control: Arc<Control>, _: Nothing) -> Outcome<call::SettingsGet> {
    Ok(Settings { settings: values(&control.session.settings())? })
}

pub(super) async fn set_settings(
    control: Arc<Control>,
    params: SettingsChange,
) -> Outcome<call::SettingsSet> {
    let new = control.keeper.change(|settings| changed(&settings, params)).await?;
    Ok(Settings { settings: values(&new)? })
}

fn changed(settings: &EngineSettings, change: SettingsChange) -> Result<EngineSettings, Failure> {
    let mut all = values(settings)?;
    for (name, value) in change.settings {
        if !all.contains_key(&name) {
            let text = format!("there is no setting {name}: see settings.describe");
            return Err(Failure::new(Code::InvalidParams, text).about(json!({ "setting": name })));
        }
        all.insert(name.clone(), value);
        // One by one, because an error does not say which setting it is about.
        serde_json::from_value::<EngineSettings>(Value::Object(all.clone()))
            .map_err(|error| invalid(format!("{name}: {error}")))?;
    }
    let new: EngineSettings =
        serde_json::from_value(Value::Object(all)).map_err(|error| invalid(error.to_string()))?;
    if !new.download_dir.is_absolute() {
        let text = format!("the download folder {} is not absolute", new.download_dir.display());
        let about = json!({ "setting": "download_dir", "path": new.download_dir });
        return Err(Failure::new(Code::InvalidPath, text).about(about));
    }
    Ok(new)
}

/// A setting that cannot be so; the text begins with its name.
fn invalid(text: String) -> Failure {
    let name = text.split([' ', ':']).next().unwrap_or_default();
    let about = TABLE.iter().find(|row| row.name == name).map(|row| json!({ "setting": row.name }));
    Failure { data: about, ..Failure::new(Code::InvalidParams, text) }
}

pub(super) async fn describe(control: Arc<Control>, _: Nothing) -> Outcome<call::SettingsDescribe> {
    let now = values(&control.session.settings())?;
    let defaults = values(&EngineSettings::default())?;
    let of =
        |values: &Map<String, Value>, name: &str| values.get(name).cloned().unwrap_or_default();
    let rows = TABLE.iter().map(|row| {
        let (kind, range) = kind(row.kind);
        Setting {
            name: row.name.to_owned(),
            kind,
            least: range.map(|(least, _)| least),
            most: range.map(|(_, most)| most),
            unit: row.unit.to_owned(),
            restart: row.restart,
            doc: row.doc.split_whitespace().collect::<Vec<_>>().join(" "),
            value: of(&now, row.name),
            default: of(&defaults, row.name),
        }
    });
    Ok(rows.collect())
}

fn kind(kind: Kind) -> (SettingKind, Option<(f64, f64)>) {
    match kind {
        Kind::Switch => (SettingKind::Switch, None),
        Kind::Number { least, most } => (SettingKind::Number, Some((least as f64, most as f64))),
        Kind::Decimal => (SettingKind::Number, Some((0.0, f64::MAX))),
        Kind::Text => (SettingKind::Text, None),
        Kind::Path => (SettingKind::Path, None),
        Kind::Folders => (SettingKind::Folders, None),
    }
}

pub(super) async fn statistics(control: Arc<Control>, _: Nothing) -> Outcome<call::StatisticsGet> {
    Ok(figures(&control.session))
}

/// The figures of the whole session.
pub(super) fn figures(session: &Session) -> Statistics {
    let (this_run, all_runs) = session.counters();
    let mut statistics = session.read(|catalog| {
        // There are far less than 2^32 torrents.
        let mut all = Statistics { torrents: catalog.len() as u32, ..Statistics::default() };
        for torrent in catalog.iter() {
            let count = match view::state(torrent) {
                State::Downloading => &mut all.downloading,
                State::Moving => &mut all.moving,
                State::Seeding => &mut all.seeding,
                State::Verifying | State::QueuedToVerify => &mut all.verifying,
                State::QueuedToDownload | State::QueuedToSeed => &mut all.queued,
                State::Stopped => &mut all.stopped,
            };
            *count += 1;
            all.errors += u32::from(torrent.trouble.is_some());
            all.peers += torrent.traffic.peers;
            all.download_rate += torrent.traffic.download_rate;
            all.upload_rate += torrent.traffic.upload_rate;
        }
        all
    });
    statistics.this_run = counters(this_run);
    statistics.all_runs = counters(all_runs);
    statistics
}

fn counters(counters: SessionCounters) -> Counters {
    Counters {
        downloaded: counters.downloaded,
        uploaded: counters.uploaded,
        torrents_added: counters.files_added,
        runs: counters.sessions,
        seconds: counters.seconds_active,
    }
}

pub(super) async fn info(control: Arc<Control>, _: Nothing) -> Outcome<call::ServerInfo> {
    let session = &control.session;
    Ok(Info {
        name: "ringseed".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        api_version: VERSION.to_owned(),
        driver: session.driver().to_string(),
        peer_addresses: session.peer_addr().iter().map(ToString::to_string).collect(),
        config_dir: control.config_dir.to_string_lossy().into_owned(),
        ready: session.is_ready(),
        shards: session.shards().into_iter().map(shard).collect(),
    })
}

fn shard(shard: ShardStatus) -> Shard {
    Shard {
        running: shard.running,
        // There are far less than 2^32 torrents.
        torrents: shard.torrents as u32,
        restarts: shard.restarts,
    }
}

pub(super) async fn free_space(
    control: Arc<Control>,
    params: Folder,
) -> Outcome<call::ServerFreeSpace> {
    let Some(path) = params.path else {
        let folder = control.session.settings().download_dir;
        let path = folder.to_string_lossy().into_owned();
        return told(path, room_to_be(folder, limits::FREE_SPACE_PATIENCE).await);
    };
    if !path.starts_with('/') {
        return Err(Failure::new(Code::InvalidPath, format!("{path} is not an absolute path"))
            .about(json!({ "path": path })));
    }
    let room = room(path.clone().into(), limits::FREE_SPACE_PATIENCE).await;
    told(path, room)
}

fn told(path: String, room: io::Result<storage::FreeSpace>) -> Outcome<call::ServerFreeSpace> {
    match room {
        Ok(room) => Ok(Room { path, free: room.free, total: room.total }),
        Err(error) => {
            Err(Failure::new(Code::System, format!("{path}: {error}"))
                .about(json!({ "path": path })))
        }
    }
}

pub(super) async fn shutdown(control: Arc<Control>, _: Nothing) -> Outcome<call::ServerShutdown> {
    control.session.request_shutdown();
    Ok(Nothing {})
}
