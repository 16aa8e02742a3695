//! Loads, steers and reads the eBPF program.
use std::ffi::OsStr;
use std::io::{ErrorKind as IoErrorKind, Read};
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use libbpf_rs::{
    ErrorKind, Iter, Link, Map, MapCore, MapFlags, MapMut, Object, ObjectBuilder, OpenObject, PrintLevel,
};

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use crate::failure::Failure;
use crate::layout::{self, Totals};
use crate::settling;

static PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/probe.bpf.o"));

/// How long killed processes may take to be gone.
const KILL_TIME: Duration = Duration::from_secs(10);

pub struct Control {
    object: Object,
    links: Vec<Link>,
    /// Threads that could not be followed before the watch began, and were found after all.
    found_late: u64,
}

/// A key, what was counted for it, and for callers in which object the instruction lies.
pub struct Tallied {
    pub key: Vec<u8>,
    pub sums: [u64; 3],
    pub object: u32,
}

type Result<T> = std::result::Result<T, Failure>;

fn refused(doing: &str, error: &libbpf_rs::Error) -> Failure {
    Failure::unusable(
        format!("cannot {doing} the eBPF program: {error:#}"),
        "run `onejob-probe check`; ONEJOB_PROBE_DEBUG=1 shows what libbpf and the kernel say",
    )
}

/// A map could not be used; their sizes are fixed, so this is lack of memory or a fault of ours.
fn map_failed(name: &str, error: libbpf_rs::Error) -> Failure {
    Failure::system(&format!("cannot use the eBPF map {name}"), error)
}

fn print_libbpf(_: PrintLevel, text: String) {
    eprint!("{text}");
}

/// Programs for tracepoints that this kernel lacks are left out.
fn load_what_fits(mut open: OpenObject, seeding: bool) -> libbpf_rs::Result<Object> {
    let symbols = std::fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    for mut program in open.progs_mut().filter(|program| program.name() == "on_capability") {
        program.set_autoload(symbols.contains(" __traceiter_cap_capable\n"));
    }
    for mut program in open.progs_mut().filter(|program| is_iterator(program.section())) {
        program.set_autoload(seeding);
    }
    open.load()
}

fn is_iterator(section: &OsStr) -> bool {
    section.as_encoded_bytes().starts_with(b"iter/")
}

impl Control {
    /// Loads and attaches; nothing is watched yet. `seeding`: with the iterators of seed.h; `settling` as
    /// for `settling::rules`.
    pub fn start(seeding: bool, settling: &[u32]) -> Result<Self> {
        let debug = std::env::var_os("ONEJOB_PROBE_DEBUG").is_some();
        libbpf_rs::set_print(debug.then_some((PrintLevel::Info, print_libbpf)));
        let open = ObjectBuilder::default().open_memory(PROGRAM);
        let object =
            open.and_then(|open| load_what_fits(open, seeding)).map_err(|error| refused("load", &error))?;
        let mut control = Control { object, links: Vec::new(), found_late: 0 };
        control.fill_rules(settling)?;
        control.attach()?;
        Ok(control)
    }

    fn attach(&mut self) -> Result<()> {
        let programs = self.object.progs_mut().filter(|program| program.autoload());
        for program in programs.filter(|program| !is_iterator(program.section())) {
            let link = program.attach().map_err(|error| refused("attach", &error))?;
            self.links.push(link);
        }
        Ok(())
    }

    /// Stops watching; the maps stay.
    pub fn stop(&mut self) {
        self.links.clear();
    }

    fn fill_rules(&mut self, settling: &[u32]) -> Result<()> {
        for rule in settling::rules(settling) {
            self.put("rules", &rule.nr.to_ne_bytes(), &rule.to_bytes())?;
        }
        Ok(())
    }

    pub fn switch_drill(&mut self, drill: u32) -> Result<()> {
        self.put("drill", &0u32.to_ne_bytes(), &drill.to_ne_bytes())
    }

    /// Watches the process of this pidfd from its next successful exec on.
    pub fn watch(&mut self, pidfd: BorrowedFd<'_>) -> Result<()> {
        self.put("threads", &pidfd.as_raw_fd().to_ne_bytes(), &[0; layout::THREAD_SIZE])
    }

    /// Has the iterators take the process of this pidfd; one that is gone, or known, is left as it is.
    pub fn choose(&mut self, pidfd: BorrowedFd<'_>) -> Result<()> {
        let mut thread = [0; layout::THREAD_SIZE];
        thread[layout::CHOSEN] = 1;
        let chosen =
            self.map_mut("threads").update(&pidfd.as_raw_fd().to_ne_bytes(), &thread, MapFlags::NO_EXIST);
        allow(chosen, &[ErrorKind::AlreadyExists, ErrorKind::NotFound])
            .map_err(|error| map_failed("threads", error))
    }

    /// A use of a file that happened before the watch; what is known already is left as it is.
    pub fn put_file(&mut self, slot: u32, nr: u16, role: u8, flags: u32, path: &[u8]) -> Result<()> {
        let Some((name, key)) = layout::file_key(slot, nr, role, flags, path) else { return Ok(()) };
        let mut tallied = [0; layout::TALLIED_SIZE]; // its place: none
        tallied[..8].copy_from_slice(&1u64.to_ne_bytes());
        let put = self.map_mut(name).update(&key, &tallied, MapFlags::NO_EXIST);
        allow(put, &[ErrorKind::AlreadyExists]).map_err(|error| map_failed(name, error))
    }

    /// Runs an iterator over all tasks of the kernel; what it says.
    pub fn iterate(&mut self, name: &str) -> Result<Vec<u8>> {
        let program = self.object.progs_mut().find(|program| program.name() == OsStr::new(name));
        let program = program.unwrap_or_else(|| panic!("probe.bpf.c has no program {name}"));
        let link = program.attach().map_err(|error| refused("attach", &error))?;
        let mut iterator = Iter::new(&link).map_err(|error| refused("iterate with", &error))?;
        let (mut said, mut chunk) = (Vec::new(), [0; 4096]);
        loop {
            match iterator.read(&mut chunk) {
                Ok(0) => return Ok(said),
                Ok(size) => said.extend_from_slice(&chunk[..size]),
                Err(error) if matches!(error.kind(), IoErrorKind::Interrupted | IoErrorKind::WouldBlock) => {}
                Err(error) => return Err(Failure::system("cannot read an eBPF iterator", error)),
            }
        }
    }

    fn put(&mut self, name: &str, key: &[u8], value: &[u8]) -> Result<()> {
        self.map_mut(name).update(key, value, MapFlags::ANY).map_err(|error| map_failed(name, error))
    }

    fn map_mut(&mut self, name: &str) -> MapMut<'_> {
        let found = self.object.maps_mut().find(|map| map.name() == OsStr::new(name));
        found.unwrap_or_else(|| panic!("probe.bpf.c has no map {name}"))
    }

    fn map(&self, name: &str) -> Map<'_> {
        let found = self.object.maps().find(|map| map.name() == OsStr::new(name));
        found.unwrap_or_else(|| panic!("probe.bpf.c has no map {name}"))
    }

    /// All keys and values of a hash map.
    pub fn entries(&self, name: &str) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let map = self.map(name);
        let mut entries = Vec::new();
        for key in map.keys() {
            let value = map.lookup(&key, MapFlags::ANY).map_err(|error| map_failed(name, error))?;
            entries.extend(value.map(|value| (key, value)));
        }
        Ok(entries)
    }

    fn at(&self, name: &str, index: u32) -> Result<Vec<u8>> {
        let value = self.map(name).lookup(&index.to_ne_bytes(), MapFlags::ANY);
        Ok(value.map_err(|error| map_failed(name, error))?.unwrap_or_default())
    }

    /// All keys of a hash map that are counted, with what was counted on all processors.
    pub fn tallied(&self, name: &str) -> Result<Vec<Tallied>> {
        let tallies = self.map("tallies");
        let entries = self.entries(name)?.into_iter();
        entries
            .map(|(key, value)| {
                let mut sums = layout::words_at(&value);
                if let Some(index) = layout::u32_at(&value, layout::PLACE).checked_sub(1) {
                    let found = tallies.lookup_percpu(&index.to_ne_bytes(), MapFlags::ANY);
                    for tally in found.map_err(|error| map_failed("tallies", error))?.unwrap_or_default() {
                        let words = layout::words_at(&tally);
                        sums.iter_mut().zip(words).for_each(|(sum, word)| *sum += word);
                    }
                }
                Ok(Tallied { key, sums, object: layout::u32_at(&value, layout::OBJECT) })
            })
            .collect()
    }

    pub fn totals(&self) -> Result<Totals> {
        let bytes = self.at("totals", 0)?;
        assert!(bytes.len() == Totals::SIZE, "layout.rs and shared.h differ");
        let mut totals = Totals::parse(&bytes);
        totals.lost_threads -= self.found_late;
        Ok(totals)
    }

    /// Of what runs already, all is watched: what was lost until now has been found.
    pub fn begin(&mut self) -> Result<()> {
        self.found_late = self.totals()?.lost_threads;
        Ok(())
    }

    /// Events that the kernel kept from our programs, because one was already at work on that
    /// processor.
    pub fn missed(&self) -> u64 {
        self.object.progs().map(|program| recursion_misses(program.as_fd())).sum()
    }

    /// The processes that are watched, as our PID namespace numbers them.
    pub fn living(&self) -> Result<Vec<i32>> {
        let entries = self.entries("processes")?;
        Ok(entries.iter().map(|(_, value)| layout::u32_at(value, 4) as i32).collect())
    }

    /// Kills every watched process; again and again, because a fork may escape the first rounds.
    /// `first` dies first, so that it does not get to exit because its children are gone.
    pub fn kill_all(&self, first: Pid, mut reap: impl FnMut()) -> Result<()> {
        let deadline = Instant::now() + KILL_TIME;
        loop {
            let mut living = self.living()?;
            living.sort_by_key(|pid| *pid != first.as_raw());
            for pid in living.iter().filter(|pid| **pid > 1) {
                let _ = signal::kill(Pid::from_raw(*pid), Signal::SIGKILL); // gone is as good
            }
            reap();
            if living.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                let what = format!("processes {living:?} do not die");
                return Err(Failure::new(what, "see `ps -o pid,stat,wchan` for what they wait for"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Takes these kinds of failure as success.
fn allow(done: libbpf_rs::Result<()>, kinds: &[ErrorKind]) -> libbpf_rs::Result<()> {
    done.or_else(|error| if kinds.contains(&error.kind()) { Ok(()) } else { Err(error) })
}

fn recursion_misses(program: BorrowedFd<'_>) -> u64 {
    // SAFETY: all zeroes is a valid bpf_prog_info, which has only numbers in it.
    let mut info: libbpf_sys::bpf_prog_info = unsafe { zeroed() };
    let mut size = size_of::<libbpf_sys::bpf_prog_info>() as u32;
    // SAFETY: `info` is writable for `size` bytes, and the kernel writes no more than that.
    let failed =
        unsafe { libbpf_sys::bpf_obj_get_info_by_fd(program.as_raw_fd(), (&raw mut info).cast(), &mut size) };
    if failed == 0 { info.recursion_misses } else { 0 }
}

/// A pidfd of a process.
pub fn open_pidfd(pid: i32) -> Result<OwnedFd> {
    // SAFETY: pidfd_open takes two numbers.
    let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if descriptor < 0 {
        return Err(Failure::system("pidfd_open", std::io::Error::last_os_error()));
    }
    // SAFETY: the call succeeded, so this is a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor as i32) })
}
