//! What a call of malloc does at this moment: record, pass on, or make do with the boot arena.

use core::cell::UnsafeCell;
use core::ptr;
use core::sync::atomic::{
    AtomicPtr, AtomicU8, AtomicUsize,
    Ordering::{Acquire, Relaxed},
};

use crate::cxx;
use crate::layout::{FILE_SIZE, File, TABLES};
use crate::real;
use crate::recording;
use crate::sys;
use crate::thread;

pub enum Mode {
    /// Count in this recording.
    Recording(&'static File),
    /// Hand every call to the real allocator unchanged.
    Passing,
    /// The real allocator is being looked up right now.
    Booting,
}

const UNRESOLVED: u8 = 0;
const RESOLVING: u8 = 1;
const RECORDING: u8 = 2;
const PASSING: u8 = 3;

static STATE: AtomicU8 = AtomicU8::new(UNRESOLVED);
/// Where the recording lies, from RECORDING on. It never moves; what is mapped there changes.
static PLACE: AtomicPtr<File> = AtomicPtr::new(ptr::null_mut());

/// A page that the kernel zeroes in every child by fork, also where no fork handler runs.
#[repr(C, align(4096))]
struct OwnPage(UnsafeCell<[Line; TABLES]>);

/// Of one table. It is a line of the processor's cache.
#[repr(C, align(64))]
struct Line {
    /// So many sizes can be counted there the quick way. In the first one always 0.
    ready: AtomicUsize,
    /// In the first one: PLACE where this process counts, else null.
    place: AtomicPtr<File>,
}

const _: () = assert!(size_of::<OwnPage>() == sys::PAGE_SIZE);

// SAFETY: only atomics are read and written there.
unsafe impl Sync for OwnPage {}

static OWN: OwnPage = OwnPage(UnsafeCell::new([const { Line::new() }; TABLES]));

impl Line {
    const fn new() -> Self {
        Line {
            ready: AtomicUsize::new(0),
            place: AtomicPtr::new(ptr::null_mut()),
        }
    }
}

/// glibc's flag that the process has one thread, or NEVER.
static ALONE: AtomicPtr<u8> = AtomicPtr::new((&raw const NEVER).cast_mut());
static NEVER: u8 = 0;

#[inline(always)]
pub fn mode() -> Mode {
    // SAFETY: null, or a mapping that lies there as long as the process counts.
    match unsafe { own().place.load(Relaxed).as_ref() } {
        Some(file) => Mode::Recording(file),
        None => settle(),
    }
}

/// The recording that this process counts in, if it does at this moment.
pub fn recording() -> Option<&'static File> {
    // SAFETY: as in mode.
    unsafe { own().place.load(Relaxed).as_ref() }
}

#[inline(always)]
fn own() -> &'static Line {
    // SAFETY: the array is never borrowed to be changed, and its fields are atomics.
    unsafe { &(*OWN.0.get())[0] }
}

/// Where the line of a table begins, in bytes from the first one's.
pub fn line_of(table: usize) -> usize {
    table % TABLES * size_of::<Line>()
}

/// How many sizes can be counted the quick way in the table with this line; 0 where the process
/// does not count, so also in a child by fork that has no recording of its own yet.
///
/// # Safety
/// `line` is one of `line_of`.
#[inline(always)]
pub unsafe fn ready(line: usize) -> &'static AtomicUsize {
    // SAFETY: within the array, which is never borrowed to be changed.
    unsafe { &(*OWN.0.get().cast::<Line>().byte_add(line)).ready }
}

/// Whether the process has one thread, as far as the C library knows.
#[inline(always)]
pub fn is_alone() -> bool {
    // SAFETY: the address is that of NEVER or of the C library's flag (one byte), which is only
    // changed by the thread that is alone, before it starts another one.
    unsafe { ALONE.load(Relaxed).read_volatile() != 0 }
}

/// Counts from now on.
pub fn record() {
    STATE.store(RECORDING, Relaxed);
    own().place.store(PLACE.load(Acquire), Relaxed);
    thread::be_quick();
}

/// Records no more. The process has one thread.
pub fn pass() {
    STATE.store(PASSING, Relaxed);
    let place = own().place.swap(ptr::null_mut(), Relaxed);
    thread::be_slow();
    if !place.is_null() {
        sys::unmap(place.cast(), FILE_SIZE);
    }
}

/// In a child by fork: what is mapped is still the parent's, which is not to be counted in.
pub fn leave_parents() -> Option<&'static File> {
    STATE
        .compare_exchange(RECORDING, PASSING, Relaxed, Relaxed)
        .ok()?;
    // SAFETY: null or a mapping that nobody but this thread changes now.
    unsafe { PLACE.load(Acquire).as_ref() }
}

/// The mode when there is no recording: the first call of all, or of a child.
#[cold]
fn settle() -> Mode {
    match STATE.compare_exchange(UNRESOLVED, RESOLVING, Relaxed, Relaxed) {
        Ok(_) => resolve(),
        Err(RECORDING) => {
            recording::follow_fork();
            current()
        }
        Err(PASSING) => Mode::Passing,
        Err(_) => Mode::Booting,
    }
}

fn current() -> Mode {
    recording().map_or(Mode::Passing, Mode::Recording)
}

fn resolve() -> Mode {
    real::resolve();
    cxx::resolve();
    let flag = real::single_threaded_flag();
    if !flag.is_null() {
        ALONE.store(flag, Relaxed);
    }
    STATE.store(PASSING, Relaxed);
    // Until the program starts, a private mapping stands in for the file: the dynamic linker and
    // constructors allocate before the environment can be read.
    let place = sys::map_private(FILE_SIZE).filter(|_| sys::wipe_on_fork(OWN.0.get().cast()));
    if let Some(place) = place {
        PLACE.store(place.cast(), Relaxed);
        record();
    }
    real::be_quick();
    current()
}
