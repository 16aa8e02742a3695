//! The pages that a process is going to touch: it gets them before it serves, without a page fault later.
//!
//! A forked process shares all memory with its parent, and copies each page when it first writes to it;
//! so does its parent. A page of a program's data is the file's until then, and one of its code is not
//! mapped before it is first run. proc_pid_maps(5), proc_pid_pagemap(5), madvise(2).

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use rustix::fd::OwnedFd;
use rustix::io::pread;

use crate::files::{open_to_read, read_up_to, text_of};

const PAGE: u64 = 4096;
const MOST_TEXT: usize = 1 << 20;
/// Of a mapping that is larger, the first so many are looked at: allocators reserve gigabytes.
const MOST_LOOKED_AT: u64 = 16 * 1024;
/// Copied at most, about 2 ms. Beyond it nothing is done: such a process may be one for each client.
const MOST_COPIED: u64 = 1024;
const MOST_RANGES: usize = 128;
/// Of a shared mapping: what is a hole in it would take memory.
const MOST_SHARED: u64 = 64;

pub const POPULATE_READ: u64 = 22; // asm-generic/mman-common.h
pub const POPULATE_WRITE: u64 = 23;

/// An address, so many bytes, and how they are touched.
pub type Range = (u64, u64, u64);

// Documentation/admin-guide/mm/pagemap.rst
const PRESENT: u64 = 1 << 63;
const OF_FILE: u64 = 1 << 61;
const EXCLUSIVE: u64 = 1 << 56;

/// The ranges of a process; none where the kernel does not tell (it tells with
/// CONFIG_PROC_PAGE_MONITOR), or where too much would be copied.
pub fn of(pid: i32) -> Vec<Range> {
    ranges_of(pid).unwrap_or_default()
}

fn ranges_of(pid: i32) -> Option<Vec<Range>> {
    let maps =
        open_to_read(&format!("/proc/{pid}/maps")).and_then(|file| read_up_to(file, MOST_TEXT)).ok()?;
    let pages = open_to_read(&format!("/proc/{pid}/pagemap")).ok()?;
    let mut code = code_that_fits();
    let mut ranges = Vec::new();
    let mut copied = 0;
    for mapping in text_of(&maps).lines().filter_map(Mapping::parse) {
        if mapping.is_written {
            copied += mapping.add_written(&pages, &mut ranges)?;
        } else if mapping.pages <= code {
            code -= mapping.pages;
            extend(&mut ranges, (mapping.start, mapping.pages * PAGE, POPULATE_READ));
        }
    }
    ranges.truncate(MOST_RANGES);
    (copied <= MOST_COPIED).then_some(ranges)
}

/// Pages of files that may be read for it: a quarter of what the machine can spare.
fn code_that_fits() -> u64 {
    let spare = || -> Option<u64> {
        let table = text_of(&read_up_to(open_to_read("/proc/meminfo").ok()?, 4096).ok()?);
        let line = table.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
        line.trim().strip_suffix(" kB")?.parse().ok()
    };
    spare().unwrap_or(0) * 1024 / PAGE / 4
}

fn extend(ranges: &mut Vec<Range>, (address, more, how): Range) {
    match ranges.last_mut() {
        Some((start, size, same)) if *start + *size == address && *same == how => *size += more,
        _ => ranges.push((address, more, how)),
    }
}

struct Mapping {
    start: u64,
    pages: u64,
    has_file: bool,
    /// By the process alone, for itself.
    is_written: bool,
}

impl Mapping {
    /// None for those whose pages are not worth it, or cannot be had.
    fn parse(line: &str) -> Option<Mapping> {
        let mut words = line.split_ascii_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let &[b'r', writable, _, kind] = words.next()?.as_bytes() else { return None };
        let start = u64::from_str_radix(start, 16).ok()?;
        let pages = (u64::from_str_radix(end, 16).ok()? - start) / PAGE;
        let has_file = words.nth(2)? != "0";
        let is_written = (writable, kind) == (b'w', b'p');
        let is_shared = kind == b's';
        let is_wanted = is_written || has_file && (!is_shared || pages <= MOST_SHARED);
        is_wanted.then_some(Mapping { start, pages, has_file, is_written })
    }

    /// Adds what is there, and all that lies in a file; how many pages of it have to be copied.
    fn add_written(&self, pages: &OwnedFd, ranges: &mut Vec<Range>) -> Option<u64> {
        let mut copied = 0;
        for (address, entry) in (self.start..).step_by(PAGE as usize).zip(self.entries(pages)?) {
            if entry & PRESENT != 0 || self.has_file {
                copied += u64::from(entry & EXCLUSIVE == 0 || entry & OF_FILE != 0);
                extend(ranges, (address, PAGE, POPULATE_WRITE));
            }
        }
        Some(copied)
    }

    /// What the kernel says of each page.
    fn entries(&self, pages: &OwnedFd) -> Option<Vec<u64>> {
        let count = self.pages.min(MOST_LOOKED_AT) as usize;
        let mut bytes = vec![0; count * 8];
        let read = pread(pages, &mut bytes[..], self.start / PAGE * 8).ok()?;
        let (words, _) = bytes[..read].as_chunks();
        Some(words.iter().map(|word| u64::from_ne_bytes(*word)).collect())
    }
}
