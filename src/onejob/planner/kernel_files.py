"""What of the kernel's own file systems the service may change, and which devices it has."""

from collections.abc import Iterable

from onejob.model.file_uses import WRITES, is_written, write_reason
from onejob.model.paths import is_below
from onejob.model.plan import Mount
from onejob.model.profile import FileUse, Profile

# Harmless to whoever has them, and what programs rely upon without a drill showing it (null(4),
# full(4), random(4), tty(4)).
_ALWAYS = ("/dev/full", "/dev/null", "/dev/random", "/dev/tty", "/dev/urandom", "/dev/zero")
# A device that is written stays the node that it was.
_CHANGES_OF_NAMES = WRITES - {"written", "appended"}


def kernel_mounts(profile: Profile, others: Iterable[str]) -> tuple[Mount, ...]:
    """/proc, /sys and /dev; `others` are folders that something else is mounted on."""
    hidden = tuple(others)
    files = [f for f in profile.files if not any(is_below(f.path, other) for other in hidden)]
    proc = next((f for f in files if is_below(f.path, "/proc") and is_written(f)), None)
    dev = next((f for f in files if is_below(f.path, "/dev") and _is_renamed(f)), None)
    devices = {f.path for f in files if f.kind == "device" and is_below(f.path, "/dev")}
    return (
        _mount("/proc", "proc", "process 1 and libraries read it", proc),
        Mount(path="/sys", kind="sysfs", reason="libraries read the processors from it"),
        _mount("/dev", "devtmpfs", "/dev/null, /dev/urandom and the console", dev).model_copy(
            update={"devices": tuple(sorted(devices.union(_ALWAYS)))}
        ),
    )


def _is_renamed(file: FileUse) -> bool:
    return any(use.how in _CHANGES_OF_NAMES for use in file.uses)


def _mount(path: str, kind: str, reason: str, written: FileUse | None) -> Mount:
    if written is not None:
        reason = f"{reason}; {written.path} {write_reason(written)}"
    fields = {"path": path, "kind": kind, "reason": reason, "read_only": written is None}
    return Mount.model_validate(fields)
