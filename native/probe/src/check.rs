//! `onejob-probe check`: what this kernel allows, and which piece is missing.
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use crate::control::Control;
use crate::ptrace;
use crate::say;

const BTF: &str = "/sys/kernel/btf/vmlinux";
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;
const UNUSABLE: u8 = 3;

/// The effective capabilities, see proc_pid_status(5).
fn effective_capabilities() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

fn may_use_bpf() -> bool {
    let capabilities = effective_capabilities();
    let has = |capability: u32| capabilities & (1 << capability) != 0;
    has(CAP_SYS_ADMIN) || (has(CAP_BPF) && has(CAP_PERFMON))
}

/// What is missing and what to do about it, or nothing.
fn missing(privileged: bool, btf: bool) -> Option<(String, String)> {
    if !privileged {
        let hint = "run as root, or give CAP_BPF and CAP_PERFMON";
        return Some(("not permitted to use eBPF".into(), hint.into()));
    }
    if !btf {
        let hint = "mount sysfs at /sys, or use a kernel with CONFIG_DEBUG_INFO_BTF";
        return Some((format!("no kernel type information in {BTF}"), hint.into()));
    }
    Control::start(true, &[]).err().map(|failure| (failure.what, failure.hint))
}

pub fn report() -> ExitCode {
    let (privileged, btf) = (may_use_bpf(), Path::new(BTF).exists());
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let missing = missing(privileged, btf);
    let mut report = json!({
        "ebpf": missing.is_none(), "kernel": release.trim(), "privileged": privileged, "btf": btf,
        "ptrace": ptrace::usable(),
    });
    let usable = missing.is_none();
    if let Some((what, hint)) = missing {
        report["missing"] = what.into();
        report["hint"] = hint.into();
    }
    say(&report);
    if usable { ExitCode::SUCCESS } else { ExitCode::from(UNUSABLE) }
}
