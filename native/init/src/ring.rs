//! The last words of the service, the kernel and process 1, in a file of fixed size that a crash
//! does not take along.
//!
//! Blocks of 4 KiB, each with its number and the time when it was begun; the oldest one is written
//! over. What is appended is in the file within FLUSH_MS. `src/onejob/system/logs.py` reads it.

use alloc::vec;
use alloc::vec::Vec;
use core::cell::UnsafeCell;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, fdatasync, fstat, openat, renameat, unlinkat};
use rustix::io::{Errno, Result, pread, pwrite};

use crate::files::write_whole;
use crate::sys::{self, now_ms, unix_time};

const NAME: &str = "log";
const UNFINISHED: &str = "log.new";
const BLOCK: usize = 4096;
const BLOCKS: u64 = 256;
const SIZE: u64 = BLOCKS * BLOCK as u64;
/// A block begins with this, its number, from 1 on, and seconds since 1970; 24 bytes together.
const MAGIC: &[u8; 8] = b"OJRING\x001";
const LARGEST_NUMBER: u64 = 1 << 56;
/// A disk's flush takes milliseconds, in which process 1 does nothing else.
const FLUSH_MS: u64 = 100;

pub struct Ring {
    file: OwnedFd,
    /// The block that is being filled; its head first.
    block: Vec<u8>,
    number: u64,
    /// Something of it is not in the file.
    dirty: bool,
    flushed_ms: u64,
    /// Of a machine, whose memory is lost with it; the host of a container keeps what was written.
    durable: bool,
}

struct Place(UnsafeCell<Option<Ring>>);

// SAFETY: process 1 has one thread; its child after `clone` works on a copy.
unsafe impl Sync for Place {}

static RING: Place = Place(UnsafeCell::new(None));

/// Do something with the ring, where there is one.
fn with<T>(act: impl FnOnce(&mut Ring) -> T) -> Option<T> {
    // SAFETY: one thread, and none of the functions that `act` can be calls this one.
    unsafe { &mut *RING.0.get() }.as_mut().map(act)
}

/// Keep words in `folder` from now on, after those of earlier boots.
pub fn open_in(folder: BorrowedFd, durable: bool) -> Result<()> {
    let ring = Ring::open(folder, durable)?;
    // SAFETY: as in `with`.
    unsafe { *RING.0.get() = Some(ring) };
    Ok(())
}

pub fn append(bytes: &[u8]) {
    with(|ring| ring.append(bytes));
}

/// When `flush_if_due` wants to be called.
pub fn due_ms() -> Option<u64> {
    with(|ring| ring.dirty.then_some(ring.flushed_ms + FLUSH_MS)).flatten()
}

pub fn flush_if_due() {
    if due_ms().is_some_and(|due| now_ms() >= due) {
        with(Ring::flush);
    }
}

/// Write the rest, and let go of the file.
pub fn close() {
    with(Ring::flush);
    // SAFETY: as in `with`.
    unsafe { *RING.0.get() = None };
}

impl Ring {
    fn open(folder: BorrowedFd, durable: bool) -> Result<Ring> {
        let (file, last) = match open_old(folder) {
            Ok(found) => found,
            Err(_) => (make(folder)?, 0),
        };
        let mut ring = Ring { file, block: Vec::new(), number: last, dirty: false, flushed_ms: 0, durable };
        ring.begin();
        Ok(ring)
    }

    fn begin(&mut self) {
        self.number += 1;
        self.block.clear();
        self.block.extend_from_slice(MAGIC);
        self.block.extend_from_slice(&self.number.to_le_bytes());
        self.block.extend_from_slice(&unix_time().to_le_bytes());
    }

    fn append(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let count = bytes.len().min(BLOCK - self.block.len());
            self.block.extend_from_slice(&bytes[..count]);
            bytes = &bytes[count..];
            self.dirty = true;
            if self.block.len() == BLOCK {
                self.write();
                self.begin();
            }
        }
    }

    /// The block as it is, the rest of it zeros. There is space for it: a failure is the disk's.
    fn write(&mut self) {
        let filled = self.block.len();
        self.block.resize(BLOCK, 0);
        let _ = pwrite(&self.file, &self.block, self.number % BLOCKS * BLOCK as u64);
        self.block.truncate(filled);
    }

    fn flush(&mut self) {
        if self.dirty {
            self.write();
            if self.durable {
                let _ = fdatasync(&self.file);
            }
            (self.dirty, self.flushed_ms) = (false, now_ms());
        }
    }
}

/// The file of earlier boots, and the number of its newest block.
fn open_old(folder: BorrowedFd) -> Result<(OwnedFd, u64)> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(folder, NAME, flags, Mode::empty())?;
    let stat = fstat(&file)?;
    let ours = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
        && (stat.st_uid, stat.st_nlink, stat.st_size) == (0, 1, SIZE as i64);
    if !ours {
        return Err(Errno::INVAL);
    }
    let mut newest = 0;
    for place in 0..BLOCKS {
        let mut head = [0_u8; 16];
        pread(&file, &mut head, place * BLOCK as u64)?;
        let (magic, number) = head.split_at(8);
        if magic == MAGIC {
            newest = newest.max(u64::from_le_bytes(number.try_into().unwrap_or_default()));
        }
    }
    if newest < LARGEST_NUMBER { Ok((file, newest)) } else { Err(Errno::INVAL) }
}

/// A new one, all of it written, so that a full disk is found now and not when there is something to
/// say, and so that later only contents change.
fn make(folder: BorrowedFd) -> Result<OwnedFd> {
    let _ = unlinkat(folder, UNFINISHED, AtFlags::empty());
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(folder, UNFINISHED, flags, Mode::RUSR | Mode::WUSR)?;
    let zeros = vec![0; 16 * BLOCK];
    let made = (0..BLOCKS / 16)
        .try_for_each(|_| write_whole(file.as_fd(), &zeros))
        .and_then(|()| fdatasync(&file))
        .and_then(|()| renameat(folder, UNFINISHED, folder, NAME));
    if let Err(error) = made {
        let _ = unlinkat(folder, UNFINISHED, AtFlags::empty());
        return Err(error);
    }
    checkpoint(&file);
    Ok(file)
}

/// Have ext4 put into their places what its journal has of the new file, so that it can be read from
/// the disk's image as it is after a crash. Nothing but contents changes later. Other file systems
/// know no such call.
fn checkpoint(file: &OwnedFd) {
    const EXT4_IOC_CHECKPOINT: usize = 0x4004_662b; // linux/ext4.h
    // SAFETY: it reads one 32-bit word of flags.
    let _ = unsafe { sys::control_device(file.as_fd(), EXT4_IOC_CHECKPOINT, &mut [0]) };
}
