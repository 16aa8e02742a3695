//! The little JSON that process 1 writes.

use alloc::string::String;

/// A quoted and escaped string.
pub fn text(words: &str) -> String {
    // Writing a str to memory cannot fail; an empty string stays valid JSON all the same.
    serde_json::to_string(words).unwrap_or_else(|_| String::from("\"\""))
}

/// A list of finished JSON values.
pub fn list(values: impl Iterator<Item = String>) -> String {
    let mut out = String::from("[");
    for value in values {
        if out.len() > 1 {
            out.push(',');
        }
        out.push_str(&value);
    }
    out.push(']');
    out
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Bytes in base64 (RFC 4648, with padding).
pub fn base64(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let word = group
            .iter()
            .enumerate()
            .fold(0, |word, (index, byte)| word | u32::from(*byte) << (16 - 8 * index));
        for index in 0..4 {
            let digit = ALPHABET[(word >> (18 - 6 * index) & 63) as usize];
            out.push(if index <= group.len() { digit as char } else { '=' });
        }
    }
    out
}
