//! What each program may change and execute: Landlock domains, made of the plan's rules.
//!
//! A domain is a descriptor, and whoever restricts itself with it (landlock_restrict_self(2)) can never
//! lift it again, nor can what it starts. Refused is all that a rule does not allow; reading is free.

use alloc::string::String;
use alloc::vec::Vec;

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use rustix::io::{Errno, Result};

use crate::console::say;
use crate::failure::{OrFail, Outcome, Reason};
use crate::instance::{DomainPlan, LandlockPlan};
use crate::sys;

// arch/x86/entry/syscalls/syscall_64.tbl
const CREATE_RULESET: usize = 444;
pub const ADD_RULE: usize = 445;
pub const RESTRICT_SELF: u64 = 446;

const VERSION: usize = 1; // LANDLOCK_CREATE_RULESET_VERSION
const PATH_BENEATH: usize = 1;

// linux/landlock.h, LANDLOCK_ACCESS_FS_*
const READS: u64 = 1 << 2 | 1 << 3;
const ON_FILES: u64 = 1 | 1 << 1 | 1 << 14; // EXECUTE, WRITE_FILE, TRUNCATE
/// All kinds of access of version 3, but reading.
const HANDLED: u64 = ((1 << 15) - 1) & !READS;
const NEEDED_VERSION: usize = 3; // Linux 6.2; before, whoever may not write a file could empty it

pub struct Domains {
    rulesets: Vec<OwnedFd>,
    programs: Vec<(String, usize)>,
}

impl Domains {
    /// When everything is mounted. None where the plan has none, or this kernel, if that may be.
    pub fn make(plan: Option<&LandlockPlan>) -> Outcome<Option<Domains>> {
        let Some(plan) = plan else { return Ok(None) };
        if let Err(error) = check_kernel() {
            if !plan.required {
                say(format_args!("this kernel has no Landlock: owners and modes of files decide alone"));
                return Ok(None);
            }
            return Err(error).or_fail_hint(
                format_args!("this kernel has no Landlock (version 3), which keeps programs to their files"),
                "enable it (CONFIG_SECURITY_LANDLOCK, landlock in lsm=), or build with --landlock optional",
            );
        }
        let mut made = Domains { rulesets: Vec::new(), programs: Vec::new() };
        for domain in &plan.domains {
            let names = domain.programs.iter().map(|name| (name.clone(), made.rulesets.len()));
            made.programs.extend(names);
            made.rulesets.push(make_ruleset(domain)?);
        }
        let nothing = DomainPlan { programs: Vec::new(), rules: Vec::new() };
        made.rulesets.push(make_ruleset(&nothing)?);
        Ok(Some(made))
    }

    /// What the service's first process gets.
    pub fn first(&self) -> BorrowedFd<'_> {
        self.ruleset(0)
    }

    pub fn ruleset(&self, number: usize) -> BorrowedFd<'_> {
        self.rulesets[number].as_fd()
    }

    /// Which domain a program has: the last, without any rule, if the plan has nothing for it.
    pub fn of(&self, program: &str) -> usize {
        let found = self.programs.iter().find(|(name, _)| name == program);
        found.map_or(self.rulesets.len() - 1, |(_, number)| *number)
    }
}

fn check_kernel() -> Result<()> {
    if version()? < NEEDED_VERSION { Err(Errno::OPNOTSUPP) } else { Ok(()) }
}

/// What this kernel's Landlock can do; NOSYS or OPNOTSUPP where it has none.
pub fn version() -> Result<usize> {
    // SAFETY: asks for the version; no memory is involved.
    unsafe { sys::call(CREATE_RULESET, [0, 0, VERSION, 0, 0]) }
}

/// `attribute` is a struct landlock_ruleset_attr, or as much of it as this kernel knows.
pub fn create_ruleset(attribute: &[u64]) -> Result<OwnedFd> {
    let words = [attribute.as_ptr() as usize, size_of_val(attribute), 0, 0, 0];
    // SAFETY: the kernel reads the slice; the new descriptor belongs to nobody else.
    unsafe { sys::call(CREATE_RULESET, words).map(|made| OwnedFd::from_raw_fd(made as i32)) }
}

fn make_ruleset(domain: &DomainPlan) -> Outcome<OwnedFd> {
    let ruleset = create_ruleset(&[HANDLED]).or_fail(format_args!("cannot make a Landlock domain"))?;
    for (path, rights) in &domain.rules {
        match add_rule(&ruleset, path, rights & HANDLED) {
            Ok(()) => {}
            // A folder of the data partition that the service removed or made a link: not granted.
            Err(error @ (Errno::NOENT | Errno::LOOP | Errno::NOTDIR)) => {
                say(format_args!("{path} is not there to be written or executed: {}", Reason(error)));
            }
            Err(error) => {
                return Err(error).or_fail(format_args!("cannot allow what the plan has for {path}"));
            }
        }
    }
    Ok(ruleset)
}

pub fn add_rule(ruleset: &OwnedFd, path: &str, rights: u64) -> Result<()> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let file = openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)?;
    let is_directory = FileType::from_raw_mode(fstat(&file)?.st_mode) == FileType::Directory;
    let rights = if is_directory { rights } else { rights & ON_FILES };
    if rights == 0 {
        return Ok(());
    }
    // struct landlock_path_beneath_attr, packed: rights, then a descriptor of four bytes.
    let attribute = [rights, u64::from(file.as_raw_fd().cast_unsigned())];
    let address = attribute.as_ptr() as usize;
    // SAFETY: the kernel reads twelve bytes, of sixteen.
    unsafe { sys::call(ADD_RULE, [ruleset.as_raw_fd() as usize, PATH_BENEATH, address, 0, 0]).map(|_| ()) }
}

/// Restrict this thread, and all that it starts. It takes no_new_privs or CAP_SYS_ADMIN.
pub fn restrict_self(ruleset: BorrowedFd) -> Result<()> {
    // SAFETY: no memory is involved.
    unsafe { sys::call(RESTRICT_SELF as usize, [ruleset.as_raw_fd() as usize, 0, 0, 0, 0]).map(|_| ()) }
}
