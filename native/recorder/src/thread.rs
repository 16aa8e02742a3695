//! What each thread has of its own: a serial number, a clock of its calls, a table of counters.
//!
//! The first two and where its table is are in thread-local storage of the initial-exec kind, which
//! Rust does not offer without std: a preloaded object has room there from the start, so that no
//! access allocates. Tables are lent: a thread that ends leaves its counts for the next to add to.

use core::arch::{asm, global_asm};
use core::ffi::{c_int, c_void};
use core::hint::assert_unchecked;
use core::ptr;
use core::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

use crate::alive::{self, Spares};
use crate::filters;
use crate::layout::{Counts, File, NUMBERS, TABLES, Table};
use crate::ledger::{SERIALS, Stamp};
use crate::mode;
use crate::recording;
use crate::sizes;
use crate::sys;
use crate::trace;

global_asm!(
    ".section .tbss,\"awT\",@nobits",
    ".balign 64",
    ".type onejob_recorder_local, @object",
    ".size onejob_recorder_local, 64",
    "onejob_recorder_local:",
    ".zero 64",
    ".text",
);

/// In thread-local storage, zero at first. Atomics because of signal handlers that allocate.
#[repr(C, align(64))]
pub struct Local {
    /// With the number of blocks that the thread allocated or freed, which wraps around.
    stamp: AtomicU64,
    /// Null before the thread's first call, after its end has begun, and where no table is left.
    thread: AtomicPtr<Thread>,
    /// Its table, and the line of it in mode.rs; that is 0 where `thread` is null.
    table: AtomicPtr<Table>,
    line: AtomicUsize,
    /// 0 before the thread's first call.
    serial: AtomicU32,
}

const _: () = assert!(size_of::<Local>() == 64);

/// Goes with one table of the recording. No two have a line of a processor's cache in common (of
/// which two are fetched at once).
#[repr(C, align(128))]
pub struct Thread {
    /// See alive.rs. Written only by the thread that has it lent.
    pub spares: Spares,
    is_lent: AtomicBool,
    /// Counters with numbers below have their pages, in `table`.
    ready: AtomicU32,
    table: AtomicPtr<Table>,
}

/// A size that the calling thread can count the quick way.
#[derive(Clone, Copy)]
pub struct Ready {
    local: &'static Local,
    pub number: usize,
}

/// The first one's table is for all threads that have no other; it is never lent.
static THREADS: [Thread; TABLES] = [const { Thread::new() }; TABLES];
/// Those below may have been lent.
static USED: AtomicU32 = AtomicU32::new(1);
static NEXT_SERIAL: AtomicU32 = AtomicU32::new(1);
/// Threads with serial numbers below are the parent's.
static FIRST_SERIAL: AtomicU32 = AtomicU32::new(0);
/// Tells of the end of a thread; NO_KEY before `watch_ends`.
static KEY: AtomicU32 = AtomicU32::new(NO_KEY);
const NO_KEY: u32 = u32::MAX;

impl Thread {
    const fn new() -> Self {
        Thread {
            spares: [const { AtomicU8::new(0) }; NUMBERS],
            is_lent: AtomicBool::new(false),
            ready: AtomicU32::new(0),
            table: AtomicPtr::new(ptr::null_mut()),
        }
    }

    pub fn index(&self) -> usize {
        (ptr::from_ref(self).addr() - THREADS.as_ptr().addr()) / size_of::<Thread>()
    }

    /// The counters of a size; None if there is no page for them yet.
    pub fn counts(&self, number: usize) -> Option<&Counts> {
        if number >= self.ready.load(Relaxed) as usize {
            return None;
        }
        // SAFETY: make_ready has set it to a table of the one recording that there is; that stays
        // where it is (recording.rs), and the number is below NUMBERS.
        unsafe { (*self.table.load(Relaxed)).get(number) }
    }

    /// Gets the pages of all counters up to `number`'s; false if they cannot be had.
    pub fn make_ready(&self, file: &File, number: usize) -> bool {
        if number < self.ready.load(Relaxed) as usize {
            local().be_quick(); // what another thread fetched, too
            return true;
        }
        if filters::are_there() {
            return false;
        }
        let numbers = recording::numbers_in_pages(number + 1);
        let table = &file.tables[self.index()];
        let ready = sys::populate(&table[..numbers]);
        if ready {
            self.table.store(ptr::from_ref(table).cast_mut(), Relaxed);
            file.header
                .tables
                .fetch_max(self.index() as u32 + 1, Relaxed);
            self.ready.fetch_max(numbers as u32, Relaxed);
            local().be_quick();
        }
        ready
    }
}

impl Ready {
    #[inline(always)]
    pub fn counts(&self) -> &Counts {
        // SAFETY: where something is ready there is a table, which stays where it is
        // (recording.rs); the number is below NUMBERS.
        unsafe { (*self.local.table.load(Relaxed)).get_unchecked(self.number) }
    }

    #[inline(always)]
    pub fn spare(&self) -> &AtomicU8 {
        // SAFETY: where something is ready, this is one of THREADS; the number is below NUMBERS.
        unsafe {
            (*self.local.thread.load(Relaxed))
                .spares
                .get_unchecked(self.number)
        }
    }
}

/// The calling thread's.
#[inline(always)]
pub fn local() -> &'static Local {
    let address: usize;
    // SAFETY: reads where the storage lies, relative to the thread pointer that fs:0 holds (ELF
    // Handling For Thread-Local Storage, 4.3.6: initial exec model on x86-64).
    unsafe {
        asm!(
            "mov {0}, qword ptr fs:[0]",
            "add {0}, qword ptr [rip + onejob_recorder_local@GOTTPOFF]",
            out(reg) address,
            options(nostack, pure, readonly),
        );
    }
    // SAFETY: the storage is there as long as the thread, which is longer than the reference is
    // used; it is zero at first, which is valid.
    unsafe {
        assert_unchecked(address != 0);
        &*ptr::with_exposed_provenance::<Local>(address)
    }
}

impl Local {
    /// None if the thread has no table of its own.
    #[inline(always)]
    pub fn thread(&self) -> Option<&'static Thread> {
        // SAFETY: what is stored there is null or one of THREADS.
        unsafe { self.thread.load(Relaxed).as_ref() }
    }

    /// As `thread`, or the common one. The thread's first call gets it one of its own.
    pub fn thread_or_common(&self) -> &'static Thread {
        if self.serial.load(Relaxed) == 0 {
            self.begin();
        }
        self.thread().unwrap_or(&THREADS[0])
    }

    /// The size of this number, if it can be counted the quick way.
    #[inline(always)]
    pub fn ready(&'static self, number: usize) -> Option<Ready> {
        // SAFETY: only be_quick and be_slow set it.
        let ready = unsafe { mode::ready(self.line.load(Relaxed)) };
        if number >= ready.load(Relaxed) {
            return None;
        }
        // SAFETY: no more than that can be ready.
        unsafe { assert_unchecked(number < NUMBERS) };
        Some(Ready {
            local: self,
            number,
        })
    }

    #[inline(always)]
    pub fn now(&self) -> Stamp {
        Stamp(self.stamp.load(Relaxed))
    }

    /// Counts one call, and says the time before it.
    #[inline(always)]
    pub fn tick(&self) -> Stamp {
        let now = self.now();
        self.stamp.store(now.0.wrapping_add(Stamp::TICK), Relaxed);
        now
    }

    /// Goes the quick way with what is ready in the thread's own table.
    fn be_quick(&self) {
        if let Some(thread) = self.thread()
            && mode::recording().is_some()
            && !trace::is_wanted()
        {
            let line = mode::line_of(thread.index());
            self.table.store(thread.table.load(Relaxed), Relaxed);
            self.line.store(line, Relaxed);
            let count = thread.ready.load(Relaxed) as usize;
            // SAFETY: a line of line_of.
            unsafe { mode::ready(line) }.store(count, Release);
        }
    }

    fn begin(&self) {
        self.number_anew();
        let Some(thread) = lend() else {
            return;
        };
        self.thread.store(ptr::from_ref(thread).cast_mut(), Relaxed);
        self.be_quick();
        let key = KEY.load(Relaxed);
        if key != NO_KEY {
            // SAFETY: the key was made by watch_ends. (The first 32 keys need no allocation.)
            unsafe { sys::pthread_setspecific(key, ptr::from_ref(thread).cast()) };
        }
    }

    pub fn serial(&self) -> u32 {
        self.serial.load(Relaxed)
    }

    fn number_anew(&self) {
        let mut serial = 0;
        while serial % SERIALS == 0 {
            serial = NEXT_SERIAL.fetch_add(1, Relaxed);
        }
        self.serial.store(serial, Relaxed);
        self.stamp.store(Stamp::new(serial).0, Relaxed);
    }
}

/// The calling thread counts the quick way from now on, as far as things are ready.
pub fn be_quick() {
    local().be_quick();
}

/// The process, which has one thread, counts no more.
pub fn be_slow() {
    // SAFETY: only set to what line_of gives.
    unsafe { mode::ready(local().line.load(Relaxed)) }.store(0, Relaxed);
}

/// Whether a block of this serial number was allocated before the fork.
pub fn is_parents(serial: u32) -> bool {
    serial < FIRST_SERIAL.load(Relaxed)
}

fn lend() -> Option<&'static Thread> {
    let is_free = |thread: &&Thread| !thread.is_lent.swap(true, AcqRel);
    let of_use =
        |thread: &&Thread| !filters::are_there() || thread.ready.load(Relaxed) as usize == NUMBERS;
    let thread = THREADS[1..].iter().filter(of_use).find(is_free)?;
    USED.fetch_max(thread.index() as u32 + 1, Release);
    Some(thread)
}

/// All that have or had a thread.
pub fn used() -> impl Iterator<Item = &'static Thread> {
    THREADS.iter().take(USED.load(Acquire) as usize)
}

/// From here on, threads that end give back their table.
pub fn watch_ends() {
    let mut key = NO_KEY;
    // SAFETY: fills the key in; the function lives as long as the process.
    if unsafe { sys::pthread_key_create(&mut key, Some(end)) } == 0 as c_int {
        KEY.store(key, Relaxed);
    }
}

/// What the thread still does after this is counted in the common table.
unsafe extern "C" fn end(thread: *mut c_void) {
    local().line.store(0, Relaxed);
    local().thread.store(ptr::null_mut(), Relaxed);
    // SAFETY: the value of the key is one of THREADS.
    let thread = unsafe { &*thread.cast::<Thread>() };
    alive::give_back(&thread.spares);
    thread.is_lent.store(false, Release);
}

/// In a child by fork: its thread is the only one, and is another one than the parent's. The new
/// file, which will lie where the parent's `file` does, has `ready` counters' pages in its table.
pub fn go_on_alone(file: &File, ready: usize) {
    FIRST_SERIAL.store(NEXT_SERIAL.load(Relaxed), Relaxed);
    let mine = local().thread_or_common();
    for thread in used() {
        alive::give_back(&thread.spares);
        thread.ready.store(0, Relaxed);
        thread.is_lent.store(ptr::eq(thread, mine), Release);
    }
    let table = &raw const file.tables[mine.index()];
    mine.table.store(table.cast_mut(), Relaxed);
    mine.ready.store(ready as u32, Relaxed);
    local().number_anew();
}

/// Copies all counters to a new file; false if it has no pages for them.
pub fn copy_counts(from: &File, to: &File) -> bool {
    used().all(|thread| {
        let numbers = sizes::given_out().min(thread.ready.load(Relaxed) as usize);
        let table = thread.index();
        let mine = &to.tables[table][..recording::numbers_in_pages(numbers)];
        let has_pages = numbers == 0 || sys::populate(mine);
        if has_pages {
            to.header.tables.fetch_max(table as u32 + 1, Relaxed);
            for (new, old) in mine.iter().zip(&from.tables[table][..numbers]) {
                new.copy_from(old);
            }
        }
        has_pages
    })
}
