//! Scrapes of several torrents in one request (BEP 15, BEP 48).

use super::{Slot, work::Driver};
use crate::{
    limits,
    tracker::{
        Counts, Moment, TrackerError,
        torrent::Urgency,
        url::{Scheme, TrackerUrl},
    },
};
use metainfo::InfoHash;
use std::sync::Arc;

const LEFT_OUT: TrackerError = TrackerError::Malformed("it says nothing of this torrent");

impl Driver {
    /// Takes along, with the scrape of `first`, those that wait for the same tracker: whom the request
    /// is for, and what it asks.
    pub(super) fn gather_scrapes(
        &mut self,
        host: &Arc<str>,
        url: &TrackerUrl,
        first: (Slot, u32),
        first_hash: &[InfoHash],
        now: Moment,
    ) -> (Vec<(Slot, u32)>, Arc<[InfoHash]>) {
        let (mut subjects, mut asked) = (vec![first], first_hash.to_vec());
        let torrents = &mut self.torrents;
        let may_join = |slot: &Slot, tracker, scrape: &str| {
            torrents.get(slot).is_none_or(|t| t.trackers.may_join_scrape(tracker, scrape))
        };
        let scrape = url.scrape().cloned().unwrap_or_default();
        if !may_join(&first.0, first.1, &scrape) {
            return (subjects, asked.into());
        }
        let most =
            if url.scheme() == Ok(Scheme::Udp) { limits::SCRAPE_UDP } else { limits::SCRAPE_HTTP };
        let along = self.pacer.take_along(host, Urgency::Scrape, most - 1, |job| {
            may_join(&job.slot, job.tracker, &scrape)
        });
        for job in along {
            let Some(torrent) = torrents.get_mut(&job.slot) else { continue };
            self.changed.insert(job.slot);
            if torrent.trackers.begin_scrape(job.tracker, now).is_some() {
                subjects.push((job.slot, job.tracker));
                asked.push(torrent.about.info_hash);
            }
        }
        (subjects, asked.into())
    }

    /// A scrape has ended: each of its torrents gets what was said of it.
    pub(super) fn scraped(
        &mut self,
        subjects: &[(Slot, u32)],
        now: Moment,
        result: &Result<Vec<Option<Counts>>, TrackerError>,
    ) {
        for (at, &(slot, tracker)) in subjects.iter().enumerate() {
            let Some(torrent) = self.torrents.get_mut(&slot) else { continue };
            self.changed.insert(slot);
            let of_this = match result {
                Ok(counts) => counts.get(at).copied().flatten().ok_or(LEFT_OUT),
                Err(error) => Err(error.clone()),
            };
            torrent.trackers.finish_scrape(tracker, now, &of_this, subjects.len() == 1);
        }
    }
}
