//! How the service's processes are scheduled: set by process 1's child, and read back.

use rustix::io::{Errno, Result};
use rustix::process::{getpriority_process, setpriority_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::instance::Schedule;
use crate::sys;

/// Set what the plan gives. ERANGE where the kernel did something else without a word.
pub fn set(schedule: &Schedule) -> Result<()> {
    if let Some(processors) = &schedule.processors {
        set_processors(processors)?;
    }
    if let Some(nice) = schedule.nice {
        setpriority_process(None, nice)?;
        accepted(getpriority_process(None)? == nice)?;
    }
    if let Some(policy) = schedule.policy {
        sys::set_policy(policy, schedule.priority)?;
        accepted(sys::policy()? == policy)?;
    }
    Ok(())
}

/// The kernel takes a set of which it has some (sched_setaffinity(2)).
fn set_processors(processors: &[u32]) -> Result<()> {
    let mut wanted = CpuSet::new();
    for number in processors {
        if *number as usize >= CpuSet::MAX_CPU {
            return Err(Errno::RANGE);
        }
        wanted.set(*number as usize);
    }
    sched_setaffinity(None, &wanted)?;
    accepted(sched_getaffinity(None)? == wanted)
}

fn accepted(is: bool) -> Result<()> {
    if is { Ok(()) } else { Err(Errno::RANGE) }
}
