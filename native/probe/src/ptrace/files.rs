//! Paths as they are used: completed to absolute ones, and counted.
use libc::pid_t;

use crate::calls::{PathAt, Rule, Special};
use crate::layout::ROLES;
use crate::ptrace::memory;
use crate::ptrace::proc;
use crate::ptrace::tally::Use;
use crate::ptrace::watch::Watch;

const AT_FDCWD: i32 = -100;
const EFAULT: u16 = 14;
const EBADF: u16 = 9;
const O_CREAT: u64 = 0o100;
const O_EXCL: u64 = 0o200;
/// What creat(2) opens with: O_CREAT, O_WRONLY, O_TRUNC.
const CREAT: u64 = O_CREAT | 0o1 | 0o1000;
const MAP_ANONYMOUS: u64 = 0x20;
const NR_EXECVEAT: u32 = 322;
/// Interpreters may be scripts; the kernel goes on so often (exec_binprm, fs/exec.c).
const MOST_INTERPRETERS: usize = 5;
const ROLE_EXEC: u8 = 3;
const ROLE_MAP: u8 = 4;
pub const ROLE_BIND: u8 = 5;
pub const ROLE_CONNECT: u8 = 6;

/// Where a relative path starts.
#[derive(Clone, Copy)]
pub enum Base {
    Folder(i32),
    /// Where the thread was before chdir or chroot.
    Before,
}

pub const HERE: Base = Base::Folder(AT_FDCWD);

impl Watch {
    /// One path argument, when the call returns.
    pub fn note_path(&mut self, tid: pid_t, rule: &Rule, at: PathAt, error: u16) {
        let Some(thread) = self.threads.get(&tid).filter(|_| at.path >= 0) else { return };
        let argument = |index: i8| thread.args[index as usize];
        let how = Use {
            place: thread.place,
            nr: rule.nr as u16,
            role: at.role as u8,
            created: false,
            flags: if rule.flags < 0 { 0 } else { argument(rule.flags) as u32 },
            error,
        };
        let base = match rule.special {
            Special::Chdir => Base::Before,
            _ if at.dirfd < 0 => HERE,
            _ => Base::Folder(argument(at.dirfd) as i32),
        };
        let address = argument(at.path);
        self.note_argument(tid, how, address, base);
    }

    pub fn note_open(&mut self, tid: pid_t, rule: &Rule, error: u16) {
        let flags = self.open_flags(tid, rule);
        let Some(thread) = self.threads.get(&tid) else { return };
        let made = error == 0 && flags & O_CREAT != 0 && (flags & O_EXCL != 0 || !thread.existed);
        let how = Use {
            place: thread.place,
            nr: rule.nr as u16,
            role: rule.first.role as u8,
            created: made,
            flags: flags as u32,
            error,
        };
        let (base, address) = (opened_from(rule, &thread.args), thread.args[rule.first.path as usize]);
        self.note_argument(tid, how, address, base);
    }

    /// What is opened with: open flags, also where they lie in memory.
    pub fn open_flags(&self, tid: pid_t, rule: &Rule) -> u64 {
        let Some(thread) = self.threads.get(&tid) else { return 0 };
        match rule.special {
            Special::Openat2 => memory::word(tid, thread.args[2]).unwrap_or(0), // struct open_how
            _ if rule.flags >= 0 => thread.args[rule.flags as usize],
            _ => CREAT,
        }
    }

    /// At entry: whether what may be created is there already.
    pub fn look_before_open(&mut self, tid: pid_t, rule: &Rule) {
        let flags = self.open_flags(tid, rule);
        if flags & O_CREAT == 0 || flags & O_EXCL != 0 {
            return;
        }
        let Some(thread) = self.threads.get(&tid) else { return };
        let (base, address) = (opened_from(rule, &thread.args), thread.args[rule.first.path as usize]);
        let mut path = std::mem::take(&mut self.path);
        path.clear();
        let read = memory::append_path(tid, address, &mut path);
        let Base::Folder(folder) = base else { unreachable!("opens start from a folder") };
        let existed = read && proc::exists(tid, folder, &path);
        self.path = path;
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.existed = existed;
        }
    }

    pub fn note_argument(&mut self, tid: pid_t, how: Use, address: u64, base: Base) {
        if address == 0 {
            return; // utimensat and friends mean the descriptor
        }
        let mut path = std::mem::take(&mut self.path);
        path.clear();
        if memory::append_path(tid, address, &mut path) {
            self.note_from(tid, how, &path, base);
        } else if how.error != EFAULT {
            self.tally.lost.paths_unreadable += 1;
        }
        self.path = path;
    }

    /// Counts a path, completed if it is relative. An empty one names no file (AT_EMPTY_PATH).
    pub fn note_from(&mut self, tid: pid_t, how: Use, path: &[u8], base: Base) {
        if path.is_empty() {
            return;
        }
        if path[0] == b'/' {
            self.tally.note_file(how, path);
            return;
        }
        let start = match base {
            Base::Before => self.threads.get(&tid).and_then(|thread| thread.before.clone()),
            Base::Folder(AT_FDCWD) => proc::folder(tid, "cwd"),
            Base::Folder(number) => proc::folder(tid, &format!("fd/{number}")),
        };
        match start {
            Some(mut whole) => {
                if whole.last() != Some(&b'/') {
                    whole.push(b'/');
                }
                whole.extend_from_slice(path);
                self.tally.note_file(how, &whole);
            }
            None if how.error == EBADF => {}
            None => self.tally.lost.paths_unreadable += 1,
        }
    }

    pub fn note_map(&mut self, tid: pid_t, nr: u32, error: u16) {
        let Some(thread) = self.threads.get(&tid).filter(|thread| thread.args[3] & MAP_ANONYMOUS == 0) else {
            return;
        };
        let (place, flags) = (thread.place, thread.args[2] as u32);
        let how = Use { place, nr: nr as u16, role: ROLE_MAP, created: false, flags, error };
        let path = proc::descriptor(tid, thread.args[4] as u32).and_then(|path| proc::seen_by(tid, &path));
        if let Some(path) = path {
            self.tally.note_file(how, &path);
        }
    }

    /// Files by the names that exec used: the command's, and the interpreter's if it is a script.
    pub fn note_executed(&mut self, tid: pid_t, nr: u32) {
        let Some(place) = self.threads.get(&tid).map(|thread| thread.place) else { return };
        let how = Use { place, nr: nr as u16, role: ROLE_EXEC, created: false, flags: 0, error: 0 };
        let mut name = Vec::new();
        let read = proc::executed_name(tid).is_some_and(|at| memory::append_path(tid, at, &mut name));
        if nr == NR_EXECVEAT && name.starts_with(b"/dev/fd/") {
            name = proc::link(tid, "exe").and_then(|path| proc::seen_by(tid, &path)).unwrap_or_default();
        } else if !read {
            self.tally.lost.paths_unreadable += 1;
            return;
        }
        self.note_from(tid, how, &name, HERE);
        let mut script = match name.first() {
            Some(b'/') => name,
            _ => [proc::folder(tid, "cwd").unwrap_or_default(), name].join(&b'/'),
        };
        let mut last = None;
        for _ in 0..MOST_INTERPRETERS {
            let Some(interpreter) = proc::interpreter(tid, &script) else { break };
            script.clone_from(&interpreter);
            last = Some(interpreter);
        }
        if let Some(interpreter) = last {
            self.note_from(tid, how, &interpreter, HERE);
        }
    }
}

fn opened_from(rule: &Rule, args: &[u64; 6]) -> Base {
    if rule.first.dirfd < 0 { HERE } else { Base::Folder(args[rule.first.dirfd as usize] as i32) }
}

const _: () = assert!(ROLES.len() == ROLE_CONNECT as usize + 1);
