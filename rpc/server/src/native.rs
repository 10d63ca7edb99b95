//! The native API on the engine: one function for each row of [`api::native::TABLE`].

mod add;
mod deltas;
mod detail;
mod endpoint;
mod groups;
mod list;
mod network;
mod orders;
mod rules;
mod server;
mod sockets;
mod stream;
mod view;

pub(crate) use endpoint::{Native, Place};
pub use stream::Feed;

use crate::keeper::Keeper;
use api::native::{Call, Code, Failure, Nothing, Subscribe, TorrentRef, call, openrpc};
use deltas::Ledger;
use engine::{
    Session,
    status::{Catalog, TorrentId},
};
use jsonrpsee::{
    Extensions, PendingSubscriptionSink, RpcModule, SubscriptionSink,
    types::{ErrorObjectOwned, Params},
};
use serde_json::{
    json,
    value::{RawValue, to_raw_value},
};
use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

/// What methods work with.
pub(crate) struct Control {
    pub(crate) session: Session,
    pub(crate) config_dir: PathBuf,
    pub(crate) keeper: Arc<Keeper>,
    /// When which field of which torrent last changed, for all subscribers together.
    pub(crate) ledger: Mutex<Ledger>,
}

impl Control {
    pub(crate) fn new(session: Session, config_dir: PathBuf, keeper: Arc<Keeper>) -> Control {
        Control { session, config_dir, keeper, ledger: Mutex::default() }
    }
}

/// What a method gives.
type Outcome<C> = Result<<C as Call>::Output, Failure>;

/// All methods and subscriptions.
pub(crate) fn module(control: Arc<Control>) -> RpcModule<Control> {
    let mut module = RpcModule::from_arc(control);
    let m = &mut module;
    register::<call::Discover, _, _>(m, discover);
    register_raw::<call::TorrentList, _, _>(m, list::list);
    register::<call::TorrentGet, _, _>(m, list::get);
    register::<call::TorrentFiles, _, _>(m, detail::files);
    register::<call::TorrentTrackers, _, _>(m, detail::trackers);
    register::<call::TorrentPeers, _, _>(m, detail::peers);
    register::<call::TorrentPieces, _, _>(m, detail::pieces);
    register::<call::TorrentAdd, _, _>(m, add::add);
    register::<call::TorrentStart, _, _>(m, orders::start);
    register::<call::TorrentStop, _, _>(m, orders::stop);
    register::<call::TorrentVerify, _, _>(m, orders::verify);
    register::<call::TorrentReannounce, _, _>(m, orders::reannounce);
    register::<call::TorrentRemove, _, _>(m, orders::remove);
    register::<call::TorrentMove, _, _>(m, orders::relocate);
    register::<call::TorrentRename, _, _>(m, orders::rename);
    register::<call::TorrentEdit, _, _>(m, orders::edit);
    register::<call::TorrentAddPeers, _, _>(m, orders::add_peers);
    register::<call::QueueMove, _, _>(m, orders::move_in_queue);
    register::<call::GroupList, _, _>(m, groups::list);
    register::<call::GroupSet, _, _>(m, groups::set);
    register::<call::GroupRemove, _, _>(m, groups::remove);
    register::<call::SettingsGet, _, _>(m, server::settings);
    register::<call::SettingsSet, _, _>(m, server::set_settings);
    register::<call::SettingsDescribe, _, _>(m, server::describe);
    register::<call::StatisticsGet, _, _>(m, server::statistics);
    register::<call::ServerInfo, _, _>(m, server::info);
    register::<call::ServerFreeSpace, _, _>(m, server::free_space);
    register::<call::ServerPortTest, _, _>(m, network::port_test);
    register::<call::BlocklistGet, _, _>(m, network::blocklist);
    register::<call::BlocklistUpdate, _, _>(m, network::update_blocklist);
    register::<call::ServerShutdown, _, _>(m, server::shutdown);
    subscribe::<call::Torrents, _, _>(m, stream::torrents);
    subscribe::<call::Events, _, _>(m, stream::events);
    subscribe::<call::Figures, _, _>(m, stream::figures);
    module
}

async fn discover(_: Arc<Control>, _: Nothing) -> Outcome<call::Discover> {
    match openrpc::document() {
        serde_json::Value::Object(document) => Ok(document),
        _ => Err(Failure::new(Code::Internal, "the description is no object")),
    }
}

fn register<C, F, R>(module: &mut RpcModule<Control>, method: F)
where
    C: Call,
    F: Fn(Arc<Control>, C::Params) -> R + Copy + Send + Sync + 'static,
    R: Future<Output = Outcome<C>> + Send,
{
    register_raw::<C, _, _>(module, move |control, params| async move {
        let output = method(control, params).await?;
        to_raw_value(&output).map_err(|error| Failure::new(Code::Internal, error.to_string()))
    });
}

/// The same for a method that writes its answer by itself.
fn register_raw<C, F, R>(module: &mut RpcModule<Control>, method: F)
where
    C: Call,
    F: Fn(Arc<Control>, C::Params) -> R + Copy + Send + Sync + 'static,
    R: Future<Output = Result<Box<RawValue>, Failure>> + Send,
{
    let run = move |params: Params<'static>, control: Arc<Control>, _: Extensions| async move {
        let params = parse::<C::Params>(&params).map_err(refusal)?;
        method(control, params).await.map_err(refusal)
    };
    module.register_async_method(C::NAME, run).expect("each method is registered once");
}

fn subscribe<S, F, R>(module: &mut RpcModule<Control>, run: F)
where
    S: Subscribe,
    S::Params: 'static,
    F: Fn(Arc<Control>, S::Params, SubscriptionSink) -> R + Copy + Send + Sync + 'static,
    R: Future<Output = ()> + Send,
{
    let begin = move |params: Params<'static>,
                      pending: PendingSubscriptionSink,
                      control: Arc<Control>,
                      _: Extensions| async move {
        match parse::<S::Params>(&params) {
            Err(failure) => pending.reject(refusal(failure)).await,
            Ok(params) => {
                if let Ok(sink) = pending.accept().await {
                    run(control, params, sink).await;
                }
            }
        }
    };
    module
        .register_subscription(S::NAME, S::NOTIFICATION, S::UNSUBSCRIBE, begin)
        .expect("each subscription is registered once");
}

/// Parameters by name; none at all are an empty object.
fn parse<P: serde::de::DeserializeOwned>(params: &Params<'_>) -> Result<P, Failure> {
    let text = params.as_str().map_or("", str::trim);
    let text = match text {
        "" | "[]" | "null" => "{}",
        text if text.starts_with('{') => text,
        _ => return Err(Failure::new(Code::InvalidParams, "parameters are given by name")),
    };
    serde_json::from_str(text).map_err(|error| Failure::new(Code::InvalidParams, error.to_string()))
}

fn refusal(failure: Failure) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(failure.code, failure.message, failure.data)
}

/// The torrent that a reference means.
fn find(catalog: &Catalog, wanted: &TorrentRef) -> Result<TorrentId, Failure> {
    let found = match wanted {
        TorrentRef::Id(id) => catalog.get(TorrentId(*id)),
        TorrentRef::Hash(text) => {
            api::ids::hash(text).and_then(|hash| catalog.by_hash(metainfo::InfoHash(hash)))
        }
    };
    found.map(|torrent| torrent.id).ok_or_else(|| {
        Failure::new(Code::NoSuchTorrent, format!("there is no torrent {wanted}"))
            .about(json!({ "torrent": wanted }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_named_or_absent() {
        let of = |text: Option<&'static str>| parse::<Nothing>(&Params::new(text));
        for good in [None, Some("{}"), Some("[]"), Some(" {} ")] {
            assert!(of(good).is_ok(), "{good:?}");
        }
        for bad in ["[1]", "7", "{\"x\":1}", "\"a\""] {
            assert_eq!(of(Some(bad)).unwrap_err().kind(), Some(Code::InvalidParams), "{bad}");
        }
    }
}
