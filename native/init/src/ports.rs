//! TCP ports that the service may listen on and connect to, by Landlock (landlock(7)).
//!
//! A domain of its own, over whatever the service and others put on top of it.

use rustix::fd::{AsFd, AsRawFd};
use rustix::io::{Errno, Result};

use crate::console::say;
use crate::instance::{Network, PortUse};
use crate::{landlock, sys};

// linux/landlock.h
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
    let known = match landlock::version() {
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
    if handled | scopes == 0 {
        return Ok(());
    }
    let ruleset = landlock::create_ruleset(if scopes == 0 { &attributes[..2] } else { &attributes })?;
    landlock::add_rule(&ruleset, "/", REFER)?;
    for port in network.ports.iter().filter(|port| handled & bit_of(port.used) != 0) {
        // struct landlock_net_port_attr: allowed access, port.
        let rule = [bit_of(port.used), u64::from(port.port)];
        let words = [ruleset.as_raw_fd() as usize, RULE_NET_PORT, rule.as_ptr() as usize, 0, 0];
        // SAFETY: the kernel reads 16 bytes.
        unsafe { sys::call(landlock::ADD_RULE, words)? };
    }
    landlock::restrict_self(ruleset.as_fd())
}

fn bit_of(port_use: PortUse) -> u64 {
    match port_use {
        PortUse::Listen => BIND_TCP,
        PortUse::Connect => CONNECT_TCP,
    }
}
