"""What an executable or library needs to be loaded: its interpreter and its libraries' paths."""

import re
import subprocess
from functools import cache
from pathlib import Path
from typing import NamedTuple

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile
from elftools.elf.segments import InterpSegment

from onejob.base.process import find_tool

_DEFAULT_FOLDERS = ("/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib")

_ORIGIN = re.compile(r"\$(ORIGIN\b|\{ORIGIN\})")


class Needs(NamedTuple):
    """Resolved paths, as the dynamic loader would find them (ld.so(8))."""

    interpreter: str
    libraries: tuple[str, ...]


def read_needs(path: Path) -> Needs | None:
    """The needs of the ELF file `path`; None where it is no ELF file."""
    try:
        with path.open("rb") as file:
            if file.read(4) != b"\x7fELF":
                return None
            return _needs(ELFFile(file), path)
    except (OSError, ELFError, ValueError, UnicodeDecodeError):
        return None


def _needs(elf: ELFFile, path: Path) -> Needs:
    interpreter = ""
    names: list[str] = []
    folders: list[str] = []
    for segment in elf.iter_segments():
        if isinstance(segment, InterpSegment):
            interpreter = segment.get_interp_name()
        # The loader reads segments, too; sections may be stripped.
        elif isinstance(segment, DynamicSegment):
            for tag in segment.iter_tags():
                if tag.entry.d_tag == "DT_NEEDED":
                    names.append(str(getattr(tag, "needed", "")))
                elif tag.entry.d_tag in ("DT_RPATH", "DT_RUNPATH"):
                    text = getattr(tag, "runpath", "") or getattr(tag, "rpath", "")
                    folders += _ORIGIN.sub(lambda _: str(path.parent), text).split(":")
    found = (find_library(name, tuple(folders)) for name in names)
    return Needs(interpreter, tuple(library for library in found if library))


def find_library(name: str, folders: tuple[str, ...] = ()) -> str:
    """Where the loader finds the library `name`, in `folders` first; empty where nowhere."""
    for folder in folders:
        if folder and (Path(folder) / name).exists():
            return str(Path(folder) / name)
    if name in _loader_cache():
        return _loader_cache()[name]
    paths = (Path(folder) / name for folder in _DEFAULT_FOLDERS)
    return next((str(path) for path in paths if path.exists()), "")


@cache
def _loader_cache() -> dict[str, str]:
    """Library name -> path for x86-64, from the host's own loader cache (ldconfig(8))."""
    ldconfig = find_tool("ldconfig", "libc-bin")
    done = subprocess.run([ldconfig, "-p"], capture_output=True, text=True, timeout=30, check=False)
    found: dict[str, str] = {}
    for match in re.finditer(r"^\s+(\S+) \(([^)]*x86-64[^)]*)\) => (\S+)$", done.stdout, re.M):
        found.setdefault(match[1], match[3])
    return found
