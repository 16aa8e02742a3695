//! What the eBPF maps hold, turned into a recording.
use std::collections::BTreeMap;

use crate::calls::rule_of;
use crate::control::Control;
use crate::failure::Failure;
use crate::layout::{FileKey, ROLE_PROGRAM, ROLES, Totals, u16_at, u32_at, u64_at};
use crate::recording::{Call, FORMAT, Fact, FileUse, Peaks, Program, Recording};

type Result<T> = std::result::Result<T, Failure>;

/// A place in the recording: program, then drill.
type Place = (u32, u32);

/// Which program and drill each slot of the kernel's counters belongs to.
struct Slots {
    places: BTreeMap<u32, Place>,
    programs: Vec<Program>,
}

impl Slots {
    /// Several of the kernel's program numbers may have one path: they become one program.
    fn read(control: &Control, files: &[(FileKey, u64)]) -> Result<Self> {
        let slots = control.entries("slots")?;
        let numbers: BTreeMap<u32, (u32, u32)> =
            slots.iter().map(|(key, slot)| (u32_at(slot, 0), (u32_at(key, 0), u32_at(key, 4)))).collect();
        let mut paths = BTreeMap::new();
        for (file, _) in files.iter().filter(|(file, _)| file.role == ROLE_PROGRAM) {
            if let Some((program, _)) = numbers.get(&file.slot) {
                paths.insert(*program, String::from_utf8_lossy(&file.path).into_owned());
            }
        }
        let mut found = Slots { places: BTreeMap::new(), programs: Vec::new() };
        let mut ids = BTreeMap::new();
        let raw: std::collections::BTreeSet<u32> = numbers.values().map(|at| at.0).collect();
        for program in raw {
            let path = paths.get(&program).map_or("(no name: deleted, or in memory)", String::as_str);
            ids.insert(program, found.id_of(path));
        }
        found.places = numbers.iter().map(|(slot, at)| (*slot, (ids[&at.0], at.1))).collect();
        Ok(found)
    }

    fn id_of(&mut self, path: &str) -> u32 {
        if let Some(program) = self.programs.iter().find(|program| program.path == path) {
            return program.id;
        }
        let id = self.programs.len() as u32;
        self.programs.push(Program { id, path: path.to_string() });
        id
    }
}

fn read_files(control: &Control) -> Result<Vec<(FileKey, u64)>> {
    let mut files = Vec::new();
    for map in ["short_files", "medium_files", "long_files"] {
        let entries = control.entries(map)?;
        files.extend(entries.iter().map(|(key, count)| (FileKey::parse(key), u64_at(count, 0))));
    }
    Ok(files)
}

fn collect_calls(control: &Control, slots: &Slots) -> Result<Vec<Call>> {
    let mut calls: BTreeMap<(Place, u32), Call> = BTreeMap::new();
    for (slot, place) in &slots.places {
        for (nr, count) in control.counts(*slot)?.into_iter().enumerate().filter(|at| at.1 > 0) {
            let (nr, (program, drill)) = (nr as u32, *place);
            let fresh = Call { program, drill, nr, count: 0, errors: BTreeMap::new() };
            calls.entry((*place, nr)).or_insert(fresh).count += count;
        }
    }
    for (key, count) in control.entries("errors")? {
        let (slot, nr, errno) = (u32_at(&key, 0), u16_at(&key, 4), u16_at(&key, 6));
        let call = slots.places.get(&slot).and_then(|place| calls.get_mut(&(*place, nr.into())));
        if let Some(call) = call {
            *call.errors.entry(errno).or_default() += u64_at(&count, 0);
        }
    }
    Ok(calls.into_values().collect())
}

fn collect_facts(control: &Control, slots: &Slots) -> Result<Vec<Fact>> {
    let mut facts: BTreeMap<(Place, u32, Vec<u64>), Fact> = BTreeMap::new();
    for (key, value) in control.entries("facts")? {
        let Some(place) = slots.places.get(&u32_at(&key, 0)) else { continue };
        let nr = u32_at(&key, 4);
        let args: Vec<u64> = (0..rule_of(nr).fact_length()).map(|i| u64_at(&key, 8 + 8 * i)).collect();
        let (program, drill) = *place;
        let fresh = Fact { program, drill, nr, args: args.clone(), count: 0, failed: 0 };
        let fact = facts.entry((*place, nr, args)).or_insert(fresh);
        fact.count += u64_at(&value, 0);
        fact.failed += u64_at(&value, 8);
    }
    Ok(facts.into_values().collect())
}

fn collect_files(files: &[(FileKey, u64)], slots: &Slots) -> Vec<FileUse> {
    let mut uses: BTreeMap<FileUse, u64> = BTreeMap::new();
    for (file, count) in files.iter().filter(|(file, _)| file.role != ROLE_PROGRAM) {
        let Some((program, drill)) = slots.places.get(&file.slot) else { continue };
        let key = FileUse {
            program: *program,
            drill: *drill,
            nr: file.nr,
            role: ROLES[usize::from(file.role)],
            path: String::from_utf8_lossy(&file.path).into_owned(),
            error: file.error,
            flags: file.flags,
            created: file.created,
            count: 0,
        };
        *uses.entry(key).or_default() += count;
    }
    uses.into_iter().map(|(file, count)| FileUse { count, ..file }).collect()
}

fn collect_lost(control: &Control, totals: &Totals, files: &[(FileKey, u64)]) -> BTreeMap<&'static str, u64> {
    let garbled = files.iter().filter(|(file, _)| std::str::from_utf8(&file.path).is_err());
    BTreeMap::from([
        ("errors", totals.lost_errors),
        ("events", totals.lost_events + control.missed()),
        ("facts", totals.lost_facts),
        ("files", totals.lost_files),
        ("foreign_calls", totals.lost_foreign), // of the 32-bit or x32 kind, or no call at all
        ("paths_not_utf8", garbled.count() as u64), // recorded, but not exactly
        ("paths_truncated", totals.lost_truncated),
        ("paths_unreadable", totals.lost_unreadable),
        ("sockets", totals.lost_sockets),
        ("threads", totals.lost_threads),
    ])
}

pub fn gather(control: &Control, drills: &[String]) -> Result<Recording> {
    let files = read_files(control)?;
    let slots = Slots::read(control, &files)?;
    let totals = control.totals()?;
    Ok(Recording {
        format: FORMAT,
        backend: "ebpf",
        drills: drills.to_vec(),
        lost: collect_lost(control, &totals, &files),
        calls: collect_calls(control, &slots)?,
        facts: collect_facts(control, &slots)?,
        files: collect_files(&files, &slots),
        programs: slots.programs,
        peaks: Peaks {
            processes: totals.processes,
            threads: totals.threads,
            sockets: totals.sockets,
            descriptors: totals.descriptors,
            pipes: totals.pipes,
        },
    })
}
