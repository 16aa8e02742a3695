//! The power button of a machine: who presses it may do no more than have the system shut down.
//!
//! The kernel's ACPI button driver makes it an input device (Documentation/input/event-codes.rst).

use alloc::format;
use alloc::vec::Vec;

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Result, read};

use crate::files::names_in;
use crate::sys;

const FOLDER: &str = "/dev/input";
const MOST_DEVICES: usize = 64;
const KEY: u16 = 1; // EV_KEY, linux/input-event-codes.h
const POWER: u16 = 116; // KEY_POWER
const PRESSED: u32 = 1;
/// Which keys a device has: EVIOCGBIT(EV_KEY, 96) of linux/input.h, in twelve words.
const KEYS_OF: usize = 0x8060_4521;
/// struct input_event: a time of two words, type, code, value.
const EVENT: usize = 24;

pub struct Button {
    /// Fixed hardware and a control method may be one device each: whichever has news.
    any: OwnedFd,
    devices: Vec<OwnedFd>,
}

impl Button {
    /// None where no device has a power key.
    pub fn find() -> Option<Button> {
        let names = names_in(FOLDER, MOST_DEVICES).ok()?;
        let opened = names.iter().filter_map(|name| open(&format!("{FOLDER}/{name}")).ok());
        let devices: Vec<OwnedFd> = opened.filter(has_power_key).collect();
        if devices.is_empty() {
            return None;
        }
        let any = epoll::create(epoll::CreateFlags::CLOEXEC).ok()?;
        for device in &devices {
            epoll::add(&any, device, epoll::EventData::new_u64(0), epoll::EventFlags::IN).ok()?;
        }
        Some(Button { any, devices })
    }

    /// What to poll for input.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.any.as_fd()
    }

    /// Whether it was pressed since the last look.
    pub fn was_pressed(&self) -> bool {
        let mut events = Vec::<u8>::with_capacity(64 * EVENT);
        for device in &self.devices {
            while read(device, spare_capacity(&mut events)).is_ok_and(|count| count > 0) {
                events.reserve(64 * EVENT);
            }
        }
        events.as_chunks::<EVENT>().0.iter().any(is_press)
    }
}

fn open(path: &str) -> Result<OwnedFd> {
    openat(CWD, path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())
}

fn has_power_key(device: &OwnedFd) -> bool {
    let mut keys = [0; 12];
    // SAFETY: the kernel writes at most the 96 bytes that the request's number says.
    let asked = unsafe { sys::control_device(device.as_fd(), KEYS_OF, &mut keys) };
    asked.is_ok() && keys[usize::from(POWER) / 64] >> (POWER % 64) & 1 != 0
}

fn is_press(event: &[u8; EVENT]) -> bool {
    let half = |at: usize| u16::from_le_bytes([event[at], event[at + 1]]);
    let value = u32::from_le_bytes([event[20], event[21], event[22], event[23]]);
    half(16) == KEY && half(18) == POWER && value == PRESSED
}
