#!/bin/sh
# Build the gallery's static server beside its source: one file without loader or libraries (glibc, crt-static).
set -eu
cd "$(dirname "$0")/../services/static-rust"
[ static-server -nt server.rs ] && exit 0
rustc --edition 2021 -O -C target-feature=+crt-static -C relocation-model=static -o static-server.new server.rs
mv static-server.new static-server
