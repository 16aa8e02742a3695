//! Which running processes are to be watched, and whether they may be. None of them is ever signalled.
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::control::{Control, open_pidfd};
use crate::failure::Failure;
use crate::say;
use crate::seed::seed;

type Result<T> = std::result::Result<T, Failure>;

const PF_KTHREAD: u64 = 0x0020_0000; // include/linux/sched.h

/// What the command line chose.
pub enum Chosen {
    Pids(Vec<i32>),
    /// A folder of a cgroup file system.
    Cgroup(PathBuf),
}

/// A service that somebody else started.
pub enum Attached {
    Processes(Vec<OwnedFd>),
    Cgroup(PathBuf),
}

impl Attached {
    /// Watches all that was chosen, and its descendants.
    pub fn start(chosen: &Chosen, control: &mut Control) -> Result<Self> {
        let pids = match chosen {
            Chosen::Pids(pids) => pids.clone(),
            Chosen::Cgroup(folder) => inhabitants(folder)?,
        };
        let attached = match chosen {
            Chosen::Pids(_) => Attached::Processes(pids.iter().map(|pid| open(*pid)).collect::<Result<_>>()?),
            Chosen::Cgroup(folder) => Attached::Cgroup(folder.clone()),
        };
        // After the descriptors are open: what is checked is what they stand for.
        pids.iter().try_for_each(|pid| check(*pid))?;
        seed(control, || attached.pidfds())?;
        control.begin()?;
        if control.living()?.is_empty() {
            return Err(Failure::new(
                "none of the processes lives any more",
                "give the pid of a running service",
            ));
        }
        Ok(attached)
    }

    /// Takes in what has joined the cgroup meanwhile; false when nothing of the service is left.
    pub fn look(&self, control: &mut Control) -> Result<bool> {
        if let Attached::Cgroup(folder) = self {
            let living = control.living()?;
            if members(folder).unwrap_or_default().iter().any(|pid| !living.contains(pid)) {
                seed(control, || self.pidfds())?;
                let joined = control.living()?;
                if joined.iter().any(|pid| !living.contains(pid)) {
                    say(&json!({"attached": joined}));
                }
            }
        }
        Ok(control.living()?.iter().any(|pid| Path::new(&format!("/proc/{pid}")).exists()))
    }

    fn pidfds(&self) -> Result<Vec<OwnedFd>> {
        match self {
            Attached::Processes(pidfds) => pidfds.iter().map(duplicate).collect(),
            // One that is gone meanwhile, or the cgroup itself, is no failure.
            Attached::Cgroup(folder) => Ok(members(folder)
                .unwrap_or_default()
                .iter()
                .filter_map(|pid| open_pidfd(*pid).ok())
                .collect()),
        }
    }
}

fn duplicate(pidfd: &OwnedFd) -> Result<OwnedFd> {
    pidfd.try_clone().map_err(|error| Failure::system("dup", error))
}

fn open(pid: i32) -> Result<OwnedFd> {
    open_pidfd(pid).map_err(|_| unknown(pid))
}

fn unknown(pid: i32) -> Failure {
    Failure::new(format!("there is no process {pid}"), "see `ps -e` for those that run")
}

fn refuse(pid: i32, why: &str) -> Failure {
    Failure::new(format!("process {pid} cannot be watched: {why}"), "give the main process of one service")
}

/// The fields of /proc/PID/stat from the state on (proc(5)).
fn stat(pid: i32) -> Option<Vec<String>> {
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&text);
    Some(text.rsplit_once(')')?.1.split_ascii_whitespace().map(String::from).collect())
}

fn parent(pid: i32) -> i32 {
    stat(pid).and_then(|fields| fields.get(1)?.parse().ok()).unwrap_or(0)
}

fn check(pid: i32) -> Result<()> {
    let fields = stat(pid).ok_or_else(|| unknown(pid))?;
    let flags: u64 = fields.get(6).and_then(|word| word.parse().ok()).unwrap_or(0);
    if pid == 1 {
        return Err(refuse(pid, "it is process 1, and all others descend from it"));
    }
    if flags & PF_KTHREAD != 0 {
        return Err(refuse(pid, "it is a thread of the kernel"));
    }
    if matches!(fields[0].as_str(), "Z" | "X") && !has_live_thread(pid) {
        return Err(refuse(pid, "it has ended, and its parent has not collected it"));
    }
    let mut ours = std::process::id() as i32;
    while ours > 0 {
        if ours == pid {
            return Err(refuse(pid, "onejob-probe itself descends from it"));
        }
        ours = parent(ours);
    }
    Ok(())
}

/// A main thread may end before the others; its process goes on.
fn has_live_thread(pid: i32) -> bool {
    fs::read_dir(format!("/proc/{pid}/task")).is_ok_and(|entries| entries.count() > 1)
}

fn inhabitants(folder: &Path) -> Result<Vec<i32>> {
    let pids = members(folder)?;
    if pids.is_empty() {
        let what = format!("no process is in {} or below it", folder.display());
        return Err(Failure::new(what, "start the service first"));
    }
    Ok(pids)
}

/// The processes of a cgroup and of all below it. Those outside our PID namespace show as 0.
fn members(folder: &Path) -> Result<Vec<i32>> {
    let text = fs::read_to_string(folder.join("cgroup.procs")).map_err(|error| {
        let what = format!("cannot read {}: {error}", folder.join("cgroup.procs").display());
        Failure::new(what, "give a folder below /sys/fs/cgroup")
    })?;
    let mut pids: Vec<i32> =
        text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            pids.extend(members(&entry.path()).unwrap_or_default()); // it may be gone by now
        }
    }
    Ok(pids)
}
