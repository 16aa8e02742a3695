//! TCP ports that the service may listen on and connect to, by Landlock (landlock(7)).
//!
//! A domain of its own, over whatever the service and others put on top of it.

use rustix::fd::{AsRawFd, FromRawFd, OwnedFd};
use rustix::io::{Errno, Result};

use crate::console::say;
use crate::instance::{Network, PortUse};
use crate::{landlock, sys};

// arch/x86/entry/syscalls/syscall_64.tbl
const CREATE_RULESET: usize = 444;
const ADD_RULE: usize = 445;
const RESTRICT_SELF: usize = 446;
// linux/landlock.h
const VERSION: usize = 1;
const RULE_NET_PORT: usize = 2;
const REFER: u64 = 1 << 13;
const BIND_TCP: u64 = 1;
const CONNECT_TCP: u64 = 2;
/// No abstract Unix socket and no signal of anybody outside of the service.
const SCOPES: u64 = 3;
const KNOWS_PORTS: usize = 4;
const KNOWS_SCOPES: usize = 6;

/// Of the service's own process, which still has CAP_SYS_ADMIN. A kernel of a container may know less
/// than the plan wants; that is said, and is no error.
pub fn confine(network: &Network) -> Result<()> {
    let known = match version() {
        Err(Errno::NOSYS | Errno::OPNOTSUPP) => 0,
        outcome => outcome?,
    };
    if known < KNOWS_PORTS {
        say(format_args!(
            "this kernel has no Landlock for ports (it has ABI {known}): any TCP port can be used"
        ));
        return Ok(());
    }
    let handled = network.restricted.iter().fold(0, |bits, port_use| bits | bit_of(*port_use));
    let scopes = if known < KNOWS_SCOPES { 0 } else { SCOPES };
    // struct landlock_ruleset_attr: file systems, ports, scopes; it grew by the last one. Moving a file
    // to another folder is refused by every domain that does not allow it (landlock(7)).
    let attributes = [REFER, handled, scopes];
    let size = if scopes == 0 { 16 } else { 24 };
    if handled | scopes == 0 {
        return Ok(());
    }
    // SAFETY: the kernel reads as many bytes; the new descriptor belongs to nobody else.
    let ruleset = unsafe {
        let made = sys::call(CREATE_RULESET, [attributes.as_ptr() as usize, size, 0, 0, 0])?;
        OwnedFd::from_raw_fd(made as i32)
    };
    landlock::add_rule(&ruleset, "/", REFER)?;
    for port in network.ports.iter().filter(|port| handled & bit_of(port.used) != 0) {
        // struct landlock_net_port_attr: allowed access, port.
        let rule = [bit_of(port.used), u64::from(port.port)];
        let words = [ruleset.as_raw_fd() as usize, RULE_NET_PORT, rule.as_ptr() as usize, 0, 0];
        // SAFETY: the kernel reads 16 bytes.
        unsafe { sys::call(ADD_RULE, words)? };
    }
    // SAFETY: no memory is involved.
    unsafe { sys::call(RESTRICT_SELF, [ruleset.as_raw_fd() as usize, 0, 0, 0, 0]).map(|_| ()) }
}

fn version() -> Result<usize> {
    // SAFETY: asked for its version, the kernel reads nothing.
    unsafe { sys::call(CREATE_RULESET, [0, 0, VERSION, 0, 0]) }
}

fn bit_of(port_use: PortUse) -> u64 {
    match port_use {
        PortUse::Listen => BIND_TCP,
        PortUse::Connect => CONNECT_TCP,
    }
}
