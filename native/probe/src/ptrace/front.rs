//! The process that whoever started the probe knows: it hands on what it is told.
//!
//! The tracer is another process, apart from this one, so that a probe that is killed takes nothing
//! along: the tracer sees that nobody speaks to it any more, lets the service go, and saves what was seen.
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::exit;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{self, ForkResult, Pid};
use serde_json::json;

use crate::failure::Failure;
use crate::say;
use crate::session::take_signals;

const FINISH: &[u8] = b"\n{\"finish\":true}\n";

/// Returns in the tracer, with what it shall listen to; this process ends with the tracer.
/// `foreign` are descriptors that are meant for the command.
pub fn part(foreign: Vec<OwnedFd>) -> Result<(OwnedFd, Vec<OwnedFd>), Failure> {
    let (ours, theirs) = UnixStream::pair().map_err(|error| Failure::system("socketpair", error))?;
    // SAFETY: this process has one thread, so the child may do what any process may.
    match unsafe { unistd::fork() }.map_err(|error| Failure::system("fork", error))? {
        ForkResult::Child => {
            drop(ours);
            // What ends the probe's group spares it.
            let _ = unistd::setsid();
            let _ = nix::sys::prctl::set_name(c"onejob-tracer");
            let _ = SigSet::from_iter([Signal::SIGHUP]).thread_block();
            Ok((theirs.into(), foreign))
        }
        ForkResult::Parent { child } => {
            drop((theirs, foreign));
            hand_on(ours)?;
            exit(i32::from(await_tracer(child)))
        }
    }
}

/// Until the end of input, a signal, or the end of the tracer; then it is to finish.
fn hand_on(mut tracer: UnixStream) -> Result<(), Failure> {
    let signals = take_signals()?;
    let stdin = std::io::stdin();
    let mut chunk = [0; 4096];
    loop {
        let mut ready =
            [PollFd::new(stdin.as_fd(), PollFlags::POLLIN), PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut ready, PollTimeout::NONE);
        let [typed, signalled] = ready.map(|entry| entry.any().unwrap_or(false));
        if signalled && matches!(signals.read_signal(), Ok(Some(_))) {
            break; // SIGCHLD, too: only the tracer is a child
        }
        if typed {
            match unistd::read(&stdin, &mut chunk) {
                Ok(size) if size > 0 && tracer.write_all(&chunk[..size]).is_ok() => {}
                Err(nix::errno::Errno::EINTR | nix::errno::Errno::EAGAIN) => {}
                _ => break,
            }
        }
    }
    let _ = tracer.write_all(FINISH); // a tracer that has ended needs no word
    std::mem::forget(tracer); // open until we end: its end means that we were killed
    Ok(())
}

/// The exit status of the tracer, which is ours.
fn await_tracer(child: Pid) -> u8 {
    loop {
        match waitpid(child, None) {
            Ok(WaitStatus::Exited(_, status)) => return status as u8,
            Ok(WaitStatus::Signaled(_, signal, _)) => {
                let hint = "the service goes on, unwatched; what was seen of it is lost";
                say(&json!({"error": format!("the tracer was ended by {signal}"), "hint": hint}));
                return 1;
            }
            Err(nix::errno::Errno::EINTR) | Ok(_) => {}
            Err(_) => return 1,
        }
    }
}
