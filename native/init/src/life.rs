//! Where the service is in its life, and what is to be done when time passes or it ends.

use crate::shutdown::Ending;
use crate::sys::now_ms;

const TERMINATE_MS: u64 = 2000;
const KILL_MS: u64 = 1000;

/// Times are deadlines in `now_ms`.
enum Phase {
    Running,
    /// It was asked to stop.
    Stopping {
        kill_at: u64,
    },
    /// The main process has ended, others are asked to.
    Clearing {
        kill_at: u64,
    },
    /// Others were killed; only the kernel can still hold them.
    Killed {
        leave_at: u64,
    },
}

pub struct Life {
    phase: Phase,
    ending: Option<Ending>,
}

/// What the supervisor is to do now.
pub enum Duty {
    /// Whatever comes.
    Wait,
    /// End what the main process has left.
    Clear,
    KillMain,
    KillAll,
    Leave(Ending),
}

impl Life {
    pub fn new() -> Self {
        Life { phase: Phase::Running, ending: None }
    }

    pub fn has_ended(&self) -> bool {
        self.ending.is_some()
    }

    /// The main process has ended.
    pub fn end(&mut self, ending: Ending) {
        self.ending = Some(ending);
    }

    /// It is to stop within `patience_ms`; whether it has to be told.
    pub fn stop(&mut self, patience_ms: u64) -> bool {
        let runs = self.ending.is_none() && matches!(self.phase, Phase::Running);
        if runs {
            self.phase = Phase::Stopping { kill_at: now_ms().saturating_add(patience_ms) };
        }
        runs
    }

    /// `any_left`: a process of the service is there, or not yet reaped.
    pub fn advance(&mut self, any_left: bool) -> Duty {
        let now = now_ms();
        match (&self.phase, self.ending) {
            (Phase::Running | Phase::Stopping { .. }, Some(_)) => {
                self.phase = Phase::Clearing { kill_at: now + TERMINATE_MS };
                Duty::Clear
            }
            (Phase::Stopping { kill_at }, None) if now >= *kill_at => {
                self.phase = Phase::Stopping { kill_at: u64::MAX };
                Duty::KillMain
            }
            (_, Some(ending)) if !any_left => Duty::Leave(ending),
            (Phase::Clearing { kill_at }, _) if now >= *kill_at => {
                self.phase = Phase::Killed { leave_at: now + KILL_MS };
                Duty::KillAll
            }
            (Phase::Killed { leave_at }, Some(ending)) if now >= *leave_at => Duty::Leave(ending),
            _ => Duty::Wait,
        }
    }

    /// When `advance` has something new to say, whatever else happens.
    pub fn due_ms(&self) -> Option<u64> {
        match self.phase {
            Phase::Running | Phase::Stopping { kill_at: u64::MAX } => None,
            Phase::Stopping { kill_at } | Phase::Clearing { kill_at } => Some(kill_at),
            Phase::Killed { leave_at } => Some(leave_at),
        }
    }
}
