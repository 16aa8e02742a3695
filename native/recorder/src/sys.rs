//! The few C library functions and constants that the recorder calls, declared by hand.
//!
//! None of them allocates on the paths used here. The libc crate is avoided because its `std`
//! feature, switched on by any other member of the workspace, would link std into this object.

use core::ffi::{c_char, c_int, c_long, c_uint, c_void};
use core::ptr;

pub const RTLD_NEXT: *mut c_void = -1_isize as *mut c_void;
pub const RTLD_DEFAULT: *mut c_void = core::ptr::null_mut();

pub const RTLD_LAZY_NOLOAD: c_int = 1 | 4;

pub const ENOMEM: c_int = 12;
pub const EEXIST: c_int = 17;

// asm-generic/fcntl.h; none of these four differs between x86-64, arm64 and riscv64.
pub const O_RDWR: c_int = 0o2;
pub const O_CREAT: c_int = 0o100;
pub const O_EXCL: c_int = 0o200;
pub const O_CLOEXEC: c_int = 0o2_000_000;

const PROT_READ_WRITE: c_int = 1 | 2;
const MAP_SHARED: c_int = 1;
const MAP_PRIVATE: c_int = 2;
const MAP_FIXED: c_int = 0x10;
const MAP_ANONYMOUS: c_int = 0x20;
const MAP_NORESERVE: c_int = 0x4000;
const MREMAP_MAYMOVE_FIXED: c_int = 1 | 2;
const MADV_WIPEONFORK: c_int = 18;
const MADV_POPULATE_WRITE: c_int = 23;
const MAP_FAILED: *mut c_void = -1_isize as *mut c_void;

pub const RLIMIT_FSIZE: c_int = 1;
pub const CLOCK_REALTIME: c_int = 0;
pub const PTHREAD_CANCEL_DISABLE: c_int = 1;
/// Of x86-64.
pub const PAGE_SIZE: usize = 4096;

#[repr(C)]
pub struct ResourceLimit {
    pub soft: u64,
    pub hard: u64,
}

#[repr(C)]
pub struct Time {
    pub seconds: i64,
    pub nanoseconds: c_long,
}

/// What dladdr says about an address (Dl_info in dlfcn.h).
#[repr(C)]
pub struct SymbolOrigin {
    pub file: *const c_char,
    pub base: *mut c_void,
    pub name: *const c_char,
    pub address: *mut c_void,
}

pub type KeyDestructor = Option<unsafe extern "C" fn(*mut c_void)>;
pub type ForkHandler = Option<unsafe extern "C" fn()>;

#[link(name = "c")]
unsafe extern "C" {
    pub fn abort() -> !;
    pub fn dlsym(handle: *mut c_void, symbol: *const c_char) -> *mut c_void;
    pub fn dlopen(name: *const c_char, flags: c_int) -> *mut c_void;
    pub fn dladdr(address: *const c_void, origin: *mut SymbolOrigin) -> c_int;
    fn sbrk(change: isize) -> *mut c_void;
    pub fn getenv(name: *const c_char) -> *const c_char;
    pub fn getpid() -> c_int;
    pub fn readlink(path: *const c_char, target: *mut c_char, size: usize) -> isize;
    pub fn open(path: *const c_char, flags: c_int, ...) -> c_int;
    pub fn close(descriptor: c_int) -> c_int;
    pub fn unlink(path: *const c_char) -> c_int;
    pub fn ftruncate(descriptor: c_int, length: i64) -> c_int;
    fn mmap(
        address: *mut c_void,
        length: usize,
        protection: c_int,
        flags: c_int,
        descriptor: c_int,
        offset: i64,
    ) -> *mut c_void;
    fn munmap(address: *mut c_void, length: usize) -> c_int;
    fn mremap(old: *mut c_void, old_size: usize, size: usize, flags: c_int, ...) -> *mut c_void;
    fn madvise(address: *mut c_void, length: usize, advice: c_int) -> c_int;
    pub fn getrlimit(resource: c_int, limit: *mut ResourceLimit) -> c_int;
    pub fn clock_gettime(clock: c_int, time: *mut Time) -> c_int;
    pub fn pthread_setcancelstate(state: c_int, previous: *mut c_int) -> c_int;
    pub fn pthread_atfork(prepare: ForkHandler, parent: ForkHandler, child: ForkHandler) -> c_int;
    pub fn pthread_key_create(key: *mut c_uint, end: KeyDestructor) -> c_int;
    pub fn pthread_setspecific(key: c_uint, value: *const c_void) -> c_int;
    fn __errno_location() -> *mut c_int;
}

/// The calling thread's errno.
pub fn errno() -> c_int {
    // SAFETY: the address is valid for the calling thread.
    unsafe { *__errno_location() }
}

/// Where the heap that grows by brk(2) ends; what is free there may be used without a call.
pub fn heap_end() -> *mut c_void {
    // SAFETY: changes nothing.
    unsafe { sbrk(0) }
}

pub fn set_errno(value: c_int) {
    // SAFETY: as above.
    unsafe { *__errno_location() = value }
}

/// New zeroed memory of this process alone, used page by page; None if there is none. errno stays.
pub fn map_private(size: usize) -> Option<*mut c_void> {
    let kind = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    map(ptr::null_mut(), size, kind, -1).ok()
}

/// Maps a shared file; the error is an errno.
pub fn map_file(descriptor: c_int, size: usize) -> Result<*mut c_void, c_int> {
    map(ptr::null_mut(), size, MAP_SHARED, descriptor)
}

/// Makes a page zero in each child by fork; false if that cannot be had.
pub fn wipe_on_fork(page: *mut c_void) -> bool {
    let kind = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    // SAFETY: the caller's page, which is replaced by an anonymous one: only those can be wiped.
    map(page, PAGE_SIZE, kind, -1).is_ok()
        && keep_errno(|| unsafe { madvise(page, PAGE_SIZE, MADV_WIPEONFORK) } == 0)
}

/// Gets all pages of this memory, to be written; false where a write would be SIGBUS, as the disk
/// is full. errno stays.
pub fn populate<T>(memory: &[T]) -> bool {
    let start = memory.as_ptr().addr() / PAGE_SIZE * PAGE_SIZE;
    let size = memory.as_ptr().addr() + size_of_val(memory) - start;
    let place = memory.as_ptr().with_addr(start).cast_mut().cast();
    // SAFETY: changes nothing that can be seen in memory that is mapped.
    keep_errno(|| unsafe { madvise(place, size, MADV_POPULATE_WRITE) } == 0)
}

/// Moves a mapping to where another of its size lies, which it replaces at once.
pub fn replace(old: *mut c_void, new: *mut c_void, size: usize) -> bool {
    // SAFETY: both are mappings of this size, which the caller owns.
    let place = unsafe { mremap(new, size, size, MREMAP_MAYMOVE_FIXED, old) };
    place == old
}

pub fn unmap(place: *mut c_void, size: usize) {
    // SAFETY: the caller's mapping, which nobody refers to any more.
    keep_errno(|| unsafe { munmap(place, size) });
}

fn map(
    place: *mut c_void,
    size: usize,
    kind: c_int,
    descriptor: c_int,
) -> Result<*mut c_void, c_int> {
    keep_errno(|| {
        // SAFETY: a new mapping where the kernel chooses, or of a page that the caller owns.
        let found = unsafe { mmap(place, size, PROT_READ_WRITE, kind, descriptor, 0) };
        if found == MAP_FAILED {
            Err(errno())
        } else {
            Ok(found)
        }
    })
}

fn keep_errno<T>(action: impl FnOnce() -> T) -> T {
    let before = errno();
    let result = action();
    set_errno(before);
    result
}
