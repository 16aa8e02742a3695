//! What the service holds and does, looked at every few seconds: the observations of an instance.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::cores::Cores;
use crate::counts;
use crate::folders::Folders;
use crate::instance::Instance;
use crate::json;
use crate::processes::{self, Seen};
use crate::records::Records;
use crate::seccomp::Denials;
use crate::shutdown::Ending;
use crate::sys::{self, now_ms};
use crate::tracer::Tracer;

/// A look costs some system calls for each process and descriptor; peaks between two are not seen.
const LOOK_MS: u64 = 5_000;
/// The first look, when the service has begun.
const FIRST_MS: u64 = 1_000;
/// How old the kept file may be when there is no news, and how often folders are looked through.
const KEEP_MS: u64 = 60_000;
const FILE: &str = "observations.json";
const MOST_PROCESSES: usize = 512;
const MOST_PROGRAMS: usize = 64;
const MOST_DESCRIPTORS: usize = 4096;

/// The most at once: of a program, or of the whole service.
#[derive(Default, Clone, Copy, PartialEq)]
struct Peak {
    processes: u64,
    threads: u64,
    /// One more than the highest number in one process.
    descriptors: u64,
    /// Of one process.
    resident_kib: u64,
}

impl Peak {
    fn raise(&mut self, other: Peak) -> bool {
        let before = *self;
        self.processes = self.processes.max(other.processes);
        self.threads = self.threads.max(other.threads);
        self.descriptors = self.descriptors.max(other.descriptors);
        self.resident_kib = self.resident_kib.max(other.resident_kib);
        before != *self
    }

    /// With one more process beside it.
    fn add(&mut self, process: Peak) {
        let together = (self.processes + process.processes, self.threads + process.threads);
        self.raise(process);
        (self.processes, self.threads) = together;
    }

    fn fields(&self) -> String {
        format!(
            r#""processes":{},"threads":{},"descriptors":{},"resident_kib":{}"#,
            self.processes, self.threads, self.descriptors, self.resident_kib
        )
    }
}

pub struct Observer<'a> {
    instance: &'a Instance,
    records: Option<Records>,
    cores: Option<Cores>,
    begun_ms: u64,
    pub due_ms: u64,
    kept_ms: u64,
    /// Something is new since the file was kept.
    news: bool,
    denied: u64,
    whole: Peak,
    sockets: usize,
    programs: Vec<(String, Peak)>,
    /// The processes of the last look as a JSON list, and how many more there were.
    processes: String,
    unlisted: usize,
    folders: Folders,
    folders_ms: u64,
    /// How often the service was started again, and how it had ended the last time.
    restarts: u64,
    last_end: String,
}

impl<'a> Observer<'a> {
    /// `records`: where the observations are kept; None where the instance keeps no data.
    pub fn new(instance: &'a Instance, records: Option<Records>, cores: Option<Cores>) -> Self {
        let now = now_ms();
        Observer {
            instance,
            records,
            cores,
            begun_ms: now,
            due_ms: now + FIRST_MS,
            kept_ms: now,
            news: true,
            denied: 0,
            whole: Peak::default(),
            sockets: 0,
            programs: Vec::new(),
            processes: String::from("[]"),
            unlisted: 0,
            folders: Folders::default(),
            folders_ms: 0,
            restarts: 0,
            last_end: String::new(),
        }
    }

    /// The service has ended so, and was started again, `restarts` times by now.
    pub fn started_again(&mut self, restarts: u64, ending: Ending) {
        (self.restarts, self.last_end, self.news) = (restarts, format!("{ending}"), true);
    }

    /// A traced task has stopped, with this status: it may be about to end by its own failure.
    pub fn stopped(&mut self, tid: i32, status: i32, tracer: Option<&mut Tracer>) {
        if let (Some(cores), Some(tracer)) = (self.cores.as_mut(), tracer) {
            self.news |= cores.take(tid, status, tracer);
        }
    }

    /// Look, if it is time, and keep what is new. `standing` as for `processes::list_as_json`.
    pub fn look_if_due(&mut self, denials: &Denials, standing: impl FnMut(i32) -> Option<String>) {
        if now_ms() >= self.due_ms {
            self.look(standing);
            self.keep_if_news(denials);
        }
    }

    /// Look now, and tell all as a JSON object.
    pub fn report(&mut self, denials: &Denials, standing: impl FnMut(i32) -> Option<String>) -> String {
        self.look(standing);
        self.document(denials)
    }

    /// Keep the last word, when the service has ended.
    pub fn finish(&mut self, denials: &Denials) {
        self.processes = String::from("[]");
        self.news = true;
        self.keep_if_news(denials);
        (self.records, self.cores) = (None, None); // an open folder would keep the data partition from being unmounted
    }

    fn keep_if_news(&mut self, denials: &Denials) {
        let now = now_ms();
        let more_denied = denials.total() > self.denied;
        if !self.news && !more_denied && now < self.kept_ms + KEEP_MS {
            return;
        }
        (self.kept_ms, self.news, self.denied) = (now, false, denials.total());
        let document = self.document(denials);
        if let Some(records) = self.records.as_mut() {
            records.keep(FILE, document.as_bytes());
        }
    }

    fn look(&mut self, mut standing: impl FnMut(i32) -> Option<String>) {
        let now = now_ms();
        self.due_ms = now + LOOK_MS;
        if self.folders_ms == 0 || now >= self.folders_ms + KEEP_MS {
            self.folders = Folders::look(&self.instance.mounts);
            self.folders_ms = now;
        }
        let Ok(all) = processes::all() else { return };
        let mut sockets = Vec::new();
        let mut whole = Peak::default();
        let mut programs: Vec<(String, Peak)> = Vec::new();
        let mut listed = Vec::new();
        for seen in &all {
            let peak = measure(seen, &mut sockets);
            whole.add(peak);
            of_program(&mut programs, &seen.program).add(peak);
            if listed.len() < MOST_PROCESSES {
                let standing = standing(seen.pid).map_or(String::new(), |members| format!(",{members}"));
                let held = format!(
                    r#""threads":{},"descriptors":{},"resident_kib":{},"page_faults":{}"#,
                    peak.threads, peak.descriptors, peak.resident_kib, seen.faults
                );
                listed.push(format!("{{{},{held}{standing}}}", seen.fields()));
            }
        }
        self.unlisted = all.len() - listed.len();
        self.processes = json::list(listed.into_iter());
        sockets.sort_unstable();
        sockets.dedup(); // after a fork both have it
        self.news |= sockets.len() > self.sockets;
        self.sockets = self.sockets.max(sockets.len());
        self.news |= self.whole.raise(whole);
        for (program, peak) in &programs {
            if self.programs.len() < MOST_PROGRAMS || self.programs.iter().any(|(name, _)| name == program) {
                self.news |= of_program(&mut self.programs, program).raise(*peak);
            }
        }
    }

    fn document(&self, denials: &Denials) -> String {
        let programs = self
            .programs
            .iter()
            .map(|(program, peak)| format!(r#"{{"program":{},{}}}"#, json::text(program), peak.fields()));
        format!(
            concat!(
                r#"{{"format":1,"name":{},"time":{},"running_ms":{},"peaks":{{{},"sockets":{}}},"#,
                r#""restarts":{},"last_end":{},"programs":{},"processes":{},"processes_unlisted":{},"denials":{},"denials_unlisted":{},{},"cores":{},{}}}"#,
            ),
            json::text(&self.instance.name),
            sys::unix_time(),
            now_ms() - self.begun_ms,
            self.whole.fields(),
            self.sockets,
            self.restarts,
            json::text(&self.last_end),
            json::list(programs),
            self.processes,
            self.unlisted,
            denials.to_json(),
            denials.unlisted,
            counts::fields(),
            self.cores.as_ref().map_or(String::from("[]"), Cores::to_json),
            self.folders.fields(),
        )
    }
}

fn measure(seen: &Seen, sockets: &mut Vec<u64>) -> Peak {
    let left = MOST_DESCRIPTORS.saturating_sub(sockets.len());
    Peak {
        processes: 1,
        threads: seen.threads,
        descriptors: processes::descriptors_of(seen.pid, sockets, left).unwrap_or(0),
        resident_kib: processes::peak_resident_kib(seen.pid).unwrap_or(0),
    }
}

fn of_program<'a>(programs: &'a mut Vec<(String, Peak)>, name: &str) -> &'a mut Peak {
    let place = programs.iter().position(|(program, _)| program == name).unwrap_or_else(|| {
        programs.push((name.into(), Peak::default()));
        programs.len() - 1
    });
    &mut programs[place].1
}
