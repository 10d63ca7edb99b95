//! torrent_set_location and torrent_rename_path.

use super::{Control, each_once, nothing, object, resolve};
use crate::execute::Outcome;
use api::{
    Code, RpcError,
    params::{Params, RenamePath, SetLocation},
};
use engine::PlaceError;
use std::{path::Path, sync::Arc};

/// Answers at once: moves go on in the background.
pub(super) async fn torrent_set_location(control: Arc<Control>, params: Params) -> Outcome {
    let set = SetLocation::parse(&params)?;
    let ids = each_once(control.session.read(|catalog| resolve(catalog, &set.ids)));
    for id in ids {
        match control.session.set_location(id, Path::new(&set.location), set.bring) {
            // A torrent that has gone meanwhile is one that the ids do not match.
            Ok(()) | Err(PlaceError::NoSuchTorrent) => {}
            Err(error) => return Err(RpcError::new(Code::System, error.to_string())),
        }
    }
    nothing()
}

/// Answers when the new name holds; what was asked is repeated, also with an error.
pub(super) async fn torrent_rename_path(control: Arc<Control>, params: Params) -> Outcome {
    let rename = RenamePath::parse(&params);
    let ids = each_once(control.selected(&params));
    let told = |id: Option<u32>| {
        object(&params, |writer| {
            if let Some(id) = id {
                writer.key("id").value(&id);
            }
            writer.key("path").value(rename.path.as_str());
            writer.key("name").value(rename.name.as_str());
        })
    };
    let [id] = ids[..] else {
        return Err(RpcError::invalid("torrent-rename-path requires 1 torrent"));
    };
    if rename.path.is_empty() {
        return Err(RpcError::invalid("path is missing").with_result(told(Some(id.0))));
    }
    match control.session.rename_path(id, &rename.path, &rename.name).await {
        Ok(()) => Ok(told(Some(id.0))),
        Err(error) => {
            let text = match error {
                PlaceError::Rename(reason) => format!("invalid argument: {reason}"),
                other => other.to_string(),
            };
            Err(RpcError::new(Code::System, text).with_result(told(Some(id.0))))
        }
    }
}
