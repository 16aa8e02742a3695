//! onejob-malloc-load CASE PAIRS: what a pair of malloc and free costs in nanoseconds of processor
//! time, in one of some patterns, or as a trace has it (`replay.rs`). `onejob bench malloc-cost` runs
//! it with and without the recorder, `malloc-speed` and `malloc-traces` with one allocator or another.
//! `path-cost` has it ask for a path instead (`ask.rs`).
//!
//! Apart from the pattern it does nothing: the blocks are not touched beyond their first byte.

mod ask;
mod replay;

use std::env::args;
use std::ffi::c_void;
use std::hint::black_box;
use std::process::exit;
use std::ptr::null_mut;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Instant;

const CLOCK_THREAD_CPUTIME_ID: i32 = 3;
const SMALL: usize = 64;
/// Blocks alive at once, where there are many.
const SET: usize = 1024;
/// So many pairs are there for one fork.
const PAIRS_PER_FORK: usize = 2048;
const CASES: [(&str, Pattern, usize); 6] = [
    ("pair", pair, 1),
    ("lifo", lifo, 1),
    ("fifo", fifo, 1),
    ("sizes", sizes, 1),
    ("pair-threads", pair, 2),
    ("sizes-threads", sizes, 2),
];

/// Those that measure themselves.
const OWN_CASES: [(&str, Measure); 2] = [("remote", remote), ("fork", fork_and_allocate)];

/// Nanoseconds with so many pairs.
type Measure = fn(usize) -> f64;
/// Makes and frees so many blocks.
type Pattern = fn(&Allocator, usize);

#[repr(C)]
struct Time {
    seconds: i64,
    nanoseconds: i64,
}

unsafe extern "C" {
    fn malloc(size: usize) -> *mut c_void;
    fn free(block: *mut c_void);
    fn clock_gettime(clock: i32, time: *mut Time) -> i32;
    fn fork() -> i32;
    fn waitpid(child: i32, status: *mut i32, options: i32) -> i32;
    fn _exit(status: i32) -> !;
}

/// By address, as the compiler may leave out a pair that it knows to be malloc and free.
struct Allocator {
    malloc: unsafe extern "C" fn(usize) -> *mut c_void,
    free: unsafe extern "C" fn(*mut c_void),
}

impl Allocator {
    fn new() -> Self {
        Allocator {
            malloc: black_box(malloc),
            free: black_box(free),
        }
    }

    fn make(&self, size: usize) -> *mut c_void {
        // SAFETY: malloc(3), and the block has at least the one byte that is written.
        unsafe {
            let block = (self.malloc)(size);
            block.cast::<u8>().write_volatile(1);
            block
        }
    }

    fn free(&self, block: *mut c_void) {
        // SAFETY: null or a block of `make`, which its caller forgets.
        unsafe { (self.free)(block) }
    }
}

/// Each block is freed at once.
fn pair(allocator: &Allocator, pairs: usize) {
    for _ in 0..pairs {
        allocator.free(allocator.make(SMALL));
    }
}

/// A stack of blocks is filled and emptied, again and again.
fn lifo(allocator: &Allocator, pairs: usize) {
    let mut blocks = [null_mut(); SET];
    for _ in 0..pairs / SET {
        for block in &mut blocks {
            *block = allocator.make(SMALL);
        }
        for block in blocks.iter().rev() {
            allocator.free(*block);
        }
    }
}

/// A queue: always the oldest block is replaced.
fn fifo(allocator: &Allocator, pairs: usize) {
    replace(allocator, pairs, |turn| (turn % SET, SMALL));
}

/// Blocks of 16 to 1039 bytes: any block is replaced by one of any size.
fn sizes(allocator: &Allocator, pairs: usize) {
    let mut random = 1_u64;
    replace(allocator, pairs, |_| {
        // Knuth's linear congruential generator (MMIX); its high bits are the good ones.
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let place = (random >> 54) as usize % SET;
        (place, 16 + (random >> 44) as usize % 1024)
    });
}

fn replace(allocator: &Allocator, pairs: usize, mut next: impl FnMut(usize) -> (usize, usize)) {
    let mut blocks = [null_mut(); SET];
    for turn in 0..pairs {
        let (place, size) = next(turn);
        allocator.free(blocks[place]);
        blocks[place] = allocator.make(size);
    }
    for block in blocks {
        allocator.free(block);
    }
}

/// One thread makes the blocks, another one frees them: nanoseconds of both for a pair.
fn remote(pairs: usize) -> f64 {
    let allocator = Allocator::new();
    // As many as can be under way at once, so that the most that are alive is no matter of chance.
    let most: Vec<_> = (0..5 * SET).map(|_| allocator.make(SMALL)).collect();
    most.into_iter().for_each(|block| allocator.free(block));
    let (blocks, received) = sync_channel::<Vec<usize>>(2);
    let (empties, returned) = sync_channel::<Vec<usize>>(4);
    let freeing = thread::spawn(move || {
        let allocator = Allocator::new();
        let before = thread_time();
        for mut set in received {
            for address in set.drain(..) {
                allocator.free(address as *mut c_void);
            }
            // The other thread may have ended.
            let _ = empties.send(set);
        }
        thread_time() - before
    });
    let before = thread_time();
    for turn in 0..pairs / SET {
        let mut set = if turn < 3 {
            Vec::with_capacity(SET)
        } else {
            returned.recv().unwrap_or_default()
        };
        set.extend((0..SET).map(|_| allocator.make(SMALL) as usize));
        let _ = blocks.send(set);
    }
    drop(blocks);
    let making = thread_time() - before;
    (making + freeing.join().unwrap_or(f64::NAN)) / (pairs / SET * SET) as f64
}

/// A service with blocks of its own forks, and the child allocates: nanoseconds until it has ended.
fn fork_and_allocate(pairs: usize) -> f64 {
    let allocator = Allocator::new();
    let blocks: Vec<_> = (0..SET).map(|i| allocator.make(16 + i)).collect();
    let forks = pairs.div_ceil(PAIRS_PER_FORK);
    let mut costs: Vec<f64> = (0..forks).map(|_| one_fork(&allocator)).collect();
    costs.sort_by(f64::total_cmp);
    for block in blocks {
        allocator.free(block);
    }
    // The median: one that was interrupted says nothing.
    costs[forks / 2]
}

fn one_fork(allocator: &Allocator) -> f64 {
    let begin = Instant::now();
    // SAFETY: fork(2), waitpid(2); this process has one thread.
    unsafe {
        let child = fork();
        if child == 0 {
            allocator.make(SMALL);
            _exit(0);
        }
        let mut status = 0;
        if child < 0 || waitpid(child, &mut status, 0) != child || status != 0 {
            return f64::NAN;
        }
    }
    begin.elapsed().as_nanos() as f64
}

/// Nanoseconds of this thread for one pair, once all that is used has been used before.
fn measure(pattern: Pattern, pairs: usize) -> f64 {
    let allocator = Allocator::new();
    pattern(&allocator, pairs / 2);
    let before = thread_time();
    pattern(&allocator, pairs);
    (thread_time() - before) / pairs as f64
}

/// The calling thread's processor time in nanoseconds.
fn thread_time() -> f64 {
    let mut time = Time {
        seconds: 0,
        nanoseconds: 0,
    };
    // SAFETY: clock_gettime(2) fills the structure in.
    unsafe { clock_gettime(CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.seconds as f64 * 1e9 + time.nanoseconds as f64
}

fn main() {
    let words: Vec<String> = args().collect();
    if let [_, name, pairs] = &words[..]
        && let Some((_, measure)) = OWN_CASES.iter().find(|case| case.0 == name)
        && let Some(pairs) = pairs.parse().ok().filter(|&pairs| pairs >= SET)
    {
        return println!("{:.3}", measure(pairs));
    }
    if let [_, name, function, path, count] = &words[..]
        && name == "ask"
        && let Some(count) = count.parse().ok().filter(|&count| count > 0)
    {
        match ask::ask(function, path, count, thread_time) {
            Ok(cost) => return println!("{cost:.3}"),
            Err(reason) => {
                eprintln!("onejob-malloc-load: {reason}");
                exit(1);
            }
        }
    }
    if let [_, name, path, pairs] = &words[..]
        && name == "replay"
        && let Ok(pairs) = pairs.parse()
    {
        match replay::replay(path, pairs) {
            Ok(cost) => return println!("{cost:.3}"),
            Err(reason) => {
                eprintln!("onejob-malloc-load: {reason}");
                exit(1);
            }
        }
    }
    let chosen = |name: &str| CASES.iter().find(|case| case.0 == name);
    let known = match &words[..] {
        [_, name, pairs] => chosen(name).zip(pairs.parse::<usize>().ok()),
        _ => None,
    };
    let Some((&(_, pattern, threads), pairs)) = known.filter(|known| known.1 >= SET) else {
        let names = CASES.map(|case| case.0).join("|");
        let own = OWN_CASES.map(|case| case.0).join("|");
        eprintln!("usage: onejob-malloc-load {names}|{own} PAIRS (at least {SET})");
        eprintln!("       onejob-malloc-load replay TRACE PAIRS");
        eprintln!("       onejob-malloc-load ask open|stat PATH COUNT");
        exit(2);
    };
    if threads == 1 {
        // Not in a thread of its own: one thread and no other is a case of the C library's.
        return println!("{:.3}", measure(pattern, pairs));
    }
    let running: Vec<_> = (0..threads)
        .map(|_| thread::spawn(move || measure(pattern, pairs)))
        .collect();
    let costs = running
        .into_iter()
        .map(|one| one.join().unwrap_or(f64::NAN));
    println!("{:.3}", costs.sum::<f64>() / threads as f64);
}
