//! Which pieces are rare: availability counts, and the missing pieces kept in order of them.
//!
//! Seeds are counted once for all pieces, so their coming and going costs nothing. The others are
//! counted per piece, and a change by one moves a piece to the neighbouring bucket in constant time.
//!
//! Invariant: a piece is queued in exactly the bucket of its availability and its priority class, or
//! in none; `place` knows where.

use crate::{Priority, limits::MAX_BUCKETS};
use metainfo::PieceIndex;

/// `place` of a piece that is neither queued nor open.
const NOWHERE: u32 = u32::MAX;

/// Marks a `place` as the slot of an open piece. Positions stay below it: a torrent has fewer pieces.
const OPEN: u32 = 1 << 31;

/// Priorities that are picked from, the most wanted first.
const CLASSES: [Priority; 3] = [Priority::High, Priority::Normal, Priority::Low];

/// Missing pieces in the order in which they should be fetched.
#[derive(Debug)]
pub(crate) struct RarestFirst {
    piece_count: usize,
    /// Empty until the first peer with some of the pieces comes: most torrents of a seedbox have none.
    counts: Vec<u16>,
    /// Empty while the torrent rests.
    place: Vec<u32>,
    classes: [Buckets; 3],
}

/// Pieces of one class sorted by availability: bucket `n` is `order[ends[n - 1]..ends[n]]`.
#[derive(Debug, Default)]
struct Buckets {
    order: Vec<PieceIndex>,
    ends: Vec<u32>,
}

fn class(priority: Priority) -> usize {
    match priority {
        Priority::High => 0,
        Priority::Normal => 1,
        Priority::Low => 2,
        Priority::Skip => unreachable!("pieces that are not wanted are never queued"),
    }
}

fn bucket(count: u16) -> usize {
    usize::from(count).min(MAX_BUCKETS - 1)
}

impl RarestFirst {
    pub(crate) fn new(piece_count: u32) -> RarestFirst {
        RarestFirst {
            piece_count: piece_count as usize,
            counts: Vec::new(),
            place: Vec::new(),
            classes: Default::default(),
        }
    }

    fn place(&self, piece: PieceIndex) -> u32 {
        self.place.get(piece.as_usize()).copied().unwrap_or(NOWHERE)
    }

    fn set_place(&mut self, piece: PieceIndex, place: u32) {
        self.make_places();
        self.place[piece.as_usize()] = place;
    }

    fn make_places(&mut self) {
        if self.place.is_empty() {
            self.place = vec![NOWHERE; self.piece_count];
        }
    }

    /// Frees what a torrent does not need while nothing is queued and nothing is open.
    pub(crate) fn rest(&mut self) {
        debug_assert!(self.place.iter().all(|&place| place == NOWHERE));
        self.place = Vec::new();
        self.classes = Default::default();
    }

    /// Peers known to have the piece, seeds not counted.
    pub(crate) fn count(&self, piece: PieceIndex) -> u16 {
        self.counts.get(piece.as_usize()).copied().unwrap_or(0)
    }

    pub(crate) fn is_queued(&self, piece: PieceIndex) -> bool {
        self.place(piece) < OPEN
    }

    /// The slot of the open piece, if it is open.
    pub(crate) fn open_slot(&self, piece: PieceIndex) -> Option<usize> {
        let place = self.place(piece);
        (place != NOWHERE && place >= OPEN).then_some((place & !OPEN) as usize)
    }

    /// Notes where the open piece is kept.
    pub(crate) fn set_open(&mut self, piece: PieceIndex, slot: usize) {
        debug_assert_eq!(self.place(piece), NOWHERE);
        self.set_place(piece, OPEN | slot as u32);
    }

    /// The piece is open no longer.
    pub(crate) fn clear_open(&mut self, piece: PieceIndex) {
        debug_assert!(self.open_slot(piece).is_some());
        self.set_place(piece, NOWHERE);
    }

    /// Number of queued pieces.
    fn len(&self) -> usize {
        self.classes.iter().map(|class| class.order.len()).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.classes.iter().all(|class| class.order.is_empty())
    }

    /// One more peer has the piece. `priority` is the piece's own, for the queued ones.
    pub(crate) fn raise(&mut self, piece: PieceIndex, priority: Priority) {
        if self.counts.is_empty() {
            self.counts = vec![0; self.piece_count];
        }
        let count = self.counts[piece.as_usize()];
        self.counts[piece.as_usize()] = count + 1;
        if self.is_queued(piece) && bucket(count) != bucket(count + 1) {
            self.classes[class(priority)].raise(&mut self.place, piece, bucket(count));
        }
    }

    /// One peer less has the piece.
    pub(crate) fn lower(&mut self, piece: PieceIndex, priority: Priority) {
        let count = self.count(piece);
        debug_assert!(count > 0, "{piece:?} is lowered more often than raised");
        self.counts[piece.as_usize()] = count - 1;
        if self.is_queued(piece) && bucket(count) != bucket(count - 1) {
            self.classes[class(priority)].lower(&mut self.place, piece, bucket(count));
        }
    }

    /// Puts a missing piece in line, at a random place among the equally rare.
    pub(crate) fn queue(&mut self, piece: PieceIndex, priority: Priority, rng: &mut fastrand::Rng) {
        debug_assert!(!self.is_queued(piece));
        self.make_places();
        let bucket = bucket(self.count(piece));
        self.classes[class(priority)].insert(&mut self.place, piece, bucket, rng);
    }

    /// Takes a piece out of line.
    pub(crate) fn unqueue(&mut self, piece: PieceIndex, priority: Priority) {
        debug_assert!(self.is_queued(piece));
        let bucket = bucket(self.count(piece));
        self.classes[class(priority)].remove(&mut self.place, piece, bucket);
    }

    /// Queued pieces, the most wanted first and the rarest of them first. Those that only seeds have
    /// are left out unless `from_seed`.
    pub(crate) fn iter(&self, from_seed: bool) -> impl Iterator<Item = PieceIndex> + '_ {
        self.classes.iter().flat_map(move |class| {
            let start = if from_seed { 0 } else { class.start(1) };
            class.order[start..].iter().copied()
        })
    }

    /// Some queued piece of the most wanted class, each equally likely.
    pub(crate) fn random(&self, rng: &mut fastrand::Rng) -> Option<PieceIndex> {
        let class = self.classes.iter().find(|class| !class.order.is_empty())?;
        Some(class.order[rng.usize(..class.order.len())])
    }

    /// The priority classes that have queued pieces, the most wanted first.
    pub(crate) fn priorities(&self) -> impl Iterator<Item = Priority> + '_ {
        CLASSES.into_iter().filter(|&priority| !self.classes[class(priority)].order.is_empty())
    }

    /// Panics where the invariant of the module does not hold; for tests.
    pub(crate) fn check(&self, priority: impl Fn(PieceIndex) -> Priority) {
        for (number, buckets) in self.classes.iter().enumerate() {
            assert_eq!(buckets.ends.last().copied().unwrap_or(0) as usize, buckets.order.len());
            assert!(buckets.ends.is_sorted());
            for (at, &piece) in buckets.order.iter().enumerate() {
                assert_eq!(self.place[piece.as_usize()], at as u32, "{piece:?} is elsewhere");
                assert_eq!(class(priority(piece)), number, "{piece:?} is in the wrong class");
                let bucket = bucket(self.count(piece));
                assert!(
                    (buckets.start(bucket)..buckets.ends[bucket] as usize).contains(&at),
                    "{piece:?} is in the wrong bucket"
                );
            }
        }
        let queued = self.place.iter().filter(|&&place| place < OPEN).count();
        assert_eq!(queued, self.len());
    }
}

impl Buckets {
    /// Where the bucket starts; the end of all for one that does not exist yet.
    fn start(&self, bucket: usize) -> usize {
        match bucket {
            0 => 0,
            _ => self.ends.get(bucket - 1).map_or(self.order.len(), |&end| end as usize),
        }
    }

    fn put(&mut self, place: &mut [u32], at: usize, piece: PieceIndex) {
        self.order[at] = piece;
        place[piece.as_usize()] = at as u32;
    }

    fn swap(&mut self, place: &mut [u32], a: usize, b: usize) {
        let (first, second) = (self.order[a], self.order[b]);
        self.put(place, a, second);
        self.put(place, b, first);
    }

    fn grow_to(&mut self, bucket: usize) {
        if self.ends.len() <= bucket {
            self.ends.resize(bucket + 1, self.order.len() as u32);
        }
    }

    /// Moves the piece one bucket up: it becomes the last of its own, then the border moves left.
    fn raise(&mut self, place: &mut [u32], piece: PieceIndex, bucket: usize) {
        self.grow_to(bucket + 1);
        let last = self.ends[bucket] as usize - 1;
        self.swap(place, place[piece.as_usize()] as usize, last);
        self.ends[bucket] -= 1;
    }

    /// Moves the piece one bucket down: it becomes the first of its own, then the border moves right.
    fn lower(&mut self, place: &mut [u32], piece: PieceIndex, bucket: usize) {
        let first = self.start(bucket);
        self.swap(place, place[piece.as_usize()] as usize, first);
        self.ends[bucket - 1] += 1;
    }

    /// Makes room by moving the first of each higher bucket behind its last.
    fn insert(
        &mut self,
        place: &mut [u32],
        piece: PieceIndex,
        bucket: usize,
        rng: &mut fastrand::Rng,
    ) {
        self.grow_to(bucket);
        let mut hole = self.order.len();
        self.order.push(piece);
        for higher in (bucket + 1..self.ends.len()).rev() {
            let first = self.start(higher);
            if first != hole {
                let moved = self.order[first];
                self.put(place, hole, moved);
            }
            self.ends[higher] += 1;
            hole = first;
        }
        self.put(place, hole, piece);
        self.ends[bucket] += 1;
        let other = rng.usize(self.start(bucket)..=hole);
        self.swap(place, hole, other);
    }

    /// Closes the gap by moving the last of each bucket from here up into the hole before it.
    fn remove(&mut self, place: &mut [u32], piece: PieceIndex, bucket: usize) {
        let mut hole = place[piece.as_usize()] as usize;
        for at in bucket..self.ends.len() {
            let last = self.ends[at] as usize - 1;
            if last != hole {
                let moved = self.order[last];
                self.put(place, hole, moved);
            }
            self.ends[at] -= 1;
            hole = last;
        }
        self.order.pop();
        place[piece.as_usize()] = NOWHERE;
    }
}
