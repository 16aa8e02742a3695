//! Process 1 of a onejob system: prepares the machine, runs one service, watches it, ends with it.

#![no_std]
#![no_main]

extern crate alloc;

mod administrator;
mod button;
mod console;
mod control;
mod core_file;
mod cores;
mod count_files;
mod counts;
mod failure;
mod files;
mod folders;
mod inject;
mod instance;
mod job;
mod json;
mod landlock;
mod life;
mod logs;
mod machine;
mod memory;
mod mounts;
mod observe;
mod output;
mod own_pages;
mod partition;
mod paths;
mod place;
mod ports;
mod privileges;
mod processes;
mod ptrace;
mod records;
mod resident;
mod resume;
mod ring;
mod rows;
mod schedule;
mod search;
mod seccomp;
mod seed;
mod service;
mod settle;
mod share;
mod shutdown;
mod slot;
mod start;
mod supervisor;
mod sys;
mod tracees;
mod tracer;
mod trial;
mod typist;
mod unnarrowed;
mod verbs;
mod view;
mod watchdog;

use core::ffi::CStr;

use failure::{Failure, OrFail, Outcome};
use instance::Denied;

/// Where `start` leads. Never returns: the machine or the container ends with process 1.
fn main(environment: &[&CStr]) -> ! {
    console::ensure_standard_descriptors();
    match run(environment) {
        Ok(never) => match never {},
        Err(failure) => {
            console::say(format_args!("{failure}"));
            shutdown::give_up()
        }
    }
}

enum Never {}

/// The order in which a system comes up.
fn run(environment: &[&CStr]) -> Outcome<Never> {
    require_process_one()?;
    shutdown::set_machine(!place::in_container(environment));
    let mut place = place::Place::read(environment)?;
    sys::close_on_execute_from(3).or_fail(format_args!("cannot keep descriptors from the service"))?;
    let signals = supervisor::take_signals()?; // SIGTERM may come at any moment from here on
    let instance = instance::load()?;
    let trial = trial::Trial::begin(place.slot.take(), instance.ready.as_ref());
    machine::require(&instance.machine, &place.data)?;
    let filtered = instance.denied != Denied::Off;
    let filters = if filtered { Some(seccomp::Filters::load()?) } else { None };
    let policy = filters.as_ref().map(|all| all.at(instance.policy)).transpose()?;
    let rows = filters.as_ref().map(|all| rows::Rows::load(all, &instance.rows)).transpose()?.flatten();
    set_identity(&instance, &place)?;
    let held = mounts::mount_all(&instance, &place)?; // also seeds them
    logs::lift_all(&instance.logs);
    count_files::make_all(&instance)?;
    mounts::seal_root()?;
    console::reopen(); // needs /proc
    console::empty_standard_input(); // needs /dev
    if let Some(job) = instance.job.as_ref().filter(|_| place.machine) {
        console::speak_everywhere();
        if job.input {
            typist::start()?;
        }
    }
    if place.machine {
        machine::set_all(&instance.sysctls)?;
        machine::set_all(&instance.sizes)?;
    } else {
        machine::check_all(&instance.sizes)?;
    }
    let control = control::Control::open(&place)?;
    let records = (!held.mounts.is_empty()).then(records::Records::open).flatten();
    let keeps_words = records.as_ref().is_some_and(|records| records.keep_words(&place));
    let output = output::Output::take(&instance, place.machine && keeps_words)?;
    ring::append(b"onejob: a system begins here\n"); // after the words of an earlier one
    let enforced = instance.landlock.as_ref().filter(|_| instance.denied != Denied::Audit);
    let domains = landlock::Domains::make(enforced)?;
    let button = place.machine.then(button::Button::find).flatten();
    view::strip_devices(&instance.mounts).or_fail(format_args!("cannot take devices away"))?;
    let starter = service::Starter::new(&instance, policy, domains.as_ref(), rows.as_ref())?;
    let cores = records.as_ref().and_then(|records| records.cores(&instance, &place));
    let observer = observe::Observer::new(&instance, records, cores);
    let life = life::Life::new(&instance, place.driven);
    let mut supervisor = supervisor::Supervisor::start(starter, life, signals, control, observer, output)?;
    supervisor.button = button;
    supervisor.trial = trial;
    supervisor.residents = place.machine.then(resident::Residents::begin).flatten();
    let ending = supervisor.watch();
    shutdown::finish(&instance, &place.data, held, supervisor.control.as_mut(), ending)
}

/// It would mount, remount and kill everything: never outside of its own system.
fn require_process_one() -> Outcome<()> {
    match rustix::process::getpid().as_raw_pid() {
        1 => Ok(()),
        pid => Err(Failure::new(
            format_args!("this is process {pid}, and onejob-init only works as process 1"),
            "start it with onejob run",
        )),
    }
}

/// Host name; and Ctrl-Alt-Del of a machine becomes a SIGINT, so that the service is stopped well.
fn set_identity(instance: &instance::Instance, place: &place::Place) -> Outcome<()> {
    rustix::system::sethostname(instance.hostname.as_bytes())
        .or_fail(format_args!("cannot set the host name {}", instance.hostname))?;
    if place.machine {
        let _ = rustix::system::reboot(rustix::system::RebootCommand::CadOff);
    }
    Ok(())
}
