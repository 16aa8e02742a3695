//! A core file, as debuggers read it (core(5), elf(5), struct elf_prstatus of linux/elfcore.h), of a
//! process whose threads have stopped. The kernel's own would take its settings from the host in a
//! container, and in a guest would be written with the service's rights.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use rustix::fd::OwnedFd;
use rustix::fs::ftruncate;
use rustix::io::{Result, pread, pwrite};

use crate::files::{open_to_read, read_up_to, text_of};
use crate::ptrace;

const PAGE: u64 = 4096;
/// Read at once, and left out where no page of it is there.
const CHUNK: u64 = 16 * PAGE;
const MOST_TEXT: usize = 1 << 20;
/// Larger mappings are reservations of addresses, not memory.
const MOST_SEGMENT: u64 = 1 << 36;
const ELF_HEADER: u64 = 64;
const PROGRAM_HEADER: u64 = 56;
const NOTE: u32 = 4; // PT_NOTE
const LOAD: u32 = 1; // PT_LOAD
// Kinds of notes (linux/elf.h).
const STATUS: u32 = 1;
const FLOATING: u32 = 2;
const AUXILIARY: u32 = 6;
const SIGNAL: u32 = 0x5349_4749;
const FILES: u32 = 0x4649_4c45;
/// Bits 63 and 62 of an entry of /proc/PID/pagemap: the page is in memory, or swapped.
const IS_THERE: u64 = 3 << 62;

pub struct Written {
    /// Of memory; holes do not count.
    pub bytes: u64,
    /// False where there was more than might be written.
    pub whole: bool,
}

struct Segment {
    start: u64,
    size: u64,
    flags: u32,
    /// How much of it is in the file; the rest is in the program's own file.
    kept: u64,
    at: u64,
    /// The offset and the path of the file that is mapped.
    file: Option<(u64, String)>,
}

/// Write the core of the process `pid`, of whose `threads` the first one got `signal`: at most `most`
/// bytes of memory, small mappings (stacks among them) first.
pub fn write(file: &OwnedFd, pid: i32, signal: i32, threads: &[i32], most: u64) -> Result<Written> {
    let maps = read_up_to(open_to_read(&format!("/proc/{pid}/maps"))?, MOST_TEXT)?;
    let mut segments: Vec<Segment> = text_of(&maps).lines().filter_map(Segment::parse).collect();
    segments.truncate(60_000); // their number has 16 bits
    let notes = notes_of(pid, signal, threads, &segments)?;
    let notes_at = ELF_HEADER + PROGRAM_HEADER * (segments.len() as u64 + 1);
    let mut end = (notes_at + notes.len() as u64).next_multiple_of(PAGE);
    for segment in &mut segments {
        segment.at = end;
        end += segment.kept;
    }
    let mut head = elf_header(segments.len() + 1);
    program_header(&mut head, NOTE, 0, [notes_at, 0, notes.len() as u64, 0]);
    for segment in &segments {
        program_header(
            &mut head,
            LOAD,
            segment.flags,
            [segment.at, segment.start, segment.kept, segment.size],
        );
    }
    head.extend(notes);
    put(file, &head, 0)?;
    ftruncate(file, end)?;
    copy_memory(file, pid, &mut segments, most)
}

fn copy_memory(file: &OwnedFd, pid: i32, segments: &mut [Segment], most: u64) -> Result<Written> {
    let memory = open_to_read(&format!("/proc/{pid}/mem"))?;
    let pages = open_to_read(&format!("/proc/{pid}/pagemap")).ok();
    segments.sort_by_key(|segment| segment.kept);
    let mut buffer = vec![0; CHUNK as usize];
    let mut bytes = 0;
    for segment in segments.iter() {
        for from in (0..segment.kept).step_by(CHUNK as usize) {
            let size = (segment.kept - from).min(CHUNK) as usize;
            let address = segment.start + from;
            if segment.kept > PAGE && !is_any_there(pages.as_ref(), address, size) {
                continue;
            }
            let Ok(count) = pread(&memory, &mut buffer[..size], address) else { continue }; // gone, or a device's
            for (place, page) in buffer[..count].chunks(PAGE as usize).enumerate() {
                if page.iter().all(|byte| *byte == 0) {
                    continue;
                }
                if bytes >= most {
                    return Ok(Written { bytes, whole: false });
                }
                put(file, page, segment.at + from + place as u64 * PAGE)?;
                bytes += page.len() as u64;
            }
        }
    }
    Ok(Written { bytes, whole: true })
}

/// Whether any page of a range is in memory; true where the kernel does not tell.
fn is_any_there(pages: Option<&OwnedFd>, address: u64, size: usize) -> bool {
    let mut entries = [0; 8 * (CHUNK / PAGE) as usize];
    let wanted = size.div_ceil(PAGE as usize) * 8;
    let read = pages.and_then(|pages| pread(pages, &mut entries[..wanted], address / PAGE * 8).ok());
    let (words, _) = entries[..read.unwrap_or(0)].as_chunks();
    words.is_empty() || words.iter().any(|word| u64::from_ne_bytes(*word) & IS_THERE != 0)
}

fn put(file: &OwnedFd, mut bytes: &[u8], mut at: u64) -> Result<()> {
    while !bytes.is_empty() {
        let count = pwrite(file, bytes, at)?;
        bytes = &bytes[count..];
        at += count as u64;
    }
    Ok(())
}

impl Segment {
    /// Of a line of /proc/PID/maps (proc_pid_maps(5)); None for what cannot be read, or is the kernel's.
    /// As core(5) has it by default: what is the process's own, and the first page of each file.
    fn parse(line: &str) -> Option<Segment> {
        let mut words = line.split_ascii_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let rights @ &[b'r', writable, _, kind] = words.next()?.as_bytes() else { return None };
        let number = |text: &str| u64::from_str_radix(text, 16).ok();
        let (start, end, offset) = (number(start)?, number(end)?, number(words.next()?)?);
        let inode = words.nth(1)?;
        let path = line.find(['/', '[']).map_or("", |place| &line[place..]);
        if path.starts_with("[vvar") || path == "[vsyscall]" || end - start > MOST_SEGMENT {
            return None;
        }
        let flags = [(b'r', 4), (b'w', 2), (b'x', 1)];
        let has_file = inode != "0";
        let is_own = match kind {
            b's' => path.starts_with("/dev/zero") || path.starts_with("/SYSV"),
            _ => writable == b'w' || !has_file,
        };
        let kept = match (is_own, has_file && offset == 0) {
            (true, _) => end - start,
            (false, true) => PAGE,
            (false, false) => 0,
        };
        Some(Segment {
            start,
            size: end - start,
            flags: flags.iter().filter(|(letter, _)| rights.contains(letter)).map(|(_, flag)| flag).sum(),
            kept,
            at: 0,
            file: has_file.then(|| (offset, path.into())),
        })
    }
}

fn elf_header(segments: usize) -> Vec<u8> {
    let mut head = Vec::from(*b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    head.extend([4, 0, 62, 0, 1, 0, 0, 0]); // ET_CORE, EM_X86_64, EV_CURRENT
    for word in [0, ELF_HEADER, 0] {
        head.extend(u64::to_le_bytes(word));
    }
    head.extend([0; 4]);
    for half in [ELF_HEADER as u16, PROGRAM_HEADER as u16, segments as u16, 0, 0, 0] {
        head.extend(half.to_le_bytes());
    }
    head
}

/// `words`: the place in the file, the address, the size in the file and in memory.
fn program_header(head: &mut Vec<u8>, kind: u32, flags: u32, words: [u64; 4]) {
    let [at, address, kept, size] = words;
    head.extend(kind.to_le_bytes());
    head.extend(flags.to_le_bytes());
    for word in [at, address, 0, kept, size, if kind == LOAD { PAGE } else { 4 }] {
        head.extend(word.to_le_bytes());
    }
}

fn notes_of(pid: i32, signal: i32, threads: &[i32], segments: &[Segment]) -> Result<Vec<u8>> {
    let mut notes = Vec::new();
    for (place, tid) in threads.iter().enumerate() {
        let Ok(registers) = ptrace::registers(*tid) else { continue };
        add_note(&mut notes, STATUS, &status_of(*tid, signal, &registers));
        if place == 0 {
            add_note(&mut notes, SIGNAL, &bytes_of(&ptrace::signal_information(*tid)?));
            let auxiliary =
                open_to_read(&format!("/proc/{pid}/auxv")).and_then(|file| read_up_to(file, 4096));
            add_note(&mut notes, AUXILIARY, &auxiliary.unwrap_or_default());
            add_note(&mut notes, FILES, &files_of(segments));
        }
        if let Ok(floating) = ptrace::floating_registers(*tid) {
            add_note(&mut notes, FLOATING, &bytes_of(&floating));
        }
    }
    Ok(notes)
}

/// struct elf_prstatus: signal, numbers of the process, times (none), registers.
fn status_of(tid: i32, signal: i32, registers: &ptrace::Registers) -> Vec<u8> {
    let mut status = Vec::from(signal.to_le_bytes());
    status.extend([0; 8]);
    status.extend((signal as u64).to_le_bytes()); // the short one, and what fills the word
    status.truncate(16);
    status.extend([0; 16]);
    status.extend(tid.to_le_bytes());
    status.extend([0; 12 + 64]);
    status.extend(bytes_of(registers));
    status.extend([1, 0, 0, 0, 0, 0, 0, 0]); // floating point registers follow
    status
}

/// Which files were mapped where: count, page size, ranges (offsets in pages), then the paths.
fn files_of(segments: &[Segment]) -> Vec<u8> {
    let files = || segments.iter().filter_map(|segment| segment.file.as_ref().map(|file| (segment, file)));
    let mut words = vec![files().count() as u64, PAGE];
    for (segment, (offset, _)) in files() {
        words.extend([segment.start, segment.start + segment.size, offset / PAGE]);
    }
    let mut bytes = bytes_of(&words);
    for (_, (_, path)) in files() {
        bytes.extend(path.as_bytes());
        bytes.push(0);
    }
    bytes
}

fn add_note(notes: &mut Vec<u8>, kind: u32, content: &[u8]) {
    for word in [5, content.len() as u32, kind] {
        notes.extend(word.to_le_bytes());
    }
    notes.extend(*b"CORE\0\0\0\0");
    notes.extend(content);
    notes.resize(notes.len().next_multiple_of(4), 0);
}

fn bytes_of(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}
