//! What is written down when a block begins to live, and when it ends.
//!
//! Each is tried the quick way first, which calls nothing: it is left where something is there for
//! the first time, or the thread has no table of its own.

use core::ffi::c_void;
use core::sync::atomic::AtomicU64;

use crate::alive;
use crate::layout::{Counts, File, add, increment};
use crate::ledger::{self, Entry};
use crate::sizes;
use crate::thread::{self, Ready, Thread};
use crate::trace::{self, Kind};

/// A block is short-lived if its thread freed it before it had made that many other calls.
const SHORT: u32 = 64;

/// How a block came to be.
#[derive(Clone, Copy)]
pub enum Origin {
    Fresh,
    /// By calloc.
    Zeroed,
    Resized,
    /// To so many bytes, or to what the allocator makes of them.
    Aligned(usize),
}

/// Counts a new block of a size with this number, if all that it needs is there. Of its size, one
/// more is then to be counted as alive.
#[inline(always)]
pub fn begin_quickly(block: *mut c_void, number: usize, origin: Origin) -> Option<Ready> {
    let local = thread::local();
    let ready = local.ready(number)?;
    let place = ledger::find(block)?;
    place.write(Entry::new(number, local.tick()));
    add_block(ready.counts(), origin, true);
    Some(ready)
}

/// Counts a new block, or that it could not be counted.
pub fn begin(file: &File, block: *mut c_void, size: usize, origin: Origin) {
    if trace::is_wanted() {
        trace::begins(block, size, origin);
    }
    match begin_quickly(block, sizes::find(size), origin) {
        Some(ready) => alive::enter(ready.number, ready.spare()),
        None => begin_slowly(file, block, size, origin),
    }
}

#[cold]
#[inline(never)]
fn begin_slowly(file: &File, block: *mut c_void, size: usize, origin: Origin) {
    let local = thread::local();
    let thread = local.thread_or_common();
    if let Some(number) = sizes::number_of(file, size)
        && let Some(counts) = counts_of(thread, file, number)
        && ledger::make_place(block)
        && let Some(place) = ledger::find(block)
    {
        place.write(Entry::new(number, local.tick()));
        add_block(counts, origin, false);
        return match local.thread() {
            Some(own) => alive::enter(number, &own.spares[number]),
            None => alive::enter_alone(number),
        };
    }
    file.count_overflow();
}

#[inline(always)]
fn add_block(counts: &Counts, origin: Origin, exclusive: bool) {
    increment(&counts.allocated, exclusive);
    match origin {
        Origin::Fresh | Origin::Zeroed => {}
        Origin::Resized => increment(&counts.resized, exclusive),
        Origin::Aligned(_) => increment(&counts.aligned, exclusive),
    }
}

/// Counts a free, before the real one, if it was this thread that allocated the block. Of its size,
/// one less is then to be counted as alive.
#[inline(always)]
pub fn forget_quickly(block: *mut c_void) -> Option<Ready> {
    let place = ledger::find(block)?;
    let ready = end_quickly(place.read())?;
    place.clear();
    Some(ready)
}

/// Counts a free, before the real one.
pub fn forget(file: &File, block: *mut c_void) {
    if trace::is_wanted() {
        trace::note(Kind::Freed, block, 0);
    }
    end(file, ledger::take(block));
}

/// Counts a realloc as the end of the old block and the beginning of the new one.
pub fn resize(file: &File, old: Option<Entry>, new: *mut c_void, size: usize) {
    end(file, old);
    if !new.is_null() {
        begin(file, new, size, Origin::Resized);
    }
}

/// Puts a block into the ledger again that was taken out for nothing.
pub fn put_back(block: *mut c_void, entry: Entry) {
    if let Some(place) = ledger::find(block) {
        place.write(entry);
    }
}

/// Counts the end of a block that was taken out of the ledger, or that it was not in there.
fn end(file: &File, entry: Option<Entry>) {
    let Some(entry) = entry else {
        return file.count_untagged();
    };
    match end_quickly(entry) {
        Some(ready) => alive::leave(ready.number, ready.spare()),
        None => end_slowly(file, entry),
    }
}

#[inline(always)]
fn end_quickly(entry: Entry) -> Option<Ready> {
    let local = thread::local();
    let now = local.now();
    let ready = local.ready(entry.number_if_of(now))?;
    local.tick();
    end_own(ready.counts(), entry.age(now), true);
    Some(ready)
}

#[cold]
#[inline(never)]
fn end_slowly(file: &File, entry: Entry) {
    let local = thread::local();
    let thread = local.thread_or_common();
    let number = entry.number();
    let now = local.tick();
    match local.thread() {
        Some(own) => alive::leave(number, &own.spares[number]),
        None => alive::leave_alone(number),
    }
    let Some(counts) = counts_of(thread, file, number) else {
        return file.count_overflow();
    };
    if entry.number_if_of(now) == number {
        return end_own(counts, entry.age(now), false);
    }
    increment(&counts.freed, false);
    increment(of_others(counts, entry), false);
}

#[inline(always)]
fn end_own(counts: &Counts, age: u32, exclusive: bool) {
    increment(&counts.freed, exclusive);
    // Without a branch, which would often be guessed wrongly.
    add(&counts.short_lived, u64::from(age < SHORT), exclusive);
}

fn of_others(counts: &Counts, entry: Entry) -> &AtomicU64 {
    if thread::is_parents(entry.serial()) {
        &counts.freed_inherited
    } else {
        &counts.freed_elsewhere
    }
}

/// The counters of a size, with their page.
fn counts_of<'a>(thread: &'a Thread, file: &File, number: usize) -> Option<&'a Counts> {
    thread.make_ready(file, number);
    thread.counts(number)
}
