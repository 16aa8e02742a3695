//! Paths in fixed buffers: building them must not allocate.

use core::ffi::{CStr, c_char};

/// Bytes of a buffer: PATH_MAX, with the final zero.
const SIZE: usize = 4096;

/// A path under construction. What does not fit makes it invalid instead of shorter.
pub struct Path {
    bytes: [u8; SIZE],
    length: usize,
    fits: bool,
}

impl Path {
    pub const fn new() -> Self {
        Path {
            bytes: [0; SIZE],
            length: 0,
            fits: true,
        }
    }

    pub fn append(&mut self, text: &[u8]) -> &mut Self {
        let end = self.length + text.len();
        // One byte is kept for the final zero.
        match self.bytes[..SIZE - 1].get_mut(self.length..end) {
            Some(place) => {
                place.copy_from_slice(text);
                self.length = end;
            }
            None => self.fits = false,
        }
        self
    }

    pub fn append_number(&mut self, number: u64) -> &mut Self {
        let mut digits = [0_u8; 20];
        let mut first = digits.len();
        let mut rest = number;
        while first == digits.len() || rest > 0 {
            first -= 1;
            digits[first] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        self.append(&digits[first..])
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// The path for a system call; None if it did not fit.
    pub fn as_c_str(&self) -> Option<&CStr> {
        let text = CStr::from_bytes_with_nul(&self.bytes[..=self.length]).ok()?;
        self.fits.then_some(text)
    }
}

/// The bytes of a C string, without its final zero; None for null.
///
/// # Safety
/// `text` is null or a C string that outlives the result.
pub unsafe fn bytes_of<'a>(text: *const c_char) -> Option<&'a [u8]> {
    if text.is_null() {
        return None;
    }
    // SAFETY: the caller vouches for the string.
    Some(unsafe { CStr::from_ptr(text) }.to_bytes())
}
