//! The methods, each asking the engine. One row here for each row of [`api::method::TABLE`].

use crate::execute::{Outcome, register};
use crate::{gateway::SessionIds, keeper::Keeper};
use api::{
    Code, RpcError, Writer,
    ids::{Selector, Which},
    params::Params,
};
use engine::{
    Session,
    status::{Catalog, TorrentId},
};
use jsonrpsee::RpcModule;
use kept::KeptAnswers;
use std::{
    collections::HashSet,
    path::PathBuf,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

mod add;
mod get;
mod groups;
mod kept;
mod network;
mod places;
mod queue;
mod session;
mod set;

pub(crate) use add::read_file as read_torrent_file;
pub(crate) use session::{room, room_to_be};

/// What methods work with.
pub(crate) struct Control {
    session: Session,
    config_dir: PathBuf,
    keeper: Arc<Keeper>,
    ids: Arc<SessionIds>,
    kept: KeptAnswers,
}

impl Control {
    pub(crate) fn new(
        session: Session,
        config_dir: PathBuf,
        keeper: Arc<Keeper>,
        ids: Arc<SessionIds>,
    ) -> Control {
        let kept = KeptAnswers::default();
        Control { session, config_dir, keeper, ids, kept }
    }

    /// The torrents that a call is about, in its order.
    fn selected(&self, params: &Params) -> Vec<TorrentId> {
        self.session.read(|catalog| resolve(catalog, &params.selector()))
    }
}

/// All methods, by their JSON-RPC names.
pub(crate) fn module(control: Control) -> RpcModule<Control> {
    let mut module = RpcModule::new(control);
    let m = &mut module;
    register(m, "torrent_get", get::torrent_get);
    register(m, "torrent_add", add::torrent_add);
    register(m, "torrent_set", set::torrent_set);
    register(m, "torrent_remove", torrent_remove);
    register(m, "torrent_start", torrent_start);
    register(m, "torrent_start_now", torrent_start_now);
    register(m, "torrent_stop", torrent_stop);
    register(m, "torrent_verify", torrent_verify);
    register(m, "torrent_reannounce", torrent_reannounce);
    register(m, "torrent_set_location", places::torrent_set_location);
    register(m, "torrent_rename_path", places::torrent_rename_path);
    register(m, "queue_move_top", queue::top);
    register(m, "queue_move_up", queue::up);
    register(m, "queue_move_down", queue::down);
    register(m, "queue_move_bottom", queue::bottom);
    register(m, "group_get", groups::group_get);
    register(m, "group_set", groups::group_set);
    register(m, "session_get", session::session_get);
    register(m, "session_set", session::session_set);
    register(m, "session_stats", session::session_stats);
    register(m, "session_close", session_close);
    register(m, "blocklist_update", network::blocklist_update);
    register(m, "port_test", network::port_test);
    register(m, "free_space", session::free_space);
    module
}

/// In the order of the queue, so that those in front get the free places.
async fn torrent_start(control: Arc<Control>, params: Params) -> Outcome {
    let mut ids = control.selected(&params);
    control.session.settle_queue();
    control.session.read(|catalog| {
        ids.sort_by_key(|&id| catalog.get(id).map(|torrent| torrent.queue_position));
    });
    control.session.start_torrents(&ids);
    nothing()
}

async fn torrent_start_now(control: Arc<Control>, params: Params) -> Outcome {
    control.session.start_torrents_now(&control.selected(&params));
    nothing()
}

async fn torrent_stop(control: Arc<Control>, params: Params) -> Outcome {
    control.session.stop_torrents(&control.selected(&params));
    nothing()
}

async fn torrent_verify(control: Arc<Control>, params: Params) -> Outcome {
    control.session.verify(&control.selected(&params));
    nothing()
}

async fn torrent_reannounce(control: Arc<Control>, params: Params) -> Outcome {
    control.session.reannounce(&control.selected(&params));
    nothing()
}

async fn torrent_remove(control: Arc<Control>, params: Params) -> Outcome {
    let remove = api::params::TorrentRemove::parse(&params);
    let ids = control.session.read(|catalog| resolve(catalog, &remove.ids));
    control.session.remove(&ids, remove.delete_local_data);
    nothing()
}

async fn session_close(control: Arc<Control>, _: Params) -> Outcome {
    control.session.request_shutdown();
    nothing()
}

/// The result of a method that gives none.
fn nothing() -> Outcome {
    Ok(b"{}".to_vec())
}

/// An object of one dialect, written in one go.
fn object(params: &Params, write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), params.dialect());
    writer.begin_object();
    write(&mut writer);
    writer.end_object();
    writer.finish()
}

/// The ids of the torrents selected, in the selection's order; what matches none is skipped.
fn resolve(catalog: &Catalog, selector: &Selector) -> Vec<TorrentId> {
    let recent = || {
        let since = unix_now().saturating_sub(crate::limits::RECENT);
        catalog.changed_at_or_after(since)
    };
    match selector {
        Selector::All => catalog.iter().map(|torrent| torrent.id).collect(),
        Selector::RecentlyActive => recent(),
        Selector::These(list) => {
            let mut ids = Vec::with_capacity(list.len());
            let mut asks_for_recent = false;
            for which in list {
                match *which {
                    Which::Id(id) => {
                        ids.extend(catalog.get(TorrentId(id)).map(|torrent| torrent.id))
                    }
                    Which::Hash(hash) => ids.extend(
                        catalog.by_hash(metainfo::InfoHash(hash)).map(|torrent| torrent.id),
                    ),
                    Which::RecentlyActive if asks_for_recent => {}
                    Which::RecentlyActive => {
                        asks_for_recent = true;
                        ids.extend(recent());
                    }
                }
            }
            match ids.len() > catalog.len() + api::limits::REPETITIONS {
                true => each_once(ids),
                false => ids,
            }
        }
    }
}

/// The same without repetitions: for calls that change something.
fn each_once(mut ids: Vec<TorrentId>) -> Vec<TorrentId> {
    let mut seen = HashSet::new();
    ids.retain(|id| seen.insert(*id));
    ids
}

fn system_error(context: &str, error: &std::io::Error) -> RpcError {
    RpcError::new(Code::System, format!("{context}: {error}"))
}

pub(crate) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn every_method_of_the_table_is_registered_and_no_other() {
        let source = include_str!("methods.rs");
        let registered: BTreeSet<&str> = source
            .lines()
            .filter_map(|line| line.trim().strip_prefix("register(m, \"")?.split('"').next())
            .collect();
        let table: BTreeSet<&str> = api::method::TABLE.iter().map(|method| method.name).collect();
        assert_eq!(registered, table);
    }
}
