//! The ledger: for the address of each live block, who allocated it, when, and its size's number.
//!
//! Out of line, so that the blocks stay as the real allocator makes them, blocks that did not come
//! through the recorder are known for certain, and the service cannot overwrite it by accident. A
//! table of two levels by address, without locks, that has 8 bytes for 16 of the heap where blocks
//! lie, and holes elsewhere. It is private memory: a child by fork has its own copy.

use core::ffi::c_void;
use core::ptr;
use core::sync::atomic::{
    AtomicPtr, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};

use crate::layout::{NUMBER_BITS, NUMBERS};
use crate::sys;

/// Blocks do not lie closer together: see `room` in hooks.rs.
const GRANULE_BITS: u32 = 4;
/// A leaf is for 32 MiB of addresses.
const LEAF_BITS: u32 = 21;
/// Together 47 bits: what user programs get unless they ask for more
/// (Documentation/arch/x86/x86_64/5level-paging.rst).
const ROOT_BITS: u32 = 22;

/// Of one block.
pub struct Place(AtomicU64);

type Leaf = [Place; 1 << LEAF_BITS];

static ROOT: [AtomicPtr<Leaf>; 1 << ROOT_BITS] =
    [const { AtomicPtr::new(ptr::null_mut()) }; 1 << ROOT_BITS];

const SERIAL_BITS: u32 = 20;
pub const SERIALS: u32 = 1 << SERIAL_BITS;
/// No block lies there.
const EMPTY: u64 = 0;

/// What is known of a live block.
#[derive(Clone, Copy)]
pub struct Entry(u64);

impl Entry {
    /// Of the thread with this stamp, now. A number is not 0, so that no entry is EMPTY.
    #[inline(always)]
    pub fn new(number: usize, stamp: Stamp) -> Self {
        Entry(stamp.0 | number as u64)
    }

    #[inline(always)]
    pub fn number(self) -> usize {
        self.0 as usize % NUMBERS
    }

    /// The low bits of the serial number of the thread that allocated it.
    pub fn serial(self) -> u32 {
        (self.0 >> NUMBER_BITS) as u32 % SERIALS
    }

    /// The number, if the thread with this stamp allocated the block; else NUMBERS or more.
    #[inline(always)]
    pub fn number_if_of(self, stamp: Stamp) -> usize {
        (self.0 as u32 ^ stamp.0 as u32) as usize
    }

    /// Ticks between then and now of the clock of the thread that allocated it, which has this stamp.
    #[inline(always)]
    pub fn age(self, stamp: Stamp) -> u32 {
        (stamp.0.wrapping_sub(self.0) >> 32) as u32
    }
}

/// A thread's clock (32 bits), the low bits of its serial number, and as many 0 as a number has.
#[derive(Clone, Copy)]
pub struct Stamp(pub u64);

impl Stamp {
    pub const TICK: u64 = 1 << 32;

    pub fn new(serial: u32) -> Self {
        Stamp(u64::from(serial % SERIALS) << NUMBER_BITS)
    }
}

/// Takes a block out; None if it is not in. Done before the block is given back, so that nobody
/// else has its address meanwhile.
pub fn take(block: *mut c_void) -> Option<Entry> {
    find(block)?.take()
}

/// The place of a block; None if that part of the ledger is not there yet.
#[inline(always)]
pub fn find(block: *mut c_void) -> Option<&'static Place> {
    let address = block.addr();
    // No block lies beyond ROOT: its place was never made, and who frees it fails.
    let leaf = ROOT[(address >> (LEAF_BITS + GRANULE_BITS)) % ROOT.len()].load(Acquire);
    // SAFETY: what is stored there is null or a mapping that is never unmapped.
    let leaf = unsafe { leaf.as_ref() }?;
    Some(&leaf[(address >> GRANULE_BITS) % leaf.len()])
}

impl Place {
    #[inline(always)]
    pub fn write(&self, entry: Entry) {
        self.0.store(entry.0, Relaxed);
    }

    /// What is there, which may be EMPTY.
    #[inline(always)]
    pub fn read(&self) -> Entry {
        Entry(self.0.load(Relaxed))
    }

    #[inline(always)]
    pub fn clear(&self) {
        self.0.store(EMPTY, Relaxed);
    }

    fn take(&self) -> Option<Entry> {
        let entry = self.read();
        self.clear();
        (entry.0 != EMPTY).then_some(entry)
    }
}

/// Makes a place for a block; false if there is no memory for it.
pub fn make_place(block: *mut c_void) -> bool {
    let Some(place) = ROOT.get(block.addr() >> GRANULE_BITS >> LEAF_BITS) else {
        return false;
    };
    if place.load(Acquire).is_null() {
        let Some(fresh) = sys::map_private(size_of::<Leaf>()) else {
            return false;
        };
        let result = place.compare_exchange(ptr::null_mut(), fresh.cast(), AcqRel, Acquire);
        if result.is_err() {
            sys::unmap(fresh, size_of::<Leaf>());
        }
    }
    true
}
