//! Logs can only be extended: the kernel's append-only attribute (FS_APPEND_FL, ioctl_iflags(2)).
//!
//! Whoever lacks CAP_LINUX_IMMUTABLE, as the service does, can then neither overwrite, empty, rename nor
//! remove the file, nor change its owner or mode. A service sets these when it has made a log, so that
//! a log is left alone as long as the service starts, and a new one until it has been there for a while.

use alloc::vec::Vec;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use rustix::io::{Errno, Result};

use crate::console::say;
use crate::failure::Reason;
use crate::instance::LogPlan;
use crate::sys::{self, now_ms};

// linux/fs.h; both move four bytes, whatever their numbers say.
const GET_FLAGS: usize = 0x8008_6601;
const SET_FLAGS: usize = 0x4008_6602;
const APPEND: u64 = 0x20;

/// A new log is left alone for one to two of these.
const LOOK_MS: u64 = 5_000;

pub struct Logs<'a> {
    plan: &'a [LogPlan],
    due_ms: u64,
    /// The service has settled, so what it opened at its start is as it wants it.
    begun: bool,
    /// Inodes that had no protection at the last look.
    young: Vec<u64>,
    /// What could not be protected, which was said.
    failed: Vec<&'a str>,
}

impl<'a> Logs<'a> {
    pub fn new(plan: &'a [LogPlan]) -> Self {
        Logs { plan, due_ms: now_ms() + LOOK_MS, begun: false, young: Vec::new(), failed: Vec::new() }
    }

    /// Protect what is old enough; all, at the moment at which the service has settled.
    pub fn protect_if_due(&mut self, settled: bool) {
        let begins = settled && !self.begun;
        if !begins && now_ms() < self.due_ms {
            return;
        }
        self.begun |= settled;
        self.due_ms = now_ms() + LOOK_MS;
        let old = core::mem::take(&mut self.young);
        for (path, _) in self.plan {
            match self.protect_if_old(path, &old, begins) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => self.complain(path, error),
            }
        }
    }

    fn protect_if_old(&mut self, path: &str, old: &[u64], begins: bool) -> Result<()> {
        let (file, inode) = open(path)?;
        let flags = flags_of(&file)?;
        if flags & APPEND != 0 {
            return Ok(());
        }
        if begins || old.contains(&inode) {
            return set_flags(&file, flags | APPEND);
        }
        self.young.push(inode);
        Ok(())
    }

    fn complain(&mut self, path: &'a str, error: Errno) {
        if !self.failed.contains(&path) {
            self.failed.push(path);
            say(format_args!("{path} is not protected from being rewritten: {}", Reason(error)));
        }
    }
}

/// Before the service starts: what an earlier boot protected may get another owner or mode.
pub fn lift_all(plan: &[LogPlan]) {
    for (path, _) in plan {
        let _ = lift(path); // it is not there, or was never protected
    }
}

/// When the administrator sends a signal: a service that opens its logs anew gives owner and mode to
/// those that are still there, too. They are young again.
pub fn lift_changing(plan: &[LogPlan]) {
    for (path, _) in plan.iter().filter(|(_, changes)| *changes) {
        let _ = lift(path);
    }
}

/// Take the protection of a file away; whether it had one.
pub fn lift(path: &str) -> Result<bool> {
    let (file, _) = open(path)?;
    let flags = flags_of(&file)?;
    if flags & APPEND == 0 {
        return Ok(false);
    }
    set_flags(&file, flags & !APPEND).map(|()| true)
}

/// Give it back to a file that had it.
pub fn restore(path: &str) -> Result<()> {
    let (file, _) = open(path)?;
    set_flags(&file, flags_of(&file)? | APPEND)
}

/// A regular file and its inode's number, through no symbolic link and without waiting for anybody.
fn open(path: &str) -> Result<(OwnedFd, u64)> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)?;
    let found = fstat(&file)?;
    match FileType::from_raw_mode(found.st_mode) {
        FileType::RegularFile => Ok((file, found.st_ino)),
        _ => Err(Errno::OPNOTSUPP),
    }
}

fn flags_of(file: &OwnedFd) -> Result<u64> {
    let mut flags = [0];
    // SAFETY: the kernel writes four bytes of the eight.
    unsafe { sys::control_device(file.as_fd(), GET_FLAGS, &mut flags)? };
    Ok(flags[0])
}

fn set_flags(file: &OwnedFd, flags: u64) -> Result<()> {
    // SAFETY: the kernel reads four bytes of the eight.
    unsafe { sys::control_device(file.as_fd(), SET_FLAGS, &mut [flags]) }
}
