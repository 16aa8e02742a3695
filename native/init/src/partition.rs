//! The data partition: mounted, of this service and no other, and used by one instance at a time.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    CWD, Dir, FileType, FlockOperation, Mode, OFlags, flock, fstat, fsync, openat, renameat, stat, syncfs,
};
use rustix::io::{Errno, Result};
use rustix::mount::mount;

use crate::console::pause_ms;
use crate::failure::{Failure, OrFail, Outcome};
use crate::files::{open_directory, read_up_to, text_of, write_whole};
use crate::mounts::{HARMLESS, new_tmpfs};
use crate::place::DataAt;

pub const DATA: &str = "/.onejob/data";
/// The name of the service that the partition belongs to, written before anything else is.
const OWNER: &str = ".onejob-owner";
const UNFINISHED_OWNER: &str = ".onejob-owner-unfinished";
const LONGEST_NAME: usize = 256;
/// What mke2fs(8) makes, and what `onejob run` does on a host.
const OF_NOBODY: [&str; 3] = ["lost+found", ".onejob-logs", ".onejob-logs.img"];

/// What process 1 holds of the data partition until the end.
#[derive(Default)]
pub struct Held {
    /// Where it is mounted, innermost last.
    pub mounts: Vec<String>,
    /// Open and locked as long as process 1 lives.
    pub lock: Option<OwnedFd>,
}

/// Mount the partition and see whose it is; None where it is new with each boot.
pub fn mount_partition(data: &DataAt, name: &str) -> Outcome<Option<OwnedFd>> {
    match data {
        DataAt::Directory => claim(name).map(Some),
        DataAt::Memory { size_kib } => new_tmpfs(DATA, *size_kib, 0o755).map(|()| None),
        DataAt::Device(device) => {
            wait_for_device(device)?;
            mount_device(device)?;
            claim(name).map(Some)
        }
        DataAt::Nowhere => Err(Failure::new(
            format_args!("the plan keeps data, but ONEJOB_DATA is not set"),
            "set it to a block device, dir, or tmpfs:SIZE_KIB",
        )),
    }
}

/// Disks are found while the first processes run already; three seconds are enough for slow ones.
fn wait_for_device(device: &str) -> Outcome<()> {
    for _ in 0..150 {
        match stat(device).map(|found| FileType::from_raw_mode(found.st_mode)) {
            Ok(FileType::BlockDevice) => return Ok(()),
            Ok(_) => {
                return Err(Failure::new(
                    format_args!("{device} is not a block device"),
                    "set ONEJOB_DATA to the data disk",
                ));
            }
            Err(_) => pause_ms(20),
        }
    }
    Err(Failure::new(
        format_args!("the data device {device} did not appear"),
        "attach the data disk, or correct ONEJOB_DATA",
    ))
}

/// The kernel plays the journal back, if there is anything in it. After an error nothing more is
/// written, whatever the file system's own setting.
fn mount_device(device: &str) -> Outcome<()> {
    let mounted = match mount(device, DATA, c"ext4", HARMLESS, c"errors=remount-ro,prjquota") {
        // It was made without them; share.rs says what that means.
        Err(Errno::INVAL) => mount(device, DATA, c"ext4", HARMLESS, c"errors=remount-ro"),
        outcome => outcome,
    };
    let hint = match mounted {
        Err(Errno::ROFS | Errno::ACCESS) => "the disk is read-only: attach it so that it can be written",
        _ => {
            "it has no ext4 file system, or a damaged one: repair it with e2fsck on another machine, or \
             give an empty one"
        }
    };
    mounted.or_fail_hint(format_args!("cannot mount the data partition {device}"), hint)
}

/// Lock the partition, and see that it belongs to `name`; an empty one does from now on.
fn claim(name: &str) -> Outcome<OwnedFd> {
    let what = "cannot see whose the data partition is";
    let top = open_directory(CWD, DATA).or_fail(format_args!("{what}"))?;
    let lock = match open_owner(top.as_fd()) {
        Err(Errno::NOENT) => {
            refuse_foreign(top.as_fd())?;
            write_owner(top.as_fd(), name).or_fail_hint(
                format_args!("cannot write to the data partition"),
                "it must be writable and have room",
            )?;
            open_owner(top.as_fd())
        }
        outcome => outcome,
    };
    let lock = lock.or_fail(format_args!("{what}: {OWNER}"))?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => {
            return Err(Failure::new(
                format_args!("another instance uses this data partition"),
                "stop that one, or give this one a data partition of its own",
            ));
        }
        outcome => outcome.or_fail(format_args!("cannot lock the data partition"))?,
    }
    let owner = read_up_to(&lock, LONGEST_NAME).or_fail(format_args!("{what}: {OWNER}"))?;
    let owner = text_of(&owner);
    if owner.trim_end() == name {
        return Ok(lock);
    }
    Err(Failure::new(
        format_args!("the data partition belongs to {:?}, and this is {name}", owner.trim_end()),
        "attach the right one, or an empty one",
    ))
}

fn open_owner(top: BorrowedFd) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(top, OWNER, flags, Mode::empty())?;
    match FileType::from_raw_mode(fstat(&file)?.st_mode) {
        FileType::RegularFile => Ok(file),
        _ => Err(Errno::OPNOTSUPP),
    }
}

/// Nobody's files are taken over.
fn refuse_foreign(top: BorrowedFd) -> Outcome<()> {
    let problem = format_args!("cannot list the data partition");
    for entry in Dir::read_from(top).or_fail(problem)? {
        let entry = entry.or_fail(problem)?;
        let found = text_of(entry.file_name().to_bytes());
        if ![".", "..", UNFINISHED_OWNER].contains(&found.as_str()) && !OF_NOBODY.contains(&found.as_str()) {
            return Err(Failure::new(
                format_args!("the data partition has {found:?} on it, and no {OWNER} that says whose it is"),
                "give an empty one; or write the name of the service to that file, if it is its",
            ));
        }
    }
    Ok(())
}

/// Whole, or not there.
fn write_owner(top: BorrowedFd, name: &str) -> Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(top, UNFINISHED_OWNER, flags, Mode::from_raw_mode(0o600))?;
    write_whole(&file, format!("{name}\n").as_bytes())?;
    fsync(&file)?;
    renameat(top, UNFINISHED_OWNER, top, OWNER)?;
    syncfs(top)
}
