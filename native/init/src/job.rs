//! A job: a workload that ends, and the machine with it.

use rustix::system::{RebootCommand, reboot};
use serde::Deserialize;

use crate::console::say;
use crate::shutdown::{Ending, set_power_off};
use crate::typist;

/// What the machine does when the job has ended well, and whether it reads what is typed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobPlan {
    pub after: After,
    pub input: bool,
}

#[derive(Deserialize, Clone, Copy, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum After {
    Reboot,
    PowerOff,
}

impl JobPlan {
    /// The words of a job that failed are for whoever is there: they stay until a line is typed, or
    /// Ctrl-Alt-Del or the reset button is pressed.
    pub fn end(&self, ending: Ending) {
        if ending.is_failure() {
            let _ = reboot(RebootCommand::CadOn);
            say(format_args!("press Enter, and the machine starts again"));
            typist::await_line();
        } else if self.after == After::PowerOff {
            set_power_off();
        }
    }
}
