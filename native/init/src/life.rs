//! Where the service is in its life, and what is to be done when time passes or it ends.
//!
//! A service that fails is started again, after a rest that doubles each time, and not for ever: one that
//! fails in a row is stopped for good.

use crate::console::say;
use crate::instance::{Instance, RestartPlan};
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
    /// It has failed, and nothing of it is left.
    Resting {
        start_at: u64,
    },
}

pub struct Life<'a> {
    name: &'a str,
    /// None: it is never started again.
    policy: Option<&'a RestartPlan>,
    phase: Phase,
    ending: Option<Ending>,
    began_ms: u64,
    ended_ms: u64,
    /// How often it has failed without having been steady in between.
    in_a_row: u32,
    /// How often it was started again.
    pub restarts: u64,
}

/// What the supervisor is to do now.
pub enum Duty {
    /// Whatever comes.
    Wait,
    /// End what the main process has left.
    Clear,
    KillMain,
    KillAll,
    /// After it has ended so.
    StartAgain(Ending),
    Leave(Ending),
}

impl<'a> Life<'a> {
    /// `driven`: by drills, which are to see a failure as what it is.
    pub fn new(instance: &'a Instance, driven: bool) -> Self {
        Life {
            name: &instance.name,
            policy: instance.restart.as_ref().filter(|_| !driven),
            phase: Phase::Running,
            ending: None,
            began_ms: now_ms(),
            ended_ms: 0,
            in_a_row: 0,
            restarts: 0,
        }
    }

    /// It would fail in the same way each time.
    pub fn never_again(&mut self) {
        self.policy = None;
    }

    pub fn has_ended(&self) -> bool {
        self.ending.is_some()
    }

    /// The main process has ended.
    pub fn end(&mut self, ending: Ending) {
        self.ending = Some(ending);
        self.ended_ms = now_ms();
    }

    /// It is to stop within `patience_ms`; whether it has to be told.
    pub fn stop(&mut self, patience_ms: u64) -> bool {
        self.never_again();
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
            (Phase::Resting { start_at }, Some(ending)) if self.policy.is_some() => {
                if now < *start_at {
                    Duty::Wait
                } else {
                    self.start_again(ending, now)
                }
            }
            (Phase::Clearing { .. } | Phase::Killed { .. }, Some(ending)) if !any_left => {
                self.rest_or_leave(ending, now)
            }
            (Phase::Resting { .. }, Some(ending)) => Duty::Leave(ending),
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
            Phase::Resting { start_at } => Some(start_at),
        }
    }

    fn start_again(&mut self, ending: Ending, now: u64) -> Duty {
        self.phase = Phase::Running;
        self.ending = None;
        self.began_ms = now;
        self.restarts += 1;
        Duty::StartAgain(ending)
    }

    /// What comes after its end, when nothing of it is left.
    fn rest_or_leave(&mut self, ending: Ending, now: u64) -> Duty {
        let Some(policy) = self.policy.filter(|_| ending.is_failure()) else { return Duty::Leave(ending) };
        let ran_ms = self.ended_ms - self.began_ms;
        if ran_ms >= policy.steady_ms {
            self.in_a_row = 0;
        }
        let (name, tenths) = (self.name, ran_ms / 100);
        let after = format_args!("after {}.{} s", tenths / 10, tenths % 10);
        if self.in_a_row == policy.attempts {
            let times = policy.attempts + 1;
            say(format_args!(
                "{name} failed {times} times in a row, the last time {after}: it is not started again"
            ));
            return Duty::Leave(ending);
        }
        let rest_ms = policy.rest_ms(self.in_a_row);
        self.in_a_row += 1;
        say(format_args!(
            "{name} {ending} {after}: it is started again in {} ms ({} of {})",
            rest_ms, self.in_a_row, policy.attempts
        ));
        self.phase = Phase::Resting { start_at: now.saturating_add(rest_ms) };
        Duty::Wait
    }
}

impl RestartPlan {
    /// After so many failures in a row before this one.
    fn rest_ms(&self, before: u32) -> u64 {
        self.first_ms.saturating_mul(1 << before.min(32)).min(self.longest_ms)
    }
}
