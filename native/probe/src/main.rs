//! `onejob-probe`: watches one service by eBPF and writes down what it asked of the kernel.
mod calls;
mod check;
mod control;
mod failure;
mod gather;
mod keeper;
mod launch;
mod layout;
mod more;
mod recording;
mod session;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};

use failure::Failure;
use launch::Identity;
use session::Order;

const HELP: &str = "\
Watches a program and its descendants by eBPF: system calls, files, peaks.

Usage:
  onejob-probe record --output FILE [--first-drill NAME] [--user UID:GID:GROUPS]
                      -- COMMAND [ARG...]
  onejob-probe check

record  starts COMMAND, watches it until told to finish, writes FILE (JSON).
        Standard input, one JSON object per line:
          {\"drill\": \"serve\"}   what follows belongs to this drill
          {\"snapshot\": true}   write FILE as far as it is, and watch on; what is
                               in it has `not_finished` among what was lost
          {\"finish\": true}     kill what is left, write FILE (so does its end)
        Killed itself, it leaves COMMAND alone, and what was seen is in FILE
        all the same, with `probe_killed` among what was lost.
        --user: what COMMAND is from the start; GROUPS are numbers with commas.
check   tells what this kernel allows, as JSON.

Exit status: 0 done, 1 failed, 2 wrong usage, 3 eBPF unusable,
             127 COMMAND cannot be executed

Example:
  echo '{\"finish\": true}' | onejob-probe record --output ls.json -- ls /
";

/// Prints one line of the protocol. A reader that went away is noticed as end of input.
pub fn say(line: &Value) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let result = match arguments.first().and_then(|word| word.to_str()) {
        Some("record") => parse_record(&arguments[1..]).and_then(|order| session::record(&order)),
        Some("check") if arguments.len() == 1 => return check::report(),
        Some("--help" | "-h") => {
            print!("{HELP}");
            Ok(())
        }
        _ => Err(Failure::usage("expected `record` or `check`")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say(&json!({"error": failure.what, "hint": failure.hint}));
            ExitCode::from(failure.status)
        }
    }
}

fn parse_record(arguments: &[OsString]) -> Result<Order, Failure> {
    let mut words = arguments.iter();
    let (mut output, mut first_drill, mut identity) = (None, "start".to_string(), None);
    loop {
        let word = words.next().ok_or_else(|| Failure::usage("no `-- COMMAND` to record"))?;
        let mut value = |name: &str| {
            words.next().cloned().ok_or_else(|| Failure::usage(&format!("{name} needs a value")))
        };
        match word.to_str() {
            Some("--output") => output = Some(PathBuf::from(value("--output")?)),
            Some("--first-drill") => {
                first_drill = value("--first-drill")?
                    .into_string()
                    .map_err(|_| Failure::usage("the name of the first drill is not UTF-8"))?;
            }
            Some("--user") => identity = Some(Identity::parse(&value("--user")?)?),
            Some("--") => break,
            _ => return Err(Failure::usage(&format!("unknown option {}", word.to_string_lossy()))),
        }
    }
    let command: Vec<OsString> = words.cloned().collect();
    if command.is_empty() {
        return Err(Failure::usage("no command after `--`"));
    }
    let output = output.ok_or_else(|| Failure::usage("no --output FILE"))?;
    Ok(Order { output, first_drill, identity, command })
}
