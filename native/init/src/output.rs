//! What the service prints, and in a machine the kernel: on its way to the console it passes here,
//! and is kept in the ring.

use alloc::vec::Vec;

use rustix::buffer::spare_capacity;
use rustix::event::PollFlags;
use rustix::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::fs::{CWD, Gid, Mode, OFlags, Uid, fchown, fcntl_setfl, openat};
use rustix::io::{Errno, dup2, read};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::console;
use crate::failure::{OrFail, Outcome};
use crate::instance::Instance;
use crate::ring;

const PIECE: usize = 16 * 1024;
/// /dev/kmsg gives a record at each read (Documentation/ABI/testing/dev-kmsg).
const LONGEST_RECORD: usize = 8192;
const MOST_RECORDS: usize = 64;

pub struct Output {
    /// The reading end of the pipe that is the service's standard output and error.
    service: Option<OwnedFd>,
    /// The other end, which the service gets each time that it is started.
    writing: OwnedFd,
    kernel: Option<OwnedFd>,
    /// /dev/null, opened as long as it is there.
    nothing: Option<OwnedFd>,
    /// What the console has not taken yet: as long as there is any, the service has to wait, too.
    waiting: Vec<u8>,
}

impl Output {
    /// Make a pipe for the standard output and error of the service, which is what it had when it was
    /// profiled. Its owner is the user of the service, who may then open /dev/stdout. `kernels`: whether
    /// the kernel's words are kept, too.
    pub fn take(instance: &Instance, kernels: bool) -> Outcome<Output> {
        let what = format_args!("cannot make a pipe for the service's output");
        let (reading, writing) = pipe_with(PipeFlags::CLOEXEC).or_fail(what)?;
        let owner = (Uid::from_raw(instance.user), Gid::from_raw(instance.group));
        fchown(&writing, Some(owner.0), Some(owner.1)).or_fail(what)?;
        fcntl_setfl(&reading, OFlags::NONBLOCK).or_fail(what)?;
        console::stand_apart().or_fail(what)?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let kernel = kernels.then(|| openat(CWD, "/dev/kmsg", flags, Mode::empty()).ok()).flatten();
        let nothing = openat(CWD, "/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).ok();
        Ok(Output { service: Some(reading), writing, kernel, nothing, waiting: Vec::new() })
    }

    /// The pipe is the standard output and error of this process, and so of a service that it starts.
    pub fn lend(&self) -> Outcome<()> {
        set_standard(self.writing.as_fd()).or_fail(format_args!("cannot give the service its output"))
    }

    /// The service has its ends of the pipe, and process 1 lets go of its own.
    pub fn let_go(&self) {
        if let Some(nothing) = &self.nothing {
            let _ = set_standard(nothing.as_fd());
        }
    }

    /// What to poll for: the service's words, or the console if it has to take earlier ones.
    pub fn interest(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        if !self.waiting.is_empty() {
            return Some((console::descriptor(), PollFlags::OUT));
        }
        self.service.as_ref().map(|service| (service.as_fd(), PollFlags::IN))
    }

    pub fn kernel(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        self.kernel.as_ref().map(|kernel| (kernel.as_fd(), PollFlags::IN))
    }

    /// Move what is there, after poll said that something is.
    pub fn pass_on(&mut self) {
        if self.waiting.is_empty() {
            self.receive();
        }
        if !self.waiting.is_empty() {
            match console::write_some(&self.waiting) {
                Ok(count) => drop(self.waiting.drain(..count)),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(_) => self.waiting.clear(), // nobody will ever read it
            }
        }
    }

    /// All that the service has said before its end; the console gets a moment for it.
    pub fn finish(&mut self) {
        while self.service.is_some() {
            let rest = core::mem::take(&mut self.waiting);
            console::put(&rest);
            self.receive();
            if self.waiting.is_empty() {
                return;
            }
        }
    }

    fn receive(&mut self) {
        let Some(service) = self.service.as_ref() else { return };
        self.waiting.reserve(PIECE);
        match read(service, spare_capacity(&mut self.waiting)) {
            Ok(count) if count > 0 => ring::append(&self.waiting),
            _ => {}
        }
    }

    /// The kernel has printed them itself: they are only kept.
    pub fn keep_kernel_words(&mut self) {
        let Some(kernel) = self.kernel.as_ref() else { return };
        for _ in 0..MOST_RECORDS {
            let mut record = Vec::with_capacity(LONGEST_RECORD);
            match read(kernel, spare_capacity(&mut record)) {
                Ok(0) | Err(Errno::AGAIN) => return,
                Ok(_) => keep_record(&record),
                Err(_) => {} // EPIPE: records were lost; the next ones are there
            }
        }
    }
}

/// `PRIORITY,NUMBER,TIME,FLAGS;TEXT`, then lines of further properties.
fn keep_record(record: &[u8]) {
    let line = record.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let Some(start) = line.iter().position(|byte| *byte == b';') else { return };
    ring::append(b"kernel: ");
    ring::append(&line[start + 1..]);
    ring::append(b"\n");
}

fn set_standard(descriptor: BorrowedFd) -> rustix::io::Result<()> {
    for number in 1..3 {
        // SAFETY: they are open, nobody in this process owns them, and they stay open.
        let mut standard = core::mem::ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(number) });
        dup2(descriptor, &mut standard)?;
    }
    Ok(())
}
