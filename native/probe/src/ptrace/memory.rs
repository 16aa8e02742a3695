//! Words and strings in the memory of a watched process.
use libc::pid_t;

use crate::ptrace::raw;

const PATH_MAX: usize = 4096;
/// Most paths are short; what is longer takes further reads.
const FIRST_READ: usize = 128;
const PAGE: u64 = 4096;

/// The word at `address`, none where that is not mapped.
pub fn word(tid: pid_t, address: u64) -> Option<u64> {
    let mut bytes = [0; 8];
    (raw::read_memory(tid, address, &mut bytes) == 8).then(|| u64::from_ne_bytes(bytes))
}

/// As `word`, for the last bytes before what is not mapped.
pub fn word_or_less(tid: pid_t, address: u64) -> u64 {
    let mut bytes = [0; 8];
    raw::read_memory(tid, address, &mut bytes);
    u64::from_ne_bytes(bytes)
}

pub fn bytes<const SIZE: usize>(tid: pid_t, address: u64) -> Option<[u8; SIZE]> {
    let mut bytes = [0; SIZE];
    (raw::read_memory(tid, address, &mut bytes) == SIZE).then_some(bytes)
}

/// Appends the string at `address`, without its NUL, of at most `most` bytes. False where it cannot be
/// read to its end.
pub fn append_string(tid: pid_t, address: u64, most: usize, text: &mut Vec<u8>) -> bool {
    let start = text.len();
    let (mut at, mut size) = (address, FIRST_READ);
    while text.len() - start < most {
        // Never across a page, which may be the last one that is mapped.
        let wanted = size.min((PAGE - at % PAGE) as usize).min(most - (text.len() - start));
        let end = text.len();
        text.resize(end + wanted, 0);
        let got = raw::read_memory(tid, at, &mut text[end..]);
        text.truncate(end + got);
        if let Some(length) = text[end..].iter().position(|byte| *byte == 0) {
            text.truncate(end + length);
            return true;
        }
        if got < wanted {
            return false;
        }
        at = at.wrapping_add(got as u64);
        size = PATH_MAX;
    }
    most < PATH_MAX // a name of fixed size need not end
}

/// Appends a path, which is shorter than PATH_MAX.
pub fn append_path(tid: pid_t, address: u64, text: &mut Vec<u8>) -> bool {
    append_string(tid, address, PATH_MAX, text)
}
