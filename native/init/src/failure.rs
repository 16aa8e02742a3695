//! One error for the whole of process 1: what failed, on which object, and what to do about it.

use alloc::string::{String, ToString};
use core::fmt::{self, Arguments};

use rustix::io::Errno;

/// A sentence for the console; `hint` says what to do, or is empty.
#[derive(Debug)]
pub struct Failure {
    pub what: String,
    pub hint: &'static str,
}

pub type Outcome<T> = Result<T, Failure>;

impl Failure {
    #[cold]
    #[inline(never)] // once, and not at each of its many callers
    pub fn new(what: Arguments, hint: &'static str) -> Self {
        Failure { what: what.to_string(), hint }
    }

    #[cold]
    #[inline(never)]
    fn refused(what: Arguments, error: Errno, hint: &'static str) -> Self {
        Failure::new(format_args!("{what}: {}", Reason(error)), hint)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str(&self.what)?;
        if !self.hint.is_empty() {
            write!(out, ". Hint: {}", self.hint)?;
        }
        Ok(())
    }
}

/// Turns a kernel error into a `Failure` that names the object.
pub trait OrFail<T> {
    fn or_fail(self, what: Arguments) -> Outcome<T>;
    fn or_fail_hint(self, what: Arguments, hint: &'static str) -> Outcome<T>;
}

impl<T> OrFail<T> for rustix::io::Result<T> {
    fn or_fail(self, what: Arguments) -> Outcome<T> {
        self.or_fail_hint(what, "")
    }

    fn or_fail_hint(self, what: Arguments, hint: &'static str) -> Outcome<T> {
        self.map_err(|error| Failure::refused(what, error, hint))
    }
}

/// The words that libc's strerror has for an error number.
pub struct Reason(pub Errno);

/// The errors that the calls of process 1 are known to give (their man pages, section ERRORS).
const REASONS: &[(Errno, &str)] = &[
    (Errno::PERM, "Operation not permitted"),
    (Errno::NOENT, "No such file or directory"),
    (Errno::SRCH, "No such process"),
    (Errno::INTR, "Interrupted system call"),
    (Errno::IO, "Input/output error"),
    (Errno::NXIO, "No such device or address"),
    (Errno::TOOBIG, "Argument list too long"),
    (Errno::NOEXEC, "Exec format error"),
    (Errno::BADF, "Bad file descriptor"),
    (Errno::AGAIN, "Resource temporarily unavailable"),
    (Errno::NOMEM, "Cannot allocate memory"),
    (Errno::ACCESS, "Permission denied"),
    (Errno::FAULT, "Bad address"),
    (Errno::NOTBLK, "Block device required"),
    (Errno::BUSY, "Device or resource busy"),
    (Errno::EXIST, "File exists"),
    (Errno::XDEV, "Invalid cross-device link"),
    (Errno::NODEV, "No such device"),
    (Errno::NOTDIR, "Not a directory"),
    (Errno::ISDIR, "Is a directory"),
    (Errno::INVAL, "Invalid argument"),
    (Errno::MFILE, "Too many open files"),
    (Errno::TXTBSY, "Text file busy"),
    (Errno::FBIG, "File too large"),
    (Errno::NOSPC, "No space left on device"),
    (Errno::RANGE, "the kernel holds another value than was set"),
    (Errno::ROFS, "Read-only file system"),
    (Errno::MLINK, "Too many links"),
    (Errno::NAMETOOLONG, "File name too long"),
    (Errno::NOSYS, "Function not implemented"),
    (Errno::NOTEMPTY, "Directory not empty"),
    (Errno::LOOP, "Too many levels of symbolic links"),
    (Errno::OPNOTSUPP, "Operation not supported"),
];

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match REASONS.iter().find(|(error, _)| *error == self.0) {
            Some((_, words)) => out.write_str(words),
            None => write!(out, "error {}", self.0.raw_os_error()),
        }
    }
}
