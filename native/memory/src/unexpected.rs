//! Paths that were asked for and not had: which of them is unexpected, and goes into the statistics.
//!
//! Called behind a call that has failed, in any thread, in a handler of a signal, in a child by
//! vfork: it allocates nothing, calls nothing, waits for nobody.

use core::ffi::{CStr, c_char, c_int};

use crate::absent;
use crate::counts;
use crate::folder;
use crate::plan;
use crate::sys::AT_FDCWD;

/// Bytes of a path that are looked at; a longer one is cut there.
pub const MOST_PATH: usize = 224;

const EPERM: c_int = 1;
const ENOENT: c_int = 2;
const EACCES: c_int = 13;
const EXDEV: c_int = 18;
const ENOTDIR: c_int = 20;
const EROFS: c_int = 30;

/// How it was to be used, in the numbers that the file of counts has.
#[derive(Clone, Copy)]
pub enum How {
    Read = 1,
    Written = 2,
    Appended = 3,
    Created = 4,
    Listed = 5,
    LookedUp = 6,
    Executed = 7,
    Removed = 8,
    Changed = 9,
    RenamedFrom = 10,
}

/// An absolute path without doubled slashes and single dots, cut at its limit.
pub struct Name {
    bytes: [u8; MOST_PATH],
    length: usize,
}

impl Name {
    pub const fn new() -> Self {
        Name {
            bytes: [0; MOST_PATH],
            length: 0,
        }
    }

    /// The folder that `path` begins at; false where it is not known.
    pub fn begin(&mut self, path: &[u8]) -> bool {
        path.first() == Some(&b'/') || folder::copy_to(self)
    }

    pub fn append(&mut self, path: &[u8]) {
        let parts = path.split(|&byte| byte == b'/');
        for part in parts.filter(|part| !matches!(*part, [] | [b'.'])) {
            let Some((slash, rest)) = self.bytes[self.length..].split_first_mut() else {
                return;
            };
            let kept = part.len().min(rest.len());
            *slash = b'/';
            rest[..kept].copy_from_slice(&part[..kept]);
            self.length += 1 + kept;
        }
    }

    pub fn as_bytes(&self) -> &[u8] {
        if self.length == 0 {
            return b"/";
        }
        &self.bytes[..self.length]
    }

    /// What stands before the last slash.
    pub fn folder(&self) -> &[u8] {
        let name = self.as_bytes();
        let end = name.iter().rposition(|&byte| byte == b'/');
        &name[..end.unwrap_or(0)]
    }
}

/// A function has failed with `error` for `path` in the folder of a descriptor. What was looked for in
/// vain when the service was profiled, too, is no news.
///
/// # Safety
/// Null, or a C string.
#[cold]
#[inline(never)]
pub unsafe fn note(error: c_int, folder: c_int, path: *const c_char, how: How) {
    let is_missing = matches!(error, ENOENT | ENOTDIR);
    let is_refused = matches!(error, EPERM | EACCES | EXDEV | EROFS);
    if !(is_missing || is_refused) || path.is_null() || !counts::are_kept() {
        return;
    }
    // SAFETY: see above.
    let path = unsafe { CStr::from_ptr(path) }.to_bytes();
    // Of which folder a descriptor is, only the kernel could tell.
    let is_known = folder == AT_FDCWD || path.first() == Some(&b'/');
    let mut name = Name::new();
    if path.is_empty() || !is_known || !name.begin(path) {
        return;
    }
    name.append(path);
    let key = plan::hash(0, name.as_bytes());
    if !(is_missing && absent::has(key)) {
        counts::file().note_path(key, error, how, &name);
    }
}
