//! How the linker makes the object.

fn main() {
    // What the linked-in mimalloc would ask the machine goes to `quiet.rs` (ld(1): --wrap).
    for function in ["syscall", "prctl", "sysinfo"] {
        println!("cargo:rustc-link-arg-cdylib=-Wl,--wrap={function}");
    }
    // Code and constants in one mapping: each mapping of a process makes its forks slower.
    println!("cargo:rustc-link-arg-cdylib=-Wl,-z,noseparate-code");
    println!("cargo:rerun-if-changed=build.rs");
}
