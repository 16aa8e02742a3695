//! Programs that run stay in memory: when a machine has none left, somebody's process ends.
//!
//! Nothing is swapped. So the kernel takes the pages of files first, programs' among them, which are read
//! again at once, and as long as it gets any it kills nobody: a service that takes all memory makes
//! everybody read their programs, and no one gets on. Pages that process 1 locks (mlock(2)) are not
//! taken, in no process. It locks those that are in the page cache, of the root's files that are mapped.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::ffi::c_void;
use core::ptr::null_mut;

use rustix::fd::OwnedFd;
use rustix::fs::{FileType, fstat, major, minor, stat};
use rustix::io::Result;
use rustix::mm::{MapFlags, MlockAllFlags, ProtFlags, mlock, mlockall, mmap, munmap};

use crate::console::say;
use crate::failure::Reason;
use crate::files::{open_to_read, read_up_to, text_of};
use crate::processes;
use crate::sys::{self, now_ms};

const PAGE: usize = 4096;
/// What a service uses later is locked later: after a second, two, four, and so on up to a minute.
const FIRST_MS: u64 = 1_000;
const LAST_MS: u64 = 60_000;
/// The share that is locked at most of the memory that is free when the service settles: a machine
/// that has just enough goes on reading programs anew.
const SHARE: usize = 2;
const MOST_FILES: usize = 1024;
const MOST_MAPS: usize = 1 << 20;

pub struct Residents {
    files: Vec<File>,
    /// As /proc/PID/maps writes the root's device.
    device: String,
    /// Pages that may still be locked; None until the first look.
    left: Option<usize>,
    due_ms: u64,
    pause_ms: u64,
}

/// A file of the root, mapped by process 1 from its first page on.
struct File {
    inode: u64,
    address: usize,
    /// For each page whether it is locked.
    locked: Vec<bool>,
}

impl Residents {
    /// In a machine of our own; process 1 is locked first. Elsewhere memory is the host's.
    pub fn begin() -> Option<Self> {
        if let Err(error) = mlockall(MlockAllFlags::CURRENT) {
            say(format_args!("programs are not kept in memory: {}", Reason(error)));
            return None;
        }
        let root = stat("/").ok()?;
        Some(Residents {
            files: Vec::new(),
            device: format!("{:02x}:{:02x}", major(root.st_dev), minor(root.st_dev)),
            left: None,
            due_ms: 0,
            pause_ms: FIRST_MS,
        })
    }

    /// When `keep_if_due` wants to be called.
    pub fn due_ms(&self) -> Option<u64> {
        (self.due_ms > 0).then_some(self.due_ms)
    }

    /// Lock what is there: at the moment at which the service has `settled`, and later again.
    pub fn keep_if_due(&mut self, settled: bool) {
        if !settled || now_ms() < self.due_ms {
            return;
        }
        let left = self.left.unwrap_or_else(|| free_pages() / SHARE);
        self.left = Some(self.keep(left));
        self.due_ms = now_ms() + self.pause_ms;
        self.pause_ms = (self.pause_ms * 2).min(LAST_MS);
    }

    /// How many pages of the `left` ones are left.
    fn keep(&mut self, mut left: usize) -> usize {
        let mut seen: Vec<String> = Vec::new();
        for process in processes::all().unwrap_or_default() {
            if !seen.contains(&process.program) {
                self.find_files(process.pid);
                seen.push(process.program);
            }
        }
        for file in &mut self.files {
            file.lock_what_is_there(&mut left);
        }
        left
    }

    /// The root's files that a process has mapped (proc_pid_maps(5)): address, rights, offset, device,
    /// inode, path.
    fn find_files(&mut self, pid: i32) {
        let maps = open_to_read(&format!("/proc/{pid}/maps")).and_then(|file| read_up_to(file, MOST_MAPS));
        for line in text_of(&maps.unwrap_or_default()).lines() {
            let mut columns = line.split_ascii_whitespace().skip(3);
            let (Some(device), Some(inode)) = (columns.next(), columns.next()) else { continue };
            let Some((_, path)) = line.split_once('/') else { continue };
            let known = |inode: u64| self.files.iter().any(|file| file.inode == inode);
            let new = inode.parse().is_ok_and(|inode| !known(inode)) && self.files.len() < MOST_FILES;
            if device == self.device && new {
                self.files.extend(File::map(&format!("/{path}"), &self.device));
            }
        }
    }
}

impl File {
    /// None where it is not what a process had mapped: nothing of it is needed.
    fn map(path: &str, device: &str) -> Option<File> {
        let file = open_to_read(path).ok()?;
        let found = fstat(&file).ok()?;
        let there = format!("{:02x}:{:02x}", major(found.st_dev), minor(found.st_dev));
        if there != device || FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
            return None;
        }
        let pages = usize::try_from(found.st_size).ok()?.div_ceil(PAGE);
        let address = map_to_read(&file, pages * PAGE).ok()?;
        Some(File { inode: found.st_ino, address, locked: vec![false; pages] })
    }

    fn lock_what_is_there(&mut self, left: &mut usize) {
        let Ok(there) = sys::resident_pages(self.address, self.locked.len()) else { return };
        for (page, there) in there.into_iter().enumerate() {
            if !there || self.locked[page] || *left == 0 {
                continue;
            }
            let address = (self.address + page * PAGE) as *mut c_void;
            // SAFETY: a page of a mapping of our own, which stays; locking changes none of its bytes.
            if unsafe { mlock(address, PAGE) }.is_ok() {
                self.locked[page] = true;
                *left -= 1;
            }
        }
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: nothing else knows the mapping.
        let _ = unsafe { munmap(self.address as *mut c_void, self.locked.len() * PAGE) };
    }
}

fn free_pages() -> usize {
    let memory = rustix::system::sysinfo();
    memory.freeram as usize * memory.mem_unit as usize / PAGE
}

fn map_to_read(file: &OwnedFd, length: usize) -> Result<usize> {
    // SAFETY: a new mapping at a place that the kernel chooses; nobody reads it through a reference.
    unsafe { mmap(null_mut(), length, ProtFlags::READ, MapFlags::SHARED, file, 0) }
        .map(|start| start as usize)
}
