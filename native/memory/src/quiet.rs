//! Answers what the dynamic allocator would ask the machine, without a system call.
//!
//! mimalloc begins with the first block that is relayed, which may be when a service has long been
//! narrowed to its row of calls. It would then open files of /proc and /sys, and name its mappings.
//! Of all that it needs only a seed of chance, and the kernel has given each process one
//! (getauxval(3), AT_RANDOM). build.rs has the linker send its calls here.

use core::ffi::{c_int, c_long, c_uint, c_ulong, c_void};

use crate::sys;

const SYS_GETRANDOM: c_long = 318;

/// mimalloc opens, reads and looks for files with it: there are none. That means a machine that
/// overcommits, as Linux does by default, with one node of memory.
///
/// # Safety
/// As getrandom(2), where it is that: the place has so many bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap_syscall(number: c_long, place: *mut u8, size: usize) -> c_long {
    if number != SYS_GETRANDOM {
        return unknown().into();
    }
    let seed = sys::random();
    for index in 0..size {
        // SAFETY: see above. A longer seed is made of this one; mimalloc hashes it (ChaCha20).
        unsafe {
            place
                .add(index)
                .write(seed[index % seed.len()] ^ (index / seed.len()) as u8)
        };
    }
    size as c_long
}

/// It would name its mappings, for whoever reads /proc/PID/maps.
#[unsafe(no_mangle)]
extern "C" fn __wrap_prctl(_: c_int, _: c_ulong, _: *const c_void, _: usize, _: usize) -> c_int {
    unknown()
}

/// How much memory there is; it is content not to know.
#[unsafe(no_mangle)]
extern "C" fn __wrap_sysinfo(_: *mut c_uint) -> c_int {
    unknown()
}

fn unknown() -> c_int {
    sys::set_errno(sys::ENOSYS);
    -1
}
