//! The line of commands for one shard. What tells a shard about a torrent must not be lost: when the
//! shard is so far behind that its line is full, it waits here, in order.

use crate::shard::{Command, ShardHandle};
use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

pub(super) struct Line {
    shard: ShardHandle,
    /// In proportion to the torrents there are: what comes in any number is not kept.
    waiting: Mutex<VecDeque<Command>>,
}

impl Line {
    pub(super) fn new(shard: ShardHandle) -> Line {
        Line { shard, waiting: Mutex::default() }
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Command>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts the command in line, behind all that came before it.
    pub(super) fn send(&self, command: Command) {
        let mut waiting = self.waiting();
        self.hand_over(&mut waiting);
        let refused = match waiting.is_empty() {
            true => self.shard.try_send(command).err(),
            false => Some(command),
        };
        waiting.extend(refused.filter(must_arrive));
    }

    /// Hands over what waits, as far as there is room.
    pub(super) fn push_on(&self) {
        self.hand_over(&mut self.waiting());
    }

    fn hand_over(&self, waiting: &mut VecDeque<Command>) {
        while let Some(command) = waiting.pop_front() {
            if let Err(command) = self.shard.try_send(command) {
                waiting.push_front(command);
                return;
            }
        }
    }
}

/// Addresses come again, and nobody waits long for the answer to a question.
fn must_arrive(command: &Command) -> bool {
    !matches!(command, Command::Peers { .. } | Command::Detail { .. } | Command::Adopt { .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{shard::ShardHandle, status::TorrentId};
    use crossbeam_channel::bounded;
    use ring::Waker;

    #[test]
    fn what_finds_the_line_full_arrives_later_and_in_order() {
        let (sender, commands) = bounded(2);
        let line = Line::new(ShardHandle::new(sender, Waker::new().unwrap()));
        (0..100).for_each(|number| line.send(Command::Stop { id: TorrentId(0), run: number }));
        line.send(Command::Peers {
            id: TorrentId(0),
            peers: Vec::new(),
            source: swarm::Source::Manual,
        });
        let mut arrived = Vec::new();
        for _ in 0..60 {
            while let Ok(Command::Stop { run, .. }) = commands.try_recv() {
                arrived.push(run);
            }
            line.push_on();
        }
        assert_eq!(arrived, (0..100).collect::<Vec<_>>());
        assert!(commands.is_empty());
    }
}
