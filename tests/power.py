"""Power cuts on recorded writes: what a disk can hold when the power fails at any moment.

Until a flush has returned, a disk may have done any of the writes since the one before it, in any
order, and of each only some sectors.
"""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from onejob.disk.device import SECTOR, Device


class Write(NamedTuple):
    offset: int
    content: bytes


class Flush(NamedTuple):
    pass


Event = Write | Flush


class RecordedDevice(Device):
    """Does what it is told, and keeps it."""

    def __init__(self, path: Path, descriptor: int) -> None:
        super().__init__(path, descriptor)
        self.events: list[Event] = []

    def write_at(self, offset: int, content: bytes) -> None:
        super().write_at(offset, content)
        self.events.append(Write(offset, bytes(content)))

    def flush(self) -> None:
        super().flush()
        self.events.append(Flush())


def writes_after_cut(
    events: Sequence[Event], moment: int, chance: random.Random
) -> list[tuple[int, bytes]]:
    """What of the first `moment` events has reached the disk: all up to the last flush among them,
    and of the writes after it, by `chance`, any sectors, in any order.
    """
    done = events[:moment]
    last = max((at for at, event in enumerate(done) if isinstance(event, Flush)), default=-1)
    kept = [event for event in done[: last + 1] if isinstance(event, Write)]
    open_ones = [event for event in done[last + 1 :] if isinstance(event, Write)]
    chance.shuffle(open_ones)
    torn = [part for write in open_ones for part in _torn(write, chance)]
    return [*kept, *torn]


def _torn(write: Write, chance: random.Random) -> list[Write]:
    """Nothing of it, all of it, or some of its sectors."""
    how = chance.choice(("none", "all", "some"))
    if how != "some":
        return [write] if how == "all" else []
    return [
        Write(write.offset + at, write.content[at : at + SECTOR])
        for at in range(0, len(write.content), SECTOR)
        if chance.random() < 0.5
    ]


def apply(path: Path, writes: Sequence[tuple[int, bytes]]) -> None:
    """Do `writes` on the raw image at `path`."""
    with path.open("r+b") as file:
        for offset, content in writes:
            file.seek(offset)
            file.write(content)
