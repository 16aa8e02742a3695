//! What is noted of each call when it is entered and when it returns, as the table in `crate::calls` says.
use libc::pid_t;

use crate::calls::{Rule, Special};
use crate::layout::CALLS;
use crate::ptrace::descriptors::{Kind, OpenFile};
use crate::ptrace::raw::{ARCH_X86_64, CallInfo};
use crate::ptrace::sockets::socket_of;
use crate::ptrace::watch::Watch;
use crate::ptrace::{confine, memory, proc};

const MAX_ERRNO: i64 = 4095;
const EINTR: u16 = 4;
const ERESTARTSYS: u16 = 512; // 512 to 516 are the kernel's private "restart me" (include/linux/errno.h)
const ERESTART_LAST: u16 = 516;
const NR_RESTART_SYSCALL: u64 = 219; // how the kernel restarts what waits for a time (signal(7))
const CLOSE_RANGE_UNSHARE: u64 = 2;
const CLOSE_RANGE_CLOEXEC: u64 = 4;
const CLONE_FILES: u64 = 0x400;
const F_DUPFD: u64 = 0;
const F_SETFL: u64 = 4;
const F_SETLK: u64 = 6;
const F_SETLKW: u64 = 7;
const F_OFD_SETLK: u64 = 37;
const F_OFD_SETLKW: u64 = 38;
const F_DUPFD_CLOEXEC: u64 = 1030;
const O_APPEND: u64 = 0o2000;
const NAME: usize = 64;

const NR_LSEEK: u32 = 8;
const NR_DUP: u32 = 32;
const NR_SENDMSG: u32 = 46;
const NR_RECVMSG: u32 = 47;
const NR_CLONE: u32 = 56;
const NR_MOUNT: u32 = 165;
const NR_SCHED_SETAFFINITY: u32 = 203;
const NR_SCHED_GETAFFINITY: u32 = 204;
const NR_UNSHARE: u32 = 272;
const NR_SETNS: u32 = 308;

impl Watch {
    pub fn enter(&mut self, tid: pid_t, info: &CallInfo) {
        if self.is_restarted(tid, info) {
            return;
        }
        let Some(thread) = self.threads.get_mut(&tid) else { return };
        thread.pending = None;
        if !thread.active {
            return;
        }
        if info.arch != ARCH_X86_64 || info.first >= CALLS as u64 {
            self.tally.lost.foreign_calls += 1; // of the 32-bit or x32 kind, or no call at all
            return;
        }
        (thread.args, thread.entry) = (info.args, (info.instruction, info.stack));
        let nr = info.first as u32;
        let rule = self.rules[nr as usize];
        self.refresh_place(tid);
        self.settle(tid, &rule);
        if rule.special != Special::Exec {
            self.count_call(tid, nr, info.instruction); // exec: for the program that results
        }
        if rule.special == Special::NoReturn {
            return;
        }
        if rule.facts[0] >= 0 {
            self.note_facts(tid, &rule, true, false);
        }
        self.enter_special(tid, &rule);
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.pending = Some(nr);
        }
    }

    fn enter_special(&mut self, tid: pid_t, rule: &Rule) {
        let Some(thread) = self.threads.get_mut(&tid) else { return };
        let (args, table) = (thread.args, thread.table);
        match rule.special {
            Special::Close => self.descriptors.close(table, args[0] as u32),
            Special::CloseRange if args[2] & (CLOSE_RANGE_CLOEXEC | CLOSE_RANGE_UNSHARE) == 0 => {
                self.descriptors.close_range(table, args[0] as u32, args[1] as u32);
            }
            Special::Chdir => thread.before = proc::folder(tid, "cwd"),
            Special::Open | Special::Openat2 => self.look_before_open(tid, rule),
            _ => {}
        }
    }

    /// Facts from registers are counted at entry, and at exit only if the call failed.
    fn note_facts(&mut self, tid: pid_t, rule: &Rule, seen: bool, failed: bool) {
        let Some(thread) = self.threads.get(&tid) else { return };
        let value = |index: i8| if index < 0 { 0 } else { u64::from(thread.args[index as usize] as u32) };
        let args = rule.facts.map(value);
        self.tally.note_fact(thread.place, rule.nr, args, seen, failed);
    }

    pub fn leave(&mut self, tid: pid_t, result: i64) {
        let Some(thread) = self.threads.get_mut(&tid) else { return };
        thread.interrupted = is_to_restart(result);
        if !thread.interrupted {
            self.finish(tid, result);
        }
    }

    /// Whether the kernel makes the call again that it interrupted, which is one call then. A signal that
    /// is ignored does not interrupt a call of who is not traced. Where a handler ran in between, the next
    /// call is another one, or lies deeper in the stack; and the first was interrupted for its program too.
    fn is_restarted(&mut self, tid: pid_t, info: &CallInfo) -> bool {
        let Some(thread) = self.threads.get_mut(&tid).filter(|thread| thread.interrupted) else {
            return false;
        };
        thread.interrupted = false;
        let same = thread.pending.map(u64::from) == Some(info.first) || info.first == NR_RESTART_SYSCALL;
        if same && thread.entry == (info.instruction, info.stack) {
            return true;
        }
        self.finish(tid, -i64::from(EINTR));
        false
    }

    /// The thread makes no further call: one that a signal interrupted is over.
    pub fn finish_interrupted(&mut self, tid: pid_t) {
        if self.threads.get(&tid).is_some_and(|thread| thread.interrupted) {
            self.finish(tid, -i64::from(EINTR));
        }
    }

    fn finish(&mut self, tid: pid_t, result: i64) {
        let Some(thread) = self.threads.get_mut(&tid) else { return };
        let Some(nr) = thread.pending.take() else { return };
        let place = thread.place;
        let rule = self.rules[nr as usize];
        if rule.special == Special::Exec {
            self.count_call(tid, nr, 0);
        }
        let error = error_of(result);
        if error != 0 {
            self.tally.note_error(place, nr, error);
            if rule.facts[0] >= 0 {
                self.note_facts(tid, &rule, false, true);
            }
        }
        let result = result as u64;
        if rule.returns_descriptor && error == 0 {
            self.raise_descriptors(tid, result as u32);
        }
        if matches!(rule.special, Special::Open | Special::Openat2) {
            self.note_open(tid, &rule, error);
        } else {
            self.note_path(tid, &rule, rule.first, error);
            self.note_path(tid, &rule, rule.second_path, error);
        }
        match rule.special {
            Special::Mmap => self.note_map(tid, nr, error),
            Special::Bind | Special::Connect | Special::Sendto => self.note_address(tid, &rule, error),
            Special::Clone3 => self.note_clone3(tid, place, nr, error),
            _ if error == 0 => self.leave_successful(tid, &rule, result),
            _ => {}
        }
        if rule.moves != 0 && error == 0 {
            self.note_moves(tid, &rule, result);
        }
    }

    fn note_clone3(&mut self, tid: pid_t, place: u32, nr: u32, error: u16) {
        let Some(args) = self.threads.get(&tid).map(|thread| thread.args) else { return };
        let flags = memory::word_or_less(tid, args[0]); // struct clone_args starts with its flags
        self.tally.note_fact(place, nr, [flags, 0, 0], true, error != 0);
        if error == 0 {
            self.note_untraced(flags);
        }
    }

    /// What is noted only of calls that succeeded.
    fn leave_successful(&mut self, tid: pid_t, rule: &Rule, result: u64) {
        let Some(thread) = self.threads.get(&tid) else { return };
        let (args, table) = (thread.args, thread.table);
        let plain = OpenFile::default();
        match rule.special {
            Special::Open | Special::Openat2 => {
                let append = self.open_flags(tid, rule) & O_APPEND != 0;
                self.note_opened(tid, result, OpenFile { append, ..plain });
            }
            Special::Dup2 => self.copy_descriptor(tid, args[0], result),
            Special::Socket => {
                self.note_opened(tid, result, OpenFile { kind: socket_of(args[0], args[1]), ..plain });
            }
            Special::Socketpair => self.note_pair(tid, args[3], socket_of(args[0], args[1])),
            Special::Pipe => self.note_pair(tid, args[0], Kind::Pipe),
            Special::Accept => self.note_accepted(tid, args[0], result),
            Special::Listen => {
                self.note_listener(tid, args[0] as u32, Some(u64::from(args[1] as u32)));
                let process = self.threads.get(&tid).map_or(0, |thread| thread.process);
                self.processes.entry(process).or_default().listens = true;
            }
            Special::Identity => self.note_identity(tid),
            Special::Mount => self.note_file_system(tid, args[if rule.nr == NR_MOUNT { 2 } else { 0 }]),
            Special::Fcntl => self.leave_fcntl(tid, rule.nr, result),
            Special::Chdir => proc::note_root(tid), // also chroot and pivot_root
            Special::CloseRange if args[2] & CLOSE_RANGE_CLOEXEC == 0 => {
                let table = if args[2] & CLOSE_RANGE_UNSHARE != 0 { self.own_table(tid) } else { table };
                self.descriptors.close_range(table, args[0] as u32, args[1] as u32);
            }
            _ => self.leave_plain(tid, rule, result),
        }
    }

    /// Calls that change what descriptors stand for, though their rules need not say so.
    fn leave_plain(&mut self, tid: pid_t, rule: &Rule, result: u64) {
        let Some(args) = self.threads.get(&tid).map(|thread| thread.args) else { return };
        match rule.nr {
            NR_DUP => self.copy_descriptor(tid, args[0], result),
            NR_LSEEK => {
                if let Some(file) = self.known_file(tid, args[0] as u32) {
                    self.descriptors.open_file(file).position = result;
                }
            }
            NR_SENDMSG => self.note_rights(tid, args[1], true),
            NR_RECVMSG => self.note_rights(tid, args[1], false),
            NR_CLONE => self.note_untraced(args[0]),
            NR_SETNS => proc::note_root(tid),
            NR_UNSHARE => {
                proc::note_root(tid);
                if args[0] & CLONE_FILES != 0 {
                    self.own_table(tid);
                }
            }
            NR_SCHED_SETAFFINITY => self.note_choice(tid, args[0] as pid_t),
            NR_SCHED_GETAFFINITY => {
                let whose = if args[0] == 0 { tid } else { args[0] as pid_t };
                if self.threads.get(&whose).is_some_and(|thread| thread.confined) {
                    confine::show_original(tid, args[2], result as usize);
                }
            }
            _ if rule.returns_descriptor => self.note_opened(tid, result, OpenFile::default()),
            _ => {}
        }
    }

    /// A thread that chooses its processors keeps what it chose.
    fn note_choice(&mut self, tid: pid_t, whose: pid_t) {
        if let Some(thread) = self.threads.get_mut(if whose == 0 { &tid } else { &whose }) {
            thread.confined = false;
        }
    }

    fn own_table(&mut self, tid: pid_t) -> u32 {
        let Some(thread) = self.threads.get_mut(&tid) else { return 0 };
        thread.table = self.descriptors.own(thread.table);
        thread.table
    }

    fn copy_descriptor(&mut self, tid: pid_t, from: u64, to: u64) {
        let Some(table) = self.threads.get(&tid).map(|thread| thread.table) else { return };
        match self.descriptors.file(table, from as u32) {
            Some(file) => self.descriptors.put(table, to as u32, file),
            None => self.descriptors.close(table, to as u32), // unknown until it is used
        }
    }

    fn leave_fcntl(&mut self, tid: pid_t, nr: u32, result: u64) {
        let Some(args) = self.threads.get(&tid).map(|thread| thread.args) else { return };
        match args[1] {
            F_DUPFD | F_DUPFD_CLOEXEC => {
                self.raise_descriptors(tid, result as u32);
                self.copy_descriptor(tid, args[0], result);
            }
            F_SETFL => {
                if let Some(file) = self.known_file(tid, args[0] as u32) {
                    self.descriptors.open_file(file).append = args[2] & O_APPEND != 0;
                }
            }
            F_SETLK | F_SETLKW | F_OFD_SETLK | F_OFD_SETLKW => {
                self.note_traffic(tid, nr, args[0] as u32, 1, 0);
            }
            _ => {}
        }
    }

    /// mount(2) names the type of file system in its third argument, fsopen(2) in its first.
    fn note_file_system(&mut self, tid: pid_t, name: u64) {
        let Some(place) = self.threads.get(&tid).map(|thread| thread.place) else { return };
        let mut text = Vec::new();
        if name != 0 && memory::append_string(tid, name, NAME, &mut text) && !text.is_empty() {
            let key = (place, String::from_utf8_lossy(&text).into_owned());
            *self.tally.file_systems.entry(key).or_default() += 1;
        }
    }
}

/// The errno of a result; 0 where it is none.
fn error_of(result: i64) -> u16 {
    match -result {
        number @ 1..=MAX_ERRNO => number as u16,
        _ => 0,
    }
}

/// Whether a call was interrupted, and the kernel makes it again unless a handler says otherwise.
fn is_to_restart(result: i64) -> bool {
    (ERESTARTSYS..=ERESTART_LAST).contains(&error_of(result))
}

#[cfg(test)]
mod tests {
    use super::{error_of, is_to_restart};

    #[test]
    fn errors_are_small_negative_numbers() {
        assert_eq!([error_of(0), error_of(7), error_of(-4096), error_of(-9)], [0, 0, 0, 9]);
    }

    #[test]
    fn calls_with_the_private_errors_restart() {
        assert_eq!(
            [0, -4, -511, -512, -516, -517].map(is_to_restart),
            [false, false, false, true, true, false]
        );
    }
}
