//! The real allocator's entry points, each looked up behind this object (dlsym RTLD_NEXT).
//!
//! That may be the C library's or another one, such as jemalloc. Its calls are valid once
//! `resolve` is through (`mode.rs` sees to that).

use core::ffi::{CStr, c_char, c_int, c_void};
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use crate::hooks;
use crate::sys;

type Block = *mut c_void;

macro_rules! entry_points {
    ($($name:ident ( $($argument:ident : $kind:ty),* ) $(-> $result:ty)?;)*) => {
        /// Addresses of the real entry points; null until resolved.
        mod address {
            use super::*;
            $(#[allow(non_upper_case_globals)]
            pub static $name: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());)*
        }

        /// Looks all of them up. May allocate (dlsym does), so malloc must answer meanwhile.
        pub fn resolve() {
            $(address::$name.store(find(concat!(stringify!($name), "\0")), Relaxed);)*
        }

        $(
            /// # Safety
            /// As the C function of this name; `resolve` has run.
            #[inline(always)]
            pub unsafe fn $name($($argument: $kind),*) $(-> $result)? {
                type Function = unsafe extern "C" fn($($kind),*) $(-> $result)?;
                // SAFETY: the address is that of the C function of this name, with this signature.
                unsafe {
                    let function: Function = core::mem::transmute(address::$name.load(Relaxed));
                    function($($argument),*)
                }
            }
        )*
    };
}

entry_points! {
    malloc(size: usize) -> Block;
    calloc(count: usize, size: usize) -> Block;
    realloc(block: Block, size: usize) -> Block;
    free(block: Block);
    memalign(alignment: usize, size: usize) -> Block;
    aligned_alloc(alignment: usize, size: usize) -> Block;
    posix_memalign(result: *mut Block, alignment: usize, size: usize) -> c_int;
    valloc(size: usize) -> Block;
    pvalloc(size: usize) -> Block;
}

/// The real malloc, or before it is known ours that looks it up.
static MALLOC: AtomicPtr<c_void> = AtomicPtr::new(hooks::malloc_at_first as *mut c_void);

/// What is asked first of all.
///
/// # Safety
/// As malloc(3).
#[inline(always)]
pub unsafe fn malloc_or_find_it(size: usize) -> Block {
    type Function = unsafe extern "C" fn(usize) -> Block;
    // SAFETY: the address is that of such a function.
    unsafe {
        let function: Function = core::mem::transmute(MALLOC.load(Relaxed));
        function(size)
    }
}

/// From now on malloc is the real one; `resolve` has run.
pub fn be_quick() {
    MALLOC.store(address::malloc.load(Relaxed), Relaxed);
}

/// Whether an entry point belongs to the object that has the real malloc.
pub fn is_allocators(entry: *const c_void) -> bool {
    base_of(entry) == base_of(address::malloc.load(Relaxed))
}

/// glibc's `__libc_single_threaded` (sys/single_threaded.h), or null where there is none.
pub fn single_threaded_flag() -> *mut u8 {
    // SAFETY: the name ends with a zero byte.
    unsafe { sys::dlsym(sys::RTLD_DEFAULT, c"__libc_single_threaded".as_ptr()) }.cast()
}

/// The next definition of a symbol, whose name ends with a zero byte; null for none.
pub fn find(name: &'static str) -> *mut c_void {
    let Ok(name) = CStr::from_bytes_with_nul(name.as_bytes()) else {
        return ptr::null_mut();
    };
    // SAFETY: the name is a C string; RTLD_NEXT searches the objects loaded after this one.
    unsafe { sys::dlsym(sys::RTLD_NEXT, name.as_ptr()) }
}

/// Where the object that has this entry point is loaded; null for none.
fn base_of(entry: *const c_void) -> *mut c_void {
    let mut origin = sys::SymbolOrigin {
        file: ptr::null::<c_char>(),
        base: ptr::null_mut(),
        name: ptr::null(),
        address: ptr::null_mut(),
    };
    // SAFETY: dladdr takes any address and fills the structure in.
    let found = unsafe { sys::dladdr(entry, &mut origin) };
    if found == 0 {
        ptr::null_mut()
    } else {
        origin.base
    }
}
