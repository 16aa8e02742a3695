//! The dynamic side: mimalloc, linked in. What no array serves is relayed here.
//!
//! Each call passes the gate of fork.rs, so that no fork copies this allocator in the middle of
//! something. Whose a block is, is asked before each use: mimalloc takes any address on trust.

use core::ffi::c_void;

use libmimalloc_sys as mimalloc;

use crate::fork;

unsafe extern "C" {
    // mimalloc.h, beyond what the crate declares.
    /// Whether an address lies in memory that mimalloc has.
    fn mi_is_in_heap_region(address: *const c_void) -> bool;
    /// Bytes of the block that a request gets.
    /// Bytes of a block that may be used.
    fn mi_usable_size(block: *const c_void) -> usize;
    fn mi_good_size(size: usize) -> usize;
}

pub fn allocate(size: usize) -> *mut c_void {
    let _gate = fork::enter();
    // SAFETY: takes any size.
    unsafe { mimalloc::mi_malloc(size) }
}

pub fn allocate_zeroed(size: usize) -> *mut c_void {
    let _gate = fork::enter();
    // SAFETY: takes any size.
    unsafe { mimalloc::mi_zalloc(size) }
}

/// `alignment` is a power of two.
pub fn allocate_aligned(alignment: usize, size: usize) -> *mut c_void {
    let _gate = fork::enter();
    // SAFETY: takes any size and power of two.
    unsafe { mimalloc::mi_malloc_aligned(size, alignment) }
}

pub fn owns(block: *mut c_void) -> bool {
    let _gate = fork::enter();
    // SAFETY: takes any address.
    unsafe { mi_is_in_heap_region(block) }
}

/// # Safety
/// A block of this allocator.
pub unsafe fn size_of(block: *mut c_void) -> usize {
    let _gate = fork::enter();
    // SAFETY: see above.
    unsafe { mi_usable_size(block) }
}

/// # Safety
/// A block of this allocator, which the caller gives up.
pub unsafe fn free(block: *mut c_void) {
    let _gate = fork::enter();
    // SAFETY: see above.
    unsafe { mimalloc::mi_free(block) };
}

/// # Safety
/// A block of this allocator, which the caller gives up unless the result is null.
pub unsafe fn resize(block: *mut c_void, size: usize) -> *mut c_void {
    let _gate = fork::enter();
    // SAFETY: see above.
    unsafe { mimalloc::mi_realloc(block, size) }
}

pub fn good_size(size: usize) -> usize {
    // SAFETY: takes any size.
    unsafe { mi_good_size(size) }
}
