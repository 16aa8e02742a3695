//! Large blocks: each is a mapping of its own, and goes back to the kernel when it is freed.
//!
//! Their sizes are in a table by address, out of line. A block has its entry within a few places of
//! where its address hashes to; where these are taken, the block is not made here.

use core::ffi::c_void;
use core::ptr;
use core::sync::atomic::{
    AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};

use crate::sys::{self, PAGE_SIZE};

const ENTRIES: usize = 1 << 14;
const TRIES: usize = 32;
/// An entry that is being made.
const TAKEN: usize = 1;

struct Entry {
    /// 0 for none.
    address: AtomicUsize,
    size: AtomicUsize,
}

static TABLE: [Entry; ENTRIES] = [const {
    Entry {
        address: AtomicUsize::new(0),
        size: AtomicUsize::new(0),
    }
}; ENTRIES];

/// A block of at least `size` bytes at a page's start; null if there is none here.
pub fn allocate(size: usize) -> *mut c_void {
    let Some(whole) = size.checked_next_multiple_of(PAGE_SIZE) else {
        return ptr::null_mut();
    };
    let Some(place) = sys::map_private(whole) else {
        return ptr::null_mut();
    };
    if !note(place, whole) {
        // SAFETY: just made, and given to nobody.
        unsafe { sys::unmap(place, whole) };
        return ptr::null_mut();
    }
    place
}

/// Bytes of a large block; None where the address is none's.
pub fn size_of(block: *mut c_void) -> Option<usize> {
    let entry = find(block)?;
    Some(entry.size.load(Relaxed))
}

/// Whether it was one, which is no more.
pub fn free(block: *mut c_void) -> bool {
    let Some(size) = forget(block) else {
        return false;
    };
    // SAFETY: whoever took the entry out owns the mapping.
    unsafe { sys::unmap(block, size) };
    true
}

/// Another size for a large block, which may move; null if it cannot be, and it stays as it is.
pub fn resize(block: *mut c_void, size: usize) -> *mut c_void {
    let Some(whole) = size.checked_next_multiple_of(PAGE_SIZE) else {
        return ptr::null_mut();
    };
    let Some(entry) = find(block).filter(|entry| entry.replace(block.addr(), TAKEN)) else {
        return ptr::null_mut();
    };
    let old = entry.size.load(Relaxed);
    // SAFETY: whoever took the entry owns the mapping.
    if unsafe { sys::resize_in_place(block, old, whole) } {
        entry.size.store(whole, Relaxed);
        entry.address.store(block.addr(), Release);
        return block;
    }
    let place = allocate(size);
    // SAFETY: as above; the new mapping has the new size, and is nobody's yet.
    if !place.is_null() && unsafe { sys::move_onto(block, old, place, whole) } {
        entry.address.store(0, Release);
        return place;
    }
    free(place);
    entry.address.store(block.addr(), Release);
    ptr::null_mut()
}

impl Entry {
    fn replace(&self, from: usize, to: usize) -> bool {
        let done = self.address.compare_exchange(from, to, Acquire, Relaxed);
        done.is_ok()
    }
}

fn entries(block: *mut c_void) -> impl Iterator<Item = &'static Entry> {
    let hash = (block.addr() / PAGE_SIZE).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 50;
    (0..TRIES).map(move |number| &TABLE[(hash + number) % ENTRIES])
}

fn find(block: *mut c_void) -> Option<&'static Entry> {
    if block.addr() < PAGE_SIZE {
        return None;
    }
    entries(block).find(|entry| entry.address.load(Acquire) == block.addr())
}

fn note(block: *mut c_void, size: usize) -> bool {
    let take = |entry: &&Entry| entry.address.load(Relaxed) == 0 && entry.replace(0, TAKEN);
    let Some(entry) = entries(block).find(take) else {
        return false;
    };
    entry.size.store(size, Relaxed);
    entry.address.store(block.expose_provenance(), Release);
    true
}

fn forget(block: *mut c_void) -> Option<usize> {
    let entry = find(block)?;
    let size = entry.size.load(Relaxed);
    entry.replace(block.addr(), 0).then_some(size)
}
