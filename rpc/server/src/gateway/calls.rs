//! One call by a known caller: whether they may make it, and the audit line that tells of it. Every
//! way in runs its calls through here.

use super::Caller;
use api::{Access, RpcError};

/// How a call ended, for the audit line.
pub(crate) type Ended<'a> = Result<(), &'a RpcError>;

/// Longest list of ids in an audit line, in bytes.
const IDS_BYTES: usize = 200;

/// Tells the log, target `audit`, of a call that changes something or was meant to. `about` says
/// what it was about: ids, or how many.
pub(crate) fn audit(caller: &Caller, method: &str, access: Access, about: &str, ended: Ended<'_>) {
    let ended = ended.map_err(|error| (error.code.number(), error.text()));
    tell(caller, method, access, about, ended);
}

/// The same for an error that is a number and a text.
pub(crate) fn tell(
    caller: &Caller,
    method: &str,
    access: Access,
    about: &str,
    ended: Result<(), (i32, &str)>,
) {
    if access == Access::Reads {
        return;
    }
    let (who, from) = (&*caller.who, caller.peer);
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
