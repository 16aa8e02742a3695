//! What the linked-in mimalloc would ask the machine goes to `quiet.rs` (ld(1): --wrap).

fn main() {
    for function in ["syscall", "prctl", "sysinfo"] {
        println!("cargo:rustc-link-arg-cdylib=-Wl,--wrap={function}");
    }
    println!("cargo:rerun-if-changed=build.rs");
}
