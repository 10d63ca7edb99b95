//! port_test and blocklist_update, which ask other servers.

use super::{Control, object};
use crate::{execute::Outcome, limits};
use api::{
    Code, Name, RpcError,
    params::{Params, PortTest},
};
use engine::{BlocklistError, Family, Fetch};
use std::{net::SocketAddr, sync::Arc};

/// Asks a server whether it can reach the peer port.
pub(super) async fn port_test(control: Arc<Control>, params: Params) -> Outcome {
    let family = match PortTest::parse(&params)?.over_ipv6 {
        None => None,
        Some(true) => Some(Family::V6),
        Some(false) => Some(Family::V4),
    };
    let told = |is_open: Option<bool>, family: Option<Family>| {
        object(&params, |writer| {
            if let Some(is_open) = is_open {
                let name = Name { snake: "port_is_open", legacy: "port-is-open" };
                writer.key(name.in_dialect(params.dialect())).value(&is_open);
            }
            if let Some(family) = family {
                writer.key("ip_protocol").value(match family {
                    Family::V4 => "ipv4",
                    Family::V6 => "ipv6",
                });
            }
        })
    };
    let failed = |why: String| {
        let error = RpcError::new(Code::Http, format!("couldn't test port: {why}"));
        error.with_result(told(None, family))
    };
    let settings = control.session.settings();
    if settings.port_test_url.is_empty() {
        return Err(failed("the setting port_test_url names no server to ask".into()));
    }
    let port = control.session.peer_addr().first().map_or(settings.peer_port, SocketAddr::port);
    let port = port.to_string();
    let url = match settings.port_test_url.contains("{port}") {
        true => settings.port_test_url.replace("{port}", &port),
        false => settings.port_test_url + &port,
    };
    let fetch = Fetch {
        url: &url,
        cookies: None,
        family,
        limit: limits::PORT_TEST_BYTES,
        timeout: limits::PORT_TEST_PATIENCE,
    };
    let answer = fetch.run().await.map_err(|error| failed(error.to_string()))?;
    match answer.body.trim_ascii() {
        b"1" => Ok(told(Some(true), family.or(answer.family))),
        b"0" => Ok(told(Some(false), family.or(answer.family))),
        _ => Err(failed("the answer is neither 1 nor 0".into())),
    }
}

/// Reads the blocklist anew and tells how many rules it has.
pub(super) async fn blocklist_update(control: Arc<Control>, params: Params) -> Outcome {
    let rules = control.session.update_blocklist().await.map_err(|error| {
        let code = match error {
            BlocklistError::File { .. } | BlocklistError::Save(_) => Code::System,
            _ => Code::Http,
        };
        let what = match error {
            BlocklistError::Save(_) => "couldn't save blocklist",
            _ => "couldn't fetch blocklist",
        };
        RpcError::new(code, format!("{what}: {error}"))
    })?;
    Ok(object(&params, |writer| {
        let name = Name { snake: "blocklist_size", legacy: "blocklist-size" };
        writer.key(name.in_dialect(params.dialect())).value(&rules);
    }))
}
