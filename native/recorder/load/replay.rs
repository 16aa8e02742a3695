//! Replaying a trace of the recorder (`src/trace.rs`): what its requests cost, in one thread, in the
//! recorded order. What the loop itself takes is measured, too, and taken off.

use std::collections::HashMap;
use std::ffi::c_void;
use std::fs;
use std::hint::black_box;
use std::ptr::null_mut;

use crate::thread_time;

const HEADER: usize = 4096;
const EVENT: usize = 16;
const MAGIC: &[u8] = b"onejobMT";
const ALIGNMENT_SHIFT: u32 = 56;

/// One request; `slot` is where its block is kept.
#[derive(Clone, Copy)]
struct Request {
    kind: Kind,
    /// Its logarithm.
    alignment: u8,
    slot: u32,
    size: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Make,
    MakeZeroed,
    MakeAligned,
    Resize,
    Free,
}

unsafe extern "C" {
    fn malloc(size: usize) -> *mut c_void;
    fn calloc(count: usize, size: usize) -> *mut c_void;
    fn memalign(alignment: usize, size: usize) -> *mut c_void;
    fn realloc(block: *mut c_void, size: usize) -> *mut c_void;
    fn free(block: *mut c_void);
}

/// By address, so that the compiler does not know what they do.
struct Calls {
    malloc: unsafe extern "C" fn(usize) -> *mut c_void,
    calloc: unsafe extern "C" fn(usize, usize) -> *mut c_void,
    memalign: unsafe extern "C" fn(usize, usize) -> *mut c_void,
    realloc: unsafe extern "C" fn(*mut c_void, usize) -> *mut c_void,
    free: unsafe extern "C" fn(*mut c_void),
}

/// For the loop alone: one block for all.
static mut BLOCK: [u64; 2] = [0; 2];

unsafe extern "C" fn no_malloc(_: usize) -> *mut c_void {
    (&raw mut BLOCK).cast()
}

unsafe extern "C" fn no_malloc_of_two(_: usize, _: usize) -> *mut c_void {
    (&raw mut BLOCK).cast()
}

unsafe extern "C" fn no_realloc(block: *mut c_void, _: usize) -> *mut c_void {
    block
}

unsafe extern "C" fn no_free(_: *mut c_void) {}

/// What becomes of the events when they are read: where blocks lie is forgotten.
#[derive(Default)]
struct Reader {
    requests: Vec<Request>,
    slots: HashMap<u64, u32>,
    unused: Vec<u32>,
    /// By thread, the block that it gave to realloc.
    resized: HashMap<u8, u32>,
    most: u32,
}

impl Reader {
    fn read(&mut self, word: u64, size: u64) {
        let alignment = (size >> ALIGNMENT_SHIFT) as u8;
        let size = size as usize & ((1 << ALIGNMENT_SHIFT) - 1);
        let (kind, thread) = ((word >> 56) as u8, (word >> 48) as u8);
        let address = word & ((1 << 48) - 1);
        match kind {
            1 => self.make(Kind::Make, address, size),
            2 => self.make(Kind::MakeZeroed, address, size),
            3 => {
                self.make(Kind::MakeAligned, address, size);
                self.requests.last_mut().expect("just made").alignment = alignment;
            }
            // What was made before the trace began is not known.
            4 => {
                if let Some(slot) = self.slots.remove(&address) {
                    self.free(slot);
                }
            }
            5 => match self.slots.remove(&address) {
                Some(slot) if size == 0 => self.free(slot),
                Some(slot) => _ = self.resized.insert(thread, slot),
                None => {}
            },
            6 => match self.resized.remove(&thread) {
                Some(slot) => {
                    self.slots.insert(address, slot);
                    self.push(Kind::Resize, slot, size);
                }
                None => self.make(Kind::Make, address, size),
            },
            _ => {}
        }
    }

    fn make(&mut self, kind: Kind, address: u64, size: usize) {
        let slot = self.unused.pop().unwrap_or_else(|| {
            self.most += 1;
            self.most - 1
        });
        // A block whose end was not seen gives way: nobody has it any more.
        if let Some(old) = self.slots.insert(address, slot) {
            self.free(old);
        }
        self.push(kind, slot, size);
    }

    fn free(&mut self, slot: u32) {
        self.push(Kind::Free, slot, 0);
        self.unused.push(slot);
    }

    fn push(&mut self, kind: Kind, slot: u32, size: usize) {
        self.requests.push(Request {
            kind,
            alignment: 0,
            slot,
            size,
        });
    }

    /// All that is still there is freed, so that the trace can begin again.
    fn end(&mut self) {
        let kept: Vec<u32> = self.slots.drain().map(|(_, slot)| slot).collect();
        let resized: Vec<u32> = self.resized.drain().map(|(_, slot)| slot).collect();
        let mut slots = [kept, resized].concat();
        slots.sort_unstable();
        slots.into_iter().for_each(|slot| self.free(slot));
    }
}

fn read(path: &str) -> Result<Reader, String> {
    let bytes = fs::read(path).map_err(|error| format!("{path}: {error}"))?;
    if !bytes.starts_with(MAGIC) || bytes.len() < HEADER {
        return Err(format!("{path} is no trace of malloc"));
    }
    let mut reader = Reader::default();
    let (events, _) = bytes[HEADER..].as_chunks::<EVENT>();
    for event in events {
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| event[at + i]));
        reader.read(word(0), word(8));
    }
    reader.end();
    Ok(reader)
}

/// Nanoseconds for each block that the trace makes or resizes, with its free; it is run often
/// enough for `pairs` of them, and once before.
pub fn replay(path: &str, pairs: usize) -> Result<f64, String> {
    let reader = read(path)?;
    let requests = &reader.requests;
    let made = requests.iter().filter(|one| one.kind != Kind::Free).count();
    if made == 0 {
        return Err(format!("{path} has no block"));
    }
    let rounds = pairs.div_ceil(made);
    let mut blocks = vec![null_mut(); reader.most as usize];
    let mut measure = |calls: Calls| {
        let calls = black_box(calls);
        run(&calls, requests, &mut blocks);
        let before = thread_time();
        (0..rounds).for_each(|_| run(&calls, requests, &mut blocks));
        (thread_time() - before) / (rounds * made) as f64
    };
    let all = measure(Calls {
        malloc,
        calloc,
        memalign,
        realloc,
        free,
    });
    let empty = measure(Calls {
        malloc: no_malloc,
        calloc: no_malloc_of_two,
        memalign: no_malloc_of_two,
        realloc: no_realloc,
        free: no_free,
    });
    Ok(all - empty)
}

fn run(calls: &Calls, requests: &[Request], blocks: &mut [*mut c_void]) {
    for request in requests {
        let block = &mut blocks[request.slot as usize];
        let size = request.size;
        // SAFETY: malloc(3); each slot has a block from when it is made until it is freed, and the
        // block has at least the byte that is written.
        unsafe {
            *block = match request.kind {
                Kind::Make => (calls.malloc)(size),
                Kind::MakeZeroed => (calls.calloc)(1, size),
                Kind::MakeAligned => (calls.memalign)(1 << request.alignment, size),
                Kind::Resize => (calls.realloc)(*block, size),
                Kind::Free => {
                    (calls.free)(*block);
                    continue;
                }
            };
            if size > 0 {
                block.cast::<u8>().write_volatile(1);
            }
        }
    }
}
