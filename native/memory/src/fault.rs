//! Stops the process at a wrong free, with a message that names the address and the size.
//!
//! With unsafe-free in the plan a wrong free is counted and otherwise let pass: nothing is freed.

use core::ffi::c_void;

use crate::arrays;
use crate::counts;
use crate::plan::GRANULE;
use crate::start;
use crate::sys;
use crate::text::Text;

/// A block that the service gave to `call` and that is none of its own; returns where it may go on.
#[cold]
#[inline(never)]
pub fn wrong_block(call: &[u8], block: *mut c_void) {
    let mut text = begin(call, block.addr());
    match arrays::granule_of(block.addr()) {
        None => {
            text.append(b"no block of this process begins there (foreign pointer)");
        }
        Some(granule) => describe(&mut text, granule, block.addr()),
    }
    stop(&mut text);
}

fn describe(text: &mut Text, granule: u32, address: usize) {
    let Some((array, start)) = arrays::block_around(granule) else {
        text.append(b"it lies between the arrays (foreign pointer)");
        return;
    };
    let offset = address - arrays::block_at(start).addr().get();
    let size = array.block_size() as u64;
    if offset == 0 {
        text.append(b"the block of ").append_number(size);
        text.append(b" bytes there is free already (double free)");
    } else {
        text.append(b"it lies ").append_number(offset as u64);
        text.append(b" bytes into a block of ").append_number(size);
        text.append(b" bytes (misaligned pointer)");
    }
}

/// Two threads freed the block at the same time; it is seen only when it is handed out again, or goes
/// back to the store.
#[cold]
#[inline(never)]
pub fn freed_twice(granule: u32) {
    about_block(granule, b" was freed twice (double free)");
}

#[cold]
#[inline(never)]
pub fn changed_after_free(granule: u32) {
    about_block(
        granule,
        b" was written to after it was freed (use after free)",
    );
}

fn about_block(granule: u32, what: &[u8]) {
    let mut text = begin(
        b"malloc",
        granule as usize * GRANULE + arrays::block_at(0).addr().get(),
    );
    let size = arrays::block_around(granule).map_or(0, |(array, _)| array.block_size());
    text.append(b"the block of ").append_number(size as u64);
    text.append(b" bytes there").append(what);
    stop(&mut text);
}

fn begin(call: &[u8], address: usize) -> Text {
    let mut text = Text::new();
    text.append(b"onejob memory: ").append(call).append(b" of ");
    text.append_address(address).append(b": ");
    text
}

fn stop(text: &mut Text) {
    counts::file().count_fault();
    if start::unsafe_free() {
        return;
    }
    // SAFETY: getpid and abort take nothing.
    unsafe {
        text.append(b"; process ")
            .append_number(sys::getpid() as u64);
        sys::print(text.append(b" is stopped\n").as_bytes());
        sys::abort();
    }
}
