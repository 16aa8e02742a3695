//! What was counted, as a recording.
use std::collections::{BTreeMap, BTreeSet};

use crate::calls::rule_of;
use crate::layout::{ROLES, STARTS};
use crate::ptrace::tally::{NO_OBJECT, Tally, Use};
use crate::ptrace::watch::Watch;
use crate::recording::{
    Call, FORMAT, Fact, FileUse, Identity, Interface, Listener, Peaks, Program, Recording, Start, Through,
    Traffic,
};

/// What a tracer is not told, in words that a profile can repeat.
const UNKNOWN: [&str; 2] =
    ["for which capabilities the kernel asked", "how long the queues of listening Unix sockets got"];

/// Programs that ran come first, then the libraries that only others call through.
struct Ids {
    ids: Vec<u32>,
    programs: Vec<Program>,
}

impl Ids {
    fn of(tally: &Tally) -> Self {
        let ran: BTreeSet<u32> = tally.places.iter().map(|(program, _)| *program).collect();
        let all = 0..tally.programs.len() as u32;
        let (first, then): (Vec<u32>, Vec<u32>) = all.partition(|program| ran.contains(program));
        let mut ids = vec![0; tally.programs.len()];
        let mut programs = Vec::new();
        for program in first.into_iter().chain(then) {
            ids[program as usize] = programs.len() as u32;
            let path = tally.programs[program as usize].clone();
            programs.push(Program { id: programs.len() as u32, path });
        }
        Ids { ids, programs }
    }

    fn place(&self, tally: &Tally, place: u32) -> (u32, u32) {
        let (program, drill) = tally.places[place as usize];
        (self.ids[program as usize], drill)
    }
}

pub fn gather(watch: &Watch, drills: &[String]) -> Recording {
    let tally = &watch.tally;
    let ids = Ids::of(tally);
    Recording {
        format: FORMAT,
        backend: "ptrace",
        drills: drills.to_vec(),
        lost: lost(tally),
        unknown: UNKNOWN.to_vec(),
        calls: calls(tally, &ids),
        facts: facts(tally, &ids),
        files: files(tally, &ids),
        through: through(tally, &ids),
        traffic: traffic(tally, &ids),
        listeners: listeners(tally, &ids),
        capabilities: Vec::new(),
        identities: identities(tally, &ids),
        starts: starts(tally, &ids),
        interfaces: interfaces(tally, &ids),
        peaks: Peaks {
            processes: watch.peak_processes,
            threads: watch.peak_threads,
            sockets: watch.descriptors.peak_sockets,
            descriptors: watch.descriptors.peak,
            pipes: watch.descriptors.peak_pipe_ends.div_ceil(2), // a pipe has two ends
        },
        programs: ids.programs,
        host: None,
        contents: Vec::new(),
    }
}

fn lost(tally: &Tally) -> BTreeMap<&'static str, u64> {
    let garbled = tally.files.keys().filter(|key| std::str::from_utf8(Use::parse(key).1).is_err());
    let lost = &tally.lost;
    BTreeMap::from([
        ("facts", lost.facts),
        ("files", lost.files),
        ("foreign_calls", lost.foreign_calls),
        ("paths_not_utf8", garbled.count() as u64), // recorded, but not exactly
        ("paths_unreadable", lost.paths_unreadable),
        ("threads", lost.threads),
    ])
}

fn calls(tally: &Tally, ids: &Ids) -> Vec<Call> {
    let mut calls: BTreeMap<(u32, u32, u32), Call> = BTreeMap::new();
    for ((place, nr, _), count) in tally.counters.iter().zip(&tally.counts).filter(|(_, count)| **count > 0) {
        let (program, drill) = ids.place(tally, *place);
        let fresh = Call { program, drill, nr: *nr, count: 0, errors: BTreeMap::new() };
        calls.entry((program, drill, *nr)).or_insert(fresh).count += count;
    }
    for ((place, nr, error), count) in &tally.errors {
        let (program, drill) = ids.place(tally, *place);
        if let Some(call) = calls.get_mut(&(program, drill, *nr)) {
            *call.errors.entry(*error).or_default() += count;
        }
    }
    calls.into_values().collect()
}

fn facts(tally: &Tally, ids: &Ids) -> Vec<Fact> {
    let mut facts: BTreeMap<(u32, u32, u32, Vec<u64>), [u64; 2]> = BTreeMap::new();
    for ((place, nr, args), [count, failed]) in &tally.facts {
        let (program, drill) = ids.place(tally, *place);
        let args = args[..rule_of(*nr).fact_length()].to_vec();
        let sums = facts.entry((program, drill, *nr, args)).or_default();
        sums[0] += count;
        sums[1] += failed;
    }
    let row = |((program, drill, nr, args), sums): (_, [u64; 2])| {
        let [count, failed] = sums;
        Fact { program, drill, nr, args, count, failed }
    };
    facts.into_iter().map(row).collect()
}

fn files(tally: &Tally, ids: &Ids) -> Vec<FileUse> {
    let mut uses: BTreeMap<FileUse, u64> = BTreeMap::new();
    for (key, count) in &tally.files {
        let (how, path) = Use::parse(key);
        let (program, drill) = ids.place(tally, how.place);
        let file = FileUse {
            program,
            drill,
            nr: how.nr,
            role: ROLES[usize::from(how.role)],
            path: String::from_utf8_lossy(path).into_owned(),
            error: how.error,
            flags: how.flags,
            created: how.created,
            count: 0,
        };
        *uses.entry(file).or_default() += count;
    }
    uses.into_iter().map(|(file, count)| FileUse { count, ..file }).collect()
}

fn through(tally: &Tally, ids: &Ids) -> Vec<Through> {
    let mut rows: BTreeMap<(u32, u32, u32, u32), u64> = BTreeMap::new();
    for ((place, nr, object), count) in tally.counters.iter().zip(&tally.counts) {
        if *object != NO_OBJECT && *count > 0 {
            let (program, drill) = ids.place(tally, *place);
            *rows.entry((program, drill, *nr, ids.ids[*object as usize])).or_default() += count;
        }
    }
    let row = |((program, drill, nr, object), count)| Through { program, drill, nr, object, count };
    rows.into_iter().map(row).collect()
}

fn traffic(tally: &Tally, ids: &Ids) -> Vec<Traffic> {
    let row = |((place, nr, object), [count, bytes, jumps]): (&(u32, u32, u32), &[u64; 3])| {
        let (program, drill) = ids.place(tally, *place);
        let found = &tally.objects[*object as usize];
        let (object, component) = (found.name.clone(), found.component.clone());
        Traffic { program, drill, nr: *nr, object, component, count: *count, bytes: *bytes, jumps: *jumps }
    };
    let mut rows: Vec<Traffic> = tally.traffic.iter().map(row).collect();
    rows.sort_by(|a, b| (a.program, a.drill, a.nr, &a.object).cmp(&(b.program, b.drill, b.nr, &b.object)));
    rows
}

fn listeners(tally: &Tally, ids: &Ids) -> Vec<Listener> {
    let row = |(key, counts): (&crate::ptrace::tally::ListenerKey, &crate::ptrace::tally::ListenerCounts)| {
        let (program, drill) = ids.place(tally, key.place);
        Listener {
            program,
            drill,
            family: key.family,
            kind: key.kind,
            address: key.address.clone(),
            port: key.port,
            backlog: counts.backlog,
            queue_peak: counts.queue_peak,
            accepted: counts.accepted,
        }
    };
    let mut rows: Vec<Listener> = tally.listeners.iter().map(row).collect();
    rows.sort_by(|a, b| {
        (a.program, a.drill, a.port, &a.address).cmp(&(b.program, b.drill, b.port, &b.address))
    });
    rows
}

fn identities(tally: &Tally, ids: &Ids) -> Vec<Identity> {
    let row = |(place, uid, gid, no_new_privs): &(u32, u64, u64, bool)| {
        let (program, drill) = ids.place(tally, *place);
        Identity { program, drill, uid: *uid, gid: *gid, no_new_privs: *no_new_privs }
    };
    tally.identities.iter().map(row).collect()
}

fn starts(tally: &Tally, ids: &Ids) -> Vec<Start> {
    let row = |((place, child, how), count): (&(u32, u32, usize), &u64)| {
        let (program, drill) = ids.place(tally, *place);
        Start { program, child: ids.ids[*child as usize], drill, how: STARTS[*how], count: *count }
    };
    tally.starts.iter().map(row).collect()
}

fn interfaces(tally: &Tally, ids: &Ids) -> Vec<Interface> {
    let row = |((place, name), count): (&(u32, String), &u64)| {
        let (program, drill) = ids.place(tally, *place);
        Interface { program, drill, kind: "filesystem", name: name.clone(), count: *count }
    };
    tally.file_systems.iter().map(row).collect()
}
