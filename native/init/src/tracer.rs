//! Every process of the service is traced, so that it can be narrowed to its row of the call matrix.
//!
//! A process runs untouched, without any stop, but for these moments: it starts another one (which
//! is then known), it begins as a program or a worker (and gets its boot row at its first call), it
//! listens, it waits while it listens (it settles, see settle.rs, and gets its serve row), a row refuses a
//! call, and it gets a signal. Only between listening and settling does each call stop it.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use rustix::fd::BorrowedFd;
use rustix::io::Errno;

use crate::inject::{Injection, Step};
use crate::instance::{Denied, Instance};
use crate::landlock::Domains;
use crate::own_pages;
use crate::ptrace::{self, At, CALL_STOP, ORIGINAL_RAX, RAX, SIGTRAP};
use crate::rows::{LISTEN, Role, Rows, WATCHED, X86_64, standing};
use crate::seccomp::Denial;
use crate::settle::settles;
use crate::tracees::{Kin, Process, Tracees, kin_of};
use crate::unnarrowed::{Unnarrowed, Why};
use crate::{processes, resume, sys};

/// So many processes get their pages: a service that forks one for each client does not wait for each.
const MOST_POPULATED: u32 = 64;

pub struct Tracer<'a> {
    rows: &'a Rows,
    domains: Option<&'a Domains>,
    tracees: Tracees,
    pub unnarrowed: Unnarrowed,
    /// Whether any process has settled.
    pub settled: bool,
    /// Processes that got their pages when they settled.
    populated: u32,
    /// The calls that settle, where the plan names them.
    settling: &'a [u64],
    denied: Denied,
}

impl<'a> Tracer<'a> {
    /// Of a service whose first process, `pid`, has been seized.
    pub fn new(rows: &'a Rows, domains: Option<&'a Domains>, pid: i32, instance: &'a Instance) -> Self {
        let mut tracees = Tracees::default();
        // The policy, and what a container runtime has put on process 1.
        let filters = processes::filters_of(1).map(|filters| filters + 1);
        let mut first = Process::new(pid, String::new(), Role::Main, Vec::new(), filters);
        first.domains.extend(domains.as_ref().map(|_| 0));
        tracees.add_process(first);
        Tracer {
            rows,
            domains,
            tracees,
            unnarrowed: Unnarrowed::default(),
            settled: false,
            populated: 0,
            settling: &instance.settling,
            denied: instance.denied,
        }
    }

    /// A task has ended, and the kernel has forgotten it.
    pub fn ended(&mut self, tid: i32) {
        self.tracees.remove(tid);
    }

    /// The other threads of the process of one.
    pub fn others_of(&mut self, tid: i32) -> Vec<i32> {
        let pid = self.tracees.thread(tid).map_or(tid, |thread| thread.pid);
        self.tracees.threads_of(pid).map(|thread| thread.tid).filter(|other| *other != tid).collect()
    }

    /// A task has stopped: find out why and let it go on. A refused call is returned.
    pub fn stopped(&mut self, tid: i32, status: i32) -> Option<Denial> {
        let (signal, event) = (status >> 8 & 0xff, status >> 16);
        if self.tracees.thread(tid).is_none() {
            self.meet(tid);
        }
        match event {
            0 if signal == CALL_STOP => self.at_call(tid),
            0 => {
                resume::after_signal(tid);
                self.go_on(tid, signal);
            }
            ptrace::EVENT_SECCOMP => return self.at_verdict(tid),
            ptrace::EVENT_STOP if signal != SIGTRAP => ptrace::stay_stopped(tid),
            ptrace::EVENT_STOP => {
                resume::after_interrupt(tid);
                self.go_on(tid, 0);
            }
            ptrace::EVENT_FORK | ptrace::EVENT_VFORK | ptrace::EVENT_CLONE => {
                self.made_another(tid, event);
                self.go_on(tid, 0);
            }
            ptrace::EVENT_EXEC => {
                self.executed(tid);
                self.go_on(tid, 0);
            }
            _ => self.go_on(tid, 0),
        }
        None
    }

    /// Whether the listener's notice of this call is about one that process 1 has a thread make.
    pub fn injects(&mut self, tid: i32, call: i32) -> bool {
        let injection = self.tracees.thread(tid).and_then(|thread| thread.injection.as_ref());
        injection.is_some_and(|injection| injection.makes(call as u64))
    }

    /// The Landlock domain that a thread asks for because process 1 makes it ask.
    pub fn hands_over(&mut self, tid: i32, call: i32) -> Option<BorrowedFd<'_>> {
        let injection = self.tracees.thread(tid)?.injection.as_ref()?;
        let number = injection.asks_for(call as u64)?;
        self.domains.as_ref().map(|domains| domains.ruleset(number))
    }

    /// Role and phase of the process that a thread belongs to, as members of a JSON object.
    pub fn standing(&mut self, tid: i32) -> Option<String> {
        self.tracees.owner(tid).map(|process| standing(process.role, process.settled))
    }

    fn go_on(&mut self, tid: i32, signal: i32) {
        ptrace::go_on(tid, self.is_watched(tid), signal);
    }

    /// Whether a thread has to stop at its next call, or at the end of the one it is in.
    fn is_watched(&mut self, tid: i32) -> bool {
        let Some(thread) = self.tracees.thread(tid) else { return false };
        if thread.fresh || thread.domain.is_some() || thread.listening || thread.injection.is_some() {
            return true;
        }
        let Some(process) = self.tracees.owner(tid) else { return false };
        let may_settle = process.listens || !self.settling.is_empty();
        let waits_for_its_row = may_settle && !process.settled;
        waits_for_its_row && process.looks > 0 && self.rows.serve(&process.program, process.role).is_some()
    }

    // ---- new tasks and new programs ---------------------------------------------------------

    /// A new task stops before the news of its making has come. Whether it ever comes is not known
    /// (its maker may have been killed), so /proc has to tell whose it is, for now.
    fn meet(&mut self, tid: i32) {
        let Some((pid, parent)) = processes::group_and_parent(tid) else { return };
        if pid != tid {
            return self.tracees.add_thread(tid, pid);
        }
        let program = processes::program_of(tid);
        let kin = self.tracees.process(parent).filter(|parent| parent.program == program).cloned();
        match kin {
            Some(parent) => self.tracees.add_fork(tid, &parent),
            None => {
                let filters = processes::filters_of(tid);
                self.tracees.add_process(Process::new(tid, program, Role::Worker, Vec::new(), filters));
            }
        }
        if let Some(process) = self.tracees.process(tid) {
            process.presumed = true;
        }
        self.begins(tid);
    }

    fn made_another(&mut self, tid: i32, event: i32) {
        let Ok(child) = ptrace::event_message(tid).map(|message| message as i32) else { return };
        let Some(maker) = self.tracees.owner(tid).cloned() else { return };
        match kin_of(child, maker.pid) {
            Kin::Thread => {
                if self.tracees.thread(child).is_none() {
                    self.tracees.add_thread(child, maker.pid);
                }
            }
            Kin::Process => {
                if maker.settled {
                    processes::end_rather(child);
                }
                match self.tracees.process(child).map(|child| child.presumed) {
                    None => {
                        self.tracees.add_fork(child, &maker);
                        self.begins(child);
                    }
                    Some(true) => self.tracees.learn_fork(child, &maker),
                    Some(false) => {}
                }
                if event != ptrace::EVENT_VFORK {
                    self.expect_row(&maker.program, Role::Worker);
                }
            }
            Kin::Gone => {}
        }
    }

    /// All other threads are gone, without a word of their own, and this one has the process's number.
    fn executed(&mut self, pid: i32) {
        let Some(process) = self.tracees.owner(pid).cloned() else { return };
        let program = processes::program_of(pid);
        self.expect_row(&program, Role::Main);
        let domain = self.domains.as_ref().map(|domains| domains.of(&program));
        let domain = domain.filter(|number| !process.domains.contains(number));
        let fresh = Process::new(pid, program, Role::Main, process.rows, process.filters);
        self.tracees.add_process(Process { listens: process.listens, domains: process.domains, ..fresh });
        if let Some(thread) = self.tracees.thread(pid) {
            thread.domain = domain;
        }
        self.begins(pid);
    }

    /// A process that has executed a program or was forked is to get its boot row at its next call.
    fn begins(&mut self, pid: i32) {
        let Some(process) = self.tracees.process(pid) else { return };
        let row = self.rows.boot(&process.program, process.role);
        let lacks_row = row.is_some_and(|row| !process.rows.contains(&row));
        if let Some(thread) = self.tracees.thread(pid) {
            thread.fresh = lacks_row;
        }
    }

    fn expect_row(&mut self, program: &str, role: Role) {
        if !program.is_empty() && self.rows.boot(program, role).is_none() {
            self.unnarrowed.note(program, role, false, Why::NoRow);
        }
    }

    // ---- calls ------------------------------------------------------------------------------

    fn at_call(&mut self, tid: i32) {
        let Ok(at) = ptrace::call_information(tid) else { return };
        let Some(thread) = self.tracees.thread(tid) else { return };
        if let Some(injection) = thread.injection.as_mut() {
            let step = injection.step(&at);
            return self.after_step(tid, step);
        }
        match at {
            At::Entry { call, arguments, architecture: X86_64 } => {
                if let Some(number) = thread.domain.take() {
                    self.confine(tid, number);
                } else if core::mem::take(&mut thread.fresh) {
                    self.narrow(tid, false);
                } else if self.is_watched(tid) {
                    self.look(tid, call, &arguments);
                }
            }
            At::Exit { result } if core::mem::take(&mut thread.listening) && result == 0 => self.listens(tid),
            _ => {}
        }
        self.go_on(tid, 0);
    }

    /// A call of a process that may settle.
    fn look(&mut self, tid: i32, call: u64, arguments: &[u64]) {
        let Some(process) = self.tracees.owner(tid) else { return };
        if settles(self.settling, process.listens, call, arguments) {
            return self.narrow(tid, true);
        }
        process.looks -= 1;
        if process.looks == 0 {
            self.unnarrowed.note(&process.program, process.role, true, Why::Restless);
        }
    }

    /// From now on each call of the process is looked at, in all of its threads.
    fn listens(&mut self, tid: i32) {
        let Some(process) = self.tracees.owner(tid) else { return };
        let (pid, news) = (process.pid, !process.listens);
        process.listens = true;
        if news && self.is_watched(tid) {
            self.tracees.threads_of(pid).filter(|thread| thread.tid != tid).for_each(|thread| {
                ptrace::interrupt(thread.tid);
            });
        }
    }

    /// A row said TRACE: listen(2) is to be watched, anything else is refused.
    fn at_verdict(&mut self, tid: i32) -> Option<Denial> {
        let Ok(At::Seccomp { call, arguments, data }) = ptrace::call_information(tid) else {
            self.go_on(tid, 0);
            return None;
        };
        let thread = self.tracees.thread(tid)?;
        if thread.injection.is_some() {
            self.go_on(tid, 0);
            return None;
        }
        let may_listen = call == LISTEN && data == WATCHED && self.all_rows_allow_listen(tid);
        if call == LISTEN && (may_listen || self.denied == Denied::Audit) {
            self.tracees.thread(tid)?.listening = true;
        }
        let denial = if may_listen { None } else { self.refuse(tid, call, arguments) };
        self.go_on(tid, 0);
        denial
    }

    /// The newest of several rows that say TRACE decides on the data, so all of them are asked here.
    fn all_rows_allow_listen(&mut self, tid: i32) -> bool {
        let Some(process) = self.tracees.owner(tid) else { return false };
        process.rows.iter().all(|row| self.rows.filters[*row].allows_listen)
    }

    fn refuse(&mut self, tid: i32, call: u64, arguments: [u64; 6]) -> Option<Denial> {
        if self.denied != Denied::Audit {
            let refused = ptrace::set_register(tid, ORIGINAL_RAX, u64::MAX);
            let eperm = i64::from(-Errno::PERM.raw_os_error()).cast_unsigned();
            refused.and_then(|()| ptrace::set_register(tid, RAX, eperm)).ok()?;
        }
        let process = self.tracees.owner(tid)?;
        if self.denied == Denied::Kill {
            let _ = sys::kill(process.pid, sys::SIGKILL);
        }
        let standing = standing(process.role, process.settled);
        Some(Denial::new(process.pid, process.program.clone(), call as i32, arguments, standing))
    }

    // ---- narrowing --------------------------------------------------------------------------

    /// Begin to put the boot or the serve row of its process on a thread that enters a call.
    fn narrow(&mut self, tid: i32, serving: bool) {
        let Some(process) = self.tracees.owner(tid) else { return };
        process.settled = serving; // also when it fails: it would not get better
        self.settled |= serving;
        let row = match serving {
            true => self.rows.serve(&process.program, process.role),
            false => self.rows.boot(&process.program, process.role),
        };
        let Some(row) = row.filter(|row| !process.rows.contains(row)) else { return };
        let filters = processes::filters_of(tid).zip(process.filters);
        if filters.is_some_and(|(found, ours)| found > ours) {
            return self.unnarrowed.note(&process.program, process.role, serving, Why::OwnFilters);
        }
        process.rows.push(row);
        process.filters = process.filters.map(|filters| filters + 1);
        let pages = match serving && self.populated < MOST_POPULATED {
            true => own_pages::of(process.pid),
            false => Vec::new(),
        };
        self.populated += u32::from(serving);
        let begun = Injection::of_filter(tid, &self.rows.filters[row].instructions, pages);
        self.take_injection(tid, begun);
    }

    /// Begin to put the Landlock domain of its program on a thread that enters a call.
    fn confine(&mut self, tid: i32, number: usize) {
        let Some(process) = self.tracees.owner(tid) else { return };
        process.domains.push(number);
        self.take_injection(tid, Injection::of_domain(tid, number));
    }

    fn take_injection(&mut self, tid: i32, begun: rustix::io::Result<Injection>) {
        match (begun, self.tracees.thread(tid)) {
            (Ok(injection), Some(thread)) => thread.injection = Some(Box::new(injection)),
            (Ok(_), None) => {}
            (Err(error), _) => self.complain(tid, error),
        }
    }

    fn after_step(&mut self, tid: i32, step: rustix::io::Result<Step>) {
        if !matches!(step, Ok(Step::Going)) {
            if let Some(thread) = self.tracees.thread(tid) {
                thread.injection = None;
            }
            if let Ok(Step::Done(Err(error))) | Err(error) = step {
                self.complain(tid, error);
            }
        }
        self.go_on(tid, 0);
    }

    fn complain(&mut self, tid: i32, error: Errno) {
        let Some(process) = self.tracees.owner(tid) else { return };
        let why = match error {
            Errno::SRCH => return, // killed meanwhile
            Errno::ACCESS => Why::GainsRights,
            Errno::BUSY => Why::ThreadFilters,
            _ => Why::Failed(error),
        };
        self.unnarrowed.note(&process.program, process.role, process.settled, why);
    }
}
