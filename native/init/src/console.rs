//! Words of process 1 for the console. They are lost rather than that process 1 waits for a reader.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Arguments;
use core::sync::atomic::{AtomicI32, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{BorrowedFd, IntoRawFd};
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::{Errno, dup2, fcntl_dupfd_cloexec, fcntl_getfd, write};
use rustix::net::{SendFlags, send};

use crate::files::read_whole;
use crate::{ring, sys};

const LONGEST_LINE: usize = 2000;
const PATIENCE_MS: i64 = 200;

/// The consoles that the kernel has, /dev/console last (Documentation/admin-guide/serial-console.rst).
const ACTIVE: &str = "/sys/class/tty/console/active";
const MOST_OTHERS: usize = 4;

static CONSOLE: AtomicI32 = AtomicI32::new(2);
/// Where words go besides, as far as these take them at once.
static OTHERS: [AtomicI32; MOST_OTHERS] = [const { AtomicI32::new(-1) }; MOST_OTHERS];

/// Where words go.
pub fn descriptor() -> BorrowedFd<'static> {
    // SAFETY: descriptor 2 and those that `reopen` and `stand_apart` leak are never closed.
    unsafe { BorrowedFd::borrow_raw(CONSOLE.load(Ordering::Relaxed)) }
}

/// Say one line, with "onejob: " before it. Control characters of foreign names are masked.
pub fn say(words: Arguments) {
    let mut line = format!("onejob: {words}").into_bytes();
    line.truncate(LONGEST_LINE);
    for byte in &mut line {
        if *byte < b' ' || *byte == 0x7f {
            *byte = b'?';
        }
    }
    line.push(b'\n');
    ring::append(&line);
    put(&line);
}

/// Write all of it, unless the console takes nothing for a while.
pub fn put(mut rest: &[u8]) {
    let patience = Timespec { tv_sec: 0, tv_nsec: PATIENCE_MS * 1_000_000 };
    while !rest.is_empty() {
        let mut wait = [PollFd::from_borrowed_fd(descriptor(), PollFlags::OUT)];
        if !matches!(poll(&mut wait, Some(&patience)), Ok(1..)) {
            return;
        }
        match write_some(rest) {
            Ok(count) => rest = &rest[count..],
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

/// A socket can be told not to block; pipes and terminals were reopened, or have room for a line now.
pub fn write_some(bytes: &[u8]) -> rustix::io::Result<usize> {
    let count = match send(descriptor(), bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
        Err(Errno::NOTSOCK | Errno::NOSYS) => write(descriptor(), bytes),
        outcome => outcome,
    }?;
    repeat(&bytes[..count]);
    Ok(count)
}

fn repeat(bytes: &[u8]) {
    for other in OTHERS.iter().map(|other| other.load(Ordering::Relaxed)).filter(|other| *other >= 0) {
        // SAFETY: `speak_everywhere` leaks these descriptors, so they are never closed.
        let other = unsafe { BorrowedFd::borrow_raw(other) };
        let mut rest = bytes;
        while let Ok(count @ 1..) = write(other, rest) {
            rest = &rest[count..];
        }
    }
}

/// The device nodes of all consoles of a machine, /dev/console last.
pub fn paths() -> Vec<String> {
    let active = read_whole(ACTIVE, LONGEST_LINE).unwrap_or_default();
    let names = core::str::from_utf8(&active).unwrap_or_default().split_ascii_whitespace();
    names.map(|name| format!("/dev/{name}")).collect()
}

/// From now on, have all consoles say what /dev/console does: nobody knows at which a person sits.
pub fn speak_everywhere() {
    let mut paths = paths();
    paths.pop();
    for (path, other) in paths.iter().zip(&OTHERS) {
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        if let Ok(opened) = openat(CWD, path.as_str(), flags, Mode::empty()) {
            other.store(opened.into_raw_fd(), Ordering::Relaxed);
        }
    }
}

/// Make sure that descriptors 0 to 2 exist, so that no other file gets their numbers.
pub fn ensure_standard_descriptors() {
    for number in 0..3 {
        // SAFETY: only asked whether it is open.
        let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
        if fcntl_getfd(descriptor).is_ok() {
            continue;
        }
        for (path, flags) in
            [("/dev/console", OFlags::RDWR), ("/dev/null", OFlags::RDWR), ("/", OFlags::RDONLY)]
        {
            // The lowest free number is the one that is missing.
            if let Ok(opened) = openat(CWD, path, flags | OFlags::NOCTTY, Mode::empty()) {
                let _ = opened.into_raw_fd();
                break;
            }
        }
    }
}

/// The service has no use for a keyboard: its standard input is empty, as when it was profiled.
pub fn empty_standard_input() {
    if let Ok(null) = openat(CWD, "/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        // SAFETY: descriptor 0 is open, and nobody in this process owns it; it stays open.
        let mut input = core::mem::ManuallyDrop::new(unsafe {
            <rustix::fd::OwnedFd as rustix::fd::FromRawFd>::from_raw_fd(0)
        });
        let _ = dup2(&null, &mut input);
    }
}

/// Have the console under a number of its own, so that 1 and 2 can become something else.
pub fn stand_apart() -> rustix::io::Result<()> {
    if CONSOLE.load(Ordering::Relaxed) == 2 {
        CONSOLE.store(fcntl_dupfd_cloexec(descriptor(), 3)?.into_raw_fd(), Ordering::Relaxed);
    }
    Ok(())
}

/// Open the console a second time, non-blocking: the flag is per open file, and the service's own
/// must stay blocking. A pipe or terminal only: reopening a regular file would start at its top.
pub fn reopen() {
    let kind = fstat(descriptor()).map(|stat| FileType::from_raw_mode(stat.st_mode));
    if !matches!(kind, Ok(FileType::Fifo | FileType::CharacterDevice)) {
        return;
    }
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    if let Ok(opened) = openat(CWD, "/proc/self/fd/2", flags, Mode::empty()) {
        CONSOLE.store(opened.into_raw_fd(), Ordering::Relaxed);
    }
}

/// Wait, up to a second, until the terminal has sent what was written to it.
pub fn drain() {
    const TIOCOUTQ: usize = 0x5411;
    for _ in 0..50 {
        let mut unsent = [0];
        // SAFETY: TIOCOUTQ writes one int.
        let asked = unsafe { sys::control_device(descriptor(), TIOCOUTQ, &mut unsent) };
        if asked.is_err() {
            return; // no terminal
        }
        pause_ms(20); // also the time in which a serial port empties its own 16 bytes
        if unsent[0] == 0 {
            return;
        }
    }
}

pub fn pause_ms(milliseconds: i64) {
    let time = Timespec { tv_sec: milliseconds / 1000, tv_nsec: milliseconds % 1000 * 1_000_000 };
    let _ = rustix::thread::nanosleep(&time);
}
