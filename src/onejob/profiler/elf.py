"""What an executable or library needs to be loaded: its interpreter and its libraries' paths."""

import re
import struct
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile
from elftools.elf.segments import InterpSegment

from onejob.base.files import open_regular

_DEFAULT_FOLDERS = (
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib64",
    "/usr/lib",
    "/lib",
)
# glibc's sysdeps/generic/dl-cache.h: magic, entries, bytes of strings; then entries of flags, name,
# path. The flags of a library for x86-64.
_CACHE_MAGIC = b"glibc-ld.so.cache1.1"
_CACHE_HEAD, _CACHE_ENTRY = struct.Struct("<20sII20x"), struct.Struct("<iII4x8x")
_X86_64 = 0x0303
_MAX_CACHE_BYTES = 64 << 20

_ORIGIN = re.compile(r"\$(ORIGIN\b|\{ORIGIN\})")


class Needs(NamedTuple):
    """Resolved paths, as the dynamic loader would find them (ld.so(8)); `lost` are names found
    nowhere."""

    interpreter: str
    libraries: tuple[str, ...]
    lost: tuple[str, ...] = ()


def read_needs(path: Path) -> Needs | None:
    """The needs of the ELF file `path`; None where it is no ELF file."""
    try:
        with open_regular(path) as file:
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
    found = {name: find_library(name, tuple(folders)) for name in names}
    libraries = tuple(path for path in found.values() if path)
    return Needs(interpreter, libraries, tuple(name for name in found if not found[name]))


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
    return read_loader_cache(Path("/etc/ld.so.cache"))


def read_loader_cache(path: Path) -> dict[str, str]:
    """Library name -> path for x86-64, from the loader's cache (ldconfig(8)).

    Read here, since ldconfig of a container's root would be the container's. A cache that cannot be
    read is none, as for the loader.
    """
    found: dict[str, str] = {}
    with suppress(OSError, struct.error, ValueError, UnicodeDecodeError):
        with open_regular(path) as file:
            data = file.read(_MAX_CACHE_BYTES)
        data = data[max(data.find(_CACHE_MAGIC), 0) :]  # an older form may come first
        magic, count, _ = _CACHE_HEAD.unpack_from(data)
        for number in range(count if magic == _CACHE_MAGIC else 0):
            place = _CACHE_HEAD.size + number * _CACHE_ENTRY.size
            flags, name, target = _CACHE_ENTRY.unpack_from(data, place)
            if flags == _X86_64:
                found.setdefault(_string(data, name), _string(data, target))
    return found


def _string(data: bytes, start: int) -> str:
    return data[start : data.index(b"\0", start)].decode()
