//! What /proc says of a watched thread (proc(5)); of one that is gone, nothing.
use std::collections::HashSet;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use libc::pid_t;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::Mode;

use crate::seed::as_seen;

const AT_EXECFN: u64 = 31; // linux/auxvec.h
const DELETED: &[u8] = b" (deleted)";

/// What a link of /proc/TID points to: `exe`, `cwd`, `fd/3`.
pub fn link(tid: pid_t, name: &str) -> Option<Vec<u8>> {
    Some(fs::read_link(format!("/proc/{tid}/{name}")).ok()?.into_os_string().into_vec())
}

pub fn descriptor(tid: pid_t, number: u32) -> Option<Vec<u8>> {
    link(tid, &format!("fd/{number}"))
}

/// Whether a watched process may have another root than we.
static OTHER_ROOTS: AtomicBool = AtomicBool::new(false);

/// A process is watched from now on, or has changed its root or its mounts: it may see others than we.
pub fn note_root(tid: pid_t) {
    if link(tid, "root").as_deref() != Some(b"/") {
        OTHER_ROOTS.store(true, Ordering::Relaxed);
    }
}

/// A path as the thread sees it; none where it has no name.
pub fn seen_by(tid: pid_t, path: &[u8]) -> Option<Vec<u8>> {
    match OTHER_ROOTS.load(Ordering::Relaxed) {
        true => as_seen(path, &link(tid, "root").unwrap_or_default()),
        false => as_seen(path, b"/"),
    }
}

/// A folder as the thread sees it, also one that was removed.
pub fn folder(tid: pid_t, name: &str) -> Option<Vec<u8>> {
    let path = link(tid, name)?;
    seen_by(tid, path.strip_suffix(DELETED).unwrap_or(&path))
}

/// Whether the thread would find a file, relative to a descriptor of its own.
pub fn exists(tid: pid_t, folder: i32, path: &[u8]) -> bool {
    let inside = |base: String| Path::new(&base).join(std::ffi::OsStr::from_bytes(path)).exists();
    match path.strip_prefix(b"/") {
        Some(rest) => exists_in_root(tid, rest),
        None if folder == libc::AT_FDCWD => inside(format!("/proc/{tid}/cwd")),
        None => inside(format!("/proc/{tid}/fd/{folder}")),
    }
}

/// Symbolic links of a thread with another root lead nowhere else than into that.
fn exists_in_root(tid: pid_t, path: &[u8]) -> bool {
    let folder = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let Ok(root) = open(format!("/proc/{tid}/root").as_str(), folder, Mode::empty()) else { return false };
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_IN_ROOT);
    !matches!(openat2(root, path, how), Err(Errno::ENOENT | Errno::ENOTDIR))
}

/// Effective user, effective group, and whether no_new_privs is set.
pub fn identity(tid: pid_t) -> Option<(u64, u64, bool)> {
    let text = fs::read_to_string(format!("/proc/{tid}/status")).ok()?;
    let word = |name: &str, index| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line?.split_ascii_whitespace().nth(index)?.parse::<u64>().ok()
    };
    Some((word("Uid:", 1)?, word("Gid:", 1)?, word("NoNewPrivs:", 0)? != 0))
}

/// The process that a thread is of, and that one's parent.
pub fn process_and_parent(tid: pid_t) -> Option<(pid_t, pid_t)> {
    let text = fs::read_to_string(format!("/proc/{tid}/status")).ok()?;
    let number = |name| text.lines().find_map(|line: &str| line.strip_prefix(name))?.trim().parse().ok();
    Some((number("Tgid:")?, number("PPid:")?))
}

/// Where the name lies that the last exec was given.
pub fn executed_name(pid: pid_t) -> Option<u64> {
    let auxv = fs::read(format!("/proc/{pid}/auxv")).ok()?;
    let word = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().expect("8 bytes"));
    let mut entries = auxv.chunks_exact(16).map(|entry| (word(&entry[..8]), word(&entry[8..])));
    entries.find(|(kind, _)| *kind == AT_EXECFN).map(|(_, value)| value)
}

/// The interpreter that a script names in its first line, as the thread sees the script.
pub fn interpreter(tid: pid_t, script: &[u8]) -> Option<Vec<u8>> {
    use std::io::Read;
    let inside = Path::new(std::ffi::OsStr::from_bytes(script.strip_prefix(b"/")?));
    let file = fs::File::open(Path::new(&format!("/proc/{tid}/root")).join(inside)).ok()?;
    let mut head = Vec::new();
    file.take(256).read_to_end(&mut head).ok()?; // BINPRM_BUF_SIZE, linux/binfmts.h
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let mut words = line.split(|byte| matches!(byte, b' ' | b'\t' | 0)).filter(|word| !word.is_empty());
    words.next().map(<[u8]>::to_vec)
}

/// The numbers of all open descriptors.
pub fn descriptors(pid: pid_t) -> HashSet<u32> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Position, open flags and mount of an open file.
pub struct FileInfo {
    pub position: u64,
    pub flags: u32,
    pub mount: u64,
}

pub fn file_info(tid: pid_t, number: u32) -> Option<FileInfo> {
    let text = fs::read_to_string(format!("/proc/{tid}/fdinfo/{number}")).ok()?;
    let word = |name| text.lines().find_map(|line: &str| line.strip_prefix(name)).map(str::trim);
    Some(FileInfo {
        position: word("pos:")?.parse().ok()?,
        flags: u32::from_str_radix(word("flags:")?, 8).ok()?,
        mount: word("mnt_id:")?.parse().ok()?,
    })
}

/// The type of the file system of a mount; none for one that has no place among the mounts.
pub fn file_system(tid: pid_t, mount: u64) -> Option<String> {
    let text = fs::read(format!("/proc/{tid}/mountinfo")).ok()?;
    let text = String::from_utf8_lossy(&text);
    let is_it = |line: &&str| line.split(' ').next().and_then(|word| word.parse().ok()) == Some(mount);
    let (_, behind) = text.lines().find(is_it)?.split_once(" - ")?;
    behind.split(' ').next().map(String::from)
}

pub fn is_regular(tid: pid_t, number: u32) -> bool {
    fs::metadata(format!("/proc/{tid}/fd/{number}")).is_ok_and(|facts| facts.is_file())
}

/// A range of addresses that may be executed, and the file that is mapped there.
pub struct Mapping {
    pub start: u64,
    pub end: u64,
    pub path: Vec<u8>,
}

pub fn executable_mappings(tid: pid_t) -> Vec<Mapping> {
    let text = fs::read(format!("/proc/{tid}/maps")).unwrap_or_default();
    text.split(|byte| *byte == b'\n').filter_map(mapping).collect()
}

fn mapping(line: &[u8]) -> Option<Mapping> {
    let mut words = line.splitn(3, |byte| *byte == b' ');
    let (range, permissions) = (std::str::from_utf8(words.next()?).ok()?, words.next()?);
    if permissions.get(2) != Some(&b'x') {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    let path = &line[line.iter().position(|byte| *byte == b'/')?..];
    let number = |text| u64::from_str_radix(text, 16).ok();
    Some(Mapping { start: number(start)?, end: number(end)?, path: path.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::mapping;

    #[test]
    fn only_files_that_may_be_executed_are_mappings() {
        let found = mapping(b"7f00-7f01 r-xp 00001000 08:01 123      /usr/lib/a b.so").unwrap();
        assert_eq!((found.start, found.end, &found.path[..]), (0x7f00, 0x7f01, &b"/usr/lib/a b.so"[..]));
        assert!(mapping(b"7f00-7f01 r--p 00001000 08:01 123      /usr/lib/a.so").is_none());
        assert!(mapping(b"7f00-7f01 r-xp 00000000 00:00 0        [vdso]").is_none());
    }
}
