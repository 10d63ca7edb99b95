//! What a process that runs rings asks of the system for its other threads and its memory.
#![allow(unsafe_code)]

use std::{mem, ptr};

/// Lets threads that are at work finish what they are at before this one takes their core:
/// `SCHED_BATCH`, sched(7). For threads that may wait: woken by a ring's thread they would interrupt
/// it, and each time get one thing to do where a moment later there are many. A thread with another
/// policy than the default keeps it.
pub fn give_way() {
    // SAFETY: sched_getscheduler(2) takes and gives a number; all zeros are the parameters of
    // policies without priorities, and sched_setscheduler(2) only reads them.
    unsafe {
        if libc::sched_getscheduler(0) == libc::SCHED_OTHER {
            let none: libc::sched_param = mem::zeroed();
            // On Linux it is about the calling thread alone. Where it is refused, nothing is lost.
            libc::sched_setscheduler(0, libc::SCHED_BATCH, ptr::from_ref(&none));
        }
    }
}

/// Makes the calling thread nicer by so many steps (nice(2)): with 10 it has a tenth of another one's
/// weight where both want the core, and all of it where nobody else does.
pub fn step_back(steps: i32) {
    // SAFETY: no pointers. On Linux it is about the calling thread alone, and to ask for less is never
    // refused.
    unsafe { libc::nice(steps) };
}

/// Has the allocator give large blocks back to the system when they are freed. To be called before
/// there are other threads.
///
/// glibc raises the size from which it does so to that of the largest block that was ever freed, and
/// keeps what is smaller for the thread that had it: memory grew by 8 MB with each further thread
/// that had a large block once, up to eight threads for each core. What is used again and again on the
/// data path has pools of its own.
#[cfg(target_env = "gnu")]
pub fn return_freed_memory() {
    // SAFETY: mallopt(3) takes two numbers.
    let done = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, crate::limits::LARGE_BLOCK) };
    if done == 0 {
        tracing::debug!("the allocator keeps its own way with large blocks");
    }
}

/// Other C libraries keep no large blocks.
#[cfg(not(target_env = "gnu"))]
pub fn return_freed_memory() {}
