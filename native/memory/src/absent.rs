//! The paths that the profile shows to be absent, by their hashes, searched where they stand in the plan.

use core::ptr;
use core::slice;
use core::sync::atomic::{
    AtomicPtr, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};

use crate::plan::{ABSENT, ABSENT_DIGITS};
use crate::sys::Descriptor;

/// `absent 89be207ddd6c7cbb`, and the end of the line.
const LINE: usize = ABSENT.len() + ABSENT_DIGITS + 1;

static LINES: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Maps the plan, which is not written to any more; `first` and `count` are as the parser found them.
/// Where it cannot be mapped, all absent paths are unexpected.
pub fn begin(plan: &Descriptor, size: usize, (first, count): (usize, usize)) {
    if count == 0 || first + count * LINE > size {
        return;
    }
    if let Ok(place) = plan.map_to_read(size) {
        COUNT.store(count, Relaxed);
        // SAFETY: within the mapping.
        LINES.store(unsafe { place.cast::<u8>().add(first) }, Release);
    }
}

/// Whether a path with this hash is one of them.
pub fn has(hash: u64) -> bool {
    let place = LINES.load(Acquire);
    if place.is_null() {
        return false;
    }
    // SAFETY: so many lines were parsed, in a mapping that stays.
    let lines = unsafe { slice::from_raw_parts(place, COUNT.load(Relaxed) * LINE) };
    let (lines, _) = lines.as_chunks::<LINE>();
    let wanted = u128::from_be_bytes(hexadecimal(hash));
    lines.binary_search_by_key(&wanted, digits_of).is_ok()
}

/// As a number, in the order of the texts.
fn digits_of(line: &[u8; LINE]) -> u128 {
    let digits = line[ABSENT.len()..].first_chunk();
    digits.map_or(0, |digits| u128::from_be_bytes(*digits))
}

fn hexadecimal(number: u64) -> [u8; ABSENT_DIGITS] {
    let mut digits = [0; ABSENT_DIGITS];
    for (place, digit) in digits.iter_mut().enumerate() {
        let shift = 4 * (ABSENT_DIGITS - 1 - place);
        *digit = b"0123456789abcdef"[(number >> shift & 15) as usize];
    }
    digits
}
