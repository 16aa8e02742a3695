//! Starts the command: it waits until it is watched, then becomes the command.
use std::convert::Infallible;
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::{self, SigHandler, SigSet, SigmaskHow, Signal};
use nix::sys::wait::waitpid;
use nix::unistd::{self, ForkResult, Gid, Pid, Uid};

use crate::failure::Failure;

/// What the command is from its start; the probe itself stays what it is.
pub struct Identity {
    user: Uid,
    group: Gid,
    groups: Vec<Gid>,
}

/// What is started, by whom, and what it reads as its standard input.
pub struct Start {
    pub identity: Option<Identity>,
    pub input: OsString,
    pub command: Vec<OsString>,
}

impl Identity {
    /// Reads `UID:GID:GROUP,GROUP...`; there may be no groups.
    pub fn parse(text: &OsStr) -> Result<Identity, Failure> {
        let parts: Option<Vec<&str>> = text.to_str().map(|text| text.split(':').collect());
        let read = match parts.as_deref() {
            Some([user, group, groups]) => (|| {
                let groups = groups.split(',').filter(|word| !word.is_empty());
                Some(Identity {
                    user: Uid::from_raw(user.parse().ok()?),
                    group: Gid::from_raw(group.parse().ok()?),
                    groups: groups.map(|word| word.parse().ok().map(Gid::from_raw)).collect::<Option<_>>()?,
                })
            })(),
            _ => None,
        };
        read.ok_or_else(|| Failure::usage("--user needs UID:GID:GROUPS, all of them numbers"))
    }

    fn take(&self) -> Result<(), Errno> {
        unistd::setgroups(&self.groups)?;
        unistd::setresgid(self.group, self.group, self.group)?;
        unistd::setresuid(self.user, self.user, self.user)
    }
}

/// What the child does before exec must not allocate, so all is made before.
struct Child<'a> {
    arguments: Vec<CString>,
    identity: Option<&'a Identity>,
    input: File,
    go: OwnedFd,
    report: OwnedFd,
}

fn pipe() -> Result<(OwnedFd, OwnedFd), Failure> {
    unistd::pipe2(OFlag::O_CLOEXEC).map_err(|error| Failure::system("pipe2", error))
}

fn to_arguments(command: &[OsString]) -> Result<Vec<CString>, Failure> {
    let words = command.iter().map(|word| CString::new(word.as_bytes()));
    words.collect::<Result<_, _>>().map_err(|_| Failure::usage("an argument of the command holds a NUL byte"))
}

/// Starts the command once `watch` has seen to it that it is watched. Returns when its exec has succeeded.
/// `traced`: `watch` has begun to wait for it, and nobody else may (wait(2) would take its stops).
pub fn launch<W>(
    wanted: &Start,
    traced: bool,
    watch: impl FnOnce(Pid) -> Result<W, Failure>,
) -> Result<(Pid, W), Failure> {
    let Start { identity, input, command } = wanted;
    let opened = File::open(input);
    let input = opened.map_err(|error| Failure::system("cannot open the command's input", error))?;
    let (go, start) = pipe()?;
    let (outcome, report) = pipe()?;
    let child = Child { arguments: to_arguments(command)?, identity: identity.as_ref(), input, go, report };
    // SAFETY: this process has one thread, so the child may do what any process may.
    let fork = unsafe { unistd::fork() }.map_err(|error| Failure::system("fork", error))?;
    let pid = match fork {
        ForkResult::Child => {
            drop((start, outcome));
            become_command(&child)
        }
        ForkResult::Parent { child } => child,
    };
    drop(child);
    let watched = watch(pid);
    if watched.is_ok() {
        let _ = unistd::write(&start, b"g"); // a child that is gone shows in `outcome`
    }
    drop(start); // without the word to go, the child ends at this
    let result = watched.and_then(|watch| wait_for_exec(outcome, command).map(|()| (pid, watch)));
    if result.is_err() && !traced {
        let _ = waitpid(pid, None);
    }
    result
}

/// The report pipe closes at exec; before that it carries the errno of a failed one.
fn wait_for_exec(outcome: OwnedFd, command: &[OsString]) -> Result<(), Failure> {
    let mut errno = Vec::new();
    let read = File::from(outcome).read_to_end(&mut errno);
    read.map_err(|error| Failure::system("cannot read from the child", error))?;
    match <[u8; 4]>::try_from(errno) {
        Ok(bytes) => {
            let error = Errno::from_raw(i32::from_ne_bytes(bytes));
            Err(Failure::not_executed(&command[0].to_string_lossy(), error.desc()))
        }
        Err(_) => Ok(()),
    }
}

fn become_command(child: &Child) -> ! {
    let Err(error) = try_become_command(child);
    let _ = unistd::write(&child.report, &(error as i32).to_ne_bytes());
    // SAFETY: _exit ends the process without running anything of the parent's.
    unsafe { libc::_exit(127) }
}

fn try_become_command(child: &Child) -> Result<Infallible, Errno> {
    if let Some(identity) = child.identity {
        identity.take()?;
    }
    unistd::setpgid(Pid::from_raw(0), Pid::from_raw(0))?; // the terminal's Ctrl-C is the probe's
    let mut word = [0];
    if unistd::read(&child.go, &mut word)? == 0 {
        return Err(Errno::ECANCELED);
    }
    // SAFETY: these numbers are the standard descriptors, whose Rust owners never run here again.
    unsafe {
        Errno::result(libc::dup2(child.input.as_raw_fd(), 0))?;
        Errno::result(libc::dup2(2, 1))?;
        // Rust ignores SIGPIPE in its own programs; the command shall have the default.
        signal::signal(Signal::SIGPIPE, SigHandler::SigDfl)?;
    }
    signal::sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
    unistd::execvp(&child.arguments[0], &child.arguments)
}
