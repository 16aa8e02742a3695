"""Boot state: which slot boots, and which one is on trial; one sector of GRUB's and process 1's.

The form is GRUB's environment block (the GNU GRUB manual, "Environment block"): lines of
``name=value`` after a signature, filled up with ``#``. GRUB counts `tries` down itself. It writes
in place into files only, not to a list of blocks (2.06: "sparse file not allowed"); so the
partition is an archive (tar) with this one file, whose content is the second sector.
"""

import io
import re
import tarfile
from typing import Literal, NamedTuple

from onejob.disk.device import SECTOR, Device
from onejob.disk.layout import find_layout
from onejob.model.errors import InputError

Slot = Literal["a", "b"]
SLOTS: tuple[Slot, Slot] = ("a", "b")
TRIES = 3
# What of the partition process 1 is given: a whole block of any disk.
STATE_BYTES = 4096
_MEMBER = "state"  # boot.cfg names it
_SIGNATURE = "# GRUB Environment Block\n"
_FORM = re.compile(
    re.escape(_SIGNATURE) + r"(?=(?:.*\n)*first=([ab])\n)(?=(?:.*\n)*trying=([ab]?)\n)"
    r"(?=(?:.*\n)*tries=([0-3])\n)(?:first=[ab]\n|trying=[ab]?\n|tries=[0-3]\n){3}#*"
)


class State(NamedTuple):
    """`first` boots, but for `tries` times `trying`, the slot on trial (empty where none is).

    A trial with no tries left has failed.
    """

    first: Slot
    trying: Slot | Literal[""] = ""
    tries: int = 0

    @property
    def next(self) -> Slot:
        """The slot that boots next."""
        return self.trying if self.trying and self.tries else self.first


def other(slot: Slot) -> Slot:
    """The one beside it."""
    return "b" if slot == "a" else "a"


def trial(state: State, slot: Slot) -> State:
    """`slot` is to be tried."""
    return State(state.first, slot, TRIES)


def read_state(device: Device) -> State:
    """InputError where it is damaged."""
    place = find_layout(device)["state"]
    return parse_state(device.read_at(place.start + SECTOR, SECTOR), str(device.path))


def write_state(device: Device, state: State) -> None:
    """One sector; it is on the disk when this returns."""
    device.write_at(find_layout(device)["state"].start + SECTOR, format_state(state))
    device.flush()


def new_partition(state: State) -> bytes:
    """What the partition begins with: the archive."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        member = tarfile.TarInfo(_MEMBER)
        member.size = SECTOR
        tar.addfile(member, io.BytesIO(format_state(state)))
    return archive.getvalue()


def format_state(state: State) -> bytes:
    """The sector."""
    lines = f"first={state.first}\ntrying={state.trying}\ntries={state.tries}\n"
    return (_SIGNATURE + lines).encode().ljust(SECTOR, b"#")


def parse_state(sector: bytes, where: str) -> State:
    """InputError for all that neither onejob, GRUB nor process 1 has written; `where` it was."""
    found = _FORM.fullmatch(sector.decode("ascii", "replace"))
    if found is None:
        raise InputError(f"disk {where}: its boot state is damaged", "install the system again")
    first, trying, tries = found.groups()
    return State(_slot(first), _slot(trying) if trying else "", int(tries))


def _slot(text: str) -> Slot:
    return "a" if text == "a" else "b"
