//! `onejob-probe`: watches one service, by eBPF or ptrace, and writes down what it asked of the kernel.
mod attach;
mod calls;
mod check;
mod control;
mod failure;
mod gather;
mod host;
mod keeper;
mod launch;
mod layout;
mod more;
mod observer;
mod ptrace;
mod recording;
mod seed;
mod session;
mod settling;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::slice::Iter;

use serde_json::{Value, json};

use attach::Chosen;
use failure::Failure;
use launch::{Identity, Start};
use observer::Backend;
use session::{Order, Wanted};

const HELP: &str = "\
Watches a program and its descendants: system calls, files, peaks.

Usage:
  onejob-probe record --output FILE [--first-drill NAME] [--user UID:GID:GROUPS] [--input FILE]
                      [--bare] [--backend ebpf|ptrace] [--settling CALLS]
                      -- COMMAND [ARG...]
  onejob-probe attach --output FILE [--first-drill NAME]
                      [--bare] (--pid PID)... | --cgroup FOLDER
  onejob-probe check

record  starts COMMAND, watches it until told to finish, writes FILE (JSON).
        Standard input, one JSON object per line:
          {\"drill\": \"serve\"}   what follows belongs to this drill
          {\"snapshot\": true}   write FILE as far as it is, and watch on; what is
                               in it has `not_finished` among what was lost
          {\"finish\": true}     kill what is left, write FILE (so does its end)
        Killed itself, it leaves COMMAND alone, and what was seen is in FILE
        all the same, with `probe_killed` among what was lost.
        --backend: ptrace needs no rights, and slows COMMAND down several times.
        --user: what COMMAND is from the start; GROUPS are numbers with commas.
        --input: what COMMAND reads as its standard input; nothing if not given.
        --settling: numbers of calls, with commas: a process is ready with its
        first of these, not when it waits for the first time once it listens.
attach  watches processes that run already, with all their descendants: these
        and theirs, or those of a cgroup and of all below it, also later ones.
        Input as above; none of them is ever signalled. Ends with them, too.
        FILE holds hashes of what was only read, for `onejob profile --from FILE`
        on another machine; not with --bare.
check   tells what this kernel allows, as JSON.

Exit status: 0 done, 1 failed, 2 wrong usage, 3 eBPF unusable,
             127 COMMAND cannot be executed

Examples:
  onejob-probe attach --output nginx.json --pid 1234    # until Ctrl-C
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
        Some("attach") => parse_attach(&arguments[1..]).and_then(|order| session::record(&order)),
        Some("check") if arguments.len() == 1 => return check::report(),
        Some("--help" | "-h") => {
            print!("{HELP}");
            Ok(())
        }
        _ => Err(Failure::usage("expected `record`, `attach` or `check`")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say(&json!({"error": failure.what, "hint": failure.hint}));
            ExitCode::from(failure.status)
        }
    }
}

fn value(name: &str, words: &mut Iter<'_, OsString>) -> Result<OsString, Failure> {
    words.next().cloned().ok_or_else(|| Failure::usage(&format!("{name} needs a value")))
}

fn text(name: &str, words: &mut Iter<'_, OsString>) -> Result<String, Failure> {
    value(name, words)?.into_string().map_err(|_| Failure::usage(&format!("{name} is not UTF-8")))
}

fn unknown(word: &OsString) -> Failure {
    Failure::usage(&format!("unknown option {}", word.to_string_lossy()))
}

fn needed(output: Option<OsString>) -> Result<PathBuf, Failure> {
    output.map(PathBuf::from).ok_or_else(|| Failure::usage("no --output FILE"))
}

fn parse_record(arguments: &[OsString]) -> Result<Order, Failure> {
    let mut words = arguments.iter();
    let (mut output, mut first_drill, mut identity) = (None, "start".to_string(), None);
    let (mut bare, mut backend, mut settling) = (false, Backend::Ebpf, Vec::new());
    let mut input = OsString::from("/dev/null");
    loop {
        let word = words.next().ok_or_else(|| Failure::usage("no `-- COMMAND` to record"))?;
        match word.to_str() {
            Some("--output") => output = Some(value("--output", &mut words)?),
            Some("--first-drill") => first_drill = text("--first-drill", &mut words)?,
            Some("--bare") => bare = true,
            Some("--backend") => backend = backend_of(&text("--backend", &mut words)?)?,
            Some("--settling") => settling = settling::parse(&text("--settling", &mut words)?)?,
            Some("--input") => input = value("--input", &mut words)?,
            Some("--user") => identity = Some(Identity::parse(&value("--user", &mut words)?)?),
            Some("--") => break,
            _ => return Err(unknown(word)),
        }
    }
    let command: Vec<OsString> = words.cloned().collect();
    if command.is_empty() {
        return Err(Failure::usage("no command after `--`"));
    }
    let service = Wanted::Command(Start { identity, input, command });
    Ok(Order { output: needed(output)?, first_drill, bare, backend, settling, service })
}

fn parse_attach(arguments: &[OsString]) -> Result<Order, Failure> {
    let mut words = arguments.iter();
    let (mut output, mut first_drill, mut bare) = (None, "serve".to_string(), false);
    let (mut pids, mut cgroup) = (Vec::new(), None);
    while let Some(word) = words.next() {
        match word.to_str() {
            Some("--output") => output = Some(value("--output", &mut words)?),
            Some("--first-drill") => first_drill = text("--first-drill", &mut words)?,
            Some("--bare") => bare = true,
            Some("--pid") => pids.push(positive(&text("--pid", &mut words)?)?),
            Some("--cgroup") => cgroup = Some(PathBuf::from(value("--cgroup", &mut words)?)),
            _ => return Err(unknown(word)),
        }
    }
    let chosen = match cgroup {
        None if !pids.is_empty() => Chosen::Pids(pids),
        Some(folder) if pids.is_empty() => Chosen::Cgroup(folder),
        _ => return Err(Failure::usage("give either --pid PID or --cgroup FOLDER")),
    };
    let (service, backend) = (Wanted::Running(chosen), Backend::Ebpf);
    let settling = Vec::new(); // their start is over
    Ok(Order { output: needed(output)?, first_drill, bare, backend, settling, service })
}

fn backend_of(text: &str) -> Result<Backend, Failure> {
    match text {
        "ebpf" => Ok(Backend::Ebpf),
        "ptrace" => Ok(Backend::Ptrace),
        _ => Err(Failure::usage(&format!("--backend {text}: there are ebpf and ptrace"))),
    }
}

fn positive(text: &str) -> Result<i32, Failure> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| Failure::usage(&format!("--pid {text}: not the number of a process")))
}
