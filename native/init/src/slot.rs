//! The slot of an installed disk that this system was started from, and the state that says which boots.
//!
//! The state is one sector in the form of GRUB's environment block (GNU GRUB manual, "Environment
//! block"), the second of the partition; src/onejob/disk/state.py writes it, GRUB counts in it.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, Result, pread, pwrite};

const SECTOR: usize = 512;
const AT: u64 = SECTOR as u64;
const SIGNATURE: &str = "# GRUB Environment Block\n";

/// Where this system was started from, as the kernel's command line says: `a` or `b`, and the device.
pub struct Slot {
    pub name: &'static str,
    pub device: String,
}

impl Slot {
    /// Whether this slot is the one on trial.
    pub fn is_on_trial(&self) -> Result<bool> {
        let state = read_state(&self.open()?)?;
        Ok(value_of(&state, "trying")? == self.name)
    }

    /// It boots from now on, and nothing is on trial: one sector, which is on the disk afterwards.
    pub fn make_first(&self) -> Result<()> {
        let disk = self.open()?;
        read_state(&disk)?; // nothing is written over what is none
        let state = format_state(self.name);
        if pwrite(&disk, &state, AT)? == SECTOR { Ok(()) } else { Err(Errno::IO) }
    }

    fn open(&self) -> Result<OwnedFd> {
        let flags = OFlags::RDWR | OFlags::SYNC | OFlags::CLOEXEC;
        openat(CWD, self.device.as_str(), flags, Mode::empty())
    }
}

/// The sector; EINVAL where it has no environment block.
fn read_state(disk: &OwnedFd) -> Result<Vec<u8>> {
    let mut sector = alloc::vec![0; SECTOR];
    let count = pread(disk, &mut sector[..], AT)?;
    if count == SECTOR && sector.starts_with(SIGNATURE.as_bytes()) { Ok(sector) } else { Err(Errno::INVAL) }
}

fn value_of<'a>(state: &'a [u8], name: &str) -> Result<&'a str> {
    let text = core::str::from_utf8(state).map_err(|_| Errno::INVAL)?;
    let mut lines = text.lines().filter_map(|line| line.split_once('='));
    lines.find(|(key, _)| *key == name).map(|(_, value)| value).ok_or(Errno::INVAL)
}

fn format_state(first: &str) -> Vec<u8> {
    let mut state = format!("{SIGNATURE}first={first}\ntrying=\ntries=0\n").into_bytes();
    state.resize(SECTOR, b'#');
    state
}
