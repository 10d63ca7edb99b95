//! Every bound of this crate, with the reason for its number.

use std::time::Duration;

/// Submission entries: enough for a tick of 500 connections that each send and receive, so that one
/// `io_uring_enter` carries a whole tick.
pub const SUBMISSION_ENTRIES: u32 = 1024;

/// Completion entries for each submission entry: multishot operations complete many times.
pub const COMPLETIONS_PER_SUBMISSION: u32 = 4;

/// Bytes of one receive buffer: four blocks, so that a fast download pays for one completion every
/// 64 KiB.
pub const RECV_BUFFER_LENGTH: u32 = 64 * 1024;

/// Receive buffers of one ring at most: each connection that has something to say at the same
/// moment takes one. Pages are touched only as far as bytes arrive.
pub const RECV_BUFFER_COUNT: u16 = 1024;

/// Receive buffers that are lent to the kernel at first: few, so that a fast download stays in the
/// core's cache; doubled each time the kernel runs out of them.
pub const RECV_BUFFERS_AT_FIRST: u16 = 32;

/// Bytes of free file buffers kept for reuse: a page fault for each page of a fresh buffer costs
/// more than writing the page.
pub const POOLED_BYTES: usize = 64 * 1024 * 1024;

/// Threads for file operations of the mio driver: enough to keep a disk's queue filled.
pub const FILE_THREADS: usize = 4;

/// Steps by which those threads are nicer than the ring's (nice(2)): each has a tenth of its weight where
/// both want the core. They copy what comes from the disk on the core that serves peers from memory, which
/// must not wait for them; and together they still get enough of a busy core for some hundred MiB/s.
pub const FILE_THREADS_NICE: i32 = 10;

/// The most threads, when disks that do not answer hold some.
pub const FILE_THREADS_MOST: usize = 256;

/// Those beyond [`FILE_THREADS`] end when they have had nothing to do for so long.
pub const FILE_THREAD_IDLE: Duration = Duration::from_secs(10);

/// Threads for hints to read ahead, which take the processor and seldom wait.
pub const HINT_THREADS: usize = 2;

/// Steps by which those threads are nicer than the ring's: both together have 3 % of a busy core's weight.
/// Where the core has more to give, they take it.
pub const HINT_THREADS_NICE: i32 = 19;

/// Bytes that a hint's thread has read ahead at a time: where the kernel does not interrupt itself, the
/// ring's thread waits until it has the memory for them.
pub const HINT_STEP: usize = 128 * 1024;

/// Threads of the kernel for file operations that would block, of one ring: what a few disks that do
/// not answer can hold must leave some for the others. The kernel's own choice is four for each CPU.
pub const KERNEL_FILE_THREADS: u32 = 256;

/// iovecs of one sendmsg(2), from the kernel's `UIO_MAXIOV`.
pub const PARTS_PER_SEND: usize = 1024;

/// Pending connections of a listener (listen(2)); the kernel cuts it to `net.core.somaxconn`.
pub const LISTEN_BACKLOG: i32 = 4096;

/// Receives of one connection in one tick of the mio driver before others get their turn.
pub const RECEIVES_PER_TURN: usize = 16;

/// Free send batches kept for reuse.
pub const POOLED_BATCHES: usize = 256;

/// Accepting rests for so long after a failure such as a full descriptor table, which an immediate
/// second try would meet again.
pub(crate) const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Trouble that goes on is told again after so long.
pub(crate) const TELL_AGAIN: Duration = Duration::from_secs(60);

/// Bytes of idle buffers that are given back to the system in one second, of each kind: unmapping takes
/// some ten microseconds for each MiB, during which the shard does nothing else.
pub(crate) const TRIMMED_BYTES: usize = 8 * 1024 * 1024;

/// Bytes from which a file buffer is a mapping of its own: all but those for the ends of small files. Among
/// other allocations it would keep its memory when it is released, until all around it are. Neighbours are
/// one mapping to the kernel, which bounds their number (vm.max_map_count).
pub(crate) const MAPPED_BUFFER: usize = 16 * 1024;

/// Seconds without a shortage after which half as many receive buffers are lent to the kernel. The next
/// shortage costs each connection that it meets a new receive.
pub(crate) const LENT_FOR: u8 = 60;

/// Bytes from which a block of memory goes back to the system when it is freed: less than checks,
/// moves and long answers take, more than what is needed all the time.
#[cfg(target_env = "gnu")]
pub const LARGE_BLOCK: i32 = 512 * 1024;
