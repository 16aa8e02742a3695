//! Watchdogs: timers of the machine or the kernel that restart it unless they are stopped in time.
//!
//! Source: the kernel's Documentation/watchdog/watchdog-api.rst. The kernel's own timer runs from its
//! first moment where its command line says so, and is kept going by the kernel for a while only.

use alloc::format;
use alloc::vec::Vec;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::console::say;
use crate::failure::Reason;
use crate::{files, sys};

const SET_TIMEOUT: usize = 0xc004_5706; // linux/watchdog.h: WDIOC_SETTIMEOUT, an int
const MOST: usize = 8;
/// Written before it is closed, it stops a watchdog; otherwise that goes on.
const MAGIC: &[u8] = b"V";

/// All that the machine has; they run as long as this is not stopped.
pub struct Watchdogs(Vec<OwnedFd>);

impl Watchdogs {
    /// Take them over and start them: the machine restarts after `limit_s` seconds. One that cannot count so
    /// far is stopped, as it would end what is only slow.
    pub fn start(limit_s: u32) -> Watchdogs {
        let mut taken = Vec::new();
        for number in 0..MOST {
            let path = format!("/dev/watchdog{number}");
            let flags = OFlags::WRONLY | OFlags::CLOEXEC;
            let Ok(device) = openat(CWD, path.as_str(), flags, Mode::empty()) else { continue };
            let mut words = [u64::from(limit_s)];
            // SAFETY: the kernel reads and writes the first four bytes of the word.
            match unsafe { sys::control_device(device.as_fd(), SET_TIMEOUT, &mut words) } {
                Ok(()) => taken.push(device),
                Err(error) => {
                    say(format_args!(
                        "{path} cannot wait for {limit_s} s, and is stopped: {}",
                        Reason(error)
                    ));
                    stop(&device);
                }
            }
        }
        Watchdogs(taken)
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Nothing restarts the machine from now on.
    pub fn stop(self) {
        self.0.iter().for_each(stop);
    }
}

fn stop(device: &OwnedFd) {
    let _ = files::write_whole(device, MAGIC);
}
