"""On a host the logs' share of the data is a file system of its own, in a file beside the data.

Few hosts have quotas by project, and nothing else keeps a folder to a size.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from onejob.base.data_disk import locked_disk, make_data_disk
from onejob.model.errors import InputError, LacksError
from onejob.model.plan import Plan

FOLDER = ".onejob-logs"  # as native/init/src/share.rs has it
_IMAGE = ".onejob-logs.img"
_OWNER = ".onejob-owner"


class LogShare(NamedTuple):
    """The file system in `image` is to be mounted on `folder`; `lock` is whoever's may use it."""

    image: Path
    folder: Path
    lock: int


@contextmanager
def log_share(plan: Plan, data: Path) -> Iterator[LogShare | None]:
    """The share in the folder `data`, made if it is not there; None where the plan has none.

    Nor is one made among files of nobody's service, which process 1 refuses.
    InputError where another instance uses it, LacksError where there is no room.
    """
    if not plan.share_kib or not _is_for_services(data):
        yield None
        return
    image, folder = data / _IMAGE, data / FOLDER
    folder.mkdir(exist_ok=True)
    if folder.is_symlink() or image.is_symlink():
        raise InputError(f"data folder {data}: a link is in the place of its logs", "remove it")
    if not image.exists():
        make_data_disk(image, plan.share_kib // 1024, quotas=False)
    with locked_disk(image) as lock:
        _take_room(image, lock)
        yield LogShare(image.absolute(), folder.absolute(), lock)


def _take_room(image: Path, descriptor: int) -> None:
    """A file system in a file with holes is damaged when the disk below is full."""
    try:
        os.posix_fallocate(descriptor, 0, os.fstat(descriptor).st_size)
    except OSError as error:
        hint = "free some space, or give another folder"
        raise LacksError(f"no room for the logs in {image}: {error.strerror}", hint) from error


def _is_for_services(data: Path) -> bool:
    """It is a service's, or has nothing but what is made before process 1 says whose it is."""
    names = set(os.listdir(data))
    return _OWNER in names or names <= {FOLDER, _IMAGE, "lost+found"}
