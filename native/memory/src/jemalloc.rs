//! The entry points that jemalloc has beyond the C library's (jemalloc(3)), for services linked to it.
//!
//! Arenas and thread caches that the flags name are not there; alignment and zeroing are. What asks
//! jemalloc about itself (mallctl) still comes to the library, which has no blocks then.

use core::ffi::c_int;
use core::ptr;

use crate::hooks::{self, Block};

const ZERO: c_int = 0x40;
/// The low bits are the logarithm of the alignment.
const ALIGNMENT: c_int = 0x3f;

fn alignment_of(flags: c_int) -> usize {
    1 << (flags & ALIGNMENT)
}

/// # Safety
/// As jemalloc(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallocx(size: usize, flags: c_int) -> Block {
    let block = hooks::allocate_aligned(alignment_of(flags), size);
    if !block.is_null() && flags & ZERO != 0 {
        // SAFETY: a new block of so many bytes.
        unsafe { block.cast::<u8>().write_bytes(0, size) };
    }
    block
}

/// # Safety
/// As jemalloc(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rallocx(block: Block, size: usize, flags: c_int) -> Block {
    let Some(old) = hooks::size_of(b"rallocx", block) else {
        return hooks::out_of_memory();
    };
    // SAFETY: the caller vouches for the block; a new one has at least the bytes that are written.
    unsafe {
        let moved = if alignment_of(flags) <= 16 {
            hooks::realloc(block, size.max(1))
        } else {
            move_to(mallocx(size, flags), block, old, size)
        };
        if !moved.is_null() && flags & ZERO != 0 && size > old {
            moved.cast::<u8>().add(old).write_bytes(0, size - old);
        }
        moved
    }
}

/// # Safety
/// `block` has `old` bytes, `new` is null or has `size`.
unsafe fn move_to(new: Block, block: Block, old: usize, size: usize) -> Block {
    if !new.is_null() {
        // SAFETY: see above; they are different blocks.
        unsafe {
            ptr::copy_nonoverlapping(block.cast::<u8>(), new.cast(), old.min(size));
            hooks::free(block);
        }
    }
    new
}

/// Blocks do not grow where they lie.
///
/// # Safety
/// As jemalloc(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn xallocx(block: Block, _size: usize, _extra: usize, _: c_int) -> usize {
    hooks::size_of(b"xallocx", block).unwrap_or(0)
}

/// # Safety
/// As jemalloc(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sallocx(block: Block, _flags: c_int) -> usize {
    hooks::size_of(b"sallocx", block).unwrap_or(0)
}

/// # Safety
/// As jemalloc(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dallocx(block: Block, _flags: c_int) {
    // SAFETY: as free.
    unsafe { hooks::free(block) }
}

/// # Safety
/// As jemalloc(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sdallocx(block: Block, _size: usize, _flags: c_int) {
    // SAFETY: as free.
    unsafe { hooks::free(block) }
}

/// What mallocx would really give; 0 for what nobody can.
///
/// # Safety
/// As jemalloc(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nallocx(size: usize, flags: c_int) -> usize {
    hooks::good_size(size)
        .checked_next_multiple_of(alignment_of(flags))
        .unwrap_or(0)
}
