"""Put a finished image folder in its place: whole or not at all, the old one kept until then."""

import ctypes
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from onejob.model.errors import BuildError, InputError, LacksError
from onejob.model.image import KERNEL, KERNEL_CONFIG, MANIFEST, PLAN, PROFILE, ROOT

IMAGE_NAMES = {MANIFEST, PLAN, PROFILE, ROOT, KERNEL, KERNEL_CONFIG}

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2  # linux/fs.h
_libc = ctypes.CDLL(None, use_errno=True)


def check_space(destination: Path, needed: int) -> None:
    """LacksError where `needed` bytes do not fit beside `destination`."""
    if shutil.disk_usage(destination.parent).free < needed:
        raise _no_space(destination)


def check_destination(destination: Path) -> None:
    """InputError where an image cannot go to `destination`: only an image is replaced."""
    if not destination.parent.is_dir():
        raise InputError(f"{destination.parent} is no directory", "make it, or choose another -o")
    if not os.path.lexists(destination):
        return
    hint = "choose another -o, or move it away"
    if destination.is_symlink() or not destination.is_dir():
        raise InputError(f"{destination} exists and is no image folder", hint)
    names = {entry.name for entry in destination.iterdir()}
    if MANIFEST not in names:
        raise InputError(f"{destination} exists and is no image", hint)
    if strange := sorted(names - IMAGE_NAMES):
        raise InputError(f"{destination} holds more than an image: {', '.join(strange[:5])}", hint)


@contextmanager
def workshop(destination: Path) -> Iterator[Path]:
    """A private folder beside `destination`, gone afterwards however the work ends.

    LacksError where the disk is full.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix=".onejob-", dir=destination.parent))
    except OSError as error:
        raise _trouble(destination, error) from error
    try:
        yield folder
    except OSError as error:
        raise _trouble(destination, error) from error
    except BuildError as error:
        # The packers are programs of their own, so their errno comes as text.
        if os.strerror(errno.ENOSPC) in error.what:
            raise _no_space(destination) from error
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _trouble(destination: Path, error: OSError) -> LacksError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _no_space(destination)
    return LacksError(f"writing {destination}: {error}")


def _no_space(destination: Path) -> LacksError:
    return LacksError(
        f"no space left in {destination.parent} for {destination.name}",
        "free some space, or choose another disk; nothing was changed",
    )


def set_rights(folder: Path) -> None:
    """The root may hold files that only root can read on the host, and so must it be here."""
    for path in folder.iterdir():
        path.chmod(0o600 if path.name == ROOT else 0o644)
    folder.chmod(0o755)


def put_in_place(folder: Path, destination: Path) -> None:
    """Make `folder` be `destination`, in one step.

    An image that was there is afterwards at `folder`, for the caller to remove with its workshop.
    """
    sync_folder(folder)
    check_destination(destination)
    if not destination.exists():
        folder.rename(destination)
    elif not exchange(folder, destination):
        replace_in_two(folder, destination)
    sync(destination.parent)


def replace_in_two(folder: Path, destination: Path) -> None:
    """The old image away, the new one in; the old one back where that fails."""
    old = folder.with_name("old")
    destination.rename(old)
    try:
        folder.rename(destination)
    except BaseException:
        old.rename(destination)
        raise


def exchange(one: Path, other: Path) -> bool:
    """Swap two paths atomically (renameat2(2)); False where the file system cannot."""
    words = (_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    if _libc.renameat2(*words) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS):
        return False
    raise OSError(number, f"cannot replace {other}: {os.strerror(number)}")


def sync_folder(folder: Path) -> None:
    """Have every file of `folder`, and their names, on the disk."""
    for path in folder.iterdir():
        sync(path)
    sync(folder)


def sync(path: Path) -> None:
    """fsync(2) of a file or a directory."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
