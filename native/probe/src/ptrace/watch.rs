//! Who is watched: births, execs and deaths, and what is kept of each thread.
use std::collections::HashSet;

use libc::pid_t;

use crate::calls::Rule;
use crate::layout::{STAGE_EXEC, STAGE_SETTLED, STAGE_WORKER, STARTS};
use crate::ptrace::crowds::Crowds;
use crate::ptrace::descriptors::Descriptors;
use crate::ptrace::numbers::NumberMap;
use crate::ptrace::proc::{self, Mapping};
use crate::ptrace::tally::{NO_OBJECT, Tally};
use crate::ptrace::{memory, raw};
use crate::settling;

const NR_CLONE: u32 = 56;
pub const NR_EXECVE: u32 = 59;
const NR_CLONE3: u32 = 435;
const CLONE_FILES: u64 = 0x400; // linux/sched.h
const CLONE_THREAD: u64 = 0x10000;
const CLONE_UNTRACED: u64 = 0x0080_0000;
const THREAD: usize = 0; // of STARTS
const FORK: usize = 1;
pub const EXEC: usize = 2;
const CACHED: usize = 64;
pub const NO_NAME: &[u8] = b"(no name: deleted, or in memory)";

/// The counter of a call by an instruction, in the thread's program and drill.
#[derive(Clone, Copy)]
pub struct Cached {
    pub instruction: u64,
    pub nr: u32,
    pub counter: u32,
}

const NOTHING: Cached = Cached { instruction: 0, nr: u32::MAX, counter: 0 };

pub struct Thread {
    pub process: pid_t,
    /// False until it has executed its command.
    pub active: bool,
    pub program: u32,
    pub drill: u32,
    /// What its process is and has done, as far as this thread knows: `layout::STAGE_*`.
    pub stage: u32,
    pub place: u32,
    /// The call in progress that is noted when it returns.
    pub pending: Option<u32>,
    /// A signal ended it, and the kernel may make it again.
    pub interrupted: bool,
    /// The instruction after it, and the stack's end.
    pub entry: (u64, u64),
    pub args: [u64; 6],
    /// Where relative paths started before chdir or chroot.
    pub before: Option<Vec<u8>>,
    /// Whether the file that is opened was there already.
    pub existed: bool,
    pub table: u32,
    /// It is kept to the tracer's processor, and did not choose so itself.
    pub confined: bool,
    pub cache: [Cached; CACHED],
}

#[derive(Default)]
pub struct Process {
    threads: u32,
    /// A listen(2) of it, or of the one that forked it before, succeeded.
    pub listens: bool,
    /// It has waited since.
    settled: bool,
    pub mappings: Vec<Mapping>,
}

pub struct Watch {
    /// The drill that runs now.
    pub drill: u32,
    pub main: pid_t,
    /// How the main process ended, as wait(2) says it.
    pub ended: Option<i32>,
    /// Whether it has executed the command.
    pub started: bool,
    pub threads: NumberMap<pid_t, Thread>,
    pub processes: NumberMap<pid_t, Process>,
    /// Stopped at birth, before its parent's event told of it.
    early: HashSet<pid_t>,
    pub rules: Vec<Rule>,
    pub tally: Tally,
    pub descriptors: Descriptors,
    pub crowds: Crowds,
    pub peak_threads: u64,
    pub peak_processes: u64,
    alive: u64,
    /// A path that is being put together.
    pub path: Vec<u8>,
}

impl Watch {
    /// Of `main`, which is watched from its next exec on. `confined`: to the tracer's processor.
    pub fn new(main: pid_t, confined: bool, settling: &[u32]) -> Self {
        let mut watch = Watch {
            drill: 0,
            main,
            ended: None,
            started: false,
            threads: NumberMap::default(),
            processes: NumberMap::default(),
            early: HashSet::new(),
            rules: settling::rules(settling).collect(),
            tally: Tally::default(),
            descriptors: Descriptors::default(),
            crowds: Crowds::default(),
            peak_threads: 0,
            peak_processes: 0,
            alive: 0,
            path: Vec::new(),
        };
        let table = watch.descriptors.new_table();
        watch.threads.insert(main, fresh_thread(main, table, confined));
        watch
    }

    /// Gives the thread the counters of the drill that runs.
    pub fn refresh_place(&mut self, tid: pid_t) {
        let Some(thread) = self.threads.get_mut(&tid) else { return };
        if thread.drill != self.drill {
            thread.drill = self.drill;
            thread.place = self.tally.place(thread.program, self.drill, thread.stage);
            thread.cache = [NOTHING; CACHED];
        }
    }

    /// What the process has done by the time of this call: one of its threads may have settled it. The
    /// definition is that of `enum stage` in shared.h.
    pub fn settle(&mut self, tid: pid_t, rule: &Rule) {
        let Some(thread) = self.threads.get_mut(&tid) else { return };
        let Some(process) = self.processes.get_mut(&thread.process) else { return };
        if !process.listens && !rule.named {
            return;
        }
        process.settled |= waits(rule, &thread.args);
        // Which of several threads settles it, and what the others call meanwhile, is up to the scheduler.
        let doubtful = if rule.named { thread.process != tid } else { process.threads > 1 };
        if thread.stage & STAGE_SETTLED == 0 && (process.settled || doubtful) {
            thread.stage |= STAGE_SETTLED;
            thread.place = self.tally.place(thread.program, thread.drill, thread.stage);
            thread.cache = [NOTHING; CACHED];
        }
    }

    /// Counts a call that the instruction before `instruction` made.
    pub fn count_call(&mut self, tid: pid_t, nr: u32, instruction: u64) {
        let Some(thread) = self.threads.get_mut(&tid) else { return };
        let index = (instruction >> 2 ^ u64::from(nr)) as usize & (CACHED - 1);
        let cached = thread.cache[index];
        if cached.instruction == instruction && cached.nr == nr {
            self.tally.count(cached.counter);
            return;
        }
        let (place, process) = (thread.place, thread.process);
        let object = self.object_at(tid, process, instruction);
        let counter = self.tally.counter(place, nr, object);
        self.tally.count(counter);
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.cache[index] = Cached { instruction, nr, counter };
        }
    }

    /// The program or library whose code lies at an address.
    fn object_at(&mut self, tid: pid_t, process: pid_t, address: u64) -> u32 {
        if address == 0 {
            return NO_OBJECT;
        }
        let known = self.processes.entry(process).or_default();
        let is_there = |mapping: &&Mapping| (mapping.start..mapping.end).contains(&address);
        if !known.mappings.iter().any(|mapping| is_there(&mapping)) {
            known.mappings = proc::executable_mappings(tid);
        }
        let Some(mapping) = known.mappings.iter().find(is_there) else { return NO_OBJECT };
        match proc::seen_by(tid, &mapping.path) {
            Some(path) => self.tally.program(&path),
            None => self.tally.program(NO_NAME),
        }
    }

    /// A watched thread has made another; true where that one waits to be let go.
    pub fn birth(&mut self, parent: pid_t, child: pid_t) -> bool {
        if self.threads.contains_key(&child) {
            return false; // claimed by `orphans`
        }
        let Some(from) = self.threads.get(&parent) else { return self.early.remove(&child) };
        let flags = match from.pending {
            Some(NR_CLONE) => from.args[0],
            Some(NR_CLONE3) => memory::word(parent, from.args[0]).unwrap_or(0),
            _ => 0, // fork, vfork
        };
        let is_thread = flags & CLONE_THREAD != 0;
        let process = if is_thread { from.process } else { child };
        let (active, program, drill, place) = (from.active, from.program, from.drill, from.place);
        let (table, confined, stage, cache) = (from.table, from.confined, from.stage, from.cache);
        let listens = self.processes.get(&from.process).is_some_and(|process| process.listens);
        let table = match flags & CLONE_FILES {
            0 => self.descriptors.copy(table),
            _ => self.descriptors.share(table),
        };
        let fresh = fresh_thread(process, table, confined);
        let mut to = Thread { active, program, drill, stage, place, cache, ..fresh };
        if !is_thread {
            to.stage = STAGE_WORKER;
            to.place = self.tally.place(program, drill, STAGE_WORKER);
            to.cache = [NOTHING; CACHED];
        }
        self.threads.insert(child, to);
        if active {
            self.tally.note_start(place, program, if is_thread { THREAD } else { FORK });
            self.add_living(process, program);
        }
        if let Some(made) = self.processes.get_mut(&process).filter(|_| !is_thread) {
            made.listens = listens;
        }
        self.early.remove(&child)
    }

    /// A thread stopped that may be new; false where its parent's event has yet to tell of it.
    pub fn attached(&mut self, tid: pid_t) -> bool {
        let known = self.threads.contains_key(&tid);
        if !known {
            self.early.insert(tid);
        }
        known
    }

    /// Children of a thread that dies before its event told of them; they wait to be let go.
    pub fn orphans(&mut self, parent: pid_t) -> Vec<pid_t> {
        let Some(process) = self.threads.get(&parent).map(|thread| thread.process) else { return Vec::new() };
        let of_it = |child: &pid_t| {
            proc::process_and_parent(*child).is_some_and(|(own, above)| own == process || above == process)
        };
        let found: Vec<pid_t> = self.early.iter().copied().filter(of_it).collect();
        found.into_iter().filter(|child| self.birth(parent, *child)).collect()
    }

    /// A clone that succeeded without an event made a thread that nobody can watch.
    pub fn note_untraced(&mut self, flags: u64) {
        self.tally.lost.threads += u64::from(flags & CLONE_UNTRACED != 0);
    }

    /// A thread more, which runs this program.
    fn add_living(&mut self, process: pid_t, program: u32) {
        self.crowds.join(program, !self.processes.contains_key(&process));
        self.processes.entry(process).or_default().threads += 1;
        self.alive += 1;
        self.peak_threads = self.peak_threads.max(self.alive);
        self.peak_processes = self.peak_processes.max(self.processes.len() as u64);
    }

    /// A thread is at its end: at its last moment, or found gone.
    pub fn death(&mut self, tid: pid_t) {
        self.early.remove(&tid);
        self.finish_interrupted(tid);
        let Some(thread) = self.threads.remove(&tid) else { return };
        self.descriptors.leave(thread.table);
        if !thread.active {
            return;
        }
        self.alive -= 1;
        let mut last = false;
        if let Some(process) = self.processes.get_mut(&thread.process) {
            process.threads = process.threads.saturating_sub(1);
            last = process.threads == 0;
        }
        if last {
            self.processes.remove(&thread.process);
        }
        self.crowds.leave(thread.program, last);
    }

    /// `tid` runs another program now. It is the only thread of its process, and its first.
    pub fn exec(&mut self, tid: pid_t) {
        let before = raw::event_message(tid);
        if before != tid
            && let Some(thread) = self.threads.remove(&before)
        {
            self.death(tid);
            self.threads.insert(tid, thread);
        }
        let others = self.threads.iter().filter(|(other, thread)| thread.process == tid && **other != tid);
        let others: Vec<pid_t> = others.map(|(other, _)| *other).collect();
        others.into_iter().for_each(|other| self.death(other));
        let program = proc::link(tid, "exe").and_then(|path| proc::seen_by(tid, &path));
        let program = self.tally.program(program.as_deref().unwrap_or(NO_NAME));
        let Some(thread) = self.threads.get(&tid) else { return };
        let (watched, table, before) = (thread.active, thread.table, thread.program);
        let nr = thread.pending.unwrap_or(NR_EXECVE);
        if watched {
            self.refresh_place(tid); // what is left behind is who starts it
            self.tally.note_start(self.threads[&tid].place, program, EXEC);
            self.crowds.leave(before, true);
            self.crowds.join(program, true);
        } else {
            self.started = true;
            proc::note_root(tid);
            self.add_living(tid, program);
            self.descriptors.raise_peak(2);
        }
        let open = proc::descriptors(tid);
        if let Some(highest) = open.iter().max() {
            self.crowds.raise_descriptors(program, *highest);
        }
        let table = self.descriptors.keep_only(table, &open);
        let place = self.tally.place(program, self.drill, STAGE_EXEC);
        let drill = self.drill;
        let process = self.processes.entry(tid).or_default();
        process.mappings.clear();
        process.settled = false;
        if let Some(thread) = self.threads.get_mut(&tid) {
            let cache = [NOTHING; CACHED];
            let confined = thread.confined;
            let fresh = fresh_thread(tid, table, confined);
            *thread = Thread { active: true, program, drill, place, cache, ..fresh };
        }
        self.count_call(tid, nr, 0);
        self.note_identity(tid);
        self.note_executed(tid, nr);
        let place = self.tally.place(program, drill, 0);
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.place = place;
            thread.cache = [NOTHING; CACHED];
        }
    }

    /// The process has this descriptor, which a call gave it.
    pub fn raise_descriptors(&mut self, tid: pid_t, number: u32) {
        self.descriptors.raise_peak(number);
        if let Some(thread) = self.threads.get(&tid) {
            self.crowds.raise_descriptors(thread.program, number);
        }
    }

    pub fn note_identity(&mut self, tid: pid_t) {
        if let (Some((user, group, no_new)), Some(thread)) = (proc::identity(tid), self.threads.get(&tid)) {
            self.tally.identities.insert((thread.place, user, group, no_new));
        }
    }

    /// All processes that are watched, and those that nobody has told of yet.
    pub fn living(&self) -> Vec<pid_t> {
        self.processes.keys().chain(&self.early).copied().collect()
    }
}

/// Whether a call with these arguments waits.
fn waits(rule: &Rule, args: &[u64; 6]) -> bool {
    match rule.waits {
        0 | 1 => rule.waits == 1,
        argument => args[usize::from(argument - 1)] & libc::WNOHANG as u64 == 0,
    }
}

fn fresh_thread(process: pid_t, table: u32, confined: bool) -> Thread {
    Thread {
        process,
        active: false,
        program: 0,
        drill: 0,
        stage: 0,
        place: 0,
        pending: None,
        interrupted: false,
        entry: (0, 0),
        args: [0; 6],
        before: None,
        existed: false,
        table,
        confined,
        cache: [NOTHING; CACHED],
    }
}

const _: () = assert!(STARTS.len() == EXEC + 1);
