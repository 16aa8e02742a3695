//! A service that limits its own system calls (seccomp(2)) must not be killed for the recorder's.
//!
//! So before such a filter is there, everything is fetched that could be needed later. From then on
//! the recorder makes no call but mmap, which malloc itself makes: threads that begin are counted
//! in the common table, and children by fork are counted as unrecorded. Who does not ask the C
//! library for the filter is not noticed.

use core::arch::asm;
use core::ffi::{c_int, c_long, c_ulong};
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::mode;
use crate::recording;
use crate::sys;

const SYS_PRCTL: c_long = 157;
const SYS_SECCOMP: c_long = 317;
const PR_SET_SECCOMP: c_int = 22;
const SECCOMP_MODE_STRICT: c_ulong = 1;
const SECCOMP_SET_MODE_STRICT: c_long = 0;
const SECCOMP_SET_MODE_FILTER: c_long = 1;
/// The kernel returns -errno, of which this is the largest.
const MOST_ERRNO: c_long = 4095;

/// Filters that are there, or are about to be.
static FILTERS: AtomicU32 = AtomicU32::new(0);

/// Whether system calls may be deadly.
pub fn are_there() -> bool {
    FILTERS.load(Relaxed) != 0
}

/// # Safety
/// As prctl(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prctl(
    option: c_int,
    a: c_ulong,
    b: c_ulong,
    c: c_ulong,
    d: c_ulong,
) -> c_int {
    let filters = option == PR_SET_SECCOMP && (a == SECCOMP_MODE_STRICT || b != 0);
    let [a, b, c, d] = [a, b, c, d].map(|argument| argument as c_long);
    // SAFETY: the caller vouches for the arguments.
    unsafe { call(SYS_PRCTL, [option.into(), a, b, c, d, 0], filters) as c_int }
}

/// # Safety
/// As syscall(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syscall(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    let filters = number == SYS_SECCOMP
        && (a == SECCOMP_SET_MODE_STRICT || (a == SECCOMP_SET_MODE_FILTER && c != 0));
    // SAFETY: the caller vouches for the arguments; those that it did not give are not read.
    unsafe { call(number, [a, b, c, d, e, f], filters) }
}

/// One that asks without a filter only wants to know what the kernel can do.
unsafe fn call(number: c_long, arguments: [c_long; 6], filters: bool) -> c_long {
    if filters {
        if let Some(file) = mode::recording() {
            recording::fetch_all(file);
        }
        FILTERS.fetch_add(1, Relaxed);
    }
    // SAFETY: the caller vouches for the arguments.
    let result = unsafe { enter_kernel(number, arguments) };
    if !(-MOST_ERRNO..0).contains(&result) {
        return result;
    }
    if filters {
        FILTERS.fetch_sub(1, Relaxed);
    }
    sys::set_errno(-result as c_int);
    -1
}

/// Not by the C library's functions: an allocator may come here before they can be looked up.
unsafe fn enter_kernel(number: c_long, [a, b, c, d, e, f]: [c_long; 6]) -> c_long {
    let result;
    // SAFETY: the caller vouches for the arguments; the kernel changes no other registers.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") a,
            in("rsi") b,
            in("rdx") c,
            in("r10") d,
            in("r8") e,
            in("r9") f,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}
