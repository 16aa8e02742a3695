//! Handing out blocks and taking them back: a thread's small caches first, the arrays' stores then.
//!
//! Each step leaves a block in the cache, in the store, with the service, or nowhere, but never in
//! two places: a child by fork loses at most what the parent's other threads had in their hands.

use core::arch::asm;
use core::ffi::c_void;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::arrays::{self, Array, LIVE};
use crate::counts;
use crate::fault;
use crate::stack::SLOTS;
use crate::start;
use crate::store;
use crate::threads::{self, Shard};

/// All caches together keep at most one block in so many of an array, and its spare ones.
const PART: u32 = 8;
/// So many bytes of a block that waits are filled, and looked at when it has waited.
const MARKED: usize = 128;
const MARK: u8 = 0xdb;

/// A block of the array of this number out of the thread's cache; None where it is not so simple.
#[inline(always)]
pub fn take(number: usize) -> Option<NonNull<c_void>> {
    let shard = threads::shard()?;
    let address = shard.stacks.peek(number);
    let state = arrays::state_at(address);
    // Compared with a copy, so that what is stored is not what was loaded: a free right after this
    // would have to wait for it.
    if state.load(Relaxed) != afresh(number as u8) {
        return None;
    }
    shard.stacks.drop_top(number);
    state.store(number as u8 | LIVE, Relaxed);
    shard.count(number);
    // SAFETY: a block's address.
    Some(unsafe { NonNull::new_unchecked(ptr::with_exposed_provenance_mut(address)) })
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
    let Some(granule) = arrays::start_granule(address) else {
        return false;
    };
    let state = arrays::state(granule);
    let now = state.load(Relaxed);
    if now < LIVE {
        return false;
    }
    if let Some(shard) = threads::shard()
        && shard.stacks.push_live(now, address)
    {
        state.store(now & !LIVE, Relaxed);
        return true;
    }
    false
}

/// Whether this is a block that the service holds, of the array for `size`.
#[inline(always)]
pub fn fits(address: usize, size: usize) -> bool {
    arrays::start_granule(address).is_some_and(|granule| {
        let number = arrays::number_for(size);
        number != 0 && arrays::state(granule).load(Relaxed) == number as u8 | LIVE
    })
}

fn hand_out(shard: Option<&Shard>, number: usize, granule: u32) -> NonNull<c_void> {
    let state = arrays::state(granule as usize);
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
    if let Some(address) = shard.and_then(|shard| shard.stacks.pop(number)) {
        return Some(arrays::granule_at(address));
    }
    let Some(shard) = shard.filter(|shard| !shard.is_pending()) else {
        return one_from_store(number);
    };
    let array = arrays::array(number);
    let (room, part) = (room_in_cache(array), part_of(array, threads::active()));
    let word = shard.stacks.word(number);
    let start = (word.load(Relaxed), shard.first_bit());
    let mut places = shard.stacks.places(number).iter();
    let last = take_from_store(number, 1 + part / 2, start, |address| {
        if let Some(place) = places.next() {
            place.store(address, Relaxed);
        }
    });
    word.store(last, Relaxed);
    shard.stacks.set_count(number, SLOTS - places.len());
    set_room(shard, number, room);
    shard.stacks.pop(number).map(arrays::granule_at)
}

fn one_from_store(number: usize) -> Option<u32> {
    let array = arrays::array(number);
    let mut found = None;
    array.store.take(1, (0, 0), |word, bit| {
        let block = word * 64 + bit.trailing_zeros();
        found = Some(array.first + block * array.pitch);
    });
    found
}

/// As `Store::take`, with addresses; the word in which the last ones were.
fn take_from_store(
    number: usize,
    most: u32,
    start: (u32, u32),
    mut found: impl FnMut(usize),
) -> u32 {
    let array = arrays::array(number);
    let (first, size) = (arrays::address_of(array.first), array.block_size());
    let (taken, last) = array.store.take(most, start, |word, bits| {
        let first = first + word as usize * 64 * size;
        store::each_bit(bits, |bit| found(first + bit as usize * size));
    });
    if taken > 0 {
        counts::file().note_taken(number, array);
    }
    last
}

/// A thread begins to search at a place of its own, `part` of an array in 64ths: blocks that lie in
/// one cache line, and their states, are then one thread's.
pub fn spread(shard: &Shard, part: u32) {
    for (number, array) in arrays::all() {
        let word = array.store.word_count() * part / 64;
        shard.stacks.word(number).store(word, Relaxed);
    }
}

/// How many blocks of an array one thread may keep.
fn room_in_cache(array: &Array) -> u32 {
    match threads::active() {
        // Alone, a thread takes nothing from others; when others come it has to give (`begin`).
        1 => array.blocks.min(SLOTS as u32),
        threads => part_of(array, threads),
    }
}

/// How many that others may need it takes from the store at once. Also who is alone takes no more: what
/// it never frees it would keep from threads that come later.
fn part_of(array: &Array, threads: u32) -> u32 {
    let part = (array.blocks / PART + array.spare) / threads;
    part.min(SLOTS as u32)
}

/// Where blocks have to wait before they are used again, none goes straight into the cache.
fn set_room(shard: &Shard, number: usize, room: u32) {
    let room = if start::delay() > 0 { 0 } else { room };
    shard.stacks.set_room(number, room);
}

/// Puts a block into the cache, if there are fewer than `room`.
fn keep(shard: &Shard, number: usize, granule: u32, room: u32) -> bool {
    shard.stacks.set_room(number, room);
    let kept = shard.stacks.push(number, arrays::address_of(granule));
    set_room(shard, number, room);
    kept
}

/// Gives all blocks but the lowest `kept` to the store.
fn shrink(shard: &Shard, number: usize, kept: u32) {
    give_all(number, granules(shard.stacks.cut(number, kept as usize)));
}

fn granules(addresses: &[AtomicUsize]) -> impl Iterator<Item = u32> {
    let granule = |address: &AtomicUsize| arrays::granule_at(address.load(Relaxed));
    addresses.iter().map(granule)
}

/// As `give`, for a block that is the service's.
#[cold]
#[inline(never)]
pub fn give_slowly(granule: u32) {
    let state = arrays::state(granule as usize);
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
    let room = room_in_cache(arrays::array(number));
    shrink(shard, number, room / 2);
    if !keep(shard, number, granule, room) {
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
        shrink(shard, number, 0);
    }
}

/// Gives back what a fork left behind with a thread that is not in this process; whether it was
/// anything. That thread may have been about to hand a block out.
pub fn empty_orphan(shard: &Shard) -> bool {
    let mut found = false;
    let mut give = |number: usize, granule: u32| {
        if number != 0 && arrays::state(granule as usize).load(Relaxed) == number as u8 {
            give_to_store(number, granule);
            found = true;
        }
    };
    for (number, _) in arrays::all() {
        for granule in granules(shard.stacks.cut(number, 0)) {
            give(number, granule);
        }
    }
    shard.each_waiting(|granule| give(number_at(granule), granule));
    found
}

fn number_at(granule: u32) -> usize {
    (arrays::state(granule as usize).load(Relaxed) & !LIVE).into()
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
    let room = room_in_cache(arrays::array(number));
    if !keep(shard, number, granule, room) {
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
