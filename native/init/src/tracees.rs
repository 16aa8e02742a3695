//! The processes and threads that process 1 traces, and what they pass on to one another.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use rustix::fs::{Access, access};

use crate::inject::Injection;
use crate::processes::filters_of;
use crate::rows::Role;

/// A process that listens but never waits (a child that only reads its connection, for instance)
/// is not to pay for it as long as it lives.
const MOST_LOOKS: u32 = 100_000;

#[derive(Clone)]
pub struct Process {
    pub pid: i32,
    pub program: String,
    pub role: Role,
    pub listens: bool,
    pub settled: bool,
    /// It was seen before its maker told of it, and what is known of it is from /proc.
    pub presumed: bool,
    /// How many more of its calls are looked at for the one with which it settles.
    pub looks: u32,
    /// The rows that it inherited and that were put on it (indexes of `Rows::filters`), also one that
    /// is being put on it.
    pub rows: Vec<usize>,
    /// How many of them it was made with.
    pub inherited: usize,
    /// How many filters it should have: those that it was made with, and the rows since. None where
    /// the kernel does not say.
    pub filters: Option<usize>,
    /// The Landlock domains that it inherited or that were put on it (numbers of `Domains`).
    pub domains: Vec<usize>,
}

impl Process {
    /// One that starts in its boot phase and listens to nothing.
    pub fn new(pid: i32, program: String, role: Role, rows: Vec<usize>, filters: Option<usize>) -> Self {
        Process {
            pid,
            program,
            role,
            listens: false,
            settled: false,
            presumed: false,
            looks: MOST_LOOKS,
            inherited: rows.len(),
            rows,
            filters,
            domains: Vec::new(),
        }
    }
}

pub struct Thread {
    pub tid: i32,
    pub pid: i32,
    /// It has executed a program, or was forked, and is to get its boot row at its next call.
    pub fresh: bool,
    /// Likewise, and this is the Landlock domain that it has to get first.
    pub domain: Option<usize>,
    /// It is in listen(2).
    pub listening: bool,
    pub injection: Option<Box<Injection>>,
}

/// What a new task is to the task that made it.
pub enum Kin {
    Thread,
    Process,
    /// It was killed before anybody could ask.
    Gone,
}

#[derive(Default)]
pub struct Tracees {
    /// Both in the order of their numbers.
    processes: Vec<Process>,
    threads: Vec<Thread>,
}

impl Tracees {
    pub fn process(&mut self, pid: i32) -> Option<&mut Process> {
        let place = self.processes.binary_search_by_key(&pid, |process| process.pid).ok()?;
        self.processes.get_mut(place)
    }

    pub fn thread(&mut self, tid: i32) -> Option<&mut Thread> {
        let place = self.threads.binary_search_by_key(&tid, |thread| thread.tid).ok()?;
        self.threads.get_mut(place)
    }

    /// The process that a thread belongs to.
    pub fn owner(&mut self, tid: i32) -> Option<&mut Process> {
        let pid = self.thread(tid)?.pid;
        self.process(pid)
    }

    pub fn threads_of(&self, pid: i32) -> impl Iterator<Item = &Thread> {
        self.threads.iter().filter(move |thread| thread.pid == pid)
    }

    /// Add a process with its first thread; what was known under the number is forgotten.
    pub fn add_process(&mut self, process: Process) {
        let pid = process.pid;
        self.threads.retain(|thread| thread.pid != pid);
        self.add_thread(pid, pid);
        match self.processes.binary_search_by_key(&pid, |process| process.pid) {
            Ok(place) => self.processes[place] = process,
            Err(place) => self.processes.insert(place, process),
        }
    }

    pub fn add_thread(&mut self, tid: i32, pid: i32) {
        let thread = Thread { tid, pid, fresh: false, domain: None, listening: false, injection: None };
        match self.threads.binary_search_by_key(&tid, |thread| thread.tid) {
            Ok(place) => self.threads[place] = thread,
            Err(place) => self.threads.insert(place, thread),
        }
    }

    /// A process forked by `parent`, or by one of its threads.
    pub fn add_fork(&mut self, pid: i32, parent: &Process) {
        let filters = filters_of(pid);
        let child = Process::new(pid, parent.program.clone(), Role::Worker, parent.rows.clone(), filters);
        self.add_process(Process { listens: parent.listens, domains: parent.domains.clone(), ..child });
    }

    /// The maker of a process that was seen before tells of it.
    pub fn learn_fork(&mut self, pid: i32, maker: &Process) {
        let Some(known) = self.process(pid) else { return };
        known.program.clone_from(&maker.program);
        let since = known.rows.split_off(known.inherited);
        known.rows.clone_from(&maker.rows);
        known.inherited = known.rows.len();
        known.rows.extend(since);
        if known.domains.len() < maker.domains.len() {
            known.domains.clone_from(&maker.domains);
        }
        known.listens = maker.listens;
        known.presumed = false;
    }

    /// A thread, or a process with all of its threads, has ended.
    pub fn remove(&mut self, tid: i32) {
        self.processes.retain(|process| process.pid != tid);
        self.threads.retain(|thread| thread.tid != tid && thread.pid != tid);
    }
}

/// Ask /proc what the task `child` is to a thread of the process `pid`.
pub fn kin_of(child: i32, pid: i32) -> Kin {
    let exists = |path: String| access(path.as_str(), Access::EXISTS).is_ok();
    if exists(format!("/proc/{pid}/task/{child}")) {
        Kin::Thread
    } else if exists(format!("/proc/{child}")) {
        Kin::Process
    } else {
        Kin::Gone
    }
}
