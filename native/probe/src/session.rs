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

use crate::attach::{Attached, Chosen};
use crate::control::Control;
use crate::failure::Failure;
use crate::gather::gather;
use crate::host::View;
use crate::keeper::Keeper;
use crate::launch::{Identity, launch};
use crate::recording::{self, Recording};
use crate::say;

/// What the command line asks for.
pub struct Order {
    pub output: PathBuf,
    pub first_drill: String,
    /// Without what lies at the paths: whoever reads the recording looks there himself.
    pub bare: bool,
    pub service: Wanted,
}

pub enum Wanted {
    Command { identity: Option<Identity>, command: Vec<OsString> },
    Running(Chosen),
}

/// What is watched. Only what we launched is ours to end.
enum Service {
    Launched(Pid),
    Attached(Attached),
}

/// What is done to a recording before it is written, by us or by the keeper.
type Completion = Box<dyn Fn(&mut Recording)>;

/// How often it is looked whether a service that is not ours still runs, and what has joined it.
const LOOK_MS: u16 = 1000;

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
    service: Service,
    complete: Completion,
    input: Vec<u8>,
}

pub fn record(order: &Order) -> Result<(), Failure> {
    check_output(&order.output)?;
    let (mut session, signals) = match &order.service {
        Wanted::Command { identity, command } => start_command(order, identity.as_ref(), command)?,
        Wanted::Running(chosen) => attach(order, chosen)?,
    };
    let served = session.serve(&signals);
    let killed = session.end_what_is_ours();
    session.keeper.detach();
    session.control.stop();
    let written = gather(&session.control, &session.drills).and_then(|mut recording| {
        (session.complete)(&mut recording);
        recording::write(&recording, &order.output)
    });
    drop(session.keeper); // all is written: from here on there is nothing to save
    served.and(written)?;
    killed?;
    say(&json!({"recorded": order.output.to_string_lossy()}));
    Ok(())
}

fn start_command<'a>(
    order: &'a Order,
    identity: Option<&Identity>,
    command: &[OsString],
) -> Result<(Session<'a>, SignalFd), Failure> {
    let passed_on = inherited_descriptors()?;
    let mut control = Control::start(false)?;
    let complete = completion(order, View::of("self")?);
    let keeper = Keeper::start(&mut control, &order.output, &order.first_drill, &passed_on, &*complete)?;
    let signals = take_signals()?;
    nix::sys::prctl::set_child_subreaper(true)
        .map_err(|error| Failure::system("cannot become a subreaper", error))?;
    let main = launch(command, identity, &mut control)?;
    say(&json!({"started": main.as_raw()}));
    Ok((Session::new(order, control, keeper, Service::Launched(main), complete), signals))
}

fn attach<'a>(order: &'a Order, chosen: &Chosen) -> Result<(Session<'a>, SignalFd), Failure> {
    let signals = take_signals()?;
    let mut control = Control::start(true)?;
    let attached = Attached::start(chosen, &mut control)?;
    let mut pids = match chosen {
        Chosen::Pids(pids) => pids.clone(),
        Chosen::Cgroup(_) => control.living()?,
    };
    pids.sort_unstable();
    // Any of them will do; some may have ended by now.
    let view = pids.iter().find_map(|pid| View::of(&pid.to_string()).ok());
    let view = view.ok_or_else(|| Failure::new("the service has ended", "start it again"))?;
    let complete = completion(order, view);
    let keeper = Keeper::start(&mut control, &order.output, &order.first_drill, &[], &*complete)?;
    say(&json!({"attached": control.living()?}));
    Ok((Session::new(order, control, keeper, Service::Attached(attached), complete), signals))
}

fn completion(order: &Order, view: View) -> Completion {
    let bare = order.bare;
    Box::new(move |recording| {
        recording.host = Some(view.host());
        recording.contents = if bare { Vec::new() } else { view.contents(&recording.files) };
    })
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

impl<'a> Session<'a> {
    fn new(
        order: &'a Order,
        control: Control,
        keeper: Keeper,
        service: Service,
        complete: Completion,
    ) -> Self {
        let drills = vec![order.first_drill.clone()];
        let output = &order.output;
        Session { output, control, keeper, drills, service, complete, input: Vec::new() }
    }

    /// Kills what is left of a service that we launched.
    fn end_what_is_ours(&self) -> Result<(), Failure> {
        let Service::Launched(main) = self.service else { return Ok(()) };
        let killed = self.control.kill_all(main, || reap(main));
        reap(main);
        killed
    }

    /// True when a service that is not ours has ended.
    fn look(&mut self) -> Result<bool, Failure> {
        match &self.service {
            Service::Launched(_) => Ok(false),
            Service::Attached(attached) => Ok(!attached.look(&mut self.control)?),
        }
    }

    /// Runs until it is told to finish.
    fn serve(&mut self, signals: &SignalFd) -> Result<(), Failure> {
        let stdin = std::io::stdin();
        let timeout = match self.service {
            Service::Launched(_) => PollTimeout::NONE,
            Service::Attached(_) => PollTimeout::from(LOOK_MS),
        };
        loop {
            let mut ready = [
                PollFd::new(stdin.as_fd(), PollFlags::POLLIN),
                PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut ready, timeout) {
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(Failure::system("poll", error)),
                Ok(0) if self.look()? => return Ok(()),
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
        if let Service::Launched(main) = self.service {
            reap(main);
        }
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
