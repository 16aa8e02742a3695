//! Whether this machine is as large as the plan needs, and its kernel as the plan wants it: sizes
//! are set in a machine of our own, looked at in a container, and read back in both.

use alloc::format;
use alloc::string::String;

use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::failure::{Failure, OrFail, Outcome};
use crate::files::{read_whole, write_whole};
use crate::instance::{Machine, Sysctl};
use crate::place::DataAt;

const LARGER: &str = "give it more, or plan for this machine: onejob build --hardware";
const LARGEST: usize = 4096;

/// A machine that is too small would fail when the service grows; so it fails now. Data that is kept
/// in memory comes on top of what the service needs.
pub fn require(machine: &Machine, data: &DataAt) -> Outcome<()> {
    let processors =
        rustix::thread::sched_getaffinity(None).or_fail(format_args!("cannot count the processors"))?.count();
    at_least("processors", machine.processors, u64::from(processors), "")?;
    let memory = rustix::system::sysinfo();
    let memory_kib = memory.totalram as u64 * u64::from(memory.mem_unit) / 1024;
    let (name, kept_kib) = match data {
        DataAt::Memory { size_kib } => ("memory, with the data in it", *size_kib),
        _ => ("memory", 0),
    };
    at_least(name, machine.memory_kib.saturating_add(kept_kib), memory_kib, " KiB")
}

fn at_least(dimension: &str, needed: u64, there: u64, unit: &str) -> Outcome<()> {
    if there >= needed {
        return Ok(());
    }
    Err(Failure::new(
        format_args!("{dimension}: the plan needs {needed}{unit}, this machine has {there}{unit}"),
        LARGER,
    ))
}

/// Set each one, and see that the kernel took it; one that this kernel lacks is an error now, and
/// not a surprise under load.
pub fn set_all(sysctls: &[Sysctl]) -> Outcome<()> {
    sysctls.iter().try_for_each(|sysctl| {
        set(sysctl)?;
        match read(sysctl)? {
            held if held == sysctl.value => Ok(()),
            held => Err(not_accepted(sysctl, &held)),
        }
    })
}

/// A container has the sizes of its host, and of its network: none may be smaller. What is not
/// there to see is the whole host's.
pub fn check_all(sizes: &[Sysctl]) -> Outcome<()> {
    sizes.iter().try_for_each(|size| match read(size) {
        Ok(held) if !is_as_large(&held, &size.value) => Err(not_accepted(size, &held)),
        _ => Ok(()),
    })
}

/// Number by number: `4096 131072 6291456`.
fn is_as_large(held: &str, wanted: &str) -> bool {
    let number = |word: &str| word.parse::<u64>().ok();
    held.split(' ').zip(wanted.split(' ')).all(|(held, wanted)| number(held) >= number(wanted))
}

fn not_accepted(sysctl: &Sysctl, held: &str) -> Failure {
    Failure::new(
        format_args!("{}: the plan needs {}, this kernel has {held}", sysctl.name, sysctl.value),
        "its own limits, or those of its host, are lower: raise them, or plan again",
    )
}

fn path_of(sysctl: &Sysctl) -> String {
    format!("/proc/sys/{}", sysctl.name.replace('.', "/"))
}

fn set(sysctl: &Sysctl) -> Outcome<()> {
    openat(CWD, path_of(sysctl).as_str(), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
        .and_then(|file| write_whole(file, sysctl.value.as_bytes()))
        .or_fail_hint(
            format_args!("cannot set {} to {}", sysctl.name, sysctl.value),
            "the kernel lacks it or refuses the value, or the plan mounts no proc",
        )
}

/// Its value, with one space between words.
fn read(sysctl: &Sysctl) -> Outcome<String> {
    let text = read_whole(&path_of(sysctl), LARGEST)?;
    let mut value = String::new();
    for word in String::from_utf8_lossy(&text).split_ascii_whitespace() {
        if !value.is_empty() {
            value.push(' ');
        }
        value.push_str(word);
    }
    Ok(value)
}
