"""What is on a disk now, as far as it can be told without mounting anything."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from onejob.base.process import find_tool, run_tool
from onejob.disk.device import Device
from onejob.disk.layout import find_layout
from onejob.disk.papers import Papers, read_papers
from onejob.disk.state import State, read_state
from onejob.model.errors import BuildError, InputError, LacksError

_LIMIT_S = 30
_FOUND = re.compile(r"(?m)^(TYPE|PTTYPE|LABEL|PARTLABEL)=(.*)$")


class System(NamedTuple):
    """A system that onejob has installed: its boot state, and the papers of the slot that boots."""

    state: State
    papers: Papers

    @property
    def words(self) -> str:
        """As a person reads it."""
        return f"onejob's {self.papers.manifest.name}, which boots from slot {self.state.first}"


def find_system(device: Device) -> System | None:
    """The system on `device`; None where there is none that is whole."""
    try:
        find_layout(device)
        state = read_state(device)
        return System(state, read_papers(device, state.first))
    except InputError:
        return None


def describe_content(device: Device) -> str:
    """What is on `device`, for whoever decides whether it may be lost."""
    system = find_system(device)
    if system:
        return system.words
    parts = list(_parts(device.path.resolve()))
    return "; ".join(parts) or "nothing that is known"


def _parts(disk: Path) -> Iterator[str]:
    """The disk itself, and each of its partitions (blkid(8) looks for 80 kinds of content)."""
    found = _signatures(disk)
    if "PTTYPE" in found:
        yield f"a partition table ({found['PTTYPE']})"
    elif found:
        yield _named(found)
    for partition in sorted(Path("/sys/class/block", disk.name).glob(f"{disk.name}*")):
        size = int((partition / "size").read_text()) * 512
        named = _named(_signatures(disk.parent / partition.name))
        yield f"{partition.name} ({size / 1e9:.1f} GB): {named}"


def _named(found: dict[str, str]) -> str:
    label = found.get("LABEL") or found.get("PARTLABEL")
    return found.get("TYPE", "unknown") + (f" {label!r}" if label else "")


def _signatures(path: Path) -> dict[str, str]:
    """What blkid finds; nothing where it is not there, or finds nothing (exit status 2)."""
    try:
        tool = find_tool("blkid", "util-linux")
        return dict(_FOUND.findall(run_tool([tool, "-p", "-o", "export", path], timeout=_LIMIT_S)))
    except (LacksError, BuildError):
        return {}
