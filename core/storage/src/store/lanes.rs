//! One line of work for each device, so that a disk that does not answer holds up nobody else.
//!
//! What is under way is bounded over all devices. A device from which nothing has come back for a
//! while is stalled: what it has under way does not count any more, and nothing further is begun on
//! it, until something comes back.

use super::Task;
use std::collections::VecDeque;

/// [`super::Store::tick`]s without any end of an operation after which a device is stalled: longer
/// than a disk that works takes for what it is given at once, and a sync of it.
const STALLED_AFTER: u32 = 4;

/// Ticks after which nobody may wait for the device, though it may only be slow.
const SILENT_AFTER: u32 = 2;

/// Which line; small and dense.
pub(super) type LaneIndex = u16;

pub(super) struct Lanes {
    lanes: Vec<Lane>,
    /// Operations that may be under way on devices that answer.
    limit: usize,
    /// Those that are.
    under_way: usize,
    /// Tasks in all lines.
    in_line: usize,
    /// Whose turn it is to look for work first.
    turn: usize,
    ticks: u32,
}

struct Lane {
    /// `st_dev`; 0 for what nobody has looked at.
    device: u64,
    line: VecDeque<Task>,
    under_way: usize,
    /// The tick at which something came back last, or at which the first of what is under way began.
    answered: u32,
    is_stalled: bool,
    /// Bytes that are in line or under way to be written.
    writing: u64,
}

impl Lanes {
    pub fn new(limit: usize) -> Lanes {
        Lanes { lanes: Vec::new(), limit, under_way: 0, in_line: 0, turn: 0, ticks: 0 }
    }

    /// The line of a device, new if need be.
    pub fn of(&mut self, device: u64) -> LaneIndex {
        let known = self.lanes.iter().position(|lane| lane.device == device);
        let index = known.unwrap_or_else(|| {
            self.lanes.push(Lane {
                device,
                line: VecDeque::new(),
                under_way: 0,
                answered: 0,
                is_stalled: false,
                writing: 0,
            });
            self.lanes.len() - 1
        });
        index.min(LaneIndex::MAX as usize) as LaneIndex
    }

    fn lane(&mut self, index: LaneIndex) -> &mut Lane {
        &mut self.lanes[index as usize]
    }

    pub fn is_stalled(&self, index: LaneIndex) -> bool {
        self.lanes[index as usize].is_stalled
    }

    /// Whether something was asked of the device a moment ago and nothing has come back since.
    pub fn is_silent(&self, index: LaneIndex) -> bool {
        let lane = &self.lanes[index as usize];
        lane.under_way > 0 && self.ticks.wrapping_sub(lane.answered) >= SILENT_AFTER
    }

    /// Whether work beyond what was asked for may be begun on the device.
    pub fn has_room(&self, index: LaneIndex) -> bool {
        self.under_way < self.limit && !self.is_stalled(index)
    }

    /// Tasks in a device's line.
    pub fn in_line(&self, index: LaneIndex) -> usize {
        self.lanes[index as usize].line.len()
    }

    /// Operations under way on devices that answer, and tasks in all lines.
    pub fn load(&self) -> (usize, usize) {
        (self.under_way, self.in_line)
    }

    /// Whether no task is in any line.
    pub fn is_empty(&self) -> bool {
        self.in_line == 0
    }

    /// Takes in a task: gives it back if it is to begin now.
    pub fn enter(&mut self, index: LaneIndex, task: Task) -> Option<Task> {
        if self.has_room(index) && self.lane(index).line.is_empty() {
            self.begin(index);
            return Some(task);
        }
        self.in_line += 1;
        self.lane(index).line.push_back(task);
        None
    }

    /// More bytes are to be written there.
    pub fn add_writing(&mut self, index: LaneIndex, bytes: usize) {
        self.lane(index).writing += bytes as u64;
    }

    /// They were, or failed to be.
    pub fn end_writing(&mut self, index: LaneIndex, bytes: usize) {
        self.lane(index).writing -= bytes as u64;
    }

    /// Bytes that wait for devices that do not answer.
    pub fn stalled_bytes(&self) -> u64 {
        self.lanes.iter().filter(|lane| lane.is_stalled).map(|lane| lane.writing).sum()
    }

    fn begin(&mut self, index: LaneIndex) {
        self.under_way += 1;
        let ticks = self.ticks;
        let lane = self.lane(index);
        if lane.under_way == 0 {
            lane.answered = ticks;
        }
        lane.under_way += 1;
    }

    /// Something that had begun has ended: the device answers. That names can be looked up there, by
    /// the way, says nothing: the kernel may know them.
    pub fn end(&mut self, index: LaneIndex) {
        let ticks = self.ticks;
        let lane = self.lane(index);
        lane.answered = ticks;
        lane.under_way -= 1;
        let still = lane.under_way;
        match std::mem::take(&mut lane.is_stalled) {
            true => self.under_way += still,
            false => self.under_way -= 1,
        }
    }

    /// The next task that may begin, devices taking turns.
    pub fn next(&mut self) -> Option<Task> {
        if self.in_line == 0 || self.under_way >= self.limit {
            return None;
        }
        let count = self.lanes.len();
        let ready = |at: &usize| {
            let lane = &self.lanes[*at];
            !lane.is_stalled && !lane.line.is_empty()
        };
        let at = (1..=count).map(|step| (self.turn + step) % count).find(ready)?;
        self.turn = at;
        let task = self.lanes[at].line.pop_front()?;
        self.in_line -= 1;
        self.begin(at as LaneIndex);
        Some(task)
    }

    /// A second has passed: the devices that have stalled since.
    pub fn tick(&mut self) -> Vec<u64> {
        self.ticks = self.ticks.wrapping_add(1);
        let mut stalled = Vec::new();
        for lane in &mut self.lanes {
            let silent = self.ticks.wrapping_sub(lane.answered) >= STALLED_AFTER;
            if lane.under_way > 0 && silent && !lane.is_stalled {
                lane.is_stalled = true;
                self.under_way -= lane.under_way;
                stalled.push(lane.device);
            }
        }
        stalled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{StoreKey, jobs::Work};

    fn task(file: u32) -> Task {
        Task { key: StoreKey::default(), file, offset: 0, work: Work::ReadAhead { length: 1 } }
    }

    fn began(lanes: &mut Lanes) -> Vec<u32> {
        std::iter::from_fn(|| lanes.next()).map(|task| task.file).collect()
    }

    #[test]
    fn devices_take_turns_within_one_bound() {
        let mut lanes = Lanes::new(3);
        let (one, other) = (lanes.of(1), lanes.of(2));
        assert_eq!(lanes.of(1), one);
        let begun = (0..6).filter(|&file| lanes.enter(one, task(file)).is_some()).count();
        assert_eq!((begun, lanes.in_line(one)), (3, 3));
        assert!(lanes.enter(other, task(10)).is_none());
        assert!(lanes.enter(other, task(11)).is_none());
        assert_eq!(began(&mut lanes), []);
        (0..3).for_each(|_| lanes.end(one));
        assert_eq!(began(&mut lanes), [10, 3, 11]);
        (0..2).for_each(|_| lanes.end(other));
        lanes.end(one);
        assert_eq!(began(&mut lanes), [4, 5]);
        assert!(lanes.is_empty());
    }

    #[test]
    fn a_device_that_does_not_answer_holds_up_no_other_until_it_does() {
        let mut lanes = Lanes::new(2);
        let (hung, good) = (lanes.of(1), lanes.of(2));
        (0..3).for_each(|file| drop(lanes.enter(hung, task(file))));
        assert!(lanes.enter(good, task(10)).is_none(), "all room is taken");
        let mut stalled = Vec::new();
        assert!(!lanes.is_silent(hung));
        (0..SILENT_AFTER).for_each(|_| stalled.extend(lanes.tick()));
        assert!(lanes.is_silent(hung) && !lanes.is_stalled(hung) && !lanes.is_silent(good));
        (SILENT_AFTER..STALLED_AFTER).for_each(|_| stalled.extend(lanes.tick()));
        assert_eq!((stalled, lanes.is_stalled(hung)), (vec![1], true));
        assert_eq!(began(&mut lanes), [10], "and nothing of the hung device");
        assert!(lanes.enter(good, task(11)).is_some());
        // It answers: what it has under way counts again.
        lanes.end(hung);
        assert!(!lanes.is_stalled(hung) && !lanes.is_silent(hung));
        assert_eq!(began(&mut lanes), [], "three are under way");
        lanes.end(hung);
        assert_eq!(began(&mut lanes), []);
        lanes.end(good);
        assert_eq!(began(&mut lanes), [2]);
    }

    #[test]
    fn a_device_that_is_slow_but_answers_is_not_stalled() {
        let mut lanes = Lanes::new(8);
        let slow = lanes.of(1);
        (0..8).for_each(|file| drop(lanes.enter(slow, task(file))));
        for _ in 0..5 {
            for _ in 1..STALLED_AFTER {
                assert_eq!(lanes.tick(), []);
            }
            lanes.end(slow);
        }
    }
}
