//! Small helpers on files: bounded reads, paths that follow no symbolic link.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use rustix::buffer::spare_capacity;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, fstat, mkdirat, openat, readlinkat};
use rustix::io::{Errno, read, write};

use crate::failure::{Failure, OrFail, Outcome};

/// Open for reading without ever waiting: a FIFO or terminal in the way must not stop process 1.
pub fn open_to_read(path: &str) -> rustix::io::Result<OwnedFd> {
    openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY, Mode::empty())
}

/// As `open_to_read`, but only a regular file.
pub fn open_regular(path: &str) -> rustix::io::Result<OwnedFd> {
    let file = open_to_read(path)?;
    match FileType::from_raw_mode(fstat(&file)?.st_mode) {
        FileType::RegularFile => Ok(file),
        FileType::Directory => Err(Errno::ISDIR),
        _ => Err(Errno::OPNOTSUPP),
    }
}

/// Read up to `limit` bytes from the current position.
pub fn read_up_to(file: impl AsFd, limit: usize) -> rustix::io::Result<Vec<u8>> {
    let mut content = Vec::new();
    while content.len() < limit {
        content.reserve_exact((limit - content.len()).min(16 * 1024));
        match read(&file, spare_capacity(&mut content)) {
            Ok(0) => break,
            Err(Errno::INTR) | Ok(_) => {}
            Err(error) => return Err(error),
        }
    }
    content.truncate(limit);
    Ok(content)
}

/// The whole of a file that may have at most `limit` bytes.
pub fn read_whole(path: &str, limit: usize) -> Outcome<Vec<u8>> {
    let content = open_regular(path).and_then(|file| read_up_to(file, limit + 1)).or_fail_hint(
        format_args!("cannot read {path}"),
        "the image lacks it or cannot be read: build it again",
    )?;
    if content.len() > limit {
        return Err(Failure::new(
            format_args!("{path} is larger than {limit} bytes"),
            "build the image again",
        ));
    }
    Ok(content)
}

/// Write all of it.
pub fn write_whole(file: impl AsFd, mut rest: &[u8]) -> rustix::io::Result<()> {
    while !rest.is_empty() {
        match write(&file, rest) {
            Ok(count) => rest = &rest[count..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Copy what is left of one file to the end of another.
pub fn copy_content(from: &OwnedFd, to: &OwnedFd) -> rustix::io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match read(from, &mut buffer[..]) {
            Ok(0) => return Ok(()),
            Ok(count) => write_whole(to, &buffer[..count])?,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// A directory directly in `parent`; a symbolic link in its place is an error.
pub fn open_directory(parent: BorrowedFd, name: impl rustix::path::Arg) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

/// Walk down from `top` along `path`, making what is missing, through no symbolic link.
pub fn make_directories(top: BorrowedFd, path: &str) -> Outcome<OwnedFd> {
    let problem = |name: &str| format!("cannot make directory {name} of {path}");
    let mut here = open_directory(top, ".").or_fail(format_args!("{}", problem(".")))?;
    for name in path.split('/').filter(|name| !name.is_empty() && *name != ".") {
        match mkdirat(&here, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error).or_fail(format_args!("{}", problem(name))),
        }
        here = open_directory(here.as_fd(), name).or_fail(format_args!("{}", problem(name)))?;
    }
    Ok(here)
}

/// Text of a file name, however odd its bytes.
pub fn text_of(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

/// Read a symbolic link.
pub fn link_text(path: &str) -> rustix::io::Result<String> {
    Ok(text_of(readlinkat(CWD, path, Vec::new())?.as_bytes()))
}

/// The names in a directory, in no order.
pub fn names_in(path: &str, most: usize) -> rustix::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(open_to_read(path)?)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(text_of(name));
        }
        if names.len() > most {
            return Err(Errno::TOOBIG);
        }
    }
    Ok(names)
}
