//! One call by a known caller: whether they may make it, how long it takes, and the audit line that
//! tells of it. Every way in runs its calls through here.

use super::{Caller, confine, meter::Meter};
use api::{Access, RpcError};
use engine::Session;
use std::{future::Future, time::Instant};

/// Longest list of ids in an audit line, in bytes.
const IDS_BYTES: usize = 200;

/// Where calls are let through, counted and written down.
pub(crate) struct Desk {
    session: Session,
    meter: Meter,
}

/// A call that somebody wants to make.
pub(crate) struct Asked<'a> {
    /// Who.
    pub(crate) caller: &'a Caller,
    /// The method's JSON-RPC name, from a table.
    pub(crate) method: &'static str,
    /// What it asks of a caller.
    pub(crate) access: Access,
    /// The arguments as they were written: a JSON object, or nothing.
    pub(crate) params: Option<&'a str>,
}

impl Desk {
    pub(crate) fn new(session: Session) -> Desk {
        Desk { session, meter: Meter::default() }
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
            audit(asked, &(about(asked.params) + more), ended);
        }
    }

    /// Refuses a call that its caller may not make.
    pub(crate) async fn check(&self, asked: &Asked<'_>) -> Result<(), RpcError> {
        asked.caller.check_method(asked.method, asked.access)?;
        let fallback = || self.session.settings().download_dir;
        confine::check(asked.caller, asked.method, asked.params, fallback).await
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

/// What the arguments of a call say of the torrents that it is about: their ids as written, in
/// short. Neither passwords nor links, which may hold a tracker's passkey, get in.
pub(crate) fn about(params: Option<&str>) -> String {
    #[derive(serde::Deserialize)]
    struct Ids<'a> {
        #[serde(borrow, alias = "torrents", alias = "torrent")]
        ids: Option<&'a serde_json::value::RawValue>,
    }
    let ids = params.and_then(|text| serde_json::from_str::<Ids<'_>>(text).ok());
    let Some(ids) = ids.and_then(|ids| ids.ids).map(serde_json::value::RawValue::get) else {
        return String::new();
    };
    if ids.len() <= IDS_BYTES {
        return ids.to_owned();
    }
    let elements: Result<Vec<serde::de::IgnoredAny>, _> = serde_json::from_str(ids);
    match elements {
        Ok(elements) => format!("{} torrents", elements.len()),
        Err(_) => "unreadable ids".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::about;

    #[test]
    fn an_audit_line_has_ids_in_short_and_nothing_secret() {
        assert_eq!(about(None), "");
        assert_eq!(
            about(Some(r#"{"filename":"https://t/passkey","ids":[1,"ab"]}"#)),
            r#"[1,"ab"]"#
        );
        let many = format!(r#"{{"ids":{:?}}}"#, (0..1000).collect::<Vec<_>>());
        assert_eq!(about(Some(&many)), "1000 torrents");
        assert_eq!(about(Some("[")), "");
    }
}
