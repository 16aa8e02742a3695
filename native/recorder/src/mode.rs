//! What a call of malloc does at this moment: record, pass on, or make do with the boot arena.

use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU8, Ordering::Relaxed};

use crate::glibc;
use crate::real;
use crate::table::Table;

pub enum Mode {
    /// Count in this table.
    Recording(&'static Table),
    /// Hand every call to the real allocator unchanged.
    Passing,
    /// The real allocator is being looked up right now.
    Booting,
}

const UNRESOLVED: u8 = 0;
const RESOLVING: u8 = 1;
const RESOLVED: u8 = 2;

/// Progress of `real::resolve`. Only `settle` changes it.
static STATE: AtomicU8 = AtomicU8::new(UNRESOLVED);
/// Where to count; null while not resolved and when passing. Changed by `settle`, `count_in` and
/// `pass`, all while the process has one thread.
static TABLE: AtomicPtr<Table> = AtomicPtr::new(ptr::null_mut());
/// Where blocks are counted until the recording is open: the dynamic linker and constructors
/// allocate before the environment can be read. Later, the snapshot for a fork.
static PRIVATE: Table = Table::new();
/// glibc's flag that the process has one thread, or NEVER.
static ALONE: AtomicPtr<u8> = AtomicPtr::new((&raw const NEVER).cast_mut());
static NEVER: u8 = 0;

#[inline(always)]
pub fn mode() -> Mode {
    let table = TABLE.load(Relaxed);
    if table.is_null() {
        return settle();
    }
    // SAFETY: what is stored there is PRIVATE or a mapping that lives as long as it is stored.
    Mode::Recording(unsafe { &*table })
}

/// Whether the process has one thread, as far as the C library knows.
#[inline(always)]
pub fn is_alone() -> bool {
    // SAFETY: the address is that of NEVER or of the C library's flag (one byte), which is only
    // changed by the thread that is alone, before it starts another one.
    unsafe { ALONE.load(Relaxed).read_volatile() != 0 }
}

/// The table that is not in a file.
pub fn private_table() -> &'static Table {
    &PRIVATE
}

/// The table in a file that is counted in now, if any.
pub fn recorded_table() -> Option<&'static Table> {
    let table = TABLE.load(Relaxed).cast_const();
    if ptr::eq(table, &PRIVATE) {
        return None;
    }
    // SAFETY: as in mode(); null gives None.
    unsafe { table.as_ref() }
}

/// Counts in `table` from now on.
pub fn count_in(table: &'static Table) {
    TABLE.store(ptr::from_ref(table).cast_mut(), Relaxed);
}

/// Records no more. Tags of earlier blocks are then dead bytes that nobody reads.
pub fn pass() {
    TABLE.store(ptr::null_mut(), Relaxed);
}

/// The mode when there is no table; looks the real allocator up on the first call.
#[cold]
fn settle() -> Mode {
    match STATE.compare_exchange(UNRESOLVED, RESOLVING, Relaxed, Relaxed) {
        Ok(_) => resolve(),
        Err(RESOLVED) => Mode::Passing,
        Err(_) => Mode::Booting,
    }
}

fn resolve() -> Mode {
    real::resolve();
    let flag = real::single_threaded_flag();
    if !flag.is_null() {
        ALONE.store(flag, Relaxed);
    }
    let usable = real::is_consistent();
    STATE.store(RESOLVED, Relaxed);
    if !usable {
        return Mode::Passing;
    }
    glibc::detect();
    count_in(&PRIVATE);
    Mode::Recording(&PRIVATE)
}
