//! What was counted, as a recording.
use std::collections::{BTreeMap, BTreeSet};

use crate::calls::rule_of;
use crate::layout::{ROLES, STAGE_EXEC, STARTS};
use crate::ptrace::crowds;
use crate::ptrace::tally::{NO_OBJECT, Object, Tally, Use};
use crate::ptrace::watch::{EXEC, NR_EXECVE, Watch};
use crate::recording::{
    Call, FORMAT, Fact, FileUse, Identity, Interface, Listener, Peaks, Program, ProgramPeaks, Recording,
    Stage, Start, Through, Traffic,
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
        let ran: BTreeSet<u32> = tally.places.iter().map(|(program, ..)| *program).collect();
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
        let (program, drill, _) = tally.places[place as usize];
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
        stages: stages(tally, &ids),
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
        program_peaks: program_peaks(watch, &ids),
        programs: ids.programs,
        host: None,
        contents: Vec::new(),
    }
}

fn program_peaks(watch: &Watch, ids: &Ids) -> Vec<ProgramPeaks> {
    let row = |(program, crowds::Peaks { processes, threads, descriptors }): (u32, crowds::Peaks)| {
        ProgramPeaks { program: ids.ids[program as usize], processes, threads, descriptors }
    };
    watch.crowds.peaks().map(row).collect()
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

/// The calls again, by what the process was: a worker or not, settled or not. An execve that
/// succeeded is the old program's here, for it was made under the rights of that.
fn stages(tally: &Tally, ids: &Ids) -> Vec<Stage> {
    let mut rows: BTreeMap<((u32, u32), u32, u32), u64> = BTreeMap::new();
    let stage_of = |place: u32| tally.places[place as usize].2;
    for ((place, nr, _), count) in tally.counters.iter().zip(&tally.counts) {
        if stage_of(*place) != STAGE_EXEC && *count > 0 {
            *rows.entry((ids.place(tally, *place), stage_of(*place), *nr)).or_default() += count;
        }
    }
    for ((place, _, _), count) in tally.starts.iter().filter(|((_, _, how), _)| *how == EXEC) {
        *rows.entry((ids.place(tally, *place), stage_of(*place), NR_EXECVE)).or_default() += count;
    }
    let row = |(((program, drill), stage, nr), count)| Stage::new(program, drill, stage, nr, count);
    rows.into_iter().map(row).collect()
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
    let mut rows: BTreeMap<((u32, u32), u32, u32), [u64; 3]> = BTreeMap::new();
    for ((place, nr, object), sums) in &tally.traffic {
        let row = rows.entry((ids.place(tally, *place), *nr, *object)).or_default();
        row.iter_mut().zip(sums).for_each(|(sum, more)| *sum += more);
    }
    let row = |(((program, drill), nr, object), sums): (((u32, u32), u32, u32), [u64; 3])| {
        let [count, bytes, jumps] = sums;
        let found: &Object = &tally.objects[object as usize];
        let (object, component) = (found.name.clone(), found.component.clone());
        Traffic { program, drill, nr, object, component, count, bytes, jumps }
    };
    let mut rows: Vec<Traffic> = rows.into_iter().map(row).collect();
    rows.sort_by(|a, b| (a.program, a.drill, a.nr, &a.object).cmp(&(b.program, b.drill, b.nr, &b.object)));
    rows
}

fn listeners(tally: &Tally, ids: &Ids) -> Vec<Listener> {
    // Sockets by place, port, address, family and type: backlog, longest queue, accepted.
    type Socket<'a> = ((u32, u32), u16, &'a str, u16, u16);
    let mut rows: BTreeMap<Socket<'_>, [u64; 3]> = BTreeMap::new();
    for (key, counts) in &tally.listeners {
        let socket = (ids.place(tally, key.place), key.port, &key.address[..], key.family, key.kind);
        let [backlog, queue_peak, accepted] = rows.entry(socket).or_default();
        *backlog = counts.backlog.max(*backlog);
        *queue_peak = counts.queue_peak.max(*queue_peak);
        *accepted += counts.accepted;
    }
    let row = |(socket, [backlog, queue_peak, accepted]): (Socket<'_>, [u64; 3])| {
        let ((program, drill), port, address, family, kind) = socket;
        let address = address.to_string();
        Listener { program, drill, family, kind, address, port, backlog, queue_peak, accepted }
    };
    rows.into_iter().map(row).collect()
}

fn identities(tally: &Tally, ids: &Ids) -> Vec<Identity> {
    let placed = tally.identities.iter().map(|(place, uid, gid, flag)| {
        let (program, drill) = ids.place(tally, *place);
        (program, drill, *uid, *gid, *flag)
    });
    let rows: BTreeSet<(u32, u32, u64, u64, bool)> = placed.collect();
    let row = |(program, drill, uid, gid, no_new_privs)| Identity { program, drill, uid, gid, no_new_privs };
    rows.into_iter().map(row).collect()
}

fn starts(tally: &Tally, ids: &Ids) -> Vec<Start> {
    let mut rows: BTreeMap<((u32, u32), u32, usize), u64> = BTreeMap::new();
    for ((place, child, how), count) in &tally.starts {
        *rows.entry((ids.place(tally, *place), ids.ids[*child as usize], *how)).or_default() += count;
    }
    let row = |(((program, drill), child, how), count): (((u32, u32), u32, usize), u64)| Start {
        program,
        child,
        drill,
        how: STARTS[how],
        count,
    };
    rows.into_iter().map(row).collect()
}

fn interfaces(tally: &Tally, ids: &Ids) -> Vec<Interface> {
    let mut rows: BTreeMap<((u32, u32), &str), u64> = BTreeMap::new();
    for ((place, name), count) in &tally.file_systems {
        *rows.entry((ids.place(tally, *place), name)).or_default() += count;
    }
    let row = |(((program, drill), name), count): (((u32, u32), &str), u64)| Interface {
        program,
        drill,
        kind: "filesystem",
        name: name.to_string(),
        count,
    };
    rows.into_iter().map(row).collect()
}
