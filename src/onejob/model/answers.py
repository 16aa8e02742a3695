"""The answer file of ``onejob install``: everything that it would ask. TOML."""

from typing import Annotated

from pydantic import Field

from onejob.model.noun import Noun
from onejob.model.workload import NAME_PATTERN

USUAL_ADDRESS = "dhcp"


class DiskAnswer(Noun):
    """The disk that is written: the only one that has all that is said of it.

    `path` is a device or a raw file; `serial` and `model` are the disk's own, as `onejob survey
    --json` tells them; `size_gb` is its size in units of 10^9 bytes, rounded. `erase`: all that
    is on it may be lost.
    `fresh`: it is erased even where the same service is on it, whose data would be kept.
    `again`: it is written even where it has this very system already; no answer means no in a
    medium's file, as the medium may stay in a machine that starts it first, and yes elsewhere.
    """

    path: Annotated[str, Field(pattern=r"^/[!-~]+$")] | None = None
    serial: str | None = None
    model: str | None = None
    size_gb: Annotated[int, Field(ge=1)] | None = None
    erase: bool = False
    fresh: bool = False
    again: bool | None = None


class NetworkAnswer(Noun):
    """`ip` is the kernel's ``ip=`` (Documentation/admin-guide/nfs/nfsroot.rst)."""

    ip: Annotated[str, Field(pattern=r"^[0-9A-Za-z.:_-]{1,200}$")] = USUAL_ADDRESS


class Answers(Noun):
    """What is left out is asked on the console; without one, it has to be given otherwise.

    `repository` is a folder or an address; none: media are looked for. `trust` is its owner's
    root.json, from the folder of the answer file on. `version` of the image: none is the newest.
    """

    service: Annotated[str, Field(pattern=NAME_PATTERN)] | None = None
    repository: str | None = None
    trust: str | None = None
    version: Annotated[int, Field(ge=1)] | None = None
    disk: DiskAnswer = DiskAnswer()
    network: NetworkAnswer = NetworkAnswer()
