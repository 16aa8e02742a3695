//! Handing out blocks and taking them back: a thread's small caches first, the arrays' stores then.
//!
//! Each step leaves a block in the cache, in the store, with the service, or nowhere, but never in
//! two places: a child by fork loses at most what the parent's other threads had in their hands.

use core::arch::asm;
use core::ffi::c_void;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::arrays::{self, Array, LIVE};
use crate::counts;
use crate::fault;
use crate::start;
use crate::store;
use crate::threads::{self, Shard};

const SLOTS: usize = 123;
/// All caches together keep at most one block in so many of an array, as long as they are many.
const PART: u32 = 8;
/// What a plan adds for caches to each array, in blocks and in bytes at most.
const RESERVE: u32 = 8;
const RESERVE_BYTES: u32 = 4096;
/// So many bytes of a block that waits are filled, and looked at when it has waited.
const MARKED: usize = 128;
const MARK: u8 = 0xdb;

/// The free blocks of one array that one thread keeps; the last one is used first.
///
/// `top` is `granules[count]` once more: so the next block is known without waiting for `count`.
#[repr(C, align(64))]
pub struct Cache {
    /// 0 where there is none: no block begins at granule 0.
    top: AtomicU32,
    count: AtomicU32,
    /// No more blocks than this.
    room: AtomicU32,
    /// Where in the store the search begins.
    word: AtomicU32,
    /// The first one is 0, and stays.
    granules: [AtomicU32; SLOTS + 1],
}

impl Cache {
    pub const fn empty() -> Self {
        Cache {
            top: AtomicU32::new(0),
            count: AtomicU32::new(0),
            room: AtomicU32::new(0),
            word: AtomicU32::new(0),
            granules: [const { AtomicU32::new(0) }; SLOTS + 1],
        }
    }

    /// The block that would be taken next.
    #[inline(always)]
    fn top(&self) -> Option<u32> {
        Some(self.top.load(Relaxed)).filter(|&granule| granule != 0)
    }

    /// Takes the top one, which there is.
    #[inline(always)]
    fn drop_top(&self) {
        let count = self.count.load(Relaxed).wrapping_sub(1);
        // SAFETY: where there is a top one, the count is from 1 to SLOTS.
        let below = unsafe { self.granules.get_unchecked(count as usize) };
        self.top.store(below.load(Relaxed), Relaxed);
        self.count.store(count, Relaxed);
    }

    /// Puts one on top, if there are fewer than `room`, at most SLOTS.
    #[inline(always)]
    fn push(&self, granule: u32, room: u32) -> bool {
        let count = self.count.load(Relaxed);
        if count >= room {
            return false;
        }
        // SAFETY: the count is below SLOTS.
        let place = unsafe { self.granules.get_unchecked(count as usize + 1) };
        place.store(granule, Relaxed);
        self.top.store(granule, Relaxed);
        self.count.store(count + 1, Relaxed);
        true
    }

    fn len(&self) -> usize {
        (self.count.load(Relaxed) as usize).min(SLOTS)
    }

    /// Takes all but the lowest ones away; these are what is left then in `granules`, above.
    fn cut(&self, kept: usize) -> &[AtomicU32] {
        let count = self.len();
        let kept = kept.min(count);
        self.count.store(kept as u32, Relaxed);
        self.top.store(self.granules[kept].load(Relaxed), Relaxed);
        &self.granules[kept + 1..=count]
    }
}

/// A block of the array of this number out of the thread's cache; None where it is not so simple.
#[inline(always)]
pub fn take(number: usize) -> Option<NonNull<c_void>> {
    // There is nothing in the cache of number 0, which stands for no array.
    let shard = threads::shard()?;
    let cache = shard.cache(number);
    let granule = cache.top()?;
    let state = arrays::state(granule);
    // Compared with a copy, so that what is stored is not what was loaded: a free right after this
    // would have to wait for it.
    if state.load(Relaxed) != afresh(number as u8) {
        return None;
    }
    cache.drop_top();
    state.store(number as u8 | LIVE, Relaxed);
    shard.count(number);
    Some(arrays::block_at(granule))
}

/// The same value, which the compiler takes for another one.
#[inline(always)]
fn afresh(mut value: u8) -> u8 {
    // SAFETY: no instruction.
    unsafe {
        asm!("/* {0} */", inout(reg_byte) value, options(pure, nomem, nostack, preserves_flags))
    };
    value
}

/// Gives a block back to the thread's cache; false where it does not go so simply.
#[inline(always)]
pub fn give(address: usize) -> bool {
    let Some(granule) = arrays::granule_of(address) else {
        return false;
    };
    let state = arrays::state(granule);
    let now = state.load(Relaxed);
    if now < LIVE || !address.is_multiple_of(16) {
        return false;
    }
    if let Some(shard) = threads::shard()
        && let cache = shard.cache_of_live(now)
        && cache.push(granule, cache.room.load(Relaxed))
    {
        state.store(now & !LIVE, Relaxed);
        return true;
    }
    false
}

fn hand_out(shard: Option<&Shard>, number: usize, granule: u32) -> NonNull<c_void> {
    let state = arrays::state(granule);
    if state.load(Relaxed) != number as u8 {
        fault::freed_twice(granule);
    }
    state.store(number as u8 | LIVE, Relaxed);
    match shard {
        Some(shard) => shard.count(number),
        None => counts::file().count_common(number),
    }
    arrays::block_at(granule)
}

/// As `take`, from wherever there is a block; None when the array is used up.
#[cold]
#[inline(never)]
pub fn take_slowly(number: usize) -> Option<NonNull<c_void>> {
    let shard = threads::shard_or_begin();
    let granule = from_store(shard, number).or_else(|| {
        let found = threads::reclaim() | shard.is_some_and(end_waiting);
        found.then(|| from_store(shard, number)).flatten()
    });
    granule.map(|granule| hand_out(shard, number, granule))
}

/// One block, and as many more as the thread may keep half of.
fn from_store(shard: Option<&Shard>, number: usize) -> Option<u32> {
    if let Some(cache) = shard.map(|shard| shard.cache(number))
        && let Some(granule) = cache.top()
    {
        cache.drop_top();
        return Some(granule);
    }
    let array = arrays::array(number);
    let room = room_in_cache(array);
    let cache = shard.map(|shard| shard.cache(number));
    let word = cache.map_or(0, |cache| cache.word.load(Relaxed));
    let start = (word, shard.map_or(0, Shard::first_bit));
    let most = cache.map_or(1, |_| 1 + room / 2);
    let mut first = None;
    let mut kept = 0;
    // The cache is empty: it is filled from below.
    let (taken, last) = array.store.take(most, start, |block| {
        let granule = array.first + block * array.pitch;
        match cache {
            Some(cache) if first.is_some() => {
                kept += 1;
                cache.granules[kept].store(granule, Relaxed);
            }
            _ => first = Some(granule),
        }
    });
    if taken > 0 {
        counts::file().note_taken(number, array);
    }
    if let Some(cache) = cache {
        cache.count.store(kept as u32, Relaxed);
        cache.top.store(cache.granules[kept].load(Relaxed), Relaxed);
        cache.set_room(room);
        cache.word.store(last, Relaxed);
    }
    first
}

/// A thread begins to search at a place of its own, `part` of an array in 64ths: blocks that lie in
/// one cache line, and their states, are then one thread's.
pub fn spread(shard: &Shard, part: u32) {
    for (number, array) in arrays::all() {
        let word = array.store.word_count() * part / 64;
        shard.cache(number).word.store(word, Relaxed);
    }
}

/// How many blocks of an array one thread may keep.
fn room_in_cache(array: &Array) -> u32 {
    let reserve = RESERVE.min(RESERVE_BYTES / array.block_size() as u32);
    let threads = threads::active();
    let part = (array.blocks / PART + reserve) / threads;
    // Alone, a thread takes nothing from others: it may always keep one.
    let least = u32::from(threads == 1);
    part.clamp(least, SLOTS as u32)
}

impl Cache {
    /// Where blocks have to wait before they are used again, none goes straight into the cache.
    fn set_room(&self, room: u32) {
        let room = if start::delay() > 0 { 0 } else { room };
        self.room.store(room, Relaxed);
    }

    /// Gives all blocks but the lowest `kept` to the store.
    fn shrink(&self, number: usize, kept: u32) {
        let given = self.cut(kept as usize).iter();
        give_all(number, given.map(|granule| granule.load(Relaxed)));
    }
}

/// As `give`, for a block that is the service's.
#[cold]
#[inline(never)]
pub fn give_slowly(granule: u32) {
    let state = arrays::state(granule);
    let number = state.load(Relaxed) & !LIVE;
    state.store(number, Relaxed);
    let shard = threads::shard_or_begin();
    match shard {
        Some(shard) if start::delay() > 0 => wait(shard, granule),
        Some(shard) => keep_or_give(shard, number.into(), granule),
        None => give_to_store(number.into(), granule),
    }
}

fn keep_or_give(shard: &Shard, number: usize, granule: u32) {
    let cache = shard.cache(number);
    let room = room_in_cache(arrays::array(number));
    cache.shrink(number, room / 2);
    cache.set_room(room);
    if !cache.push(granule, room) {
        give_to_store(number, granule);
    }
}

fn give_to_store(number: usize, granule: u32) {
    give_all(number, core::iter::once(granule));
}

/// Blocks that lie in the same word of the bitmap one after the other go back in one operation.
fn give_all(number: usize, granules: impl Iterator<Item = u32>) {
    let array = arrays::array(number);
    let mut word = 0;
    let mut bits = 0;
    for granule in granules {
        let block = array.block_number(granule);
        if block / 64 != word {
            give_bits(array, word, bits);
            (word, bits) = (block / 64, 0);
        }
        bits |= 1 << (block % 64);
    }
    give_bits(array, word, bits);
}

fn give_bits(array: &Array, word: u32, bits: u64) {
    if bits == 0 {
        return;
    }
    store::each_bit(array.store.give(word, bits), |bit| {
        fault::freed_twice(array.first + (word * 64 + bit) * array.pitch);
    });
}

/// Gives back all that a thread has which ends.
pub fn empty(shard: &Shard) {
    end_waiting(shard);
    for (number, _) in arrays::all() {
        shard.cache(number).shrink(number, 0);
    }
}

/// Gives back what a fork left behind with a thread that is not in this process; whether it was
/// anything. That thread may have been about to hand a block out.
pub fn empty_orphan(shard: &Shard) -> bool {
    let mut found = false;
    let mut give = |number: usize, granule: u32| {
        if number != 0 && arrays::state(granule).load(Relaxed) == number as u8 {
            give_to_store(number, granule);
            found = true;
        }
    };
    for (number, _) in arrays::all() {
        for granule in shard.cache(number).cut(0) {
            give(number, granule.load(Relaxed));
        }
    }
    shard.each_waiting(|granule| give(number_at(granule), granule));
    found
}

fn number_at(granule: u32) -> usize {
    (arrays::state(granule).load(Relaxed) & !LIVE).into()
}

/// A freed block waits; the one that has waited longest is used again. Its first bytes are marked,
/// so that somebody who still writes to it is found out then.
fn wait(shard: &Shard, granule: u32) {
    let marked = marked_bytes(granule);
    // SAFETY: so many bytes of a block that is nobody's.
    unsafe { bytes_of(granule).write_bytes(MARK, marked) };
    if let Some(oldest) = shard.wait(granule, start::delay()) {
        end_wait(shard, oldest);
    }
}

fn end_waiting(shard: &Shard) -> bool {
    let mut found = false;
    shard.each_waiting(|granule| {
        found = true;
        give_unmarked(granule);
    });
    found
}

fn end_wait(shard: &Shard, granule: u32) {
    check_mark(granule);
    let number = number_at(granule);
    let cache = shard.cache(number);
    let room = room_in_cache(arrays::array(number));
    if !cache.push(granule, room) {
        give_to_store(number, granule);
    }
}

fn give_unmarked(granule: u32) {
    check_mark(granule);
    give_to_store(number_at(granule), granule);
}

fn check_mark(granule: u32) {
    let block = bytes_of(granule);
    // SAFETY: so many bytes of a block that is nobody's.
    let is_whole =
        (0..marked_bytes(granule)).all(|offset| unsafe { block.add(offset).read() } == MARK);
    if !is_whole {
        fault::changed_after_free(granule);
    }
}

fn marked_bytes(granule: u32) -> usize {
    arrays::array(number_at(granule)).block_size().min(MARKED)
}

fn bytes_of(granule: u32) -> *mut u8 {
    arrays::block_at(granule).cast().as_ptr()
}
