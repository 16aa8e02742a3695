//! Search a file of any size for a text, a piece at a time so that process 1 stays awake.

use alloc::string::String;
use alloc::vec::Vec;

use rustix::buffer::spare_capacity;
use rustix::fd::OwnedFd;
use rustix::io::{Errno, Result, read};

use crate::files::open_regular;

const PIECE: usize = 64 * 1024;
const PIECES_PER_STEP: usize = 16;

pub struct Search {
    pub id: u64,
    pub path: String,
    file: OwnedFd,
    text: Vec<u8>,
    window: Vec<u8>,
}

impl Search {
    pub fn new(id: u64, path: &str, text: &str) -> Result<Search> {
        let file = open_regular(path)?;
        Ok(Search {
            id,
            path: path.into(),
            file,
            text: text.into(),
            window: Vec::with_capacity(PIECE + text.len()),
        })
    }

    /// Look through the next mebibyte; the answer as soon as there is one.
    pub fn step(&mut self) -> Option<Result<bool>> {
        if self.text.is_empty() {
            return Some(Ok(true));
        }
        for _ in 0..PIECES_PER_STEP {
            match read(&self.file, spare_capacity(&mut self.window)) {
                Ok(0) => return Some(Ok(false)),
                Ok(_) if self.found() => return Some(Ok(true)),
                Ok(_) => self.keep_tail(),
                Err(Errno::INTR) => {}
                Err(error) => return Some(Err(error)),
            }
        }
        None
    }

    fn found(&self) -> bool {
        let first = self.text[0];
        self.window.windows(self.text.len()).any(|here| here[0] == first && here == self.text)
    }

    /// A match may begin in this piece and end in the next one.
    fn keep_tail(&mut self) {
        let gone = self.window.len().saturating_sub(self.text.len() - 1);
        self.window.drain(..gone);
    }
}
