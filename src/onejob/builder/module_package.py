"""The distribution's kernel package: fetched without installing it, and what its modules say.

What depmod(8) writes into ``modules.alias`` is read where depmod reads it: in each module's
``.modinfo``, and for what is built in, in ``modules.builtin.modinfo``.
"""

import lzma
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from onejob.base.process import find_tool, run_tool, start_group
from onejob.model.errors import BuildError, LacksError

QUERY_LIMIT_S = 60
DOWNLOAD_LIMIT_S = 900
UNPACK_LIMIT_S = 600
_MAX_MODULE_BYTES = 64 * 1024 * 1024
_MODULE = re.compile(r"\./(?:usr/)?lib/modules/[^/]+/kernel/(.+)\.ko(\.xz)?")
_BUILT_IN = re.compile(r"\./(?:usr/)?lib/modules/[^/]+/modules\.builtin\.modinfo")
_SAID = re.compile(rb"(?<![ -~])(alias|firmware)=([ -~]+)\x00")
_OF_BUILT_IN = re.compile(r"([^.=]+)\.(alias|firmware|file)=(.*)", re.DOTALL)
# A meta package only depends on one that has a kernel, which takes some 100 MB.
_KERNEL_KIB = 10_000
# Its modules are compressed one by one, so unpacked it is hardly larger: for the progress only.
_UNPACKED = 1.05


@dataclass(frozen=True)
class KernelPackage:
    """A package that has the distribution's kernel with all its modules."""

    name: str
    version: str


@dataclass(frozen=True)
class Module:
    """A module, or what would be one were it not built in; `path` without its ending."""

    path: str
    aliases: tuple[str, ...]
    firmware: tuple[str, ...]

    @property
    def name(self) -> str:
        """As the kernel writes it."""
        return self.path.rpartition("/")[2].replace("-", "_")

    @property
    def folder(self) -> str:
        """Where its source is in the kernel."""
        return self.path.rpartition("/")[0]


def find_kernel_package(source_package: str) -> KernelPackage:
    """The package of the kernel that was built from `source_package`, ``NAME VERSION``.

    That of the same series, where the distribution has none of the same version. LacksError
    where apt knows none.
    """
    name, _, version = source_package.partition(" ")
    series = name.removeprefix("linux-source-")
    pattern = rf"^linux-image-{re.escape(series)}[^ ]*-amd64(-unsigned)?$"
    apt_cache = find_tool("apt-cache", "apt")
    found = run_tool([apt_cache, "search", "--names-only", pattern], timeout=QUERY_LIMIT_S)
    names = [line.split(" ", 1)[0] for line in found.splitlines()]
    names = [each for each in names if "-cloud-" not in each and "-rt-" not in each]
    if not names:
        raise LacksError(
            f"apt knows no package linux-image-{series}*-amd64, which tells drivers by modalias",
            "apt-get update",
        )
    shown = run_tool([apt_cache, "show", *names], timeout=QUERY_LIMIT_S)
    packages = [each for stanza in shown.split("\n\n") if (each := _package(stanza))]
    if not packages:
        raise LacksError(f"apt describes none of {', '.join(names)}", "apt-get update")
    return max(packages, key=lambda each: (each.version == version, _in_order(each)))


def _package(stanza: str) -> KernelPackage | None:
    fields = dict(line.split(": ", 1) for line in stanza.splitlines() if re.match(r"\S+: ", line))
    if int(fields.get("Installed-Size", "0")) < _KERNEL_KIB:
        return None
    return KernelPackage(fields["Package"], fields["Version"])


def _in_order(package: KernelPackage) -> tuple[tuple[int, ...], str]:
    numbers = tuple(int(number) for number in re.findall(r"\d+", package.version))
    return numbers, package.name


@contextmanager
def fetched(package: KernelPackage, below: Path) -> Iterator[Path]:
    """The package's file, in a folder of its own that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix=".onejob-package-", dir=below) as folder:
        command = [find_tool("apt-get", "apt"), "-q", "download"]
        try:
            run_tool(
                [*command, f"{package.name}={package.version}"],
                timeout=DOWNLOAD_LIMIT_S,
                directory=Path(folder),
            )
        except BuildError as error:
            raise LacksError(
                f"cannot fetch the package {package.name} {package.version}: {error.what}",
                "it tells which driver a device needs; apt needs a network, or a local mirror",
            ) from error
        yield next(iter(Path(folder).glob("*.deb")))


def read_modules(package: Path, progress: Callable[[float], None]) -> tuple[Module, ...]:
    """All modules of a kernel package that drive devices, by path; nothing is unpacked to disk."""
    command = [find_tool("dpkg-deb", "dpkg"), "--fsys-tarfile", str(package)]
    found: list[Module] = []
    with start_group(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
                for member in archive:
                    found += _modules_in(member, archive)
                    progress(min(1.0, archive.offset / (_UNPACKED * package.stat().st_size)))
        except (tarfile.TarError, lzma.LZMAError, OSError) as error:
            raise BuildError(f"cannot read {package.name}: {error}") from error
    if not found:
        raise BuildError(f"{package.name} has no modules that drive devices")
    return tuple(sorted(found, key=lambda module: module.path))


def _modules_in(member: tarfile.TarInfo, archive: tarfile.TarFile) -> list[Module]:
    match = _MODULE.fullmatch(member.name)
    if not member.isfile() or not (match or _BUILT_IN.fullmatch(member.name)):
        return []
    file = archive.extractfile(member)
    assert file is not None  # it is a file
    if match is None:
        return _built_in(file.read(_MAX_MODULE_BYTES).decode(errors="replace"))
    said = [(what.decode(), text.decode()) for what, text in _SAID.findall(_plain(file, match[2]))]
    return _driving(match[1], said)


def _plain(file: IO[bytes], compressed: str | None) -> bytes:
    data = file.read(_MAX_MODULE_BYTES)
    if not compressed:
        return data
    return lzma.LZMADecompressor().decompress(data, max_length=_MAX_MODULE_BYTES)


def _built_in(text: str) -> list[Module]:
    """From ``modules.builtin.modinfo``: ``NAME.KEY=VALUE``, ended by zero bytes."""
    said: dict[str, list[tuple[str, str]]] = {}
    paths: dict[str, str] = {}
    for row in text.split("\0"):
        if match := _OF_BUILT_IN.fullmatch(row):
            if match[2] == "file":
                paths[match[1]] = match[3]
            else:
                said.setdefault(match[1], []).append((match[2], match[3]))
    return [each for name, path in paths.items() for each in _driving(path, said.get(name, []))]


def _driving(path: str, said: list[tuple[str, str]]) -> list[Module]:
    """The module, if any of its aliases is of a device: they have the form BUS:REST."""
    aliases = sorted({text for what, text in said if what == "alias" and ":" in text})
    firmware = sorted({text for what, text in said if what == "firmware"})
    return [Module(path, tuple(aliases), tuple(firmware))] if aliases else []
