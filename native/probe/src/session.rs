//! One recording from start to end: obeys standard input, signals and the death of the service.
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
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
use crate::control::{Control, open_pidfd};
use crate::failure::Failure;
use crate::host::View;
use crate::keeper::Keeper;
use crate::launch::{Start, launch};
use crate::observer::{Backend, Observer};
use crate::ptrace::{Tracing, front};
use crate::recording::{self, Recording};
use crate::say;

/// What the command line asks for.
pub struct Order {
    pub output: PathBuf,
    pub first_drill: String,
    /// Without what lies at the paths: whoever reads the recording looks there himself.
    pub bare: bool,
    pub backend: Backend,
    /// As for `settling::rules`.
    pub settling: Vec<u32>,
    pub service: Wanted,
}

pub enum Wanted {
    Command(Start),
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

/// Why a recording ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Asked,
    /// Whoever handed on the requests was killed: the service is to be left alone.
    Abandoned,
}

struct Session<'a> {
    output: &'a Path,
    observer: Observer,
    drills: Vec<String>,
    service: Service,
    complete: Completion,
    /// Where requests come from, if not from standard input; its end is then no request.
    source: Option<OwnedFd>,
    input: Vec<u8>,
}

pub fn record(order: &Order) -> Result<(), Failure> {
    check_output(&order.output)?;
    let (mut session, signals) = match (&order.service, order.backend) {
        (Wanted::Command(start), Backend::Ebpf) => start_command(order, start)?,
        (Wanted::Command(start), Backend::Ptrace) => trace_command(order, start)?,
        (Wanted::Running(chosen), _) => attach(order, chosen)?,
    };
    let served = session.serve(&signals);
    let abandoned = matches!(served, Ok(End::Abandoned));
    let killed = if abandoned { Ok(()) } else { session.end_what_is_ours() };
    session.observer.stop();
    let written = session.observer.gather(&session.drills).and_then(|mut recording| {
        (session.complete)(&mut recording);
        if abandoned {
            recording.lost.insert("probe_killed", 1);
        }
        recording::write(&recording, &order.output)
    });
    drop(session.observer); // all is written: from here on there is nothing to save
    served.and(written)?;
    killed?;
    let word = if abandoned { "saved" } else { "recorded" };
    say(&json!({word: order.output.to_string_lossy()}));
    Ok(())
}

fn start_command<'a>(order: &'a Order, start: &Start) -> Result<(Session<'a>, SignalFd), Failure> {
    let passed_on = inherited_descriptors()?;
    let mut control = Control::start(false, &order.settling)?;
    let complete = completion(order, View::of("self")?);
    let keeper = Keeper::start(&mut control, &order.output, &order.first_drill, &passed_on, &*complete)?;
    let signals = take_signals()?;
    become_subreaper()?;
    let watch = |pid: Pid| control.watch(open_pidfd(pid.as_raw())?.as_fd());
    let (main, ()) = launch(start, false, watch)?;
    say(&json!({"started": main.as_raw()}));
    let observer = Observer::Ebpf { control, keeper };
    Ok((Session::new(order, observer, Service::Launched(main), complete), signals))
}

/// As above, in the tracer's own process.
fn trace_command<'a>(order: &'a Order, start: &Start) -> Result<(Session<'a>, SignalFd), Failure> {
    let (source, passed_on) = front::part(inherited_descriptors()?)?;
    let signals = take_signals()?;
    let complete = completion(order, View::of("self")?);
    become_subreaper()?;
    let (main, tracing) = launch(start, true, |main| Tracing::start(main, &order.settling))?;
    drop(passed_on);
    say(&json!({"started": main.as_raw(), "processor": tracing.processor()}));
    let service = Service::Launched(main);
    let session = Session::new(order, Observer::Ptrace(tracing), service, complete);
    Ok((Session { source: Some(source), ..session }, signals))
}

fn become_subreaper() -> Result<(), Failure> {
    nix::sys::prctl::set_child_subreaper(true)
        .map_err(|error| Failure::system("cannot become a subreaper", error))
}

fn attach<'a>(order: &'a Order, chosen: &Chosen) -> Result<(Session<'a>, SignalFd), Failure> {
    let signals = take_signals()?;
    let mut control = Control::start(true, &[])?;
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
    let observer = Observer::Ebpf { control, keeper };
    Ok((Session::new(order, observer, Service::Attached(attached), complete), signals))
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
    fn new(order: &'a Order, observer: Observer, service: Service, complete: Completion) -> Self {
        let drills = vec![order.first_drill.clone()];
        let output = &order.output;
        Session { output, observer, drills, service, complete, source: None, input: Vec::new() }
    }

    /// Kills what is left of a service that we launched.
    fn end_what_is_ours(&self) -> Result<(), Failure> {
        let Service::Launched(main) = self.service else { return Ok(()) };
        let killed = self.observer.kill_all(main, || reap(main));
        self.collect(main);
        killed
    }

    /// Collects the dead of a service that we launched, and tells of the main process.
    fn collect(&self, main: Pid) {
        if !self.observer.reaps() {
            reap(main);
        } else if let Some(end) = self.observer.take_end() {
            say(&end);
        }
    }

    /// True when a service that is not ours has ended.
    fn look(&mut self) -> Result<bool, Failure> {
        match (&self.service, &mut self.observer) {
            (Service::Attached(attached), Observer::Ebpf { control, .. }) => Ok(!attached.look(control)?),
            _ => Ok(false),
        }
    }

    /// Runs until it is told to finish.
    fn serve(&mut self, signals: &SignalFd) -> Result<End, Failure> {
        let timeout = match self.service {
            Service::Launched(_) => PollTimeout::NONE,
            Service::Attached(_) => PollTimeout::from(LOOK_MS),
        };
        loop {
            let stdin = std::io::stdin();
            let input = self.source.as_ref().map_or(stdin.as_fd(), AsFd::as_fd);
            // Where there is no alarm, the signals stand there once more.
            let alarm = self.observer.alarm().unwrap_or(signals.as_fd());
            let mut ready = [input, signals.as_fd(), alarm].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
            let polled = poll(&mut ready, timeout);
            let [typed, signalled, alarmed] = ready.map(|entry| entry.any().unwrap_or(false));
            match polled {
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(Failure::system("poll", error)),
                Ok(0) if self.look()? => return Ok(End::Asked),
                Ok(_) => {}
            }
            if (signalled || alarmed) && self.take_signal(signals) {
                return Ok(End::Asked);
            }
            if typed && let Some(end) = self.take_input()? {
                return Ok(end);
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
            self.collect(main);
        }
        finish
    }

    fn read(&self, chunk: &mut [u8]) -> Result<usize, Errno> {
        let stdin = std::io::stdin();
        let input: BorrowedFd<'_> = self.source.as_ref().map_or(stdin.as_fd(), AsFd::as_fd);
        unistd::read(input, chunk)
    }

    /// How to end, at the end of input or the request to finish.
    fn take_input(&mut self) -> Result<Option<End>, Failure> {
        let mut chunk = [0; 4096];
        match self.read(&mut chunk) {
            Ok(0) | Err(Errno::ECONNRESET) if self.source.is_some() => return Ok(Some(End::Abandoned)),
            Ok(0) => return Ok(Some(End::Asked)),
            Ok(size) => self.input.extend_from_slice(&chunk[..size]),
            Err(Errno::EINTR | Errno::EAGAIN) => return Ok(None),
            Err(error) => return Err(Failure::system("cannot read standard input", error)),
        }
        while let Some(end) = self.input.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.input.drain(..=end).collect();
            if self.obey(&line)? {
                return Ok(Some(End::Asked));
            }
        }
        Ok(None)
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
        let written = self.observer.gather(&self.drills).and_then(|mut recording| {
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
        self.observer.switch_drill(index as u32, known.is_none().then_some(&name[..]))?;
        say(&json!({"drill": name}));
        if known.is_none() {
            self.drills.push(name);
        }
        Ok(())
    }
}
