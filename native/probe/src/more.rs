//! What else the eBPF maps hold: traffic, listeners, privileges, what was started.
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::control::{Control, Tallied};
use crate::gather::{Place, Result, Slots};
use crate::layout::{self, FileKey, OBJECT_FILE, OBJECT_PIPE, OBJECT_SOCKET, u16_at, u32_at, u64_at};
use crate::recording::{Capability, Identity, Interface, Listener, ProgramPeaks, Start, Traffic};

const AF_UNIX: u16 = 1;
const AF_INET6: u16 = 10;
const NR_EXECVE: u32 = 59;
/// `struct object_key` and where `struct listener_key` has its address.
const OBJECT_KEY: usize = 16;
const ADDRESS: usize = 12;

/// An object as the recording has it: what it is called, and the kernel component that it is of.
type Named = (String, String);

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(layout::until_nul(bytes)).into_owned()
}

/// The names of all objects, by the kernel's key for them.
fn read_objects(control: &Control, files: &[(FileKey, u64)]) -> Result<BTreeMap<Vec<u8>, Named>> {
    let learnt = files.iter().filter(|(file, _)| file.role == layout::ROLE_OBJECT);
    let paths: BTreeMap<u32, String> =
        learnt.map(|(file, _)| (file.flags, String::from_utf8_lossy(&file.path).into_owned())).collect();
    let named = |(key, value): (Vec<u8>, Vec<u8>)| {
        let (number, component, name) = (u32_at(&value, 0), text(&value[4..20]), text(&value[20..48]));
        let object = match u32_at(&key, 12) {
            OBJECT_FILE => (paths.get(&number).cloned().unwrap_or("(no name)".into()), component),
            OBJECT_SOCKET => socket(u32_at(&key, 8), u64_at(&key, 0)),
            OBJECT_PIPE => ("pipe".into(), "pipe".into()),
            _ => (format!("anon_inode:{name}"), "anon_inode".into()),
        };
        (key, object)
    };
    Ok(control.entries("objects")?.into_iter().map(named).collect())
}

/// By numbers here: the names of families and types are the reader's business.
fn socket(family: u32, kind: u64) -> Named {
    (format!("socket:{family}/{kind}"), format!("socket:{family}"))
}

pub fn traffic(control: &Control, slots: &Slots, files: &[(FileKey, u64)]) -> Result<Vec<Traffic>> {
    let objects = read_objects(control, files)?;
    let mut rows: BTreeMap<(Place, u32, Named), [u64; 3]> = BTreeMap::new();
    for Tallied { key, sums: found, .. } in control.tallied("traffic")? {
        let (slot, nr) = (u32_at(&key, OBJECT_KEY), u32_at(&key, OBJECT_KEY + 4));
        let object: Option<Named> = objects.get(&key[..OBJECT_KEY]).cloned();
        let (Some(place), Some(object)) = (slots.place(slot), object) else { continue };
        let sums = rows.entry((place, nr, object)).or_default();
        sums.iter_mut().zip(found).for_each(|(sum, more)| *sum += more);
    }
    let row = |(key, sums): ((Place, u32, Named), [u64; 3])| {
        let (((program, drill), nr, (object, component)), [count, bytes, jumps]) = (key, sums);
        Traffic { program, drill, nr, object, component, count, bytes, jumps }
    };
    Ok(rows.into_iter().map(row).collect())
}

fn address_of(key: &[u8]) -> String {
    let bytes = &key[ADDRESS..];
    match u16_at(key, 4) {
        AF_UNIX if bytes[0] == 0 => format!("@{}", text(&bytes[1..])),
        AF_UNIX => text(bytes),
        AF_INET6 => Ipv6Addr::from(<[u8; 16]>::try_from(&bytes[..16]).expect("16 bytes")).to_string(),
        _ => Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).to_string(),
    }
}

pub fn listeners(control: &Control, slots: &Slots) -> Result<Vec<Listener>> {
    // Sockets by place, family, type, port and address: backlog, longest queue, accepted.
    type Socket = (Place, u16, u16, u16, String);
    let mut rows: BTreeMap<Socket, [u64; 3]> = BTreeMap::new();
    for (key, value) in control.entries("listeners")? {
        let Some(place) = slots.place(u32_at(&key, 0)) else { continue };
        let socket = (place, u16_at(&key, 4), u16_at(&key, 6), u16_at(&key, 8), address_of(&key));
        let [backlog, queue_peak, accepted] = rows.entry(socket).or_default();
        *backlog = u64_at(&value, 0).max(*backlog);
        *queue_peak = u64_at(&value, 8).max(*queue_peak);
        *accepted += u64_at(&value, 16);
    }
    let row = |(socket, [backlog, queue_peak, accepted]): (Socket, [u64; 3])| {
        let ((program, drill), family, kind, port, address) = socket;
        Listener { program, drill, family, kind, address, port, backlog, queue_peak, accepted }
    };
    Ok(rows.into_iter().map(row).collect())
}

/// Facts by their place and arguments: how often, and how often of these with a refusal.
type Facts = BTreeMap<(Place, [u64; 3]), [u64; 2]>;

/// How often each stage of a program executed another one, as rows of calls.
pub fn executions(control: &Control, slots: &Slots) -> Result<BTreeMap<(Place, u32, u32), u64>> {
    let mut rows = BTreeMap::new();
    for Tallied { key, sums: [count, ..], .. } in control.tallied("facts")? {
        let (slot, number) = (u32_at(&key, 0), u32_at(&key, 4));
        let executed = number == layout::FACT_START && u64_at(&key, 16) == layout::STARTED_PROGRAM;
        if let Some(place) = slots.place(slot).filter(|_| executed) {
            *rows.entry((place, slots.stage(slot), NR_EXECVE)).or_default() += count;
        }
    }
    Ok(rows)
}

/// The facts with this number.
fn facts(control: &Control, slots: &Slots, number: u32) -> Result<Facts> {
    let mut rows = Facts::new();
    for Tallied { key, sums: [count, failed, _], .. } in control.tallied("facts")? {
        let Some(place) = slots.place(u32_at(&key, 0)).filter(|_| u32_at(&key, 4) == number) else {
            continue;
        };
        let arguments = [u64_at(&key, 8), u64_at(&key, 16), u64_at(&key, 24)];
        let sums = rows.entry((place, arguments)).or_default();
        sums[0] += count;
        sums[1] += failed;
    }
    Ok(rows)
}

pub fn capabilities(control: &Control, slots: &Slots) -> Result<Vec<Capability>> {
    let rows = facts(control, slots, layout::FACT_CAPABILITY)?.into_iter();
    Ok(rows
        .map(|(((program, drill), [capability, ..]), [count, refused])| Capability {
            program,
            drill,
            capability,
            count,
            refused,
        })
        .collect())
}

pub fn identities(control: &Control, slots: &Slots) -> Result<Vec<Identity>> {
    let rows = facts(control, slots, layout::FACT_IDENTITY)?.into_keys();
    Ok(rows
        .map(|((program, drill), [uid, gid, flag])| Identity {
            program,
            drill,
            uid,
            gid,
            no_new_privs: flag != 0,
        })
        .collect())
}

pub fn starts(control: &Control, slots: &Slots) -> Result<Vec<Start>> {
    let mut rows: BTreeMap<(Place, u32, usize), u64> = BTreeMap::new();
    for ((place, [child, how, _]), [count, _]) in facts(control, slots, layout::FACT_START)? {
        let child = slots.id(child as u32).unwrap_or(place.0); // one that never made a call has no slot
        *rows.entry((place, child, how as usize)).or_default() += count;
    }
    let row = |(((program, drill), child, how), count)| Start {
        program,
        child,
        drill,
        how: layout::STARTS[how],
        count,
    };
    Ok(rows.into_iter().map(row).collect())
}

/// By `struct crowd`; of several files at one path, one after the other, the largest counts.
pub fn program_peaks(control: &Control, slots: &Slots) -> Result<Vec<ProgramPeaks>> {
    let mut rows: BTreeMap<u32, [u64; 3]> = BTreeMap::new();
    for (key, value) in control.entries("crowds")? {
        let Some(program) = slots.id(u32_at(&key, 0)) else { continue };
        let peaks = rows.entry(program).or_default();
        for (index, peak) in peaks.iter_mut().enumerate() {
            *peak = u64_at(&value, 16 + 8 * index).max(*peak);
        }
    }
    let row = |(program, [processes, threads, descriptors]): (u32, [u64; 3])| ProgramPeaks {
        program,
        processes,
        threads,
        descriptors,
    };
    Ok(rows.into_iter().map(row).collect())
}

pub fn interfaces(files: &[(FileKey, u64)], slots: &Slots) -> Vec<Interface> {
    let mut rows: BTreeMap<(Place, String), u64> = BTreeMap::new();
    for (file, count) in files.iter().filter(|(file, _)| file.role == layout::ROLE_FILESYSTEM) {
        if let Some(place) = slots.place(file.slot) {
            *rows.entry((place, String::from_utf8_lossy(&file.path).into_owned())).or_default() += count;
        }
    }
    let row =
        |(((program, drill), name), count)| Interface { program, drill, kind: "filesystem", name, count };
    rows.into_iter().map(row).collect()
}
