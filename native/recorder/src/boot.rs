//! A small arena for what dlsym allocates while the real allocator is being looked up.
//!
//! Its blocks are never given back; each has its size in front.

use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::sys;

const ARENA_SIZE: usize = 64 * 1024;
const HEAD: usize = 16;
/// Alignment of every malloc block on a 64-bit machine (alignof(max_align_t)).
pub const ALIGNMENT: usize = 16;

#[repr(C, align(4096))]
struct Arena(UnsafeCell<[u8; ARENA_SIZE]>);

// SAFETY: each byte is handed out once, by the atomic NEXT; the arena itself is never read.
unsafe impl Sync for Arena {}

static ARENA: Arena = Arena(UnsafeCell::new([0; ARENA_SIZE]));
/// Offset of the first byte that is not handed out. Only `take` changes it.
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// A zeroed block of `size` bytes; null (ENOMEM) if the arena is used up.
pub fn allocate(size: usize, alignment: usize) -> *mut c_void {
    match take(size, alignment.max(ALIGNMENT)) {
        Some(offset) => block_at(offset, size),
        None => {
            sys::set_errno(sys::ENOMEM);
            ptr::null_mut()
        }
    }
}

/// Whether a pointer is a block of this arena.
#[inline(always)]
pub fn owns(block: *mut c_void) -> bool {
    (block as usize).wrapping_sub(ARENA.0.get() as usize) < ARENA_SIZE
}

/// Bytes of a block of this arena.
pub fn size_of(block: *mut c_void) -> usize {
    // SAFETY: every block of the arena has its size in front, written by block_at.
    unsafe { block.cast::<u8>().sub(HEAD).cast::<usize>().read() }
}

fn take(size: usize, alignment: usize) -> Option<usize> {
    let mut offset = 0;
    let fits = |next: usize| {
        offset = (next + HEAD).checked_next_multiple_of(alignment)?;
        offset.checked_add(size).filter(|&end| end <= ARENA_SIZE)
    };
    NEXT.fetch_update(Relaxed, Relaxed, fits).ok()?;
    Some(offset)
}

fn block_at(offset: usize, size: usize) -> *mut c_void {
    // SAFETY: take() reserved HEAD bytes before `offset` and `size` behind it for this block alone;
    // offset is a multiple of 16, so the head is aligned.
    unsafe {
        let block = ARENA.0.get().cast::<u8>().add(offset);
        block.sub(HEAD).cast::<usize>().write(size);
        block.cast()
    }
}
