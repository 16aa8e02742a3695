//! The file of statistics: how many blocks came from the arrays, and how many had to be relayed.
//!
//! One file for each program of the plan, shared by all its processes, so that its size is bounded.
//! Every thread has counters of its own in it and adds by an ordinary store. The file survives the
//! processes; reading it needs no word of theirs. `src/onejob/system/memory.py` reads it.

use core::mem::MaybeUninit;
use core::ptr;
use core::sync::atomic::{
    AtomicPtr, AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

use crate::arrays::Array;
use crate::plan::{MOST_ARRAYS, Plan};
use crate::sys::{self, Descriptor, PAGE_SIZE};
use crate::text::Text;

const MAGIC: u64 = u64::from_le_bytes(*b"OJMEMORY");
const VERSION: u32 = 1;
const SLOTS: usize = 256;
const SIZES: usize = 512;
/// Sizes that are looked at for one that is counted already.
const TRIES: usize = 16;
const PATH: usize = 2048;

/// By array's number.
pub type Counters = [AtomicU64; MOST_ARRAYS + 1];

#[repr(C)]
struct Header {
    magic: AtomicU64,
    version: AtomicU32,
    /// Bytes of the file.
    size: AtomicU32,
    identity: AtomicU64,
    arrays: AtomicU32,
    path_length: AtomicU32,
    /// Blocks of sizes that no array has, beyond those in `sizes`.
    other_sizes: AtomicU64,
    /// Blocks that came from the kernel.
    large: AtomicU64,
    /// Wrong frees, each of which stopped its process, or was let pass (unsafe-free).
    faults: AtomicU64,
    /// Threads that found no counters of their own: some of what they did is not counted.
    uncounted: AtomicU64,
    reserved: [AtomicU64; 120],
    /// Process ids; 0 for counters that nobody has. Their first ones are everybody's.
    owners: [AtomicU32; SLOTS],
    path: [AtomicU64; PATH / 8],
}

#[repr(C)]
struct ArrayCounts {
    block_size: AtomicU64,
    blocks: AtomicU64,
    /// Blocks that had to be relayed, for all were taken.
    exhausted: AtomicU64,
    /// The most blocks that were out of the store at once in one process.
    most_taken: AtomicU64,
}

#[repr(C)]
struct SizeCount {
    /// The requested size plus 1; 0 for none yet.
    key: AtomicU64,
    count: AtomicU64,
}

#[repr(C, align(4096))]
pub struct File {
    header: Header,
    arrays: [ArrayCounts; MOST_ARRAYS + 1],
    reserved: [AtomicU64; 256],
    sizes: [SizeCount; SIZES],
    counters: [Counters; SLOTS],
}

const FILE_SIZE: usize = size_of::<File>();
const _: () = assert!(size_of::<Header>() == PAGE_SIZE && FILE_SIZE == 147_456);

/// Counts where there is no file: they are never read, but then nobody has to ask.
// SAFETY: all its fields are integers, for which zero is a value.
static NO_FILE: File = unsafe { MaybeUninit::zeroed().assume_init() };
static PLACE: AtomicPtr<File> = AtomicPtr::new(ptr::null_mut());

#[inline(always)]
pub fn file() -> &'static File {
    // SAFETY: null, or a mapping of this size that stays; all bytes are valid atomics.
    unsafe { PLACE.load(Acquire).as_ref() }.unwrap_or(&NO_FILE)
}

/// Counts in the plan's folder from now on; false where that cannot be.
pub fn begin(plan: &Plan<'_>, program: &[u8]) -> bool {
    let Some(folder) = plan.counts else {
        return true;
    };
    let mut path = Text::new();
    path.append(folder).append(b"/");
    path.append_number(plan.section as u64).append(b".counts");
    let Some(place) = open(&path, plan.identity) else {
        return false;
    };
    PLACE.store(place, Release);
    file().describe(plan, program);
    file().forget_earlier_self();
    true
}

/// Maps the file; one that counts for another plan is replaced.
fn open(path: &Text, identity: u64) -> Option<*mut File> {
    let path = path.as_path()?;
    for _ in 0..2 {
        let file = Descriptor::to_change(path).ok()?;
        // Whatever else lies there is left as it is, and makes room.
        if !matches!(file.size()?, 0 | FILE_SIZE) {
            sys::remove(path);
            continue;
        }
        if !file.resize(FILE_SIZE) {
            return None;
        }
        let place = file.map_shared(FILE_SIZE)?.cast::<File>();
        let shared = size_of::<File>() - size_of::<[Counters; SLOTS]>() + size_of::<Counters>();
        // A full disk is an answer here, and would be SIGBUS later.
        let is_ready = sys::populate(place.cast(), shared).is_ok();
        // SAFETY: so large a mapping, of atomics.
        if is_ready && unsafe { &*place }.header.is_for(identity) {
            return Some(place);
        }
        // SAFETY: nobody refers to it.
        unsafe { sys::unmap(place.cast(), FILE_SIZE) };
        if !is_ready {
            return None;
        }
        sys::remove(path);
    }
    None
}

impl Header {
    fn is_for(&self, identity: u64) -> bool {
        let found = (self.magic.load(Acquire), self.identity.load(Relaxed));
        found.0 == 0 || found == (MAGIC, identity) && self.version.load(Relaxed) == VERSION
    }
}

impl File {
    /// All processes of the program write the same.
    fn describe(&self, plan: &Plan<'_>, program: &[u8]) {
        let header = &self.header;
        header.version.store(VERSION, Relaxed);
        header.size.store(FILE_SIZE as u32, Relaxed);
        header.identity.store(plan.identity, Relaxed);
        header.arrays.store(plan.rows().len() as u32, Relaxed);
        let length = program.len().min(PATH);
        header.path_length.store(length as u32, Relaxed);
        for (place, bytes) in header.path.iter().zip(program[..length].chunks(8)) {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            place.store(u64::from_le_bytes(word), Relaxed);
        }
        for (counts, row) in self.arrays[1..].iter().zip(plan.rows()) {
            counts.block_size.store(row.size as u64, Relaxed);
            counts.blocks.store(row.blocks as u64, Relaxed);
        }
        header.magic.store(MAGIC, Release);
    }

    /// What this process lent before it became another program, or the same one anew.
    fn forget_earlier_self(&self) {
        let mine = own_pid();
        for owner in &self.header.owners[1..] {
            let _ = owner.compare_exchange(mine, 0, Relaxed, Relaxed);
        }
    }

    /// A block of an array, by a thread that has no counters.
    #[cold]
    pub fn count_common(&self, number: usize) {
        self.counters[0][number & MOST_ARRAYS].fetch_add(1, Relaxed);
    }

    pub fn count_exhausted(&self, number: usize) {
        self.arrays[number & MOST_ARRAYS]
            .exhausted
            .fetch_add(1, Relaxed);
    }

    pub fn count_large(&self) {
        self.header.large.fetch_add(1, Relaxed);
    }

    pub fn count_fault(&self) {
        self.header.faults.fetch_add(1, Relaxed);
    }

    /// A block of a size that no array has.
    pub fn count_unexpected(&self, size: usize) {
        let key = size as u64 + 1;
        let first = (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 55) as usize;
        for number in first..first + TRIES {
            let place = &self.sizes[number % SIZES];
            let found = match place.key.compare_exchange(0, key, Relaxed, Relaxed) {
                Ok(_) => key,
                Err(found) => found,
            };
            if found == key {
                place.count.fetch_add(1, Relaxed);
                return;
            }
        }
        self.header.other_sizes.fetch_add(1, Relaxed);
    }

    /// After blocks were taken from an array's store.
    pub fn note_taken(&self, number: usize, array: &Array) {
        let taken = i64::from(array.blocks) - array.store.free();
        let most = &self.arrays[number & MOST_ARRAYS].most_taken;
        if taken > most.load(Relaxed) as i64 {
            most.fetch_max(taken as u64, Relaxed);
        }
    }

    fn lend(&self) -> &Counters {
        let mine = own_pid();
        let owners = || self.header.owners.iter().enumerate().skip(1);
        let free = || owners().find(|(_, owner)| replace(owner, 0, mine));
        // Nobody gave back those of a process that was killed.
        let left = || {
            owners().find(|(_, owner)| {
                let pid = owner.load(Relaxed);
                pid != 0 && sys::is_gone(pid) && replace(owner, pid, mine)
            })
        };
        let Some((number, _)) = free().or_else(left) else {
            self.header.uncounted.fetch_add(1, Relaxed);
            return &self.counters[0];
        };
        let counters = &self.counters[number];
        if sys::populate(counters.as_ptr().cast(), size_of::<Counters>()).is_err() {
            self.header.uncounted.fetch_add(1, Relaxed);
            return &self.counters[0];
        }
        counters
    }
}

fn replace(owner: &AtomicU32, from: u32, to: u32) -> bool {
    owner.compare_exchange(from, to, AcqRel, Relaxed).is_ok()
}

fn own_pid() -> u32 {
    // SAFETY: getpid takes nothing and cannot fail.
    unsafe { sys::getpid() as u32 }
}

/// Counters that only the calling thread adds to.
pub fn lend_counters() -> &'static Counters {
    file().lend()
}

/// What they count stays; another thread goes on from there.
pub fn give_back_counters(counters: *const Counters) {
    let file = file();
    let offset = counters.addr().wrapping_sub(file.counters.as_ptr().addr());
    let number = offset / size_of::<Counters>();
    if (1..SLOTS).contains(&number) {
        file.header.owners[number].store(0, Release);
    }
}
