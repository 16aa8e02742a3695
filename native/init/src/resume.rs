//! Stops of a tracee that it must not notice: a call that the stop has ended begins again.
//!
//! A signal that a process ignores does not wake it, unless it is traced. Most calls go on by
//! themselves then; some end with EINTR, as if a handler had run (signal(7)). They are made to end as
//! pause(2) does, which the kernel begins again unless a handler does run.

use crate::ptrace::{self, ORIGINAL_RAX, R8, R10, RAX, RDX, Registers};
use crate::settle::waits;

const EINTR: u64 = (-4_i64).cast_unsigned();
const ERESTARTNOHAND: u64 = (-514_i64).cast_unsigned(); // linux/errno.h

/// Calls that wait for data or a semaphore, and end with EINTR if their socket has a time limit:
/// read, write, sendto, recvfrom, sendmsg, recvmsg, semop, recvmmsg, sendmmsg.
const DATA: [u64; 9] = [0, 1, 44, 45, 46, 47, 65, 299, 307];

/// The stop came from `ptrace::interrupt`, once in the life of a process: also a call with a time
/// limit begins again.
pub fn after_interrupt(tid: i32) {
    begin_again(tid, |_| true);
}

/// A call with a time limit of its own would never reach it, if a signal comes often enough.
pub fn after_signal(tid: i32) {
    begin_again(tid, |registers| !has_limit(registers));
}

fn begin_again(tid: i32, may: fn(&Registers) -> bool) {
    let Ok(registers) = ptrace::registers(tid) else { return };
    let call = registers[ORIGINAL_RAX];
    let known = waits(call, &[0; 6]) || DATA.contains(&call);
    if registers[RAX] == EINTR && known && may(&registers) {
        let _ = ptrace::set_register(tid, RAX, ERESTARTNOHAND);
    }
}

fn has_limit(registers: &Registers) -> bool {
    match registers[ORIGINAL_RAX] {
        232 | 281 => registers[R10] as i32 >= 0, // epoll_wait, epoll_pwait: milliseconds
        441 => registers[R10] != 0,              // epoll_pwait2: a timespec
        128 => registers[RDX] != 0,              // rt_sigtimedwait
        208 => registers[R8] != 0,               // io_getevents
        _ => false,
    }
}
