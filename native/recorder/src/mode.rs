//! What a call of malloc does at this moment: record, pass on, or make do with the boot arena.

use core::cell::UnsafeCell;
use core::ptr;
use core::sync::atomic::{
    AtomicPtr, AtomicU8,
    Ordering::{Acquire, Relaxed},
};

use crate::cxx;
use crate::layout::{FILE_SIZE, File};
use crate::real;
use crate::recording;
use crate::sys;

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
struct OwnPage(UnsafeCell<[AtomicPtr<File>; sys::PAGE_SIZE / 8]>);

// SAFETY: only atomics are read and written there.
unsafe impl Sync for OwnPage {}

/// Its first word: PLACE where this process counts, else null.
static OWN: OwnPage = OwnPage(UnsafeCell::new(
    [const { AtomicPtr::new(ptr::null_mut()) }; sys::PAGE_SIZE / 8],
));

/// glibc's flag that the process has one thread, or NEVER.
static ALONE: AtomicPtr<u8> = AtomicPtr::new((&raw const NEVER).cast_mut());
static NEVER: u8 = 0;

#[inline(always)]
pub fn mode() -> Mode {
    // SAFETY: null, or a mapping that lies there as long as the process counts.
    match unsafe { own().load(Relaxed).as_ref() } {
        Some(file) => Mode::Recording(file),
        None => settle(),
    }
}

#[inline(always)]
fn own() -> &'static AtomicPtr<File> {
    // SAFETY: the array is never borrowed to be changed, and its fields are atomics.
    unsafe { &(*OWN.0.get())[0] }
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
    own().store(PLACE.load(Acquire), Relaxed);
}

/// Records no more. The process has one thread.
pub fn pass() {
    STATE.store(PASSING, Relaxed);
    let place = own().swap(ptr::null_mut(), Relaxed);
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
    // SAFETY: as in mode.
    unsafe { own().load(Relaxed).as_ref() }.map_or(Mode::Passing, Mode::Recording)
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
    current()
}
