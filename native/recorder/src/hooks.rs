//! The entry points that replace the C library's: malloc(3), posix_memalign(3),
//! malloc_usable_size(3). C++ new and delete come here through malloc and free.
//!
//! valloc, pvalloc and aligned_alloc all use the real memalign, so that a block never comes from
//! another allocator than the one that frees it (jemalloc, for one, has no pvalloc).

use core::ffi::{c_int, c_void};
use core::ptr;

use crate::boot;
use crate::mode::{self, Mode, mode};
use crate::real;
use crate::sys;
use crate::table::Table;
use crate::tag::{self, TAIL, Tagged};

type Block = *mut c_void;

/// # Safety
/// As malloc(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn malloc(size: usize) -> Block {
    // SAFETY: the real allocator is resolved in the modes that call it; a fresh block is adopted.
    unsafe {
        match mode() {
            Mode::Recording(table) => adopt(table, real::malloc(with_tail(size)), size),
            Mode::Passing => real::malloc(size),
            Mode::Booting => boot::allocate(size, boot::ALIGNMENT),
        }
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
            Mode::Recording(table) => adopt(table, real::calloc(1, with_tail(total)), total),
            Mode::Passing => real::calloc(count, size),
            Mode::Booting => boot::allocate(total, boot::ALIGNMENT),
        }
    }
}

/// # Safety
/// As free(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free(block: Block) {
    if block.is_null() || boot::owns(block) {
        return;
    }
    // SAFETY: the caller gives up a block of the real allocator.
    unsafe {
        match mode() {
            Mode::Recording(table) => {
                forget(table, block);
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
            Mode::Recording(table) => resize(table, block, size),
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
    // SAFETY: as aligned.
    unsafe { aligned(alignment, size, size) }
}

/// # Safety
/// As aligned_alloc(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aligned_alloc(alignment: usize, size: usize) -> Block {
    // SAFETY: as aligned.
    unsafe { aligned(alignment, size, size) }
}

/// # Safety
/// As valloc(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn valloc(size: usize) -> Block {
    // SAFETY: as aligned.
    unsafe { aligned(sys::page_size(), size, size) }
}

/// # Safety
/// As pvalloc(3): the service may use whole pages.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pvalloc(size: usize) -> Block {
    let page = sys::page_size();
    match size.checked_next_multiple_of(page) {
        // SAFETY: as aligned.
        Some(pages) => unsafe { aligned(page, pages, size) },
        None => out_of_memory(),
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
            Mode::Recording(table) => {
                let status = real::posix_memalign(result, alignment, with_tail(size));
                if status == 0 {
                    adopt(table, *result, size);
                }
                status
            }
            Mode::Passing => real::posix_memalign(result, alignment, size),
            Mode::Booting => sys::ENOMEM,
        }
    }
}

/// # Safety
/// As malloc_usable_size(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn malloc_usable_size(block: Block) -> usize {
    if block.is_null() {
        return 0;
    }
    if boot::owns(block) {
        return boot::size_of(block);
    }
    // SAFETY: the caller vouches for the block.
    unsafe {
        match mode() {
            Mode::Recording(_) => real::malloc_usable_size(block) - tail_of(block),
            Mode::Passing => real::malloc_usable_size(block),
            Mode::Booting => 0,
        }
    }
}

/// C23's free with the size; jemalloc's, too, must not see a size that is 8 bytes short.
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

/// An aligned block with room for `room` bytes, counted as one of `size`.
///
/// # Safety
/// As memalign(3).
unsafe fn aligned(alignment: usize, room: usize, size: usize) -> Block {
    // SAFETY: as in malloc.
    unsafe {
        match mode() {
            Mode::Recording(table) => {
                adopt(table, real::memalign(alignment, with_tail(room)), size)
            }
            Mode::Passing => real::memalign(alignment, room),
            Mode::Booting => boot::allocate(room, alignment),
        }
    }
}

/// Tags and counts a fresh block, or hands on the failure.
///
/// # Safety
/// `block` is null or a new block of the real allocator with TAIL bytes more than asked for.
#[inline(always)]
unsafe fn adopt(table: &Table, block: Block, size: usize) -> Block {
    // SAFETY: the caller vouches for the block.
    if !block.is_null() && unsafe { tag::write(block, size) } {
        table.count_allocation(size, mode::is_alone());
    }
    block
}

/// Counts the end of a block that is about to be freed.
///
/// # Safety
/// `block` is a live block of the real allocator.
#[inline(always)]
unsafe fn forget(table: &Table, block: Block) {
    // SAFETY: the caller vouches for the block.
    match unsafe { tag::read(block) } {
        Some(tagged) => {
            tagged.clear();
            table.count_free(tagged.size, mode::is_alone());
        }
        None => table.count_untagged(),
    }
}

/// # Safety
/// `block` is a live block of the real allocator.
unsafe fn resize(table: &Table, block: Block, size: usize) -> Block {
    // SAFETY: the caller vouches for the block. Its tag is cleared first, as the real allocator may
    // give it back.
    let (old, new) = unsafe {
        let old = tag::read(block);
        if let Some(old) = &old {
            old.clear();
        }
        // Size 0 goes on unchanged: whether it frees is the real allocator's decision.
        let wanted = if size == 0 { 0 } else { with_tail(size) };
        (old, real::realloc(block, wanted))
    };
    if new.is_null() && size != 0 {
        if let Some(old) = old {
            old.restore(block);
        }
        return new;
    }
    // SAFETY: a block that came back is new, with room for the tag.
    let tagged = !new.is_null() && unsafe { tag::write(new, size) };
    count_resize(table, old, tagged.then_some(size));
    new
}

/// Counts a realloc as the end of the old block and the start of the new one.
fn count_resize(table: &Table, old: Option<Tagged>, new: Option<usize>) {
    let alone = mode::is_alone();
    match old {
        Some(old) if new == Some(old.size) => return table.count_same_size(old.size, alone),
        Some(old) => table.count_free(old.size, alone),
        None => table.count_untagged(),
    }
    if let Some(size) = new {
        table.count_allocation(size, alone);
    }
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

/// Bytes at the end of a block that the service may not use.
///
/// # Safety
/// `block` is a live block of the real allocator.
unsafe fn tail_of(block: Block) -> usize {
    // SAFETY: the caller vouches for the block.
    match unsafe { tag::read(block) } {
        Some(_) => TAIL,
        None => 0,
    }
}

/// What to ask the real allocator for; it refuses sizes near the end of the address space itself.
#[inline(always)]
fn with_tail(size: usize) -> usize {
    size.saturating_add(TAIL)
}

fn out_of_memory() -> Block {
    sys::set_errno(sys::ENOMEM);
    ptr::null_mut()
}
