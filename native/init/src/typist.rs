//! What is typed: each line of any console becomes input of the job, which reads a pipe as when it was profiled.
//!
//! Editing and echo are those of the terminals (canonical mode, termios(3)). A process of its own does it, since
//! it waits for people; it ends with the job, as all processes do that the job leaves.

use alloc::vec::Vec;

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{FromRawFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{dup2, read, write};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::console;
use crate::failure::{OrFail, Outcome};
use crate::sys;

const LONGEST_LINE: usize = 4096; // N_TTY_BUF_SIZE: the kernel's own limit

/// Let the standard input of this process, and so of the job, be what is typed from now on.
pub fn start() -> Outcome<()> {
    let terminals = terminals();
    let what = format_args!("cannot pass on what is typed");
    let (reading, writing) = pipe_with(PipeFlags::CLOEXEC).or_fail(what)?;
    if sys::fork().or_fail(what)? == 0 {
        sys::default_signal_dispositions();
        sys::block_signals(0);
        drop(reading);
        pass_on(&terminals, |line| write(&writing, line).is_ok());
        sys::exit(0)
    }
    // SAFETY: descriptor 0 is open, and nobody in this process owns it; it stays open.
    let mut input = core::mem::ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(0) });
    dup2(&reading, &mut input).or_fail(what)
}

/// Return when somebody has typed a line; never where there is no console.
pub fn await_line() {
    pass_on(&terminals(), |_| false);
}

fn terminals() -> Vec<OwnedFd> {
    let open = |path: &str| openat(CWD, path, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty());
    console::paths().iter().filter_map(|path| open(path).ok()).collect()
}

/// Until `take` wants no more of it.
fn pass_on(terminals: &[OwnedFd], take: impl Fn(&[u8]) -> bool) {
    let mut lines = Vec::<u8>::with_capacity(LONGEST_LINE);
    let mut waiting: Vec<PollFd> =
        terminals.iter().map(|terminal| PollFd::new(terminal, PollFlags::IN)).collect();
    loop {
        if poll(&mut waiting, None).is_err() {
            continue;
        }
        for (terminal, waited) in terminals.iter().zip(&waiting) {
            if !waited.revents().contains(PollFlags::IN) {
                continue;
            }
            lines.clear();
            if read(terminal, spare_capacity(&mut lines)).is_ok_and(|count| count > 0) && !take(&lines) {
                return;
            }
        }
    }
}
