//! How many blocks of each size are alive in this process, and the most that ever were at once.
//!
//! One counter for all threads would be bounced between their processors. So a thread that frees a
//! block keeps its place as a *spare* for its next one of that size, and does not touch the common
//! counter. What is alive is the counter less all spares. It can be above the peak only where the
//! counter is. Whoever frees a block there, or takes a place, adds up the spares: a peak is missed
//! only if it was gone before another processor could have seen it. (What nobody ever frees is
//! counted by the reader of the recording.)
//!
//! In each change of counter and spares together, spares are too many for a moment, never too few:
//! what is added up meanwhile is no peak that never was.

use core::sync::atomic::{
    AtomicI64, AtomicU8,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
    fence,
};

use crate::layout::{File, NUMBERS};
use crate::mode;
use crate::sizes;
use crate::thread;

/// Places that a thread takes at once, where they make no new peak.
const SOME: i64 = 32;
pub type Spares = [AtomicU8; NUMBERS];

#[repr(C, align(16))]
struct Slot {
    /// Blocks alive, and spares.
    taken: AtomicI64,
    peak: AtomicI64,
}

/// By number. Private memory: what a child inherits is what was alive at the fork.
static SLOTS: [Slot; NUMBERS] = [const { Slot::new() }; NUMBERS];

/// ABOVE where the counter is above the peak, else 0. What is looked at most often is so small that
/// it stays in the processor's cache.
static MARKS: [AtomicU8; NUMBERS] = [const { AtomicU8::new(0) }; NUMBERS];
/// At so many spares of one size, a thread gives half of them back.
const TOO_MANY: u8 = 128;
const ABOVE: u8 = TOO_MANY;

impl Slot {
    const fn new() -> Self {
        Slot {
            taken: AtomicI64::new(0),
            peak: AtomicI64::new(0),
        }
    }

    #[inline(always)]
    fn may_be_new_peak(&self) -> bool {
        self.excess() > 0
    }

    #[inline(always)]
    fn excess(&self) -> i64 {
        self.taken.load(Relaxed) - self.peak.load(Relaxed)
    }

    #[inline(always)]
    fn add(&self, change: i64) {
        if mode::is_alone() {
            self.taken.store(self.taken.load(Relaxed) + change, Relaxed);
        } else {
            self.taken.fetch_add(change, Relaxed);
        }
    }
}

/// A block of this size begins to live, in place of one of the thread's own spares; false if it has
/// none, and `enter` has to be called.
#[inline(always)]
pub fn enter_quickly(spare: &AtomicU8) -> bool {
    let kept = spare.load(Relaxed).checked_sub(1);
    if let Some(kept) = kept {
        spare.store(kept, Relaxed);
    }
    kept.is_some()
}

/// A block of this size begins to live: a place for it, and spares for some more.
#[inline(never)]
pub fn enter(number: usize, spare: &AtomicU8) {
    if enter_quickly(spare) {
        return;
    }
    let slot = &SLOTS[number];
    let some = (-slot.excess()).clamp(1, SOME) as u8;
    spare.fetch_add(some - 1, Release);
    slot.add(i64::from(some));
    look(number);
}

/// A block of this size is no more, and leaves a spare; false if `leave` has to be called.
#[inline(always)]
pub fn leave_quickly(number: usize, spare: &AtomicU8) -> bool {
    let kept = spare.load(Relaxed) + 1;
    let is_done = kept | MARKS[number].load(Relaxed) < TOO_MANY;
    if is_done {
        spare.store(kept, Relaxed);
    }
    is_done
}

/// A block of this size is no more.
#[inline(never)]
pub fn leave(number: usize, spare: &AtomicU8) {
    if leave_quickly(number, spare) {
        return;
    }
    look(number);
    let kept = spare.fetch_add(1, Release) + 1;
    let some = if kept >= TOO_MANY { kept / 2 } else { 0 };
    // No more than is needed for others not to look for spares: this thread may want them back.
    let excess = SLOTS[number].excess().clamp(0, i64::from(kept)) as u8;
    give_back_some(number, spare, excess.max(some));
}

/// As `enter`, for a thread that can keep no spares.
pub fn enter_alone(number: usize) {
    SLOTS[number].add(1);
    look(number);
}

/// As `leave`, for a thread that can keep no spares.
pub fn leave_alone(number: usize) {
    look(number);
    SLOTS[number].add(-1);
    mark(number);
}

fn give_back_some(number: usize, spare: &AtomicU8, some: u8) {
    if some == 0 {
        return;
    }
    SLOTS[number].add(-i64::from(some));
    spare.fetch_sub(some, Release);
    mark(number);
}

/// Looks for a new peak, where there may be one.
fn look(number: usize) {
    if SLOTS[number].may_be_new_peak() {
        raise(number);
    }
    mark(number);
}

/// Sees to it that the mark is there where it must be, whoever else changes the counter meanwhile.
fn mark(number: usize) {
    loop {
        let right = if SLOTS[number].may_be_new_peak() {
            ABOVE
        } else {
            0
        };
        if MARKS[number].load(Relaxed) == right {
            return;
        }
        MARKS[number].store(right, Relaxed);
        if !mode::is_alone() {
            fence(SeqCst);
        }
    }
}

fn raise(number: usize) {
    let slot = &SLOTS[number];
    if !mode::is_alone() {
        // Either this thread sees another one's last spare go, or that one sees this one's.
        fence(SeqCst);
    }
    let before = slot.taken.load(Acquire);
    let spares: i64 = thread::used()
        .map(|thread| i64::from(thread.spares[number].load(Acquire)))
        .sum();
    let alive = before.min(slot.taken.load(Acquire)) - spares;
    if alive > slot.peak.load(Relaxed)
        && alive > slot.peak.fetch_max(alive, Relaxed)
        && let Some(file) = mode::recording()
    {
        file.sizes[number].peak.fetch_max(alive as u64, Relaxed);
    }
}

/// Gives back all spares of a thread that ends, or that a fork left behind.
pub fn give_back(spares: &Spares) {
    for (number, spare) in spares.iter().enumerate().take(sizes::given_out()) {
        let kept = spare.load(Relaxed);
        if kept > 0 {
            give_back_some(number, spare, kept);
        }
    }
}

/// A child begins with what is alive; nothing was alive in it before.
pub fn begin_anew(file: &File) {
    let slots = SLOTS.iter().zip(&file.sizes).enumerate();
    for (number, (slot, size)) in slots.take(sizes::given_out()) {
        let alive = slot.taken.load(Relaxed);
        slot.peak.store(alive, Relaxed);
        size.peak.store(alive.max(0) as u64, Relaxed);
        mark(number);
    }
}
