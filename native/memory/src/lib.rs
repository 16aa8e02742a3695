//! LD_PRELOAD static memory manager: arrays of blocks, sized by the profile, laid out at the start.
//!
//! Vocabulary: an *array* (`arrays.rs`) is a row of blocks of one size. A *granule* is 16 bytes, the
//! least block; places in the arrays are counted in granules from the first array's start. A *shard*
//! (`threads.rs`) is what a thread has of its own: a small *cache* (`cache.rs`) of free blocks per
//! array (`stack.rs`). The *store* of an array is the bitmap of its free blocks that lie in no cache. What no
//! array serves is *relayed* to the dynamic allocator (`dynamic.rs`), or, when large, to the kernel
//! (`large.rs`). `quiet.rs` keeps the dynamic allocator from asking the machine. `start.rs` reads the plan file (`plan.rs`) and lays everything out; `hooks.rs`,
//! `cxx.rs` and `jemalloc.rs` have the entry points; `counts.rs` is the file of statistics.
//!
//! Beside malloc it has the functions that take a path (`asked.rs`): one that was asked for in vain, and
//! is not among those that the profile shows so (`absent.rs`), is `unexpected.rs`, and `noted.rs` keeps it.
//!
//! Rules: nothing here locks, panics or keeps a descriptor. Nothing of the arrays' metadata lies in
//! or between blocks, so what a service writes past its blocks cannot reach it.
#![no_std]

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!("the memory manager is for Linux on x86-64");

mod absent;
mod arrays;
mod asked;
mod cache;
mod counts;
mod cxx;
mod dynamic;
mod fault;
mod folder;
mod fork;
mod hooks;
mod jemalloc;
mod large;
mod noted;
mod plan;
mod quiet;
mod raw;
mod stack;
mod start;
mod store;
mod sys;
mod text;
mod threads;
mod unexpected;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: abort takes no arguments and may be called anywhere.
    unsafe { sys::abort() }
}
