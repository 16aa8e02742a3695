//! The plan that is baked into the root: `/.onejob/instance.json`, read and checked.

use alloc::string::String;
use alloc::vec::Vec;

use serde::Deserialize;

use crate::administrator;
use crate::failure::{Failure, Outcome};
use crate::files;
use crate::job::JobPlan;
use crate::rows::Role;
use crate::sys::LAST_SIGNAL;

const PATH: &str = "/.onejob/instance.json";
/// NGROUPS_MAX of linux/limits.h.
const MOST_GROUPS: usize = 65536;
const LARGEST: usize = 1 << 20;
const MOST_ROWS: usize = 1024;
const MOST_DOMAINS: usize = 1024;
const MOST_LOGS: usize = 1024;
const REBUILD: &str = "build the image again with the onejob that this process 1 belongs to";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instance {
    format: u32,
    pub name: String,
    pub command: Vec<String>,
    pub environment: Vec<String>,
    pub directory: String,
    pub user: u32,
    pub group: u32,
    pub groups: Vec<u32>,
    pub hostname: String,
    pub mounts: Vec<Mount>,
    /// How large the logs' share of the data partition is.
    pub share_kib: Option<u64>,
    pub machine: Machine,
    pub limits: Vec<Limit>,
    pub schedule: Schedule,
    pub sysctls: Vec<Sysctl>,
    /// Sysctls that have a size: what a container has must be as large.
    pub sizes: Vec<Sysctl>,
    pub stop_signal: i32,
    pub stop_timeout_ms: u64,
    /// Absent where a service that fails is not started again.
    pub restart: Option<RestartPlan>,
    /// When a slot of a disk that is on trial is good.
    #[serde(default)]
    pub ready: Option<ReadyPlan>,
    /// The workload is no service, but one that ends.
    pub job: Option<JobPlan>,
    pub no_new_privileges: bool,
    pub capabilities: Vec<u8>,
    /// Absent where the service may use any TCP port.
    pub network: Option<Network>,
    pub denied: Denied,
    /// What the service starts with: all that any of its programs may call.
    pub policy: Place,
    /// The public key, ed25519 in hexadecimal, of who may shut the system down.
    #[serde(default)]
    pub administrator: Option<String>,
    /// The call matrix; without it, every program keeps the policy of the whole service.
    #[serde(default)]
    pub rows: Vec<RowPlan>,
    /// Numbers of calls: the first of these settles a process (settle.rs).
    #[serde(default)]
    pub settling: Vec<u64>,
    /// Where the preloaded memory manager counts; absent where there is none.
    pub counts: Option<Counts>,
    /// What programs may change and execute; without it, owners and modes of files decide alone.
    pub landlock: Option<LandlockPlan>,
    /// How many core files there may be, and how many KiB each may have.
    pub core_files: Option<(u32, u64)>,
    /// Files that can only be extended, once the service has settled.
    #[serde(default)]
    pub logs: Vec<LogPlan>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LandlockPlan {
    /// Whether a kernel that lacks it ends the start.
    pub required: bool,
    /// The first is put on the service's first process, before it executes anything.
    pub domains: Vec<DomainPlan>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DomainPlan {
    /// As /proc/PID/exe shows them.
    pub programs: Vec<String>,
    /// Path, and what may be done below it: LANDLOCK_ACCESS_FS_* of linux/landlock.h.
    pub rules: Vec<(String, u64)>,
}

/// How often in a row a service that fails is started again, and after which rest: `first_ms`, then twice
/// as long each time up to `longest_ms`. One that ran for `steady_ms` begins anew.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestartPlan {
    pub attempts: u32,
    pub first_ms: u64,
    pub longest_ms: u64,
    pub steady_ms: u64,
}

/// Each of the ports has somebody who listens, by then.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadyPlan {
    pub within_ms: u64,
    pub ports: Vec<u16>,
}

/// The path of a log, and whether the service changes its owner or mode.
pub type LogPlan = (String, bool);

/// A folder, how many files are in it (1.counts, 2.counts...), and the bytes of each.
pub type Counts = (String, usize, u64);

/// What becomes of whoever makes a call that the policy or its row lacks. It is counted, but in `Off`.
#[derive(Deserialize, Clone, Copy, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Denied {
    /// The call fails with EPERM.
    Eperm,
    /// The process is killed.
    Kill,
    /// The call is let through.
    Audit,
    /// There is no filter and no tracer at all: what a benchmark compares with.
    Off,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowPlan {
    /// As /proc/PID/exe shows it.
    pub program: String,
    pub role: Role,
    pub boot: Place,
    /// Absent where the process is not narrowed any further.
    pub serve: Option<Place>,
}

/// Where in the file of filters one lies: the number of its first instruction, and how many it has.
pub type Place = (usize, usize);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    pub path: String,
    pub kind: Kind,
    /// tmpfs only: its size, which is a must.
    pub size_kib: Option<u64>,
    /// tmpfs only: the mode of its top directory; that of the directory in the root otherwise.
    pub mode: Option<u32>,
    /// The service cannot change anything there; process 1 can.
    #[serde(default)]
    pub read_only: bool,
    /// Data only: it lies in the logs' share.
    #[serde(default)]
    pub share: bool,
    /// devtmpfs only: the device nodes that stay, by path; all of them where this is absent.
    pub devices: Option<Vec<String>>,
    /// devtmpfs only: block devices stay as well, whichever the machine has or gets.
    #[serde(default)]
    pub block_devices: bool,
}

#[derive(Deserialize, PartialEq, Clone, Copy)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Proc,
    Sysfs,
    Devtmpfs,
    Tmpfs,
    Data,
}

/// The least that the service can do with.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    pub processors: u64,
    pub memory_kib: u64,
}

/// What differs from the usual; sched(7), nice(2), sched_setaffinity(2).
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    pub policy: Option<u32>,
    #[serde(default)]
    pub priority: u32,
    pub nice: Option<i32>,
    pub processors: Option<Vec<u32>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    pub resource: Resource,
    pub soft: u64,
    pub hard: u64,
}

/// What setrlimit(2) limits; the names without RLIMIT_, in lower case.
#[derive(Deserialize, Clone, Copy, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Resource {
    As,
    Core,
    Cpu,
    Data,
    Fsize,
    Locks,
    Memlock,
    Msgqueue,
    Nice,
    Nofile,
    Nproc,
    Rss,
    Rtprio,
    Rttime,
    Sigpending,
    Stack,
}

/// A use of TCP ports that is restricted is for those of `ports` alone.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    pub restricted: Vec<PortUse>,
    pub ports: Vec<Port>,
}

#[derive(Deserialize, Clone, Copy, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum PortUse {
    Listen,
    Connect,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Port {
    #[serde(rename = "use")]
    pub used: PortUse,
    pub port: u16,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sysctl {
    pub name: String,
    pub value: String,
}

/// Read and check the plan.
pub fn load() -> Outcome<Instance> {
    let text = files::read_whole(PATH, LARGEST)?;
    let instance: Instance = serde_json::from_slice(&text)
        .map_err(|error| Failure::new(format_args!("{PATH}: {error}"), REBUILD))?;
    match fault_of(&instance) {
        Some(fault) => Err(Failure::new(format_args!("{PATH}: {fault}"), REBUILD)),
        None => Ok(instance),
    }
}

/// The first thing that is wrong with values that have the right type.
fn fault_of(instance: &Instance) -> Option<&'static str> {
    let words = instance.command.iter().chain(&instance.environment);
    let faults = [
        (instance.format != 1, "`format` is not 1"),
        (instance.command.is_empty(), "`command` is empty"),
        (
            !instance.command.first().is_some_and(|word| is_plain(word)),
            "`command` does not start with an absolute path",
        ),
        (
            words.clone().any(|word| word.contains('\0')),
            "a word of `command` or `environment` holds a zero byte",
        ),
        (
            instance.environment.iter().any(|word| !word.contains('=')),
            "a word of `environment` is not KEY=value",
        ),
        (!is_plain(&instance.directory), "`directory` is not an absolute path"),
        (instance.hostname.len() > 64, "`hostname` is longer than 64 bytes"),
        (
            instance.limits.iter().any(|limit| limit.soft > limit.hard),
            "a `soft` limit is above its `hard` one",
        ),
        (
            instance.sysctls.iter().chain(&instance.sizes).any(|sysctl| !is_sysctl(&sysctl.name)),
            "a sysctl `name` is not of the form net.core.somaxconn",
        ),
        (instance.groups.len() > MOST_GROUPS, "more `groups` than the kernel takes"),
        (!(1..=LAST_SIGNAL).contains(&instance.stop_signal), "`stop_signal` is not 1 to 64"),
        (instance.capabilities.iter().any(|number| *number > 63), "a capability is above 63"),
        (instance.rows.len() > MOST_ROWS, "more `rows` than 1024"),
        (
            instance.rows.iter().any(|row| !is_plain(&row.program)),
            "a row's `program` is not an absolute path",
        ),
        (
            instance
                .administrator
                .as_ref()
                .is_some_and(|key| administrator::bytes_of(key).is_none_or(|key| key.len() != 32)),
            "`administrator` is not 32 bytes in hexadecimal",
        ),
        (has_twin_rows(&instance.rows), "two `rows` of one program and role"),
        (
            instance.counts.as_ref().is_some_and(|(folder, ..)| !is_plain(folder)),
            "the folder of `counts` is not an absolute path",
        ),
        (
            instance.counts.as_ref().is_some_and(|(_, files, _)| *files > MOST_ROWS),
            "more files of `counts` than 1024",
        ),
        (instance.logs.len() > MOST_LOGS, "more `logs` than 1024"),
        (instance.logs.iter().any(|(path, _)| !is_plain(path)), "a path of `logs` is not absolute"),
    ];
    let mut faults = faults.into_iter().chain(faults_of_mounts(&instance.mounts, instance.share_kib));
    let found = faults.find(|(wrong, _)| *wrong).map(|(_, words)| words);
    found.or_else(|| fault_of_landlock(instance.landlock.as_ref()?))
}

fn faults_of_mounts(mounts: &[Mount], share_kib: Option<u64>) -> [(bool, &'static str); 7] {
    [
        (
            mounts.iter().any(|mount| !is_plain(&mount.path) || mount.path == "/"),
            "a mount `path` is not an absolute path below /",
        ),
        (
            mounts.iter().any(|mount| mount.size_kib.is_some() != (mount.kind == Kind::Tmpfs)),
            "`size_kib` belongs to each tmpfs and to nothing else",
        ),
        (
            mounts.iter().any(|mount| mount.mode.is_some() && mount.kind != Kind::Tmpfs),
            "`mode` belongs to a tmpfs",
        ),
        (
            mounts.iter().any(|mount| mount.devices.is_some() && mount.kind != Kind::Devtmpfs),
            "`devices` belong to a devtmpfs",
        ),
        (
            mounts.iter().any(|mount| mount.share && mount.kind != Kind::Data),
            "`share` belongs to a data mount",
        ),
        (
            mounts.iter().any(|mount| mount.share) && share_kib.is_none_or(|size| size == 0),
            "a mount lies in a `share` that has no `share_kib`",
        ),
        (has_nested_data(mounts), "a data mount lies inside another one"),
    ]
}

fn fault_of_landlock(plan: &LandlockPlan) -> Option<&'static str> {
    if plan.domains.len() > MOST_DOMAINS {
        return Some("`landlock` has more `domains` than 1024");
    }
    let mut rules = plan.domains.iter().flat_map(|domain| &domain.rules);
    rules.any(|(path, _)| !is_plain(path)).then_some("the path of a rule of `landlock` is not absolute")
}

/// An absolute path that says where it leads: no `..`, no zero bytes.
fn is_plain(path: &str) -> bool {
    path.starts_with('/') && !path.contains('\0') && path.split('/').all(|part| part != "..")
}

/// One directory of the data partition cannot be the content of two mounts.
fn has_nested_data(mounts: &[Mount]) -> bool {
    let data = || mounts.iter().filter(|mount| mount.kind == Kind::Data);
    data().any(|outer| {
        data().any(|inner| {
            inner.path.strip_prefix(outer.path.as_str()).is_some_and(|rest| rest.starts_with('/'))
        })
    })
}

fn has_twin_rows(rows: &[RowPlan]) -> bool {
    rows.iter().enumerate().any(|(index, row)| {
        rows[..index].iter().any(|other| other.role == row.role && other.program == row.program)
    })
}

fn is_sysctl(name: &str) -> bool {
    name.split('.').all(|part| !part.is_empty()) && !name.contains(['/', '\0'])
}
