//! First contents of a writable directory: a copy of what the read-only root has in its place.

use alloc::format;

use rustix::fd::{AsFd, BorrowedFd};
use rustix::ffi::CStr;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::fs::{
    chownat, fchmod, fchown, fstat, mkdirat, openat, readlinkat, renameat, statat, symlinkat, syncfs,
    unlinkat,
};
use rustix::io::{Errno, Result};

use crate::console::say;
use crate::failure::{Failure, OrFail, Outcome, Reason};
use crate::files::{copy_content, make_directories, open_directory};

/// A copy that a power failure cut short lies under a name with this ending.
const UNFINISHED: &str = ".onejob-unfinished";

/// Give the data partition its directory for `path`, unless it has one from an earlier boot.
pub fn seed_directory(partition: BorrowedFd, path: &str) -> Outcome<()> {
    let trimmed = path.trim_end_matches('/');
    let (parents, name) = trimmed.rsplit_once('/').unwrap_or(("", trimmed));
    let parent = make_directories(partition, parents)?;
    match statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) if FileType::from_raw_mode(found.st_mode) == FileType::Directory => return Ok(()),
        Err(Errno::NOENT) => {}
        _ => {
            return Err(Failure::new(
                format_args!("the data partition has something that is not a directory at {path}"),
                "remove it, or start with an empty data partition",
            ));
        }
    }
    let unfinished = format!("{name}{UNFINISHED}");
    remove_tree(parent.as_fd(), &unfinished)
        .or_fail(format_args!("cannot remove an unfinished copy of {path}"))?;
    copy_top(parent.as_fd(), &unfinished, path)?;
    // The contents must be on disk before the name that says they are complete.
    syncfs(&parent)
        .and_then(|()| renameat(&parent, unfinished.as_str(), &parent, name))
        .and_then(|()| syncfs(&parent))
        .or_fail(format_args!("cannot finish the first copy of {path}"))
}

fn copy_top(parent: BorrowedFd, unfinished: &str, path: &str) -> Outcome<()> {
    let what = format!("cannot seed {path} on the data partition");
    let source = openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .or_fail_hint(format_args!("{what}"), "the root must have that directory: build the image again")?;
    let stat = fstat(&source).or_fail(format_args!("{what}"))?;
    mkdirat(parent, unfinished, Mode::from_raw_mode(0o700)).or_fail(format_args!("{what}"))?;
    let target = open_directory(parent, unfinished).or_fail(format_args!("{what}"))?;
    copy_tree(source.as_fd(), target.as_fd(), path)?;
    take_over(target.as_fd(), &stat).or_fail(format_args!("{what}"))
}

/// Copy what is in directory `source` into directory `target`; `path` is for messages.
pub fn copy_tree(source: BorrowedFd, target: BorrowedFd, path: &str) -> Outcome<()> {
    let entries = Dir::read_from(source).or_fail(format_args!("cannot list {path}"))?;
    for entry in entries {
        let entry = entry.or_fail(format_args!("cannot list {path}"))?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            copy_entry(source, target, name, path)?;
        }
    }
    Ok(())
}

fn copy_entry(source: BorrowedFd, target: BorrowedFd, name: &CStr, path: &str) -> Outcome<()> {
    let path = format!("{path}/{}", name.to_string_lossy());
    let copied = statat(source, name, AtFlags::SYMLINK_NOFOLLOW).and_then(|stat| {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => return Ok(Some(stat)),
            FileType::RegularFile => copy_file(source, target, name, &stat)?,
            FileType::Symlink => copy_link(source, target, name, &stat)?,
            _ => say(format_args!("{path} is neither file, directory nor link: not copied")),
        }
        Ok(None)
    });
    match copied {
        Ok(Some(stat)) => copy_directory(source, target, name, &stat, &path),
        Ok(None) => Ok(()),
        Err(error) => Err(Failure::new(format_args!("cannot copy {path}: {}", Reason(error)), "")),
    }
}

fn copy_directory(
    source: BorrowedFd,
    target: BorrowedFd,
    name: &CStr,
    stat: &Stat,
    path: &str,
) -> Outcome<()> {
    let what = format_args!("cannot copy {path}");
    mkdirat(target, name, Mode::from_raw_mode(0o700)).or_fail(what)?;
    let from = open_directory(source, name).or_fail(what)?;
    let to = open_directory(target, name).or_fail(what)?;
    copy_tree(from.as_fd(), to.as_fd(), path)?;
    take_over(to.as_fd(), stat).or_fail(what)
}

fn copy_file(source: BorrowedFd, target: BorrowedFd, name: &CStr, stat: &Stat) -> Result<()> {
    let never_follow = OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let from = openat(source, name, OFlags::RDONLY | OFlags::NONBLOCK | never_follow, Mode::empty())?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | never_follow;
    let to = openat(target, name, flags, Mode::from_raw_mode(0o600))?;
    copy_content(&from, &to)?;
    take_over(to.as_fd(), stat)
}

fn copy_link(source: BorrowedFd, target: BorrowedFd, name: &CStr, stat: &Stat) -> Result<()> {
    let text = readlinkat(source, name, alloc::vec::Vec::new())?;
    symlinkat(text.as_c_str(), target, name)?;
    chownat(
        target,
        name,
        Some(Uid::from_raw(stat.st_uid)),
        Some(Gid::from_raw(stat.st_gid)),
        AtFlags::SYMLINK_NOFOLLOW,
    )
}

/// Owner first: a change of owner clears the set-user-ID bits of the mode.
fn take_over(file: BorrowedFd, stat: &Stat) -> Result<()> {
    fchown(file, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    fchmod(file, Mode::from_raw_mode(stat.st_mode & 0o7777))
}

/// Remove `name` and all below it; it need not exist.
fn remove_tree(parent: BorrowedFd, name: &str) -> Result<()> {
    let directory = match open_directory(parent, name) {
        Ok(directory) => directory,
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTDIR | Errno::LOOP) => return unlinkat(parent, name, AtFlags::empty()),
        Err(error) => return Err(error),
    };
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        let inner = entry.file_name();
        if inner == c"." || inner == c".." {
            continue;
        }
        let inner_text = inner.to_str().map_err(|_| Errno::ILSEQ)?;
        remove_tree(directory.as_fd(), inner_text)?;
    }
    unlinkat(parent, name, AtFlags::REMOVEDIR)
}
