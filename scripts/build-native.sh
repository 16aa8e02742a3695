#!/bin/sh
# Build the native parts and put them where onejob looks for them; cargo knows what has changed.
set -eu
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-native/target}
package=src/onejob/_native

build() {
    cargo build --release --locked --manifest-path native/Cargo.toml "$@"
}

# Built together, the others' serde with std would become that of onejob-init, which has no std.
build --package onejob-init
build --workspace --exclude onejob-init
mkdir -p "$package"
for part in $(sed 's/#.*//' scripts/native-parts.txt); do
    # install(1) makes a new file: one that is running now is left alone.
    cmp -s "$target/release/$part" "$package/$part" ||
        install -m 755 "$target/release/$part" "$package/$part"
done
