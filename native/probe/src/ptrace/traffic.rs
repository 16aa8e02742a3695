//! What goes through descriptors: operations, bytes and jumps, by the object behind the descriptor.
use libc::pid_t;

use crate::calls::{MOVES_AT, MOVES_BYTES, MOVES_ON, Rule};
use crate::ptrace::descriptors::{Kind, OpenFile};
use crate::ptrace::proc;
use crate::ptrace::sockets;
use crate::ptrace::tally::Object;
use crate::ptrace::watch::Watch;

const NR_SENDFILE: u32 = 40;
const NR_SPLICE: u32 = 275;
const NR_COPY_FILE_RANGE: u32 = 326;
const NR_PREADV2: u32 = 327;
const NR_PWRITEV2: u32 = 328;
const O_APPEND: u32 = 0o2000;
const NO_NAME: &str = "(no name)";

impl Watch {
    /// What a call that succeeded moved through its descriptors.
    pub fn note_moves(&mut self, tid: pid_t, rule: &Rule, result: u64) {
        let Some(args) = self.threads.get(&tid).map(|thread| thread.args) else { return };
        self.note_traffic(tid, rule.nr, args[0] as u32, rule.moves, result);
        if rule.second >= 0 {
            let second = args[rule.second as usize] as u32;
            self.note_traffic(tid, rule.nr, second, rule.moves & !(MOVES_ON | MOVES_AT), result);
        }
        match rule.nr {
            NR_SENDFILE => {
                self.advance(tid, args[0], result);
                self.advance_if(args[2] == 0, tid, args[1], result);
            }
            NR_SPLICE | NR_COPY_FILE_RANGE => {
                self.advance_if(args[1] == 0, tid, args[0], result);
                self.advance_if(args[3] == 0, tid, args[2], result);
            }
            NR_PREADV2 | NR_PWRITEV2 => self.advance_if(args[3] == u64::MAX, tid, args[0], result),
            _ => {}
        }
    }

    fn advance_if(&mut self, moved: bool, tid: pid_t, descriptor: u64, bytes: u64) {
        if moved {
            self.advance(tid, descriptor, bytes);
        }
    }

    fn advance(&mut self, tid: pid_t, descriptor: u64, bytes: u64) {
        if let Some(file) = self.known_file(tid, descriptor as u32) {
            self.descriptors.open_file(file).position += bytes;
        }
    }

    pub fn known_file(&self, tid: pid_t, descriptor: u32) -> Option<u32> {
        self.descriptors.file(self.threads.get(&tid)?.table, descriptor)
    }

    pub fn note_traffic(&mut self, tid: pid_t, nr: u32, descriptor: u32, moves: u8, result: u64) {
        let Some(thread) = self.threads.get(&tid) else { return };
        let (place, table) = (thread.place, thread.table);
        let file = match self.descriptors.file(table, descriptor) {
            Some(file) => file,
            None => match found_file(tid, descriptor, if moves & MOVES_ON != 0 { result } else { 0 }) {
                Some(file) => self.descriptors.adopt(table, descriptor, file),
                None => return,
            },
        };
        let offset = self.threads.get(&tid).map_or(0, |thread| thread.args[3]);
        let object = match self.descriptors.open_file(file).object {
            Some(object) => object,
            None => match self.learn_object(tid, descriptor, file) {
                Some(object) => object,
                None => return,
            },
        };
        let jumped = jumps(self.descriptors.open_file(file), moves, offset, result);
        let bytes = if moves & MOVES_BYTES != 0 { result } else { 0 };
        self.tally.note_traffic(place, nr, object, bytes, jumped);
    }

    /// Finds out what is behind a descriptor, once for each open file.
    fn learn_object(&mut self, tid: pid_t, descriptor: u32, file: u32) -> Option<u32> {
        let object = match self.descriptors.open_file(file).kind {
            Kind::Pipe => self.tally.object(b"pipe", || plain("pipe", "pipe")),
            Kind::Socket(family, kind) => {
                let name = format!("socket:{family}/{kind}");
                self.tally.object(name.as_bytes(), || plain(&name, &format!("socket:{family}")))
            }
            Kind::Other => self.learn_file(tid, descriptor)?,
        };
        let regular = self.tally.objects[object as usize].regular;
        let file = self.descriptors.open_file(file);
        file.object = Some(object);
        file.regular = regular;
        Some(object)
    }

    fn learn_file(&mut self, tid: pid_t, descriptor: u32) -> Option<u32> {
        let link = proc::descriptor(tid, descriptor)?;
        if link.starts_with(b"anon_inode:") {
            let name = String::from_utf8_lossy(&link).into_owned();
            return Some(self.tally.object(&link, || plain(&name, "anon_inode")));
        }
        let regular = || proc::is_regular(tid, descriptor);
        if let Some(path) = proc::seen_by(tid, &link) {
            return Some(self.tally.object(&path, || Object {
                name: String::from_utf8_lossy(&path).into_owned(),
                component: component(tid, descriptor),
                regular: regular(),
            }));
        }
        // Deleted, or in memory: one object for each component.
        let component =
            if link.starts_with(b"/memfd:") { "tmpfs".into() } else { component(tid, descriptor) };
        let regular = regular();
        let key = format!("{NO_NAME}{component}{regular}");
        Some(self.tally.object(key.as_bytes(), || Object { name: NO_NAME.into(), component, regular }))
    }
}

fn plain(name: &str, component: &str) -> Object {
    Object { name: name.into(), component: component.into(), regular: false }
}

/// The file system of an open file, by the mount that it was opened through.
fn component(tid: pid_t, descriptor: u32) -> String {
    let info = proc::file_info(tid, descriptor);
    info.and_then(|info| proc::file_system(tid, info.mount)).unwrap_or_default()
}

/// An open file that was not seen to be opened; `moved`: bytes since it was first used.
pub fn found_file(tid: pid_t, descriptor: u32, moved: u64) -> Option<OpenFile> {
    let link = proc::descriptor(tid, descriptor)?;
    let kind = match &link[..] {
        name if name.starts_with(b"socket:[") => sockets::kind_of(tid, descriptor)?,
        name if name.starts_with(b"pipe:[") => Kind::Pipe,
        _ => Kind::Other,
    };
    let info = proc::file_info(tid, descriptor)?;
    let (append, position) = (info.flags & O_APPEND != 0, info.position.saturating_sub(moved));
    Some(OpenFile { kind, append, position, ..OpenFile::default() })
}

/// Whether a transfer starts elsewhere than where the last one through this open file ended.
fn jumps(file: &mut OpenFile, moves: u8, offset: u64, bytes: u64) -> bool {
    let start = match moves & (MOVES_ON | MOVES_AT) {
        0 => return false,
        MOVES_AT => offset,
        _ => file.position,
    };
    let end = start + bytes;
    if moves & MOVES_ON != 0 {
        file.position = end;
    }
    if !file.regular || file.append {
        return false;
    }
    let jumped = file.last != start;
    file.last = end;
    jumped
}

#[cfg(test)]
mod tests {
    use super::jumps;
    use crate::calls::{MOVES_AT, MOVES_ON};
    use crate::ptrace::descriptors::OpenFile;

    #[test]
    fn a_jump_is_a_start_elsewhere_than_at_the_last_end() {
        let mut file = OpenFile { regular: true, ..OpenFile::default() };
        assert!(!jumps(&mut file, MOVES_ON, 0, 10));
        assert!(!jumps(&mut file, MOVES_ON, 0, 10));
        assert!(jumps(&mut file, MOVES_AT, 5, 3));
        assert!(!jumps(&mut file, MOVES_AT, 8, 3));
        assert!(jumps(&mut file, MOVES_ON, 0, 1)); // from 20, not from 11
        file.append = true;
        assert!(!jumps(&mut file, MOVES_ON, 0, 1));
    }
}
