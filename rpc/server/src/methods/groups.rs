//! group_get and group_set: bandwidth groups.

use super::{Control, nothing, object};
use crate::execute::Outcome;
use api::{
    RpcError, objects,
    params::{GroupSet, Params, groups_asked},
};
use engine::rules::Group;
use std::sync::Arc;

pub(super) async fn group_get(control: Arc<Control>, params: Params) -> Outcome {
    let asked = groups_asked(&params);
    let mut groups = control.session.groups();
    groups.retain(|group| asked.as_ref().is_none_or(|names| names.contains(&group.name)));
    let groups: Vec<objects::Group<'_>> = groups.iter().map(told).collect();
    Ok(object(&params, |writer| {
        writer.key("group").value(&groups);
    }))
}

fn told(group: &Group) -> objects::Group<'_> {
    objects::Group {
        honors_session_limits: group.honors_session_limits,
        name: group.name.as_str().into(),
        speed_limit_down: group.download.kilobytes,
        speed_limit_down_enabled: group.download.enabled,
        speed_limit_up: group.upload.kilobytes,
        speed_limit_up_enabled: group.upload.enabled,
    }
}

pub(super) async fn group_set(control: Arc<Control>, params: Params) -> Outcome {
    let set = GroupSet::parse(&params)?;
    let known = control.session.groups().into_iter().find(|group| group.name == set.name);
    let mut group = known.unwrap_or_else(|| Group { name: set.name.clone(), ..Group::default() });
    let GroupSet { honors_session_limits, .. } = set;
    group.honors_session_limits = honors_session_limits.unwrap_or(group.honors_session_limits);
    let down = &mut group.download;
    down.kilobytes = set.speed_limit_down.unwrap_or(down.kilobytes);
    down.enabled = set.speed_limit_down_enabled.unwrap_or(down.enabled);
    let up = &mut group.upload;
    up.kilobytes = set.speed_limit_up.unwrap_or(up.kilobytes);
    up.enabled = set.speed_limit_up_enabled.unwrap_or(up.enabled);
    control.session.set_group(group).map_err(|error| RpcError::invalid(error.to_string()))?;
    nothing()
}
