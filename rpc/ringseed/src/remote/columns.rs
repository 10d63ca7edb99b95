//! How tables tell of a torrent.

use crate::human;
use api::native::{Field, State, Torrent, TroubleKind, Weight};

/// What the columns are made of.
pub(super) const FIELDS: [Field; 16] = [
    Field::name,
    Field::info_hash,
    Field::state,
    Field::error,
    Field::progress,
    Field::verify_progress,
    Field::move_progress,
    Field::size,
    Field::wanted_size,
    Field::left,
    Field::download_rate,
    Field::upload_rate,
    Field::ratio,
    Field::peers,
    Field::eta,
    Field::labels,
];

pub(super) fn name(torrent: &Torrent) -> String {
    torrent.name.clone().unwrap_or_default()
}

pub(super) fn status(torrent: &Torrent) -> String {
    let doing = match torrent.state {
        Some(State::Stopped) | None => "stopped".to_owned(),
        Some(State::QueuedToVerify) => "to verify".to_owned(),
        Some(State::Verifying) => {
            format!("verifying {}", human::percent(torrent.verify_progress.unwrap_or(0.0)))
        }
        Some(State::QueuedToDownload | State::QueuedToSeed) => "queued".to_owned(),
        Some(State::Moving) => {
            format!("moving {}", human::percent(torrent.move_progress.unwrap_or(0.0)))
        }
        Some(State::Downloading) => "downloading".to_owned(),
        Some(State::Seeding) => "seeding".to_owned(),
    };
    match torrent.error.as_ref().and_then(|error| error.as_ref()).map(|error| error.kind) {
        Some(TroubleKind::Local) => "error".to_owned(),
        Some(_) => format!("{doing} (!)"),
        None => doing,
    }
}

/// What is wrong; empty if nothing is.
pub(super) fn error(torrent: &Torrent) -> String {
    let error = torrent.error.as_ref().and_then(|error| error.as_ref());
    error.map(|error| error.message.clone()).unwrap_or_default()
}

pub(super) fn done(torrent: &Torrent) -> String {
    human::percent(torrent.progress.unwrap_or(0.0))
}

pub(super) fn size(torrent: &Torrent) -> String {
    human::bytes(torrent.size.unwrap_or(0))
}

pub(super) fn down(torrent: &Torrent) -> String {
    human::rate(torrent.download_rate.unwrap_or(0))
}

pub(super) fn up(torrent: &Torrent) -> String {
    human::rate(torrent.upload_rate.unwrap_or(0))
}

pub(super) fn ratio(torrent: &Torrent) -> String {
    torrent.ratio.flatten().map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"))
}

pub(super) fn peers(torrent: &Torrent) -> String {
    torrent.peers.unwrap_or(0).to_string()
}

pub(super) fn eta(torrent: &Torrent) -> String {
    let seconds = torrent.eta.flatten().and_then(|seconds| i64::try_from(seconds).ok());
    human::duration(seconds.unwrap_or(-1))
}

pub(super) fn priority(torrent: &Torrent) -> String {
    match torrent.priority {
        Some(Weight::Low) => "low",
        Some(Weight::Normal) | None => "normal",
        Some(Weight::High) => "high",
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::native::Trouble;

    #[test]
    fn a_status_tells_of_trouble() {
        let mut torrent = Torrent { state: Some(State::Seeding), ..Torrent::default() };
        assert_eq!(status(&torrent), "seeding");
        let trouble = |kind| Some(Some(Trouble { kind, message: "m".into() }));
        torrent.error = trouble(TroubleKind::TrackerError);
        assert_eq!((status(&torrent), error(&torrent)), ("seeding (!)".into(), "m".into()));
        torrent.error = trouble(TroubleKind::Local);
        assert_eq!(status(&torrent), "error");
        torrent = Torrent {
            state: Some(State::Verifying),
            verify_progress: Some(0.5),
            ..Torrent::default()
        };
        assert_eq!(status(&torrent), "verifying 50.0%");
        assert_eq!([ratio(&torrent), eta(&torrent), up(&torrent)], ["-", "-", "-"]);
    }
}
