"""What is asked of a disk besides its image."""

import re
from pathlib import Path
from typing import NamedTuple

from onejob.model.errors import InputError

# QEMU's user network, where the published instructions boot a disk.
QEMU_NETWORK = "10.0.2.15::10.0.2.2:255.255.255.0::eth0:off"
_IP = re.compile(r"[0-9A-Za-z.:_-]{1,200}")


class Options(NamedTuple):
    """`ip` is the kernel's ``ip=`` (Documentation/admin-guide/nfs/nfsroot.rst).

    `key` and `certificate` (PEM) sign what firmware starts. For an installer's medium, `kit` is the
    repository that it carries, `trust` its root.json, `answers` an answer file.
    """

    ip: str = QEMU_NETWORK
    key: Path | None = None
    certificate: Path | None = None
    kit: Path | None = None
    trust: Path | None = None
    answers: Path | None = None


USUAL = Options()


def check_options(options: Options) -> None:
    """InputError for what cannot be meant."""
    if not _IP.fullmatch(options.ip):
        raise InputError(f"--ip {options.ip}: not what the kernel takes", f"as {QEMU_NETWORK}")
    if (options.key is None) != (options.certificate is None):
        raise InputError("--key and --certificate belong together", "give both")
    for path in (options.key, options.certificate):
        if path is not None and not path.is_file():
            raise InputError(f"{path} is no file", "give a key and its certificate, both PEM")
    for path in (options.trust, options.answers):
        if path is not None and not path.is_file():
            raise InputError(f"{path} is no file", "give the kit's root.json, and an answer file")
