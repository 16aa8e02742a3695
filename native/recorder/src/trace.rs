//! The trace: each request in the order in which it was made, where ONEJOB_RECORDER_TRACE asks for it.
//!
//! For `onejob bench malloc-traces`. A file of one size beside the recording, with its name but for
//! the ending, as long as it has room: a header of one page, then events of two words each. While
//! traced, nothing is counted the quick way: so that costs nothing where nothing is traced.

use core::ffi::{c_int, c_void};
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU64, Ordering::Relaxed};

use crate::counting::Origin;
use crate::layout::File;
use crate::sys;
use crate::text::Path;
use crate::thread;

/// The first word of the file: "onejobMT".
const MAGIC: u64 = u64::from_ne_bytes(*b"onejobMT");
const EVENTS: usize = 1 << 19;
/// Where the kind of an event begins in its first word, above its thread and the block's address.
const KIND_SHIFT: u32 = 56;
const THREAD_SHIFT: u32 = 48;
/// Where the logarithm of an alignment begins in the second word, above the size.
const ALIGNMENT_SHIFT: u32 = 56;

#[repr(C, align(4096))]
struct Header {
    magic: AtomicU64,
    /// Events so far, also those for which there was no room.
    count: AtomicU64,
    path_size: AtomicU64,
    path: [AtomicU64; 256],
}

#[repr(C)]
struct Trace {
    header: Header,
    /// The block with the kind and the thread, and the size that was asked for.
    events: [[AtomicU64; 2]; EVENTS],
}

#[derive(Clone, Copy)]
pub enum Kind {
    Made = 1,
    Zeroed = 2,
    Aligned = 3,
    Freed = 4,
    /// What realloc got; what it gave is the same thread's next event, `Moved`.
    Resized = 5,
    Moved = 6,
}

static WANTED: AtomicBool = AtomicBool::new(false);
static PLACE: AtomicPtr<Trace> = AtomicPtr::new(ptr::null_mut());

/// Whether requests are traced. Before the start nobody knows.
pub fn is_wanted() -> bool {
    WANTED.load(Relaxed)
}

/// At the start: whether traces are wanted.
pub fn prepare() {
    // SAFETY: a plain question; the answer is not kept.
    let value = unsafe { sys::getenv(c"ONEJOB_RECORDER_TRACE".as_ptr()) };
    if !value.is_null() {
        WANTED.store(true, Relaxed);
        thread::be_slow();
    }
}

/// Traces into a new file from now on, beside the recording `file`, which lies in its place now.
pub fn begin(name: impl FnOnce() -> Path, file: &File) {
    if !is_wanted() {
        return;
    }
    let place = create(&name()).unwrap_or(ptr::null_mut());
    PLACE.store(place, Relaxed);
    // SAFETY: null, or a mapping of this size, which stays; all bytes are valid atomics.
    if let Some(trace) = unsafe { place.as_ref() } {
        trace.describe(file);
    }
}

fn create(name: &Path) -> Option<*mut Trace> {
    let name = name.as_c_str()?;
    let flags = sys::O_RDWR | sys::O_CREAT | sys::O_EXCL | sys::O_CLOEXEC;
    // SAFETY: the name is a C string; the mode is that of a new file.
    let descriptor = unsafe { sys::open(name.as_ptr(), flags, 0o600 as c_int) };
    if descriptor < 0 {
        return None;
    }
    let size = size_of::<Trace>();
    // SAFETY: plain calls on the descriptor from above, which a mapping does not need.
    unsafe {
        let is_large = sys::ftruncate(descriptor, size as i64) == 0;
        let place = is_large.then(|| sys::map_file(descriptor, size));
        sys::close(descriptor);
        Some(place?.ok()?.cast())
    }
}

impl Trace {
    fn describe(&self, file: &File) {
        let size = file.header.path_size.load(Relaxed).min(2048);
        self.header.path_size.store(size, Relaxed);
        for (word, bytes) in self.header.path.iter().zip(file.header.path.chunks(8)) {
            let value = |sum, byte: &AtomicU8| sum << 8 | u64::from(byte.load(Relaxed));
            word.store(bytes.iter().rev().fold(0, value), Relaxed);
        }
        self.header.magic.store(MAGIC, Relaxed);
    }
}

/// A block that is new.
pub fn begins(block: *mut c_void, size: usize, origin: Origin) {
    match origin {
        Origin::Fresh => note(Kind::Made, block, size),
        Origin::Zeroed => note(Kind::Zeroed, block, size),
        Origin::Resized => note(Kind::Moved, block, size),
        Origin::Aligned(alignment) => {
            let power = (alignment.max(1).ilog2() as usize) << ALIGNMENT_SHIFT;
            note(Kind::Aligned, block, size | power);
        }
    }
}

pub fn note(kind: Kind, block: *mut c_void, size: usize) {
    // SAFETY: as in begin.
    let Some(trace) = (unsafe { PLACE.load(Relaxed).as_ref() }) else {
        return;
    };
    let number = trace.header.count.fetch_add(1, Relaxed) as usize;
    if let Some(event) = trace.events.get(number) {
        let thread = u64::from(thread::local().serial() & 0xff) << THREAD_SHIFT;
        let address = block.addr() as u64 & ((1 << THREAD_SHIFT) - 1);
        event[0].store((kind as u64) << KIND_SHIFT | thread | address, Relaxed);
        event[1].store(size as u64, Relaxed);
    }
}
