//! Messages and paths in fixed buffers: building them must not allocate.

use core::ffi::CStr;

const SIZE: usize = 4096;

/// A text under construction. What does not fit is cut off, and it is no path any more.
pub struct Text {
    bytes: [u8; SIZE],
    length: usize,
    fits: bool,
}

impl Text {
    pub const fn new() -> Self {
        Text {
            bytes: [0; SIZE],
            length: 0,
            fits: true,
        }
    }

    pub fn append(&mut self, text: &[u8]) -> &mut Self {
        // One byte is kept for the final zero.
        let kept = text.len().min(SIZE - 1 - self.length);
        self.fits &= kept == text.len();
        self.bytes[self.length..self.length + kept].copy_from_slice(&text[..kept]);
        self.length += kept;
        self
    }

    pub fn append_number(&mut self, number: u64) -> &mut Self {
        self.append_digits(number, 10)
    }

    pub fn append_address(&mut self, address: usize) -> &mut Self {
        self.append(b"0x").append_digits(address as u64, 16)
    }

    fn append_digits(&mut self, number: u64, base: u64) -> &mut Self {
        let mut digits = [0_u8; 20];
        let mut first = digits.len();
        let mut rest = number;
        while first == digits.len() || rest > 0 {
            first -= 1;
            digits[first] = b"0123456789abcdef"[(rest % base) as usize];
            rest /= base;
        }
        self.append(&digits[first..])
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// The path for a system call; None if it did not fit.
    pub fn as_path(&self) -> Option<&CStr> {
        let text = CStr::from_bytes_with_nul(&self.bytes[..=self.length]).ok()?;
        self.fits.then_some(text)
    }
}
