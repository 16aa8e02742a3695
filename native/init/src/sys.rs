//! System calls that rustix does not offer to a program without libc; each is one kernel call.

use alloc::vec;
use alloc::vec::Vec;
use core::arch::asm;
use core::ffi::{CStr, c_char};
use core::ptr::null;

use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use rustix::io::{Errno, Result};

// Numbers from arch/x86/entry/syscalls/syscall_64.tbl.
const MMAP: usize = 9;
const RT_SIGACTION: usize = 13;
const RT_SIGPROCMASK: usize = 14;
const IOCTL: usize = 16;
const MINCORE: usize = 27;
const CLONE: usize = 56;
const EXECVE: usize = 59;
const KILL: usize = 62;
const SCHED_SETSCHEDULER: usize = 144;
const SCHED_GETSCHEDULER: usize = 145;
const CLOCK_GETTIME: usize = 228;
const EXIT_GROUP: usize = 231;
const UNSHARE: usize = 272;
const SIGNALFD4: usize = 289;
const SECCOMP: usize = 317;
const GETRANDOM: usize = 318;
const CLOSE_RANGE: usize = 436;

const CLONE_FILES: usize = 0x400;
const CLONE_NEWNS: usize = 0x2_0000;
const SIGNAL_SET_BYTES: usize = 8;

pub const SIGHUP: i32 = 1;
pub const SIGINT: i32 = 2;
pub const SIGQUIT: i32 = 3;
pub const SIGKILL: i32 = 9;
pub const SIGUSR1: i32 = 10;
pub const SIGUSR2: i32 = 12;
pub const SIGTERM: i32 = 15;
pub const SIGCHLD: i32 = 17;
pub const SIGPWR: i32 = 30;
pub const LAST_SIGNAL: i32 = 64;

/// The raw kernel call.
///
/// # Safety
/// The arguments must be what that call expects: pointers valid for as long as the kernel uses them.
pub unsafe fn call(number: usize, arguments: [usize; 5]) -> Result<usize> {
    let result: isize;
    // SAFETY: the kernel clobbers only rcx and r11 besides the result; memory is the caller's promise.
    unsafe {
        asm!("syscall", inlateout("rax") number as isize => result,
            in("rdi") arguments[0], in("rsi") arguments[1], in("rdx") arguments[2],
            in("r10") arguments[3], in("r8") arguments[4], in("r9") 0,
            lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    if (-4095..0).contains(&result) {
        return Err(Errno::from_raw_os_error(-result as i32));
    }
    Ok(result as usize)
}

fn map(length: usize, flags: usize) -> Result<usize> {
    const READ_WRITE: usize = 3;
    const NO_FILE: usize = usize::MAX;
    // SAFETY: a new anonymous mapping at a place that the kernel chooses touches nothing of ours.
    unsafe { call(MMAP, [0, length, READ_WRITE, flags, NO_FILE]) }
}

/// `length` bytes of fresh zeroed memory.
pub fn map_private(length: usize) -> Result<usize> {
    map(length, 0x22) // MAP_PRIVATE | MAP_ANONYMOUS
}

/// `length` bytes of zeroed memory that a child from `clone` goes on sharing.
pub fn map_shared(length: usize) -> Result<usize> {
    map(length, 0x21) // MAP_SHARED | MAP_ANONYMOUS
}

/// Of each of `pages` pages from `address` on, whether it is in the page cache; also where no page
/// table has it.
pub fn resident_pages(address: usize, pages: usize) -> Result<Vec<bool>> {
    const PAGE: usize = 4096;
    let mut found = vec![0_u8; pages];
    // SAFETY: the kernel writes one byte for each page, and refuses addresses that are not mapped.
    unsafe { call(MINCORE, [address, pages * PAGE, found.as_mut_ptr() as usize, 0, 0])? };
    Ok(found.into_iter().map(|byte| byte & 1 != 0).collect())
}

/// No descriptor from `first` on reaches the service.
pub fn close_on_execute_from(first: RawFd) -> Result<()> {
    const CLOSE_RANGE_CLOEXEC: usize = 4;
    // SAFETY: a flag for execve; nothing is closed here.
    unsafe { call(CLOSE_RANGE, [first as usize, u32::MAX as usize, CLOSE_RANGE_CLOEXEC, 0, 0]).map(|_| ()) }
}

/// Fork, but with one table of descriptors for both. `Ok(0)` in the child, as fork.
pub fn clone_sharing_descriptors() -> Result<i32> {
    // SAFETY: without a new stack and without CLONE_VM this is fork: the child has its own memory.
    unsafe { call(CLONE, [CLONE_FILES | SIGCHLD as usize, 0, 0, 0, 0]).map(|pid| pid as i32) }
}

/// `Ok(0)` in the child.
pub fn fork() -> Result<i32> {
    // SAFETY: without a new stack and without CLONE_VM this is fork: the child has its own memory.
    unsafe { call(CLONE, [SIGCHLD as usize, 0, 0, 0, 0]).map(|pid| pid as i32) }
}

/// Take an own copy of a descriptor table that was shared with a child.
pub fn unshare_descriptors() -> Result<()> {
    // SAFETY: the descriptors of this process stay what they are.
    unsafe { call(UNSHARE, [CLONE_FILES, 0, 0, 0, 0]).map(|_| ()) }
}

/// From here on, what is mounted and unmounted concerns this process and its children alone.
pub fn unshare_mounts() -> Result<()> {
    // SAFETY: no memory is involved.
    unsafe { call(UNSHARE, [CLONE_NEWNS, 0, 0, 0, 0]).map(|_| ()) }
}

/// Replace this process by `program`; returns only when that failed.
pub fn execute(program: &CStr, arguments: &[*const c_char], environment: &[*const c_char]) -> Errno {
    debug_assert!(arguments.last() == Some(&null()) && environment.last() == Some(&null()));
    let words = [program.as_ptr() as usize, arguments.as_ptr() as usize, environment.as_ptr() as usize, 0, 0];
    // SAFETY: both lists end with a null pointer (their only makers are in service.rs).
    unsafe { call(EXECVE, words) }.err().unwrap_or(Errno::NOSYS)
}

/// End this process. A policy may refuse even exit_group: then an illegal instruction ends it.
pub fn exit(status: i32) -> ! {
    // SAFETY: these end the process.
    unsafe {
        let _ = call(EXIT_GROUP, [status as usize, 0, 0, 0, 0]);
        asm!("ud2", options(noreturn));
    }
}

/// Send `signal` to `pid`, or to every other process that is left when `pid` is -1.
pub fn kill(pid: i32, signal: i32) -> Result<()> {
    // SAFETY: no memory is involved.
    unsafe { call(KILL, [pid as usize, signal as usize, 0, 0, 0]).map(|_| ()) }
}

/// Block exactly the signals in `mask` (bit n - 1 is signal n).
pub fn block_signals(mask: u64) {
    const SIG_SETMASK: usize = 2;
    // SAFETY: the kernel reads eight bytes of `mask`, which outlives the call.
    let _ = unsafe { call(RT_SIGPROCMASK, [SIG_SETMASK, &raw const mask as usize, 0, SIGNAL_SET_BYTES, 0]) };
}

/// Give every signal its default disposition, also those that were ignored by whoever started us.
pub fn default_signal_dispositions() {
    let default = [0_u64; 4]; // struct kernel_sigaction: SIG_DFL, no flags, no restorer, empty mask
    for signal in 1..=LAST_SIGNAL as usize {
        // SAFETY: the kernel reads 32 bytes; SIGKILL and SIGSTOP are refused, which is fine.
        let _ = unsafe { call(RT_SIGACTION, [signal, &raw const default as usize, 0, SIGNAL_SET_BYTES, 0]) };
    }
}

/// A descriptor from which the (blocked) signals in `mask` can be read.
pub fn signal_descriptor(mask: u64) -> Result<OwnedFd> {
    const NONBLOCK_CLOEXEC: usize = 0o2_004_000;
    // SAFETY: the kernel reads eight bytes; the new descriptor belongs to nobody else.
    unsafe {
        let descriptor =
            call(SIGNALFD4, [usize::MAX, &raw const mask as usize, SIGNAL_SET_BYTES, NONBLOCK_CLOEXEC, 0])?;
        Ok(OwnedFd::from_raw_fd(descriptor as RawFd))
    }
}

/// Give this process a scheduling policy and static priority (sched_setscheduler(2)).
pub fn set_policy(policy: u32, priority: u32) -> Result<()> {
    // SAFETY: struct sched_param is one int, which outlives the call.
    unsafe { call(SCHED_SETSCHEDULER, [0, policy as usize, &raw const priority as usize, 0, 0]).map(|_| ()) }
}

/// The scheduling policy of this process.
pub fn policy() -> Result<u32> {
    // SAFETY: no memory is involved.
    unsafe { call(SCHED_GETSCHEDULER, [0; 5]).map(|policy| policy as u32) }
}

/// Milliseconds of the monotonic clock.
pub fn now_ms() -> u64 {
    const MONOTONIC: usize = 1;
    let [seconds, nanoseconds] = clock(MONOTONIC);
    seconds * 1000 + nanoseconds / 1_000_000
}

/// Seconds since 1970 by the clock of the machine, which may be wrong.
pub fn unix_time() -> u64 {
    const REALTIME: usize = 0;
    clock(REALTIME)[0]
}

/// 16 bytes that nobody can guess; an error as long as the kernel has not gathered enough.
pub fn random() -> Result<[u8; 16]> {
    const NONBLOCK: usize = 1;
    let mut bytes = [0; 16];
    // SAFETY: the kernel writes at most so many bytes.
    let count = unsafe { call(GETRANDOM, [bytes.as_mut_ptr() as usize, bytes.len(), NONBLOCK, 0, 0])? };
    if count == bytes.len() { Ok(bytes) } else { Err(Errno::AGAIN) }
}

fn clock(which: usize) -> [u64; 2] {
    let mut time = [0_u64; 2];
    // SAFETY: struct timespec is two 64-bit words on x86-64.
    let _ = unsafe { call(CLOCK_GETTIME, [which, &raw mut time as usize, 0, 0, 0]) };
    time
}

/// Put a seccomp filter on this process; the descriptor of its listener (close-on-exec).
pub fn install_filter(instructions: &[u64]) -> Result<RawFd> {
    const SET_MODE_FILTER: usize = 1;
    const NEW_LISTENER: usize = 8;
    // struct sock_fprog: a 16-bit length, padding, a pointer.
    let program = [instructions.len() as u64, instructions.as_ptr() as u64];
    // SAFETY: the program and its instructions outlive the call; the kernel checks the instructions.
    unsafe {
        call(SECCOMP, [SET_MODE_FILTER, NEW_LISTENER, &raw const program as usize, 0, 0])
            .map(|fd| fd as RawFd)
    }
}

/// An ioctl with a structure of 64-bit words as its argument.
///
/// # Safety
/// `request` must read and write no more than `N` words, and must not keep their address.
pub unsafe fn control_device<const N: usize>(
    descriptor: BorrowedFd<'_>,
    request: usize,
    words: &mut [u64; N],
) -> Result<()> {
    // SAFETY: the caller's promise.
    unsafe {
        call(IOCTL, [descriptor.as_raw_fd() as usize, request, words.as_mut_ptr() as usize, 0, 0]).map(|_| ())
    }
}
