//! How many processes and threads run each program, and the most at once.
use std::collections::BTreeMap;

/// Those of one program.
#[derive(Default)]
struct Crowd {
    processes: u64,
    threads: u64,
    peaks: Peaks,
}

/// The most at once; `descriptors` is one more than the highest in one process.
#[derive(Default, Clone, Copy)]
pub struct Peaks {
    pub processes: u64,
    pub threads: u64,
    pub descriptors: u64,
}

/// By the tally's number of the program.
#[derive(Default)]
pub struct Crowds(BTreeMap<u32, Crowd>);

impl Crowds {
    /// A thread more runs the program, the first of its process perhaps.
    pub fn join(&mut self, program: u32, with_process: bool) {
        let crowd = self.0.entry(program).or_default();
        crowd.threads += 1;
        crowd.processes += u64::from(with_process);
        crowd.peaks.threads = crowd.peaks.threads.max(crowd.threads);
        crowd.peaks.processes = crowd.peaks.processes.max(crowd.processes);
    }

    /// A thread less, the last of its process perhaps.
    pub fn leave(&mut self, program: u32, with_process: bool) {
        let crowd = self.0.entry(program).or_default();
        crowd.threads = crowd.threads.saturating_sub(1);
        crowd.processes = crowd.processes.saturating_sub(u64::from(with_process));
    }

    /// A process of the program has this descriptor.
    pub fn raise_descriptors(&mut self, program: u32, number: u32) {
        let peak = &mut self.0.entry(program).or_default().peaks.descriptors;
        *peak = (u64::from(number) + 1).max(*peak);
    }

    pub fn peaks(&self) -> impl Iterator<Item = (u32, Peaks)> {
        self.0.iter().map(|(program, crowd)| (*program, crowd.peaks))
    }
}
