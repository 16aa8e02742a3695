//! One recording from start to end: obeys standard input, signals and the death of the service.
use std::ffi::OsString;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{self, AccessFlags, Pid};
use serde::Deserialize;
use serde_json::json;

use crate::control::Control;
use crate::failure::Failure;
use crate::gather::gather;
use crate::keeper::Keeper;
use crate::launch::{Identity, launch};
use crate::recording;
use crate::say;

/// What the command line asks for.
pub struct Order {
    pub output: PathBuf,
    pub first_drill: String,
    pub identity: Option<Identity>,
    pub command: Vec<OsString>,
}

/// A line of standard input.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum Request {
    Drill(String),
    Snapshot(bool),
    Finish(bool),
}

struct Session<'a> {
    output: &'a Path,
    control: Control,
    keeper: Keeper,
    drills: Vec<String>,
    main: Pid,
    input: Vec<u8>,
}

pub fn record(order: &Order) -> Result<(), Failure> {
    check_output(&order.output)?;
    let passed_on = inherited_descriptors()?;
    let mut control = Control::start()?;
    let keeper = Keeper::start(&mut control, &order.output, &order.first_drill, &passed_on, &|_| ())?;
    let signals = take_signals()?;
    nix::sys::prctl::set_child_subreaper(true)
        .map_err(|error| Failure::system("cannot become a subreaper", error))?;
    let main = launch(&order.command, order.identity.as_ref(), &mut control)?;
    drop(passed_on);
    say(&json!({"started": main.as_raw()}));
    let drills = vec![order.first_drill.clone()];
    let mut session = Session { output: &order.output, control, keeper, drills, main, input: Vec::new() };
    let served = session.serve(&signals);
    let killed = session.control.kill_all(main, || reap(main));
    reap(main);
    session.keeper.detach();
    session.control.stop();
    let written = gather(&session.control, &session.drills)
        .and_then(|recording| recording::write(&recording, &order.output));
    drop(session.keeper); // all is written: from here on there is nothing to save
    served.and(written)?;
    killed?;
    say(&json!({"recorded": order.output.to_string_lossy()}));
    Ok(())
}

/// Finds out before the service runs, not after, that the recording cannot be written.
pub fn check_output(output: &Path) -> Result<(), Failure> {
    let refuse = |error: Errno| {
        let what = format!("cannot write {}: {}", output.display(), error.desc());
        Failure::new(what, "give --output in a folder that exists and may be written")
    };
    if output.is_dir() {
        return Err(refuse(Errno::EISDIR));
    }
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty());
    unistd::access(folder.unwrap_or(Path::new(".")), AccessFlags::W_OK).map_err(refuse)
}

/// What whoever started us means for the command. Once it runs, our copies must go: the other end of
/// a pipe or socket would not see the command's end.
fn inherited_descriptors() -> Result<Vec<OwnedFd>, Failure> {
    let failed = |error| Failure::system("cannot list /proc/self/fd", error);
    let listing = std::fs::read_dir("/proc/self/fd").map_err(failed)?;
    let names = listing.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let numbers: Vec<i32> = names.filter(|number| *number > 2).collect();
    // The listing's own descriptor is closed by now.
    // SAFETY: F_GETFD takes any number and changes nothing.
    let is_open = |number: &i32| unsafe { libc::fcntl(*number, libc::F_GETFD) } >= 0;
    let open = numbers.into_iter().filter(is_open);
    // SAFETY: this is the first thing that we do with descriptors beyond 2, so nobody here owns them.
    Ok(open.map(|number| unsafe { OwnedFd::from_raw_fd(number) }).collect())
}

pub fn take_signals() -> Result<SignalFd, Failure> {
    let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGCHLD]);
    signals
        .thread_block()
        .and_then(|()| SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK))
        .map_err(|error| Failure::system("signalfd", error))
}

/// Collects the dead: the main process, which is reported, and orphans that came to us.
fn reap(main: Pid) {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, status)) if pid == main => {
                say(&json!({"exited": {"status": status}}));
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == main => {
                say(&json!({"exited": {"signal": signal as i32}}));
            }
            Ok(WaitStatus::StillAlive) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

impl Session<'_> {
    /// Runs until it is told to finish.
    fn serve(&mut self, signals: &SignalFd) -> Result<(), Failure> {
        let stdin = std::io::stdin();
        loop {
            let mut ready = [
                PollFd::new(stdin.as_fd(), PollFlags::POLLIN),
                PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut ready, PollTimeout::NONE) {
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(Failure::system("poll", error)),
                Ok(_) => {}
            }
            let [typed, signalled] = ready.map(|entry| entry.any().unwrap_or(false));
            if signalled && self.take_signal(signals) {
                return Ok(());
            }
            if typed && self.take_input(stdin.as_fd())? {
                return Ok(());
            }
        }
    }

    /// True if it is the signal to finish.
    fn take_signal(&self, signals: &SignalFd) -> bool {
        let mut finish = false;
        while let Ok(Some(signal)) = signals.read_signal() {
            finish |= signal.ssi_signo != Signal::SIGCHLD as u32;
        }
        reap(self.main);
        finish
    }

    /// True at the end of input or the request to finish.
    fn take_input(&mut self, stdin: std::os::fd::BorrowedFd<'_>) -> Result<bool, Failure> {
        let mut chunk = [0; 4096];
        match unistd::read(stdin, &mut chunk) {
            Ok(0) => return Ok(true),
            Ok(size) => self.input.extend_from_slice(&chunk[..size]),
            Err(Errno::EINTR | Errno::EAGAIN) => return Ok(false),
            Err(error) => return Err(Failure::system("cannot read standard input", error)),
        }
        while let Some(end) = self.input.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.input.drain(..=end).collect();
            if self.obey(&line)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn obey(&mut self, line: &[u8]) -> Result<bool, Failure> {
        match serde_json::from_slice(line) {
            Ok(Request::Drill(name)) => self.switch_drill(name)?,
            Ok(Request::Snapshot(true)) => self.save_so_far(),
            Ok(Request::Snapshot(false)) => {}
            Ok(Request::Finish(finish)) => return Ok(finish),
            Err(_) if line.trim_ascii().is_empty() => {}
            Err(error) => {
                let what = format!("bad request on standard input: {error}");
                let hint =
                    r#"give {"drill":"NAME"}, {"snapshot":true} or {"finish":true}; the recording goes on"#;
                say(&json!({"error": what, "hint": hint}));
            }
        }
        Ok(false)
    }

    /// Writes what was seen until now, marked as not finished; the watch goes on meanwhile.
    fn save_so_far(&self) {
        let written = gather(&self.control, &self.drills).and_then(|mut recording| {
            recording.lost.insert("not_finished", 1);
            recording::write(&recording, self.output)
        });
        match written {
            Ok(()) => say(&json!({"snapshot": self.output.to_string_lossy()})),
            Err(failure) => say(&json!({"error": failure.what, "hint": failure.hint})),
        }
    }

    fn switch_drill(&mut self, name: String) -> Result<(), Failure> {
        let known = self.drills.iter().position(|drill| *drill == name);
        let index = known.unwrap_or(self.drills.len());
        if known.is_none() {
            self.keeper.note_drill(&name);
        }
        self.control.switch_drill(index as u32)?;
        say(&json!({"drill": name}));
        if known.is_none() {
            self.drills.push(name);
        }
        Ok(())
    }
}
