//! Link a static executable without libc or start files: `start.rs` has its own `_start`.

fn main() {
    for argument in ["-nostartfiles", "-nostdlib", "-static", "-no-pie"] {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
    // No padding between segments, no notes, no symbols.
    println!(
        "cargo:rustc-link-arg-bins=-Wl,-z,noseparate-code,--build-id=none,--strip-all,--no-eh-frame-hdr"
    );
    // Nothing unwinds here, so the tables for it are dead weight.
    let folder = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    println!("cargo:rustc-link-arg-bins=-Wl,-T,{folder}/discard.ld");
    println!("cargo:rerun-if-env-changed=CARGO_MANIFEST_DIR"); // a moved checkout
    println!("cargo:rerun-if-changed=discard.ld");
    println!("cargo:rerun-if-changed=build.rs");
}
