//! Connected peers as torrent_get tells them.

use api::{Base64, objects::Peer};
use engine::status::{Detail, PeerInfo};
use swarm::Source;

pub(super) fn all(detail: &Detail) -> Vec<Peer<'_>> {
    detail.peers.iter().map(peer).collect()
}

fn peer(info: &PeerInfo) -> Peer<'_> {
    let downloading = info.download_rate > 0;
    let uploading = info.upload_rate > 0;
    Peer {
        address: info.addr.ip().to_canonical().to_string(),
        bytes_to_client: info.downloaded,
        bytes_to_peer: info.uploaded,
        client_is_choked: info.chokes_us,
        client_is_interested: info.we_are_interested,
        client_name: info.client.as_str().into(),
        flag_str: flags(info),
        is_downloading_from: downloading,
        is_encrypted: false,
        is_incoming: info.incoming,
        is_uploading_to: uploading,
        is_utp: false,
        peer_id: Base64(info.id.as_slice().into()),
        peer_is_choked: info.choked,
        peer_is_interested: info.is_interested,
        port: info.addr.port(),
        progress: f64::from(info.progress).clamp(0.0, 1.0),
        rate_to_client: info.download_rate,
        rate_to_peer: info.upload_rate,
    }
}

/// Transmission's letters, in its order.
fn flags(info: &PeerInfo) -> String {
    let letters = [
        (info.optimistic, 'O'),
        (info.download_rate > 0, 'D'),
        (info.download_rate == 0 && info.we_are_interested && info.chokes_us, 'd'),
        (info.upload_rate > 0, 'U'),
        (info.upload_rate == 0 && info.is_interested && info.choked, 'u'),
        (!info.chokes_us && !info.we_are_interested, 'K'),
        (!info.choked && !info.is_interested, '?'),
        (info.source == Source::Dht, 'H'),
        (info.source == Source::Pex, 'X'),
        (info.incoming, 'I'),
    ];
    letters.iter().filter(|(holds, _)| *holds).map(|(_, letter)| letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_tell_who_waits_for_whom() {
        let mut info = PeerInfo {
            addr: "[::ffff:127.0.0.2]:6881".parse().unwrap(),
            id: [7; 20],
            client: "Test 1".to_owned(),
            source: Source::Incoming,
            incoming: true,
            progress: 0.5,
            we_are_interested: true,
            chokes_us: true,
            is_interested: true,
            choked: true,
            optimistic: false,
            downloaded: 1,
            uploaded: 2,
            download_rate: 0,
            upload_rate: 0,
        };
        assert_eq!(flags(&info), "duI");
        info.chokes_us = false;
        info.choked = false;
        info.download_rate = 5;
        info.upload_rate = 5;
        assert_eq!(flags(&info), "DUI");
        info.we_are_interested = false;
        info.is_interested = false;
        info.optimistic = true;
        assert_eq!(flags(&info), "ODUK?I");
        assert_eq!(peer(&info).address, "127.0.0.2");
    }
}
