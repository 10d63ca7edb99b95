//! How many requests to keep outstanding with a peer, and which they are.
//!
//! The pipeline starts shallow and deepens by one with each block that arrives, which doubles it
//! every round trip, until the peer's rate stops growing. From then on it covers a second of that
//! rate and two round trips. The peer's `reqq` is the upper bound throughout.

use crate::limits::{
    DEFAULT_REQQ, INITIAL_PIPELINE, MAX_REJECTS_IN_A_ROW, MAX_REQQ, MAX_REQUEST_BATCH,
    MIN_PIPELINE, PIPELINE_SECONDS, REJECT_PAUSE,
};
use metainfo::{BLOCK_LENGTH, BlockRange, PieceIndex};
use std::{collections::VecDeque, time::Duration};

/// A block asked of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) block: BlockRange,
    pub(crate) asked_at: Duration,
    /// False once it has timed out: the block may be asked of others, but is still welcome.
    pub(crate) live: bool,
}

/// The requests outstanding with one peer, and how many there should be.
#[derive(Debug)]
pub(crate) struct Pipeline {
    queue: VecDeque<Request>,
    live: u32,
    depth: u32,
    reqq: u32,
    slow_start: bool,
    rejects_in_a_row: u32,
    resume_at: Duration,
    last_rate: f32,
    /// Shortest time from request to block seen; the round trip, near enough.
    shortest: Option<Duration>,
    /// Smoothed time from request to block.
    typical: Option<Duration>,
    last_block: Duration,
    snubbed: bool,
}

/// The shortest silence that counts as a snub: a retransmission or two must fit.
const SHORTEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Growth of the rate below which slow start has found the peer's limit.
const STILL_GROWING: f32 = 1.1;

impl Pipeline {
    pub(crate) fn new(now: Duration) -> Pipeline {
        Pipeline {
            queue: VecDeque::new(),
            live: 0,
            depth: INITIAL_PIPELINE,
            reqq: DEFAULT_REQQ,
            slow_start: true,
            rejects_in_a_row: 0,
            resume_at: Duration::ZERO,
            last_rate: 0.0,
            shortest: None,
            typical: None,
            last_block: now,
            snubbed: false,
        }
    }

    /// The peer has said how many requests it queues.
    pub(crate) fn set_reqq(&mut self, reqq: u32) {
        self.reqq = reqq.clamp(1, MAX_REQQ);
        self.depth = self.depth.min(self.reqq);
    }

    /// Requests that should be outstanding.
    pub(crate) fn depth(&self) -> u32 {
        if self.snubbed { 1 } else { self.depth.min(self.reqq) }
    }

    /// Requests that are outstanding and not timed out.
    pub(crate) fn live(&self) -> u32 {
        self.live
    }

    pub(crate) fn is_snubbed(&self) -> bool {
        self.snubbed
    }

    /// How many more requests to send now.
    pub(crate) fn room(&self, now: Duration) -> usize {
        if now < self.resume_at {
            return 0;
        }
        self.depth().saturating_sub(self.live) as usize
    }

    /// Whether so many requests are due that they are worth a message of their own.
    pub(crate) fn is_worth_refilling(&self, now: Duration) -> bool {
        let batch = (self.depth() / 4).clamp(1, MAX_REQUEST_BATCH);
        self.room(now) >= batch as usize
    }

    pub(crate) fn requests(&self) -> impl ExactSizeIterator<Item = &Request> + '_ {
        self.queue.iter()
    }

    pub(crate) fn contains(&self, block: BlockRange) -> bool {
        self.queue.iter().any(|request| request.block == block)
    }

    /// The piece of the latest request.
    pub(crate) fn latest_piece(&self) -> Option<PieceIndex> {
        self.queue.back().map(|request| request.block.piece())
    }

    pub(crate) fn push(&mut self, now: Duration, block: BlockRange) {
        debug_assert!(!self.contains(block), "{block:?} is asked twice of one peer");
        // What has timed out is no longer waited for when it would crowd out what is asked anew.
        if self.queue.len() as u32 >= self.reqq
            && let Some(expired) = self.queue.iter().position(|request| !request.live)
        {
            self.queue.remove(expired);
        }
        self.queue.push_back(Request { block, asked_at: now, live: true });
        self.live += 1;
    }

    /// Removes a request; it is the first one as a rule, because peers answer in order.
    pub(crate) fn take(&mut self, block: BlockRange) -> Option<Request> {
        let at = self.queue.iter().position(|request| request.block == block)?;
        let request = self.queue.remove(at)?;
        self.live -= u32::from(request.live);
        Some(request)
    }

    /// Removes the requests for which `remove` holds.
    pub(crate) fn remove_where(&mut self, mut remove: impl FnMut(&Request) -> bool) {
        let live = &mut self.live;
        self.queue.retain(|request| {
            let gone = remove(request);
            *live -= u32::from(gone && request.live);
            !gone
        });
    }

    /// Frees what an idle connection does not need.
    pub(crate) fn shrink(&mut self) {
        if self.queue.is_empty() && self.queue.capacity() > 0 {
            self.queue = VecDeque::new();
        }
    }

    /// The answer to a request begins to arrive.
    pub(crate) fn answered(&mut self, now: Duration, request: Request) {
        let took = now.saturating_sub(request.asked_at);
        self.shortest = Some(self.shortest.map_or(took, |shortest| shortest.min(took)));
        self.typical = Some(self.typical.map_or(took, |typical| (typical * 7 + took) / 8));
        self.progressed(now);
        if self.slow_start {
            self.depth = (self.depth + 1).min(self.reqq);
        }
    }

    /// Bytes of a block have arrived.
    pub(crate) fn progressed(&mut self, now: Duration) {
        self.last_block = now;
        self.rejects_in_a_row = 0;
        if std::mem::take(&mut self.snubbed) {
            self.depth = MIN_PIPELINE;
            self.slow_start = true;
        }
    }

    /// The peer refused a request. Refusals without end pause the asking.
    pub(crate) fn rejected(&mut self, now: Duration) {
        self.rejects_in_a_row += 1;
        if self.rejects_in_a_row >= MAX_REJECTS_IN_A_ROW {
            self.rejects_in_a_row = 0;
            self.resume_at = now + REJECT_PAUSE;
        }
    }

    /// Whether nothing has arrived for `timeout`.
    pub(crate) fn is_stalled(&self, now: Duration, timeout: Duration) -> bool {
        now.saturating_sub(self.last_block) >= timeout
    }

    /// Adapts the depth to the peer's rate in bytes per second, about once a second.
    pub(crate) fn adapt(&mut self, rate: f32) {
        if rate <= 0.0 {
            return;
        }
        if self.slow_start {
            let limited_by_us = self.depth < self.reqq && rate > self.last_rate * STILL_GROWING;
            self.slow_start = limited_by_us || self.last_rate == 0.0;
        }
        self.last_rate = rate;
        if !self.slow_start {
            let round_trip = self.shortest.unwrap_or_default().as_secs_f32().min(2.0);
            let bytes = rate * (PIPELINE_SECONDS + 2.0 * round_trip);
            let blocks = (bytes / BLOCK_LENGTH as f32).ceil() as u32;
            self.depth = blocks.clamp(MIN_PIPELINE.min(self.reqq), self.reqq);
        }
    }

    /// Marks requests that have waited too long; they no longer keep the block from other peers.
    /// Each is given to `expired`. Tells whether the peer has just been found to snub us.
    ///
    /// A peer snubs if nothing at all arrives for three times its typical answer, but at least 10 s
    /// and at most `timeout`. A single request that others overtook waits `timeout`, or three times
    /// the typical answer if that is longer.
    pub(crate) fn expire(
        &mut self,
        now: Duration,
        timeout: Duration,
        mut expired: impl FnMut(BlockRange),
    ) -> bool {
        let Some(oldest) = self.queue.iter().find(|request| request.live) else { return false };
        let typical = self.typical.map(|typical| typical * 3);
        let patience = typical.unwrap_or(timeout).max(SHORTEST_TIMEOUT).min(timeout);
        let snub = now.saturating_sub(self.last_block.max(oldest.asked_at)) >= patience;
        let overdue = timeout.max(typical.unwrap_or_default());
        for request in &mut self.queue {
            let late = now.saturating_sub(request.asked_at) >= overdue;
            if request.live && (snub || late) {
                request.live = false;
                self.live -= 1;
                expired(request.block);
            }
        }
        snub && !std::mem::replace(&mut self.snubbed, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metainfo::Geometry;

    const MS: Duration = Duration::from_millis(1);

    fn blocks() -> impl Iterator<Item = BlockRange> {
        let geometry = Geometry::new(1 << 40, 1 << 30).unwrap();
        geometry.blocks(geometry.piece(0).unwrap())
    }

    /// A peer that answers each request `round_trip` later, at most `per_ms` a millisecond.
    fn run(pipeline: &mut Pipeline, seconds: u64, round_trip: Duration, per_ms: usize) {
        let mut supply = blocks();
        let mut rate = crate::rate::Rate::default();
        for ms in 0..seconds * 1000 {
            let now = MS * ms as u32;
            for _ in 0..per_ms {
                let due = pipeline.queue.front().copied();
                let Some(request) = due.filter(|r| now >= r.asked_at + round_trip) else { break };
                let request = pipeline.take(request.block).unwrap();
                pipeline.answered(now, request);
                rate.add(u64::from(BLOCK_LENGTH));
            }
            while pipeline.room(now) > 0 {
                pipeline.push(now, supply.next().unwrap());
            }
            if ms % 1000 == 999 {
                rate.roll(Duration::from_secs(1));
                pipeline.adapt(rate.per_second());
            }
        }
    }

    #[test]
    fn a_long_path_is_filled_up_to_what_the_peer_queues() {
        let mut pipeline = Pipeline::new(Duration::ZERO);
        pipeline.set_reqq(2000);
        run(&mut pipeline, 3, MS * 100, 64);
        assert_eq!(pipeline.depth(), 2000);
    }

    #[test]
    fn a_slow_peer_is_asked_for_about_a_second_of_its_rate() {
        let mut pipeline = Pipeline::new(Duration::ZERO);
        pipeline.set_reqq(2000);
        // One block each 20 ms: 50 a second.
        let mut rate = crate::rate::Rate::default();
        let mut supply = blocks();
        for ms in 0..20_000u32 {
            let now = MS * ms;
            if ms % 20 == 0
                && let Some(first) = pipeline.queue.front().copied()
            {
                let request = pipeline.take(first.block).unwrap();
                pipeline.answered(now, request);
                rate.add(u64::from(BLOCK_LENGTH));
            }
            while pipeline.room(now) > 0 {
                pipeline.push(now, supply.next().unwrap());
            }
            if ms % 1000 == 999 {
                rate.roll(Duration::from_secs(1));
                pipeline.adapt(rate.per_second());
            }
        }
        assert!((45..=80).contains(&pipeline.depth()), "depth {}", pipeline.depth());
    }

    #[test]
    fn silence_snubs_and_a_block_forgives() {
        let mut pipeline = Pipeline::new(Duration::ZERO);
        let block = blocks().next().unwrap();
        pipeline.push(Duration::ZERO, block);
        let timeout = Duration::from_secs(60);
        assert!(!pipeline.expire(timeout - MS, timeout, |_| panic!("not yet")));
        let mut expired = Vec::new();
        assert!(pipeline.expire(timeout, timeout, |block| expired.push(block)));
        assert_eq!(expired, [block]);
        assert_eq!((pipeline.live(), pipeline.depth()), (0, 1));
        let late = pipeline.take(block).unwrap();
        assert!(!late.live);
        pipeline.answered(timeout + MS, late);
        assert!(!pipeline.is_snubbed());
        assert_eq!(pipeline.live(), 0);
    }

    #[test]
    fn a_peer_that_forgot_all_requests_is_asked_again() {
        let mut pipeline = Pipeline::new(Duration::ZERO);
        let mut supply = blocks();
        pipeline.set_reqq(4);
        while pipeline.room(MS) > 0 {
            pipeline.push(MS, supply.next().unwrap());
        }
        let timeout = Duration::from_secs(60);
        assert!(pipeline.expire(timeout * 2, timeout, |_| {}));
        assert_eq!(pipeline.room(timeout * 2), 1);
        pipeline.push(timeout * 2, supply.next().unwrap());
        assert_eq!((pipeline.room(timeout * 2), pipeline.queue.len()), (0, 4));
    }

    #[test]
    fn endless_rejects_pause_the_asking() {
        let mut pipeline = Pipeline::new(Duration::ZERO);
        for _ in 0..MAX_REJECTS_IN_A_ROW {
            assert!(pipeline.room(MS) > 0);
            pipeline.rejected(MS);
        }
        assert_eq!(pipeline.room(MS), 0);
        assert!(pipeline.room(MS + REJECT_PAUSE) > 0);
    }
}
