//! The ptrace backend: watches a command where eBPF is not allowed; the same recording, slower.
//!
//! One thread traces and does nothing else, because ptrace(2) binds a tracee to the thread that traces it;
//! the session asks through a lock. There is no seccomp filter: each call's outcome is a fact, so nearly
//! all calls need both of their stops, and a filter would leave a service without system calls (ENOSYS)
//! when its tracer dies. As it is, the service goes on as if nothing had been.
mod calls;
mod confine;
mod crowds;
mod descriptors;
mod files;
pub mod front;
mod memory;
mod numbers;
mod proc;
mod raw;
mod report;
mod sockets;
mod tally;
mod traffic;
mod watch;

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::thread::JoinHandleExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use libc::pid_t;
use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::pthread::pthread_kill;
use nix::sys::signal::{self, SaFlags, SigAction, SigHandler, SigSet, Signal};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::recording::Recording;
use raw::{AT_ENTRY, AT_EXIT, Event};
use watch::Watch;

/// How long killed processes may take to be gone.
const KILL_TIME: Duration = Duration::from_secs(10);
/// Makes the tracing thread look up from wait(2).
const NUDGE: Signal = Signal::SIGUSR1;

struct Shared {
    watch: Mutex<Watch>,
    /// The tracing thread is to end, which frees all that it traces.
    leaving: AtomicBool,
    /// Something happened that the session should know.
    alarm: EventFd,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub struct Tracing {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    processor: Option<i32>,
}

impl Tracing {
    /// Traces a process of ours from its next exec on. `settling` as for `settling::rules`.
    pub fn start(main: Pid, settling: &[u32]) -> Result<Self, Failure> {
        prepare_signals().map_err(|error| Failure::system("sigaction", error))?;
        let alarm = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
            .map_err(|error| Failure::system("eventfd", error))?;
        let processor = confine::confine(main.as_raw());
        let watch = Mutex::new(Watch::new(main.as_raw(), processor.is_some(), settling));
        let shared = Arc::new(Shared { watch, leaving: AtomicBool::new(false), alarm });
        let (ready, said) = channel();
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().spawn(move || trace(&theirs, main.as_raw(), &ready));
        let thread = thread.map_err(|error| Failure::system("cannot start a thread", error))?;
        said.recv().unwrap_or_else(|_| Err(refused("the tracer ended")))?;
        Ok(Tracing { shared, thread: Some(thread), processor })
    }

    /// The processor that the service is kept to.
    pub fn processor(&self) -> Option<i32> {
        self.processor
    }

    pub fn switch_drill(&self, drill: u32) {
        self.shared.lock().drill = drill;
    }

    pub fn gather(&self, drills: &[String]) -> Recording {
        report::gather(&self.shared.lock(), drills)
    }

    /// What becomes readable when there is something to take.
    pub fn alarm(&self) -> BorrowedFd<'_> {
        self.shared.alarm.as_fd()
    }

    /// How the main process ended, once.
    pub fn take_end(&self) -> Option<Value> {
        let _ = self.shared.alarm.read();
        let status = self.shared.lock().ended.take()?;
        Some(if libc::WIFSIGNALED(status) {
            json!({"exited": {"signal": libc::WTERMSIG(status)}})
        } else {
            json!({"exited": {"status": libc::WEXITSTATUS(status)}})
        })
    }

    /// Kills every watched process; again and again, because a fork may escape the first rounds.
    /// The main process dies first, so that it does not get to exit because its children are gone.
    pub fn kill_all(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + KILL_TIME;
        while self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            let (main, mut living) = {
                let watch = self.shared.lock();
                (watch.main, watch.living())
            };
            living.sort_by_key(|pid| *pid != main);
            for pid in living.iter().filter(|pid| **pid > 1) {
                let _ = signal::kill(Pid::from_raw(*pid), Signal::SIGKILL); // gone is as good
            }
            if Instant::now() > deadline {
                let what = format!("processes {living:?} do not die");
                return Err(Failure::new(what, "see `ps -o pid,stat,wchan` for what they wait for"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Leaves the service alone: it goes on, unwatched, wherever it might have run before.
    pub fn leave(&mut self) {
        self.shared.leaving.store(true, Ordering::SeqCst);
        while let Some(thread) = self.thread.take_if(|thread| !thread.is_finished()) {
            let _ = pthread_kill(thread.as_pthread_t(), NUDGE);
            std::thread::sleep(Duration::from_millis(2)); // it may have looked just before, so again
            self.thread = Some(thread);
        }
        let watch = self.shared.lock();
        let confined = watch.threads.iter().filter(|(_, thread)| thread.confined);
        confine::release(confined.map(|(tid, _)| *tid));
    }
}

/// Whether this machine lets us trace: a child of ours is tried.
pub fn usable() -> bool {
    // SAFETY: this process has one thread; the child only waits to be killed.
    match unsafe { nix::unistd::fork() } {
        Ok(nix::unistd::ForkResult::Child) => loop {
            nix::unistd::pause();
        },
        Ok(nix::unistd::ForkResult::Parent { child }) => {
            let traced = raw::seize(child.as_raw()).is_ok();
            let _ = signal::kill(child, Signal::SIGKILL);
            let _ = nix::sys::wait::waitpid(child, Some(nix::sys::wait::WaitPidFlag::__WALL));
            traced
        }
        Err(_) => false,
    }
}

fn refused(why: impl std::fmt::Display) -> Failure {
    let hint = "allow ptrace: not in a seccomp or Landlock sandbox, kernel.yama.ptrace_scope below 3";
    Failure::unusable(format!("cannot trace the command: {why}"), hint)
}

/// The nudge interrupts wait(2), and a stop of a tracee is told by that alone, not by SIGCHLD, too.
fn prepare_signals() -> Result<(), Errno> {
    extern "C" fn nothing(_: i32) {}
    let nudge = SigAction::new(SigHandler::Handler(nothing), SaFlags::empty(), SigSet::empty());
    let child = SigAction::new(SigHandler::SigDfl, SaFlags::SA_NOCLDSTOP, SigSet::empty());
    // SAFETY: the handler does nothing, so it may run at any time.
    unsafe {
        signal::sigaction(NUDGE, &nudge)?;
        signal::sigaction(Signal::SIGCHLD, &child)?;
    }
    Ok(())
}

/// The tracing thread, until nothing is left to trace or it is to leave.
fn trace(shared: &Shared, main: pid_t, ready: &Sender<Result<(), Failure>>) {
    let seized = raw::seize(main).map_err(refused);
    let failed = seized.is_err();
    let _ = ready.send(seized);
    while !failed && !shared.leaving.load(Ordering::SeqCst) {
        match raw::wait() {
            Ok((tid, event)) => handle(shared, tid, &event),
            Err(libc::EINTR) => {}
            Err(_) => break,
        }
    }
    let _ = shared.alarm.write(1);
}

fn handle(shared: &Shared, tid: pid_t, event: &Event) {
    match event {
        Event::Call => {
            note_call(&mut shared.lock(), tid);
            raw::resume_to_call(tid, 0);
        }
        Event::Signal(signal) => raw::resume_to_call(tid, *signal),
        Event::GroupStop => raw::listen(tid),
        Event::Attached => {
            if shared.lock().attached(tid) {
                raw::resume_to_call(tid, 0);
            }
        }
        Event::Birth => {
            let child = raw::event_message(tid);
            if shared.lock().birth(tid, child) {
                raw::resume_to_call(child, 0);
            }
            raw::resume_to_call(tid, 0);
        }
        Event::Exec => {
            shared.lock().exec(tid);
            raw::resume_to_call(tid, 0);
        }
        Event::Exiting => {
            let mut watch = shared.lock();
            let orphans = watch.orphans(tid);
            watch.death(tid);
            drop(watch);
            orphans.into_iter().chain([tid]).for_each(|thread| raw::resume_to_call(thread, 0));
        }
        Event::Gone(status) => note_gone(shared, tid, *status),
    }
}

fn note_call(watch: &mut Watch, tid: pid_t) {
    let Some(info) = raw::call_info(tid) else { return }; // killed meanwhile
    match info.op {
        AT_ENTRY => watch.enter(tid, &info),
        AT_EXIT => watch.leave(tid, info.first as i64),
        _ => {}
    }
}

fn note_gone(shared: &Shared, tid: pid_t, status: i32) {
    let mut watch = shared.lock();
    watch.death(tid);
    if tid == watch.main && watch.started {
        watch.ended = Some(status);
        let _ = shared.alarm.write(1);
    }
}
