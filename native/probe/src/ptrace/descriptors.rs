//! Which descriptor of which process stands for which open file, and how many sockets and pipes live.
//!
//! The kernel tells an ordinary tracer nothing of open files, so the calls that make, copy and close
//! descriptors are followed. What was not seen to come (inherited, or received in a message) is looked
//! up when it is first used.
use std::collections::{HashMap, HashSet};

use crate::ptrace::numbers::NumberMap;

/// An open file description, as open(2) calls it.
#[derive(Default)]
pub struct OpenFile {
    /// Descriptors that stand for it, in all tables; those in flight in messages count, too.
    pub(super) references: u32,
    /// Among the living sockets or pipe ends: the service made it.
    pub(super) counted: bool,
    pub kind: Kind,
    /// Its number among the tally's objects, once something went through it.
    pub object: Option<u32>,
    pub regular: bool,
    pub append: bool,
    /// Where it stands, and where the last transfer ended.
    pub position: u64,
    pub last: u64,
    /// Where it listens, once that is known.
    pub listener: Option<Box<Address>>,
}

/// What a socket is bound to; a Unix socket has no port.
#[derive(Clone)]
pub struct Address {
    pub family: u16,
    pub kind: u16,
    pub port: u16,
    pub text: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Kind {
    #[default]
    Other,
    Pipe,
    /// Of this family and type.
    Socket(u16, u16),
}

const NONE: u32 = u32::MAX;
/// Numbers from here on are refused by the kernel, too (fs.nr_open).
const MOST: u32 = 1 << 20;

#[derive(Default)]
struct Table {
    users: u32,
    files: Vec<u32>,
}

#[derive(Default)]
pub struct Descriptors {
    files: Vec<OpenFile>,
    free_files: Vec<u32>,
    tables: NumberMap<u32, Table>,
    next_table: u32,
    /// Sent in messages, by the kernel's name for them (`socket:[7]`), until they arrive.
    in_flight: HashMap<Vec<u8>, u32>,
    sockets: u64,
    pipe_ends: u64,
    pub peak_sockets: u64,
    pub peak_pipe_ends: u64,
    /// The highest number of a descriptor, and one.
    pub peak: u64,
}

impl Descriptors {
    /// A table of a process that is watched from now on, with nothing known in it.
    pub fn new_table(&mut self) -> u32 {
        let id = self.next_table;
        self.next_table += 1;
        self.tables.insert(id, Table { users: 1, files: Vec::new() });
        id
    }

    /// unshare(2) with CLONE_FILES: from now on the thread has its own table.
    pub fn own(&mut self, table: u32) -> u32 {
        if self.tables[&table].users == 1 {
            return table;
        }
        let own = self.copy(table);
        self.leave(table);
        own
    }

    pub fn share(&mut self, table: u32) -> u32 {
        self.tables.get_mut(&table).expect("a process has its table").users += 1;
        table
    }

    /// What fork does.
    pub fn copy(&mut self, table: u32) -> u32 {
        let files = self.tables[&table].files.clone();
        for file in files.iter().filter(|file| **file != NONE) {
            self.files[*file as usize].references += 1;
        }
        let id = self.new_table();
        self.tables.get_mut(&id).expect("just made").files = files;
        id
    }

    /// A user of the table is gone, and with the last one all that is in it.
    pub fn leave(&mut self, table: u32) {
        let entry = self.tables.get_mut(&table).expect("a process has its table");
        entry.users -= 1;
        if entry.users == 0 {
            let gone = self.tables.remove(&table).expect("just seen");
            gone.files.into_iter().filter(|file| *file != NONE).for_each(|file| self.release(file));
        }
    }

    /// Exec gives a process its own table (CLONE_FILES ends), with these descriptors.
    pub fn keep_only(&mut self, table: u32, open: &HashSet<u32>) -> u32 {
        let own = self.own(table);
        let known = self.tables[&own].files.len() as u32;
        for number in (0..known).filter(|number| !open.contains(number)) {
            self.close(own, number);
        }
        own
    }

    pub fn file(&self, table: u32, number: u32) -> Option<u32> {
        let found = self.tables[&table].files.get(number as usize).copied();
        found.filter(|file| *file != NONE)
    }

    pub fn open_file(&mut self, file: u32) -> &mut OpenFile {
        &mut self.files[file as usize]
    }

    /// A new open file under `number`; what was there is gone.
    pub fn open(&mut self, table: u32, number: u32, file: OpenFile) {
        self.close(table, number);
        match file.kind {
            Kind::Socket(..) => {
                self.sockets += 1;
                self.peak_sockets = self.peak_sockets.max(self.sockets);
            }
            Kind::Pipe => {
                self.pipe_ends += 1;
                self.peak_pipe_ends = self.peak_pipe_ends.max(self.pipe_ends);
            }
            Kind::Other => {}
        }
        self.adopt(table, number, OpenFile { counted: true, ..file });
    }

    /// As `open`, for one from outside the service, which is not counted among the living.
    pub fn adopt(&mut self, table: u32, number: u32, mut file: OpenFile) -> u32 {
        file.references = 0;
        let id = self.free_files.pop().unwrap_or_else(|| {
            self.files.push(OpenFile::default());
            self.files.len() as u32 - 1
        });
        self.files[id as usize] = file;
        self.put(table, number, id);
        id
    }

    /// `number` stands for `file` from now on.
    pub fn put(&mut self, table: u32, number: u32, file: u32) {
        if number >= MOST {
            return;
        }
        self.files[file as usize].references += 1; // first: it may be what is there now
        self.close(table, number);
        let files = &mut self.tables.get_mut(&table).expect("a process has its table").files;
        if files.len() <= number as usize {
            files.resize(number as usize + 1, NONE);
        }
        files[number as usize] = file;
    }

    pub fn raise_peak(&mut self, number: u32) {
        self.peak = self.peak.max(u64::from(number) + 1);
    }

    pub fn close(&mut self, table: u32, number: u32) {
        let files = &mut self.tables.get_mut(&table).expect("a process has its table").files;
        if let Some(file) = files.get_mut(number as usize) {
            let gone = std::mem::replace(file, NONE);
            if gone != NONE {
                self.release(gone);
            }
        }
    }

    pub fn close_range(&mut self, table: u32, first: u32, last: u32) {
        let known = self.tables[&table].files.len() as u32;
        (first..known.min(last.saturating_add(1))).for_each(|number| self.close(table, number));
    }

    /// A socket or pipe goes into a message: it lives until it has arrived and is closed there.
    pub fn send(&mut self, file: u32, name: Vec<u8>) {
        if self.in_flight.insert(name, file).is_none() {
            self.files[file as usize].references += 1;
        }
    }

    /// What has arrived under `number`, if it was seen to be sent.
    pub fn receive(&mut self, table: u32, number: u32, name: &[u8]) {
        match self.in_flight.remove(name) {
            Some(file) => {
                self.put(table, number, file);
                self.release(file);
            }
            None => self.close(table, number), // the number is used anew, for something unknown
        }
    }

    fn release(&mut self, file: u32) {
        let entry = &mut self.files[file as usize];
        entry.references -= 1;
        if entry.references > 0 {
            return;
        }
        match entry.kind {
            Kind::Socket(..) if entry.counted => self.sockets -= 1,
            Kind::Pipe if entry.counted => self.pipe_ends -= 1,
            _ => {}
        }
        self.free_files.push(file);
    }
}
