//! The one service: a child that gives up everything the plan does not grant, then becomes it.

use alloc::ffi::CString;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ffi::c_char;
use core::ptr::null;
use core::sync::atomic::{AtomicI32, Ordering};

use rustix::fd::{FromRawFd, OwnedFd};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{WaitId, WaitIdOptions, chdir, setsid, waitid};
use rustix::thread::CapabilitySet;

use crate::failure::{Failure, OrFail, Outcome};
use crate::instance::{Instance, Limit};
use crate::landlock::{self, Domains};
use crate::rows::Rows;
use crate::tracer::Tracer;
use crate::{ports, privileges, ptrace, schedule, sys, view};

pub struct Service {
    pub pid: i32,
    /// The listener of its seccomp filter; the kernel hangs it up when the last process is gone.
    pub listener: Option<OwnedFd>,
    /// Hangs up as soon as the child has become the service, or is dead.
    pub becoming: Option<OwnedFd>,
    report: &'static Report,
}

/// One page that the child shares with process 1: once filtered, it may not even write to a pipe.
#[repr(C)]
struct Report {
    /// The listener's number in the common descriptor table, plus one.
    listener: AtomicI32,
    /// The `Step` that failed.
    step: AtomicI32,
    errno: AtomicI32,
    /// Which of the limits it was.
    limit: AtomicI32,
    /// Not zero when process 1 has done what it needs to do before the child goes on.
    released: AtomicI32,
}

/// What the child does after clone; the failing one is named on the console.
#[derive(Clone, Copy, PartialEq)]
#[repr(i32)]
pub enum Step {
    /// Not zero: that is a report without failure.
    Session = 1,
    View,
    Ports,
    Files,
    Limits,
    Schedule,
    BoundingSet,
    Groups,
    Group,
    User,
    Capabilities,
    NoNewPrivileges,
    Directory,
    Filter,
    Execute,
}

const STEPS: [(Step, &str); 15] = [
    (Step::Session, "start a session for the service"),
    (Step::View, "give the service mounts of its own (process 1 needs CAP_SYS_ADMIN)"),
    (Step::Ports, "restrict the TCP ports of the service"),
    (Step::Files, "restrict the service to its files (process 1 needs CAP_SYS_ADMIN)"),
    (Step::Limits, "set a limit of the service"), // said in other words, see `refused_limit`
    (Step::Schedule, "schedule the service as the plan says (process 1 needs CAP_SYS_NICE)"),
    (Step::BoundingSet, "drop a capability (process 1 needs CAP_SETPCAP)"),
    (Step::Groups, "set supplementary groups (process 1 needs CAP_SETGID)"),
    (Step::Group, "change the group of the service (process 1 needs CAP_SETGID)"),
    (Step::User, "change the user of the service (process 1 needs CAP_SETUID)"),
    (Step::Capabilities, "set the capabilities of the service"),
    (Step::NoNewPrivileges, "set no_new_privs"),
    (Step::Directory, "change to the directory"),
    (Step::Filter, "install the policy of /.onejob/filters.bpf as seccomp filter"),
    (Step::Execute, "execute"),
];

/// The words of `execve`, made before clone so that the child does nothing that can fail twice.
struct Words {
    program: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

/// All that a start takes, which is the same each time.
pub struct Starter<'a> {
    pub instance: &'a Instance,
    policy: Option<&'a [u64]>,
    domains: Option<&'a Domains>,
    pub rows: Option<&'a Rows>,
    words: Words,
    report: &'static Report,
}

impl<'a> Starter<'a> {
    pub fn new(
        instance: &'a Instance,
        policy: Option<&'a [u64]>,
        domains: Option<&'a Domains>,
        rows: Option<&'a Rows>,
    ) -> Outcome<Self> {
        if rows.is_some() {
            require_trace_right()?;
        }
        Ok(Starter { instance, policy, domains, rows, words: words_of(instance)?, report: shared_report()? })
    }

    /// Start the service, and what traces it.
    pub fn start(&self) -> Outcome<(Service, Option<Tracer<'a>>)> {
        let service = start(self)?;
        let tracer = self.rows.map(|rows| Tracer::new(rows, self.domains, service.pid, self.instance));
        Ok((service, tracer))
    }
}

/// It returns when the listener is known; `execve` may still be on its way, so that the caller can
/// answer for it should the policy ask.
fn start(starter: &Starter) -> Outcome<Service> {
    let (report, traced) = (starter.report, starter.rows.is_some());
    report.listener.store(0, Ordering::Relaxed);
    report.step.store(0, Ordering::Relaxed);
    report.released.store(i32::from(!traced), Ordering::Relaxed);
    let (becoming, held) = pipe_with(PipeFlags::CLOEXEC).or_fail(format_args!("cannot make a pipe"))?;
    let pid =
        sys::clone_sharing_descriptors().or_fail(format_args!("cannot start a process for the service"))?;
    if pid == 0 {
        become_service(starter);
    }
    if traced {
        trace(pid)?;
        report.released.store(1, Ordering::Release);
    }
    let listener = starter.policy.as_ref().and_then(|_| await_listener(report, pid));
    // From here on `held` closes for good when the child executes or dies.
    sys::unshare_descriptors().or_fail(format_args!("cannot have descriptors apart from the service"))?;
    drop(held);
    Ok(Service { pid, listener, becoming: Some(becoming), report })
}

/// Without it, programs with file capabilities or the set-user-id bit would lose them under a trace
/// (execve(2)), and a service of another user could not be traced at all.
fn require_trace_right() -> Outcome<()> {
    let held = rustix::thread::capabilities(None).or_fail(format_args!("cannot read my capabilities"))?;
    if held.effective.contains(CapabilitySet::SYS_PTRACE) {
        return Ok(());
    }
    Err(Failure::new(
        format_args!("process 1 lacks CAP_SYS_PTRACE, so it cannot narrow programs to their rows of calls"),
        "give the container CAP_SYS_PTRACE",
    ))
}

fn trace(pid: i32) -> Outcome<()> {
    ptrace::seize(pid).or_fail_hint(
        format_args!("cannot trace the service"),
        "kernel.yama.ptrace_scope must be below 3, and no outer filter may refuse ptrace",
    )
}

fn words_of(instance: &Instance) -> Outcome<Words> {
    let list = |words: &[String]| {
        words.iter().map(|word| CString::new(word.as_str()).ok()).collect::<Option<Vec<_>>>()
    };
    let words = (|| {
        let arguments = list(&instance.command)?;
        Some(Words {
            program: arguments.first()?.clone(),
            arguments,
            environment: list(&instance.environment)?,
        })
    })();
    words.ok_or_else(|| Failure::new(format_args!("the command of {} cannot be executed", instance.name), ""))
}

fn shared_report() -> Outcome<&'static Report> {
    let address =
        sys::map_shared(size_of::<Report>()).or_fail(format_args!("cannot share memory with the service"))?;
    // SAFETY: a zeroed page of our own, never unmapped; zero is a valid value of all its atomics.
    Ok(unsafe { &*(address as *const Report) })
}

/// The child shares the descriptor table, so its listener is ours under the same number. There is
/// no call that waits for it (the child may not be allowed to make any after the filter), so look
/// every 100 us; it takes one or two.
fn await_listener(report: &Report, pid: i32) -> Option<OwnedFd> {
    loop {
        let number = report.listener.load(Ordering::Acquire);
        if number > 0 {
            // SAFETY: the child got this number from seccomp(2) and owns it no more once it executes.
            return Some(unsafe { OwnedFd::from_raw_fd(number - 1) });
        }
        if is_dead(pid) {
            return None;
        }
        pause_us(100);
    }
}

fn pause_us(microseconds: i64) {
    let time = rustix::event::Timespec { tv_sec: 0, tv_nsec: microseconds * 1000 };
    let _ = rustix::thread::nanosleep(&time);
}

/// Dead, but left for the supervisor to reap.
fn is_dead(pid: i32) -> bool {
    let Some(pid) = rustix::process::Pid::from_raw(pid) else { return true };
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    !matches!(waitid(WaitId::Pid(pid), options), Ok(None))
}

fn become_service(starter: &Starter) -> ! {
    let (report, words) = (starter.report, &starter.words);
    while report.released.load(Ordering::Acquire) == 0 {
        pause_us(100);
    }
    let (step, error) = match give_up_privileges(starter) {
        Err(failed) => failed,
        Ok(()) => match starter.policy.map(sys::install_filter).transpose() {
            Err(error) => (Step::Filter, error),
            Ok(listener) => {
                if let Some(listener) = listener {
                    report.listener.store(listener + 1, Ordering::Release);
                }
                let (arguments, environment) = (pointers(&words.arguments), pointers(&words.environment));
                (Step::Execute, sys::execute(&words.program, &arguments, &environment))
            }
        },
    };
    report.errno.store(error.raw_os_error(), Ordering::Relaxed);
    report.step.store(step as i32, Ordering::Release);
    sys::exit(127)
}

fn pointers(words: &[CString]) -> Vec<*const c_char> {
    words.iter().map(|word| word.as_ptr()).chain([null()]).collect()
}

/// Everything of the child that needs the rights of process 1, in the order in which they vanish.
fn give_up_privileges(starter: &Starter) -> Result<(), (Step, Errno)> {
    let instance = starter.instance;
    let at = |step: Step| move |error: Errno| (step, error);
    setsid().map_err(at(Step::Session))?;
    view::narrow(&instance.mounts).map_err(at(Step::View))?;
    if let Some(network) = &instance.network {
        ports::confine(network).map_err(at(Step::Ports))?;
    }
    if let Some(domains) = starter.domains {
        landlock::restrict_self(domains.first()).map_err(at(Step::Files))?;
    }
    privileges::set_limits(&instance.limits).map_err(|(index, error)| {
        starter.report.limit.store(index as i32, Ordering::Relaxed);
        (Step::Limits, error)
    })?;
    schedule::set(&instance.schedule).map_err(at(Step::Schedule))?;
    privileges::drop_bounding_set(&instance.capabilities).map_err(at(Step::BoundingSet))?;
    privileges::change_identity(instance.user, instance.group, &instance.groups)?;
    privileges::set_capabilities(&instance.capabilities, instance.user).map_err(at(Step::Capabilities))?;
    if instance.no_new_privileges {
        rustix::thread::set_no_new_privs(true).map_err(at(Step::NoNewPrivileges))?;
    }
    chdir(instance.directory.as_str()).map_err(at(Step::Directory))?;
    sys::default_signal_dispositions();
    sys::block_signals(0);
    Ok(())
}

impl Service {
    /// Why the child never became the service, in the words of the console.
    pub fn failed_start(&self, instance: &Instance) -> Option<Failure> {
        let number = self.report.step.load(Ordering::Acquire);
        let (step, doing) = STEPS.iter().find(|(step, _)| *step as i32 == number)?;
        if *step == Step::Limits {
            return instance
                .limits
                .get(self.report.limit.load(Ordering::Relaxed) as usize)
                .map(refused_limit);
        }
        let object = match step {
            Step::Execute => instance.command.first().map_or("", String::as_str),
            Step::Directory => instance.directory.as_str(),
            _ => "",
        };
        let space = if object.is_empty() { "" } else { " " };
        let error = Errno::from_raw_os_error(self.report.errno.load(Ordering::Relaxed));
        Err::<(), Errno>(error)
            .or_fail_hint(format_args!("cannot {doing}{space}{object}"), hint_of(*step, error))
            .err()
    }
}

fn refused_limit(limit: &Limit) -> Failure {
    let name = format!("{:?}", limit.resource).to_ascii_lowercase();
    Failure::new(
        format_args!(
            "{name}: the plan needs {}, process 1 may give {} at most",
            limit.hard,
            privileges::ceiling_of(limit)
        ),
        "raise the hard limit of whatever starts it (setrlimit(2)), or plan again",
    )
}

fn hint_of(step: Step, error: Errno) -> &'static str {
    match (step, error) {
        (Step::Execute, Errno::NOENT) => {
            "the image lacks it, its ELF interpreter, or the interpreter of the script"
        }
        (Step::Execute, Errno::PERM) => "the policy must allow execve",
        (Step::Filter, Errno::INVAL) => "the policy is not a valid filter: build the image again",
        (Step::Filter, Errno::ACCESS) => "set no_new_privileges, or give process 1 CAP_SYS_ADMIN",
        _ => "",
    }
}
