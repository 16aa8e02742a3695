//! Who may shut the system down from outside: the holder of the key of which the plan has the public
//! half. A signature is good for one challenge of this boot, and so only once.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use ed25519_compact::{PublicKey, Signature};

use crate::instance::Instance;
use crate::sys;

pub struct Administrator<'a> {
    instance: &'a Instance,
    /// What the next signature must be of; it stays until it was used.
    challenge: String,
}

impl<'a> Administrator<'a> {
    pub fn new(instance: &'a Instance) -> Self {
        Administrator { instance, challenge: String::new() }
    }

    /// Something that was never asked to be signed before.
    pub fn challenge(&mut self) -> Result<&str, String> {
        if self.challenge.is_empty() {
            let random = sys::random().map_err(|_| String::from("challenge: there is no randomness yet"))?;
            self.challenge = random.iter().map(|byte| format!("{byte:02x}")).collect();
        }
        Ok(&self.challenge)
    }

    /// Whether this, in hexadecimal, is the administrator's signature of the challenge, which is used
    /// up then.
    pub fn check(&mut self, signature: &str) -> Result<(), String> {
        let Some(key) = &self.instance.administrator else {
            return Err(String::from("shutdown: the plan names no administrator's key"));
        };
        let message = format!("onejob shutdown\n{}\n{}\n", self.instance.name, self.challenge);
        if self.challenge.is_empty() || !is_signed(message.as_bytes(), key, signature) {
            return Err(String::from("shutdown: this is not the administrator's signature of the challenge"));
        }
        self.challenge.clear();
        Ok(())
    }
}

fn is_signed(message: &[u8], key: &str, signature: &str) -> bool {
    let (Some(key), Some(signature)) = (bytes_of(key), bytes_of(signature)) else { return false };
    match (PublicKey::from_slice(&key), Signature::from_slice(&signature)) {
        (Ok(key), Ok(signature)) => key.verify(message, &signature).is_ok(),
        _ => false,
    }
}

/// Bytes written as pairs of hexadecimal digits.
pub fn bytes_of(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some((digit(high)? << 4 | digit(low)?) as u8));
    if rest.is_empty() { bytes.collect() } else { None }
}
