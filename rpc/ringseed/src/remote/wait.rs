//! Waiting for long work, with a bar for each torrent.

use anyhow::bail;
use api::native::{
    Changes, Event, EventKind, EventStream, Field, State, Torrent, TorrentStream, call,
};
use client::{Client, Subscription};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::collections::BTreeMap;

/// What happens from some moment on.
pub(super) struct Watch {
    events: Subscription<Event>,
}

/// Bars shown at a time: more than fit a terminal help nobody.
const BARS: usize = 10;

impl Watch {
    pub(super) async fn begin(client: &Client) -> anyhow::Result<Watch> {
        let kinds = vec![EventKind::Verified, EventKind::Error, EventKind::Removed];
        let events = client.subscribe::<call::Events>(EventStream { kinds: Some(kinds) }).await?;
        Ok(Watch { events })
    }

    /// Waits until each has been checked.
    pub(super) async fn until_verified(
        mut self,
        client: &Client,
        torrents: &[Torrent],
    ) -> anyhow::Result<()> {
        let mut left: BTreeMap<u32, &Torrent> =
            torrents.iter().map(|torrent| (torrent.id, torrent)).collect();
        let mut bars = Bars::new(&left);
        let mut changes = subscribe(client).await?;
        while !left.is_empty() {
            tokio::select! {
                event = self.events.next() => {
                    let Some(event) = event else { bail!("the daemon has closed the connection") };
                    let event = event?;
                    if event.kind == EventKind::Missed {
                        bail!("too much happened at once to follow it: see `ringseed list`");
                    }
                    let Some(torrent) = event.id.and_then(|id| left.remove(&id)) else { continue };
                    bars.end(torrent.id);
                    if event.kind != EventKind::Verified {
                        let name = torrent.name.as_deref().unwrap_or_default();
                        let reason = event.message.unwrap_or_else(|| "it was removed".to_owned());
                        bail!("{name} is not verified: {reason}");
                    }
                }
                message = changes.next() => match message {
                    Some(message) => bars.show(message?, &left),
                    None => bail!("the daemon has closed the connection"),
                },
            }
        }
        Ok(())
    }
}

async fn subscribe(client: &Client) -> anyhow::Result<Subscription<Changes>> {
    let fields = vec![
        Field::name,
        Field::state,
        Field::error,
        Field::verify_progress,
        Field::moving_to,
        Field::move_progress,
    ];
    let params = TorrentStream { fields: Some(fields), interval: 200 };
    Ok(client.subscribe::<call::Torrents>(params).await?)
}

/// Waits until the files of each are where they were to go.
pub(super) async fn until_moved(client: &Client, torrents: &[Torrent]) -> anyhow::Result<()> {
    until(client, torrents, |torrent| torrent.moving_to == Some(None)).await
}

/// Waits until each runs, which it does once what is there of it has been checked.
pub(super) async fn until_running(client: &Client, torrents: &[Torrent]) -> anyhow::Result<()> {
    // One that is in a queue runs as far as checking is concerned.
    let runs = [State::Downloading, State::Seeding, State::QueuedToDownload, State::QueuedToSeed];
    until(client, torrents, |torrent| torrent.state.is_some_and(|state| runs.contains(&state)))
        .await
}

/// Waits until something holds of each, or an error stops one.
async fn until(
    client: &Client,
    torrents: &[Torrent],
    holds: impl Fn(&Torrent) -> bool,
) -> anyhow::Result<()> {
    let mut left: BTreeMap<u32, &Torrent> =
        torrents.iter().map(|torrent| (torrent.id, torrent)).collect();
    let mut known = BTreeMap::new();
    let mut bars = Bars::new(&left);
    let mut changes = subscribe(client).await?;
    while !left.is_empty() {
        let Some(message) = changes.next().await else {
            bail!("the daemon has closed the connection");
        };
        let message = message?;
        bars.show(message.clone(), &left);
        message.apply(&mut known);
        for id in left.keys().copied().collect::<Vec<_>>() {
            let Some(torrent) = known.get(&id) else { bail!("torrent {id} was removed") };
            let name = torrent.name.as_deref().unwrap_or_default();
            match (torrent.state, &torrent.error) {
                (Some(State::Stopped), Some(Some(trouble))) => bail!("{name}: {}", trouble.message),
                _ if holds(torrent) => {
                    left.remove(&id);
                    bars.end(id);
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// A bar for each torrent that is being checked or moved; none if stderr is no terminal.
struct Bars {
    all: MultiProgress,
    bars: BTreeMap<u32, ProgressBar>,
}

impl Bars {
    /// With a bar at once for the first that are waited for: work may be over before a message tells
    /// how far it is.
    fn new(left: &BTreeMap<u32, &Torrent>) -> Bars {
        let mut bars = Bars { all: MultiProgress::new(), bars: BTreeMap::new() };
        for torrent in left.values().take(BARS) {
            bars.of(torrent).tick();
        }
        bars
    }

    fn of(&mut self, torrent: &Torrent) -> &ProgressBar {
        self.bars.entry(torrent.id).or_insert_with(|| {
            let name = crate::human::plain(torrent.name.as_deref().unwrap_or_default());
            self.all.add(bar(name))
        })
    }

    fn show(&mut self, changes: Changes, left: &BTreeMap<u32, &Torrent>) {
        for torrent in changes.torrents {
            let share = torrent.verify_progress.into_iter().chain(torrent.move_progress);
            let share = share.fold(0.0, f64::max);
            let Some(asked) = left.get(&torrent.id) else { continue };
            let is_shown = self.bars.contains_key(&torrent.id);
            let is_busy = share > 0.0
                || matches!(torrent.state, Some(State::Verifying | State::QueuedToVerify))
                || torrent.moving_to.is_some_and(|to| to.is_some());
            if !is_shown && (!is_busy || self.bars.len() >= BARS) {
                continue;
            }
            self.of(asked).set_position((share * 1000.0) as u64);
        }
    }

    fn end(&mut self, id: u32) {
        if let Some(bar) = self.bars.remove(&id) {
            bar.finish_and_clear();
        }
    }
}

fn bar(name: String) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {percent:>3}% {msg}");
    let bar = ProgressBar::new(1000).with_message(name);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn torrent(id: u32) -> Torrent {
        Torrent { id, name: Some(format!("torrent {id}")), ..Torrent::default() }
    }

    fn checked(id: u32, share: f64) -> Changes {
        let torrent = Torrent { id, verify_progress: Some(share), ..Torrent::default() };
        Changes { torrents: vec![torrent], ..Changes::default() }
    }

    #[test]
    fn a_bar_follows_its_torrent_and_leaves_its_place_to_another() {
        let torrents: Vec<Torrent> = (1..=BARS as u32 + 1).map(torrent).collect();
        let left: BTreeMap<u32, &Torrent> =
            torrents.iter().map(|torrent| (torrent.id, torrent)).collect();
        let mut bars = Bars::new(&left);
        let last = BARS as u32 + 1;
        bars.show(checked(1, 0.25), &left);
        bars.show(checked(last, 0.5), &left);
        assert_eq!(bars.bars[&1].position(), 250);
        assert!(bars.bars.len() == BARS && !bars.bars.contains_key(&last));
        bars.end(1);
        bars.show(checked(last, 0.5), &left);
        assert_eq!(bars.bars[&last].position(), 500);
        // Of others nothing is shown.
        bars.end(last);
        bars.show(checked(last + 1, 0.5), &left);
        assert_eq!(bars.bars.len(), BARS - 1);
    }
}
