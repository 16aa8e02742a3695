//! A number for each requested size, in the order in which they come, so that few pages are used.
//!
//! Private memory, without locks: a child by fork goes on with its parent's numbers. A number that
//! was given out stays, and one that was lost to a race is a hole.

use core::sync::atomic::{
    AtomicU16, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};

use crate::layout::{File, NUMBER_BITS, NUMBERS};
use crate::recording;

/// Sizes below have a place each; the others share places by hash.
const DIRECT: usize = 4096;
const HASH_BITS: u32 = 13;
const HASHED: usize = 1 << HASH_BITS;
/// Sizes that are counted apart; those that come later are rounded up to classes.
const MOST_EXACT: u64 = 2560;
const CLASS_BITS: u32 = 3;

/// The number of each of the small sizes, or NONE.
static SMALL: [AtomicU16; DIRECT] = [const { AtomicU16::new(NONE) }; DIRECT];
const NONE: u16 = u16::MAX;
/// Each is 0 or (requested size + 1) and its number.
static PLACES: [AtomicU64; HASHED] = [const { AtomicU64::new(0) }; HASHED];
/// The number that comes next; more than NUMBERS when all are given out.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// The number of the size; NUMBERS or more if it has none of its own.
pub fn find(size: usize) -> usize {
    if let Some(number) = find_small(size) {
        return number;
    }
    match search(size).1 {
        0 => NUMBERS,
        word => word as usize % NUMBERS,
    }
}

/// The same; None if the size is no small one.
#[inline(always)]
pub fn find_small(size: usize) -> Option<usize> {
    let number = SMALL.get(size)?.load(Acquire);
    Some(number as usize)
}

/// Gives a number to a size that is new, or to its class; None if none is left.
///
/// A size that once had to go to its class never gets a number of its own later, because numbers
/// are never given up.
pub fn number_of(file: &File, size: usize) -> Option<usize> {
    give(file, size, MOST_EXACT).or_else(|| give(file, class_of(size), NUMBERS as u64))
}

/// Numbers below this one may be in use.
pub fn given_out() -> usize {
    (NEXT.load(Acquire) as usize).min(NUMBERS)
}

/// The place of this size or else the empty one where it belongs, with the word found there.
fn search(size: usize) -> (&'static AtomicU64, u64) {
    let mut index = hash(size);
    loop {
        // Places outnumber numbers, so there is always an empty one.
        let place = &PLACES[index % HASHED];
        let word = place.load(Acquire);
        if word == 0 || word >> NUMBER_BITS == key_of(size) {
            return (place, word);
        }
        index += 1;
    }
}

fn give(file: &File, size: usize, most: u64) -> Option<usize> {
    loop {
        let number = find(size);
        if number < NUMBERS {
            return Some(number);
        }
        let below = |next| (next < most).then_some(next + 1);
        let number = NEXT.fetch_update(AcqRel, Acquire, below).ok()?;
        if !recording::reserve_size(file, number as usize) {
            return None;
        }
        let entry = &file.sizes[number as usize];
        entry.key.store(key_of(size), Relaxed);
        file.header.numbers.fetch_max(number + 1, Relaxed);
        if set(size, number) {
            return Some(number as usize);
        }
        entry.key.store(0, Relaxed);
    }
}

/// Enters the number of a size; false if another thread was faster.
fn set(size: usize, number: u64) -> bool {
    if let Some(small) = SMALL.get(size) {
        return small
            .compare_exchange(NONE, number as u16, AcqRel, Acquire)
            .is_ok();
    }
    let (place, word) = search(size);
    let new = key_of(size) << NUMBER_BITS | number;
    word == 0 && place.compare_exchange(0, new, AcqRel, Acquire).is_ok()
}

/// The size that stands for all of its class: the next of eight steps from one power of two to the
/// next.
fn class_of(size: usize) -> usize {
    let step = size.max(1).ilog2().saturating_sub(CLASS_BITS);
    size.checked_next_multiple_of(1 << step)
        .unwrap_or(usize::MAX - 1)
}

/// No block has a size of 2^52 or more, so that the number fits beside it.
fn key_of(size: usize) -> u64 {
    size as u64 + 1
}

/// Fibonacci hashing: neighbouring sizes are spread apart.
#[inline(always)]
fn hash(size: usize) -> usize {
    ((size as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - HASH_BITS)) as usize
}
