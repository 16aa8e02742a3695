#!/bin/sh
# Install what is missing of scripts/packages.txt, without starting or enabling any service.
# Usage: install-packages.sh PYTHON
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C

here=$(dirname "$0")
log=$here/../build/packages.log
policy=/usr/sbin/policy-rc.d
units=/lib/systemd/system
scripts=/etc/init.d  # exim4 has no unit, only such a script

installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# One line for each wanted package: its alternatives, reasons taken off.
wanted() {
    sed 's/#.*//; s/|/ /g; /^[[:space:]]*$/d' "$here/packages.txt"
    "$1" -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
}

missing() {
    wanted "$1" | while read -r alternatives; do
        for name in $alternatives; do installed "$name" && continue 2; done
        echo "$alternatives"
    done
}

# The first alternative that Debian offers; the first of all where it offers none.
choose() {
    while read -r first others; do
        for name in $first $others; do
            apt-cache show "$name" >/dev/null 2>&1 && break
            name=$first
        done
        echo "$name"
    done
}

run_apt() {
    apt-get -q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@" >>"$log" 2>&1 </dev/null
}

forbid_services() {
    [ -e "$policy" ] && return
    trap 'rm -f "$policy"' EXIT INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
}

services() {
    ls "$units" "$scripts" 2>/dev/null | grep -v ':$' | tr '\n' ' '
}

# What comes along must not start at the next boot either: by a unit, a timer, or a script.
disable_new_services() {
    for path in "$units"/*.service "$units"/*.timer "$scripts"/*; do
        name=${path##*/}
        case " $1 " in *" $name "*) continue ;; esac
        rm -f /etc/systemd/system/*.wants/"$name"
        update-rc.d "${name%.service}" disable >>"$log" 2>&1 || true  # not all have one
    done
}

lacking=$(missing "$1")
[ -n "$lacking" ] || exit 0
mkdir -p "$(dirname "$log")"
: >"$log"
run_apt update || true  # a foreign list that fails is no matter if what is needed is there
names=$(echo "$lacking" | choose | tr '\n' ' ')
echo "installing system packages: $names"
before=$(services)
forbid_services
# shellcheck disable=SC2086  # a list of words
run_apt install -y --no-install-recommends $names || {
    tail -n 20 "$log" >&2
    echo "apt-get install failed; all of it is in $log" >&2
    exit 1
}
disable_new_services "$before"
