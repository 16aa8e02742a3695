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

/// The state, open: the device is taken out of /dev before the service starts.
pub struct State(OwnedFd);

impl Slot {
    /// EINVAL where it has no environment block.
    pub fn open(&self) -> Result<State> {
        let flags = OFlags::RDWR | OFlags::SYNC | OFlags::CLOEXEC;
        let state = State(openat(CWD, self.device.as_str(), flags, Mode::empty())?);
        state.read()?;
        Ok(state)
    }
}

impl State {
    /// Whether `slot` is the one on trial.
    pub fn tries(&self, slot: &Slot) -> Result<bool> {
        Ok(value_of(&self.read()?, "trying")? == slot.name)
    }

    /// `slot` boots from now on, and nothing is on trial: one sector, which is on the disk afterwards.
    pub fn make_first(&self, slot: &Slot) -> Result<()> {
        self.read()?; // nothing is written over what is none
        if pwrite(&self.0, &format_state(slot.name), AT)? == SECTOR { Ok(()) } else { Err(Errno::IO) }
    }

    /// The sector.
    fn read(&self) -> Result<Vec<u8>> {
        let mut sector = alloc::vec![0; SECTOR];
        let count = pread(&self.0, &mut sector[..], AT)?;
        let whole = count == SECTOR && sector.starts_with(SIGNATURE.as_bytes());
        if whole { Ok(sector) } else { Err(Errno::INVAL) }
    }
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
