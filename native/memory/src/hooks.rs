//! The entry points that replace the C library's: malloc(3), posix_memalign(3).

use core::ffi::{c_int, c_void};
use core::ptr::{self, NonNull};
use core::sync::atomic::Ordering::Relaxed;

use crate::arrays;
use crate::cache;
use crate::counts;
use crate::dynamic;
use crate::fault;
use crate::large;
use crate::plan::{GRANULE, LARGEST};
use crate::start;
use crate::sys::{self, PAGE_SIZE};

pub type Block = *mut c_void;

/// # Safety
/// As malloc(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn malloc(size: usize) -> Block {
    if size > LARGEST {
        return allocate_slowly(size);
    }
    match cache::take(arrays::number_within(size)) {
        Some(block) => block.as_ptr(),
        None => allocate_slowly(size),
    }
}

#[cold]
#[inline(never)]
fn allocate_slowly(size: usize) -> Block {
    match from_array(size) {
        Some(block) => block.as_ptr(),
        None => relay(size, || dynamic::allocate(size)),
    }
}

/// A block of the array for this size, if there is one.
fn from_array(size: usize) -> Option<NonNull<c_void>> {
    start::begin();
    let number = arrays::number_for(size);
    if number == 0 {
        return None;
    }
    let block = cache::take(number).or_else(|| cache::take_slowly(number));
    if block.is_none() {
        counts::file().count_exhausted(number);
    }
    block
}

/// What the arrays do not serve: by the kernel, or as `dynamically`.
fn relay(size: usize, dynamically: impl FnOnce() -> Block) -> Block {
    if size > isize::MAX as usize {
        return out_of_memory();
    }
    if size >= start::kernel_from() {
        let block = large::allocate(size);
        if !block.is_null() {
            counts::file().count_large();
            return block;
        }
    }
    relay_to(size, dynamically)
}

fn relay_to(size: usize, dynamically: impl FnOnce() -> Block) -> Block {
    let block = dynamically();
    if block.is_null() {
        return out_of_memory();
    }
    if arrays::number_for(size) == 0 {
        counts::file().count_unexpected(size);
    }
    block
}

/// # Safety
/// As calloc(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn calloc(count: usize, size: usize) -> Block {
    let Some(total) = count.checked_mul(size) else {
        return out_of_memory();
    };
    let quick = cache::take(arrays::number_for(total));
    let Some(block) = quick.or_else(|| from_array(total)) else {
        // What the kernel gives is zero.
        return relay(total, || dynamic::allocate_zeroed(total));
    };
    // SAFETY: a new block of at least so many bytes.
    unsafe { block.cast::<u8>().write_bytes(0, total) };
    block.as_ptr()
}

/// # Safety
/// As free(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free(block: Block) {
    if !cache::give(block.addr()) {
        free_slowly(b"free", block);
    }
}

/// A block that does not go into the thread's cache at once, or is none.
#[cold]
#[inline(never)]
fn free_slowly(call: &[u8], block: Block) {
    if block.is_null() {
        return;
    }
    match owner(block) {
        Owner::Array(granule) => cache::give_slowly(granule),
        // Where it is gone, another thread has freed it at the same time.
        Owner::Kernel(_) => {
            if !large::free(block) {
                fault::wrong_block(call, block);
            }
        }
        // SAFETY: the caller gives up a block of the dynamic allocator.
        Owner::Dynamic => sys::keep_errno(|| unsafe { dynamic::free(block) }),
        Owner::Nobody => fault::wrong_block(call, block),
    }
}

/// Whose a block is, and what is known of it.
enum Owner {
    /// Its granule.
    Array(u32),
    /// Its bytes.
    Kernel(usize),
    Dynamic,
    Nobody,
}

fn owner(block: Block) -> Owner {
    if let Some(granule) = arrays::granule_of(block.addr()) {
        let is_block = block.addr().is_multiple_of(GRANULE)
            && arrays::state(granule as usize).load(Relaxed) >= arrays::LIVE;
        return if is_block {
            Owner::Array(granule)
        } else {
            Owner::Nobody
        };
    }
    match large::size_of(block) {
        Some(size) => Owner::Kernel(size),
        None if dynamic::owns(block) => Owner::Dynamic,
        None => Owner::Nobody,
    }
}

/// Bytes of a block that may be used; None after a fault that is let pass.
pub fn size_of(call: &[u8], block: Block) -> Option<usize> {
    match owner(block) {
        Owner::Array(granule) => {
            let state = arrays::state(granule as usize).load(Relaxed);
            Some(arrays::array((state & !arrays::LIVE).into()).block_size())
        }
        Owner::Kernel(size) => Some(size),
        // SAFETY: a block of this allocator.
        Owner::Dynamic => Some(unsafe { dynamic::size_of(block) }),
        Owner::Nobody => {
            fault::wrong_block(call, block);
            None
        }
    }
}

/// # Safety
/// As realloc(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn realloc(block: Block, size: usize) -> Block {
    if block.is_null() {
        // SAFETY: as malloc.
        return unsafe { malloc(size) };
    }
    if size == 0 {
        free_slowly(b"realloc", block);
        return ptr::null_mut();
    }
    if cache::fits(block.addr(), size) {
        return block;
    }
    let Some(old) = size_of(b"realloc", block) else {
        return out_of_memory();
    };
    // SAFETY: the caller vouches for the block, which has so many bytes.
    unsafe { resize(block, old, size) }
}

/// # Safety
/// A block of so many bytes.
unsafe fn resize(block: Block, old: usize, size: usize) -> Block {
    let is_expected = arrays::number_for(size) != 0;
    match owner(block) {
        Owner::Array(_) => {
            let number = arrays::number_for(size);
            let is_its_own = number != 0 && arrays::array(number).block_size() == old;
            if is_its_own || !is_expected && size <= old {
                return block;
            }
        }
        Owner::Kernel(_) if size >= start::kernel_from() => {
            let moved = large::resize(block, size);
            if !moved.is_null() {
                return moved;
            }
        }
        Owner::Dynamic if !is_expected && size < start::kernel_from() => {
            // SAFETY: a block of this allocator.
            let moved = unsafe { dynamic::resize(block, size) };
            if moved.is_null() {
                return out_of_memory();
            }
            counts::file().count_unexpected(size);
            return moved;
        }
        _ => {}
    }
    // SAFETY: the blocks have at least the bytes that are copied, and are different ones.
    unsafe {
        let moved = malloc(size);
        if !moved.is_null() {
            ptr::copy_nonoverlapping(block.cast::<u8>(), moved.cast(), old.min(size));
            free(block);
        }
        moved
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

/// `alignment` is a power of two.
#[inline(always)]
pub fn allocate_aligned(alignment: usize, size: usize) -> Block {
    match alignment {
        // SAFETY: as malloc.
        0..=GRANULE => unsafe { malloc(size) },
        _ => align(alignment, size),
    }
}

/// As `allocate_aligned`, to more than all blocks are.
#[inline(never)]
fn align(alignment: usize, size: usize) -> Block {
    start::begin();
    let number = arrays::number_for(size);
    let is_aligned = alignment <= PAGE_SIZE
        && number != 0
        && arrays::array(number).block_size().is_multiple_of(alignment);
    if is_aligned && let Some(block) = from_array(size) {
        return block.as_ptr();
    }
    // Mappings of their own begin at a page and no more.
    let by_kernel = alignment <= PAGE_SIZE || size < start::kernel_from();
    let block = if by_kernel {
        relay(size, || dynamic::allocate_aligned(alignment, size))
    } else {
        relay_to(size, || dynamic::allocate_aligned(alignment, size))
    };
    if number != 0 && !is_aligned && !block.is_null() {
        counts::file().count_unexpected(size);
    }
    block
}

/// # Safety
/// As memalign(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memalign(alignment: usize, size: usize) -> Block {
    if alignment <= GRANULE {
        // SAFETY: as malloc.
        return unsafe { malloc(size) };
    }
    // As glibc does: the next power of two.
    match alignment.checked_next_power_of_two() {
        Some(alignment) => allocate_aligned(alignment, size),
        None => {
            sys::set_errno(sys::EINVAL);
            ptr::null_mut()
        }
    }
}

/// # Safety
/// As aligned_alloc(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aligned_alloc(alignment: usize, size: usize) -> Block {
    // SAFETY: as memalign.
    unsafe { memalign(alignment, size) }
}

/// # Safety
/// As posix_memalign(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_memalign(
    result: *mut Block,
    alignment: usize,
    size: usize,
) -> c_int {
    if !alignment.is_power_of_two() || alignment < core::mem::size_of::<Block>() {
        return sys::EINVAL;
    }
    let quick = (alignment <= GRANULE).then(|| cache::take(arrays::number_for(size)));
    let block = match quick.flatten() {
        Some(block) => block.as_ptr(),
        None => sys::keep_errno(|| allocate_aligned(alignment, size)),
    };
    if block.is_null() {
        return sys::ENOMEM;
    }
    // SAFETY: the caller vouches for the place.
    unsafe { result.write(block) };
    0
}

/// # Safety
/// As valloc(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn valloc(size: usize) -> Block {
    allocate_aligned(PAGE_SIZE, size)
}

/// # Safety
/// As pvalloc(3): the service may use whole pages.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pvalloc(size: usize) -> Block {
    match size.max(1).checked_next_multiple_of(PAGE_SIZE) {
        Some(whole) => allocate_aligned(PAGE_SIZE, whole),
        None => out_of_memory(),
    }
}

/// # Safety
/// As malloc_usable_size(3).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn malloc_usable_size(block: Block) -> usize {
    if block.is_null() {
        return 0;
    }
    size_of(b"malloc_usable_size", block).unwrap_or(0)
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

/// Bytes of the block that a request would get.
pub fn good_size(size: usize) -> usize {
    start::begin();
    match arrays::number_for(size) {
        0 => dynamic::good_size(size),
        number => arrays::array(number).block_size(),
    }
}

pub fn out_of_memory() -> Block {
    sys::set_errno(sys::ENOMEM);
    ptr::null_mut()
}
