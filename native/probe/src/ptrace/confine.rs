//! Keeps the service to the tracer's processor, because the two never work at the same time.
//!
//! Each stop hands over from one to the other. On two processors either is asleep when it is its turn, and
//! waking an idle processor takes several times what the stop itself does. The service does not see it:
//! sched_getaffinity(2) answers what it would answer without a tracer, and what a thread chooses is kept.
use std::mem::{size_of, zeroed};
use std::sync::OnceLock;

use libc::{c_void, cpu_set_t, pid_t};

use crate::ptrace::raw;

/// Where the service might run if it were not watched.
static ORIGINAL: OnceLock<cpu_set_t> = OnceLock::new();

/// Confines a process that has just been made, and the calling thread; the processor, if that was done.
pub fn confine(pid: pid_t) -> Option<i32> {
    // SAFETY: all zeroes is a valid set, the empty one.
    let (mut original, mut one): (cpu_set_t, cpu_set_t) = unsafe { (zeroed(), zeroed()) };
    // SAFETY: the sets are as large as is said, and the processor's number comes from the kernel.
    unsafe {
        let here = libc::sched_getcpu();
        if here < 0 || libc::sched_getaffinity(pid, size_of::<cpu_set_t>(), &mut original) != 0 {
            return None;
        }
        libc::CPU_SET(here as usize, &mut one);
        for thread in [0, pid] {
            if libc::sched_setaffinity(thread, size_of::<cpu_set_t>(), &one) != 0 {
                return None;
            }
        }
        ORIGINAL.get_or_init(|| original);
        Some(here)
    }
}

/// Frees threads that are confined.
pub fn release(threads: impl Iterator<Item = pid_t>) {
    let Some(original) = ORIGINAL.get() else { return };
    for thread in threads {
        // SAFETY: the set is as large as is said. A thread that is gone is no matter.
        unsafe { libc::sched_setaffinity(thread, size_of::<cpu_set_t>(), original) };
    }
}

/// Puts the original set where sched_getaffinity has just put `size` bytes of the confined one.
pub fn show_original(tid: pid_t, address: u64, size: usize) {
    if let Some(original) = ORIGINAL.get() {
        let size = size.min(size_of::<cpu_set_t>());
        raw::write_memory(tid, address, (&raw const *original).cast::<c_void>(), size);
    }
}
