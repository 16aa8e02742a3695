//! The watch over the service: its signals, its denied calls, its children, and who asks about it.

mod requests;

use alloc::format;
use alloc::string::String;

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::{Errno, read};
use rustix::process::{WaitOptions, WaitStatus, wait};

use crate::administrator::Administrator;
use crate::button::Button;
use crate::console::say;
use crate::control::Control;
use crate::failure::{OrFail, Outcome};
use crate::instance::Instance;
use crate::life::{Duty, Life};
use crate::logs::{self, Logs};
use crate::observe::Observer;
use crate::output::Output;
use crate::resident::Residents;
use crate::ring;
use crate::search::Search;
use crate::seccomp::{Denials, announce};
use crate::service::{Service, Starter};
use crate::shutdown::{self, Ending};
use crate::sys::{self, now_ms};
use crate::tracer::Tracer;
use crate::trial::{Trial, Verdict};

/// Stops and ends of tasks that are dealt with in a row: whoever else waits must not starve.
const MOST_CHANGES: usize = 64;

/// Signals that mean "stop", to process 1 of a container or a machine.
const STOP: [i32; 3] = [sys::SIGTERM, sys::SIGINT, sys::SIGPWR];
/// Signals that are meant for the service, when a container runtime sends them to process 1.
const PASS_ON: [i32; 4] = [sys::SIGHUP, sys::SIGQUIT, sys::SIGUSR1, sys::SIGUSR2];

pub struct Supervisor<'a> {
    instance: &'a Instance,
    starter: Starter<'a>,
    service: Service,
    /// Where programs are narrowed to their rows of the call matrix.
    tracer: Option<Tracer<'a>>,
    signals: OwnedFd,
    pub control: Option<Control>,
    denials: Denials,
    observer: Observer<'a>,
    output: Output,
    administrator: Administrator<'a>,
    search: Option<Search>,
    logs: Logs<'a>,
    pub button: Option<Button>,
    pub trial: Option<Trial<'a>>,
    /// Keeps programs in memory, in a machine of our own.
    pub residents: Option<Residents>,
    life: Life<'a>,
    /// More tasks than `MOST_CHANGES` may have stopped or ended.
    more_changes: bool,
}

/// Collects the signals that `Supervisor::watch` reads; all others stay blocked without effect.
pub fn take_signals() -> Outcome<OwnedFd> {
    sys::block_signals(u64::MAX);
    let mask =
        STOP.iter().chain(&PASS_ON).chain([&sys::SIGCHLD]).fold(0, |mask, signal| mask | 1 << (signal - 1));
    sys::signal_descriptor(mask).or_fail(format_args!("cannot make a signal descriptor"))
}

impl<'a> Supervisor<'a> {
    /// Start the service, to be watched.
    pub fn start(
        starter: Starter<'a>,
        life: Life<'a>,
        signals: OwnedFd,
        control: Option<Control>,
        observer: Observer<'a>,
        output: Output,
    ) -> Outcome<Self> {
        output.lend()?;
        let (service, tracer) = starter.start()?;
        output.let_go();
        let instance = starter.instance;
        Ok(Supervisor {
            instance,
            starter,
            service,
            tracer,
            signals,
            control,
            denials: Denials::default(),
            observer,
            output,
            administrator: Administrator::new(instance),
            search: None,
            logs: Logs::new(&instance.logs),
            button: None,
            trial: None,
            residents: None,
            life,
            more_changes: false,
        })
    }

    /// As at boot: with its boot rows, and logs that it may give owner and mode to until it settles.
    fn start_again(&mut self, ending: Ending) -> Outcome<()> {
        logs::lift_all(&self.instance.logs);
        self.logs = Logs::new(&self.instance.logs);
        self.output.lend()?;
        let started = self.starter.start();
        self.output.let_go();
        (self.service, self.tracer) = started?;
        self.observer.started_again(self.life.restarts, ending);
        Ok(())
    }

    /// Watch until the main process and all others have ended.
    pub fn watch(&mut self) -> Ending {
        loop {
            let any_left = self.reap();
            match self.life.advance(any_left) {
                Duty::Wait => self.wait_and_serve(),
                Duty::Leave(ending) => return self.finish(ending),
                Duty::StartAgain(ending) => {
                    if let Err(failure) = self.start_again(ending) {
                        say(format_args!("{failure}"));
                        return self.finish(ending);
                    }
                }
                duty => self.fulfil(&duty, any_left),
            }
        }
    }

    fn finish(&mut self, ending: Ending) -> Ending {
        self.output.finish();
        self.observer.finish(&self.denials);
        ending
    }

    /// Take every dead child, also those whose parents died before them, and let every stopped
    /// tracee go on. False when none is left.
    fn reap(&mut self) -> bool {
        self.more_changes = false;
        for _ in 0..MOST_CHANGES {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => self.take_change(pid.as_raw_pid(), status),
                Err(Errno::INTR) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
        self.more_changes = true;
        true
    }

    fn take_change(&mut self, pid: i32, status: WaitStatus) {
        if status.stopped() {
            self.observer.stopped(pid, status.as_raw(), self.tracer.as_mut());
            let denial = self.tracer.as_mut().and_then(|tracer| tracer.stopped(pid, status.as_raw()));
            if let Some(first) = denial.and_then(|denial| self.denials.record(denial)) {
                announce(first, self.instance.denied, self.control.as_mut());
            }
            self.tell_who_is_not_narrowed();
            return;
        }
        if let Some(tracer) = self.tracer.as_mut() {
            tracer.ended(pid);
        }
        if pid == self.service.pid {
            self.life.end(match status.exit_status() {
                Some(code) => Ending::Status(code),
                None => Ending::Signal(status.terminating_signal().unwrap_or(sys::SIGKILL)),
            });
        }
    }

    fn tell_who_is_not_narrowed(&mut self) {
        let news = self.tracer.as_mut().map(|tracer| tracer.unnarrowed.take_news());
        if let Some(control) = self.control.as_mut() {
            news.iter().flatten().for_each(|members| control.event("unnarrowed", members));
        }
    }

    fn fulfil(&mut self, duty: &Duty, any_left: bool) {
        match duty {
            Duty::Clear => {
                self.report_start();
                if any_left {
                    let _ = sys::kill(-1, sys::SIGTERM);
                }
            }
            Duty::KillMain => {
                say(format_args!("{} does not stop: killed", self.instance.name));
                let _ = sys::kill(self.service.pid, sys::SIGKILL);
            }
            Duty::KillAll => drop(sys::kill(-1, sys::SIGKILL)),
            Duty::Wait | Duty::StartAgain(_) | Duty::Leave(_) => {}
        }
    }

    /// One round: wait for whatever comes first, then deal with all that came.
    fn wait_and_serve(&mut self) {
        self.logs.protect_if_due(self.tracer.as_ref().is_some_and(|tracer| tracer.settled));
        if let Some(residents) = self.residents.as_mut() {
            residents.keep_if_due(self.tracer.as_ref().is_none_or(|tracer| tracer.settled));
        }
        let [signals, listener, becoming, control, output, kernel, button] = self.poll_all();
        if signals.contains(PollFlags::IN) {
            self.take_pending_signals();
        }
        if !button.is_empty() && self.button.as_ref().is_some_and(Button::was_pressed) {
            say(format_args!("the power button was pressed"));
            shutdown::set_power_off();
            self.stop();
        }
        if !listener.is_empty() {
            self.answer_denials(listener);
        }
        if !becoming.is_empty() {
            self.report_start();
        }
        if !output.is_empty() {
            self.output.pass_on();
        }
        if !kernel.is_empty() {
            self.output.keep_kernel_words();
        }
        ring::flush_if_due();
        if let Some(port) = self.control.as_mut().filter(|_| !control.is_empty()) {
            port.exchange(control);
        }
        self.serve_requests();
        self.judge();
        let tracer = self.tracer.as_mut();
        self.observer.look_if_due(&self.denials, standings(tracer));
    }

    /// Of a slot on trial, whether it has passed.
    fn judge(&mut self) {
        let settled = self.tracer.as_ref().is_none_or(|tracer| tracer.settled) && !self.life.has_ended();
        let Some(trial) = self.trial.as_mut() else { return };
        match trial.look_if_due(settled, self.life.restarts) {
            Verdict::Wait => {}
            Verdict::Done => self.trial.take().into_iter().for_each(Trial::pass),
            Verdict::Failed => {
                self.trial.take().into_iter().for_each(Trial::fail);
                self.stop();
            }
        }
    }

    fn poll_all(&self) -> [PollFlags; 7] {
        let always = |descriptor| (descriptor, PollFlags::IN);
        let sources = [
            Some(always(self.signals.as_fd())),
            self.service.listener.as_ref().map(|listener| always(listener.as_fd())),
            self.service.becoming.as_ref().map(|becoming| always(becoming.as_fd())),
            self.control.as_ref().and_then(Control::interest),
            self.output.interest(),
            self.output.kernel(),
            self.button.as_ref().map(|button| always(button.descriptor())),
        ];
        // An absent source polls the signals for nothing.
        let mut polled = sources.map(|source| {
            let (descriptor, flags) = source.unwrap_or((self.signals.as_fd(), PollFlags::empty()));
            PollFd::from_borrowed_fd(descriptor, flags)
        });
        let known = poll(&mut polled, self.timeout().as_ref()).is_ok();
        polled.map(|entry| if known { entry.revents() } else { PollFlags::empty() })
    }

    /// How long nothing may happen; None is for ever.
    fn timeout(&self) -> Option<Timespec> {
        let searching = (self.search.is_some() || self.more_changes).then_some(0);
        let control = self.control.as_ref().and_then(Control::deadline_ms);
        let keeping = self.residents.as_ref().and_then(Residents::due_ms);
        let looking = Some(self.observer.due_ms);
        let trying = self.trial.as_ref().map(Trial::due_ms);
        let due = [self.life.due_ms(), searching, control, keeping, looking, trying, ring::due_ms()];
        let next = due.into_iter().flatten().min()?;
        let left = next.saturating_sub(now_ms());
        Some(Timespec { tv_sec: (left / 1000) as i64, tv_nsec: (left % 1000 * 1_000_000) as i64 })
    }

    fn take_pending_signals(&mut self) {
        let mut record = alloc::vec::Vec::<u8>::with_capacity(128); // struct signalfd_siginfo
        while matches!(read(&self.signals, spare_capacity(&mut record)), Ok(128)) {
            let signal = i32::from(record[0]); // its first word; signal numbers fit in a byte
            if STOP.contains(&signal) {
                self.stop();
            } else if PASS_ON.contains(&signal) && !self.life.has_ended() {
                logs::lift_changing(&self.instance.logs);
                let _ = sys::kill(self.service.pid, signal);
            }
            record.clear();
        }
    }

    fn stop(&mut self) {
        if self.life.stop(self.instance.stop_timeout_ms) {
            let _ = sys::kill(self.service.pid, self.instance.stop_signal);
        }
    }

    fn answer_denials(&mut self, ready: PollFlags) {
        let Some(listener) = self.service.listener.as_ref() else { return };
        if !ready.contains(PollFlags::IN) {
            self.service.listener = None; // nobody with the filter is left
            return;
        }
        // ENOENT: the caller died while it waited.
        let denied = self.instance.denied;
        let Ok(Some(denial)) = self.denials.answer_one(listener.as_fd(), denied, self.tracer.as_mut()) else {
            return;
        };
        announce(denial, denied, self.control.as_mut());
    }

    /// Tell once how the start went.
    fn report_start(&mut self) {
        if self.service.becoming.take().is_none() {
            return;
        }
        if let Some(failure) = self.service.failed_start(self.instance) {
            self.life.never_again();
            say(format_args!("{failure}"));
        } else if let Some(control) = self.control.as_mut() {
            control.event("started", &format!(r#""pid":{}"#, self.service.pid));
        }
    }
}

/// What the call matrix has to say of a process, as members of a JSON object.
fn standings(mut tracer: Option<&mut Tracer>) -> impl FnMut(i32) -> Option<String> {
    move |pid| tracer.as_mut().and_then(|tracer| tracer.standing(pid))
}
