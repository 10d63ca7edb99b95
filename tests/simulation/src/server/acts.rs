//! What befalls a server, and what its operator does.

use super::{FAULTS_SHOW, Server};
use crate::held::Wish;
use anyhow::Result;
use ring::sim::DiskFaults;
use std::{path::Path, time::Duration};

impl Server {
    /// Has a torrent checked from end to end.
    pub fn verify(&mut self, at: usize) {
        self.held[at].is_verified();
        match self.held[at].id {
            Some(id) => {
                self.call(|session| session.verify(&[id]));
            }
            None => self.held[at].owes_check = true,
        }
    }

    /// Stops a torrent, or starts it.
    pub fn set_running(&mut self, at: usize, runs: bool) {
        if let Some(id) = self.held[at].id {
            self.call(|session| match runs {
                true => session.start_torrents(&[id]),
                false => session.stop_torrents(&[id]),
            });
        }
    }

    /// Removes a torrent, to add it again later; its data goes too if others have it.
    pub fn remove(&mut self, at: usize, delete_data: bool) {
        let held = &mut self.held[at];
        let delete_data = delete_data && !held.is_source && !held.is_harmed;
        let Some(id) = held.id.filter(|_| held.wish == Wish::Present) else { return };
        held.wish = Wish::Gone { delete_data };
        self.call(|session| session.remove(&[id], delete_data));
    }

    /// Moves a torrent's files to another folder.
    pub fn move_to(&mut self, at: usize, root: &str) {
        if let Some(id) = self.held[at].id.filter(|_| !self.held[at].is_harmed) {
            // One that is being removed does not move.
            self.call(|session| session.set_location(id, Path::new(root), true).ok());
        }
    }

    /// Puts back the files of a torrent if they can be had nowhere else, and makes room for them.
    pub fn restore(&mut self, at: usize) -> Result<()> {
        self.world.set_disk_capacity(self.machine, self.disk);
        let (world, machine) = (self.world.clone(), self.machine);
        let held = &mut self.held[at];
        held.is_verified();
        if held.is_source {
            held.restore((&world, machine))?;
        }
        Ok(())
    }

    /// Somebody else changes a file of some torrent.
    pub fn harm(&mut self, rng: &mut fastrand::Rng) {
        let at = rng.usize(..self.held.len());
        let (world, machine) = (self.world.clone(), self.machine);
        self.held[at].harm((&world, machine), rng);
    }

    /// While it is down, somebody writes other bytes into its files.
    pub fn tamper(&mut self, rng: &mut fastrand::Rng) -> Result<()> {
        self.world.set_disk_capacity(self.machine, self.disk);
        for held in self.held.iter().filter(|_| self.process.is_none()) {
            held.tamper(self.disk(), rng)?;
        }
        Ok(())
    }

    /// So many of a million operations of its disk take long.
    pub fn slow_disk(&mut self, slow: u32) {
        self.is_slow = slow > 0;
        self.world.set_disk_faults(self.machine, DiskFaults { slow, ..DiskFaults::default() });
    }

    /// Its disk fails in these ways for a while.
    pub fn fail_disk(&mut self, faults: DiskFaults, until: Duration) {
        self.world.set_disk_faults(self.machine, faults);
        self.calm_at = Some(until);
        self.faulty_until = self.faulty_until.max(until + FAULTS_SHOW);
    }

    /// Its disk has no room beyond so many bytes for a while.
    pub fn fill_disk(&mut self, capacity: u64, until: Duration) {
        self.world.set_disk_capacity(self.machine, capacity);
        self.calm_at = Some(until);
        self.faulty_until = self.faulty_until.max(until + FAULTS_SHOW);
    }

    /// Makes one of its shards panic.
    pub fn panic(&mut self, rng: &mut fastrand::Rng) {
        if let Some(running) = &self.process {
            running.process.panic(rng.usize(..self.shards));
        }
    }

    /// Keeps it from doing anything for a while.
    pub fn freeze(&mut self, until: Duration) {
        if let Some(running) = &mut self.process {
            running.process.freeze(until);
        }
    }
}
