//! What keeps a child by fork consistent, also in the middle of another thread's malloc.
//!
//! The arrays need nothing: each of their steps is one atomic operation. The dynamic allocator does:
//! a fork waits until no other thread is inside it, and those that come meanwhile wait at the gate.

use core::ptr;
use core::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU32, AtomicUsize,
    Ordering::{Relaxed, Release, SeqCst},
};

use crate::raw;
use crate::sys;
use crate::threads::{self, SHARDS};

/// How often a fork looks again before it goes on all the same: a thread may be stopped inside.
const MOST_LOOKS: u32 = 100_000;

/// How deep the thread with this number is inside. In lines of their own: each thread writes its.
#[repr(align(64))]
struct Inside(AtomicU32);

static INSIDE: [Inside; SHARDS] = [const { Inside(AtomicU32::new(0)) }; SHARDS];
/// The number of the thread that forks, plus 1; 0 while none does.
static FORKING: AtomicUsize = AtomicUsize::new(0);
/// glibc's `__libc_single_threaded`, or null where there is none.
static ALONE: AtomicPtr<AtomicBool> = AtomicPtr::new(ptr::null_mut());

/// As long as it is kept, no other thread forks.
pub struct Gate(&'static AtomicU32);

impl Drop for Gate {
    fn drop(&mut self) {
        // The number 0 is that of all threads that have no other, so this has to be atomic.
        self.0.fetch_sub(1, Release);
    }
}

pub fn enter() -> Gate {
    let number = threads::index();
    let inside = &INSIDE[number].0;
    loop {
        // Either this thread sees the fork, or the fork sees this thread.
        inside.fetch_add(1, SeqCst);
        let forking = FORKING.load(SeqCst);
        if forking == 0 || forking == number + 1 {
            return Gate(inside);
        }
        inside.fetch_sub(1, Release);
        raw::wait_briefly();
    }
}

/// Registers what a fork has to do.
pub fn watch() {
    let flag = sys::single_threaded_flag();
    ALONE.store(flag.cast(), Relaxed);
    // SAFETY: the handlers live as long as the process: a preloaded object is never unloaded.
    unsafe { sys::pthread_atfork(Some(before), Some(after_in_parent), Some(after_in_child)) };
}

unsafe extern "C" fn before() {
    let number = threads::index();
    if is_alone() {
        return;
    }
    while FORKING
        .compare_exchange(0, number + 1, SeqCst, Relaxed)
        .is_err()
    {
        raw::wait_briefly();
    }
    let is_busy = || {
        let mut others = INSIDE.iter().take(threads::used()).enumerate();
        others.any(|(other, inside)| other != number && inside.0.load(SeqCst) > 0)
    };
    for _ in 0..MOST_LOOKS {
        if !is_busy() {
            return;
        }
        raw::wait_briefly();
    }
}

unsafe extern "C" fn after_in_parent() {
    open_gate();
}

/// What is open already is not written: that would copy a page of a child, or of its parent.
fn open_gate() {
    if FORKING.load(Relaxed) != 0 {
        FORKING.store(0, Release);
    }
}

/// Whether the process has no other thread, as far as the C library knows.
fn is_alone() -> bool {
    // SAFETY: null or the C library's flag, which only a thread that is alone changes.
    unsafe { ALONE.load(Relaxed).as_ref() }.is_some_and(|flag| flag.load(Relaxed))
}

unsafe extern "C" fn after_in_child() {
    let number = threads::index();
    for (other, inside) in INSIDE.iter().take(threads::used()).enumerate() {
        if other != number && inside.0.load(Relaxed) > 0 {
            inside.0.store(0, Relaxed);
        }
    }
    open_gate();
    threads::go_on_alone();
}
