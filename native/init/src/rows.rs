//! The rows of the call matrix that belong to this service: one filter per program, role and phase.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde::Deserialize;

use crate::failure::Outcome;
use crate::instance::{Place, RowPlan};
use crate::seccomp::Filters;

/// Which process of a program: the one that executed it, or one forked (no thread) since.
#[derive(Deserialize, Clone, Copy, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Main,
    Worker,
}

impl Role {
    pub fn word(self) -> &'static str {
        if self == Role::Main { "main" } else { "worker" }
    }
}

/// listen(2) of a boot row is traced and not just allowed, with this as the data of the verdict:
/// so a process can run without any stop until it listens.
pub const WATCHED: u32 = 1;
pub const LISTEN: u64 = 50;

// linux/seccomp.h
const TRACE: u32 = 0x7ff0_0000;
const ALLOW: u32 = 0x7fff_0000;
pub const X86_64: u32 = 0xc000_003e; // AUDIT_ARCH_X86_64, linux/audit.h

const LOAD_WORD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS, linux/filter.h
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

pub struct Filter {
    pub instructions: Vec<u64>,
    pub allows_listen: bool,
}

struct Row {
    program: String,
    role: Role,
    /// Indexes of `Rows::filters`.
    boot: usize,
    serve: Option<usize>,
}

pub struct Rows {
    pub filters: Vec<Filter>,
    rows: Vec<Row>,
}

impl Rows {
    /// None when the plan has no rows: then nobody is traced.
    pub fn load(all: &Filters, plans: &[RowPlan]) -> Outcome<Option<Rows>> {
        if plans.is_empty() {
            return Ok(None);
        }
        let mut loaded = Rows { filters: Vec::new(), rows: Vec::new() };
        for plan in plans {
            let listens = plans.iter().any(|row| row.program == plan.program && row.serve.is_some());
            let boot = loaded.add(all, plan.boot, listens)?;
            let serve = plan.serve.map(|place| loaded.add(all, place, false)).transpose()?;
            loaded.rows.push(Row { program: plan.program.clone(), role: plan.role, boot, serve });
        }
        Ok(Some(loaded))
    }

    fn add(&mut self, all: &Filters, place: Place, watch_listen: bool) -> Outcome<usize> {
        let mut instructions = all.at(place)?.to_vec();
        let allows_listen = verdict(&instructions, LISTEN as u32) == Some(ALLOW);
        if watch_listen && allows_listen {
            instructions.splice(0..0, watch());
        }
        if let Some(same) = self.filters.iter().position(|filter| filter.instructions == instructions) {
            return Ok(same);
        }
        self.filters.push(Filter { instructions, allows_listen });
        Ok(self.filters.len() - 1)
    }

    fn row(&self, program: &str, role: Role) -> Option<&Row> {
        self.rows.iter().find(|row| row.role == role && row.program == program)
    }

    /// What a process gets when it starts: by an execve, or a worker by a fork.
    pub fn boot(&self, program: &str, role: Role) -> Option<usize> {
        self.row(program, role).map(|row| row.boot)
    }

    /// What a process gets when it settles.
    pub fn serve(&self, program: &str, role: Role) -> Option<usize> {
        self.row(program, role)?.serve
    }
}

/// `if nr == LISTEN { return TRACE | WATCHED }`, to go before the instructions of a row. Nothing of
/// a row depends on what is in the registers when it begins.
fn watch() -> [u64; 3] {
    [
        instruction(LOAD_WORD, 0, 0, 0),
        instruction(JUMP_IF_EQUAL, 0, 1, LISTEN as u32),
        instruction(RETURN, 0, 0, TRACE | WATCHED),
    ]
}

/// One struct sock_filter (linux/filter.h).
fn instruction(code: u16, if_true: u8, if_false: u8, value: u32) -> u64 {
    u64::from(code) | u64::from(if_true) << 16 | u64::from(if_false) << 24 | u64::from(value) << 32
}

/// What a filter says to a call whose arguments are all zero; None for a program that uses more of
/// BPF than libseccomp does, or that the kernel would not take. Jumps only lead forwards.
fn verdict(instructions: &[u64], call: u32) -> Option<u32> {
    let (mut at, mut accumulator) = (0, 0_u32);
    loop {
        let word = *instructions.get(at)?;
        let (if_true, if_false) = (word >> 16 & 0xff, word >> 24 & 0xff);
        let value = (word >> 32) as u32;
        let jump = |taken: bool| if taken { if_true } else { if_false } as usize;
        at += 1;
        match word as u16 {
            LOAD_WORD => accumulator = [call, X86_64].get(value as usize / 4).copied().unwrap_or(0),
            0x54 => accumulator &= value, // BPF_ALU | BPF_AND | BPF_K
            0x05 => at += value as usize, // BPF_JMP | BPF_JA
            JUMP_IF_EQUAL => at += jump(accumulator == value),
            0x25 => at += jump(accumulator > value),      // BPF_JGT
            0x35 => at += jump(accumulator >= value),     // BPF_JGE
            0x45 => at += jump(accumulator & value != 0), // BPF_JSET
            RETURN => return Some(value),
            _ => return None,
        }
    }
}

/// Which row a process has, as members of a JSON object.
pub fn standing(role: Role, serving: bool) -> String {
    format!(r#""role":"{}","phase":"{}""#, role.word(), if serving { "serve" } else { "boot" })
}
