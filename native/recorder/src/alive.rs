//! How many blocks of each size are alive in this process, and the most that ever were at once.
//!
//! One counter for all threads would be bounced between their processors. So a thread that frees a
//! block may keep its place as a *spare* for its next one of that size, and does not touch the
//! common counter. What is alive is the counter less all spares. It can be above the peak only
//! where the counter is, and whoever finds it there adds up the spares: a peak is missed only if it
//! was gone before another processor could have seen it.

use core::sync::atomic::{
    AtomicI64, AtomicU8,
    Ordering::{Relaxed, SeqCst},
    fence,
};

use crate::layout::{File, NUMBERS};
use crate::mode;
use crate::sizes;
use crate::thread;

/// Spares of one size that one thread may keep.
const MOST_SPARES: u8 = 64;
pub type Spares = [AtomicU8; NUMBERS];

#[repr(C, align(16))]
struct Slot {
    /// Blocks alive, and spares.
    taken: AtomicI64,
    peak: AtomicI64,
}

/// By number. Private memory: what a child inherits is what was alive at the fork.
static SLOTS: [Slot; NUMBERS] = [const { Slot::new() }; NUMBERS];

impl Slot {
    const fn new() -> Self {
        Slot {
            taken: AtomicI64::new(0),
            peak: AtomicI64::new(0),
        }
    }

    #[inline(always)]
    fn may_be_new_peak(&self) -> bool {
        self.taken.load(Relaxed) > self.peak.load(Relaxed)
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

/// A block of this size begins to live. Without `spares`, the thread can keep none.
#[inline(always)]
pub fn enter(file: &File, number: usize, spares: Option<&Spares>) {
    let slot = &SLOTS[number];
    match spares.map(|spares| (&spares[number], spares[number].load(Relaxed))) {
        Some((spare, kept)) if kept > 0 => spare.store(kept - 1, Relaxed),
        _ => slot.add(1),
    }
    if slot.may_be_new_peak() {
        raise(file, number);
    }
}

/// A block of this size is no more.
#[inline(always)]
pub fn leave(file: &File, number: usize, spares: Option<&Spares>) {
    let slot = &SLOTS[number];
    if slot.may_be_new_peak() {
        raise(file, number);
        return slot.add(-1);
    }
    match spares.map(|spares| (&spares[number], spares[number].load(Relaxed))) {
        Some((spare, kept)) if kept < MOST_SPARES => spare.store(kept + 1, Relaxed),
        _ => slot.add(-1),
    }
}

#[cold]
#[inline(never)]
fn raise(file: &File, number: usize) {
    // Either this thread sees another one's last spare go, or that one sees this one's.
    fence(SeqCst);
    let spares: i64 = thread::used()
        .map(|thread| i64::from(thread.spares[number].load(Relaxed)))
        .sum();
    let alive = SLOTS[number].taken.load(Relaxed) - spares;
    if alive > SLOTS[number].peak.fetch_max(alive, Relaxed) {
        file.sizes[number].peak.fetch_max(alive as u64, Relaxed);
    }
}

/// Gives back all spares of a thread that ends, or that a fork left behind.
pub fn give_back(spares: &Spares) {
    for (slot, spare) in SLOTS.iter().zip(spares).take(sizes::given_out()) {
        let kept = spare.swap(0, Relaxed);
        if kept > 0 {
            slot.add(-i64::from(kept));
        }
    }
}

/// A child begins with what is alive; nothing was alive in it before.
pub fn begin_anew(file: &File) {
    for (slot, size) in SLOTS.iter().zip(&file.sizes).take(sizes::given_out()) {
        let alive = slot.taken.load(Relaxed);
        slot.peak.store(alive, Relaxed);
        size.peak.store(alive.max(0) as u64, Relaxed);
    }
}
