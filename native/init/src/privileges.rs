//! What the child gives up before it becomes the service: limits, capabilities, identity.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use rustix::fs::{Gid, Uid};
use rustix::io::{Errno, Result};
use rustix::process::{Resource as Kernel, Rlimit, getrlimit, setrlimit};
use rustix::thread::{self, CapabilitySet, CapabilitySets};

use crate::instance::{Limit, Resource};
use crate::service::Step;

fn kernel_resource(resource: Resource) -> Kernel {
    match resource {
        Resource::As => Kernel::As,
        Resource::Core => Kernel::Core,
        Resource::Cpu => Kernel::Cpu,
        Resource::Data => Kernel::Data,
        Resource::Fsize => Kernel::Fsize,
        Resource::Locks => Kernel::Locks,
        Resource::Memlock => Kernel::Memlock,
        Resource::Msgqueue => Kernel::Msgqueue,
        Resource::Nice => Kernel::Nice,
        Resource::Nofile => Kernel::Nofile,
        Resource::Nproc => Kernel::Nproc,
        Resource::Rss => Kernel::Rss,
        Resource::Rtprio => Kernel::Rtprio,
        Resource::Rttime => Kernel::Rttime,
        Resource::Sigpending => Kernel::Sigpending,
        Resource::Stack => Kernel::Stack,
    }
}

/// Set each limit and read it back; the number of the one that the kernel did not take, and why.
pub fn set_limits(limits: &[Limit]) -> core::result::Result<(), (usize, Errno)> {
    for (index, limit) in limits.iter().enumerate() {
        let resource = kernel_resource(limit.resource);
        let wanted = Rlimit { current: Some(limit.soft), maximum: Some(limit.hard) };
        // Only CAP_SYS_RESOURCE raises a hard limit; containers are rarely given it.
        setrlimit(resource, wanted).map_err(|error| (index, error))?;
        if getrlimit(resource) != wanted {
            return Err((index, Errno::RANGE));
        }
    }
    Ok(())
}

/// What process 1 itself may have of `limit` at most, as text.
pub fn ceiling_of(limit: &Limit) -> String {
    getrlimit(kernel_resource(limit.resource)).maximum.map_or("no limit".to_string(), |most| most.to_string())
}

fn set_of(capabilities: &[u8]) -> CapabilitySet {
    CapabilitySet::from_bits_retain(capabilities.iter().fold(0, |bits, number| bits | 1 << number))
}

fn each_capability() -> impl Iterator<Item = CapabilitySet> {
    (0..64).map(|number| CapabilitySet::from_bits_retain(1 << number))
}

/// What no program of the service can get again, not even as root or from a file's capabilities.
pub fn drop_bounding_set(granted: &[u8]) -> Result<()> {
    let granted = set_of(granted);
    for capability in each_capability() {
        match thread::capability_is_in_bounding_set(capability) {
            Ok(true) if !granted.contains(capability) => {
                thread::remove_capability_from_bounding_set(capability)?
            }
            Ok(_) => {}
            Err(_) => break, // above the last one of this kernel
        }
    }
    Ok(())
}

/// Become another user, but keep the capabilities until the filter is installed.
pub fn change_identity(user: u32, group: u32, groups: &[u32]) -> core::result::Result<(), (Step, Errno)> {
    if user != 0 || group != 0 || !groups.is_empty() {
        let groups: Vec<Gid> = groups.iter().map(|number| Gid::from_raw(*number)).collect();
        thread::set_thread_groups(&groups).map_err(|error| (Step::Groups, error))?;
    }
    if group != 0 {
        thread::set_thread_gid(Gid::from_raw(group)).map_err(|error| (Step::Group, error))?;
    }
    if user != 0 {
        thread::set_keep_capabilities(true)
            .and_then(|()| thread::set_thread_uid(Uid::from_raw(user)))
            .map_err(|error| (Step::User, error))?;
    }
    Ok(())
}

/// A service that is root has what the bounding set leaves it at execve. Any other user has
/// exactly `granted`, as ambient capabilities (capabilities(7), "Transformation during execve").
pub fn set_capabilities(granted: &[u8], user: u32) -> Result<()> {
    let held = thread::capabilities(None)?.permitted;
    let passed_on = if user == 0 { CapabilitySet::empty() } else { set_of(granted) & held };
    thread::set_capabilities(
        None,
        CapabilitySets { effective: held, permitted: held, inheritable: passed_on },
    )?;
    thread::clear_ambient_capability_set()?;
    for capability in each_capability().filter(|capability| passed_on.contains(*capability)) {
        thread::configure_capability_in_ambient_set(capability, true)?;
    }
    Ok(())
}
