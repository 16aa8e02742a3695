//! The folder that relative paths begin at, remembered, so that nobody has to ask for it later.
//!
//! Threads share it as the kernel's own. Who reads it while it changes may read a mixture, which is a
//! wrong name in the statistics and nothing else.

use core::ffi::{CStr, c_char};
use core::sync::atomic::{
    AtomicU8, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};

use crate::sys;
use crate::unexpected::{MOST_PATH, Name};

static BYTES: [AtomicU8; MOST_PATH] = [const { AtomicU8::new(0) }; MOST_PATH];
/// 0 while it is not known.
static LENGTH: AtomicUsize = AtomicUsize::new(0);

/// As the kernel has it, while the program starts.
pub fn begin() {
    let mut buffer = [0; MOST_PATH];
    remember(sys::read_link(c"/proc/self/cwd", &mut buffer));
}

/// It is known no more: relative paths say nothing then.
pub fn forget() {
    LENGTH.store(0, Release);
}

/// The process has gone to `path`.
///
/// # Safety
/// A C string.
pub unsafe fn follow(path: *const c_char) {
    // SAFETY: see above.
    let path = unsafe { CStr::from_ptr(path) }.to_bytes();
    let mut name = Name::new();
    if !name.begin(path) || path.split(|&byte| byte == b'/').any(|part| part == b"..") {
        return forget(); // behind a symbolic link, another one than it seems
    }
    name.append(path);
    remember(name.as_bytes());
}

/// Puts it into an empty name; false where it is not known.
pub fn copy_to(name: &mut Name) -> bool {
    let length = LENGTH.load(Acquire);
    let mut buffer = [0; MOST_PATH];
    for (byte, place) in buffer[..length].iter_mut().zip(&BYTES) {
        *byte = place.load(Relaxed);
    }
    name.append(&buffer[..length]);
    length > 0
}

fn remember(path: &[u8]) {
    forget();
    if path.first() != Some(&b'/') || path.len() >= MOST_PATH {
        return;
    }
    for (place, &byte) in BYTES.iter().zip(path) {
        place.store(byte, Relaxed);
    }
    LENGTH.store(path.len(), Release);
}
