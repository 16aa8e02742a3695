//! Counts by program, drill and stage, as they come; `report.rs` turns them into a recording.
//! All keys are numbers or bytes in a buffer that is used again, so that what is known takes no memory.
use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::ptrace::numbers::NumberMap;

/// No program or library: of calls that no instruction is known for.
pub const NO_OBJECT: u32 = u32::MAX;
/// More different paths, facts or things than these are counted as lost, for memory has an end.
const MOST_FILES: usize = 1 << 20;
const MOST_FACTS: usize = 1 << 18;

/// What was lost, by the recording's names.
#[derive(Default)]
pub struct Lost {
    pub facts: u64,
    pub files: u64,
    pub foreign_calls: u64,
    pub paths_unreadable: u64,
    pub threads: u64,
}

/// One way in which a file is used.
#[derive(Clone, Copy)]
pub struct Use {
    pub place: u32,
    pub nr: u16,
    /// Its index among `layout::ROLES`.
    pub role: u8,
    pub created: bool,
    pub flags: u32,
    pub error: u16,
}

/// The bytes of `Use` before a path.
const USE_HEAD: usize = 14;

impl Use {
    fn to_bytes(self) -> [u8; USE_HEAD] {
        let mut bytes = [0; USE_HEAD];
        bytes[..4].copy_from_slice(&self.place.to_ne_bytes());
        bytes[4..6].copy_from_slice(&self.nr.to_ne_bytes());
        bytes[6..8].copy_from_slice(&[self.role, u8::from(self.created)]);
        bytes[8..12].copy_from_slice(&self.flags.to_ne_bytes());
        bytes[12..].copy_from_slice(&self.error.to_ne_bytes());
        bytes
    }

    pub fn parse(key: &[u8]) -> (Use, &[u8]) {
        let word = |at: usize| u32::from_ne_bytes(key[at..at + 4].try_into().expect("4 bytes"));
        let half = |at: usize| u16::from_ne_bytes(key[at..at + 2].try_into().expect("2 bytes"));
        let head = Use {
            place: word(0),
            nr: half(4),
            role: key[6],
            created: key[7] != 0,
            flags: word(8),
            error: half(12),
        };
        (head, &key[USE_HEAD..])
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord, Clone)]
pub struct ListenerKey {
    pub place: u32,
    pub family: u16,
    pub kind: u16,
    pub port: u16,
    pub address: String,
}

#[derive(Default)]
pub struct ListenerCounts {
    pub backlog: u64,
    pub queue_peak: u64,
    pub accepted: u64,
}

/// A file by its path, or what else it is; `component` is what of the kernel serves it.
pub struct Object {
    pub name: String,
    pub component: String,
    /// A regular file, which has positions.
    pub regular: bool,
}

#[derive(Default)]
pub struct Tally {
    /// Programs and libraries by path, in the order in which they were met.
    pub programs: Vec<String>,
    program_ids: HashMap<Vec<u8>, u32>,
    /// Program, drill and stage (`layout::STAGE_*`) of each place.
    pub places: Vec<(u32, u32, u32)>,
    place_ids: NumberMap<(u32, u32, u32), u32>,
    /// Place, call and object of each counter.
    pub counters: Vec<(u32, u32, u32)>,
    counter_ids: NumberMap<(u32, u32, u32), u32>,
    pub counts: Vec<u64>,
    pub errors: NumberMap<(u32, u32, u16), u64>,
    pub facts: HashMap<(u32, u32, [u64; 3]), [u64; 2]>,
    pub files: HashMap<Vec<u8>, u64>,
    file_key: Vec<u8>,
    /// What is read from and written to.
    pub objects: Vec<Object>,
    object_ids: HashMap<Vec<u8>, u32>,
    /// Operations, bytes, jumps.
    pub traffic: NumberMap<(u32, u32, u32), [u64; 3]>,
    pub listeners: BTreeMap<ListenerKey, ListenerCounts>,
    pub identities: BTreeSet<(u32, u64, u64, bool)>,
    /// By place, program that was started, and how (index among `layout::STARTS`).
    pub starts: BTreeMap<(u32, u32, usize), u64>,
    pub file_systems: BTreeMap<(u32, String), u64>,
    pub lost: Lost,
}

impl Tally {
    /// The number of a program or library.
    pub fn program(&mut self, path: &[u8]) -> u32 {
        if let Some(id) = self.program_ids.get(path) {
            return *id;
        }
        let id = self.programs.len() as u32;
        self.programs.push(String::from_utf8_lossy(path).into_owned());
        self.program_ids.insert(path.to_vec(), id);
        id
    }

    pub fn place(&mut self, program: u32, drill: u32, stage: u32) -> u32 {
        let places = &mut self.places;
        *self.place_ids.entry((program, drill, stage)).or_insert_with(|| {
            places.push((program, drill, stage));
            places.len() as u32 - 1
        })
    }

    /// The counter of a call of a place through an object.
    pub fn counter(&mut self, place: u32, nr: u32, object: u32) -> u32 {
        let (counters, counts) = (&mut self.counters, &mut self.counts);
        *self.counter_ids.entry((place, nr, object)).or_insert_with(|| {
            counters.push((place, nr, object));
            counts.push(0);
            counts.len() as u32 - 1
        })
    }

    pub fn count(&mut self, counter: u32) {
        self.counts[counter as usize] += 1;
    }

    pub fn note_error(&mut self, place: u32, nr: u32, error: u16) {
        *self.errors.entry((place, nr, error)).or_default() += 1;
    }

    /// `seen` and `failed` are added to what is known of these arguments.
    pub fn note_fact(&mut self, place: u32, nr: u32, args: [u64; 3], seen: bool, failed: bool) {
        if self.facts.len() >= MOST_FACTS && !self.facts.contains_key(&(place, nr, args)) {
            self.lost.facts += 1;
            return;
        }
        let counts = self.facts.entry((place, nr, args)).or_default();
        counts[0] += u64::from(seen);
        counts[1] += u64::from(failed);
    }

    pub fn note_file(&mut self, how: Use, path: &[u8]) {
        self.file_key.clear();
        self.file_key.extend_from_slice(&how.to_bytes());
        self.file_key.extend_from_slice(path);
        if let Some(count) = self.files.get_mut(&self.file_key[..]) {
            *count += 1;
        } else if self.files.len() < MOST_FILES {
            self.files.insert(self.file_key.clone(), 1);
        } else {
            self.lost.files += 1;
        }
    }

    /// The number of the object that is known by `key`; `learn` says what it is at first sight.
    pub fn object(&mut self, key: &[u8], learn: impl FnOnce() -> Object) -> u32 {
        if let Some(id) = self.object_ids.get(key) {
            return *id;
        }
        let id = self.objects.len() as u32;
        self.objects.push(learn());
        self.object_ids.insert(key.to_vec(), id);
        id
    }

    pub fn note_traffic(&mut self, place: u32, nr: u32, object: u32, bytes: u64, jumped: bool) {
        let sums = self.traffic.entry((place, nr, object)).or_default();
        sums[0] += 1;
        sums[1] += bytes;
        sums[2] += u64::from(jumped);
    }

    pub fn note_start(&mut self, place: u32, child: u32, how: usize) {
        *self.starts.entry((place, child, how)).or_default() += 1;
    }
}
