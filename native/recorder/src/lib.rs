//! LD_PRELOAD malloc recorder: counts blocks alive, per requested size, in a shared file mapping.
//!
//! Vocabulary: a *block* is what malloc returned; its *requested size* is what the service asked
//! for; its *tail* is the 8 bytes behind, which hold the tag (`tag.rs`). A *table* (`table.rs`) has
//! one slot per requested size. A *recording* (`recording.rs`) is the file that a table lives in,
//! one per process image. `hooks.rs` has the entry points that replace those of the C library.
//!
//! Rules: nothing here allocates, panics, locks or keeps a descriptor; where recording is not
//! possible the service runs on, unrecorded.
#![no_std]

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!("the recorder is for 64-bit Linux");

mod boot;
mod glibc;
mod hooks;
mod mode;
mod real;
mod recording;
mod sys;
mod table;
mod tag;
mod text;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: abort takes no arguments and may be called anywhere.
    unsafe { sys::abort() }
}
