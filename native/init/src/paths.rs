//! Paths that programs asked for in vain, as the preloaded memory manager notes them, as JSON.
//!
//! The layout is that of `native/memory/src/noted.rs`. Processes of the service write it, so nothing in it is
//! trusted, and what is made of it is bounded.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::counts::word_at;
use crate::files::text_of;
use crate::json;

/// Of one program.
pub const MOST: usize = 128;
/// Of all programs together: the report must not grow with them.
const MOST_OF_ALL: usize = 512;
const MOST_PATH: usize = 224;
const PATH_AT: usize = 32;

/// By the numbers that the file has, from 1 on; the words are those of a profile.
const HOW: [&str; 10] = [
    "read",
    "written",
    "appended",
    "created",
    "listed",
    "looked-up",
    "executed",
    "removed",
    "changed",
    "renamed-from",
];

#[derive(Default)]
pub struct Paths {
    list: Vec<String>,
    unlisted: u64,
}

impl Paths {
    /// Those of one program, and how many times it asked for others.
    pub fn add<'a>(&mut self, program: &str, noted: impl Iterator<Item = &'a [u8]>, others: u64) {
        self.unlisted = self.unlisted.saturating_add(others);
        for (count, object) in noted.filter_map(|bytes| describe(program, bytes)) {
            if self.list.len() < MOST_OF_ALL {
                self.list.push(object);
            } else {
                self.unlisted = self.unlisted.saturating_add(count);
            }
        }
    }

    /// As members of a JSON object.
    pub fn fields(&self) -> String {
        let list = json::list(self.list.iter().cloned());
        format!(r#""unexpected_files":{list},"unexpected_files_unlisted":{}"#, self.unlisted)
    }
}

/// How often, and as an object; None where nothing is noted, or not yet.
fn describe(program: &str, bytes: &[u8]) -> Option<(u64, String)> {
    let (count, kinds, length) = (word_at(bytes, 8)?, word_at(bytes, 16)?, word_at(bytes, 24)? as u32);
    let how = HOW.get(((kinds >> 32) as usize).checked_sub(1)?)?;
    let path = bytes.get(PATH_AT..PATH_AT + (length as usize).min(MOST_PATH))?;
    if path.first() != Some(&b'/') || count == 0 {
        return None;
    }
    let object = format!(
        r#"{{"program":{},"path":{},"how":"{how}","error":{},"count":{count}}}"#,
        json::text(program),
        json::text(&text_of(path)),
        kinds as u32
    );
    Some((count, object))
}
