//! A filter put on a traced process from outside: three calls that the thread makes on our behalf.
//!
//! It stands at the entry of a call of its own. That call is turned into mmap(2), which brings a
//! page to write the filter to; then its `syscall` instruction runs again for seccomp(2), again for
//! munmap(2), and at last for what the thread wanted in the first place. No code of the service is
//! touched and none of its memory is borrowed, so it makes no difference whether it is linked
//! dynamically, what its stack is like, or what its other threads do meanwhile. Signals are blocked
//! for as long: a handler would run on our registers.

use alloc::vec::Vec;

use rustix::io::{Errno, Result};

use crate::ptrace::{self, At, ORIGINAL_RAX, R8, R9, R10, RAX, RDI, RDX, RIP, RSI, Registers};

const MMAP: u64 = 9;
const MUNMAP: u64 = 11;
const SECCOMP: u64 = 317;
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
    /// The thread is back where it was. The result is seccomp's, or of what failed before it.
    Done(Result<()>),
}

pub struct Injection {
    tid: i32,
    /// Where the thread stands when all is over.
    registers: Registers,
    signal_mask: u64,
    /// The call that the thread makes now.
    call: u64,
    /// The filter in the memory of the thread: struct sock_fprog, then the instructions.
    address: u64,
    instructions: Vec<u64>,
    result: Result<()>,
}

impl Injection {
    /// Begin at the entry of a call. The thread has then to go on to its next call stop.
    pub fn begin(tid: i32, instructions: &[u64]) -> Result<Injection> {
        let registers = ptrace::registers(tid)?;
        let signal_mask = ptrace::signal_mask(tid)?;
        let injection = Injection {
            tid,
            registers,
            signal_mask,
            call: MMAP,
            address: 0,
            instructions: instructions.to_vec(),
            result: Ok(()),
        };
        ptrace::set_signal_mask(tid, u64::MAX)?;
        let mut first = injection.with([0, injection.size(), READ_WRITE, PRIVATE_ANONYMOUS]);
        first[ORIGINAL_RAX] = MMAP;
        first[RAX] = registers[RAX]; // -ENOSYS, as at every entry
        first[RIP] = registers[RIP];
        ptrace::set_registers(tid, &first)?;
        Ok(injection)
    }

    /// Whether the thread makes this call only because of the injection.
    pub fn makes(&self, call: u64) -> bool {
        self.call == call
    }

    /// One more call stop of the thread. An error means that it is gone.
    pub fn step(&mut self, at: &At) -> Result<Step> {
        let At::Exit { result } = *at else { return Ok(Step::Going) };
        if RESTARTS.contains(&result) {
            return Ok(Step::Going);
        }
        match self.call {
            MMAP if (-4095..0).contains(&result) => return self.finish(error_of(result)),
            MMAP => self.install(result.cast_unsigned())?,
            SECCOMP => {
                // With TSYNC a positive result names a thread that has filters of its own.
                self.result = if result > 0 { Err(Errno::BUSY) } else { error_of(result) };
                self.make(MUNMAP, [self.address, self.size(), 0, 0])?;
            }
            _ => return self.finish(self.result),
        }
        Ok(Step::Going)
    }

    fn size(&self) -> u64 {
        (self.instructions.len() as u64 + 2) * 8
    }

    fn install(&mut self, address: u64) -> Result<()> {
        self.address = address;
        let mut words = Vec::with_capacity(self.instructions.len() + 2);
        words.extend([self.instructions.len() as u64, address + 16]);
        words.extend(&self.instructions);
        self.result = ptrace::write_memory(self.tid, address, &words);
        match self.result {
            Ok(()) => self.make(SECCOMP, [SET_MODE_FILTER, TSYNC, address, 0]),
            Err(_) => self.make(MUNMAP, [address, self.size(), 0, 0]),
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

fn error_of(result: i64) -> Result<()> {
    if result < 0 { Err(Errno::from_raw_os_error(-result as i32)) } else { Ok(()) }
}
