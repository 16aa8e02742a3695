//! What the eBPF maps hold, turned into a recording.
use std::collections::{BTreeMap, BTreeSet};

use crate::calls::rule_of;
use crate::control::{Control, Tallied};
use crate::failure::Failure;
use crate::layout::{FACT_CAPABILITY, FileKey, NO_OBJECT, ROLE_PROGRAM, ROLES, STAGE_EXEC, Totals};
use crate::layout::{u16_at, u32_at, u64_at};
use crate::more;
use crate::recording::{Call, FORMAT, Fact, FileUse, Peaks, Program, Recording, Stage, Through};

pub type Result<T> = std::result::Result<T, Failure>;

/// A place in the recording: program, then drill.
pub type Place = (u32, u32);

/// What one instruction called.
struct Caller {
    slot: u32,
    nr: u32,
    object: u32,
    count: u64,
}

/// Which program and drill each slot of the kernel's counters belongs to.
pub struct Slots {
    places: BTreeMap<u32, Place>,
    stages: BTreeMap<u32, u32>,
    /// The recording's number of each program of the kernel's.
    ids: BTreeMap<u32, u32>,
    programs: Vec<Program>,
}

impl Slots {
    /// Several of the kernel's program numbers may have one path: they become one program.
    fn read(control: &Control, files: &[(FileKey, u64)], callers: &[Caller]) -> Result<Self> {
        let slots = control.entries("slots")?;
        let numbers: BTreeMap<u32, (u32, u32)> =
            slots.iter().map(|(key, slot)| (u32_at(slot, 0), (u32_at(key, 0), u32_at(key, 4)))).collect();
        let stages = slots.iter().map(|(key, slot)| (u32_at(slot, 0), u32_at(key, 8))).collect();
        let named = files.iter().filter(|(file, _)| file.role == ROLE_PROGRAM);
        let paths: BTreeMap<u32, String> =
            named.map(|(file, _)| (file.flags, String::from_utf8_lossy(&file.path).into_owned())).collect();
        let objects = callers.iter().map(|caller| caller.object).filter(|object| *object != NO_OBJECT);
        let raw: BTreeSet<u32> = numbers.values().map(|at| at.0).chain(objects).collect();
        let mut found = Slots { places: BTreeMap::new(), stages, ids: BTreeMap::new(), programs: Vec::new() };
        // Programs first, then the libraries that only others call through.
        let (ran, only_mapped): (Vec<u32>, Vec<u32>) =
            raw.iter().partition(|number| numbers.values().any(|at| at.0 == **number));
        for program in ran.into_iter().chain(only_mapped) {
            let path = paths.get(&program).map_or("(no name: deleted, or in memory)", String::as_str);
            let id = found.id_of(path);
            found.ids.insert(program, id);
        }
        found.places = numbers.iter().map(|(slot, at)| (*slot, (found.ids[&at.0], at.1))).collect();
        Ok(found)
    }

    /// Where what stands in a slot belongs.
    pub fn place(&self, slot: u32) -> Option<Place> {
        self.places.get(&slot).copied()
    }

    /// What the process was and had done: `enum stage` of shared.h.
    pub fn stage(&self, slot: u32) -> u32 {
        self.stages.get(&slot).copied().unwrap_or_default()
    }

    /// The recording's number of a program or library of the kernel's.
    pub fn id(&self, program: u32) -> Option<u32> {
        self.ids.get(&program).copied()
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

fn read_callers(control: &Control) -> Result<Vec<Caller>> {
    let caller = |Tallied { key, sums: [count, ..], object }: Tallied| Caller {
        slot: u32_at(&key, 8),
        nr: u32_at(&key, 12),
        object,
        count,
    };
    Ok(control.tallied("callers")?.into_iter().map(caller).collect())
}

fn read_files(control: &Control) -> Result<Vec<(FileKey, u64)>> {
    let mut files = Vec::new();
    for map in ["short_files", "medium_files", "long_files"] {
        let entries = control.tallied(map)?;
        files.extend(entries.iter().map(|Tallied { key, sums, .. }| (FileKey::parse(key), sums[0])));
    }
    Ok(files)
}

fn collect_calls(control: &Control, slots: &Slots, callers: &[Caller]) -> Result<Vec<Call>> {
    let mut calls: BTreeMap<(Place, u32), Call> = BTreeMap::new();
    for caller in callers.iter().filter(|caller| caller.count > 0) {
        let Some((program, drill)) = slots.place(caller.slot) else { continue };
        let fresh = Call { program, drill, nr: caller.nr, count: 0, errors: BTreeMap::new() };
        calls.entry(((program, drill), caller.nr)).or_insert(fresh).count += caller.count;
    }
    for Tallied { key, sums: [count, ..], .. } in control.tallied("errors")? {
        let (slot, nr, errno) = (u32_at(&key, 0), u16_at(&key, 4), u16_at(&key, 6));
        let call = slots.place(slot).and_then(|place| calls.get_mut(&(place, nr.into())));
        if let Some(call) = call {
            *call.errors.entry(errno).or_default() += count;
        }
    }
    Ok(calls.into_values().collect())
}

/// The calls again, by what the process was: a worker or not, settled or not. An execve that
/// succeeded is the old program's here, for it was made under the rights of that.
fn collect_stages(control: &Control, slots: &Slots, callers: &[Caller]) -> Result<Vec<Stage>> {
    let mut rows = more::executions(control, slots)?;
    for caller in callers.iter().filter(|caller| caller.count > 0) {
        let stage = slots.stage(caller.slot);
        if let Some(place) = slots.place(caller.slot).filter(|_| stage != STAGE_EXEC) {
            *rows.entry((place, stage, caller.nr)).or_default() += caller.count;
        }
    }
    let row = |(((program, drill), stage, nr), count)| Stage::new(program, drill, stage, nr, count);
    Ok(rows.into_iter().map(row).collect())
}

fn collect_facts(control: &Control, slots: &Slots) -> Result<Vec<Fact>> {
    let mut facts: BTreeMap<(Place, u32, Vec<u64>), Fact> = BTreeMap::new();
    for Tallied { key, sums: [count, failed, _], .. } in control.tallied("facts")? {
        let (Some(place), nr) = (slots.place(u32_at(&key, 0)), u32_at(&key, 4)) else { continue };
        if nr >= FACT_CAPABILITY {
            continue; // no call's: see more.rs
        }
        let args: Vec<u64> = (0..rule_of(nr).fact_length()).map(|i| u64_at(&key, 8 + 8 * i)).collect();
        let (program, drill) = place;
        let fresh = Fact { program, drill, nr, args: args.clone(), count: 0, failed: 0 };
        let fact = facts.entry((place, nr, args)).or_insert(fresh);
        fact.count += count;
        fact.failed += failed;
    }
    Ok(facts.into_values().collect())
}

fn collect_files(files: &[(FileKey, u64)], slots: &Slots) -> Vec<FileUse> {
    let mut uses: BTreeMap<FileUse, u64> = BTreeMap::new();
    for (file, count) in files.iter().filter(|(file, _)| usize::from(file.role) < ROLES.len()) {
        let Some((program, drill)) = slots.place(file.slot) else { continue };
        let key = FileUse {
            program,
            drill,
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

fn collect_through(slots: &Slots, callers: &[Caller]) -> Vec<Through> {
    let mut rows: BTreeMap<(Place, u32, u32), u64> = BTreeMap::new();
    for caller in callers.iter().filter(|caller| caller.count > 0) {
        if let (Some(place), Some(object)) = (slots.place(caller.slot), slots.id(caller.object)) {
            *rows.entry((place, caller.nr, object)).or_default() += caller.count;
        }
    }
    let row = |(((program, drill), nr, object), count)| Through { program, drill, nr, object, count };
    rows.into_iter().map(row).collect()
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
    let callers = read_callers(control)?;
    let slots = Slots::read(control, &files, &callers)?;
    let totals = control.totals()?;
    Ok(Recording {
        format: FORMAT,
        backend: "ebpf",
        drills: drills.to_vec(),
        lost: collect_lost(control, &totals, &files),
        unknown: Vec::new(),
        calls: collect_calls(control, &slots, &callers)?,
        stages: collect_stages(control, &slots, &callers)?,
        facts: collect_facts(control, &slots)?,
        files: collect_files(&files, &slots),
        through: collect_through(&slots, &callers),
        traffic: more::traffic(control, &slots, &files)?,
        listeners: more::listeners(control, &slots)?,
        capabilities: more::capabilities(control, &slots)?,
        identities: more::identities(control, &slots)?,
        starts: more::starts(control, &slots)?,
        interfaces: more::interfaces(&files, &slots),
        program_peaks: more::program_peaks(control, &slots)?,
        programs: slots.programs,
        peaks: Peaks {
            processes: totals.processes,
            threads: totals.threads,
            sockets: totals.sockets,
            descriptors: totals.descriptors,
            pipes: totals.pipes,
        },
        host: None,
        contents: Vec::new(),
    })
}
