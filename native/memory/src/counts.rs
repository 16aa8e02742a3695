//! The file of statistics: blocks from the arrays, relayed ones, and paths that were asked for in vain.
//!
//! One file for each program of the plan, shared by all its processes, so that its size is bounded.
//! Every thread has counters of its own in it and adds by an ordinary store. The file survives the
//! processes; reading it needs no word of theirs. `src/onejob/system/memory.py` reads it.

use core::ffi::c_int;
use core::mem::MaybeUninit;
use core::ptr;
use core::sync::atomic::{
    AtomicPtr, AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

use crate::arrays::Array;
use crate::noted::{self, Folders, NotedPaths};
use crate::plan::{MOST_ARRAYS, Plan};
use crate::raw;
use crate::sys::{self, Descriptor, PAGE_SIZE};
use crate::text::Text;
use crate::unexpected::{How, Name};

const MAGIC: u64 = u64::from_le_bytes(*b"OJMEMORY");
const VERSION: u32 = 2;
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
    /// Threads that found no counters of their own, and share some: a little may be missing.
    uncounted: AtomicU64,
    /// Paths that were asked for in vain, beyond those in `paths`; each time counts.
    other_paths: AtomicU64,
    reserved: [AtomicU64; 119],
    /// LENT, or 0 for counters that nobody has. Their first ones are everybody's.
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
    folders: Folders,
    sizes: [SizeCount; SIZES],
    paths: NotedPaths,
    counters: [Counters; SLOTS],
}

const FILE_SIZE: usize = size_of::<File>();
const _: () = assert!(size_of::<Header>() == PAGE_SIZE && FILE_SIZE == 180_224);

/// Counts where there is no file: they are never read, but then nobody has to ask.
// SAFETY: all its fields are integers, for which zero is a value.
static NO_FILE: File = unsafe { MaybeUninit::zeroed().assume_init() };
static PLACE: AtomicPtr<File> = AtomicPtr::new(ptr::null_mut());
const LENT: u32 = 1;

#[inline(always)]
pub fn file() -> &'static File {
    // SAFETY: null, or a mapping of this size that stays; all bytes are valid atomics.
    unsafe { PLACE.load(Acquire).as_ref() }.unwrap_or(&NO_FILE)
}

/// Whether anybody will read what is counted.
pub fn are_kept() -> bool {
    !PLACE.load(Relaxed).is_null()
}

/// Counts in the plan's folder from now on; the error is an errno.
pub fn begin(plan: &Plan<'_>, program: &[u8]) -> Result<(), c_int> {
    let Some(folder) = plan.counts else {
        return Ok(());
    };
    let mut path = Text::new();
    path.append(folder).append(b"/");
    path.append_number(plan.section as u64).append(b".counts");
    let place = open(&path, plan.identity)?;
    PLACE.store(place, Release);
    file().describe(plan, program);
    Ok(())
}

/// Maps the file; one that counts for another plan is replaced.
fn open(path: &Text, identity: u64) -> Result<*mut File, c_int> {
    let path = path.as_path().ok_or(sys::EINVAL)?;
    for _ in 0..2 {
        let file = Descriptor::to_change(path)?;
        match file.size() {
            // As process 1 of an image makes it.
            Some(FILE_SIZE) => {}
            Some(0) => file.resize(FILE_SIZE)?,
            // Whatever else lies there is left as it is, and makes room.
            _ => {
                raw::remove(path);
                continue;
            }
        }
        let place = file.map_shared(FILE_SIZE)?.cast::<File>();
        let shared = size_of::<File>() - size_of::<[Counters; SLOTS]>() + size_of::<Counters>();
        // A full disk is an answer here, and would be SIGBUS later.
        let ready = sys::populate(place.cast(), shared);
        // SAFETY: so large a mapping, of atomics.
        if ready.is_ok() && unsafe { &*place }.header.is_for(identity) {
            return Ok(place);
        }
        // SAFETY: nobody refers to it.
        unsafe { sys::unmap(place.cast(), FILE_SIZE) };
        ready?;
        raw::remove(path);
    }
    Err(sys::EINVAL)
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

    /// A path was asked for in vain; `hash` is its own.
    pub fn note_path(&self, hash: u64, error: c_int, how: How, name: &Name) {
        if !noted::note(&self.paths, &self.folders, (hash, error), how, name) {
            self.header.other_paths.fetch_add(1, Relaxed);
        }
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
        let mut owners = self.header.owners.iter().enumerate().skip(1);
        let free = owners.find(|(_, owner)| {
            let lent = owner.compare_exchange(0, LENT, AcqRel, Relaxed);
            lent.is_ok()
        });
        let counters = &self.counters[free.map_or_else(|| self.shared(), |(number, _)| number)];
        if sys::populate(counters.as_ptr().cast(), size_of::<Counters>()).is_err() {
            self.header.uncounted.fetch_add(1, Relaxed);
            return &self.counters[0];
        }
        counters
    }

    /// The number of counters that are lent already, each time of others: mostly those of processes
    /// that were killed, or that became other programs, and gave nothing back.
    fn shared(&self) -> usize {
        let before = self.header.uncounted.fetch_add(1, Relaxed) as usize;
        1 + before % (SLOTS - 1)
    }

    /// Adds what somebody has counted elsewhere.
    pub fn add(&self, counters: &Counters) {
        for (number, counter) in counters.iter().enumerate() {
            match counter.swap(0, Relaxed) {
                0 => {}
                count => _ = self.counters[0][number].fetch_add(count, Relaxed),
            }
        }
    }
}

/// Counters that only the calling thread adds to.
pub fn lend_counters() -> &'static Counters {
    file().lend()
}

/// Counters for the end of a process, which are everybody's.
pub fn last_counters() -> &'static Counters {
    &file().counters[0]
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
