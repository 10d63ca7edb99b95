//! One call by a known caller: whether they may make it, how long it takes, and the audit line that
//! tells of it. Every way in runs its calls through here.

use super::{Caller, Rules, caller::Proof, confine, meter::Meter, throttle::Buckets};
use api::{Access, Dialect, RpcError};
use engine::Session;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Longest list of ids or names in an audit line, in bytes.
const ABOUT_BYTES: usize = 200;

/// Where calls are let through, counted and written down.
pub(crate) struct Desk {
    session: Session,
    meter: Arc<Meter>,
    rules: Arc<Rules>,
    /// Requests and calls by user or token.
    by_user: Mutex<Buckets<Arc<str>>>,
}

/// A call that somebody wants to make.
pub(crate) struct Asked<'a> {
    /// Who.
    pub(crate) caller: &'a Caller,
    /// The method's JSON-RPC name, from a table.
    pub(crate) method: &'static str,
    /// What it asks of a caller.
    pub(crate) access: Access,
    /// How the arguments are spelled.
    pub(crate) dialect: Dialect,
    /// The arguments as they were written: a JSON object, or nothing.
    pub(crate) params: Option<&'a str>,
}

impl Desk {
    pub(crate) fn new(session: Session, rules: Arc<Rules>, meter: Arc<Meter>) -> Desk {
        Desk { session, meter, rules, by_user: Mutex::default() }
    }

    /// Counts so many requests or calls of a user or token, or says how long they have to wait.
    /// Who needs no log-in may ask as often as they like.
    pub(crate) fn charge(&self, caller: &Caller, calls: usize) -> Result<(), Duration> {
        if caller.proof == Proof::Nothing {
            return Ok(());
        }
        let rate = self.rules.now().user_rate;
        let mut buckets = self.by_user.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.take(Arc::clone(&caller.who), rate, calls, Instant::now())
    }

    /// What has been counted.
    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Runs a call if its caller may make it. `told` gives what the audit line is to say of the
    /// result besides the ids in the arguments; empty for nothing.
    pub(crate) async fn run<T>(
        &self,
        asked: Asked<'_>,
        call: impl Future<Output = Result<T, RpcError>>,
        told: impl FnOnce(&T) -> String,
    ) -> Result<T, RpcError> {
        let start = Instant::now();
        let outcome = match self.check(&asked).await {
            Ok(()) => call.await,
            Err(refusal) => Err(refusal),
        };
        let more = outcome.as_ref().map_or_else(|_| String::new(), told);
        let ended = outcome.as_ref().map(drop).map_err(|error| (error.code.number(), error.text()));
        self.ended(&asked, start, &more, ended);
        outcome
    }

    /// Counts a call that was begun at `start` and tells of it. `more` is what the audit line is to
    /// say besides the ids in the arguments; an error is a number and a text.
    pub(crate) fn ended(
        &self,
        asked: &Asked<'_>,
        start: Instant,
        more: &str,
        ended: Result<(), (i32, &str)>,
    ) {
        self.meter.call(asked.method, ended.err().map(|(code, _)| code), start.elapsed());
        if asked.access != Access::Reads {
            audit(asked, &(about(asked) + more), ended);
        }
    }

    /// Refuses a call that its caller may not make.
    pub(crate) async fn check(&self, asked: &Asked<'_>) -> Result<(), RpcError> {
        asked.caller.check_method(asked.method, asked.access)?;
        confine::check(asked, || self.session.settings()).await
    }
}

/// Tells the log, target `audit`, of a call that changes something or was meant to.
fn audit(asked: &Asked<'_>, about: &str, ended: Result<(), (i32, &str)>) {
    let (who, from, method) = (&*asked.caller.who, asked.caller.peer, asked.method);
    match ended {
        Ok(()) => {
            tracing::info!(target: "audit", who, %from, method, about, outcome = "done");
        }
        Err((code, reason)) => {
            tracing::info!(target: "audit", who, %from, method, about, outcome = "refused", code, reason);
        }
    }
}

/// What the arguments say of what the call is about: the ids of torrents as written, or the names
/// of settings, in short. Neither values nor links, which may hold a tracker's passkey, get in.
fn about(asked: &Asked<'_>) -> String {
    let params = asked.params.unwrap_or("{}");
    match asked.method {
        "session_set" => names(params),
        "settings.set" => {
            #[derive(serde::Deserialize)]
            struct Change<'a> {
                #[serde(borrow)]
                settings: &'a RawValue,
            }
            let change = serde_json::from_str::<Change<'_>>(params);
            change.map_or_else(|_| String::new(), |change| names(change.settings.get()))
        }
        _ => ids(params),
    }
}

fn names(object: &str) -> String {
    let members: BTreeMap<String, IgnoredAny> = serde_json::from_str(object).unwrap_or_default();
    let names = members.into_keys().collect::<Vec<_>>().join(" ");
    let fits = |(at, letter): &(usize, char)| at + letter.len_utf8() <= ABOUT_BYTES;
    names.char_indices().take_while(fits).map(|(_, letter)| letter).collect()
}

fn ids(params: &str) -> String {
    #[derive(serde::Deserialize)]
    struct Ids<'a> {
        #[serde(borrow, alias = "torrents", alias = "torrent")]
        ids: Option<&'a RawValue>,
    }
    let ids = serde_json::from_str::<Ids<'_>>(params).ok().and_then(|ids| ids.ids);
    let Some(ids) = ids.map(RawValue::get) else { return String::new() };
    if ids.len() <= ABOUT_BYTES {
        return ids.to_owned();
    }
    match serde_json::from_str::<Vec<IgnoredAny>>(ids) {
        Ok(elements) => format!("{} torrents", elements.len()),
        Err(_) => "unreadable ids".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::Peer;

    #[test]
    fn an_audit_line_has_ids_and_names_in_short_and_nothing_secret() {
        let caller = Caller::local(Peer::Unix);
        let about = |method: &'static str, params: Option<&str>| {
            let (access, dialect) = (Access::Changes, Dialect::JsonRpc);
            about(&Asked { caller: &caller, method, access, dialect, params })
        };
        assert_eq!(about("torrent_stop", None), "");
        let add = r#"{"filename":"https://t/passkey","ids":[1,"ab"]}"#;
        assert_eq!(about("torrent_set", Some(add)), r#"[1,"ab"]"#);
        let many = format!(r#"{{"torrents":{:?}}}"#, (0..1000).collect::<Vec<_>>());
        assert_eq!(about("torrent.stop", Some(&many)), "1000 torrents");
        assert_eq!(about("torrent_set", Some("[")), "");
        let set = r#"{"seed-ratio-limit":2,"blocklist-url":"https://list/key"}"#;
        assert_eq!(about("session_set", Some(set)), "blocklist-url seed-ratio-limit");
        let set = r#"{"settings":{"reqq":7}}"#;
        assert_eq!(about("settings.set", Some(set)), "reqq");
        let long = format!(r#"{{"{}":1}}"#, "ä".repeat(300));
        assert_eq!(about("session_set", Some(&long)).len(), ABOUT_BYTES);
    }
}
