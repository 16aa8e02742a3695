//! The policy of system calls, and the verdict on every call that it does not allow.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::Result;

use crate::console::say;
use crate::control::Control;
use crate::failure::{Failure, Outcome};
use crate::instance::{Denied, Place};
use crate::tracer::Tracer;
use crate::{files, json, processes, sys};

/// The policy, and all rows of the matrix, one after the other.
const FILTERS: &str = "/.onejob/filters.bpf";
const MOST_IN_FILE: usize = 1 << 19;
const INSTRUCTION_BYTES: usize = 8; // struct sock_filter, linux/filter.h
/// BPF_MAXINSNS, but for what `rows.rs` puts before a row.
const MOST_INSTRUCTIONS: usize = 4096 - 3;
const MOST_DENIALS: usize = 512;

// linux/seccomp.h: ioctls on '!' of struct seccomp_notif (80), seccomp_notif_resp (24) and a u64.
const NOTIF_RECV: usize = 0xc050_2100;
const NOTIF_SEND: usize = 0xc018_2101;
const NOTIF_ID_VALID: usize = 0x4008_2102;
const NOTIF_ADD_DESCRIPTOR: usize = 0x4018_2103; // struct seccomp_notif_addfd (24)
const FLAG_CONTINUE: u64 = 1;
const EPERM: i32 = 1;

/// The filters of the image: their instructions, one per word.
pub struct Filters(Vec<u64>);

impl Filters {
    pub fn load() -> Outcome<Filters> {
        let bytes = files::read_whole(FILTERS, MOST_IN_FILE * INSTRUCTION_BYTES)?;
        let (words, rest) = bytes.as_chunks::<INSTRUCTION_BYTES>();
        if words.is_empty() || !rest.is_empty() {
            return Err(Failure::new(
                format_args!(
                    "{FILTERS} has {} bytes, which is no number of 8-byte instructions",
                    bytes.len()
                ),
                "build the image again",
            ));
        }
        Ok(Filters(words.iter().map(|word| u64::from_ne_bytes(*word)).collect()))
    }

    /// The instructions of the filter that lies there.
    pub fn at(&self, (first, count): Place) -> Outcome<&[u64]> {
        let end = first.checked_add(count).filter(|_| count > 0);
        let Some(found) = end.and_then(|end| self.0.get(first..end)) else {
            return Err(Failure::new(
                format_args!("{FILTERS} has {} instructions, and no filter at {first}", self.0.len()),
                "build the image again",
            ));
        };
        if count > MOST_INSTRUCTIONS {
            return Err(Failure::new(
                format_args!("{FILTERS}: the filter at {first} has more instructions than the kernel takes"),
                "build the image again",
            ));
        }
        Ok(found)
    }
}

/// A call that the policy leaves to process 1, or that a row of the matrix refuses.
pub struct Denial {
    pub pid: i32,
    pub program: String,
    pub call: i32,
    arguments: [u64; 6],
    /// Role and phase of the process as members of a JSON object; empty where there is no matrix.
    standing: String,
    count: u64,
}

/// All that was denied so far: one entry per program, standing and call, in order of first appearance.
#[derive(Default)]
pub struct Denials {
    list: Vec<Denial>,
    /// Further calls that came when the list was full.
    pub unlisted: u64,
}

impl Denials {
    /// Take one waiting call from the listener and answer it: refused, or in an audit let through.
    /// A process that is to be killed is so before it hears the answer.
    /// The denial is returned when it is the first of its kind. A call that the tracer has a thread
    /// make is let through, and is no denial.
    pub fn answer_one(
        &mut self,
        listener: BorrowedFd,
        denied: Denied,
        tracer: Option<&mut Tracer>,
    ) -> Result<Option<&Denial>> {
        let mut asked = [0_u64; 10]; // id, pid and flags, nr and arch, instruction pointer, 6 arguments
        // SAFETY: struct seccomp_notif has 80 bytes.
        unsafe { sys::control_device(listener, NOTIF_RECV, &mut asked)? };
        let (id, thread, call) = (asked[0], asked[1] as i32, asked[2] as i32);
        let mut standing = None;
        if let Some(tracer) = tracer {
            if let Some(domain) = tracer.hands_over(thread, call) {
                return hand_over(listener, id, domain).map(|()| None);
            }
            if tracer.injects(thread, call) {
                return answer(listener, id, true).map(|()| None);
            }
            standing = tracer.standing(thread);
        }
        let (pid, program) = processes::owner_of_thread(thread);
        // SAFETY: reads one word. An error means that the thread is gone, and its number perhaps reused.
        unsafe { sys::control_device(listener, NOTIF_ID_VALID, &mut [id])? };
        if denied == Denied::Kill {
            let _ = sys::kill(pid, sys::SIGKILL);
        }
        answer(listener, id, denied == Denied::Audit)?;
        let mut arguments = [0; 6];
        arguments.copy_from_slice(&asked[4..]);
        Ok(self.record(Denial::new(pid, program, call, arguments, standing.unwrap_or_default())))
    }

    /// Count a denial. It is returned when it is the first of its kind.
    pub fn record(&mut self, denial: Denial) -> Option<&Denial> {
        if let Some(known) = self.list.iter_mut().find(|entry| entry.is_like(&denial)) {
            known.count += 1;
            return None;
        }
        if self.list.len() == MOST_DENIALS {
            self.unlisted += 1;
            return None;
        }
        self.list.push(denial);
        self.list.last()
    }

    /// How many calls were denied, all kinds together.
    pub fn total(&self) -> u64 {
        self.list.iter().map(|denial| denial.count).sum::<u64>() + self.unlisted
    }

    pub fn to_json(&self) -> String {
        json::list(self.list.iter().map(|denial| format!("{{{}}}", denial.fields())))
    }
}

fn answer(listener: BorrowedFd, id: u64, let_through: bool) -> Result<()> {
    let verdict = if let_through { FLAG_CONTINUE << 32 } else { u64::from((-EPERM).cast_unsigned()) };
    // SAFETY: struct seccomp_notif_resp has 24 bytes: id, return value, error and flags.
    unsafe { sys::control_device(listener, NOTIF_SEND, &mut [id, 0, verdict]) }
}

/// Answer with a copy of a descriptor: the result of the call is its number there.
fn hand_over(listener: BorrowedFd, id: u64, descriptor: BorrowedFd) -> Result<()> {
    const SEND: u64 = 2;
    const CLOSE_ON_EXECUTE: u64 = 0o2_000_000;
    let ours = u64::from(descriptor.as_raw_fd().cast_unsigned());
    let mut words = [id, SEND | ours << 32, CLOSE_ON_EXECUTE << 32];
    // SAFETY: 24 bytes: id, flags, our number, its number (the kernel chooses), its flags.
    let given = unsafe { sys::control_device(listener, NOTIF_ADD_DESCRIPTOR, &mut words) };
    given.or_else(|_| answer(listener, id, false))
}

impl Denial {
    pub fn new(pid: i32, program: String, call: i32, arguments: [u64; 6], standing: String) -> Self {
        Denial { pid, program, call, arguments, standing, count: 1 }
    }

    fn is_like(&self, other: &Denial) -> bool {
        self.call == other.call && self.standing == other.standing && self.program == other.program
    }

    /// The members of its JSON object. Arguments are strings: JSON numbers hold 53 bits.
    pub fn fields(&self) -> String {
        let arguments = json::list(self.arguments.iter().map(|word| json::text(&word.to_string())));
        let separator = if self.standing.is_empty() { "" } else { "," };
        format!(
            r#""pid":{},"program":{},"call":{},"args":{arguments},{}{separator}"count":{}"#,
            self.pid,
            json::text(&self.program),
            self.call,
            self.standing,
            self.count
        )
    }
}

/// Tell of the first denial of its kind.
pub fn announce(denial: &Denial, denied: Denied, control: Option<&mut Control>) {
    let (verdict, word) = match denied {
        Denied::Audit => ("would refuse", "audit"),
        Denied::Kill => ("killed for", "kill"),
        Denied::Eperm | Denied::Off => ("refused", "eperm"),
    };
    say(format_args!("{verdict} system call {} of {} (process {})", denial.call, denial.program, denial.pid));
    if let Some(control) = control {
        control.event("denied", &format!(r#"{},"verdict":"{word}""#, denial.fields()));
    }
}
