//! The keeper: a small process that holds the eBPF maps, and saves what was seen if the probe is killed.
//!
//! The maps live as long as a descriptor of them. The keeper, forked once they are loaded, waits at a
//! socket. Word by word it is told the drills, to detach (before the probe reads the maps), and that all
//! is written. The end of the socket without that last word is the end of a probe that was killed.
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::waitpid;
use nix::unistd::{self, ForkResult, Pid};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::control::Control;
use crate::failure::Failure;
use crate::gather::gather;
use crate::recording::{self, Recording};
use crate::say;

/// A line to the keeper.
#[derive(Serialize, Deserialize)]
enum Word {
    Drill(String),
    Detach,
    Done,
}

/// What is done to a recording before it is written.
pub type Complete<'a> = &'a dyn Fn(&mut Recording);

/// The probe's end; dropping it sends the keeper home.
pub struct Keeper {
    socket: UnixStream,
    pid: Pid,
}

impl Keeper {
    /// Forks it. `foreign` are descriptors that are meant for others and that it must not hold.
    pub fn start(
        control: &mut Control,
        output: &Path,
        drill: &str,
        foreign: &[OwnedFd],
        complete: Complete<'_>,
    ) -> Result<Self, Failure> {
        let (ours, theirs) = UnixStream::pair().map_err(|error| Failure::system("socketpair", error))?;
        // SAFETY: this process has one thread, so the child may do what any process may.
        match unsafe { unistd::fork() }.map_err(|error| Failure::system("fork", error))? {
            ForkResult::Parent { child } => Ok(Keeper { socket: ours, pid: child }),
            ForkResult::Child => {
                drop(ours);
                stand_aside(foreign);
                let watch = Watch { output: output.to_path_buf(), drills: vec![drill.to_string()] };
                watch.run(control, theirs, complete);
                // SAFETY: _exit ends the process without running anything of the parent's.
                unsafe { libc::_exit(0) }
            }
        }
    }

    /// A drill begins that there was not before. Told before the kernel is, so that it is known.
    pub fn note_drill(&mut self, name: &str) {
        self.tell(&Word::Drill(name.to_string()));
    }

    /// Has it detach; when this returns, the probe's own links are the last ones.
    pub fn detach(&mut self) {
        self.tell(&Word::Detach);
        let _ = self.socket.read(&mut [0]); // its answer, or its end
    }

    /// A keeper that is gone cannot save anything, which is no reason to end the recording.
    fn tell(&mut self, word: &Word) {
        let line = serde_json::to_string(word).expect("a word is always JSON");
        let _ = self.socket.write_all(format!("{line}\n").as_bytes());
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.tell(&Word::Done);
        let _ = waitpid(self.pid, None); // it may have been reaped with the service's orphans
    }
}

/// Leaves the probe's session, so that what ends the probe's group spares it, and gives up what is
/// not its own. Standard output it keeps: whoever reads the probe sees by its end that all is done.
fn stand_aside(foreign: &[OwnedFd]) {
    let _ = unistd::setsid();
    let _ = nix::sys::prctl::set_name(c"onejob-keeper");
    let _ = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]).thread_block();
    for descriptor in foreign {
        // SAFETY: this process leaves by _exit, so their owners are never dropped here.
        unsafe { libc::close(descriptor.as_raw_fd()) };
    }
    if let Ok(nothing) = std::fs::File::open("/dev/null") {
        // SAFETY: nothing here owns descriptor 0.
        unsafe { libc::dup2(nothing.as_raw_fd(), 0) };
    }
}

/// What the keeper knows.
struct Watch {
    output: PathBuf,
    drills: Vec<String>,
}

impl Watch {
    fn run(mut self, control: &mut Control, mut socket: UnixStream, complete: Complete<'_>) {
        let lines = socket.try_clone().map(BufReader::new).into_iter().flat_map(BufRead::lines);
        for line in lines.map_while(Result::ok) {
            match serde_json::from_str(&line) {
                Ok(Word::Drill(name)) => self.drills.push(name),
                Ok(Word::Detach) => {
                    control.stop();
                    let _ = socket.write_all(b"\n");
                }
                Ok(Word::Done) => return,
                Err(_) => {} // the half line of a probe that was killed meanwhile
            }
        }
        self.save(control, complete);
    }

    /// The probe was killed: what was seen until now is written, marked as not whole.
    fn save(&self, control: &mut Control, complete: Complete<'_>) {
        control.stop();
        let saved = gather(control, &self.drills).and_then(|mut recording| {
            complete(&mut recording);
            recording.lost.insert("probe_killed", 1);
            recording::write(&recording, &self.output)
        });
        match saved {
            Ok(()) => say(&json!({"saved": self.output.to_string_lossy()})),
            Err(failure) => say(&json!({"error": failure.what, "hint": failure.hint})),
        }
    }
}
