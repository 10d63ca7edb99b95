//! Bandwidth groups.

use super::{Control, Outcome, rules::put_limit};
use api::native::{Code, Failure, Group, GroupChange, GroupName, Nothing, call};
use engine::{GroupError, rules::Group as EngineGroup};
use serde_json::json;
use std::{collections::HashMap, sync::Arc};

pub(super) async fn list(control: Arc<Control>, _: Nothing) -> Outcome<call::GroupList> {
    let mut members: HashMap<String, u32> = HashMap::new();
    control.session.read(|catalog| {
        for torrent in catalog.iter().filter(|torrent| !torrent.rules.group.is_empty()) {
            match members.get_mut(&torrent.rules.group) {
                Some(count) => *count += 1,
                None => _ = members.insert(torrent.rules.group.clone(), 1),
            }
        }
    });
    let count = |group: &EngineGroup| members.get(&group.name).copied().unwrap_or(0);
    Ok(control.session.groups().iter().map(|group| told(group, count(group))).collect())
}

fn told(group: &EngineGroup, torrents: u32) -> Group {
    Group {
        name: group.name.clone(),
        upload_limit: group.upload.bytes(),
        download_limit: group.download.bytes(),
        honors_session_limits: group.honors_session_limits,
        torrents,
    }
}

pub(super) async fn set(control: Arc<Control>, params: GroupChange) -> Outcome<call::GroupSet> {
    let name = params.name.trim();
    let known = control.session.groups().into_iter().find(|group| group.name == name);
    let mut group =
        known.unwrap_or_else(|| EngineGroup { name: name.to_owned(), ..EngineGroup::default() });
    if let Some(bytes) = params.upload_limit {
        put_limit(&mut group.upload, bytes, "upload_limit")?;
    }
    if let Some(bytes) = params.download_limit {
        put_limit(&mut group.download, bytes, "download_limit")?;
    }
    group.honors_session_limits =
        params.honors_session_limits.unwrap_or(group.honors_session_limits);
    control.session.set_group(group.clone()).map_err(|error| refusal(&error, name))?;
    let members = control
        .session
        .read(|catalog| catalog.iter().filter(|torrent| torrent.rules.group == group.name).count());
    // There are far less than 2^32 torrents.
    Ok(told(&group, members as u32))
}

pub(super) async fn remove(control: Arc<Control>, params: GroupName) -> Outcome<call::GroupRemove> {
    let removed = control.session.remove_group(&params.name);
    removed.map(|()| Nothing {}).map_err(|error| refusal(&error, &params.name))
}

/// Why a group is not as it was to be.
pub(super) fn refusal(error: &GroupError, name: &str) -> Failure {
    let code = match error {
        GroupError::NoSuchGroup(_) => Code::NoSuchGroup,
        GroupError::NoName | GroupError::LongName | GroupError::TooMany => Code::InvalidParams,
    };
    Failure::new(code, error.to_string()).about(json!({ "group": name }))
}
