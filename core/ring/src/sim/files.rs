//! File operations: when they end, and what can go wrong.

use super::{Action, Inner, Mail, disk::Syncing};
use crate::{Event, File, FileDone, FileOp, OpenOptions, Token};
use std::{
    io,
    ops::Range,
    path::Path,
    sync::{Arc, Weak},
    time::Duration,
};

/// What a simulated file stands for.
#[derive(Debug)]
pub struct OpenFile {
    pub(super) inode: u64,
    pub(super) write: bool,
}

/// What can go wrong with a disk, as chances in a million operations.
#[derive(Clone, Debug)]
pub struct DiskFaults {
    /// How long an operation takes.
    pub latency: Range<Duration>,
    /// Operations that take up to two seconds instead.
    pub slow: u32,
    /// Reads and writes of which the disk does some part first, and the rest when the driver asks again.
    pub short: u32,
    /// Reads, writes, openings and looks that fail with `EIO`; of a write some part may be done.
    pub errors: u32,
    /// Syncs that fail with `EIO`, after which the kernel forgets what it could not keep.
    pub sync_errors: u32,
    /// Openings of files that fail with `EACCES`. Folders do not: one that may not be read cannot be
    /// synced, which leaves the names in it to the file system.
    pub denials: u32,
}

impl Default for DiskFaults {
    fn default() -> DiskFaults {
        DiskFaults {
            latency: Duration::from_micros(20)..Duration::from_millis(5),
            slow: 0,
            short: 0,
            errors: 0,
            sync_errors: 0,
            denials: 0,
        }
    }
}

/// An operation under way.
pub(super) struct Flight {
    ring: usize,
    token: Token,
    op: FileOp,
    /// Bytes of a read or a write that are done already.
    done: usize,
    syncing: Option<Syncing>,
}

impl Inner {
    pub(super) fn chance(&mut self, in_a_million: u32) -> bool {
        in_a_million > 0 && self.rng.u32(..1_000_000) < in_a_million
    }

    pub(super) fn begin_file_op(&mut self, ring: usize, op: FileOp, token: Token) {
        let machine = self.rings[ring].machine;
        let syncing = match &op {
            FileOp::SyncData { file } | FileOp::SyncAll { file } => {
                inode(file, false).ok().map(|inode| self.machines[machine].disk.begin_sync(inode))
            }
            _ => None,
        };
        let slow = self.machines[machine].disk.faults.slow;
        let is_slow = self.chance(slow);
        self.fly(Flight { ring, token, op, done: 0, syncing }, is_slow);
    }

    /// Has the disk do what is left of an operation.
    fn fly(&mut self, flight: Flight, is_slow: bool) {
        let machine = self.rings[flight.ring].machine;
        let Range { start, end } = self.machines[machine].disk.faults.latency.clone();
        let end = if is_slow { Duration::from_secs(2) } else { end };
        let nanoseconds = start.as_nanos() as u64..(end.as_nanos() as u64).max(1);
        let at = self.now + Duration::from_nanos(self.rng.u64(nanoseconds));
        let key = self.next_flight;
        self.next_flight += 1;
        self.flights.insert(key, flight);
        self.schedule(at, Action::File { flight: key });
    }

    pub(super) fn file_ends(&mut self, flight: u64) {
        let Some(mut under_way) = self.flights.remove(&flight) else { return };
        let machine = self.rings[under_way.ring].machine;
        let state = &mut self.machines[machine];
        if state.halt_at.is_some_and(|at| state.disk.operations >= at) {
            state.halted = true;
        }
        if state.halted {
            // Its crash will find it under way.
            self.flights.insert(flight, under_way);
            return;
        }
        state.disk.operations += 1;
        state.disk.write_back(self.now);
        let short = state.disk.faults.short;
        tracing::trace!(at = ?self.now, machine, op = ?under_way.op, "disk");
        if self.chance(short) && self.does_part(machine, &mut under_way) {
            return self.fly(under_way, false);
        }
        let ring = under_way.ring;
        let done = self.carry_out(machine, under_way);
        self.mail(Some(ring), Mail::Event(Event::File(done)));
    }

    /// Does some part of a read or a write; false if that cannot be.
    fn does_part(&mut self, machine: usize, flight: &mut Flight) -> bool {
        let now = self.now + self.machines[machine].clock_ahead;
        let share = self.rng.usize(..1 << 16);
        let disk = &mut self.machines[machine].disk;
        let from = flight.done;
        let result = match &mut flight.op {
            FileOp::Read { file, offset, buf, length } => {
                let part = ((*length - from) * share) >> 16;
                let into = &mut buf[from..from + part];
                inode(file, false).and_then(|inode| disk.read(inode, *offset + from as u64, into))
            }
            FileOp::Write { file, offset, source, range } => {
                let left = &source[range.start + from..range.end];
                let part = &left[..(left.len() * share) >> 16];
                inode(file, true)
                    .and_then(|inode| disk.write(inode, *offset + from as u64, part, now))
            }
            _ => return false,
        };
        // What fails now fails again as a whole.
        flight.done += result.as_ref().copied().unwrap_or(0);
        result.is_ok()
    }

    fn carry_out(&mut self, machine: usize, flight: Flight) -> FileDone {
        let Flight { token, op, syncing, done: from, .. } = flight;
        let mut done = FileDone { token, result: Ok(0), buf: None, file: None, stat: None };
        let faults = self.machines[machine].disk.faults.clone();
        let fails = self.chance(faults.errors);
        let (denied, unsynced) = (self.chance(faults.denials), self.chance(faults.sync_errors));
        let share = self.rng.usize(..1 << 16);
        let now = self.now + self.machines[machine].clock_ahead;
        let null = Arc::clone(&self.null);
        let state = &mut self.machines[machine];
        let disk = &mut state.disk;
        let broken = || io::Error::from_raw_os_error(libc::EIO);
        done.result = match op {
            FileOp::Open { path, .. } if denied && !disk.is_folder(&path) => {
                Err(io::ErrorKind::PermissionDenied.into())
            }
            FileOp::Open { .. } | FileOp::Stat { .. } if fails => Err(broken()),
            FileOp::Open { path, options } => disk.open(&path, options, now).map(|inode| {
                let file = OpenFile { inode, write: options.write };
                let file = File::simulated(null, file);
                state.open.retain(|file: &Weak<OpenFile>| file.strong_count() > 0);
                state.open.extend(file.sim.as_ref().map(Arc::downgrade));
                done.file = Some(file);
                0
            }),
            FileOp::Read { file, offset, mut buf, length } => {
                assert!(length <= buf.len(), "a read longer than its buffer");
                let read = match fails {
                    true => Err(broken()),
                    false => inode(&file, false)
                        .and_then(|inode| {
                            disk.read(inode, offset + from as u64, &mut buf[from..length])
                        })
                        .map(|count| from + count),
                };
                done.buf = Some(buf);
                read
            }
            FileOp::Write { file, offset, source, range } => {
                let bytes = &source[range.start + from..range.end];
                let part = &bytes[..(bytes.len() * share) >> 16];
                let offset = offset + from as u64;
                let written = inode(&file, true).and_then(|inode| match fails {
                    true => disk.write(inode, offset, part, now).and(Err(broken())),
                    false => disk.write(inode, offset, bytes, now),
                });
                written.map(|count| from + count)
            }
            FileOp::SyncData { file } | FileOp::SyncAll { file } => {
                inode(&file, false).and_then(|inode| match syncing {
                    Some(syncing) => disk.end_sync(inode, syncing, !unsynced).map(|()| 0),
                    None => Err(broken()),
                })
            }
            FileOp::Allocate { file, offset, length } => inode(&file, true)
                .and_then(|inode| disk.allocate(inode, offset..offset + length, now))
                .map(|()| 0),
            FileOp::Truncate { file, length } => {
                inode(&file, true).and_then(|inode| disk.set_length(inode, length, now)).map(|()| 0)
            }
            FileOp::Rename { from, to } => disk.rename(&from, &to).map(|()| 0),
            FileOp::Unlink { path } => disk.unlink(&path).map(|()| 0),
            FileOp::MakeDir { path } => disk.make_folder(&path).map(|()| 0),
            FileOp::Stat { path } => disk.stat(&path).map(|stat| {
                done.stat = Some(stat);
                0
            }),
            FileOp::WillNeed { .. } => Ok(0),
        };
        done
    }

    pub(super) fn sync_file(&mut self, machine: usize, path: &Path) -> io::Result<()> {
        let chance = self.machines[machine].disk.faults.sync_errors;
        let (works, now) = (!self.chance(chance), self.now);
        let disk = &mut self.machines[machine].disk;
        let inode = disk.open(path, OpenOptions { write: true, ..OpenOptions::READ }, now)?;
        let syncing = disk.begin_sync(inode);
        disk.end_sync(inode, syncing, works)?;
        let folder = disk.open(path.parent().unwrap_or(path), OpenOptions::READ, now)?;
        let syncing = disk.begin_sync(folder);
        disk.end_sync(folder, syncing, true)
    }

    /// A crash finds operations under way: writes have got as far as they have.
    pub(super) fn end_flights(&mut self, machine: usize) {
        let mine: Vec<u64> = self
            .flights
            .iter()
            .filter(|(_, flight)| self.rings[flight.ring].machine == machine)
            .map(|(&key, _)| key)
            .collect();
        for key in mine {
            let Some(flight) = self.flights.remove(&key) else { continue };
            if let FileOp::Write { file, offset, source, range } = flight.op
                && let Ok(inode) = inode(&file, true)
            {
                let bytes = &source[range.start + flight.done..range.end];
                let count = self.rng.usize(..=bytes.len());
                let (now, disk) = (self.now, &mut self.machines[machine].disk);
                // What does not fit is not written, and nobody is there to be told.
                let _ = disk.write(inode, offset + flight.done as u64, &bytes[..count], now);
            }
        }
    }

    /// A ring that ends in good order waits for its operations.
    pub(super) fn end_flights_of_ring(&mut self, ring: usize) {
        let mine: Vec<u64> = self
            .flights
            .iter()
            .filter(|(_, flight)| flight.ring == ring)
            .map(|(&key, _)| key)
            .collect();
        mine.into_iter().for_each(|flight| self.file_ends(flight));
    }
}

/// Which file it is, if it may be used so.
fn inode(file: &File, write: bool) -> io::Result<u64> {
    match &file.sim {
        Some(open) if open.write || !write => Ok(open.inode),
        _ => Err(io::Error::from_raw_os_error(libc::EBADF)),
    }
}
