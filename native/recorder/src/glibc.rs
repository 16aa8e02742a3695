//! A short cut for glibc's own allocator on x86-64: usable sizes without a call.
//!
//! malloc_usable_size is a third of the recorder's cost. glibc keeps a block's size in the word
//! before it (malloc/malloc.c, "malloc_chunk details"). That is no public interface, so it is used
//! only where trial blocks show it to be so; elsewhere, and for mapped blocks, the call is made.

use core::ffi::c_void;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::real;

/// The word's low bits: flags. Bit 1 says that the block has a mapping of its own.
const FLAGS: usize = 7;
const MAPPED: usize = 2;
const WORD: usize = size_of::<usize>();

/// Set by `detect` when the layout was found to be the expected one.
static APPLIES: AtomicBool = AtomicBool::new(false);

/// Looks whether the short cut may be used. The real entry points are resolved.
pub fn detect() {
    let trials = [0, 1, 24, 25, 100, 1000, 1032, 1033, 5000, 70_000];
    let known = cfg!(target_arch = "x86_64") && real::is_glibc();
    APPLIES.store(known && trials.into_iter().all(agrees), Relaxed);
}

/// Usable bytes of a block, as malloc_usable_size(3) has them.
///
/// # Safety
/// `block` is a live block of the real allocator.
#[inline(always)]
pub unsafe fn usable_size(block: *mut c_void) -> usize {
    if APPLIES.load(Relaxed) {
        // SAFETY: the real allocator is glibc, whose blocks all have this word.
        let word = unsafe { word_before(block) };
        if word & MAPPED == 0 {
            return (word & !FLAGS) - WORD;
        }
    }
    // SAFETY: the caller vouches for the block.
    unsafe { real::malloc_usable_size(block) }
}

/// Whether the word before a new block says the same as malloc_usable_size.
fn agrees(size: usize) -> bool {
    // SAFETY: the block is allocated and freed here; glibc has a word before each block.
    unsafe {
        let block = real::malloc(size);
        if block.is_null() {
            return false;
        }
        let word = word_before(block);
        let expected = real::malloc_usable_size(block).wrapping_add(WORD);
        real::free(block);
        word & MAPPED == 0 && word & !FLAGS == expected
    }
}

/// # Safety
/// `block` is a live block of glibc's allocator.
#[inline(always)]
unsafe fn word_before(block: *mut c_void) -> usize {
    // SAFETY: the caller vouches for the block.
    unsafe { block.cast::<usize>().sub(1).read() }
}
