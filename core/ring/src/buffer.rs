//! Memory that the kernel fills and reads: page-aligned file buffers, and the arena that receives
//! land in.
#![allow(unsafe_code)]

use crate::limits;
use std::{
    alloc::{self, Layout},
    cell::{Cell, RefCell},
    fmt, io,
    mem::ManuallyDrop,
    ops::{Deref, DerefMut},
    ptr::{self, NonNull},
    rc::Rc,
};

const PAGE: usize = 4096;

/// A page-aligned buffer of initialised bytes, for file operations and piece data. It goes back to
/// its [`BufPool`] when dropped; its content is what the last user left.
pub struct Buf {
    memory: Memory,
    length: usize,
    pool: Rc<PoolInner>,
}

impl Buf {
    pub(crate) fn as_ptr(&self) -> *const u8 {
        self.memory.start.as_ptr()
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut u8 {
        self.memory.start.as_ptr()
    }
}

impl Deref for Buf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `memory` is at least `length` bytes, initialised when they were allocated, and borrowed
        // as long as `self`.
        unsafe { std::slice::from_raw_parts(self.as_ptr(), self.length) }
    }
}

impl DerefMut for Buf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `&mut self` makes the borrow the only one.
        unsafe { std::slice::from_raw_parts_mut(self.as_mut_ptr(), self.length) }
    }
}

impl Drop for Buf {
    fn drop(&mut self) {
        self.pool.put(self.memory);
    }
}

impl fmt::Debug for Buf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buf({} bytes)", self.length)
    }
}

/// Where [`Buf`]s come from. Clones share the same free lists.
#[derive(Clone)]
pub struct BufPool(Rc<PoolInner>);

struct PoolInner {
    /// Free buffers by the power of two of their capacity in pages.
    free: RefCell<Vec<Vec<Memory>>>,
    free_bytes: Cell<usize>,
    /// The least that `free_bytes` was since the last [`BufPool::trim`].
    least_free_bytes: Cell<usize>,
    used_bytes: Cell<usize>,
    keep_bytes: usize,
}

impl BufPool {
    /// A pool that keeps at most `keep_bytes` of free buffers.
    pub fn new(keep_bytes: usize) -> BufPool {
        BufPool(Rc::new(PoolInner {
            free: RefCell::default(),
            free_bytes: Cell::new(0),
            least_free_bytes: Cell::new(0),
            used_bytes: Cell::new(0),
            keep_bytes,
        }))
    }

    /// A buffer of `length` bytes (at least 1), page-aligned.
    ///
    /// # Panics
    /// If `length` is zero or beyond what the address space can hold.
    pub fn get(&self, length: usize) -> Buf {
        assert!(length > 0, "a buffer holds something");
        let class = class_of(length);
        let capacity = PAGE << class;
        let inner = &self.0;
        let recycled = inner.free.borrow_mut().get_mut(class).and_then(Vec::pop);
        let memory = match recycled {
            Some(memory) => {
                let free = inner.free_bytes.get() - capacity;
                inner.free_bytes.set(free);
                inner.least_free_bytes.set(inner.least_free_bytes.get().min(free));
                memory
            }
            None => Memory::allocate(class),
        };
        inner.used_bytes.set(inner.used_bytes.get() + capacity);
        Buf { memory, length, pool: Rc::clone(inner) }
    }

    /// Gives half of what nobody has needed since the last call back to the system, and not more than
    /// takes no time.
    pub(crate) fn trim(&self) {
        let inner = &self.0;
        let idle = inner.least_free_bytes.get();
        let mut rest = idle.div_ceil(2).min(limits::TRIMMED_BYTES);
        for (class, list) in inner.free.borrow_mut().iter_mut().enumerate().rev() {
            let capacity = PAGE << class;
            if capacity > idle {
                continue;
            }
            let count = list.len().min(rest.div_ceil(capacity));
            // Those that were used longest ago are at the bottom.
            list.drain(..count).for_each(Memory::release);
            rest = rest.saturating_sub(count * capacity);
            inner.free_bytes.set(inner.free_bytes.get() - count * capacity);
        }
        inner.least_free_bytes.set(inner.free_bytes.get());
    }

    /// Bytes in buffers that are in use now.
    pub fn used_bytes(&self) -> usize {
        self.0.used_bytes.get()
    }
}

impl PoolInner {
    fn put(&self, memory: Memory) {
        let capacity = memory.capacity();
        self.used_bytes.set(self.used_bytes.get() - capacity);
        if self.free_bytes.get() + capacity > self.keep_bytes {
            memory.release();
            return;
        }
        self.free_bytes.set(self.free_bytes.get() + capacity);
        let class = usize::from(memory.class);
        let mut free = self.free.borrow_mut();
        if free.len() <= class {
            free.resize_with(class + 1, Vec::new);
        }
        free[class].push(memory);
    }
}

impl Drop for PoolInner {
    fn drop(&mut self) {
        self.free.borrow_mut().drain(..).flatten().for_each(Memory::release);
    }
}

fn class_of(length: usize) -> usize {
    length.div_ceil(PAGE).next_power_of_two().trailing_zeros() as usize
}

fn layout(capacity: usize) -> Layout {
    Layout::from_size_align(capacity, PAGE).expect("a power of two of pages is a valid layout")
}

/// The bytes of a buffer. Large ones are mapped by themselves: when they are released their memory is the
/// system's again, whatever has been allocated around it.
#[derive(Clone, Copy)]
struct Memory {
    start: NonNull<u8>,
    /// The power of two of its capacity in pages.
    class: u8,
    is_mapped: bool,
}

impl Memory {
    fn allocate(class: usize) -> Memory {
        let capacity = PAGE << class;
        // Of a length in 64 bits: at most 52.
        let class = class as u8;
        // Without a mapping, of which a process has only so many, the allocator may still have it.
        if capacity >= limits::MAPPED_BUFFER
            && let Ok(pages) = Pages::new(capacity)
        {
            return Memory { start: ManuallyDrop::new(pages).start, class, is_mapped: true };
        }
        let layout = layout(capacity);
        // SAFETY: the layout's size is at least one page, never zero.
        let start = unsafe { alloc::alloc_zeroed(layout) };
        let start = NonNull::new(start).unwrap_or_else(|| alloc::handle_alloc_error(layout));
        Memory { start, class, is_mapped: false }
    }

    fn capacity(self) -> usize {
        PAGE << self.class
    }

    /// Ends it; no copy of it is used any more.
    fn release(self) {
        if self.is_mapped {
            drop(Pages { start: self.start, length: self.capacity() });
            return;
        }
        // SAFETY: `start` came from `allocate` with the same capacity and is not used after this.
        unsafe { alloc::dealloc(self.start.as_ptr(), layout(self.capacity())) }
    }
}

/// No swap space is set aside for memory that may never be touched. Miri has no swap.
const UNRESERVED: i32 = if cfg!(miri) { 0 } else { libc::MAP_NORESERVE };

/// Private anonymous memory whose pages appear when they are first touched.
pub(crate) struct Pages {
    start: NonNull<u8>,
    length: usize,
}

impl Pages {
    pub(crate) fn new(length: usize) -> io::Result<Pages> {
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches nothing that
        // exists.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | UNRESERVED,
                -1,
                0,
            )
        };
        match NonNull::new(start.cast::<u8>()) {
            Some(start) if start.as_ptr() != libc::MAP_FAILED.cast() => Ok(Pages { start, length }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    pub(crate) fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, whole, and nothing refers to it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

/// The receive buffers of one ring, equal in length, numbered.
pub(crate) struct RecvArena {
    pages: Pages,
    buffer_length: usize,
    /// Numbers of the buffers that nobody holds. Last in, first out: the next receive lands where
    /// the caches are warm.
    free: RefCell<Vec<u16>>,
    /// The fewest that were free since the last [`Self::trim`].
    least_free: Cell<usize>,
    /// By number: whether it may take up memory.
    touched: Box<[Cell<bool>]>,
}

impl RecvArena {
    pub(crate) fn new(buffer_length: u32, count: u16) -> io::Result<Rc<RecvArena>> {
        let buffer_length = buffer_length as usize;
        let pages = Pages::new(buffer_length * usize::from(count))?;
        let free = RefCell::new((0..count).rev().collect());
        let (least_free, touched) = (Cell::new(count.into()), (0..count).map(|_| Cell::new(false)));
        let touched = touched.collect();
        Ok(Rc::new(RecvArena { pages, buffer_length, free, least_free, touched }))
    }

    /// Takes a buffer out of the free list, for the kernel or for a read.
    pub(crate) fn take(&self) -> Option<u16> {
        let mut free = self.free.borrow_mut();
        let number = free.pop()?;
        self.least_free.set(self.least_free.get().min(free.len()));
        self.touched[usize::from(number)].set(true);
        Some(number)
    }

    /// Gives the memory of half of the buffers that nobody has needed since the last call back to the
    /// system, and not more than takes no time.
    pub(crate) fn trim(&self) {
        let free = self.free.borrow();
        let idle = self.least_free.replace(free.len());
        let most = idle.div_ceil(2).min(limits::TRIMMED_BYTES / self.buffer_length);
        let is_touched = |number: &&u16| self.touched[usize::from(**number)].get();
        for &number in free[..idle].iter().filter(is_touched).take(most) {
            let start = self.address(number).cast();
            // SAFETY: the whole pages of one buffer, within the mapping. It is free: nobody refers to
            // its bytes, and the kernel has not got it. They read as zeros afterwards.
            let done = unsafe { libc::madvise(start, self.buffer_length, libc::MADV_DONTNEED) };
            self.touched[usize::from(number)].set(done != 0);
        }
    }

    /// Puts back a buffer that [`Self::take`] gave and no [`RecvBuf`] was made of.
    pub(crate) fn put(&self, number: u16) {
        self.free.borrow_mut().push(number);
    }

    pub(crate) fn buffer_length(&self) -> usize {
        self.buffer_length
    }

    pub(crate) fn address(&self, number: u16) -> *mut u8 {
        // In bounds: numbers come from the free list, which holds those of the arena.
        self.pages.as_ptr().wrapping_add(usize::from(number) * self.buffer_length)
    }

    /// Fills a buffer that was taken with bytes, which must fit, and lends it.
    #[cfg(feature = "sim")]
    pub(crate) fn fill(self: &Rc<Self>, number: u16, parts: [&[u8]; 2]) -> RecvBuf {
        let mut length = 0;
        for part in parts {
            assert!(part.len() <= self.buffer_length - length);
            // SAFETY: within the buffer, as was just checked. It is out of the free list and so
            // nobody else's; the bytes are borrowed from elsewhere.
            unsafe { self.address(number).add(length).copy_from(part.as_ptr(), part.len()) };
            length += part.len();
        }
        self.lend(number, length)
    }

    /// Lends a buffer that was taken and whose first `length` bytes have been filled.
    pub(crate) fn lend(self: &Rc<Self>, number: u16, length: usize) -> RecvBuf {
        assert!(length <= self.buffer_length);
        RecvBuf { arena: Rc::clone(self), number, length }
    }
}

/// Bytes that came in, where the kernel put them. Dropping it gives the buffer back.
pub struct RecvBuf {
    arena: Rc<RecvArena>,
    number: u16,
    length: usize,
}

impl Deref for RecvBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the buffer is out of the free list for as long as this value lives, so nobody
        // else writes it; its first `length` bytes were filled, and anonymous pages are initialised
        // anyway.
        unsafe { std::slice::from_raw_parts(self.arena.address(self.number), self.length) }
    }
}

impl Drop for RecvBuf {
    fn drop(&mut self) {
        self.arena.put(self.number);
    }
}

impl fmt::Debug for RecvBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecvBuf({} bytes)", self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MAPPED_BUFFER;

    #[test]
    fn a_dropped_buffer_is_used_again() {
        let pool = BufPool::new(1 << 20);
        let mut first = pool.get(5000);
        first[4999] = 7;
        let address = first.as_ptr();
        assert_eq!(address as usize % PAGE, 0);
        assert_eq!(pool.used_bytes(), 8192);
        drop(first);
        assert_eq!(pool.used_bytes(), 0);
        assert_eq!(pool.get(8000).as_ptr(), address);
    }

    #[test]
    fn all_but_small_buffers_are_mappings_and_all_are_zeroed() {
        let pool = BufPool::new(0);
        for length in [1, PAGE, MAPPED_BUFFER / 2, MAPPED_BUFFER, 5 << 20] {
            let buffer = pool.get(length);
            assert_eq!(buffer.memory.is_mapped, length >= MAPPED_BUFFER, "{length}");
            assert!(buffer.iter().all(|&byte| byte == 0));
        }
    }

    #[test]
    fn the_pool_keeps_no_more_than_it_was_told() {
        let pool = BufPool::new(8192);
        drop((pool.get(4096), pool.get(4096), pool.get(4096)));
        assert_eq!(pool.0.free_bytes.get(), 8192);
    }

    #[test]
    fn what_the_pool_has_not_needed_goes_back_bit_by_bit() {
        let pool = BufPool::new(1 << 30);
        let busy = |count: usize| drop((0..count).map(|_| pool.get(1 << 16)).collect::<Vec<_>>());
        busy(100);
        pool.trim();
        assert_eq!(pool.0.free_bytes.get(), 100 << 16, "all were needed since the last time");
        for _ in 0..20 {
            busy(10);
            pool.trim();
        }
        assert_eq!(pool.0.free_bytes.get(), 10 << 16);
        busy(11);
        for _ in 0..8 {
            pool.trim();
        }
        assert_eq!(pool.0.free_bytes.get(), 0);
        assert_eq!(pool.get(5).len(), 5);
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no madvise")]
    fn receive_buffers_that_are_not_needed_take_up_no_memory() {
        let arena = RecvArena::new(1 << 16, 64).unwrap();
        let touched = || arena.touched.iter().filter(|touched| touched.get()).count();
        let busy = |count: usize| {
            let taken: Vec<u16> = (0..count).map(|_| arena.take().unwrap()).collect();
            for number in taken {
                // SAFETY: taken, so nobody else's.
                unsafe { arena.address(number).write_bytes(7, 1 << 16) };
                drop(arena.lend(number, 1 << 16));
            }
        };
        busy(40);
        arena.trim();
        assert_eq!(touched(), 40);
        for _ in 0..20 {
            busy(8);
            arena.trim();
        }
        // Which ones a user gets depends on the order in which they come back.
        assert!((8..=16).contains(&touched()), "{}", touched());
        for _ in 0..20 {
            arena.trim();
        }
        assert_eq!(touched(), 0);
        let number = arena.take().unwrap();
        assert!(arena.lend(number, 1 << 16).iter().all(|&byte| byte == 0), "the memory is gone");
    }

    #[test]
    fn a_lent_receive_buffer_comes_back() {
        let arena = RecvArena::new(4096, 2).unwrap();
        let (a, b) = (arena.take().unwrap(), arena.take().unwrap());
        assert_eq!(arena.take(), None);
        drop(arena.lend(a, 10));
        assert_eq!(arena.take(), Some(a));
        arena.put(b);
    }
}
