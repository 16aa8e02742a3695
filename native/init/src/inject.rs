//! A restriction put on a traced process from outside: three calls that the thread makes on our behalf.
//!
//! It stands at the entry of a call of its own. For a filter, that call is turned into mmap(2), which
//! brings a page to write the filter to; then its `syscall` instruction runs again for seccomp(2),
//! again for munmap(2), and at last for what the thread wanted in the first place. A process that is
//! ready makes madvise(2) in between, for pages that it is going to touch (`own_pages.rs`). For a Landlock
//! domain the three are a call that no kernel has, to which process 1 answers with the descriptor of
//! the domain (seccomp_unotify(2)), landlock_restrict_self(2) and close(2). No code of the service is
//! touched and none of its memory is borrowed, so it makes no difference whether it is linked
//! dynamically, what its stack is like, or what its other threads do meanwhile. Signals are blocked
//! for as long: a handler would run on our registers.

use alloc::vec::Vec;

use rustix::io::{Errno, Result};

use crate::landlock::RESTRICT_SELF;
use crate::own_pages::Range;
use crate::ptrace::{self, At, ORIGINAL_RAX, R8, R9, R10, RAX, RDI, RDX, RIP, RSI, Registers};

const CLOSE: u64 = 3;
const MMAP: u64 = 9;
const MUNMAP: u64 = 11;
const MADVISE: u64 = 28;
const SECCOMP: u64 = 317;
/// The last number below those of x32, and of no call: so no policy allows it, and process 1 is asked.
const ASK: u64 = 0x3fff_ffff;
const SET_MODE_FILTER: u64 = 1;
const TSYNC: u64 = 1; // SECCOMP_FILTER_FLAG_TSYNC
const READ_WRITE: u64 = 3;
const PRIVATE_ANONYMOUS: u64 = 0x22;
const NO_FILE: u64 = u64::MAX;

const SYSCALL_BYTES: u64 = 2; // the length of the `syscall` instruction
const NO_CALL: u64 = u64::MAX;
/// Results from ERESTARTSYS to ERESTART_RESTARTBLOCK (linux/errno.h): the kernel makes the call again.
const RESTARTS: core::ops::RangeInclusive<i64> = -516..=-512;

/// What became of an injection after one more stop of its thread.
pub enum Step {
    Going,
    /// The thread is back where it was. The result is of seccomp or landlock_restrict_self, or of
    /// what failed before it.
    Done(Result<()>),
}

enum Errand {
    /// The filter, and where it is in the memory of the thread: struct sock_fprog, then the instructions.
    /// Before it, these ranges of pages are touched.
    Filter { instructions: Vec<u64>, address: u64, pages: Vec<Range> },
    /// Its number, and the descriptor that the thread has of it.
    Domain { number: usize, descriptor: u64 },
}

pub struct Injection {
    tid: i32,
    /// Where the thread stands when all is over.
    registers: Registers,
    signal_mask: u64,
    /// The call that the thread makes now.
    call: u64,
    errand: Errand,
    result: Result<()>,
}

impl Injection {
    /// Begin to put a filter on the thread, which has then to go on to its next call stop.
    pub fn of_filter(tid: i32, instructions: &[u64], pages: Vec<Range>) -> Result<Injection> {
        let size = size_of_filter(instructions);
        let errand = Errand::Filter { instructions: instructions.to_vec(), address: 0, pages };
        Injection::begin(tid, errand, MMAP, [0, size, READ_WRITE, PRIVATE_ANONYMOUS])
    }

    /// Likewise, a Landlock domain.
    pub fn of_domain(tid: i32, number: usize) -> Result<Injection> {
        Injection::begin(tid, Errand::Domain { number, descriptor: 0 }, ASK, [0; 4])
    }

    /// At the entry of a call.
    fn begin(tid: i32, errand: Errand, call: u64, arguments: [u64; 4]) -> Result<Injection> {
        let registers = ptrace::registers(tid)?;
        let signal_mask = ptrace::signal_mask(tid)?;
        let injection = Injection { tid, registers, signal_mask, call, errand, result: Ok(()) };
        ptrace::set_signal_mask(tid, u64::MAX)?;
        let mut first = injection.with(arguments);
        first[ORIGINAL_RAX] = call;
        first[RAX] = registers[RAX]; // -ENOSYS, as at every entry
        first[RIP] = registers[RIP];
        ptrace::set_registers(tid, &first)?;
        Ok(injection)
    }

    /// Whether the thread makes this call only because of the injection.
    pub fn makes(&self, call: u64) -> bool {
        self.call == call
    }

    /// The number of the domain, if this is the call that asks for it.
    pub fn asks_for(&self, call: u64) -> Option<usize> {
        match self.errand {
            Errand::Domain { number, .. } if call == ASK && self.makes(call) => Some(number),
            _ => None,
        }
    }

    /// One more call stop of the thread. An error means that it is gone.
    pub fn step(&mut self, at: &At) -> Result<Step> {
        let At::Exit { result } = *at else { return Ok(Step::Going) };
        if RESTARTS.contains(&result) {
            return Ok(Step::Going);
        }
        match self.call {
            MMAP | ASK if (-4095..0).contains(&result) => return self.finish(error_of(result)),
            MMAP => self.install(result.cast_unsigned())?,
            // Where it fails, they are touched when they are needed, as ever.
            MADVISE => self.go_on()?,
            ASK => self.restrict(result.cast_unsigned())?,
            SECCOMP | RESTRICT_SELF => {
                // With TSYNC a positive result names a thread that has filters of its own.
                self.result = if result > 0 { Err(Errno::BUSY) } else { error_of(result) };
                self.tidy_up()?;
            }
            _ => return self.finish(self.result),
        }
        Ok(Step::Going)
    }

    fn install(&mut self, page: u64) -> Result<()> {
        let Errand::Filter { instructions, address, .. } = &mut self.errand else { return Ok(()) };
        *address = page;
        let mut words = Vec::with_capacity(instructions.len() + 2);
        words.extend([instructions.len() as u64, page + 16]);
        words.extend(instructions.iter());
        self.result = ptrace::write_memory(self.tid, page, &words);
        match self.result {
            Ok(()) => self.go_on(),
            Err(_) => self.tidy_up(),
        }
    }

    /// The next range of pages, or the filter.
    fn go_on(&mut self) -> Result<()> {
        let Errand::Filter { address, pages, .. } = &mut self.errand else { return Ok(()) };
        match (pages.pop(), *address) {
            (Some((start, size, how)), _) => self.make(MADVISE, [start, size, how, 0]),
            (None, address) => self.make(SECCOMP, [SET_MODE_FILTER, TSYNC, address, 0]),
        }
    }

    fn restrict(&mut self, given: u64) -> Result<()> {
        if let Errand::Domain { descriptor, .. } = &mut self.errand {
            *descriptor = given;
        }
        self.make(RESTRICT_SELF, [given, 0, 0, 0])
    }

    fn tidy_up(&mut self) -> Result<()> {
        match &self.errand {
            Errand::Filter { instructions, address, .. } => {
                self.make(MUNMAP, [*address, size_of_filter(instructions), 0, 0])
            }
            Errand::Domain { descriptor, .. } => self.make(CLOSE, [*descriptor, 0, 0, 0]),
        }
    }

    /// Go back to the `syscall` instruction, for this call.
    fn make(&mut self, call: u64, arguments: [u64; 4]) -> Result<()> {
        self.call = call;
        let mut registers = self.with(arguments);
        registers[RAX] = call;
        ptrace::set_registers(self.tid, &registers)
    }

    /// At the `syscall` instruction with these arguments, and in no call that a signal could restart.
    fn with(&self, arguments: [u64; 4]) -> Registers {
        let mut registers = self.registers;
        registers[ORIGINAL_RAX] = NO_CALL;
        registers[RIP] = self.registers[RIP] - SYSCALL_BYTES;
        for (place, value) in [RDI, RSI, RDX, R10].into_iter().zip(arguments) {
            registers[place] = value;
        }
        registers[R8] = NO_FILE;
        registers[R9] = 0;
        registers
    }

    fn finish(&mut self, result: Result<()>) -> Result<Step> {
        let mut registers = self.registers;
        registers[RAX] = registers[ORIGINAL_RAX];
        registers[ORIGINAL_RAX] = NO_CALL;
        registers[RIP] -= SYSCALL_BYTES;
        ptrace::set_registers(self.tid, &registers)?;
        ptrace::set_signal_mask(self.tid, self.signal_mask)?;
        Ok(Step::Done(result))
    }
}

fn size_of_filter(instructions: &[u64]) -> u64 {
    (instructions.len() as u64 + 2) * 8
}

fn error_of(result: i64) -> Result<()> {
    if result < 0 { Err(Errno::from_raw_os_error(-result as i32)) } else { Ok(()) }
}
