//! What asks other servers: the test of the port, the blocklist, .torrent files by address.

use super::{Control, Outcome};
use crate::limits;
use api::native::{
    AddressFamily, BlocklistState, Code, Failure, Nothing, PortState, PortTest, call,
};
use engine::{BlocklistError, Family, Fetch};
use std::{net::SocketAddr, sync::Arc};

fn failed(text: impl std::fmt::Display) -> Failure {
    Failure::new(Code::Http, text.to_string())
}

/// The bytes of a .torrent on a web server.
pub(super) async fn torrent(url: &str, cookies: Option<&str>) -> Result<Vec<u8>, Failure> {
    let fetch = Fetch {
        url,
        cookies,
        family: None,
        limit: metainfo::limits::TORRENT_BYTES,
        timeout: limits::FETCH_PATIENCE,
    };
    Ok(fetch.run().await.map_err(failed)?.body)
}

pub(super) async fn port_test(
    control: Arc<Control>,
    params: PortTest,
) -> Outcome<call::ServerPortTest> {
    let family = params.family.map(|family| match family {
        AddressFamily::Ipv4 => Family::V4,
        AddressFamily::Ipv6 => Family::V6,
    });
    let settings = control.session.settings();
    if settings.port_test_url.is_empty() {
        return Err(failed("the setting port_test_url names no server to ask"));
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
    let answer = fetch.run().await.map_err(failed)?;
    let open = match answer.body.trim_ascii() {
        b"1" => true,
        b"0" => false,
        _ => return Err(failed("the answer is neither 1 nor 0")),
    };
    let family = family.or(answer.family).map(|family| match family {
        Family::V4 => AddressFamily::Ipv4,
        Family::V6 => AddressFamily::Ipv6,
    });
    Ok(PortState { open, family })
}

pub(super) async fn blocklist(control: Arc<Control>, _: Nothing) -> Outcome<call::BlocklistGet> {
    Ok(BlocklistState {
        rules: control.session.blocklist_size(),
        enabled: control.session.settings().blocklist_enabled,
    })
}

pub(super) async fn update_blocklist(
    control: Arc<Control>,
    _: Nothing,
) -> Outcome<call::BlocklistUpdate> {
    let updated = control.session.update_blocklist().await;
    let rules = updated.map_err(|error| match error {
        BlocklistError::File { .. } | BlocklistError::Save(_) => {
            Failure::new(Code::System, error.to_string())
        }
        error => failed(error),
    })?;
    Ok(BlocklistState { rules, enabled: control.session.settings().blocklist_enabled })
}
