//! ptrace(2), as far as process 1 uses it. ESRCH is normal everywhere: a tracee can be killed at any moment.

use alloc::format;
use alloc::vec::Vec;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, Result, pwrite};

use crate::sys::call;

const PTRACE: usize = 101;

// linux/ptrace.h
const POKE_USER: usize = 6;
const CONTINUE: usize = 7;
const GET_REGISTERS: usize = 12;
const SET_REGISTERS: usize = 13;
const GET_FLOATING: usize = 14; // PTRACE_GETFPREGS
const CONTINUE_TO_CALL: usize = 24; // PTRACE_SYSCALL
const GET_EVENT_MESSAGE: usize = 0x4201;
const GET_SIGNAL_INFORMATION: usize = 0x4202;
const SEIZE: usize = 0x4206;
const INTERRUPT: usize = 0x4207;
const LISTEN: usize = 0x4208;
const GET_SIGNAL_MASK: usize = 0x420a;
const SET_SIGNAL_MASK: usize = 0x420b;
const GET_CALL_INFORMATION: usize = 0x420e;

/// SYSGOOD, FORK, VFORK, CLONE, EXEC, SECCOMP, EXITKILL.
const OPTIONS: usize = 0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x80 | 0x10_0000;

pub const EVENT_FORK: i32 = 1;
pub const EVENT_VFORK: i32 = 2;
pub const EVENT_CLONE: i32 = 3;
pub const EVENT_EXEC: i32 = 4;
pub const EVENT_SECCOMP: i32 = 7;
pub const EVENT_STOP: i32 = 128;

pub const SIGTRAP: i32 = 5;
/// The stop signal of a call's entry and exit, thanks to SYSGOOD.
pub const CALL_STOP: i32 = SIGTRAP | 0x80;

/// struct user_regs_struct (asm/user_64.h) and the places in it.
pub type Registers = [u64; 27];
pub const R10: usize = 7;
pub const R9: usize = 8;
pub const R8: usize = 9;
pub const RAX: usize = 10;
pub const RDX: usize = 12;
pub const RSI: usize = 13;
pub const RDI: usize = 14;
pub const ORIGINAL_RAX: usize = 15;
pub const RIP: usize = 16;

/// Where in a call a thread has stopped.
pub enum At {
    Entry { call: u64, arguments: [u64; 6], architecture: u32 },
    Exit { result: i64 },
    Seccomp { call: u64, arguments: [u64; 6], data: u32 },
    Elsewhere,
}

/// # Safety
/// `address` and `data` must be what the request expects, valid as long as the kernel uses them.
unsafe fn request(number: usize, tid: i32, address: usize, data: usize) -> Result<usize> {
    // SAFETY: the caller's promise.
    unsafe { call(PTRACE, [number, tid as usize, address, data, 0]) }
}

/// Become the tracer of a process, and of all that it ever starts.
pub fn seize(pid: i32) -> Result<()> {
    // SAFETY: no memory of ours is involved.
    unsafe { request(SEIZE, pid, 0, OPTIONS).map(|_| ()) }
}

/// Let a stopped thread go on, to the next entry or exit of a call when `to_call`.
pub fn go_on(tid: i32, to_call: bool, signal: i32) {
    let number = if to_call { CONTINUE_TO_CALL } else { CONTINUE };
    // SAFETY: no memory of ours is involved.
    let _ = unsafe { request(number, tid, 0, signal as usize) };
}

/// Leave a thread in its group stop (SIGSTOP and the like), but hear of its end.
pub fn stay_stopped(tid: i32) {
    // SAFETY: no memory of ours is involved.
    let _ = unsafe { request(LISTEN, tid, 0, 0) };
}

/// Have a running thread stop with EVENT_STOP.
pub fn interrupt(tid: i32) {
    // SAFETY: no memory of ours is involved.
    let _ = unsafe { request(INTERRUPT, tid, 0, 0) };
}

/// The number that comes with an event: a new thread's, for instance.
pub fn event_message(tid: i32) -> Result<u64> {
    let mut message = 0_u64;
    // SAFETY: the kernel writes one unsigned long.
    unsafe { request(GET_EVENT_MESSAGE, tid, 0, &raw mut message as usize)? };
    Ok(message)
}

pub fn registers(tid: i32) -> Result<Registers> {
    let mut registers = [0; 27];
    // SAFETY: the kernel writes a struct user_regs_struct, 27 words.
    unsafe { request(GET_REGISTERS, tid, 0, registers.as_mut_ptr() as usize)? };
    Ok(registers)
}

/// struct user_i387_struct, 512 bytes.
pub fn floating_registers(tid: i32) -> Result<[u64; 64]> {
    let mut registers = [0; 64];
    // SAFETY: the kernel writes 512 bytes.
    unsafe { request(GET_FLOATING, tid, 0, registers.as_mut_ptr() as usize)? };
    Ok(registers)
}

/// What came with the signal that stopped a thread (siginfo_t, 128 bytes).
pub fn signal_information(tid: i32) -> Result<[u64; 16]> {
    let mut information = [0; 16];
    // SAFETY: the kernel writes 128 bytes.
    unsafe { request(GET_SIGNAL_INFORMATION, tid, 0, information.as_mut_ptr() as usize)? };
    Ok(information)
}

pub fn set_registers(tid: i32, registers: &Registers) -> Result<()> {
    // SAFETY: the kernel reads 27 words and checks what may be set.
    unsafe { request(SET_REGISTERS, tid, 0, registers.as_ptr() as usize).map(|_| ()) }
}

pub fn set_register(tid: i32, place: usize, value: u64) -> Result<()> {
    // SAFETY: no memory of ours is involved; the place is an offset in struct user, registers first.
    unsafe { request(POKE_USER, tid, place * 8, value as usize).map(|_| ()) }
}

pub fn signal_mask(tid: i32) -> Result<u64> {
    let mut mask = 0_u64;
    // SAFETY: the kernel writes as many bytes as it is told, eight.
    unsafe { request(GET_SIGNAL_MASK, tid, 8, &raw mut mask as usize)? };
    Ok(mask)
}

pub fn set_signal_mask(tid: i32, mask: u64) -> Result<()> {
    // SAFETY: the kernel reads eight bytes.
    unsafe { request(SET_SIGNAL_MASK, tid, 8, &raw const mask as usize).map(|_| ()) }
}

/// What the call stop of a thread is about (struct ptrace_syscall_info).
pub fn call_information(tid: i32) -> Result<At> {
    let mut words = [0_u64; 11];
    // SAFETY: the kernel writes at most the 88 bytes that it is told.
    unsafe { request(GET_CALL_INFORMATION, tid, size_of_val(&words), words.as_mut_ptr() as usize)? };
    let [first, _, _, call, arguments @ .., data] = words;
    Ok(match first as u8 {
        1 => At::Entry { call, arguments, architecture: (first >> 32) as u32 },
        2 => At::Exit { result: call.cast_signed() },
        3 => At::Seccomp { call, arguments, data: data as u32 },
        _ => At::Elsewhere,
    })
}

/// Write into the memory of a stopped tracee: all of it, or an error.
/// Not by process_vm_writev(2), which is a kernel option.
pub fn write_memory(tid: i32, address: u64, words: &[u64]) -> Result<()> {
    let memory =
        openat(CWD, format!("/proc/{tid}/mem").as_str(), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    if pwrite(memory, &bytes, address)? == bytes.len() { Ok(()) } else { Err(Errno::FAULT) }
}
