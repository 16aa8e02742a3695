//! What a recording file looks like: a header, one entry per block size, counters per thread.
//!
//! `src/onejob/profiler/allocations.py` reads this layout; a change here is a new VERSION there.
//! All fields are atomics in native byte order. Pages are used one by one, as sizes and threads
//! come: the rest of the file is a hole.

use core::sync::atomic::{
    AtomicU8, AtomicU32, AtomicU64,
    Ordering::{Relaxed, Release},
};

/// The first 8 bytes of a finished recording, as a native word: "onejobMA" in the file.
pub const MAGIC: u64 = u64::from_ne_bytes(*b"onejobMA");
pub const VERSION: u32 = 2;

pub const NUMBER_BITS: u32 = 12;
/// Sizes have numbers below, from 1 on.
pub const NUMBERS: usize = 1 << NUMBER_BITS;
/// Tables of counters. The first is for threads that have none of their own.
pub const TABLES: usize = 64;
/// The program's path; what is longer is cut.
pub const PATH_SIZE: usize = HEADER_SIZE - 64;
const HEADER_SIZE: usize = 4096;
pub const FILE_SIZE: usize = size_of::<File>();

#[repr(C)]
pub struct File {
    pub header: Header,
    /// By number.
    pub sizes: [Size; NUMBERS],
    pub tables: [Table; TABLES],
}

#[repr(C)]
pub struct Header {
    /// Written last: before that, the file says nothing.
    pub magic: AtomicU64,
    pub version: AtomicU32,
    /// Tables in use: those below may hold counts.
    pub tables: AtomicU32,
    pub pid: AtomicU64,
    /// Numbers in use: those below may be a size's.
    pub numbers: AtomicU64,
    /// Allocations that were not counted: no number, page or memory was left to count them.
    pub overflow: AtomicU64,
    /// Blocks freed or reallocated here that had been allocated behind the recorder's back.
    pub untagged: AtomicU64,
    /// Children by fork that could not have a recording of their own. Children add to it.
    pub unrecorded: AtomicU64,
    /// Bytes of `path`.
    pub path_size: AtomicU64,
    /// The program (/proc/self/exe).
    pub path: [AtomicU8; PATH_SIZE],
}

#[repr(C)]
pub struct Size {
    /// Requested size + 1; 0 where a number was given up.
    pub key: AtomicU64,
    /// Most blocks alive at once.
    pub peak: AtomicU64,
}

pub type Table = [Counts; NUMBERS];

/// What one thread did with blocks of one size. Only that thread adds, but for the first table.
#[repr(C, align(64))]
pub struct Counts {
    pub allocated: AtomicU64,
    pub freed: AtomicU64,
    /// Of `freed`: by the thread that had allocated the block, before it did that many more.
    pub short_lived: AtomicU64,
    /// Of `freed`: allocated by another thread.
    pub freed_elsewhere: AtomicU64,
    /// Of `freed`: allocated by the parent before the fork.
    pub freed_inherited: AtomicU64,
    /// Of `allocated`: by realloc of an older block.
    pub resized: AtomicU64,
    /// Of `allocated`: by memalign and its like.
    pub aligned: AtomicU64,
    unused: AtomicU64,
}

const _: () = assert!(size_of::<Header>() == HEADER_SIZE && size_of::<Counts>() == 64);

impl File {
    /// Makes the recording valid for readers.
    pub fn publish(&self, pid: u64) {
        self.header.version.store(VERSION, Relaxed);
        self.header.pid.store(pid, Relaxed);
        self.header.magic.store(MAGIC, Release);
    }

    #[cold]
    pub fn count_overflow(&self) {
        self.header.overflow.fetch_add(1, Relaxed);
    }

    #[cold]
    pub fn count_untagged(&self) {
        self.header.untagged.fetch_add(1, Relaxed);
    }
}

impl Counts {
    fn all(&self) -> [&AtomicU64; 7] {
        [
            &self.allocated,
            &self.freed,
            &self.short_lived,
            &self.freed_elsewhere,
            &self.freed_inherited,
            &self.resized,
            &self.aligned,
        ]
    }

    pub fn copy_from(&self, other: &Counts) {
        for (mine, theirs) in self.all().into_iter().zip(other.all()) {
            mine.store(theirs.load(Relaxed), Relaxed);
        }
    }
}

/// Adds 1. A locked addition is dear, and needless where nobody else adds. (The other is one
/// instruction, so that a signal handler that allocates does not come in between.)
#[inline(always)]
pub fn increment(counter: &AtomicU64, exclusive: bool) {
    add(counter, 1, exclusive);
}

/// Adds a number, in the same way.
#[inline(always)]
pub fn add(counter: &AtomicU64, number: u64, exclusive: bool) {
    if exclusive {
        counter.store(counter.load(Relaxed).wrapping_add(number), Relaxed);
    } else {
        counter.fetch_add(number, Relaxed);
    }
}
