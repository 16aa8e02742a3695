//! The entry points that replace the C library's: malloc(3), posix_memalign(3).
//!
//! Each block is made by the very function that would have been called without the recorder. What
//! asks for less than 16 bytes gets 16, so that no two blocks share a place in the ledger; sizes
//! that are given to free are therefore not passed on.

use core::ffi::{c_int, c_void};
use core::hint::black_box;
use core::ptr;

use crate::alive;
use crate::boot;
use crate::counting::{self, Origin};
use crate::layout::File;
use crate::ledger;
use crate::mode::{Mode, mode};
use crate::real;
use crate::sizes;
use crate::sys;
use crate::thread::Ready;
use crate::trace::{self, Kind};

pub type Block = *mut c_void;

/// # Safety
/// As malloc(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn malloc(size: usize) -> Block {
    // SAFETY: as malloc(3).
    let block = unsafe { real::malloc_or_find_it(room(size)) };
    if let Some(number) = sizes::find_small(size)
        && let Some(ready) = counting::begin_quickly(block, number, Origin::Fresh)
    {
        if alive::enter_quickly(ready.spare()) {
            return block;
        }
        return enter(block, ready);
    }
    begin(block, size)
}

#[inline(never)]
fn enter(block: Block, ready: Ready) -> Block {
    alive::enter(ready.number, ready.spare());
    hidden(block)
}

/// Also for all that is not as usual: failure, a block of the boot arena, a process that does not
/// count.
#[inline(never)]
fn begin(block: Block, size: usize) -> Block {
    if !block.is_null()
        && !boot::owns(block)
        && let Mode::Recording(file) = mode()
    {
        counting::begin(file, block, size, Origin::Fresh);
    }
    hidden(block)
}

/// The same block. Where the compiler knows that, it keeps the block during the call, for which the
/// quick way has to make room; else the call is the last thing that malloc does.
fn hidden(block: Block) -> Block {
    black_box(block)
}

/// In place of the real malloc as long as it is not known.
///
/// # Safety
/// As malloc(3).
pub unsafe extern "C" fn malloc_at_first(size: usize) -> Block {
    match mode() {
        // SAFETY: the real allocator is resolved in these modes.
        Mode::Recording(_) | Mode::Passing => unsafe { real::malloc(size) },
        Mode::Booting => boot::allocate(size, boot::ALIGNMENT),
    }
}

/// # Safety
/// As calloc(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn calloc(count: usize, size: usize) -> Block {
    let Some(total) = count.checked_mul(size) else {
        return out_of_memory();
    };
    // SAFETY: as in malloc; the boot arena is zeroed and never reused.
    unsafe {
        match mode() {
            Mode::Recording(file) => {
                adopt(file, real::calloc(1, room(total)), total, Origin::Zeroed)
            }
            Mode::Passing => real::calloc(count, size),
            Mode::Booting => boot::allocate(total, boot::ALIGNMENT),
        }
    }
}

/// # Safety
/// As free(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free(block: Block) {
    // SAFETY: the caller gives up a block; what is counted is one of the real allocator.
    unsafe {
        match counting::forget_quickly(block) {
            Some(ready) if alive::leave_quickly(ready.number, ready.spare()) => real::free(block),
            Some(ready) => leave(block, ready),
            None => free_slowly(block),
        }
    }
}

#[inline(never)]
unsafe fn leave(block: Block, ready: Ready) {
    alive::leave(ready.number, ready.spare());
    // SAFETY: the caller gives up a block of the real allocator.
    unsafe { real::free(block) }
}

#[cold]
#[inline(never)]
unsafe fn free_slowly(block: Block) {
    if block.is_null() || boot::owns(block) {
        return;
    }
    // SAFETY: the caller gives up a block of the real allocator.
    unsafe {
        match mode() {
            Mode::Recording(file) => {
                counting::forget(file, block);
                real::free(block);
            }
            Mode::Passing => real::free(block),
            Mode::Booting => {}
        }
    }
}

/// # Safety
/// As realloc(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn realloc(block: Block, size: usize) -> Block {
    // SAFETY: the caller vouches for the block, in whichever of the cases it is.
    unsafe {
        if block.is_null() {
            return malloc(size);
        }
        if boot::owns(block) {
            return move_from_boot(block, size);
        }
        match mode() {
            Mode::Recording(file) => resize(file, block, size),
            Mode::Passing => real::realloc(block, size),
            Mode::Booting => out_of_memory(),
        }
    }
}

/// # Safety
/// As reallocarray(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reallocarray(block: Block, count: usize, size: usize) -> Block {
    match count.checked_mul(size) {
        // SAFETY: as realloc.
        Some(total) => unsafe { realloc(block, total) },
        None => out_of_memory(),
    }
}

/// # Safety
/// As memalign(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memalign(alignment: usize, size: usize) -> Block {
    // SAFETY: as in malloc.
    unsafe {
        match mode() {
            Mode::Recording(file) => adopt(
                file,
                real::memalign(alignment, room(size)),
                size,
                Origin::Aligned(alignment),
            ),
            Mode::Passing => real::memalign(alignment, size),
            Mode::Booting => boot::allocate(size, alignment),
        }
    }
}

/// # Safety
/// As aligned_alloc(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aligned_alloc(alignment: usize, size: usize) -> Block {
    // SAFETY: as in malloc.
    unsafe {
        match mode() {
            // Some refuse a size that is no multiple of the alignment: 16 is one where 8 was.
            Mode::Recording(file) => adopt(
                file,
                real::aligned_alloc(alignment, room(size)),
                size,
                Origin::Aligned(alignment),
            ),
            Mode::Passing => real::aligned_alloc(alignment, size),
            Mode::Booting => boot::allocate(size, alignment),
        }
    }
}

/// # Safety
/// As valloc(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn valloc(size: usize) -> Block {
    // SAFETY: as in malloc.
    unsafe {
        match mode() {
            Mode::Recording(file) => adopt(
                file,
                real::valloc(size),
                size,
                Origin::Aligned(sys::PAGE_SIZE),
            ),
            Mode::Passing => real::valloc(size),
            Mode::Booting => boot::allocate(size, sys::PAGE_SIZE),
        }
    }
}

/// # Safety
/// As pvalloc(3): the service may use whole pages.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pvalloc(size: usize) -> Block {
    // SAFETY: as in malloc.
    unsafe {
        match mode() {
            Mode::Recording(file) => adopt(
                file,
                real::pvalloc(size),
                size,
                Origin::Aligned(sys::PAGE_SIZE),
            ),
            Mode::Passing => real::pvalloc(size),
            Mode::Booting => out_of_memory(),
        }
    }
}

/// # Safety
/// As posix_memalign(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_memalign(
    result: *mut Block,
    alignment: usize,
    size: usize,
) -> c_int {
    // SAFETY: the caller vouches for the result's place; it is set whenever the status is 0.
    unsafe {
        match mode() {
            Mode::Recording(file) => {
                let status = real::posix_memalign(result, alignment, room(size));
                if status == 0 {
                    adopt(file, *result, size, Origin::Aligned(alignment));
                }
                status
            }
            Mode::Passing => real::posix_memalign(result, alignment, size),
            Mode::Booting => sys::ENOMEM,
        }
    }
}

/// C23's free with the size.
///
/// # Safety
/// As free(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free_sized(block: Block, _size: usize) {
    // SAFETY: as free.
    unsafe { free(block) }
}

/// # Safety
/// As free(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free_aligned_sized(block: Block, _alignment: usize, _size: usize) {
    // SAFETY: as free.
    unsafe { free(block) }
}

/// # Safety
/// As jemalloc(3) has it; free is always allowed in its place.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sdallocx(block: Block, _size: usize, _flags: c_int) {
    // SAFETY: as free.
    unsafe { free(block) }
}

/// Counts a fresh block, or hands on the failure.
#[inline(always)]
fn adopt(file: &File, block: Block, size: usize, origin: Origin) -> Block {
    if !block.is_null() {
        counting::begin(file, block, size, origin);
    }
    block
}

/// # Safety
/// `block` is a live block of the real allocator.
unsafe fn resize(file: &File, block: Block, size: usize) -> Block {
    if trace::is_wanted() {
        trace::note(Kind::Resized, block, size);
    }
    // It leaves the ledger first, as the real allocator may give its place to another thread.
    let old = ledger::take(block);
    // Size 0 goes on unchanged: whether it frees is the real allocator's decision.
    let wanted = if size == 0 { 0 } else { room(size) };
    // SAFETY: the caller vouches for the block.
    let new = unsafe { real::realloc(block, wanted) };
    if new.is_null() && size != 0 {
        if let Some(entry) = old {
            counting::put_back(block, entry);
        }
        return new;
    }
    counting::resize(file, old, new, size);
    new
}

/// # Safety
/// `block` is a block of the boot arena.
unsafe fn move_from_boot(block: Block, size: usize) -> Block {
    // SAFETY: both blocks have at least the bytes that are copied, and are different ones.
    unsafe {
        let new = malloc(size);
        if !new.is_null() {
            let kept = boot::size_of(block).min(size);
            ptr::copy_nonoverlapping(block.cast::<u8>(), new.cast(), kept);
        }
        new
    }
}

/// What to ask the real allocator for: see above, and GRANULE_BITS in ledger.rs.
#[inline(always)]
fn room(size: usize) -> usize {
    size.max(16)
}

fn out_of_memory() -> Block {
    sys::set_errno(sys::ENOMEM);
    ptr::null_mut()
}
