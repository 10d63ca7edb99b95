//! Sends under way, and after a zero-copy send whatever the network still reads.

use crate::{SendBatch, limits};
use io_uring::{opcode, squeue, types};
use slab::Slab;
use std::{io, mem, ptr};

/// `IORING_SEND_ZC_REPORT_USAGE`: the notification tells whether the kernel copied after all.
const REPORT_USAGE: u16 = 8;

/// `IORING_NOTIF_USAGE_ZC_COPIED`, the sign bit of such a notification's result.
const COPIED: i32 = i32::MIN;

pub(super) struct Sends {
    under_way: Slab<Box<Send>>,
    pool: Vec<SendBatch>,
    zero_copy: bool,
}

struct Send {
    /// The connection's slot.
    owner: u32,
    batch: SendBatch,
    header: libc::msghdr,
    /// The first part that is not wholly sent.
    first: usize,
    sent: u64,
    zero_copy: bool,
    /// The kernel will say when it reads the batch no more.
    notification_due: u32,
    finished: bool,
}

/// What a completion means for the connection.
pub(super) enum Outcome {
    /// All of it: so many bytes.
    Sent(u64),
    /// Part of it, or none for a reason that a second try gets over: submit again.
    Continue,
    Failed(io::Error),
}

impl Sends {
    pub(super) fn new(zero_copy: bool) -> Sends {
        Sends { under_way: Slab::new(), pool: Vec::new(), zero_copy }
    }

    pub(super) fn len(&self) -> usize {
        self.under_way.len()
    }

    /// `may_pin` is whether zero copy has not been of no use to this connection before.
    pub(super) fn insert(&mut self, owner: u32, mut batch: SendBatch, may_pin: bool) -> usize {
        batch.resolve();
        let zero_copy = self.zero_copy && may_pin && !batch.is_small();
        // SAFETY: msghdr is plain numbers and pointers, for which all zeros is a value.
        let header = unsafe { mem::zeroed() };
        self.under_way.insert(Box::new(Send {
            owner,
            batch,
            header,
            first: 0,
            sent: 0,
            zero_copy,
            notification_due: 0,
            finished: false,
        }))
    }

    pub(super) fn owner(&self, key: usize) -> u32 {
        self.under_way[key].owner
    }

    /// The submission of what is left. It points into the boxed send, which stays until its last
    /// completion.
    pub(super) fn entry(&mut self, key: usize, fd: types::Fd) -> squeue::Entry {
        let send = &mut *self.under_way[key];
        let parts = &mut send.batch.iovecs[send.first..];
        send.header.msg_iov = parts.as_mut_ptr();
        send.header.msg_iovlen = parts.len().min(limits::PARTS_PER_SEND) as _;
        // MSG_WAITALL makes the kernel go on after a partial transfer by itself.
        let flags = (libc::MSG_WAITALL | libc::MSG_NOSIGNAL) as u32;
        let header = ptr::from_ref(&send.header);
        if send.zero_copy {
            opcode::SendMsgZc::new(fd, header).flags(flags).ioprio(REPORT_USAGE).build()
        } else {
            opcode::SendMsg::new(fd, header).flags(flags).build()
        }
    }

    /// Takes the result of a send; `notification_due` if the kernel goes on reading the batch.
    pub(super) fn completed(
        &mut self,
        key: usize,
        result: io::Result<usize>,
        notification_due: bool,
    ) -> Outcome {
        let send = &mut *self.under_way[key];
        send.notification_due += u32::from(notification_due);
        let outcome = match result {
            Ok(0) => Outcome::Failed(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                send.advance(count);
                if send.sent == send.batch.len() {
                    Outcome::Sent(send.sent)
                } else {
                    Outcome::Continue
                }
            }
            // The limit on locked memory (RLIMIT_MEMLOCK) bounds what zero copy may pin.
            Err(error) if send.zero_copy && error.raw_os_error() == Some(libc::ENOMEM) => {
                send.zero_copy = false;
                Outcome::Continue
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Outcome::Continue,
            Err(error) => Outcome::Failed(error),
        };
        if !matches!(outcome, Outcome::Continue) {
            self.finish(key);
        }
        outcome
    }

    /// The kernel reads a zero-copy batch no more. The connection's slot, if zero copy is of no use
    /// on it: the kernel copied all the same, as it does on the way to this very machine.
    pub(super) fn notified(&mut self, key: usize, result: i32) -> Option<u32> {
        let send = &mut *self.under_way[key];
        send.notification_due -= 1;
        let useless = (result & COPIED != 0).then_some(send.owner);
        if send.finished {
            self.finish(key);
        }
        useless
    }

    /// Gives up what is left of a send between two submissions.
    pub(super) fn abandon(&mut self, key: usize) {
        self.finish(key);
    }

    fn finish(&mut self, key: usize) {
        let send = &mut *self.under_way[key];
        send.finished = true;
        if send.notification_due == 0 {
            let send = self.under_way.remove(key);
            self.recycle(send.batch);
        }
    }

    pub(super) fn recycle(&mut self, mut batch: SendBatch) {
        if self.pool.len() < limits::POOLED_BATCHES {
            batch.clear();
            self.pool.push(batch);
        }
    }

    pub(super) fn recycled(&mut self) -> Option<SendBatch> {
        self.pool.pop()
    }

    /// Leaves the memory of all sends to the kernel for ever.
    pub(super) fn leak(&mut self) {
        mem::forget(mem::take(&mut self.under_way));
    }
}

impl Send {
    fn advance(&mut self, count: usize) {
        self.sent += count as u64;
        self.first = crate::send::advance(&mut self.batch.iovecs, self.first, count);
    }
}
