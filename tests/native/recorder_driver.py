"""Runs programs with the malloc recorder preloaded, and reads what it recorded."""

import os
import subprocess
from pathlib import Path

from onejob.base.natives import native_path
from onejob.profiler.allocation_files import make_folder, read_allocations
from onejob.profiler.allocations import ProcessAllocations, SizeCount

SOURCES = Path(__file__).parent / "recorder"
BLOCKS = 23
ALLOCATORS = ("libjemalloc.so.2", "libtcmalloc_minimal.so.4", "libmimalloc.so.2")


class Recorder:
    """Runs programs with the recorder preloaded; every run shares one folder of recordings."""

    def __init__(self, folder: Path, mode: int = 0o1777) -> None:
        self.folder = folder
        make_folder(folder)
        folder.chmod(mode)

    def environment(self, **more: str) -> dict[str, str]:
        library = str(native_path("libonejob_recorder.so").resolve())
        preload = f"{library} {more.pop('LD_PRELOAD', '')}"
        return {**os.environ, "LD_PRELOAD": preload, "ONEJOB_RECORDER_DIR": str(self.folder)} | more

    def run(self, *command: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(word) for word in command],
            env=self.environment(**more),
            capture_output=True,
            text=True,
            timeout=20,
        )

    def check(self, *command: str | Path, **more: str) -> tuple[ProcessAllocations, ...]:
        done = self.run(*command, **more)
        assert (done.returncode, done.stderr) == (0, "")
        return self.read()

    def read(self) -> tuple[ProcessAllocations, ...]:
        return read_allocations(self.folder)

    def check_one(self, *command: str | Path) -> ProcessAllocations:
        (process,) = self.check(*command)
        return process


def compile_workload(folder: Path, source: str, *options: str) -> Path:
    """The program of SOURCES/`source`, in `folder`."""
    program = folder / Path(source).stem
    compiler = "g++" if source.endswith(".cc") else "gcc"
    # -fno-builtin: a malloc and its free must not be optimised away.
    flags = ["-O1", "-fno-builtin", "-Wall", "-Werror", "-Wno-free-nonheap-object", "-pthread"]
    command = [compiler, *flags, "-o", program, SOURCES / source, *options]
    subprocess.run(command, check=True, timeout=60)
    return program


def basic(process: ProcessAllocations, size: int) -> SizeCount:
    """Peak, allocated and freed alone."""
    return SizeCount(*process.sizes[size][:4])


def all_freed(size: int, peak: int, total: int) -> SizeCount:
    return SizeCount(size, peak, total, total)
