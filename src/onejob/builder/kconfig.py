"""The kernel's own Kconfig files, read by kconfiglib: some seconds for about 1,800 files."""

import io
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

import kconfiglib

from onejob.builder.kernel_source import KernelSource

# Linux 6.x writes `modules` where kconfiglib 14 knows only the older `option modules`.
_NEW_MODULES_LINE = re.compile(r"(?m)^(\s+)modules$")


class _Kconfig(kconfiglib.Kconfig):  # type: ignore[misc]
    """kconfiglib, taught the one construct of Linux 6.x that it does not know."""

    def _open(self, filename: str, mode: str) -> IO[Any]:
        file: IO[Any] = super()._open(filename, mode)
        if mode != "r":
            return file
        with file:
            return io.StringIO(_NEW_MODULES_LINE.sub(r"\1option modules", file.read()))


def read_kconfig(source: KernelSource, compiler: str) -> Any:
    """The kconfiglib.Kconfig of `source`; `compiler` is the first line of ``gcc --version``.

    Raises kconfiglib.KconfigError where a newer kernel's Kconfig has what kconfiglib can't read.
    """
    with _environment(kconfig_environment(source, compiler)):
        return _Kconfig("Kconfig", warn=False)


def kconfig_environment(source: KernelSource, compiler: str) -> dict[str, str]:
    """The variables that the top Makefile exports for Kconfig files."""
    tools = {"CC": "gcc", "HOSTCC": "gcc", "HOSTCXX": "g++", "LD": "ld", "CLANG_FLAGS": ""}
    absent = {"RUSTC": "rustc", "BINDGEN": "bindgen", "PAHOLE": "pahole"}
    return {
        **tools,
        **absent,
        "srctree": str(source.tree),
        "ARCH": "x86",
        "SRCARCH": "x86",
        "KERNELVERSION": source.release,
        "CC_VERSION_TEXT": compiler,
        "RUSTC_VERSION_TEXT": "",
        "PAHOLE_VERSION": "0",
    }


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """kconfiglib takes $(srctree) and the like from os.environ only."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
