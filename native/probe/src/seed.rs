//! Takes processes that already run into the watch, with what they hold; seed.h does the kernel's part.
//!
//! What a process held before is written down once for each program, as if it had just come by: its
//! program as executed, its mappings as mapped, its open files as opened with the flags they have.
use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::control::Control;
use crate::failure::Failure;
use crate::layout::{self, u32_at};

type Result<T> = std::result::Result<T, Failure>;

const NR_MMAP: u16 = 9;
const NR_EXECVE: u16 = 59;
const NR_OPENAT: u16 = 257;
/// Marking may fail for a moment, and forks go on meanwhile; more passes than this are a fault of ours.
const PASSES: usize = 1000;

/// One way in which a file was used: the call, the role, the call's flags, the path.
type Held = (u16, &'static str, u32, Vec<u8>);

/// Watches the processes of `pidfds` and all their descendants, from now on. `pidfds` is asked before
/// each pass, because the answer may change.
pub fn seed(control: &mut Control, pidfds: impl Fn() -> Result<Vec<OwnedFd>>) -> Result<()> {
    for _ in 0..PASSES {
        for pidfd in pidfds()? {
            control.choose(pidfd.as_fd())?;
        }
        // While an iterator makes a thread's storage, a fork on that processor cannot.
        let lost = control.totals()?.lost_threads;
        let records = control.iterate("seed_thread")?;
        if records.is_empty() && control.totals()?.lost_threads == lost {
            control.iterate("seed_file")?;
            return Ok(());
        }
        let seeded: BTreeSet<&[u8]> = records.chunks_exact(layout::SEEDED_SIZE).collect();
        for thread in seeded.into_iter().filter(|thread| u32_at(thread, 8) != layout::NO_SLOT) {
            note_held(control, u32_at(thread, 0), u32_at(thread, 4), u32_at(thread, 8))?;
        }
    }
    Err(Failure::new("new threads appear faster than they can be watched", "try again when less is started"))
}

fn note_held(control: &mut Control, pid: u32, program: u32, slot: u32) -> Result<()> {
    let folder = format!("/proc/{pid}");
    let root = fs::read_link(format!("{folder}/root")).unwrap_or_default();
    let inside = |path: Vec<u8>| as_seen(&path, root.as_os_str().as_bytes());
    if let Some(path) = executable(&folder).and_then(&inside) {
        control.put_file(slot, 0, layout::ROLE_PROGRAM, program, &path)?;
    }
    for (nr, role, flags, path) in held(&folder) {
        let role = layout::ROLES.iter().position(|name| *name == role).expect("one of them") as u8;
        if let Some(path) = inside(path) {
            control.put_file(slot, nr, role, flags, &path)?;
        }
    }
    Ok(())
}

/// All that a process holds; nothing of one that is gone.
fn held(folder: &str) -> BTreeSet<Held> {
    let maps = fs::read(format!("{folder}/maps")).unwrap_or_default();
    let mapped = maps.split(|byte| *byte == b'\n').filter_map(mapping);
    let opened = fs::read_dir(format!("{folder}/fd")).into_iter().flatten().flatten();
    let opened = opened.filter_map(|entry| open_file(folder, &entry.path()));
    let executed = executable(folder).map(|path| (NR_EXECVE, "exec", 0, path));
    mapped.chain(opened).chain(executed).collect()
}

fn executable(folder: &str) -> Option<Vec<u8>> {
    Some(fs::read_link(format!("{folder}/exe")).ok()?.as_os_str().as_bytes().to_vec())
}

/// A line of /proc/PID/maps: range, permissions, offset, device, inode, path (proc(5)).
fn mapping(line: &[u8]) -> Option<Held> {
    let mut words = line.splitn(2, |byte| *byte == b' ').skip(1);
    let permissions = words.next()?;
    let path = &line[line.iter().position(|byte| *byte == b'/')?..];
    let protection = (0..3).filter(|bit| permissions.get(*bit).is_some_and(|letter| *letter != b'-'));
    Some((NR_MMAP, "map", protection.map(|bit| 1 << bit).sum(), path.to_vec()))
}

fn open_file(folder: &str, descriptor: &Path) -> Option<Held> {
    let path = fs::read_link(descriptor).ok()?.as_os_str().as_bytes().to_vec();
    let number = descriptor.file_name()?.to_str()?;
    let info = fs::read_to_string(format!("{folder}/fdinfo/{number}")).ok()?;
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
    Some((NR_OPENAT, "path", u32::from_str_radix(flags.trim(), 8).ok()?, path))
}

/// A path as the process with this root sees it; none for what has no name (a socket, a deleted file).
pub fn as_seen(path: &[u8], root: &[u8]) -> Option<Vec<u8>> {
    if !path.starts_with(b"/") || path.ends_with(b" (deleted)") {
        return None;
    }
    match path.strip_prefix(root) {
        Some(b"") => Some(b"/".to_vec()),
        Some(rest) if rest.starts_with(b"/") => Some(rest.to_vec()),
        _ => Some(path.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::{as_seen, mapping};

    #[test]
    fn mappings_are_read_with_their_protection() {
        let line = b"7f00-7f01 r-xp 00001000 08:01 123                  /usr/lib/a b.so";
        assert_eq!(mapping(line), Some((9, "map", 5, b"/usr/lib/a b.so".to_vec())));
        assert_eq!(mapping(b"7f00-7f01 rw-p 00000000 00:00 0   [heap]"), None);
    }

    #[test]
    fn paths_are_as_the_process_sees_them() {
        assert_eq!(as_seen(b"/srv/x/bin/y", b"/srv/x"), Some(b"/bin/y".to_vec()));
        assert_eq!(as_seen(b"/srv/xy", b"/srv/x"), Some(b"/srv/xy".to_vec()));
        assert_eq!(as_seen(b"/srv/xy", b"/"), Some(b"/srv/xy".to_vec()));
        assert_eq!(as_seen(b"/gone (deleted)", b"/"), None);
        assert_eq!(as_seen(b"socket:[1]", b"/"), None);
    }
}
