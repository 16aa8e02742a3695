"""Where the scratch files of a watched run lie, as long as it lasts."""

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from onejob.profiler.guard import guarded
from onejob.profiler.sandbox import MountPoint, read_mounts

_RUN = "/run"


def recordings_folder() -> AbstractContextManager[Path]:
    """A folder for a run with the memory recorder, which makes a file for each child process.

    In memory, where that is quick: on a disk it takes the child longer than most of them live.
    """
    mounts = read_mounts(Path("/proc/self/mountinfo").read_text(errors="surrogateescape"))
    return run_folder(place_in_memory(mounts))


def place_in_memory(mounts: Iterable[MountPoint]) -> str:
    """/run where it is in memory, else /dev/shm if that is; /run where neither is."""
    kinds = {mount.path: mount.kind for mount in mounts}  # the last one hides those before
    places = [place for place in (_RUN, "/dev/shm") if os.access(place, os.W_OK)]
    return next((place for place in places if kinds.get(place) == "tmpfs"), run_place())


def run_place() -> str:
    """Where folders of runs are made: /run, or where whoever is not root may."""
    return _RUN if os.access(_RUN, os.W_OK) else tempfile.gettempdir()


@contextmanager
def run_folder(place: str = "") -> Iterator[Path]:
    """A folder for one watched run."""
    path = Path(tempfile.mkdtemp(prefix="onejob-", dir=place or run_place()))
    try:
        path.chmod(0o711)  # the service's own users reach what is meant for them
        (path / "keep").mkdir()
        with guarded(path):
            yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
