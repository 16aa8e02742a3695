"""Where native parts, data folders, cache and state lie: in the wheel, a checkout, the system."""

import os
from pathlib import Path

from onejob.model.errors import LacksError

_PACKAGE = Path(__file__).resolve().parent.parent


def native_path(name: str) -> Path:
    """The native part `name`; LacksError says how to make it."""
    folders = [Path(os.environ["ONEJOB_NATIVE_DIR"])] if "ONEJOB_NATIVE_DIR" in os.environ else []
    for folder in (*folders, _PACKAGE / "_native"):
        if (folder / name).is_file():
            return folder / name
    raise LacksError(f"the native part {name} is not built", "run: make install")


def data_path(name: str) -> Path:
    """The data folder `name` (components, hardware, services)."""
    for folder in (_PACKAGE / "_data" / name, _PACKAGE.parent.parent / name):
        if folder.is_dir():
            return folder
    raise LacksError(f"the data folder {name} is missing", "install onejob again")


def cache_path() -> Path:
    """Where built kernels and the like are kept: $ONEJOB_CACHE, else /var/cache/onejob.

    Whoever is not root has one of his own (XDG base directory specification).
    """
    if os.geteuid() == 0 or "ONEJOB_CACHE" in os.environ:
        return Path(os.environ.get("ONEJOB_CACHE", "/var/cache/onejob"))
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "onejob"


def state_path() -> Path:
    """What has to be remembered from run to run: $ONEJOB_STATE, else /var/lib/onejob.

    Whoever is not root has one of his own (XDG base directory specification).
    """
    if os.geteuid() == 0 or "ONEJOB_STATE" in os.environ:
        return Path(os.environ.get("ONEJOB_STATE", "/var/lib/onejob"))
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "onejob"
