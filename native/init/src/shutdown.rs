//! The end: everything is sent, written and released, then the machine or the container ends.

use alloc::format;
use core::fmt::{Display, Formatter};
use core::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::sync;
use rustix::mount::{MountFlags, UnmountFlags, mount_remount, unmount};
use rustix::system::{RebootCommand, reboot};

use crate::console::{self, pause_ms, say};
use crate::control::Control;
use crate::instance::Instance;
use crate::partition::{DATA, Held};
use crate::place::DataAt;
use crate::{processes, ring, sys};

/// How the main process of the service ended.
#[derive(Clone, Copy)]
pub enum Ending {
    Status(i32),
    Signal(i32),
}

impl Ending {
    /// Whether it is no end that a service chooses when its work is done.
    pub fn is_failure(self) -> bool {
        !matches!(self, Ending::Status(0))
    }
}

impl Display for Ending {
    fn fmt(&self, to: &mut Formatter) -> core::fmt::Result {
        match self {
            Ending::Status(status) => write!(to, "exited with status {status}"),
            Ending::Signal(signal) => write!(to, "was ended by signal {signal}"),
        }
    }
}

const TCP_MS: u64 = 3000;
const CONTROL_MS: u64 = 1000;

/// Whether the end is a reboot. Known from the first moment, for failures and panics too.
static MACHINE: AtomicBool = AtomicBool::new(false);
/// Whether it is switched off instead, which takes ACPI.
static POWER_OFF: AtomicBool = AtomicBool::new(false);

pub fn set_machine(machine: bool) {
    MACHINE.store(machine, Ordering::Relaxed);
}

/// Whoever presses the power button, which ACPI has, wants it off.
pub fn set_power_off() {
    POWER_OFF.store(true, Ordering::Relaxed);
}

/// End well, after every process of the service has.
pub fn finish(
    instance: &Instance,
    data: &DataAt,
    held: Held,
    control: Option<&mut Control>,
    ending: Ending,
) -> ! {
    say(format_args!("{} {ending}", instance.name));
    let (fields, code) = match ending {
        Ending::Status(status) => (format!(r#""status":{status}"#), status),
        Ending::Signal(signal) => (format!(r#""signal":{signal}"#), 128 + signal),
    };
    let_tcp_finish();
    ring::close();
    release_data(data, held);
    if let Some(job) = instance.job.as_ref().filter(|_| is_left_to_itself()) {
        job.end(ending);
    }
    if let Some(control) = control {
        control.event("exited", &fields);
        control.flush(CONTROL_MS);
    }
    end(code)
}

/// A machine that nobody is switching off.
fn is_left_to_itself() -> bool {
    MACHINE.load(Ordering::Relaxed) && !POWER_OFF.load(Ordering::Relaxed)
}

/// End after a failure of process 1 itself, which is on the console already.
pub fn give_up() -> ! {
    ring::close();
    sync();
    end(1)
}

/// The kernel goes on sending what closed sockets hold, but not after a reboot.
fn let_tcp_finish() {
    let end = sys::now_ms() + TCP_MS;
    while processes::has_unsent_tcp() && sys::now_ms() < end {
        pause_ms(10);
    }
}

fn release_data(data: &DataAt, held: Held) {
    sync();
    if !matches!(data, DataAt::Device(_)) {
        return; // memory is forgotten; a directory belongs to the container runtime
    }
    // Whatever still has a mount of it: at this moment the file system becomes whole.
    let read_only = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let _ = mount_remount(DATA, read_only, c"");
    drop(held.lock); // an open file would keep the partition busy
    for path in held.mounts.iter().rev() {
        let _ = unmount(path.as_str(), UnmountFlags::empty());
    }
    sync();
}

/// QEMU and real machines end with a reboot: without ACPI there is no way to switch off.
fn end(code: i32) -> ! {
    if MACHINE.load(Ordering::Relaxed) {
        console::drain();
        pause_ms(50); // a virtio port hands over its last line in the background
        if POWER_OFF.load(Ordering::Relaxed) {
            let _ = reboot(RebootCommand::PowerOff);
        }
        let _ = reboot(RebootCommand::Restart);
    }
    sys::exit(code)
}
