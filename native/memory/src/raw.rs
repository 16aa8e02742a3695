//! System calls that are made without the C library's functions: those are wrapped here (`asked.rs`), or
//! it has none.

use core::arch::asm;
use core::ffi::{CStr, c_char, c_int};
use core::sync::atomic::AtomicU32;

use crate::sys::{self, AT_FDCWD};

const OPENAT: usize = 257;
const UNLINK: usize = 87;
const CHDIR: usize = 80;
const FCHDIR: usize = 81;
const FUTEX: usize = 202;

/// A call with four arguments; what it answers, or an errno below zero.
///
/// # Safety
/// As the call.
unsafe fn call(number: usize, first: usize, second: usize, third: usize, fourth: usize) -> isize {
    let answer;
    // SAFETY: the caller's promise; rcx and r11 are the kernel's.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => answer,
            in("rdi") first,
            in("rsi") second,
            in("rdx") third,
            in("r10") fourth,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    answer
}

/// Lets other threads go on for some time.
///
/// By futex(2), which every process with threads calls anyway: nobody wakes this one.
pub fn wait_briefly() {
    const WAIT_PRIVATE: usize = 128;
    static NEVER: AtomicU32 = AtomicU32::new(0);
    let time: [i64; 2] = [0, 50_000];
    // SAFETY: it reads the time, and the number.
    unsafe {
        call(
            FUTEX,
            NEVER.as_ptr().addr(),
            WAIT_PRIVATE,
            0,
            time.as_ptr().addr(),
        )
    };
}

fn with_errno(answer: isize) -> c_int {
    if answer < 0 {
        sys::set_errno(-answer as c_int);
        return -1;
    }
    answer as c_int
}

/// chdir(2).
///
/// # Safety
/// As chdir(2).
pub unsafe fn change_folder(path: *const c_char) -> c_int {
    // SAFETY: see above.
    with_errno(unsafe { call(CHDIR, path.addr(), 0, 0, 0) })
}

/// fchdir(2).
pub fn change_folder_to(descriptor: c_int) -> c_int {
    // SAFETY: takes a number.
    with_errno(unsafe { call(FCHDIR, descriptor as usize, 0, 0, 0) })
}

/// openat(2) by a path that is absolute, or begins at the current folder; the error is an errno.
pub fn open(path: &CStr, flags: c_int, mode: usize) -> Result<c_int, c_int> {
    let (folder, place) = (AT_FDCWD as usize, path.as_ptr().addr());
    // SAFETY: a C string; the mode is used where a file is made.
    match unsafe { call(OPENAT, folder, place, flags as usize, mode) } {
        error if error < 0 => Err(-error as c_int),
        descriptor => Ok(descriptor as c_int),
    }
}

pub fn remove(path: &CStr) {
    // SAFETY: a C string.
    unsafe { call(UNLINK, path.as_ptr().addr(), 0, 0, 0) };
}
