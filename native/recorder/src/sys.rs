//! The few C library functions and constants that the recorder calls, declared by hand.
//!
//! None of them allocates on the paths used here. The libc crate is avoided because its `std`
//! feature, switched on by any other member of the workspace, would link std into this object.

use core::ffi::{c_char, c_int, c_long, c_ulong, c_void};

pub const RTLD_NEXT: *mut c_void = -1_isize as *mut c_void;
pub const RTLD_DEFAULT: *mut c_void = core::ptr::null_mut();

pub const ENOMEM: c_int = 12;
pub const EEXIST: c_int = 17;
pub const EOPNOTSUPP: c_int = 95;

// asm-generic/fcntl.h; none of these four differs between x86-64, arm64 and riscv64.
pub const O_RDWR: c_int = 0o2;
pub const O_CREAT: c_int = 0o100;
pub const O_EXCL: c_int = 0o200;
pub const O_CLOEXEC: c_int = 0o2_000_000;

pub const PROT_READ_WRITE: c_int = 1 | 2;
pub const MAP_SHARED: c_int = 1;
pub const MAP_FAILED: *mut c_void = -1_isize as *mut c_void;

pub const RLIMIT_FSIZE: c_int = 1;
pub const CLOCK_REALTIME: c_int = 0;
pub const PTHREAD_CANCEL_DISABLE: c_int = 1;
pub const SC_PAGESIZE: c_int = 30;

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

pub type ForkHandler = Option<unsafe extern "C" fn()>;

#[link(name = "c")]
unsafe extern "C" {
    pub fn abort() -> !;
    pub fn dlsym(handle: *mut c_void, symbol: *const c_char) -> *mut c_void;
    pub fn dladdr(address: *const c_void, origin: *mut SymbolOrigin) -> c_int;
    pub fn getenv(name: *const c_char) -> *const c_char;
    pub fn getpid() -> c_int;
    pub fn sysconf(name: c_int) -> c_long;
    pub fn readlink(path: *const c_char, target: *mut c_char, size: usize) -> isize;
    pub fn open(path: *const c_char, flags: c_int, ...) -> c_int;
    pub fn close(descriptor: c_int) -> c_int;
    pub fn unlink(path: *const c_char) -> c_int;
    pub fn fallocate(descriptor: c_int, mode: c_int, offset: i64, length: i64) -> c_int;
    pub fn ftruncate(descriptor: c_int, length: i64) -> c_int;
    pub fn mmap(
        address: *mut c_void,
        length: usize,
        protection: c_int,
        flags: c_int,
        descriptor: c_int,
        offset: i64,
    ) -> *mut c_void;
    pub fn munmap(address: *mut c_void, length: usize) -> c_int;
    pub fn getrlimit(resource: c_int, limit: *mut ResourceLimit) -> c_int;
    pub fn clock_gettime(clock: c_int, time: *mut Time) -> c_int;
    pub fn pthread_setcancelstate(state: c_int, previous: *mut c_int) -> c_int;
    pub fn pthread_atfork(prepare: ForkHandler, parent: ForkHandler, child: ForkHandler) -> c_int;
    fn __errno_location() -> *mut c_int;
}

/// The calling thread's errno.
pub fn errno() -> c_int {
    // SAFETY: the address is valid for the calling thread.
    unsafe { *__errno_location() }
}

pub fn set_errno(value: c_int) {
    // SAFETY: as above.
    unsafe { *__errno_location() = value }
}

/// Size of a page in bytes.
pub fn page_size() -> usize {
    // SAFETY: sysconf takes any name; glibc answers this one without a system call.
    let size: c_ulong = unsafe { sysconf(SC_PAGESIZE) }.unsigned_abs();
    size as usize
}
