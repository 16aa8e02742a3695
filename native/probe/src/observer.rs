//! What watches a service: the eBPF programs with the keeper of their maps, or the tracer.
use std::os::fd::BorrowedFd;

use nix::unistd::Pid;
use serde_json::Value;

use crate::control::Control;
use crate::failure::Failure;
use crate::gather::gather;
use crate::keeper::Keeper;
use crate::ptrace::Tracing;
use crate::recording::Recording;

/// Which of them is wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    Ebpf,
    Ptrace,
}

pub enum Observer {
    Ebpf { control: Control, keeper: Keeper },
    Ptrace(Tracing),
}

impl Observer {
    /// What follows belongs to the drill of this number, whose name is `new` to us if it is given.
    pub fn switch_drill(&mut self, drill: u32, new: Option<&str>) -> Result<(), Failure> {
        match self {
            Observer::Ebpf { control, keeper } => {
                if let Some(name) = new {
                    keeper.note_drill(name);
                }
                control.switch_drill(drill)
            }
            Observer::Ptrace(tracing) => {
                tracing.switch_drill(drill);
                Ok(())
            }
        }
    }

    pub fn gather(&self, drills: &[String]) -> Result<Recording, Failure> {
        match self {
            Observer::Ebpf { control, .. } => gather(control, drills),
            Observer::Ptrace(tracing) => Ok(tracing.gather(drills)),
        }
    }

    /// Kills what is left of the service whose main process is `main`; `reap` collects our dead children.
    pub fn kill_all(&self, main: Pid, reap: impl FnMut()) -> Result<(), Failure> {
        match self {
            Observer::Ebpf { control, .. } => control.kill_all(main, reap),
            Observer::Ptrace(tracing) => tracing.kill_all(),
        }
    }

    /// Ends the watch; what was seen stays.
    pub fn stop(&mut self) {
        match self {
            Observer::Ebpf { control, keeper } => {
                keeper.detach();
                control.stop();
            }
            Observer::Ptrace(tracing) => tracing.leave(),
        }
    }

    /// What becomes readable when the main process has ended, where SIGCHLD does not tell.
    pub fn alarm(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Observer::Ebpf { .. } => None,
            Observer::Ptrace(tracing) => Some(tracing.alarm()),
        }
    }

    /// How the main process ended, once, where the observer is who waits for it.
    pub fn take_end(&self) -> Option<Value> {
        match self {
            Observer::Ebpf { .. } => None,
            Observer::Ptrace(tracing) => tracing.take_end(),
        }
    }

    /// Whether it waits for the service's processes itself.
    pub fn reaps(&self) -> bool {
        matches!(self, Observer::Ptrace(_))
    }
}
