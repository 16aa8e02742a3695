//! When a process is ready: the one definition of "settled", which the profiler's probe shares.
//!
//! A process *listens* once a listen(2) of one of its threads has succeeded; fork and execve pass
//! that on. A process that listens *settles* when one of its threads enters a waiting call, whatever
//! it waits for. A forked process begins unsettled, and executing a program unsettles. Where the plan
//! names calls, the first of these settles a process instead, whether it listens or not.

const WNOHANG: u64 = 1;

/// Calls that wait. Of two of them only without WNOHANG in their options.
const WAITING: [u64; 14] = [
    7,   // poll
    23,  // select
    34,  // pause
    43,  // accept
    128, // rt_sigtimedwait
    130, // rt_sigsuspend
    208, // io_getevents
    232, // epoll_wait
    270, // pselect6
    271, // ppoll
    281, // epoll_pwait
    288, // accept4
    426, // io_uring_enter
    441, // epoll_pwait2
];
const WAIT4: u64 = 61;
const WAITID: u64 = 247;

/// Whether a call settles its process, which `listens` or not; `named` are the plan's calls.
pub fn settles(named: &[u64], listens: bool, call: u64, arguments: &[u64]) -> bool {
    if named.is_empty() { listens && waits(call, arguments) } else { named.contains(&call) }
}

/// Whether a call is a waiting one (arch/x86/entry/syscalls/syscall_64.tbl).
pub fn waits(call: u64, arguments: &[u64]) -> bool {
    match call {
        WAIT4 => arguments[2] & WNOHANG == 0,
        WAITID => arguments[3] & WNOHANG == 0,
        _ => WAITING.contains(&call),
    }
}
