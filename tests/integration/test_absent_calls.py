"""System calls that the kernel's source can leave out are left out, unless something asked.

``kernel/sys_ni.c`` names the calls that a kernel may lack. Which option that hangs on is read from
the source: the Makefile of the file that defines the call, and the #ifdef around it.
"""

import re
from pathlib import Path

import kconfiglib
import pytest

import small_world
from onejob.base.natives import cache_path, data_path
from onejob.builder.kbuild import option_of
from onejob.builder.kconfig import read_kconfig
from onejob.builder.kernel import configure_kernel, source_tree
from onejob.builder.kernel_cache import KernelCache
from onejob.builder.kernel_make import find_toolchain
from onejob.builder.kernel_source import KernelSource, find_source
from onejob.model.component import load_components
from onejob.model.hardware import load_hardware
from onejob.model.syscalls import known_calls
from onejob.planner.plan import make_plan

pytestmark = pytest.mark.kernel
FOLDERS = ("arch/x86", "fs", "io_uring", "ipc", "kernel", "mm", "net", "security")
_CONDITIONAL = re.compile(r"(?m)^COND_SYSCALL\((\w+)\);")
_DEFINED = re.compile(r"SYSCALL_DEFINE\d\((\w+)")
_IF = re.compile(r"#\s*if(?:def\s+|\s+defined\(|\s+IS_ENABLED\()CONFIG_(\w+)\)?\s*(?:/\*.*)?$")


def _gates(tree: Path) -> dict[str, set[str]]:
    """The options without which each conditional call is not built."""
    conditional = set(_CONDITIONAL.findall((tree / "kernel/sys_ni.c").read_text()))
    found: dict[str, set[str]] = {}
    for path in (p for folder in FOLDERS for p in sorted((tree / folder).rglob("*.c"))):
        text = path.read_text(errors="replace")
        if "SYSCALL_DEFINE" in text:
            whole = _gates_of_file(path.relative_to(tree), tree)
            for call, around in _defined(text):
                if call in conditional:
                    found.setdefault(call, set()).update(whole | around)
    return found


def _gates_of_file(path: Path, tree: Path) -> set[str]:
    """The options of the file, and of the folders that it lies in."""
    options = {option_of(path.stem, str(path.parent), tree)[0]}
    for folder in [*path.parents][:-1]:
        for name in ("Makefile", "Kbuild"):
            above = tree / folder.parent / name
            text = above.read_text() if above.is_file() else ""
            rule = rf"(?m)^obj-\$\(CONFIG_(\w+)\)\s*\+?=.*\b{folder.name}/"
            options.update(re.findall(rule, text))
    return options - {""}


def _defined(text: str) -> list[tuple[str, set[str]]]:
    """The calls that a file defines, each with the options of the #ifdef around it."""
    calls: list[tuple[str, set[str]]] = []
    around: list[str] = []
    for line in text.splitlines():
        if re.match(r"#\s*if", line):
            match = _IF.match(line)
            around.append(match[1] if match else "")
        elif re.match(r"#\s*el", line) and around:
            around[-1] = ""
        elif re.match(r"#\s*endif", line) and around:
            around.pop()
        elif match := _DEFINED.match(line):
            calls.append((match[1], {option for option in around if option}))
    return calls


def _without_switch(options: set[str], source: KernelSource, config: Path) -> set[str]:
    """Those that nobody can turn off under this configuration: selected, or never asked about."""
    kconfig = read_kconfig(source, find_toolchain().compiler)
    kconfig.load_config(str(config))
    symbols = [kconfig.syms[option] for option in options]
    return {
        symbol.name
        for symbol in symbols
        if kconfiglib.expr_value(symbol.rev_dep) or not any(n.prompt for n in symbol.nodes)
    }


def test_what_nobody_asked_for_is_absent(tmp_path: Path) -> None:
    kernels = KernelCache(cache_path() / "kernel")
    source = source_tree(find_source(Path("/usr/src")), kernels, lambda what, part: None)
    gates = {call: each for call, each in _gates(source.tree).items() if each}
    assert len(gates) > 60 and gates["io_uring_setup"] == {"IO_URING"}
    hardware = load_hardware(data_path("hardware") / "qemu-microvm.json")
    plan = make_plan(small_world.profile(), hardware, load_components(data_path("components")))
    config = configure_kernel(
        plan.kernel_options, cache_path(), tmp_path / "log", lambda w, p: None
    )
    asked = {option.name for option in plan.kernel_options if option.value != "n"}
    allowed = {call.name for call in plan.calls}
    present = {call for call in gates if gates[call] <= set(config.values)} & set(known_calls())
    assert len(present) < len(gates) / 2
    unasked = {call: gates[call] for call in present - allowed if not gates[call] & asked}
    (tmp_path / "config").write_text(config.text)
    fixed = _without_switch(set().union(*unasked.values()), source, tmp_path / "config")
    assert {call: options for call, options in unasked.items() if not options & fixed} == {}
    assert fixed <= {"MEMFD_CREATE", "PERF_EVENTS", "QUOTACTL"}
