"""A survey inside a guest: the same reader as for this machine, over the control channel."""

from onejob.model.errors import OnejobError
from onejob.model.hardware import Hardware
from onejob.model.image import Image
from onejob.survey.survey import survey_machine
from onejob.system.control import Control
from onejob.system.qemu import qemu_instance


class GuestSource:
    """A survey's Source that reads through process 1 of a guest."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def read(self, path: str) -> str:
        """The beginning of a file; /proc and /sys files that matter are short."""
        return self.read_bytes(path).decode(errors="replace")

    def read_bytes(self, path: str) -> bytes:
        """The same, as it is."""
        try:
            return self._control.read_file(path)
        except OnejobError:
            return b""

    def list(self, path: str) -> tuple[str, ...]:
        """The names in a folder."""
        try:
            return tuple(sorted(str(n) for n in self._control.request("list", path=path)))
        except OnejobError:
            return ()

    def readlink(self, path: str) -> str:
        """The target of a symbolic link."""
        try:
            return str(self._control.request("readlink", path=path))
        except OnejobError:
            return ""

    def refused(self) -> tuple[str, ...]:
        """Nothing: process 1 may read all of /proc and /sys."""
        return ()


def survey_guest(image: Image, name: str) -> Hardware:
    """Boot `image` in QEMU and survey the guest from inside."""
    with qemu_instance(image) as guest:
        source = GuestSource(guest.control)
        return survey_machine(source, name, image.plan.architecture, image.plan.machine.how)
