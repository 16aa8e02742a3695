//! Kernel settings of a machine, from /proc/sys. A container has those of its runtime.

use alloc::format;

use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::failure::{OrFail, Outcome};
use crate::files::write_whole;
use crate::instance::Sysctl;

/// Set each one; a setting that this kernel lacks is an error now, and not a surprise under load.
pub fn set_all(sysctls: &[Sysctl]) -> Outcome<()> {
    sysctls.iter().try_for_each(set)
}

fn set(sysctl: &Sysctl) -> Outcome<()> {
    let path = format!("/proc/sys/{}", sysctl.name.replace('.', "/"));
    openat(CWD, path.as_str(), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
        .and_then(|file| write_whole(file, sysctl.value.as_bytes()))
        .or_fail_hint(
            format_args!("cannot set {} to {}", sysctl.name, sysctl.value),
            "the kernel lacks it or refuses the value, or the plan mounts no proc",
        )
}
