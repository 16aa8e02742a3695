//! The arrays of blocks, and what is known of each place in them.
//!
//! A table indexed by the requested size, in granules, gives the array's number: a perfect hash, for
//! the sizes are known when the plan is made. A second table has one byte for each granule of the
//! arrays: 0, or at the start of a block its array's number, with LIVE while the service holds it. So
//! one load tells whose a freed block is, and whether it is one. A byte and not a bit, because a
//! byte is stored without locking the bus.

use core::cell::UnsafeCell;
use core::ffi::{c_int, c_void};
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

use crate::plan::{GRANULE, LARGEST, MOST_ARRAYS, Row};
use crate::store::Store;
use crate::sys::{self, PAGE_SIZE};

pub const LIVE: u8 = 0x80;
/// No block begins at granule 0: a state that is no array's.
static NO_BLOCK: AtomicU8 = AtomicU8::new(NOT_A_BLOCK);
const NOT_A_BLOCK: u8 = LIVE - 1;
const START: usize = GRANULE;
const HUGE_PAGE: usize = 2 << 20;
/// Bytes of a cache line.
const LINE: usize = 64;

/// Blocks are aligned to the largest power of two that divides their size, up to this.
const MOST_ALIGNMENT: usize = PAGE_SIZE;

/// One array. All but its store stays as it was laid out. Threads that use different arrays do not
/// meet in a cache line.
#[repr(align(64))]
pub struct Array {
    /// The granule of the first block.
    pub first: u32,
    /// Granules of a block.
    pub pitch: u32,
    pub blocks: u32,
    /// Those of them that are for the caches of threads.
    pub spare: u32,
    /// 2^64 / pitch, rounded up: to divide by multiplication.
    reciprocal: u64,
    pub store: Store,
}

#[repr(C)]
struct Heap {
    /// Address of granule 0.
    base: usize,
    /// Granules of all arrays; 0 where there are none, so that no address lies in them.
    span: usize,
    states: *const AtomicU8,
    /// What would be the state of address 0.
    states_from_0: *const AtomicU8,
    count: usize,
    arrays: [Array; MOST_ARRAYS + 1],
    /// The array's number by the size in granules; 0 for none.
    by_size: [u8; LARGEST / GRANULE + 1],
}

#[repr(align(64))]
struct Static(UnsafeCell<Heap>);

// SAFETY: written by `lay_out` alone, while the process has one thread and no block; what changes
// afterwards is atomic.
unsafe impl Sync for Static {}

static HEAP: Static = Static(UnsafeCell::new(Heap {
    base: 0,
    span: 0,
    states: &raw const NO_BLOCK,
    states_from_0: &raw const NO_BLOCK,
    count: 0,
    arrays: [const { Array::empty() }; MOST_ARRAYS + 1],
    by_size: [0; LARGEST / GRANULE + 1],
}));

impl Array {
    const fn empty() -> Self {
        Array {
            first: 0,
            pitch: 1,
            blocks: 0,
            spare: 0,
            reciprocal: 0,
            store: Store::empty(),
        }
    }

    /// The number of the block that begins at this granule of the array.
    pub fn block_number(&self, granule: u32) -> u32 {
        let offset = granule - self.first;
        if self.pitch == 1 {
            return offset;
        }
        // Exact, as the error is below 2^32 / 2^64 of a block.
        ((u128::from(offset) * u128::from(self.reciprocal)) >> 64) as u32
    }

    pub fn block_size(&self) -> usize {
        self.pitch as usize * GRANULE
    }

    fn end(&self) -> u32 {
        self.first + self.pitch * self.blocks
    }
}

#[inline(always)]
fn heap() -> &'static Heap {
    // SAFETY: see Static.
    unsafe { &*HEAP.0.get() }
}

/// The arrays with their numbers.
pub fn all() -> impl Iterator<Item = (usize, &'static Array)> {
    let used = 1..=heap().count;
    used.map(|number| (number, &heap().arrays[number]))
}

/// How many there are.
pub fn count() -> usize {
    heap().count
}

#[inline(always)]
pub fn array(number: usize) -> &'static Array {
    // The mask is for the compiler alone: no number is above it.
    &heap().arrays[number & MOST_ARRAYS]
}

/// The number of the array for a request; 0 for none.
#[inline(always)]
pub fn number_for(size: usize) -> usize {
    if size > LARGEST {
        return 0;
    }
    number_within(size)
}

/// As `number_for`, of a size up to LARGEST.
#[inline(always)]
pub fn number_within(size: usize) -> usize {
    let granules = size.div_ceil(GRANULE);
    // SAFETY: there is an entry for each size up to LARGEST.
    let number = unsafe { heap().by_size.get_unchecked(granules) };
    (*number).into()
}

/// The granule of an address in the arrays, whether or not it is its start.
pub fn granule_of(address: usize) -> Option<u32> {
    let granule = address.wrapping_sub(heap().base) / GRANULE;
    (granule < heap().span).then_some(granule as u32)
}

/// The granule that begins at an address in the arrays.
#[inline(always)]
pub fn start_granule(address: usize) -> Option<usize> {
    // The low bits become the high ones: a misaligned address is beyond all arrays.
    let offset = address.wrapping_sub(heap().base);
    let granule = offset.rotate_right(GRANULE.trailing_zeros());
    (granule < heap().span).then_some(granule)
}

/// The granule of an address that lies in the arrays.
#[inline(always)]
pub fn granule_at(address: usize) -> u32 {
    (address.wrapping_sub(heap().base) / GRANULE) as u32
}

/// An address that is no block's.
#[inline(always)]
pub fn no_block() -> usize {
    heap().base
}

pub fn address_of(granule: u32) -> usize {
    heap().base + granule as usize * GRANULE
}

#[inline(always)]
pub fn block_at(granule: u32) -> NonNull<c_void> {
    let block = ptr::with_exposed_provenance_mut(address_of(granule));
    // SAFETY: nothing is mapped at 0.
    unsafe { NonNull::new_unchecked(block) }
}

/// What is known of a granule, which lies in the arrays.
#[inline(always)]
pub fn state(granule: usize) -> &'static AtomicU8 {
    // SAFETY: there is one byte for each granule of the arrays.
    unsafe { &*heap().states.add(granule) }
}

/// As `state`, of a block's address, or of `no_block`.
#[inline(always)]
pub fn state_at(address: usize) -> &'static AtomicU8 {
    // SAFETY: as above; for no block, there is the byte of granule 0.
    unsafe { &*heap().states_from_0.wrapping_add(address / GRANULE) }
}

/// The array that has this granule, and the start of the block there; for messages.
pub fn block_around(granule: u32) -> Option<(&'static Array, u32)> {
    let (_, array) = all().find(|(_, array)| (array.first..array.end()).contains(&granule))?;
    let inside = (granule - array.first) % array.pitch;
    Some((array, granule - inside))
}

/// Bytes that all parts take.
pub struct Layout {
    blocks: usize,
    states: usize,
    cells: usize,
}

impl Layout {
    pub fn of(rows: &[Row]) -> Self {
        let end = rows.iter().fold(START, |end, row| {
            place(end, row.size) + row.size * row.blocks
        });
        let blocks = end.next_multiple_of(PAGE_SIZE);
        let cells: usize = rows.iter().map(|row| cells_for(row.blocks) * 8).sum();
        Layout {
            blocks,
            states: (blocks / GRANULE).next_multiple_of(PAGE_SIZE),
            cells: cells.next_multiple_of(PAGE_SIZE),
        }
    }

    pub fn bytes(&self) -> usize {
        self.blocks + self.states + self.cells
    }
}

/// Whole cache lines.
fn cells_for(blocks: usize) -> usize {
    Store::cells_for(blocks).next_multiple_of(8)
}

/// Where an array may begin behind `end`. Neither blocks of different arrays nor their states share a
/// cache line: threads that use different ones do not meet there.
fn place(end: usize, block_size: usize) -> usize {
    let alignment = (1 << block_size.trailing_zeros()).min(MOST_ALIGNMENT);
    end.next_multiple_of(alignment.max(GRANULE * LINE))
}

/// Maps all arrays and gets their pages, with a page before and behind the blocks that nobody may
/// touch; the error is an errno. The process has one thread, and no block yet.
pub fn lay_out(rows: &[Row], huge_pages: bool) -> Result<(), c_int> {
    let layout = Layout::of(rows);
    // The blocks begin at a huge page, so that these can be had.
    let slack = if huge_pages { HUGE_PAGE } else { 0 };
    let place = sys::map_counted(layout.bytes() + slack + 2 * PAGE_SIZE)?;
    let parts = place.addr();
    let guard = parts + layout.states + layout.cells;
    let base = if huge_pages {
        (guard + PAGE_SIZE).next_multiple_of(HUGE_PAGE)
    } else {
        guard + PAGE_SIZE
    };
    let at = |address: usize| place.with_addr(address);
    if huge_pages {
        sys::prefer_huge_pages(at(base), layout.blocks);
    }
    sys::populate(place, layout.states + layout.cells)?;
    sys::populate(at(base), layout.blocks)?;
    // SAFETY: pages of the mapping above that hold neither blocks nor what is known of them.
    unsafe {
        sys::forbid(at(guard), PAGE_SIZE);
        sys::forbid(at(base + layout.blocks), PAGE_SIZE);
    }
    place.expose_provenance();
    // SAFETY: nobody else looks at it yet.
    let heap = unsafe { &mut *HEAP.0.get() };
    heap.states = at(parts).cast::<AtomicU8>().cast_const();
    heap.states_from_0 = heap.states.wrapping_sub(base / GRANULE);
    heap.base = base;
    heap.span = layout.blocks / GRANULE;
    heap.count = rows.len();
    fill(heap, rows, at(parts + layout.states).cast::<AtomicU64>());
    Ok(())
}

fn fill(heap: &mut Heap, rows: &[Row], mut cells: *const AtomicU64) {
    // SAFETY: the first byte of the states.
    unsafe { &*heap.states }.store(NOT_A_BLOCK, Relaxed);
    let mut end = START;
    for (number, row) in (1..).zip(rows) {
        let first = place(end, row.size);
        end = first + row.size * row.blocks;
        let array = &mut heap.arrays[number];
        array.first = (first / GRANULE) as u32;
        array.pitch = (row.size / GRANULE) as u32;
        array.blocks = row.blocks as u32;
        array.spare = row.spare as u32;
        array.reciprocal = (u64::MAX / u64::from(array.pitch)).wrapping_add(1);
        for block in 0..array.blocks {
            // SAFETY: one byte for each granule; the block lies in the span.
            let state = unsafe {
                &*heap
                    .states
                    .add((array.first + block * array.pitch) as usize)
            };
            state.store(number as u8, Relaxed);
        }
        // SAFETY: the layout has so many cells for this array, zero at first.
        unsafe {
            array.store = Store::new(cells, array.blocks);
            cells = cells.add(cells_for(row.blocks));
        }
        let sizes = row.smallest.div_ceil(GRANULE)..=row.size / GRANULE;
        heap.by_size[sizes].fill(number as u8);
    }
    // malloc(0) is a block, too: the least one.
    heap.by_size[0] = heap.by_size[1];
}
