"""Finished kernels by content, and one build at a time.

Two levels. A request (options, source, compiler) leads to a kernel (complete .config, source,
compiler): requests that configure to the same .config share one kernel. Layout below `folder`:

    sources/KEY/        unpacked source trees
    catalogues/KEY.json drivers of each source, by modalias
    configured/KEY/     where kernels of each are configured
    objects/KEY-N/      make's object folders of each, kept so that the next build is incremental:
                        one for each of the last few kinds of kernels
    ccache/             compiled objects by content
    requests/KEY        text: the key of the kernel
    kernels/KEY/        bzImage, config, about.json (with the image's SHA-256)
    lock                held while building
"""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOCK_LIMIT_S = 7200
LOCK_POLL_S = 0.2

# Kernels of two services on the same hardware differ in up to 45 lines, those of a virtio guest and
# a PC in 180 or more, which is nearly a full build. A folder takes 0.3 GB.
LINES_OF_A_KIND = 60
KINDS = 3


@dataclass(frozen=True)
class BuiltKernel:
    """One entry of the cache."""

    folder: Path
    about: dict[str, Any]

    @property
    def image(self) -> Path:
        """The bzImage."""
        return self.folder / "bzImage"

    @property
    def config(self) -> Path:
        """The .config it was built from."""
        return self.folder / "config"


class KernelCache:
    """The cache at `folder`, made on first use."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sources = folder / "sources"
        self.ccache = folder / "ccache"
        self._requests = folder / "requests"
        self._kernels = folder / "kernels"
        for needed in (self._requests, self._kernels):
            needed.mkdir(parents=True, exist_ok=True)

    def configured(self, source_key: str) -> Path:
        """Where kernels of a source are configured."""
        return self.folder / "configured" / source_key

    def objects(self, source_key: str, config: str) -> Path:
        """The object folder in which this .config has the least to compile anew."""
        folders = [self.folder / "objects" / f"{source_key}-{n + 1}" for n in range(KINDS)]
        used = [folder for folder in folders if (folder / ".config").exists()]
        distances = {folder: _lines_between(folder / ".config", config) for folder in used}
        nearest = min(used, key=lambda folder: distances[folder], default=folders[0])
        if len(used) == KINDS or distances.get(nearest, 0) <= LINES_OF_A_KIND:
            return nearest
        return next(folder for folder in folders if folder not in used)

    @staticmethod
    def request_key(*parts: str) -> str:
        """The key of a request: options as text, source key, toolchain identity."""
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    kernel_key = request_key

    def find(self, request: str) -> BuiltKernel | None:
        """The kernel that an earlier equal request led to."""
        try:
            return self.find_kernel((self._requests / request).read_text())
        except OSError:
            return None

    def find_kernel(self, key: str) -> BuiltKernel | None:
        """The kernel of `key`, if its bytes are still those that were built."""
        built = self._read(self._kernels / key)
        if built is None or _sha256(built.image) != built.about.get("sha256"):
            return None
        return built

    def _read(self, folder: Path) -> BuiltKernel | None:
        try:
            about = json.loads((folder / "about.json").read_text())
        except (OSError, ValueError):
            return None
        return BuiltKernel(folder, about) if (folder / "bzImage").is_file() else None

    def keep(self, key: str, image: Path, config: Path, about: dict[str, str | int]) -> BuiltKernel:
        """Copy a finished kernel in: all of it or, interrupted, nothing. Needs the build lock."""
        partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=self._kernels))
        try:
            shutil.copyfile(image, partial / "bzImage")
            shutil.copyfile(config, partial / "config")
            said = {**about, "sha256": _sha256(partial / "bzImage")}
            (partial / "about.json").write_text(json.dumps(said, indent=1, sort_keys=True))
            shutil.rmtree(self._kernels / key, ignore_errors=True)
            os.rename(partial, self._kernels / key)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        return BuiltKernel(self._kernels / key, said)

    def remember(self, request: str, built: BuiltKernel) -> BuiltKernel:
        """Let the next equal request find `built` at once. Needs the build lock."""
        partial = self._requests / f".partial-{request}"
        partial.write_text(built.folder.name)
        os.rename(partial, self._requests / request)
        return built

    @contextmanager
    def only_builder(self, waiting: Callable[[], None]) -> Iterator[int]:
        """Hold the build lock; `waiting` is called once if another has it. Yields its descriptor.

        Raises TimeoutError after two hours: longer than any build may take.
        """
        descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            _take_lock(descriptor, waiting)
            for leftover in (*self._kernels.glob(".partial-*"), *self._requests.glob(".partial-*")):
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
            yield descriptor
        finally:
            os.close(descriptor)


def _lines_between(path: Path, config: str) -> int:
    """How many lines only one of two .config files has."""
    lines = path.read_text(errors="replace").splitlines()
    return len({*lines} ^ {*config.splitlines()})


def _take_lock(descriptor: int, waiting: Callable[[], None]) -> None:
    """flock(2), but polled: so Ctrl-C and the limit work while waiting."""
    deadline = time.monotonic() + LOCK_LIMIT_S
    told = False
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TimeoutError("another kernel build has held the lock for two hours") from None
        if not told:
            told = True
            waiting()
        time.sleep(LOCK_POLL_S)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
