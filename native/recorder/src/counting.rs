//! What is written down when a block begins to live, and when it ends.
//!
//! Each is tried the quick way first, which calls nothing: it is left where something is there for
//! the first time, or the thread has no table of its own.

use core::ffi::c_void;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::alive;
use crate::layout::{Counts, File, increment};
use crate::ledger::{self, Entry};
use crate::sizes;
use crate::thread::{self, Local, Thread};

/// A block is short-lived if its thread freed it before it had made that many other calls.
const SHORT: u32 = 64;

/// How a block came to be.
#[derive(Clone, Copy)]
pub enum Origin {
    Fresh,
    Resized,
    Aligned,
}

/// Counts a new block, or that it could not be counted.
#[inline(always)]
pub fn begin(file: &File, block: *mut c_void, size: usize, origin: Origin) {
    let local = thread::local();
    if let Some(thread) = local.thread()
        && let Some(number) = sizes::find(size)
        && let Some(counts) = thread.counts(number)
        && enter(local, block, number)
    {
        add_block(counts, origin, true);
        return alive::enter(file, number, Some(&thread.spares));
    }
    begin_slowly(file, block, size, origin);
}

#[cold]
#[inline(never)]
fn begin_slowly(file: &File, block: *mut c_void, size: usize, origin: Origin) {
    let local = thread::local();
    let thread = local.thread_or_common();
    if let Some(number) = sizes::number_of(file, size)
        && let Some(counts) = counts_of(thread, file, number)
        && ledger::make_place(block)
        && enter(local, block, number)
    {
        add_block(counts, origin, false);
        return alive::enter(file, number, local.thread().map(|own| &own.spares));
    }
    file.count_overflow();
}

#[inline(always)]
fn enter(local: &Local, block: *mut c_void, number: usize) -> bool {
    let serial = local.serial.load(Relaxed);
    ledger::write(block, Entry::new(number, serial, local.tick()))
}

#[inline(always)]
fn add_block(counts: &Counts, origin: Origin, exclusive: bool) {
    increment(&counts.allocated, exclusive);
    match origin {
        Origin::Fresh => {}
        Origin::Resized => increment(&counts.resized, exclusive),
        Origin::Aligned => increment(&counts.aligned, exclusive),
    }
}

/// Counts a free, before the real one.
#[inline(always)]
pub fn forget(file: &File, block: *mut c_void) {
    match ledger::take(block) {
        Some(entry) => end(file, entry),
        None => file.count_untagged(),
    }
}

/// Counts a realloc as the end of the old block and the beginning of the new one.
pub fn resize(file: &File, old: Option<Entry>, new: *mut c_void, size: usize) {
    match old {
        Some(entry) => end(file, entry),
        None => file.count_untagged(),
    }
    if !new.is_null() {
        begin(file, new, size, Origin::Resized);
    }
}

/// Counts the end of a block that was taken out of the ledger.
#[inline(always)]
fn end(file: &File, entry: Entry) {
    let local = thread::local();
    if let Some(thread) = local.thread()
        && let Some(counts) = thread.counts(entry.number())
        && local.is(entry.serial())
    {
        end_own(counts, entry, local.tick(), true);
        return alive::leave(file, entry.number(), Some(&thread.spares));
    }
    end_slowly(file, entry);
}

#[cold]
#[inline(never)]
fn end_slowly(file: &File, entry: Entry) {
    let local = thread::local();
    let thread = local.thread_or_common();
    let time = local.tick();
    alive::leave(file, entry.number(), local.thread().map(|own| &own.spares));
    let Some(counts) = counts_of(thread, file, entry.number()) else {
        return file.count_overflow();
    };
    if local.is(entry.serial()) {
        return end_own(counts, entry, time, false);
    }
    increment(&counts.freed, false);
    increment(of_others(counts, entry), false);
}

#[inline(always)]
fn end_own(counts: &Counts, entry: Entry, time: u32, exclusive: bool) {
    increment(&counts.freed, exclusive);
    if time.wrapping_sub(entry.clock()) <= SHORT {
        increment(&counts.short_lived, exclusive);
    }
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
