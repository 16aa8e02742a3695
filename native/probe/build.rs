//! Compiles the eBPF program with clang; libbpf's headers come with the libbpf-sys crate.
use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets OUT_DIR"));
    let headers = env::var("DEP_BPF_INCLUDE").expect("libbpf-sys tells where its headers are");
    let arch = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets the target");
    assert!(arch == "x86_64", "onejob-probe knows only x86_64's system calls, not those of {arch}");
    println!("cargo:rerun-if-changed=src/bpf");
    let status = Command::new(env::var("CLANG").unwrap_or_else(|_| "clang".into()))
        .args(["-g", "-O2", "-target", "bpf", "-mcpu=v3", "-Wall", "-Werror"])
        .args(["-D__TARGET_ARCH_x86", "-I/usr/include/x86_64-linux-gnu", "-I"])
        .arg(headers)
        .args(["-c", "src/bpf/probe.bpf.c", "-o"])
        .arg(out.join("probe.bpf.o"))
        .status()
        .unwrap_or_else(|error| panic!("cannot run clang: {error}; install the packages clang and llvm"));
    assert!(status.success(), "clang cannot compile src/bpf/probe.bpf.c");
}
