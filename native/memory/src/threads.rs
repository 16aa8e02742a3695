//! What each thread has of its own: a shard with a cache for each array, and its counters.
//!
//! Where its shard lies is in thread-local storage of the initial-exec kind, which Rust does not
//! offer without std: a preloaded object has room there from the start, so that no access
//! allocates. Shards are lent; a thread that ends gives back its shard and all that is in it.

use core::arch::{asm, global_asm};
use core::ffi::c_void;
use core::mem::offset_of;
use core::ptr;
use core::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst},
};

use crate::arrays;
use crate::cache;
use crate::counts::{self, Counters};
use crate::plan::{MOST_ARRAYS, MOST_DELAY};
use crate::stack::{self, Stacks};
use crate::sys;

pub const SHARDS: usize = 256;
const _: () = assert!(offset_of!(Shard, stacks) + stack::HEADS <= sys::PAGE_SIZE);

global_asm!(
    ".section .tbss,\"awT\",@nobits",
    ".balign 8",
    ".type onejob_memory_shard, @object",
    ".size onejob_memory_shard, 8",
    "onejob_memory_shard:",
    ".zero 8",
    ".text",
);

/// Fields are atomics for the compiler's sake; only the thread that has the shard changes them.
///
/// What each call may change lies in the first page: a child by fork has to copy it, and no other.
#[repr(C, align(4096))]
pub struct Shard {
    counters: AtomicPtr<Counters>,
    /// Blocks that wait to be used again, a ring: `waiting[next - waiting_count..next]`.
    next: AtomicU32,
    waiting_count: AtomicU32,
    waiting: [AtomicU32; MOST_DELAY as usize],
    /// What a child by fork counts before it has counters of its own.
    pending: Counters,
    /// Last, so that what arrays that are not there would need lies at the end.
    pub stacks: Stacks,
}

/// The first one is never lent: its number means none.
static SHARDS_OF_THREADS: [Shard; SHARDS] = [const { Shard::empty() }; SHARDS];
static STATES: [AtomicU8; SHARDS] = [const { AtomicU8::new(FREE) }; SHARDS];
const FREE: u8 = 0;
const LENT: u8 = 1;
/// Its thread is not in this process: it was in the parent's when that forked.
const ORPHAN: u8 = 2;
/// Shards with numbers below may have been lent.
static USED: AtomicU32 = AtomicU32::new(1);
static ACTIVE: AtomicU32 = AtomicU32::new(0);
static HAS_ORPHANS: AtomicBool = AtomicBool::new(false);
/// Tells of the end of a thread; NO_KEY before `watch_ends`.
static KEY: AtomicU32 = AtomicU32::new(NO_KEY);
const NO_KEY: u32 = u32::MAX;
/// A child by fork that has allocated fewer blocks may soon execute another program: for it nothing
/// is touched that is not needed, for each page costs it a fault.
const MOST_PENDING: u64 = 8;
/// In thread-local storage from the end of a thread on: it gets no shard any more.
const ENDED: usize = 1;

impl Shard {
    const fn empty() -> Self {
        Shard {
            counters: AtomicPtr::new(ptr::null_mut()),
            next: AtomicU32::new(0),
            waiting_count: AtomicU32::new(0),
            waiting: [const { AtomicU32::new(0) }; MOST_DELAY as usize],
            pending: [const { AtomicU64::new(0) }; MOST_ARRAYS + 1],
            stacks: Stacks::empty(),
        }
    }

    #[inline(always)]
    pub fn count(&self, number: usize) {
        // SAFETY: a shard that is lent has counters, which stay, one for each number.
        let counter = unsafe { (*self.counters.load(Relaxed)).get_unchecked(number) };
        counter.store(counter.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// Where in each word of a store the thread searches first: 0, 32, 16, 48, 8...
    pub fn first_bit(&self) -> u32 {
        (self.index() as u32).wrapping_sub(1).reverse_bits() >> (32 - 6)
    }

    fn index(&self) -> usize {
        (ptr::from_ref(self).addr() - SHARDS_OF_THREADS.as_ptr().addr()) / size_of::<Shard>()
    }

    /// Whether it is a child's by fork that has allocated next to nothing.
    pub fn is_pending(&self) -> bool {
        ptr::eq(self.counters.load(Relaxed), &self.pending)
    }

    /// A child that goes on counts in the file.
    fn end_pending(&self) {
        let count = |sum, counter: &AtomicU64| sum + counter.load(Relaxed);
        if self.is_pending() && self.pending.iter().fold(0, count) >= MOST_PENDING {
            counts::file().add(&self.pending);
            self.get_counters();
        }
    }

    fn get_counters(&self) {
        self.counters
            .store(ptr::from_ref(counts::lend_counters()).cast_mut(), Relaxed);
    }

    /// Puts a block in; the oldest one comes out when there are more than `most`.
    pub fn wait(&self, granule: u32, most: usize) -> Option<u32> {
        let next = self.next.load(Relaxed) as usize;
        let count = self.waiting_count.load(Relaxed) as usize;
        let oldest = (count >= most).then(|| self.waiting_at(next, most).load(Relaxed));
        if oldest.is_none() {
            self.waiting_count.store(count as u32 + 1, Relaxed);
        }
        self.waiting[next % self.waiting.len()].store(granule, Relaxed);
        self.next.store(next as u32 + 1, Relaxed);
        oldest
    }

    /// The one that was put in `back` before.
    fn waiting_at(&self, next: usize, back: usize) -> &AtomicU32 {
        &self.waiting[next.wrapping_sub(back) % self.waiting.len()]
    }

    /// Takes all out that wait.
    pub fn each_waiting(&self, mut act: impl FnMut(u32)) {
        let next = self.next.load(Relaxed) as usize;
        let count = self.waiting_count.swap(0, Relaxed) as usize;
        for back in 1..=count {
            act(self.waiting_at(next, back).load(Relaxed));
        }
    }
}

#[inline(always)]
fn local() -> usize {
    let value: usize;
    // SAFETY: reads the thread's word, relative to the thread pointer (ELF Handling For Thread-Local
    // Storage, 4.3.6: initial exec model on x86-64).
    unsafe {
        asm!(
            "mov {0}, qword ptr [rip + onejob_memory_shard@GOTTPOFF]",
            "mov {0}, qword ptr fs:[{0}]",
            out(reg) value,
            options(nostack, pure, readonly, preserves_flags),
        );
    }
    value
}

fn set_local(value: usize) {
    // SAFETY: writes the thread's word, as above.
    unsafe {
        asm!(
            "mov {0}, qword ptr [rip + onejob_memory_shard@GOTTPOFF]",
            "mov qword ptr fs:[{0}], {1}",
            out(reg) _,
            in(reg) value,
            options(nostack, preserves_flags),
        );
    }
}

/// The calling thread's; None if it has none.
#[inline(always)]
pub fn shard() -> Option<&'static Shard> {
    let value = local();
    if value <= ENDED {
        return None;
    }
    // SAFETY: what is stored there is one of SHARDS_OF_THREADS.
    Some(unsafe { &*ptr::with_exposed_provenance::<Shard>(value) })
}

/// As `shard`; the thread's first call gets it one.
pub fn shard_or_begin() -> Option<&'static Shard> {
    match shard() {
        Some(shard) => {
            shard.end_pending();
            Some(shard)
        }
        None if local() == ENDED => None,
        None => begin(),
    }
}

fn begin() -> Option<&'static Shard> {
    let index = lend().or_else(|| if reclaim() { lend() } else { None })?;
    let shard = &SHARDS_OF_THREADS[index];
    USED.fetch_max(index as u32 + 1, SeqCst);
    shard.get_counters();
    shard.stacks.begin();
    cache::spread(shard, shard.first_bit());
    if ACTIVE.fetch_add(1, Relaxed) == 1 {
        // Whoever was alone may have more than its part: it gives that back at its next free.
        SHARDS_OF_THREADS[1..used()]
            .iter()
            .for_each(|other| other.stacks.end_room());
    }
    set_local(ptr::from_ref(shard).expose_provenance());
    watch_this_end(shard);
    Some(shard)
}

fn lend() -> Option<usize> {
    let is_free = |index: &usize| {
        STATES[*index]
            .compare_exchange(FREE, LENT, Acquire, Relaxed)
            .is_ok()
    };
    (1..SHARDS).find(is_free)
}

/// The number of the thread's shard; 0 for none.
pub fn index() -> usize {
    shard_or_begin().map_or(0, Shard::index)
}

/// Numbers of shards below this may have been lent.
pub fn used() -> usize {
    USED.load(SeqCst) as usize
}

/// Threads with a shard, at least 1.
pub fn active() -> u32 {
    ACTIVE.load(Relaxed).max(1)
}

/// Gets the calling thread its shard, with all pages.
pub fn begin_first() {
    if let Some(shard) = shard_or_begin() {
        // Where there is no memory for them now, they come page by page.
        let size = offset_of!(Shard, stacks) + stack::bytes(arrays::count());
        let _ = sys::populate(ptr::from_ref(shard).cast(), size);
    }
}

/// From here on, threads that end give back their shard.
pub fn watch_ends() {
    let mut key = NO_KEY;
    // SAFETY: fills the key in; the function lives as long as the process, for a preloaded object is
    // never unloaded.
    if unsafe { sys::pthread_key_create(&mut key, Some(end)) } == 0 {
        KEY.store(key, Relaxed);
    }
    if let Some(shard) = shard() {
        watch_this_end(shard);
    }
}

fn watch_this_end(shard: &Shard) {
    let key = KEY.load(Relaxed);
    if key != NO_KEY {
        // SAFETY: the key was made by watch_ends. It may allocate, which finds the shard there.
        unsafe { sys::pthread_setspecific(key, ptr::from_ref(shard).cast()) };
    }
}

unsafe extern "C" fn end(shard: *mut c_void) {
    set_local(ENDED);
    // SAFETY: the value of the key is one of SHARDS_OF_THREADS.
    let shard = unsafe { &*shard.cast::<Shard>() };
    cache::empty(shard);
    counts::give_back_counters(shard.counters.load(Relaxed));
    ACTIVE.fetch_sub(1, Relaxed);
    STATES[shard.index()].store(FREE, Release);
}

/// A process ends that is not killed: others may count where its last thread did.
pub extern "C" fn end_last() {
    if let Some(shard) = shard() {
        let last = ptr::from_ref(counts::last_counters()).cast_mut();
        if shard.is_pending() {
            counts::file().add(&shard.pending);
        }
        let counters = shard.counters.swap(last, Relaxed);
        counts::give_back_counters(counters);
    }
}

/// In a child by fork: its thread is the only one.
pub fn go_on_alone() {
    let mine = shard().map_or(0, Shard::index);
    for (index, state) in STATES.iter().enumerate().take(used()) {
        if index != mine && state.load(Relaxed) == LENT {
            state.store(ORPHAN, Relaxed);
            HAS_ORPHANS.store(true, Relaxed);
        }
    }
    let active = u32::from(mine != 0);
    // What is as it was is not written: that would copy a page.
    if ACTIVE.load(Relaxed) != active {
        ACTIVE.store(active, Relaxed);
    }
    if let Some(shard) = shard() {
        for counter in &shard.pending {
            counter.store(0, Relaxed);
        }
        let counters = ptr::from_ref(&shard.pending).cast_mut();
        shard.counters.store(counters, Relaxed);
    }
}

/// Gives back what threads had that a fork left behind; whether it was anything.
pub fn reclaim() -> bool {
    if !HAS_ORPHANS.swap(false, AcqRel) {
        return false;
    }
    let mut found = false;
    for (shard, state) in SHARDS_OF_THREADS.iter().zip(&STATES).take(used()) {
        if state.load(Relaxed) == ORPHAN {
            cache::empty_orphan(shard);
            state.store(FREE, Release);
            found = true;
        }
    }
    found
}
