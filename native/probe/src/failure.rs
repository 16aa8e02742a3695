//! What can go wrong, as the user is told it: what failed on which object, and what to do.
use std::fmt::Display;

#[derive(Debug)]
pub struct Failure {
    pub what: String,
    pub hint: String,
    /// The exit status of the probe.
    pub status: u8,
}

impl Failure {
    pub fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Failure { what: what.into(), hint: hint.into(), status: 1 }
    }

    pub fn usage(what: &str) -> Self {
        Failure { status: 2, ..Failure::new(what, "see onejob-probe --help") }
    }

    /// eBPF is refused or too old here.
    pub fn unusable(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Failure { status: 3, ..Failure::new(what, hint) }
    }

    pub fn not_executed(command: &str, error: impl Display) -> Self {
        let what = format!("cannot execute {command}: {error}");
        let hint = "give a program that is installed and in PATH, or its full path";
        Failure { status: 127, ..Failure::new(what, hint) }
    }

    /// A system call that should not fail did.
    pub fn system(what: &str, error: impl Display) -> Self {
        Failure::new(format!("{what}: {error}"), "free memory, descriptors or processes and try again")
    }
}
