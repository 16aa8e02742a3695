#!/bin/sh
# Say what this machine lacks that `make install` cannot bring: rights, Debian, Python, Rust.
# Usage: check-machine.sh PYTHON
set -eu
cd "$(dirname "$0")/.."

fail() {
    printf 'make install: %s\n  hint: %s\n' "$1" "$2" >&2
    exit 1
}

[ "$(id -u)" = 0 ] || fail "needs root" "sudo make install, or as root"
[ "$(uname -m)" = x86_64 ] || fail "works on x86_64 only, this is $(uname -m)" "use an x86_64 machine"
command -v apt-get >/dev/null || fail "apt-get is missing" "use Debian 12 or newer"
command -v "$1" >/dev/null || fail "$1 is missing" "apt-get install python3"
"$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$1 is older than 3.11: $("$1" --version)" "make install PYTHON=/path/to/python3.11"
needed=$(sed -n 's/^rust-version = "1\.\([0-9]*\).*/\1/p' native/*/Cargo.toml | sort -n | tail -n 1)
command -v cargo >/dev/null || fail "cargo is missing" "install a Rust toolchain, 1.$needed or newer"
minor=$(cargo --version | sed -n 's/^cargo 1\.\([0-9]*\)\..*/\1/p')
[ "${minor:-$needed}" -ge "$needed" ] ||
    fail "$(cargo --version) is too old" "install Rust 1.$needed or newer"
