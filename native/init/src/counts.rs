//! What the static memory manager counts, read from its files as JSON: blocks from arrays and relayed ones,
//! and paths that were asked for in vain.
//!
//! The layout is that of `native/memory/src/counts.rs`. Processes of the service write the files, so
//! nothing in them is trusted: a number may be wrong, but what is read of a file is bounded.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Result;

use crate::files::{open_directory, read_up_to, text_of};
use crate::json;
use crate::paths::{self, Paths};

const FOLDER: &str = "/run/onejob/memory";
const MOST_PROGRAMS: usize = 64;

const MAGIC: &[u8; 8] = b"OJMEMORY";
const VERSION: u64 = 2;
const SIZE: usize = 180_224;
const ARRAYS: usize = 64;
const SLOTS: usize = 256;
const SIZES: usize = 512;
const OTHER_PATHS_AT: usize = 64;
const PATH_AT: usize = 2048;
const ARRAYS_AT: usize = 4096;
const SIZES_AT: usize = 8192;
const PATHS_AT: usize = SIZES_AT + SIZES * 16;
const NOTED_SIZE: usize = 256;
const SLOTS_AT: usize = PATHS_AT + paths::MOST * NOTED_SIZE;

/// As members of a JSON object: `memory` with an object for each program that counts, and the paths.
/// Empty lists where there is no memory manager.
pub fn fields() -> String {
    let (mut memory, mut found) = (Vec::new(), Paths::default());
    let _ = each_file(|bytes| {
        if let Some((program, object)) = describe(bytes) {
            memory.push(object);
            let noted = bytes[PATHS_AT..SLOTS_AT].chunks_exact(NOTED_SIZE);
            found.add(&program, noted, word_at(bytes, OTHER_PATHS_AT).unwrap_or(0));
        }
    });
    format!(r#""memory":{},{}"#, json::list(memory.into_iter()), found.fields())
}

fn each_file(mut look: impl FnMut(&[u8])) -> Result<()> {
    let folder = open_directory(CWD, FOLDER)?;
    let mut left = MOST_PROGRAMS;
    for entry in Dir::read_from(&folder)?.flatten().take(4 * MOST_PROGRAMS) {
        let counts = entry.file_name().to_bytes().ends_with(b".counts") && left > 0;
        if counts && let Ok(bytes) = read_file(&folder, entry.file_name()) {
            left -= 1;
            look(&bytes);
        }
    }
    Ok(())
}

/// Nothing of another kind or size: no link, and no pipe that would be waited for.
fn read_file(folder: &OwnedFd, name: &core::ffi::CStr) -> Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = openat(folder.as_fd(), name, flags, Mode::empty())?;
    let stat = fstat(&file)?;
    let fits = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_size == SIZE as i64;
    if fits { read_up_to(file, SIZE) } else { Ok(Vec::new()) }
}

/// Program and counts; None where it is not, or not yet, a file of counts.
fn describe(bytes: &[u8]) -> Option<(String, String)> {
    let word = |at: usize| word_at(bytes, at);
    let half = |at: usize| Some(word(at & !7)? >> (8 * (at & 7)) & 0xffff_ffff);
    if bytes.len() != SIZE || !bytes.starts_with(MAGIC) || half(8)? != VERSION {
        return None;
    }
    let (arrays, path) = (half(24)? as usize, half(28)? as usize);
    let program = text_of(bytes.get(PATH_AT..PATH_AT + path.min(ARRAYS_AT - PATH_AT))?);
    let object = format!(
        concat!(
            r#"{{"program":{},"arrays":{},"unexpected":{},"#,
            r#""other_sizes":{},"large":{},"faults":{},"uncounted":{}}}"#
        ),
        json::text(&program),
        json::list((1..ARRAYS.min(arrays + 1)).filter_map(|number| array(bytes, number))),
        json::list((0..SIZES).filter_map(|number| size(bytes, number))),
        word(32)?,
        word(40)?,
        word(48)?,
        word(56)?,
    );
    Some((program, object))
}

fn array(bytes: &[u8], number: usize) -> Option<String> {
    let at = ARRAYS_AT + 32 * number;
    let word = |place: usize| word_at(bytes, at + 8 * place);
    let slots = (0..SLOTS).filter_map(|slot| word_at(bytes, SLOTS_AT + 8 * (slot * ARRAYS + number)));
    Some(format!(
        r#"{{"block_size":{},"blocks":{},"given":{},"relayed":{},"most_taken":{}}}"#,
        word(0)?,
        word(1)?,
        slots.fold(0, u64::wrapping_add),
        word(2)?,
        word(3)?
    ))
}

/// The file has sizes plus one, so that 0 is none.
fn size(bytes: &[u8], number: usize) -> Option<String> {
    let at = SIZES_AT + 16 * number;
    let (size, count) = (word_at(bytes, at)?.checked_sub(1)?, word_at(bytes, at + 8)?);
    (count > 0).then(|| format!(r#"{{"size":{size},"count":{count}}}"#))
}

pub fn word_at(bytes: &[u8], at: usize) -> Option<u64> {
    let (word, _) = bytes.get(at..)?.split_first_chunk()?;
    Some(u64::from_le_bytes(*word))
}
