//! Processes that could not be narrowed to a row of the call matrix: each case is told once.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::mem::take;

use rustix::io::Errno;

use crate::console::say;
use crate::failure::Reason;
use crate::json;
use crate::rows::{Role, standing};

const MOST: usize = 64;

#[derive(Clone, Copy, PartialEq)]
pub enum Why {
    NoRow,
    OwnFilters,
    /// Another thread of the process has filters of its own.
    ThreadFilters,
    /// `no_new_privileges` is off: the kernel would want CAP_SYS_ADMIN of it.
    GainsRights,
    /// It has made many calls without settling.
    Restless,
    Failed(Errno),
}

#[derive(PartialEq)]
struct Case {
    program: String,
    role: Role,
    serving: bool,
    why: Why,
}

/// What is known already, and what of it nobody has been told on the control channel.
#[derive(Default)]
pub struct Unnarrowed {
    cases: Vec<Case>,
    news: Vec<String>,
}

impl Unnarrowed {
    /// `serving`: it was the serve row.
    pub fn note(&mut self, program: &str, role: Role, serving: bool, why: Why) {
        let case = Case { program: program.into(), role, serving, why };
        if self.cases.len() < MOST && !self.cases.contains(&case) {
            let reason = case.reason();
            say(format_args!("{reason}"));
            self.news.push(format!(
                r#""program":{},{},"why":"{}","reason":{}"#,
                json::text(program),
                standing(role, serving),
                why.word(),
                json::text(&reason)
            ));
            self.cases.push(case);
        }
    }

    /// Cases since the last time, each as the members of a JSON object.
    pub fn take_news(&mut self) -> Vec<String> {
        take(&mut self.news)
    }
}

impl Case {
    fn reason(&self) -> String {
        let program = &self.program;
        match self.why {
            Why::NoRow => {
                let whose = if self.role == Role::Main { "" } else { " for its workers" };
                format!("{program} has no row of calls{whose}: it keeps what it inherits")
            }
            Why::OwnFilters => format!("{program} has filters of its own, and is not narrowed"),
            Why::ThreadFilters => {
                format!("a thread of {program} has filters of its own: it is not narrowed")
            }
            Why::GainsRights => format!(
                "{program} may gain rights by programs (no_new_privileges is off), so it cannot be \
                 narrowed to its row of calls: it keeps the policy of the whole service"
            ),
            Why::Restless => {
                format!(
                    "{program} ({}) makes many calls without settling: it keeps its boot row",
                    self.role.word()
                )
            }
            Why::Failed(error) => format!("cannot narrow {program} to its row of calls: {}", Reason(error)),
        }
    }
}

impl Why {
    fn word(self) -> &'static str {
        match self {
            Why::NoRow => "no-row",
            Why::OwnFilters | Why::ThreadFilters => "own-filters",
            Why::GainsRights => "gains-rights",
            Why::Restless => "restless",
            Why::Failed(_) => "failed",
        }
    }
}
