//! The maps' keys and values as shared.h lays them out, turned into Rust values.

pub const CALLS: usize = 512;
/// The head of a file key, before the path.
const FILE_HEAD: usize = 16;
/// `struct thread` of shared.h: what a watched thread starts with is all zeroes.
pub const THREAD_SIZE: usize = 136;
/// `struct tallied` of shared.h: three sums, its place in `tallies` (from 1), the caller's object.
pub const TALLIED_SIZE: usize = 32;
pub const PLACE: usize = 24;
pub const OBJECT: usize = 28;
/// Where `struct thread` has `chosen`.
pub const CHOSEN: usize = 20;
/// `struct seeded` of seed.h: process, program, slot.
pub const SEEDED_SIZE: usize = 16;
pub const NO_SLOT: u32 = u32::MAX;

/// `enum stage`.
pub const STAGE_WORKER: u32 = 1;
pub const STAGE_SETTLED: u32 = 2;
pub const STAGE_EXEC: u32 = 4;

/// How a file was used, in shared.h's order; the roles behind these only name things.
pub const ROLES: [&str; 7] = ["path", "from", "to", "exec", "map", "bind", "connect"];
pub const ROLE_PROGRAM: u8 = 7;
pub const ROLE_OBJECT: u8 = 8;
pub const ROLE_FILESYSTEM: u8 = 9;

/// Facts that are no call's arguments.
pub const FACT_CAPABILITY: u32 = 512;
pub const FACT_IDENTITY: u32 = 513;
pub const FACT_START: u32 = 514;
pub const STARTED_PROGRAM: u64 = 2;
pub const STARTS: [&str; 3] = ["thread", "fork", "exec"];

pub const NO_OBJECT: u32 = u32::MAX;
/// `enum object_kind`.
pub const OBJECT_FILE: u32 = 0;
pub const OBJECT_SOCKET: u32 = 1;
pub const OBJECT_PIPE: u32 = 2;

pub fn u16_at(bytes: &[u8], offset: usize) -> u16 {
    u16::from_ne_bytes([bytes[offset], bytes[offset + 1]])
}

pub fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from(u16_at(bytes, offset)) | u32::from(u16_at(bytes, offset + 2)) << 16
}

pub fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from(u32_at(bytes, offset)) | u64::from(u32_at(bytes, offset + 4)) << 32
}

/// The three sums of a tally.
pub fn words_at(bytes: &[u8]) -> [u64; 3] {
    [0, 8, 16].map(|offset| u64_at(bytes, offset))
}

/// `struct file_key`, its path absolute.
pub struct FileKey {
    pub slot: u32,
    pub nr: u16,
    pub role: u8,
    pub created: bool,
    pub flags: u32,
    pub error: u16,
    pub path: Vec<u8>,
}

impl FileKey {
    pub fn parse(bytes: &[u8]) -> Self {
        FileKey {
            slot: u32_at(bytes, 0),
            nr: u16_at(bytes, 4),
            role: bytes[6],
            created: bytes[7] != 0,
            flags: u32_at(bytes, 8),
            error: u16_at(bytes, 12),
            path: absolute_path(&bytes[FILE_HEAD..], usize::from(u16_at(bytes, 14))),
        }
    }
}

/// The map and key of an absolute path; none for one that is longer than paths can be.
pub fn file_key(slot: u32, nr: u16, role: u8, flags: u32, path: &[u8]) -> Option<(&'static str, Vec<u8>)> {
    let mut key = Vec::with_capacity(FILE_HEAD + path.len());
    key.extend(slot.to_ne_bytes());
    key.extend(nr.to_ne_bytes());
    key.extend([role, 0]);
    key.extend(flags.to_ne_bytes());
    key.extend([0; 4]); // no error, no base
    key.extend(path);
    let maps = [("short_files", 128), ("medium_files", 512), ("long_files", 8064)];
    let (name, size) = maps.into_iter().find(|(_, size)| key.len() < *size)?; // with room for a NUL
    key.resize(size, 0);
    Some((name, key))
}

pub fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Puts the folders that a relative path starts from (from `base` on, innermost first) before it.
fn absolute_path(text: &[u8], base: usize) -> Vec<u8> {
    let given = until_nul(text);
    if base == 0 {
        return given.to_vec();
    }
    let folders: Vec<&[u8]> =
        text[base..].split(|byte| *byte == 0).take_while(|name| !name.is_empty()).collect();
    let mut path = Vec::new();
    for name in folders.iter().rev().copied().chain((!given.is_empty()).then_some(given)) {
        path.push(b'/');
        path.extend_from_slice(name);
    }
    if path.is_empty() {
        path.push(b'/');
    }
    path
}

/// `struct totals`: all words of 8 bytes.
#[derive(Debug, Default)]
pub struct Totals {
    pub processes: u64,
    pub threads: u64,
    pub sockets: u64,
    pub pipes: u64,
    pub descriptors: u64,
    pub lost_events: u64,
    pub lost_threads: u64,
    pub lost_files: u64,
    pub lost_facts: u64,
    pub lost_errors: u64,
    pub lost_sockets: u64,
    pub lost_truncated: u64,
    pub lost_unreadable: u64,
    pub lost_foreign: u64,
}

impl Totals {
    pub const SIZE: usize = 24 * 8;

    pub fn parse(bytes: &[u8]) -> Self {
        let word = |index: usize| u64_at(bytes, index * 8);
        Totals {
            processes: word(10),
            threads: word(11),
            sockets: word(12),
            pipes: word(13).div_ceil(2), // a pipe has two ends
            descriptors: word(14),
            lost_events: word(15),
            lost_threads: word(16),
            lost_files: word(17),
            lost_facts: word(18),
            lost_errors: word(19),
            lost_sockets: word(20),
            lost_truncated: word(21),
            lost_unreadable: word(22),
            lost_foreign: word(23),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::absolute_path;

    #[test]
    fn relative_paths_are_completed_from_their_folders() {
        assert_eq!(absolute_path(b"/etc/x\0\0", 0), b"/etc/x");
        assert_eq!(absolute_path(b"a/b\0srv\0var\0\0", 4), b"/var/srv/a/b");
        assert_eq!(absolute_path(b"\0lib\0usr\0\0", 1), b"/usr/lib");
        assert_eq!(absolute_path(b"\0\0\0", 1), b"/");
    }
}
