#!/bin/sh
# Build the native parts and put them where onejob looks for them; cargo knows what has changed.
set -eu
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-native/target}
triple=x86_64-unknown-linux-gnu
package=src/onejob/_native

build() {
    cargo build --release --locked --manifest-path native/Cargo.toml "$@"
}

# Built together, the others' serde with std would become that of onejob-init, which has no std.
build --package onejob-init
build --workspace --exclude onejob-init --exclude onejob-probe
# The probe is one static file: it also records on machines that have nothing else of ours.
LIBBPF_SYS_LIBRARY_PATH=$(dirname "$(cc -print-file-name=libelf.a)") \
    RUSTFLAGS="-C target-feature=+crt-static" build --package onejob-probe --target "$triple"
mkdir -p "$package"
for part in $(sed 's/#.*//' scripts/native-parts.txt); do
    built=$target/release/$part
    [ "$part" != onejob-probe ] || built=$target/$triple/release/$part
    # install(1) makes a new file: one that is running now is left alone.
    cmp -s "$built" "$package/$part" || install -m 755 "$built" "$package/$part"
done
