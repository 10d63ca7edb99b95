//! An engine's torrent as the native API tells it.

use super::rules;
use crate::view;
use api::native::{IdleGoal, PeerOrigins, RatioGoal, State, Trouble, TroubleKind, View, Weight};
use engine::status::{Activity, Torrent, Trouble as EngineTrouble};

/// A torrent to be told about.
pub(super) struct Told<'a>(pub(super) &'a Torrent);

/// A time that is 0 for never.
fn time(seconds: u64) -> Option<u64> {
    (seconds != 0).then_some(seconds)
}

pub(super) fn state(torrent: &Torrent) -> State {
    match torrent.activity {
        Activity::Stopped => State::Stopped,
        Activity::QueuedToVerify => State::QueuedToVerify,
        Activity::Verifying => State::Verifying,
        Activity::Moving => State::Moving,
        Activity::QueuedToDownload => State::QueuedToDownload,
        Activity::Downloading => State::Downloading,
        Activity::QueuedToSeed => State::QueuedToSeed,
        Activity::Seeding => State::Seeding,
    }
}

impl View for Told<'_> {
    fn id(&self) -> u32 {
        self.0.id.0
    }

    fn name(&self) -> String {
        self.0.meta.layout.name().to_owned()
    }

    fn info_hash(&self) -> String {
        self.0.info_hash.to_string()
    }

    fn info_hash_v2(&self) -> Option<String> {
        self.0.meta.info_hash_v2.map(|hash| hash.to_string())
    }

    fn state(&self) -> State {
        state(self.0)
    }

    fn error(&self) -> Option<Trouble> {
        let (kind, message) = match self.0.trouble.as_ref()? {
            EngineTrouble::TrackerWarning(message) => (TroubleKind::TrackerWarning, message),
            EngineTrouble::TrackerError(message) => (TroubleKind::TrackerError, message),
            EngineTrouble::Local(message) => (TroubleKind::Local, message),
        };
        Some(Trouble { kind, message: message.clone() })
    }

    fn progress(&self) -> f64 {
        view::share(self.0.have_bytes, self.0.size_when_done())
    }

    fn verify_progress(&self) -> f64 {
        self.0.verify_progress
    }

    fn size(&self) -> u64 {
        self.0.meta.layout.geometry().total_length()
    }

    fn wanted_size(&self) -> u64 {
        self.0.size_when_done()
    }

    fn left(&self) -> u64 {
        self.0.left
    }

    fn have(&self) -> u64 {
        self.0.have_bytes
    }

    fn unverified(&self) -> u64 {
        self.0.traffic.unchecked
    }

    fn available(&self) -> u64 {
        self.0.traffic.desired_available
    }

    fn download_rate(&self) -> u64 {
        self.0.traffic.download_rate
    }

    fn upload_rate(&self) -> u64 {
        self.0.traffic.upload_rate
    }

    fn downloaded(&self) -> u64 {
        self.0.totals.downloaded
    }

    fn uploaded(&self) -> u64 {
        self.0.totals.uploaded
    }

    fn corrupt(&self) -> u64 {
        self.0.totals.corrupt
    }

    fn ratio(&self) -> Option<f64> {
        self.0.ratio()
    }

    fn eta(&self) -> Option<u64> {
        let rate = self.0.traffic.download_rate;
        let comes = self.0.activity == Activity::Downloading && rate > 0;
        comes.then(|| self.0.left.div_ceil(rate))
    }

    fn peers(&self) -> u32 {
        self.0.traffic.peers
    }

    fn peers_sending(&self) -> u32 {
        self.0.traffic.peers_sending
    }

    fn peers_getting(&self) -> u32 {
        self.0.traffic.peers_getting
    }

    fn seeds(&self) -> u32 {
        self.0.traffic.seeds
    }

    fn peer_limit(&self) -> u32 {
        self.0.peer_limit
    }

    fn peer_origins(&self) -> PeerOrigins {
        let [tracker, incoming, pex, dht, local, cache, manual] = self.0.traffic.peers_from;
        PeerOrigins { tracker, incoming, pex, dht, local, cache, manual }
    }

    fn sequential(&self) -> bool {
        self.0.sequential
    }

    fn sequential_from(&self) -> u32 {
        self.0.sequential_from
    }

    fn priority(&self) -> Weight {
        rules::weight(&self.0.rules)
    }

    fn upload_limit(&self) -> Option<u64> {
        self.0.rules.upload.bytes()
    }

    fn download_limit(&self) -> Option<u64> {
        self.0.rules.download.bytes()
    }

    fn honors_session_limits(&self) -> bool {
        self.0.rules.honors_session_limits
    }

    fn group(&self) -> Option<String> {
        Some(self.0.rules.group.clone()).filter(|group| !group.is_empty())
    }

    fn ratio_goal(&self) -> RatioGoal {
        rules::ratio_goal(&self.0.rules)
    }

    fn idle_goal(&self) -> IdleGoal {
        rules::idle_goal(&self.0.rules)
    }

    fn goal_reached(&self) -> bool {
        self.0.finished
    }

    fn queue_position(&self) -> u32 {
        // There are far less than 2^32 torrents.
        self.0.queue_position as u32
    }

    fn labels(&self) -> Vec<String> {
        self.0.labels.clone()
    }

    fn trackers(&self) -> Vec<Vec<String>> {
        self.0.trackers.clone()
    }

    fn web_seeds(&self) -> Vec<String> {
        self.0.meta.web_seeds.clone()
    }

    fn download_dir(&self) -> String {
        self.0.download_dir.to_string_lossy().into_owned()
    }

    fn incomplete_dir(&self) -> Option<String> {
        self.0.incomplete_dir.as_ref().map(|path| path.to_string_lossy().into_owned())
    }

    fn moving_to(&self) -> Option<String> {
        self.0.relocation.as_ref().map(|relocation| relocation.to.to_string_lossy().into_owned())
    }

    fn move_progress(&self) -> f64 {
        let relocation = self.0.relocation.as_ref().filter(|one| one.bytes_total > 0);
        relocation.map_or(0.0, |one| one.bytes_done as f64 / one.bytes_total as f64)
    }

    fn private(&self) -> bool {
        self.0.meta.private
    }

    fn piece_count(&self) -> u32 {
        self.0.meta.layout.geometry().piece_count()
    }

    fn piece_length(&self) -> u32 {
        self.0.meta.layout.geometry().piece_length()
    }

    fn file_count(&self) -> u32 {
        // A torrent has 2^32 files at most.
        view::visible_files(self.0).count() as u32
    }

    fn comment(&self) -> String {
        self.0.meta.description.comment.clone().unwrap_or_default()
    }

    fn creator(&self) -> String {
        self.0.meta.description.created_by.clone().unwrap_or_default()
    }

    fn source(&self) -> String {
        self.0.meta.description.source.clone().unwrap_or_default()
    }

    fn created_at(&self) -> Option<u64> {
        self.0.meta.description.creation_date
    }

    fn added_at(&self) -> u64 {
        self.0.added_date
    }

    fn started_at(&self) -> Option<u64> {
        time(self.0.start_date)
    }

    fn completed_at(&self) -> Option<u64> {
        time(self.0.totals.done_date)
    }

    fn edited_at(&self) -> Option<u64> {
        time(self.0.edit_date)
    }

    fn active_at(&self) -> Option<u64> {
        time(self.0.totals.activity_date)
    }

    fn seconds_downloading(&self) -> u64 {
        self.0.totals.seconds_downloading
    }

    fn seconds_seeding(&self) -> u64 {
        self.0.totals.seconds_seeding
    }

    fn magnet(&self) -> String {
        view::magnet(self.0)
    }
}
