//! The store of an array: a bitmap of its free blocks that lie in no thread's cache.
//!
//! Words are changed by single atomic operations, so that threads never wait for each other, and a
//! child by fork finds it whole at any moment.

use core::ptr;
use core::sync::atomic::{
    AtomicI64, AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};

/// Words that are looked at for further blocks once there is one.
const FURTHER_WORDS: u32 = 8;

pub struct Store {
    words: *const AtomicU64,
    word_count: u32,
    /// Where the search begins; no promise.
    hint: AtomicU32,
    /// Free blocks, but for those that somebody takes or gives at this moment.
    free: AtomicI64,
}

impl Store {
    pub const fn empty() -> Self {
        Store {
            words: ptr::null(),
            word_count: 0,
            hint: AtomicU32::new(0),
            free: AtomicI64::new(0),
        }
    }

    /// All blocks are free.
    ///
    /// # Safety
    /// There are as many words as the blocks need, zero, which stay.
    pub unsafe fn new(words: *const AtomicU64, blocks: u32) -> Self {
        let store = Store {
            words,
            word_count: blocks.div_ceil(64),
            hint: AtomicU32::new(0),
            free: AtomicI64::new(i64::from(blocks)),
        };
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

    pub fn free(&self) -> i64 {
        self.free.load(Relaxed)
    }

    fn word(&self, number: u32) -> &AtomicU64 {
        // SAFETY: only asked for numbers below word_count, of which there are words.
        unsafe { &*self.words.add(number as usize) }
    }

    /// Takes up to `most` blocks; `found` is told each one's number in the array.
    pub fn take(&self, most: u32, mut found: impl FnMut(u32)) -> u32 {
        if self.free() <= 0 || most == 0 {
            return 0;
        }
        let hint = self.hint.load(Relaxed);
        let mut taken = 0;
        let mut end = self.word_count;
        let mut number = hint;
        let mut is_second = hint == 0;
        while taken < most {
            if number >= end {
                // What was given back before the hint is found in a second go.
                if is_second || taken > 0 {
                    break;
                }
                (number, end, is_second) = (0, hint, true);
                continue;
            }
            let bits = take_bits(self.word(number), most - taken);
            if bits != 0 {
                if taken == 0 {
                    self.hint.store(number, Relaxed);
                    end = end.min(number + FURTHER_WORDS);
                }
                taken += bits.count_ones();
                each_bit(bits, |bit| found(number * 64 + bit));
            }
            number += 1;
        }
        self.free.fetch_sub(i64::from(taken), Relaxed);
        taken
    }

    /// Gives blocks of one word back; the bits of those that were there already.
    pub fn give(&self, word: u32, bits: u64) -> u64 {
        let before = self.word(word).fetch_or(bits, AcqRel);
        if word < self.hint.load(Relaxed) {
            self.hint.store(word, Relaxed);
        }
        let new = bits & !before;
        self.free.fetch_add(i64::from(new.count_ones()), Relaxed);
        bits & before
    }
}

/// Takes the lowest bits that are set, at most so many.
fn take_bits(word: &AtomicU64, most: u32) -> u64 {
    let mut before = word.load(Relaxed);
    while before != 0 {
        let mut rest = before;
        for _ in 0..most {
            rest &= rest.wrapping_sub(1);
        }
        match word.compare_exchange_weak(before, rest, Acquire, Relaxed) {
            Ok(_) => return before & !rest,
            Err(now) => before = now,
        }
    }
    0
}

pub fn each_bit(mut bits: u64, mut act: impl FnMut(u32)) {
    while bits != 0 {
        act(bits.trailing_zeros());
        bits &= bits - 1;
    }
}
