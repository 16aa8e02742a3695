//! The recording: what was seen, by program path, sorted, as JSON of format 2. `profiler/recording.py` reads it.
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use serde::Serialize;

use crate::failure::Failure;
use crate::layout::{STAGE_SETTLED, STAGE_WORKER};

pub const FORMAT: u32 = 2;

#[derive(Serialize)]
pub struct Recording {
    pub format: u32,
    pub backend: &'static str,
    pub drills: Vec<String>,
    pub lost: BTreeMap<&'static str, u64>,
    /// What the backend cannot see: where the recording has nothing of it, that says nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<&'static str>,
    pub programs: Vec<Program>,
    pub calls: Vec<Call>,
    pub stages: Vec<Stage>,
    pub facts: Vec<Fact>,
    pub files: Vec<FileUse>,
    pub through: Vec<Through>,
    pub traffic: Vec<Traffic>,
    pub listeners: Vec<Listener>,
    pub capabilities: Vec<Capability>,
    pub identities: Vec<Identity>,
    pub starts: Vec<Start>,
    pub interfaces: Vec<Interface>,
    pub peaks: Peaks,
    pub program_peaks: Vec<ProgramPeaks>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Host>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub contents: Vec<Content>,
}

/// The machine, as the service sees it.
#[derive(Serialize)]
pub struct Host {
    pub machine: String,
    pub kernel: String,
    pub libc: String,
    pub distribution: String,
}

/// A regular file that was only read, at the end of the recording.
#[derive(Serialize)]
pub struct Content {
    pub path: String,
    pub size: u64,
    pub sha256: String,
}

#[derive(Serialize)]
pub struct Program {
    pub id: u32,
    pub path: String,
}

#[derive(Serialize)]
pub struct Call {
    pub program: u32,
    pub drill: u32,
    pub nr: u32,
    pub count: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub errors: BTreeMap<u16, u64>,
}

/// Of the calls of a program, those that its processes made as a worker or not, settled or not.
#[derive(Serialize)]
pub struct Stage {
    pub program: u32,
    pub drill: u32,
    pub nr: u32,
    pub worker: bool,
    pub settled: bool,
    pub count: u64,
}

impl Stage {
    /// `stage` as `enum stage` of shared.h has it.
    pub fn new(program: u32, drill: u32, stage: u32, nr: u32, count: u64) -> Self {
        let (worker, settled) = (stage & STAGE_WORKER != 0, stage & STAGE_SETTLED != 0);
        Stage { program, drill, nr, worker, settled, count }
    }
}

#[derive(Serialize)]
pub struct Fact {
    pub program: u32,
    pub drill: u32,
    pub nr: u32,
    pub args: Vec<u64>,
    pub count: u64,
    pub failed: u64,
}

/// One way in which one file was used; its order is the recording's.
#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileUse {
    pub program: u32,
    pub drill: u32,
    pub nr: u16,
    pub role: &'static str,
    pub path: String,
    pub error: u16,
    pub flags: u32,
    pub created: bool,
    pub count: u64,
}

/// Of the calls of a program, those by an instruction of `object`.
#[derive(Serialize)]
pub struct Through {
    pub program: u32,
    pub drill: u32,
    pub nr: u32,
    pub object: u32,
    pub count: u64,
}

/// What was done to one object through descriptors by one call.
#[derive(Serialize)]
pub struct Traffic {
    pub program: u32,
    pub drill: u32,
    pub nr: u32,
    pub object: String,
    pub component: String,
    pub count: u64,
    pub bytes: u64,
    pub jumps: u64,
}

/// A socket that was listened on.
#[derive(Serialize)]
pub struct Listener {
    pub program: u32,
    pub drill: u32,
    pub family: u16,
    #[serde(rename = "type")]
    pub kind: u16,
    pub address: String,
    pub port: u16,
    pub backlog: u64,
    pub queue_peak: u64,
    pub accepted: u64,
}

/// How often the kernel asked for a capability.
#[derive(Serialize)]
pub struct Capability {
    pub program: u32,
    pub drill: u32,
    pub capability: u64,
    pub count: u64,
    pub refused: u64,
}

/// Effective ids.
#[derive(Serialize)]
pub struct Identity {
    pub program: u32,
    pub drill: u32,
    pub uid: u64,
    pub gid: u64,
    pub no_new_privs: bool,
}

/// What a program started.
#[derive(Serialize)]
pub struct Start {
    pub program: u32,
    pub child: u32,
    pub drill: u32,
    pub how: &'static str,
    pub count: u64,
}

/// A type of file system that was mounted.
#[derive(Serialize)]
pub struct Interface {
    pub program: u32,
    pub drill: u32,
    pub kind: &'static str,
    pub name: String,
    pub count: u64,
}

/// Most alive at once, of the whole service; descriptors: of one process.
#[derive(Serialize)]
pub struct Peaks {
    pub processes: u64,
    pub threads: u64,
    pub sockets: u64,
    pub descriptors: u64,
    pub pipes: u64,
}

/// Most alive at once of those that ran one program; descriptors: of one process.
#[derive(Serialize)]
pub struct ProgramPeaks {
    pub program: u32,
    pub processes: u64,
    pub threads: u64,
    pub descriptors: u64,
}

/// Writes the recording under a temporary name, then renames it: there is never half a recording.
pub fn write(recording: &Recording, output: &Path) -> Result<(), Failure> {
    let mut temporary = output.as_os_str().to_owned();
    temporary.push(".tmp");
    let written =
        write_json(recording, Path::new(&temporary)).and_then(|()| std::fs::rename(&temporary, output));
    written.map_err(|error| {
        let _ = std::fs::remove_file(&temporary);
        let what = format!("cannot write {}: {error}", output.display());
        Failure::new(what, "free space or choose another folder, and record again")
    })
}

fn write_json(recording: &Recording, path: &Path) -> std::io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    serde_json::to_writer(&mut out, recording)?;
    out.write_all(b"\n")?;
    out.flush()
}
