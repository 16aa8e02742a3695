"""The tables of the imports agree with the headers, with the kernel and with the probe's own."""

import re
import subprocess
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from onejob.base import linux
from onejob.model.syscalls import call_name
from onejob.profiler.imports.call_rules import call_rules, rule_of
from onejob.profiler.imports.follow import WANTED
from onejob.profiler.imports.perf import argument_names

ROOT = Path(__file__).resolve().parents[3]
TRACING = Path("/sys/kernel/tracing")
HEADERS = """
sys/socket.h netinet/in.h netinet/tcp.h netinet/udp.h fcntl.h sys/mman.h sched.h signal.h
sys/prctl.h asm/prctl.h sys/resource.h sys/time.h time.h sys/mount.h sys/epoll.h sys/random.h
linux/memfd.h linux/seccomp.h linux/bpf.h linux/keyctl.h sys/file.h linux/falloc.h sys/ipc.h
sys/personality.h linux/ioprio.h linux/futex.h linux/netlink.h linux/if_ether.h sys/ioctl.h
asm/ioctls.h linux/sockios.h linux/fs.h linux/sched.h unistd.h stdio.h
""".split()  # noqa: SIM905
OURS = {"O_LARGEFILE"}  # the C library hides it, where it is all files
# What the importer learns by other means than the table, or the probe by its special cases.
SPECIAL = {"clone3", "bind", "connect", "sendto", "pipe", "pipe2", "close", "close_range"}


def constants() -> dict[str, int]:
    text = files("onejob.profiler.imports").joinpath("constants.txt").read_text()
    rows = [line.split() for line in text.splitlines() if not line.startswith("#")]
    return {name: int(value) for name, value in rows}


def test_constants_are_those_of_the_headers(tmp_path: Path) -> None:
    names = sorted(constants().keys() - OURS)
    assert len(names) > 1000
    lines = ["#define _GNU_SOURCE", *(f"#include <{header}>" for header in HEADERS)]
    lines += ["int main(void) {", *(f'printf("%lld\\n", (long long)({n}));' for n in names), "}"]
    source = tmp_path / "constants.c"
    source.write_text("\n".join(lines))
    program = tmp_path / "constants"
    subprocess.run(["gcc", "-w", "-o", str(program), str(source)], check=True, timeout=60)
    done = subprocess.run([str(program)], capture_output=True, text=True, check=True, timeout=60)
    values = dict(zip(names, map(int, done.stdout.split()), strict=True))
    assert values == {name: constants()[name] for name in names}


def probe_rules() -> dict[str, str]:
    text = (ROOT / "native/probe/src/calls.rs").read_text()
    rows = re.findall(r"call\((\d+)\)((?:\.\w+\([^()]*(?:\[[^]]*\])?\))*)", text)
    return {call_name(int(number)): rest for number, rest in rows}


def test_the_rules_are_the_probes() -> None:
    theirs = probe_rules()
    assert len(theirs) > 150
    for name, rest in theirs.items():
        rule, parts = rule_of(name), dict(re.findall(r"\.(\w+)\(([^()]*)\)", rest))
        facts = tuple(int(n) for n in re.findall(r"\d+", parts.get("facts", "")))
        assert rule.facts == facts, name
        flags = int(parts["flags"]) if "flags" in parts else None
        assert rule.flags == flags, name
        assert len(rule.paths) == len({"path", "at", "from", "to", "and", "exec"} & parts.keys())
        for at in rule.paths:
            verb = {"path": "path|at|and"}.get(at.role, at.role)
            places = re.findall(rf"\.(?:{verb})\(([-\d, ]+)\)", rest)
            dirfd = -1 if at.dirfd is None else at.dirfd
            wanted = {f"{dirfd}, {at.path}", *([str(at.path)] if dirfd < 0 else [])}
            assert wanted & set(places), name
        returned = "descriptor" in parts or ".descriptor()" in rest
        assert rule.descriptor == (returned or "Special::Accept" in rest), name
    assert call_rules().keys() <= theirs.keys()


@pytest.fixture
def tracing(tmp_path: Path) -> Iterator[Path]:
    """The kernel's events, where tracefs is mounted already or for the test."""
    if (TRACING / "events").is_dir():
        yield TRACING
        return
    (own := tmp_path / "tracing").mkdir()
    linux.mount("tracefs", own, "tracefs")
    yield own
    linux.unmount(own)


@pytest.mark.root
def test_names_of_arguments_are_the_kernels(tracing: Path) -> None:
    names = argument_names()
    assert names.keys() == WANTED
    renamed = {"stat": "newstat", "lstat": "newlstat", "umount2": "umount"}
    compared = 0
    for name, arguments in names.items():
        path = tracing / f"events/syscalls/sys_enter_{renamed.get(name, name)}" / "format"
        if path.is_file():  # a kernel may lack a call
            fields = re.findall(r"field:[^;]*?(\w+);", path.read_text())
            there = tuple(f for f in fields if f != "__syscall_nr" and not f.startswith("common_"))
            assert arguments == there, name
            compared += 1
    assert compared > len(names) * 3 // 4
