//! The part of the file of counts that has paths: which were asked for in vain, and how often.
//!
//! Bounded: so many paths, so many of one folder, so many bytes of each. What does not fit is a number.

use core::ffi::c_int;
use core::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Relaxed, Release},
};

use crate::plan;
use crate::unexpected::{How, MOST_PATH, Name};

pub const PATHS: usize = 128;
const FOLDERS: usize = 128;
/// Paths that are looked at for one that is noted already.
const TRIES: usize = 16;
/// Of one folder: who can choose names must not take the place of all others.
const MOST_OF_A_FOLDER: u64 = 32;

#[repr(C)]
pub struct NotedPath {
    /// Of path and error; 0 for none yet.
    key: AtomicU64,
    count: AtomicU64,
    error: AtomicU32,
    how: AtomicU32,
    /// Stored last: 0 until the rest is there.
    length: AtomicU32,
    reserved: AtomicU32,
    path: [AtomicU64; MOST_PATH / 8],
}

#[repr(C)]
pub struct Folder {
    key: AtomicU64,
    paths: AtomicU64,
}

pub type NotedPaths = [NotedPath; PATHS];
pub type Folders = [Folder; FOLDERS];

/// One more time; false where there is no room for it.
pub fn note(
    paths: &NotedPaths,
    folders: &Folders,
    (hash, error): (u64, c_int),
    how: How,
    name: &Name,
) -> bool {
    let key = (hash ^ (error as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)).max(1);
    let tries = || (0..TRIES).map(|step| &paths[(key as usize).wrapping_add(step) % PATHS]);
    if let Some(path) = tries().find(|path| path.key.load(Relaxed) == key) {
        path.count.fetch_add(1, Relaxed);
        return true;
    }
    if !may_have_more(folders, plan::hash(0, name.folder())) {
        return false;
    }
    for path in tries() {
        match path.key.compare_exchange(0, key, Relaxed, Relaxed) {
            Ok(_) => path.describe(error, how, name),
            // Another thread was quicker with the same one.
            Err(found) if found == key => {}
            Err(_) => continue,
        }
        path.count.fetch_add(1, Relaxed);
        return true;
    }
    false
}

fn may_have_more(folders: &Folders, key: u64) -> bool {
    let key = key.max(1);
    for step in 0..TRIES {
        let folder = &folders[(key as usize).wrapping_add(step) % FOLDERS];
        let found = folder.key.compare_exchange(0, key, Relaxed, Relaxed);
        if found.is_ok() || found == Err(key) {
            return folder.paths.fetch_add(1, Relaxed) < MOST_OF_A_FOLDER;
        }
    }
    false
}

impl NotedPath {
    fn describe(&self, error: c_int, how: How, name: &Name) {
        self.error.store(error as u32, Relaxed);
        self.how.store(how as u32, Relaxed);
        for (place, bytes) in self.path.iter().zip(name.as_bytes().chunks(8)) {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            place.store(u64::from_le_bytes(word), Relaxed);
        }
        self.length.store(name.as_bytes().len() as u32, Release);
    }
}
