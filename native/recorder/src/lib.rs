//! LD_PRELOAD malloc recorder: counts blocks alive, per requested size, in a shared file mapping.
//!
//! Vocabulary: a *block* is what malloc returned; its *requested size* is what the service asked
//! for, and has a *number* (`sizes.rs`). The *ledger* (`ledger.rs`) knows the live blocks by their
//! address. A *recording* (`recording.rs`, `layout.rs`) is the file that is counted in, one per
//! process image, with a *table* of counters per thread (`thread.rs`). `hooks.rs` and `cxx.rs` have
//! the entry points that replace those of the C and C++ libraries; `counting.rs` is what they do.
//! `trace.rs` writes down each request, where that is asked for.
//!
//! Rules: nothing here allocates, panics, locks or keeps a descriptor; where recording is not
//! possible the service runs on, unrecorded.
#![no_std]

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!("the recorder is for Linux on x86-64");

mod alive;
mod boot;
mod counting;
mod cxx;
mod filters;
mod hooks;
mod layout;
mod ledger;
mod mode;
mod real;
mod recording;
mod sizes;
mod sys;
mod text;
mod thread;
mod trace;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: abort takes no arguments and may be called anywhere.
    unsafe { sys::abort() }
}
