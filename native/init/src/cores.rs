//! Core files of the service: so many at most, each no larger than the plan says, for root alone.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use rustix::event::{Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Mode, OFlags, fdatasync, openat, renameat, statat, unlinkat};
use rustix::process::{Pid, WaitOptions, waitpid};

use crate::console::say;
use crate::core_file::{self, Written};
use crate::failure::Reason;
use crate::tracer::Tracer;
use crate::{json, processes, ptrace, sys};

/// Signals of failures, of those that core(5) has; SIGQUIT is somebody's wish.
const FAILURES: [i32; 9] = [4, 5, 6, 7, 8, 11, 24, 25, 31];
/// Other threads are given so long to stop, or are not in it.
const PATIENCE_MS: usize = 200;
const UNFINISHED: &str = "core.new";

pub struct Cores {
    folder: OwnedFd,
    most: u32,
    most_kib: u64,
    /// As JSON objects.
    kept: Vec<String>,
    /// That there is no room for more has been said.
    full: bool,
}

impl Cores {
    pub fn new(folder: OwnedFd, (most, most_kib): (u32, u64)) -> Self {
        Cores { folder, most, most_kib, kept: Vec::new(), full: false }
    }

    /// What was kept since the start, as a JSON list.
    pub fn to_json(&self) -> String {
        json::list(self.kept.iter().cloned())
    }

    /// Keep the memory of the process of `tid`, which has stopped with `status`, if it is a signal
    /// that ends it. True if something was kept.
    pub fn take(&mut self, tid: i32, status: i32, tracer: &mut Tracer) -> bool {
        let (signal, event) = (status >> 8 & 0xff, status >> 16);
        if event != 0 || !FAILURES.contains(&signal) || !processes::ends_by(tid, signal) {
            return false;
        }
        let (pid, program) = processes::owner_of_thread(tid);
        let Some(name) = self.free_name() else {
            if !self.full {
                say(format_args!("{program} (process {pid}): no core file, as {} are there", self.most));
            }
            self.full = true;
            return false;
        };
        let threads = hold(tid, tracer);
        match self.write(&name, pid, signal, &threads) {
            Ok(written) => self.note(&name, &program, (pid, signal, threads.len()), &written),
            Err(error) => {
                let _ = unlinkat(&self.folder, UNFINISHED, AtFlags::empty());
                say(format_args!("{program} (process {pid}): cannot keep {name}: {}", Reason(error)));
                return false;
            }
        }
        true
    }

    fn free_name(&self) -> Option<String> {
        let is_free = |name: &String| statat(&self.folder, name.as_str(), AtFlags::SYMLINK_NOFOLLOW).is_err();
        (1..=self.most).map(|number| format!("core.{number}")).find(is_free)
    }

    fn write(&self, name: &str, pid: i32, signal: i32, threads: &[i32]) -> rustix::io::Result<Written> {
        let _ = unlinkat(&self.folder, UNFINISHED, AtFlags::empty()); // of a power failure
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&self.folder, UNFINISHED, flags, Mode::RUSR | Mode::WUSR)?;
        let written = core_file::write(&file, pid, signal, threads, self.most_kib * 1024)?;
        fdatasync(&file)?;
        renameat(&self.folder, UNFINISHED, &self.folder, name)?;
        Ok(written)
    }

    fn note(
        &mut self,
        name: &str,
        program: &str,
        (pid, signal, threads): (i32, i32, usize),
        written: &Written,
    ) {
        let kib = written.bytes.div_ceil(1024);
        let cut = if written.whole { "" } else { ", cut to the plan's size" };
        say(format_args!(
            "{program} (process {pid}) ends by signal {signal}: {name} has its memory, {kib} KiB{cut}"
        ));
        self.kept.push(format!(
            concat!(
                r#"{{"file":"{}","program":{},"pid":{},"signal":{},"threads":{},"kib":{},"whole":{},"#,
                r#""time":{}}}"#
            ),
            name,
            json::text(program),
            pid,
            signal,
            threads,
            kib,
            written.whole,
            sys::unix_time()
        ));
    }
}

/// The threads of the process of `tid`, which has stopped: it first, then those that have stopped, too.
/// What they stopped for does not matter any more: the process ends.
fn hold(tid: i32, tracer: &mut Tracer) -> Vec<i32> {
    let mut moving = tracer.others_of(tid);
    let mut held = Vec::from([tid]);
    moving.iter().for_each(|other| ptrace::interrupt(*other));
    for _ in 0..PATIENCE_MS {
        moving.retain(|other| match waitpid(Pid::from_raw(*other), WaitOptions::NOHANG) {
            Ok(None) => true,
            Ok(Some((_, status))) if status.stopped() => {
                held.push(*other);
                false
            }
            _ => {
                tracer.ended(*other);
                false
            }
        });
        if moving.is_empty() {
            break;
        }
        let _ = poll(&mut [], Some(&Timespec { tv_sec: 0, tv_nsec: 1_000_000 }));
    }
    held
}
