//! The table of counts: one slot per requested size, laid out as the recording file has it.
//!
//! `src/onejob/profiler/allocations.py` reads this layout; a change here is a new VERSION there.
//! All fields are atomics in native byte order. Any thread may count at any time, without locks.

use core::sync::atomic::{
    AtomicU8, AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

/// The first 8 bytes of a finished recording, as a native word: "onejobMA" in the file.
pub const MAGIC: u64 = u64::from_ne_bytes(*b"onejobMA");
pub const VERSION: u32 = 1;

const HASH_BITS: u32 = 12;
pub const SLOTS: usize = 1 << HASH_BITS;
/// Sizes that are counted apart; those that come later are rounded up to classes.
const MOST_EXACT: u64 = 2560;
/// Sizes and classes together. A fifth of the slots stays empty, so every search ends soon.
const MOST_SIZES: u64 = MOST_EXACT + (usize::BITS * CLASSES_PER_DOUBLING) as u64;
const CLASSES_PER_DOUBLING: u32 = 1 << CLASS_BITS;
const CLASS_BITS: u32 = 3;
/// /proc/self/exe is at most PATH_MAX bytes.
pub const PATH_SIZE: usize = 4096;
const HEADER_SIZE: usize = 8192;
pub const TABLE_SIZE: usize = size_of::<Table>();

#[repr(C)]
pub struct Table {
    pub header: Header,
    slots: [Slot; SLOTS],
}

#[repr(C)]
pub struct Header {
    /// Written last, by the process that made the file: before that, the file says nothing.
    pub magic: AtomicU64,
    version: AtomicU32,
    slots: AtomicU32,
    pub pid: AtomicU64,
    /// Allocations that were not counted because the table had no slot left for their size.
    overflow: AtomicU64,
    /// Blocks freed or reallocated here that had been allocated behind the recorder's back.
    untagged: AtomicU64,
    /// Children by fork that could not have a recording of their own. Children add to it.
    pub unrecorded_forks: AtomicU64,
    /// Slots in use.
    used: AtomicU64,
    /// Bytes of `path`.
    pub path_size: AtomicU64,
    unused: [AtomicU64; (HEADER_SIZE - 64 - PATH_SIZE) / 8],
    /// The program (/proc/self/exe).
    pub path: [AtomicU8; PATH_SIZE],
}

/// Counts of one requested size. A cache line of its own, so that threads that allocate different
/// sizes do not disturb each other.
#[repr(C, align(64))]
struct Slot {
    /// Requested size + 1; 0 in an empty slot. Set once.
    key: AtomicU64,
    allocated: AtomicU64,
    freed: AtomicU64,
    /// Most blocks alive at once: the maximum of allocated - freed.
    peak: AtomicU64,
    /// What of `allocated` and `freed` was counted by the parent before the fork.
    inherited_allocated: AtomicU64,
    inherited_freed: AtomicU64,
    unused: [AtomicU64; 2],
}

const _: () = assert!(size_of::<Header>() == HEADER_SIZE && size_of::<Slot>() == 64);

impl Table {
    pub const fn new() -> Self {
        // SAFETY: every field is an integer atomic, for which zero bytes are a valid value.
        unsafe { core::mem::zeroed() }
    }

    /// Counts a new block. `alone`: the process has one thread, so plain additions do.
    #[inline(always)]
    pub fn count_allocation(&self, size: usize, alone: bool) {
        match self.find(size).or_else(|| self.claim(size)) {
            Some(slot) => slot.add_block(alone),
            None => self.count_overflow(),
        }
    }

    /// The slot that counts blocks of this size, be it a slot of its own or its class's.
    #[inline(always)]
    fn find_counted(&self, size: usize) -> Option<&Slot> {
        self.find(size).or_else(|| self.find(class_of(size)))
    }

    /// Counts a block that is no more. One that overflowed when it was allocated has no slot.
    #[inline(always)]
    pub fn count_free(&self, size: usize, alone: bool) {
        if let Some(slot) = self.find_counted(size) {
            increment(&slot.freed, alone);
        }
    }

    /// Counts a realloc from a size to the same: one block less and one more, never both.
    pub fn count_same_size(&self, size: usize, alone: bool) {
        if let Some(slot) = self.find_counted(size) {
            increment(&slot.freed, alone);
            increment(&slot.allocated, alone);
        }
    }

    #[cold]
    fn count_overflow(&self) {
        increment(&self.header.overflow, false);
    }

    #[cold]
    pub fn count_untagged(&self) {
        increment(&self.header.untagged, false);
    }

    /// The slot that counts this size.
    #[inline(always)]
    fn find(&self, size: usize) -> Option<&Slot> {
        let (slot, key) = self.probe(size);
        (key != 0).then_some(slot)
    }

    /// The slot of this size or else the empty one where it belongs, with the key found there.
    #[inline(always)]
    fn probe(&self, size: usize) -> (&Slot, u64) {
        let mut index = home(size);
        loop {
            let slot = &self.slots[index % SLOTS];
            let key = slot.key.load(Relaxed);
            if key == key_of(size) || key == 0 {
                return (slot, key);
            }
            index += 1;
        }
    }

    /// Takes an empty slot for a size that is new, or for its class; None if the table is full.
    ///
    /// A size that once had to go to its class never gets a slot of its own later, because slots are
    /// never given up: what is freed is counted where it was counted when it was allocated.
    #[cold]
    fn claim(&self, size: usize) -> Option<&Slot> {
        self.take_slot(size, MOST_EXACT)
            .or_else(|| self.find(class_of(size)))
            .or_else(|| self.take_slot(class_of(size), MOST_SIZES))
    }

    fn take_slot(&self, size: usize, most: u64) -> Option<&Slot> {
        while self.header.used.load(Relaxed) < most {
            let (slot, key) = self.probe(size);
            if key != 0 {
                return Some(slot);
            }
            let claimed = slot.key.compare_exchange(0, key_of(size), Relaxed, Relaxed);
            if claimed.is_ok() {
                self.header.used.fetch_add(1, Relaxed);
                return Some(slot);
            }
        }
        self.find(size)
    }

    /// Overwrites this table with all that `other` has. Both belong to one line of descent, so each
    /// size is in the same slot. Magic and pid are not copied.
    pub fn copy_from(&self, other: &Table) {
        self.header.copy_from(&other.header);
        for (mine, theirs) in self.slots.iter().zip(&other.slots) {
            if theirs.key.load(Relaxed) != 0 {
                mine.copy_from(theirs);
            }
        }
    }

    /// Declares all counts up to here to be the parent's.
    pub fn mark_inherited(&self) {
        self.header.unrecorded_forks.store(0, Relaxed);
        for slot in &self.slots {
            if slot.key.load(Relaxed) != 0 {
                copy(&slot.inherited_allocated, &slot.allocated);
                copy(&slot.inherited_freed, &slot.freed);
            }
        }
    }

    /// Makes the table valid for readers.
    pub fn publish(&self, pid: u64) {
        self.header.version.store(VERSION, Relaxed);
        self.header.slots.store(SLOTS as u32, Relaxed);
        self.header.pid.store(pid, Relaxed);
        self.header.magic.store(MAGIC, Release);
    }
}

impl Header {
    fn copy_from(&self, other: &Header) {
        copy(&self.overflow, &other.overflow);
        copy(&self.untagged, &other.untagged);
        copy(&self.used, &other.used);
        copy(&self.path_size, &other.path_size);
        let size = other.path_size.load(Relaxed) as usize;
        for (mine, theirs) in self.path.iter().zip(&other.path).take(size) {
            mine.store(theirs.load(Relaxed), Relaxed);
        }
    }
}

impl Slot {
    #[inline(always)]
    fn add_block(&self, alone: bool) {
        let allocated = increment(&self.allocated, alone);
        // Read after the addition: a block freed meanwhile was not alive together with this one.
        let alive = allocated.wrapping_sub(self.freed.load(Acquire));
        // Signed, for a block that was freed twice in the recorder's eyes (allocators mixed).
        if alive as i64 > self.peak.load(Relaxed) as i64 {
            self.raise_peak(alive, alone);
        }
    }

    #[inline(always)]
    fn raise_peak(&self, alive: u64, alone: bool) {
        if alone {
            self.peak.store(alive, Relaxed);
        } else {
            self.peak.fetch_max(alive, Relaxed);
        }
    }

    fn copy_from(&self, other: &Slot) {
        copy(&self.key, &other.key);
        copy(&self.allocated, &other.allocated);
        copy(&self.freed, &other.freed);
        copy(&self.peak, &other.peak);
        copy(&self.inherited_allocated, &other.inherited_allocated);
        copy(&self.inherited_freed, &other.inherited_freed);
    }
}

/// The size that stands for all of its class: the next of CLASSES_PER_DOUBLING steps from one power
/// of two to the next.
fn class_of(size: usize) -> usize {
    let step = size.max(1).ilog2().saturating_sub(CLASS_BITS);
    size.checked_next_multiple_of(1 << step)
        .unwrap_or(usize::MAX - 1)
}

fn key_of(size: usize) -> u64 {
    size as u64 + 1
}

/// Fibonacci hashing: neighbouring sizes are spread apart.
#[inline(always)]
fn home(size: usize) -> usize {
    ((size as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - HASH_BITS)) as usize
}

/// Adds 1 and returns the sum. A locked addition is dear, and needless with one thread.
#[inline(always)]
fn increment(counter: &AtomicU64, alone: bool) -> u64 {
    if alone {
        let sum = counter.load(Relaxed).wrapping_add(1);
        counter.store(sum, Relaxed);
        sum
    } else {
        counter.fetch_add(1, Acquire).wrapping_add(1)
    }
}

fn copy(to: &AtomicU64, from: &AtomicU64) {
    to.store(from.load(Relaxed), Relaxed);
}
