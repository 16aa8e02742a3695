//! The calls of ptrace(2) and wait(2) that the tracer makes, and no others.
use std::io::Error;

use libc::{c_long, c_void, pid_t};

/// All kinds of births, exec, and the last moment of a thread are reported. No PTRACE_O_EXITKILL: a
/// service outlives its tracer.
const OPTIONS: i32 = libc::PTRACE_O_TRACESYSGOOD
    | libc::PTRACE_O_TRACEFORK
    | libc::PTRACE_O_TRACEVFORK
    | libc::PTRACE_O_TRACECLONE
    | libc::PTRACE_O_TRACEEXEC
    | libc::PTRACE_O_TRACEEXIT;

/// What wait(2) said of a thread.
pub enum Event {
    /// It enters or leaves a system call.
    Call,
    /// A new child, also one of vfork: `PTRACE_EVENT_*`.
    Birth,
    Exec,
    /// Its last moment.
    Exiting,
    /// It stops together with its group, and is to stay so.
    GroupStop,
    /// It was stopped by the tracer, or has just been born.
    Attached,
    /// This signal is about to be delivered.
    Signal(i32),
    /// It is gone; the status as in wait(2).
    Gone(i32),
}

fn event_of(status: i32) -> Event {
    if libc::WIFEXITED(status) || libc::WIFSIGNALED(status) {
        return Event::Gone(status);
    }
    let signal = libc::WSTOPSIG(status);
    match status >> 16 {
        0 if signal == libc::SIGTRAP | 0x80 => Event::Call,
        0 => Event::Signal(signal),
        libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE => Event::Birth,
        libc::PTRACE_EVENT_EXEC => Event::Exec,
        libc::PTRACE_EVENT_EXIT => Event::Exiting,
        libc::PTRACE_EVENT_STOP if signal != libc::SIGTRAP => Event::GroupStop,
        _ => Event::Attached,
    }
}

/// Waits for any thread of ours; none where none is left, or a signal came.
pub fn wait() -> Result<(pid_t, Event), i32> {
    let mut status = 0;
    // SAFETY: `status` is writable.
    let pid = unsafe { libc::waitpid(-1, &mut status, libc::__WALL) };
    if pid < 0 {
        Err(Error::last_os_error().raw_os_error().unwrap_or(0))
    } else {
        Ok((pid, event_of(status)))
    }
}

/// Has the calling thread trace the process from now on, without stopping it.
pub fn seize(pid: pid_t) -> Result<(), Error> {
    // SAFETY: PTRACE_SEIZE takes numbers only.
    let done = unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, 0usize, OPTIONS as usize) };
    if done < 0 { Err(Error::last_os_error()) } else { Ok(()) }
}

/// Lets a stopped thread go on to its next call. One that was killed meanwhile is no matter.
pub fn resume_to_call(tid: pid_t, signal: i32) {
    // SAFETY: PTRACE_SYSCALL takes numbers only.
    unsafe { libc::ptrace(libc::PTRACE_SYSCALL, tid, 0usize, signal as usize) };
}

/// Leaves a thread in its group-stop, where SIGCONT finds it.
pub fn listen(tid: pid_t) {
    // SAFETY: PTRACE_LISTEN takes numbers only.
    unsafe { libc::ptrace(libc::PTRACE_LISTEN, tid, 0usize, 0usize) };
}

/// The number that goes with an event: a new thread, or who a thread was before exec.
pub fn event_message(tid: pid_t) -> pid_t {
    let mut message: libc::c_ulong = 0;
    // SAFETY: `message` is writable, and the kernel writes one word.
    unsafe { libc::ptrace(libc::PTRACE_GETEVENTMSG, tid, 0usize, &raw mut message) };
    message as pid_t
}

/// `struct ptrace_syscall_info` (ptrace(2)) as far as it is used.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct CallInfo {
    pub op: u8,
    _pad: [u8; 3],
    pub arch: u32,
    pub instruction: u64,
    pub stack: u64,
    /// At entry: the call's number. At exit: its result.
    pub first: u64,
    /// At entry only.
    pub args: [u64; 6],
}

pub const AT_ENTRY: u8 = 1; // PTRACE_SYSCALL_INFO_ENTRY
pub const AT_EXIT: u8 = 2; // PTRACE_SYSCALL_INFO_EXIT
pub const ARCH_X86_64: u32 = 0xc000_003e; // AUDIT_ARCH_X86_64, linux/audit.h
const GET_SYSCALL_INFO: u32 = 0x420e; // linux/ptrace.h, since 5.3

/// What call a stopped thread enters or leaves.
pub fn call_info(tid: pid_t) -> Option<CallInfo> {
    let mut info = CallInfo::default();
    let size = size_of::<CallInfo>();
    // SAFETY: `info` is writable for `size` bytes, all of which may have any value.
    let got = unsafe { libc::ptrace(GET_SYSCALL_INFO, tid, size, &raw mut info) };
    (got > 0).then_some(info)
}

/// Reads of another process's memory, which may be less than asked for, up to what is not mapped.
pub fn read_memory(tid: pid_t, address: u64, into: &mut [u8]) -> usize {
    let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    let remote = libc::iovec { iov_base: address as *mut c_void, iov_len: into.len() };
    // SAFETY: `local` is writable for its length; `remote` is only an address in the other process.
    let got = unsafe { libc::process_vm_readv(tid, &local, 1, &remote, 1, 0) };
    got.max(0) as usize
}

/// Writes `size` bytes at `from` into another process's memory, as far as that is mapped.
pub fn write_memory(tid: pid_t, address: u64, from: *const c_void, size: usize) {
    let local = libc::iovec { iov_base: from.cast_mut(), iov_len: size };
    let remote = libc::iovec { iov_base: address as *mut c_void, iov_len: size };
    // SAFETY: `local` is only read, by a caller who owns that many bytes; `remote` is the other's.
    unsafe { libc::process_vm_writev(tid, &local, 1, &remote, 1, 0) };
}

/// Our own copy of a descriptor of another process (pidfd_getfd(2)); the caller closes it.
pub fn copy_descriptor(pid: pid_t, descriptor: u32) -> Option<i32> {
    // SAFETY: these calls take numbers only.
    unsafe {
        let pidfd = libc::syscall(libc::SYS_pidfd_open, pid as c_long, 0 as c_long);
        if pidfd < 0 {
            return None;
        }
        let copy = libc::syscall(libc::SYS_pidfd_getfd, pidfd, descriptor as c_long, 0 as c_long);
        libc::close(pidfd as i32);
        (copy >= 0).then_some(copy as i32)
    }
}
