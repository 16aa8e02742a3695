//! The processes of the service, as /proc shows them.

use alloc::ffi::CString;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use rustix::fs::{CWD, Dir, Mode, OFlags, openat, readlinkat};
use rustix::io::Result;

use crate::files::{open_to_read, read_up_to, text_of, write_whole};
use crate::json;

const KERNEL_THREAD: u64 = 0x0020_0000; // PF_KTHREAD, linux/sched.h

/// A process of the service, at the moment when it was looked at.
pub struct Seen {
    pub pid: i32,
    pub program: String,
    pub threads: u64,
    /// Page faults since it began, those that read a disk among them.
    pub faults: u64,
    parent: i32,
    /// Clock ticks from the boot of the machine to its start.
    start: u64,
}

impl Seen {
    /// The members of its JSON object.
    pub fn fields(&self) -> String {
        format!(
            r#""pid":{},"ppid":{},"start":{},"program":{}"#,
            self.pid,
            self.parent,
            self.start,
            json::text(&self.program)
        )
    }
}

/// Every process but process 1, kernel threads and the dead.
pub fn all() -> Result<Vec<Seen>> {
    let directory = open_to_read("/proc")?;
    let mut found = Vec::new();
    for entry in Dir::read_from(directory)? {
        let number = entry?.file_name().to_str().ok().and_then(|name| name.parse::<i32>().ok());
        found.extend(number.filter(|pid| *pid > 1).and_then(look_at));
    }
    Ok(found)
}

/// All of them as a JSON list. `standing` gives what the call matrix has to say of a process, as
/// further members of its object.
pub fn list_as_json(mut standing: impl FnMut(i32) -> Option<String>) -> Result<String> {
    let entries = all()?.into_iter().map(|seen| {
        let standing = standing(seen.pid).map_or(String::new(), |members| format!(",{members}"));
        format!("{{{}{standing}}}", seen.fields())
    });
    Ok(json::list(entries))
}

/// None when the process has ended, or is the kernel's own.
fn look_at(pid: i32) -> Option<Seen> {
    let stat = read_text(pid, "stat")?;
    // The name in parentheses may hold anything, so count from the last one (proc_pid_stat(5)).
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let number = |place: usize| fields.get(place)?.parse::<u64>().ok();
    if matches!(*fields.first()?, "Z" | "X") || number(6)? & KERNEL_THREAD != 0 {
        return None;
    }
    let (parent, threads, start) = (fields.get(1)?.parse().ok()?, number(17)?, number(19)?);
    let faults = number(7)? + number(9)?;
    Some(Seen { pid, program: program_of(pid), threads, faults, parent, start })
}

/// The most memory that it ever had resident, in KiB (proc_pid_status(5), VmHWM).
pub fn peak_resident_kib(pid: i32) -> Option<u64> {
    let status = read_text(pid, "status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// One more than the highest of its descriptors. The inode numbers of those that are sockets are
/// added to `sockets`; of more than `most` descriptors, the rest is not looked at.
pub fn descriptors_of(pid: i32, sockets: &mut Vec<u64>, most: usize) -> Option<u64> {
    let directory = open_to_read(&format!("/proc/{pid}/fd")).ok()?;
    let mut above = 0;
    for (place, entry) in Dir::read_from(&directory).ok()?.enumerate() {
        let entry = entry.ok()?;
        let Some(number) = entry.file_name().to_str().ok().and_then(|name| name.parse::<u64>().ok()) else {
            continue;
        };
        above = above.max(number + 1);
        if place < most {
            sockets.extend(readlinkat(&directory, entry.file_name(), Vec::new()).ok().and_then(socket_of));
        }
    }
    Some(above)
}

/// `socket:[INODE]`
fn socket_of(link: CString) -> Option<u64> {
    link.to_str().ok()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// The process that a thread belongs to, and the program that it runs.
pub fn owner_of_thread(thread: i32) -> (i32, String) {
    let pid = read_text(thread, "status").and_then(|status| number_in(&status, "Tgid:"));
    let pid = pid.unwrap_or(thread);
    (pid, program_of(pid))
}

/// The process that a thread belongs to, and the parent of that.
pub fn group_and_parent(thread: i32) -> Option<(i32, i32)> {
    let status = read_text(thread, "status")?;
    Some((number_in(&status, "Tgid:")?, number_in(&status, "PPid:")?))
}

/// When memory is short, the kernel ends what was forked to serve before those that began with the
/// service, on which all depend, unless one of them has half of the memory more
/// (proc_pid_oom_score_adj(5)). Children inherit it.
pub fn end_rather(pid: i32) {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let file = openat(CWD, format!("/proc/{pid}/oom_score_adj").as_str(), flags, Mode::empty());
    let _ = file.map(|file| write_whole(file, b"500")); // it has ended, or process 1 may not: so be it
}

/// Whether a signal ends the process of a thread: it is neither caught nor ignored.
pub fn ends_by(thread: i32, signal: i32) -> bool {
    let Some(status) = read_text(thread, "status") else { return false };
    let is_in = |name: &str| {
        let mask =
            status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix(name)?.trim(), 16).ok());
        mask.is_none_or(|mask| mask & 1 << (signal - 1) != 0)
    };
    !is_in("SigCgt:") && !is_in("SigIgn:")
}

/// How many seccomp filters are on a thread; None before Linux 5.9.
pub fn filters_of(thread: i32) -> Option<usize> {
    number_in(&read_text(thread, "status")?, "Seccomp_filters:")
}

/// The value of one line of /proc/PID/status. A line break in the process's name is escaped there.
fn number_in<T: core::str::FromStr>(status: &str, name: &str) -> Option<T> {
    status.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

/// Its executable, or else its name in brackets: the link of another user's process can be read
/// only with CAP_SYS_PTRACE.
pub fn program_of(pid: i32) -> String {
    match readlinkat(CWD, format!("/proc/{pid}/exe").as_str(), Vec::new()) {
        Ok(path) => text_of(path.as_bytes()),
        Err(_) => format!("[{}]", read_text(pid, "comm").unwrap_or_default().trim_end()),
    }
}

fn read_text(pid: i32, name: &str) -> Option<String> {
    let file = open_to_read(&format!("/proc/{pid}/{name}")).ok()?;
    Some(text_of(&read_up_to(file, 4096).ok()?))
}

/// True while the kernel still has something to send for a socket whose owner has ended.
pub fn has_unsent_tcp() -> bool {
    ["/proc/net/tcp", "/proc/net/tcp6"].into_iter().any(|path| {
        let table = open_to_read(path).and_then(|file| read_up_to(file, 1 << 20));
        table.is_ok_and(|bytes| text_of(&bytes).lines().skip(1).any(is_unsent))
    })
}

/// One line of proc_net_tcp: number, local, remote, state, unsent:unread.
fn is_unsent(line: &str) -> bool {
    const LISTEN: &str = "0A"; // its queue column counts connections
    const CLOSING_STATES: [&str; 3] = ["04", "09", "0B"]; // FIN_WAIT1, LAST_ACK, CLOSING
    let mut columns = line.split_ascii_whitespace().skip(3);
    let (Some(state), Some(queues)) = (columns.next(), columns.next()) else { return false };
    let unsent = !queues.starts_with("00000000:");
    state != LISTEN && (unsent || CLOSING_STATES.contains(&state))
}
