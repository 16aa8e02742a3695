//! The tail behind every recorded block: its requested size, disguised so that other data is not
//! taken for it.
//!
//! A recorded block of `n` bytes is `n + TAIL` bytes of the real allocator. The tag is in the last
//! 8 bytes of the usable block, so the front keeps the real allocator's alignment.

use core::ffi::c_void;

use crate::glibc;

/// Bytes that the tag takes from the end of each block.
pub const TAIL: usize = 8;

/// A tag that no block can have: it decodes to a size that is larger than any address space.
const CLEARED: u64 = 0;

/// What a recorded block is known by.
pub struct Tagged {
    /// Bytes that the service asked for.
    pub size: usize,
    place: *mut u64,
}

impl Tagged {
    /// Makes the block unknown. Done before it is given back, so that a later block at the same
    /// address that did not come through the recorder does not look like this one.
    pub fn clear(&self) {
        // SAFETY: the place is inside the block, which is not yet freed, behind the service's part.
        unsafe { self.place.write_unaligned(CLEARED) }
    }

    /// Undoes `clear` after a realloc that failed and so left the block alone.
    pub fn restore(&self, block: *mut c_void) {
        // SAFETY: as for clear.
        unsafe { self.place.write_unaligned(disguise(block, self.size)) }
    }
}

/// Writes the tag of a fresh block; false if the block has no room for one.
///
/// # Safety
/// `block` is a live block of the real allocator, and the service does not use its last 8 bytes.
#[inline(always)]
pub unsafe fn write(block: *mut c_void, size: usize) -> bool {
    // SAFETY: the caller vouches for the block.
    let usable = unsafe { glibc::usable_size(block) };
    if usable < TAIL {
        return false;
    }
    // SAFETY: the last 8 usable bytes are inside the block and belong to the recorder.
    unsafe { place(block, usable).write_unaligned(disguise(block, size)) };
    true
}

/// The tag of a block, or None if it was allocated behind the recorder's back.
///
/// # Safety
/// `block` is a live block of the real allocator.
#[inline(always)]
pub unsafe fn read(block: *mut c_void) -> Option<Tagged> {
    // SAFETY: the caller vouches for the block.
    let usable = unsafe { glibc::usable_size(block) };
    if usable < TAIL {
        return None;
    }
    // SAFETY: the last 8 usable bytes are inside the block.
    let place = unsafe { place(block, usable) };
    // SAFETY: as above; in a foreign block this reads some of its data, which no tag equals.
    let size = unsafe { place.read_unaligned() } ^ mix(block);
    (size <= (usable - TAIL) as u64).then_some(Tagged {
        size: size as usize,
        place,
    })
}

/// # Safety
/// `block` has `usable` bytes, at least `TAIL`.
unsafe fn place(block: *mut c_void, usable: usize) -> *mut u64 {
    // SAFETY: the caller vouches that this stays inside the block.
    unsafe { block.cast::<u8>().add(usable - TAIL).cast() }
}

#[inline(always)]
fn disguise(block: *mut c_void, size: usize) -> u64 {
    size as u64 ^ mix(block)
}

/// Spreads the address over all bits, so that a foreign word decodes to a possible size with a
/// chance of about block size / 2^64, and a tag copied along with its block is not valid there.
#[inline(always)]
fn mix(block: *mut c_void) -> u64 {
    (block as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0xa5c3_96e1_7b2d_4f08
}
