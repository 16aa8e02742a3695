//! Sockets: their addresses, the listening ones, and descriptors that travel in messages.
use std::mem::{MaybeUninit, size_of};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{FromRawFd, OwnedFd};

use libc::{c_int, pid_t, socklen_t};

use crate::calls::{Rule, Special};
use crate::ptrace::descriptors::{Address, Kind, OpenFile};
use crate::ptrace::files::{HERE, ROLE_BIND, ROLE_CONNECT};
use crate::ptrace::tally::{ListenerKey, Use};
use crate::ptrace::traffic::found_file;
use crate::ptrace::watch::Watch;
use crate::ptrace::{memory, proc, raw};

const AF_UNIX: u64 = libc::AF_UNIX as u64;
const AF_INET: u64 = libc::AF_INET as u64;
const AF_INET6: u64 = libc::AF_INET6 as u64;
/// Of a socket's type; the rest are flags.
const TYPE: u64 = 0xf;
const SUN_PATH: usize = 108;
const MOST_CONTROL: u64 = 4096;
const SCM_RIGHTS: u64 = (libc::SCM_RIGHTS as u64) << 32 | libc::SOL_SOCKET as u64;
const SOMAXCONN: &str = "/proc/sys/net/core/somaxconn";
const TCP_LISTEN: u8 = 10;

impl Watch {
    /// A descriptor of a new open file.
    pub fn note_opened(&mut self, tid: pid_t, number: u64, file: OpenFile) {
        if let Some(thread) = self.threads.get(&tid) {
            self.descriptors.open(thread.table, number as u32, file);
        }
    }

    /// The two descriptors of a pipe or pair of sockets, which lie at `address`.
    pub fn note_pair(&mut self, tid: pid_t, address: u64, kind: Kind) {
        let Some(both) = memory::word(tid, address) else { return };
        for number in [both & 0xffff_ffff, both >> 32] {
            self.raise_descriptors(tid, number as u32);
            self.note_opened(tid, number, OpenFile { kind, ..OpenFile::default() });
        }
    }

    /// The family and port of an address argument are facts, a Unix socket's path is a path.
    pub fn note_address(&mut self, tid: pid_t, rule: &Rule, error: u16) {
        let first = if rule.special == Special::Sendto { 4 } else { 1 };
        let role = if rule.special == Special::Bind { ROLE_BIND } else { ROLE_CONNECT };
        let Some(thread) = self.threads.get(&tid).filter(|thread| thread.args[first] != 0) else { return };
        let (place, address, length) = (thread.place, thread.args[first], thread.args[first + 1]);
        let word = memory::word_or_less(tid, address);
        let family = word & 0xffff;
        let port = match family {
            AF_INET | AF_INET6 => u64::from(u16::from_be((word >> 16) as u16)),
            _ => 0,
        };
        if rule.special != Special::Sendto {
            self.tally.note_fact(place, rule.nr, [family, port, 0], true, error != 0);
        }
        if family == AF_UNIX {
            let how = Use { place, nr: rule.nr as u16, role, created: false, flags: 0, error };
            self.note_unix_path(tid, how, address + 2, length);
        }
    }

    /// The path need not end in NUL: the address's length ends it (unix(7)). An abstract name has one first.
    fn note_unix_path(&mut self, tid: pid_t, how: Use, address: u64, length: u64) {
        let most = (length as usize).saturating_sub(2).min(SUN_PATH);
        let mut path = Vec::new();
        if memory::append_string(tid, address, most, &mut path) {
            self.note_from(tid, how, &path, HERE);
        }
    }

    /// A new connection: a socket like the one that was listened on.
    pub fn note_accepted(&mut self, tid: pid_t, listener: u64, number: u64) {
        let Some(file) = self.file_or_found(tid, listener as u32) else { return };
        let kind = self.descriptors.open_file(file).kind;
        self.note_opened(tid, number, OpenFile { kind, ..OpenFile::default() });
        self.note_listener(tid, listener as u32, None);
    }

    fn file_or_found(&mut self, tid: pid_t, number: u32) -> Option<u32> {
        let table = self.threads.get(&tid)?.table;
        match self.descriptors.file(table, number) {
            Some(file) => Some(file),
            None => Some(self.descriptors.adopt(table, number, found_file(tid, number, 0)?)),
        }
    }

    /// Listening begins with this `backlog`, or, without one, a connection was accepted.
    pub fn note_listener(&mut self, tid: pid_t, number: u32, backlog: Option<u64>) {
        let Some(file) = self.file_or_found(tid, number) else { return };
        let Some(thread) = self.threads.get(&tid) else { return };
        let (place, accepted) = (thread.place, u64::from(backlog.is_none()));
        let Some(socket) = our_copy(thread.process, number) else { return };
        let entry = self.descriptors.open_file(file);
        if entry.listener.is_none() || backlog.is_some() {
            entry.listener = address_of(&socket).map(Box::new);
        }
        let Some(Address { family, kind, port, text }) = entry.listener.as_deref().cloned() else { return };
        let (waiting, allowed) = queue_of(&socket).unwrap_or((0, 0));
        let key = ListenerKey { place, family, kind, port, address: text };
        let counts = self.tally.listeners.entry(key).or_default();
        let backlog = backlog.map_or(allowed, |wanted| wanted.min(most_backlog()));
        counts.backlog = counts.backlog.max(backlog);
        counts.accepted += accepted;
        if waiting + allowed > 0 {
            // What was taken was in the queue before.
            counts.queue_peak = counts.queue_peak.max(waiting + accepted);
        }
    }

    /// Descriptors in a message that was sent (sendmsg) or has arrived (recvmsg): see cmsg(3).
    pub fn note_rights(&mut self, tid: pid_t, message: u64, sent: bool) {
        let Some([control, length]) = memory::bytes::<16>(tid, message + 32).map(words) else { return };
        if control == 0 || length < 20 {
            return;
        }
        let mut bytes = vec![0; length.min(MOST_CONTROL) as usize];
        let got = raw::read_memory(tid, control, &mut bytes);
        bytes.truncate(got);
        for number in rights(&bytes) {
            let Some(table) = self.threads.get(&tid).map(|thread| thread.table) else { return };
            let Some(name) = proc::descriptor(tid, number) else { continue };
            match self.descriptors.file(table, number).filter(|_| sent) {
                Some(file) if name.starts_with(b"socket:[") || name.starts_with(b"pipe:[") => {
                    self.descriptors.send(file, name);
                }
                _ if !sent => self.descriptors.receive(table, number, &name),
                _ => {}
            }
        }
    }
}

fn words(bytes: [u8; 16]) -> [u64; 2] {
    let word = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
    [word(0), word(8)]
}

/// The descriptors in a message's control data.
fn rights(mut control: &[u8]) -> Vec<u32> {
    let mut found = Vec::new();
    while let Some((head, _)) = control.split_first_chunk::<16>() {
        let [length, kind] = words(*head);
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(control.len());
        if kind == SCM_RIGHTS && length > 16 {
            let numbers = control[16..length].chunks_exact(4);
            found.extend(numbers.map(|number| u32::from_ne_bytes(number.try_into().expect("4 bytes"))));
        }
        let next = length.max(16).next_multiple_of(8);
        control = control.get(next..).unwrap_or_default();
    }
    found
}

fn our_copy(process: pid_t, number: u32) -> Option<OwnedFd> {
    // SAFETY: the copy is new, and nobody else's.
    raw::copy_descriptor(process, number).map(|copy| unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Reads a socket's option into a structure of plain numbers.
fn option<T>(socket: &OwnedFd, level: c_int, name: c_int) -> Option<T> {
    use std::os::fd::AsRawFd;
    let (mut value, mut size) = (MaybeUninit::<T>::zeroed(), size_of::<T>() as socklen_t);
    // SAFETY: `value` is writable for `size` bytes, and its type is one of plain numbers.
    let failed =
        unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, value.as_mut_ptr().cast(), &mut size) };
    // SAFETY: all bytes were zeroes, and those that the kernel wrote are numbers.
    (failed == 0).then(|| unsafe { value.assume_init() })
}

/// The family and type of a socket of which nothing is known.
pub fn kind_of(tid: pid_t, number: u32) -> Option<Kind> {
    let socket = our_copy(tid, number)?;
    let family: c_int = option(&socket, libc::SOL_SOCKET, libc::SO_DOMAIN)?;
    let kind: c_int = option(&socket, libc::SOL_SOCKET, libc::SO_TYPE)?;
    Some(Kind::Socket(family as u16, kind as u16))
}

pub fn socket_of(family: u64, kind: u64) -> Kind {
    Kind::Socket(family as u16, (kind & TYPE) as u16)
}

fn address_of(socket: &OwnedFd) -> Option<Address> {
    use std::os::fd::AsRawFd;
    let mut bytes = [0u8; 128];
    let mut size = bytes.len() as socklen_t;
    // SAFETY: `bytes` is writable for `size` bytes.
    let failed = unsafe { libc::getsockname(socket.as_raw_fd(), bytes.as_mut_ptr().cast(), &mut size) };
    if failed != 0 {
        return None;
    }
    let kind: c_int = option(socket, libc::SOL_SOCKET, libc::SO_TYPE)?;
    let family = u16::from_ne_bytes([bytes[0], bytes[1]]);
    let port = u16::from_be_bytes([bytes[2], bytes[3]]);
    let (port, text) = match u64::from(family) {
        AF_UNIX => (0, unix_name(&bytes[2..(size as usize).clamp(2, 2 + SUN_PATH)])),
        AF_INET6 => (port, Ipv6Addr::from(<[u8; 16]>::try_from(&bytes[8..24]).ok()?).to_string()),
        _ => (port, Ipv4Addr::new(bytes[4], bytes[5], bytes[6], bytes[7]).to_string()),
    };
    Some(Address { family, kind: kind as u16, port, text })
}

fn unix_name(path: &[u8]) -> String {
    let until_nul = |bytes: &[u8]| {
        let name = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(name).into_owned()
    };
    match path {
        [0, rest @ ..] => format!("@{}", until_nul(rest)),
        _ => until_nul(path),
    }
}

/// Connections that wait, and how many may; TCP alone tells (tcp(7), TCP_INFO of a listening socket).
fn queue_of(socket: &OwnedFd) -> Option<(u64, u64)> {
    let info: libc::tcp_info = option(socket, libc::IPPROTO_TCP, libc::TCP_INFO)?;
    (info.tcpi_state == TCP_LISTEN).then(|| (u64::from(info.tcpi_unacked), u64::from(info.tcpi_sacked)))
}

/// What the kernel makes of a longer queue, or of a negative one (listen(2)).
fn most_backlog() -> u64 {
    std::fs::read_to_string(SOMAXCONN).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use super::rights;

    #[test]
    fn rights_among_other_control_data() {
        let mut control = Vec::new();
        for (length, level, kind, body) in [(20u64, 1u32, 2u32, vec![9u32, 0]), (24, 1, 1, vec![5, 7])] {
            control.extend(length.to_ne_bytes());
            control.extend(level.to_ne_bytes());
            control.extend(kind.to_ne_bytes());
            body.iter().for_each(|word| control.extend(word.to_ne_bytes()));
        }
        assert_eq!(rights(&control), [5, 7]);
        assert_eq!(rights(&[255; 40]), [0u32; 0]);
        assert_eq!(rights(&control[..30]), [0u32; 0]);
    }
}
