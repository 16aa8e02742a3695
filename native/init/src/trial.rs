//! The trial of a newly written slot: it becomes the one that boots when its service is ready, and the
//! machine restarts when that does not come, so that the boot loader counts the attempt.

use crate::console::say;
use crate::failure::Reason;
use crate::files::{open_to_read, read_up_to, text_of};
use crate::instance::ReadyPlan;
use crate::slot::{Slot, State};
use crate::sys::now_ms;
use crate::watchdog::Watchdogs;

/// How often is looked.
const LOOK_MS: u64 = 500;
/// For so long it has to stay ready: what fails at the first work fails soon.
const STEADY_MS: u64 = 5_000;
/// Watchdogs wait so much longer than process 1, which ends with a word about why.
const LATER_S: u64 = 30;
const LARGEST_TABLE: usize = 1 << 20;
/// States of sockets in proc_net_tcp(5): of those of UDP, only bound ones are of interest.
const LISTENS: &str = "0A";
const BOUND: &str = "07";

pub struct Trial<'a> {
    slot: Slot,
    state: State,
    plan: &'a ReadyPlan,
    watchdogs: Watchdogs,
    due_ms: u64,
    end_ms: u64,
    /// Since when it is ready, and with how many restarts before.
    ready: Option<(u64, u64)>,
}

/// What the supervisor is to do now.
#[derive(PartialEq)]
pub enum Verdict {
    Wait,
    /// It is good, or cannot be made so; there is nothing more to wait for.
    Done,
    Failed,
}

impl<'a> Trial<'a> {
    /// None where nothing is tried: then no watchdog runs any more, as process 1 has come up.
    pub fn begin(slot: Option<Slot>, plan: Option<&'a ReadyPlan>) -> Option<Trial<'a>> {
        let slot = slot?;
        let within_ms = plan.map_or(0, |plan| plan.within_ms);
        let limit_s = within_ms / 1000 + LATER_S;
        let watchdogs = Watchdogs::start(u32::try_from(limit_s).unwrap_or(u32::MAX));
        let state = slot.open().and_then(|state| Ok((state.tries(&slot)?, state)));
        if let Err(error) = &state {
            say(format_args!("cannot read the boot state {}: {}", slot.device, Reason(*error)));
        }
        let state = state.ok().filter(|(tried, _)| *tried).map(|(_, state)| state);
        let (Some(state), Some(plan)) = (state, plan) else {
            watchdogs.stop();
            return None;
        };
        say(format_args!(
            "slot {} is on trial: it has {} s to become ready, and {} watchdogs",
            slot.name,
            within_ms / 1000,
            watchdogs.count()
        ));
        let now = now_ms();
        let (due_ms, end_ms) = (now + LOOK_MS, now.saturating_add(within_ms));
        Some(Trial { slot, state, plan, watchdogs, due_ms, end_ms, ready: None })
    }

    pub fn due_ms(&self) -> u64 {
        self.due_ms
    }

    /// `settled`: the service has, as far as that can be told; `restarts`: how often it was started again.
    pub fn look_if_due(&mut self, settled: bool, restarts: u64) -> Verdict {
        let now = now_ms();
        if now < self.due_ms {
            return Verdict::Wait;
        }
        self.due_ms = now + LOOK_MS;
        if !settled || !self.plan.ports.iter().all(|port| is_open(*port)) {
            self.ready = None;
        } else if self.ready.is_none_or(|(_, before)| before != restarts) {
            self.ready = Some((now, restarts));
        }
        match self.ready {
            Some((since, _)) if now >= since + STEADY_MS => Verdict::Done,
            _ if now >= self.end_ms => Verdict::Failed,
            _ => Verdict::Wait,
        }
    }

    /// It has passed. In a function of its own, its calls can be read from the code.
    #[inline(never)]
    pub fn pass(self) {
        match self.state.make_first(&self.slot) {
            Ok(()) => say(format_args!("slot {} is good: it boots from now on", self.slot.name)),
            Err(error) => say(format_args!(
                "slot {} is good, but {} cannot be written: {}. It is tried again at the next boot",
                self.slot.name,
                self.slot.device,
                Reason(error)
            )),
        }
        self.watchdogs.stop();
    }

    /// It has not; the watchdogs go on.
    pub fn fail(self) {
        say(format_args!(
            "slot {} has not become ready within {} s: the machine restarts",
            self.slot.name,
            self.plan.within_ms / 1000
        ));
    }
}

/// Whether somebody listens on the port, by TCP, or has it by UDP. Where the kernel has no table of either,
/// nothing can be said against it.
fn is_open(port: u16) -> bool {
    let tables = [("tcp", LISTENS), ("tcp6", LISTENS), ("udp", BOUND), ("udp6", BOUND)];
    let mut known = false;
    for (name, state) in tables {
        let path = alloc::format!("/proc/net/{name}");
        let Ok(table) = open_to_read(&path).and_then(|file| read_up_to(file, LARGEST_TABLE)) else {
            continue;
        };
        known = true;
        if text_of(&table).lines().skip(1).any(|line| has_port(line, port, state)) {
            return true;
        }
    }
    !known
}

/// One line: number, local address and port in hexadecimal, remote, state.
fn has_port(line: &str, port: u16, state: &str) -> bool {
    let mut columns = line.split_ascii_whitespace().skip(1);
    let local = columns.next().and_then(|local| local.rsplit_once(':'));
    let found = local.and_then(|(_, hexadecimal)| u16::from_str_radix(hexadecimal, 16).ok());
    found == Some(port) && columns.nth(1) == Some(state)
}
