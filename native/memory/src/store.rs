//! The store of an array: a bitmap of its free blocks that lie in no thread's cache.
//!
//! Words are changed by single atomic operations, so that threads never wait for each other, and a
//! child by fork finds it whole at any moment.

use core::ptr;
use core::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};

/// Words that are looked at for further blocks once there is one.
const FURTHER_WORDS: u32 = 8;

pub struct Store {
    /// How many are free, and the words behind: for a small array that is one cache line.
    cells: *const AtomicU64,
    word_count: u32,
}

impl Store {
    pub const fn empty() -> Self {
        Store {
            cells: ptr::null(),
            word_count: 0,
        }
    }

    /// All blocks are free.
    ///
    /// # Safety
    /// There are as many cells as the blocks need, zero, which stay.
    pub unsafe fn new(cells: *const AtomicU64, blocks: u32) -> Self {
        let store = Store {
            cells,
            word_count: blocks.div_ceil(64),
        };
        store.count().store(u64::from(blocks), Relaxed);
        for number in 0..store.word_count {
            let rest = blocks - number * 64;
            let all = if rest >= 64 {
                u64::MAX
            } else {
                (1 << rest) - 1
            };
            store.word(number).store(all, Relaxed);
        }
        store
    }

    /// Cells that a store of so many blocks has.
    pub fn cells_for(blocks: usize) -> usize {
        1 + blocks.div_ceil(64)
    }

    /// Free blocks, but for those that somebody takes or gives at this moment.
    pub fn free(&self) -> i64 {
        self.count().load(Relaxed) as i64
    }

    /// What somebody took is subtracted late, so it may be below 0 for a moment.
    fn count(&self) -> &AtomicU64 {
        // SAFETY: only asked for arrays that are laid out.
        unsafe { &*self.cells }
    }

    fn word(&self, number: u32) -> &AtomicU64 {
        // SAFETY: only asked for numbers below word_count, of which there are words.
        unsafe { &*self.cells.add(1 + number as usize) }
    }

    pub fn word_count(&self) -> u32 {
        self.word_count
    }

    /// Takes up to `most` blocks, from the word `start` on and in each from the bit `first` on;
    /// `found` is told the words with the bits. How many, and in which word the last ones were.
    pub fn take(
        &self,
        most: u32,
        (start, first): (u32, u32),
        mut found: impl FnMut(u32, u64),
    ) -> (u32, u32) {
        let (mut taken, mut last) = (0, start);
        if self.free() <= 0 || most == 0 {
            return (taken, last);
        }
        let mut left = self.word_count;
        let mut number = start;
        while taken < most && left > 0 {
            if number >= self.word_count {
                number = 0;
            }
            let bits = take_bits(self.word(number), first, most - taken);
            if bits != 0 {
                if taken == 0 {
                    left = left.min(FURTHER_WORDS);
                }
                taken += bits.count_ones();
                last = number;
                found(number, bits);
            }
            number += 1;
            left -= 1;
        }
        self.count().fetch_sub(u64::from(taken), Relaxed);
        (taken, last)
    }

    /// Gives blocks of one word back; the bits of those that were there already.
    pub fn give(&self, word: u32, bits: u64) -> u64 {
        let before = self.word(word).fetch_or(bits, AcqRel);
        let new = bits & !before;
        self.count().fetch_add(u64::from(new.count_ones()), Relaxed);
        bits & before
    }
}

/// Takes some bits that are set, at most so many: low ones above `first` if there are any, else low
/// ones.
fn take_bits(word: &AtomicU64, first: u32, most: u32) -> u64 {
    let mut before = word.load(Relaxed);
    while before != 0 {
        let above = before & (u64::MAX << first);
        let taken = lowest(if above == 0 { before } else { above }, most);
        match word.compare_exchange_weak(before, before & !taken, Acquire, Relaxed) {
            Ok(_) => return taken,
            Err(now) => before = now,
        }
    }
    0
}

/// Those of `bits` that are within so short a stretch from the lowest one on that there are not more
/// than `most`, which is at least 1: not always as many as there might be, but found in a few steps.
fn lowest(bits: u64, most: u32) -> u64 {
    let mut stretch = u64::MAX;
    let mut width = 64;
    while (bits & stretch).count_ones() > most {
        width /= 2;
        stretch = ((1 << width) - 1) << bits.trailing_zeros();
    }
    bits & stretch
}

pub fn each_bit(mut bits: u64, mut act: impl FnMut(u32)) {
    while bits != 0 {
        act(bits.trailing_zeros());
        bits &= bits - 1;
    }
}
