//! The free blocks that a thread keeps: for each array a stack of their addresses.
//!
//! What malloc and free need of an array lies side by side for all arrays: where the top of its stack
//! is, and how high it may grow. Below the lowest block lies an address that is no block's: malloc
//! takes what is on top, and sees by its state that nothing was there.

use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering::Relaxed};

use crate::arrays::{self, LIVE};
use crate::plan::MOST_ARRAYS;

/// Blocks that a stack can have.
pub const SLOTS: usize = 127;

/// Fields are atomics for the compiler's sake; only the thread whose stacks they are changes them.
type Slot = AtomicUsize;

/// By the array's number. Number 0, which stands for no array, has no block at any time.
#[repr(C, align(64))]
pub struct Stacks {
    /// The top block's address; what lies in the top slot once more, so that nobody waits for that.
    blocks: [Slot; MOST_ARRAYS + 1],
    /// The top slot.
    tops: [AtomicPtr<Slot>; MOST_ARRAYS + 1],
    /// The highest slot that may be used; null for none.
    limits: [AtomicPtr<Slot>; MOST_ARRAYS + 1],
    /// Where in the array's store the search begins.
    words: [AtomicU32; MOST_ARRAYS + 1],
    /// The lowest slot of each has no block's address.
    rows: [[Slot; SLOTS + 1]; MOST_ARRAYS + 1],
}

/// Bytes before the rows.
pub const HEADS: usize = core::mem::offset_of!(Stacks, rows);

/// Bytes from the start that are used with so many arrays.
pub fn bytes(arrays: usize) -> usize {
    let unused = MOST_ARRAYS.saturating_sub(arrays);
    size_of::<Stacks>() - unused * size_of::<[Slot; SLOTS + 1]>()
}

/// What malloc and free need of one stack.
struct Head<'a> {
    block: &'a Slot,
    top: &'a AtomicPtr<Slot>,
    limit: &'a AtomicPtr<Slot>,
}

impl Stacks {
    pub const fn empty() -> Self {
        Stacks {
            blocks: [const { Slot::new(0) }; MOST_ARRAYS + 1],
            tops: [const { AtomicPtr::new(ptr::null_mut()) }; MOST_ARRAYS + 1],
            limits: [const { AtomicPtr::new(ptr::null_mut()) }; MOST_ARRAYS + 1],
            words: [const { AtomicU32::new(0) }; MOST_ARRAYS + 1],
            rows: [const { [const { Slot::new(0) }; SLOTS + 1] }; MOST_ARRAYS + 1],
        }
    }

    /// Before anything else. A stack gets its row when something is put there.
    pub fn begin(&self) {
        for (number, block) in self.blocks.iter().enumerate() {
            block.store(arrays::no_block(), Relaxed);
            self.tops[number].store(ptr::null_mut(), Relaxed);
            self.limits[number].store(ptr::null_mut(), Relaxed);
        }
    }

    /// The address on top: a block's, or none.
    #[inline(always)]
    pub fn peek(&self, number: usize) -> usize {
        // SAFETY: no array's number is above MOST_ARRAYS.
        unsafe { self.blocks.get_unchecked(number) }.load(Relaxed)
    }

    /// Takes the top block away, which there is.
    #[inline(always)]
    pub fn drop_top(&self, number: usize) {
        // SAFETY: no array's number is above MOST_ARRAYS; below a block is a slot.
        unsafe {
            let top = self.tops.get_unchecked(number);
            let below = top.load(Relaxed).wrapping_sub(1);
            let block = self.blocks.get_unchecked(number);
            block.store((*below).load(Relaxed), Relaxed);
            top.store(below, Relaxed);
        }
    }

    /// Puts on top a block whose state is this, with LIVE, unless the stack is as high as it may be.
    #[inline(always)]
    pub fn push_live(&self, state: u8, address: usize) -> bool {
        // In one step, because what is freed waits for the state.
        let at = usize::from(state);
        let blocks = self.blocks.as_ptr().wrapping_sub(LIVE.into());
        let tops = self.tops.as_ptr().wrapping_sub(LIVE.into());
        let limits = self.limits.as_ptr().wrapping_sub(LIVE.into());
        // SAFETY: without LIVE, the state is the number of an array.
        let head = unsafe {
            Head {
                block: &*blocks.wrapping_add(at),
                top: &*tops.wrapping_add(at),
                limit: &*limits.wrapping_add(at),
            }
        };
        head.put(address)
    }

    pub fn push(&self, number: usize, address: usize) -> bool {
        let (block, top) = (&self.blocks[number], &self.tops[number]);
        let limit = &self.limits[number];
        Head { block, top, limit }.put(address)
    }

    /// The top block's address, taken off.
    pub fn pop(&self, number: usize) -> Option<usize> {
        let address = self.peek(number);
        if address == arrays::no_block() {
            return None;
        }
        self.drop_top(number);
        Some(address)
    }

    /// Where the blocks of an empty stack will be, from below.
    pub fn places(&self, number: usize) -> &[Slot; SLOTS] {
        // SAFETY: the lowest slot is left out.
        unsafe { &*self.rows[number].as_ptr().add(1).cast() }
    }

    /// So many blocks lie there, from below.
    pub fn set_count(&self, number: usize, count: usize) {
        let row = &self.rows[number];
        row[0].store(arrays::no_block(), Relaxed);
        self.blocks[number].store(row[count].load(Relaxed), Relaxed);
        self.tops[number].store(place(row, count), Relaxed);
    }

    /// From now on, no more blocks than this.
    pub fn set_room(&self, number: usize, room: u32) {
        let row = &self.rows[number];
        if self.tops[number].load(Relaxed).is_null() {
            self.set_count(number, 0);
        }
        let limit = place(row, SLOTS.min(room as usize));
        self.limits[number].store(limit, Relaxed);
    }

    /// Any thread may do this to those of another: which sees it sooner or later.
    pub fn end_room(&self) {
        for limit in &self.limits {
            limit.store(ptr::null_mut(), Relaxed);
        }
    }

    /// Takes all but the lowest ones away; these are what is left then, above.
    pub fn cut(&self, number: usize, kept: usize) -> &[Slot] {
        let top = self.tops[number].load(Relaxed);
        if top.is_null() {
            return &[];
        }
        let row = &self.rows[number];
        let count = ((top.addr() - row.as_ptr().addr()) / size_of::<Slot>()).min(SLOTS);
        let kept = kept.min(count);
        self.tops[number].store(place(row, kept), Relaxed);
        self.blocks[number].store(row[kept].load(Relaxed), Relaxed);
        &row[kept + 1..=count]
    }

    pub fn word(&self, number: usize) -> &AtomicU32 {
        &self.words[number]
    }
}

impl Head<'_> {
    #[inline(always)]
    fn put(&self, address: usize) -> bool {
        let top = self.top.load(Relaxed);
        if top.addr() >= self.limit.load(Relaxed).addr() {
            return false;
        }
        let above = top.wrapping_add(1);
        // SAFETY: not above the limit, which is in the row.
        unsafe { &*above }.store(address, Relaxed);
        self.block.store(address, Relaxed);
        self.top.store(above, Relaxed);
        true
    }
}

fn place(row: &[Slot], index: usize) -> *mut Slot {
    ptr::from_ref(&row[index]).cast_mut()
}
