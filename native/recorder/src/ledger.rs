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

type Leaf = [AtomicU64; 1 << LEAF_BITS];

static ROOT: [AtomicPtr<Leaf>; 1 << ROOT_BITS] =
    [const { AtomicPtr::new(ptr::null_mut()) }; 1 << ROOT_BITS];

pub const SERIAL_BITS: u32 = 20;
const SERIALS: u32 = 1 << SERIAL_BITS;
/// No block lies there.
pub const EMPTY: u64 = 0;

/// What is known of a live block.
#[derive(Clone, Copy)]
pub struct Entry(u64);

impl Entry {
    /// `number` is not 0, so that no entry is EMPTY. Of the serial, the low bits are kept.
    #[inline(always)]
    pub fn new(number: usize, serial: u32, clock: u32) -> Self {
        let serial = u64::from(serial % SERIALS) << NUMBER_BITS;
        Entry(number as u64 | serial | u64::from(clock) << 32)
    }

    #[inline(always)]
    pub fn number(self) -> usize {
        self.0 as usize % NUMBERS
    }

    /// The thread that allocated it.
    #[inline(always)]
    pub fn serial(self) -> u32 {
        (self.0 >> NUMBER_BITS) as u32 % SERIALS
    }

    /// That thread's clock at that moment.
    #[inline(always)]
    pub fn clock(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// Enters a block; false if it has no place there yet.
#[inline(always)]
pub fn write(block: *mut c_void, entry: Entry) -> bool {
    match find(block) {
        Some(place) => {
            place.store(entry.0, Relaxed);
            true
        }
        None => false,
    }
}

/// Takes a block out; None if it is not in. Done before the block is given back, so that nobody
/// else has its address meanwhile.
#[inline(always)]
pub fn take(block: *mut c_void) -> Option<Entry> {
    let place = find(block)?;
    let entry = place.load(Relaxed);
    place.store(EMPTY, Relaxed);
    (entry != EMPTY).then_some(Entry(entry))
}

#[inline(always)]
fn find(block: *mut c_void) -> Option<&'static AtomicU64> {
    let address = block.addr() >> GRANULE_BITS;
    let leaf = ROOT.get(address >> LEAF_BITS)?.load(Acquire);
    // SAFETY: what is stored there is null or a mapping that is never unmapped.
    let leaf = unsafe { leaf.as_ref() }?;
    Some(&leaf[address % leaf.len()])
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
