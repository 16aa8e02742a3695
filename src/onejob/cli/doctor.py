"""``onejob doctor``: what this machine has and lacks for each verb."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import typer

from onejob.base.natives import native_path
from onejob.builder.kernel_source import find_source
from onejob.cli.show import err, print_table
from onejob.drive.probe import check_probe
from onejob.model.errors import OnejobError

_TOOLS = (
    ("build", "mksquashfs", "squashfs-tools"),
    ("build", "ldconfig", "libc-bin"),
    ("build a kernel", "gcc", "gcc"),
    ("build a kernel", "make", "make"),
    ("build a kernel", "flex", "flex"),
    ("build a kernel", "bison", "bison"),
    ("build a kernel", "bc", "bc"),
    ("build a kernel", "ccache", "ccache"),
    ("run on the host", "runc", "runc"),
    ("run in QEMU", "qemu-system-x86_64", "qemu-system-x86"),
    ("run in QEMU", "mkfs.ext4", "e2fsprogs"),
    ("drills", "nsenter", "util-linux"),
    ("drills", "setpriv", "util-linux"),
)
_NATIVES = ("onejob-probe", "onejob-init", "libonejob_recorder.so")


class Check(NamedTuple):
    """One thing that some verb needs; `remedy` is empty where it is there."""

    purpose: str
    what: str
    found: str
    remedy: str = ""


def doctor() -> None:
    """Say what this machine has and lacks, and how to get it.

    Exits with 0 when nothing is missing, 3 otherwise.

    \b
    Example:
      onejob doctor
    """
    checks = [_check_root(), *map(_check_native, _NATIVES), _check_probe(), _check_source()]
    checks += [_check_tool(*row) for row in _TOOLS]
    rows = [(c.purpose, c.what, c.found if not c.remedy else "MISSING", c.remedy) for c in checks]
    print_table("", ("for", "needs", "found", "remedy"), rows)
    lacking = [check for check in checks if check.remedy]
    if lacking:
        err.print(f"onejob: {len(lacking)} of {len(checks)} things are missing")
        raise typer.Exit(3)


def _check_root() -> Check:
    remedy = "" if os.geteuid() == 0 else "run as root"
    return Check("all but plan", "root", "yes", remedy)


def _check_native(name: str) -> Check:
    return _checked("profile, run", name, lambda: str(native_path(name).stat().st_size) + " bytes")


def _check_probe() -> Check:
    return _checked("profile", "eBPF", lambda: "usable" if check_probe() else "")


def _check_source() -> Check:
    return _checked(
        "build a kernel", "kernel source", lambda: find_source(Path("/usr/src")).package
    )


def _check_tool(purpose: str, name: str, package: str) -> Check:
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    return Check(purpose, name, found or "", "" if found else f"apt-get install {package}")


def _checked(purpose: str, what: str, find: Callable[[], str]) -> Check:
    try:
        return Check(purpose, what, find())
    except OnejobError as error:
        return Check(purpose, what, "", error.hint or error.what)
