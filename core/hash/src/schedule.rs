//! Keeps the lanes busy: whichever input ends, the next one takes its lane.
//!
//! Busy lanes are always the first ones. They run together for as many blocks as the one with the
//! least has left; then the lanes that ended are written back and given to the next feeds. When no
//! feed is left and so few lanes are busy that one after the other is faster, that is how they end.

use crate::{
    lanes::{Kernels, LaneWords, WIDE},
    state::{BLOCK, State},
};

/// One input on its way through a lane.
pub(crate) struct Feed<'a, const WORDS: usize> {
    state: State<WORDS>,
    /// Input that is neither in the state's words nor in its tail.
    rest: &'a [u8],
    /// The state's tail is a whole block and comes before `rest`.
    tail_is_block: bool,
    goal: Goal<'a, WORDS>,
}

/// What becomes of the state when its input is used up.
enum Goal<'a, const WORDS: usize> {
    /// It goes back to where more input will be added to it.
    Continue(&'a mut State<WORDS>),
    /// It is padded, and its digest goes here.
    Digest { into: &'a mut [u8], padding: Padding },
}

/// How far the padding at the end of an input has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Padding {
    NotYet,
    LengthMissing,
    Complete,
}

impl<'a, const WORDS: usize> Feed<'a, WORDS> {
    /// Adds `data` to a state that stays open.
    pub fn update(state: &'a mut State<WORDS>, data: &'a [u8]) -> Feed<'a, WORDS> {
        Feed::new(state.clone(), data, Goal::Continue(state))
    }

    /// Adds `data` to a state and writes the digest.
    pub fn digest(state: State<WORDS>, data: &'a [u8], into: &'a mut [u8]) -> Feed<'a, WORDS> {
        Feed::new(state, data, Goal::Digest { into, padding: Padding::NotYet })
    }

    fn new(state: State<WORDS>, rest: &'a [u8], goal: Goal<'a, WORDS>) -> Feed<'a, WORDS> {
        let mut feed = Feed { state, rest, tail_is_block: false, goal };
        if feed.state.tail_length() > 0 {
            feed.fill_tail();
        }
        feed.prepare();
        feed
    }

    /// The whole blocks that are ready to be compressed; empty when the feed has come to its end.
    fn blocks(&self) -> &[u8] {
        if self.tail_is_block { &self.state.tail } else { self.rest }
    }

    fn block_count(&self) -> usize {
        self.blocks().len() / BLOCK
    }

    /// Passes over blocks that have been compressed.
    fn advance(&mut self, blocks: usize) {
        if self.tail_is_block {
            debug_assert_eq!(blocks, 1);
            self.tail_is_block = false;
        } else {
            let (done, rest) = self.rest.split_at(blocks * BLOCK);
            self.state.length += done.len() as u64;
            self.rest = rest;
        }
        self.prepare();
    }

    /// Makes sure that [`Self::blocks`] has a block if the feed is to give any more.
    fn prepare(&mut self) {
        if self.tail_is_block || self.rest.len() >= BLOCK {
            return;
        }
        if !self.rest.is_empty() {
            self.fill_tail();
        }
        if self.tail_is_block {
            return;
        }
        if let Goal::Digest { padding, .. } = &mut self.goal {
            self.tail_is_block = *padding != Padding::Complete;
            *padding = match *padding {
                Padding::NotYet if !self.state.pad() => Padding::LengthMissing,
                Padding::LengthMissing => {
                    self.state.pad_with_length();
                    Padding::Complete
                }
                Padding::NotYet | Padding::Complete => Padding::Complete,
            };
        }
    }

    fn fill_tail(&mut self) {
        (self.rest, self.tail_is_block) = self.state.fill_tail(self.rest);
    }

    /// Gives the state back, or the digest.
    fn end(self) {
        match self.goal {
            Goal::Continue(state) => *state = self.state,
            Goal::Digest { into, .. } => self.state.write_digest(into),
        }
    }

    /// Goes to the end without the others.
    fn end_alone(mut self, compress: fn(&mut [u32; WORDS], &[u8])) {
        while self.block_count() > 0 {
            let blocks = if self.tail_is_block { &self.state.tail } else { self.rest };
            compress(&mut self.state.words, blocks);
            self.advance(self.block_count());
        }
        self.end();
    }
}

/// The feeds that are under way, and the words of their states while they are.
struct Lanes<'a, const WORDS: usize> {
    feeds: [Option<Feed<'a, WORDS>>; WIDE],
    busy: usize,
    words: LaneWords<WORDS>,
}

/// Brings all feeds to their end.
pub(crate) fn run<'a, const WORDS: usize>(
    kernels: &Kernels<WORDS>,
    mut feeds: impl Iterator<Item = Feed<'a, WORDS>>,
) {
    let mut lanes = Lanes { feeds: [const { None }; WIDE], busy: 0, words: [[0; WIDE]; WORDS] };
    loop {
        while lanes.busy < kernels.lanes()
            && let Some(feed) = feeds.next()
        {
            lanes.take(feed);
        }
        let count = kernels.worthwhile(lanes.busy);
        if count == 0 {
            break;
        }
        lanes.compress(kernels, count);
    }
    lanes.end_alone(kernels);
    feeds.for_each(|feed| feed.end_alone(kernels.alone));
}

impl<'a, const WORDS: usize> Lanes<'a, WORDS> {
    /// Gives the feed a lane, unless it has nothing to compress.
    fn take(&mut self, feed: Feed<'a, WORDS>) {
        if feed.block_count() == 0 {
            return feed.end();
        }
        for (words, word) in self.words.iter_mut().zip(feed.state.words) {
            words[self.busy] = word;
        }
        self.feeds[self.busy] = Some(feed);
        self.busy += 1;
    }

    /// Runs the first `count` lanes until one of them ends, and frees those that did.
    fn compress(&mut self, kernels: &Kernels<WORDS>, count: usize) {
        let mut inputs: [&[u8]; WIDE] = [&[]; WIDE];
        let mut blocks = usize::MAX;
        for (input, feed) in inputs.iter_mut().zip(self.feeds[..count].iter().flatten()) {
            *input = feed.blocks();
            blocks = blocks.min(feed.block_count());
        }
        kernels.compress(&mut self.words, inputs, count, blocks);
        // Backwards, so that the lane that moves into a free place has been looked at.
        for lane in (0..count).rev() {
            let ended = self.feeds[lane].as_mut().is_some_and(|feed| {
                feed.advance(blocks);
                feed.block_count() == 0
            });
            if ended && let Some(feed) = self.free(lane) {
                feed.end();
            }
        }
    }

    /// Takes the feed out with its words; the last busy lane moves to its place.
    fn free(&mut self, lane: usize) -> Option<Feed<'a, WORDS>> {
        let mut feed = self.feeds[lane].take()?;
        let last = self.busy - 1;
        for (word, words) in feed.state.words.iter_mut().zip(&mut self.words) {
            *word = words[lane];
            words[lane] = words[last];
        }
        self.feeds.swap(lane, last);
        self.busy = last;
        Some(feed)
    }

    /// Brings the feeds that are left to their end one after the other.
    fn end_alone(&mut self, kernels: &Kernels<WORDS>) {
        while self.busy > 0
            && let Some(feed) = self.free(self.busy - 1)
        {
            feed.end_alone(kernels.alone);
        }
    }
}
