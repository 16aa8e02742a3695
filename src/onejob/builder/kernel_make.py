"""Running the kernel's make: a clean environment, an object folder kept warm, progress, errors."""

import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

from onejob.base.process import end_group, find_tool, run_tool, start_group
from onejob.model.errors import BuildError, LacksError

VERSION_LIMIT_S = 30
CONFIGURE_LIMIT_S = 300
COMPILE_LIMIT_S = 3600
# How long make may take to delete half-written targets when it is told to stop.
STOP_GRACE_S = 10

# Steps of a full build of a typical service kernel; later the last full build's own count.
TYPICAL_STEPS = 1400
IMAGE = "arch/x86/boot/bzImage"

# Tools that a kernel build runs, and the packages that bring them.
BUILD_TOOLS = {
    "gcc": "gcc",
    "ld": "binutils",
    "make": "make",
    "flex": "flex",
    "bison": "bison",
    "bc": "bc",
    "perl": "perl",
}
LIBELF_HEADER = Path("/usr/include/libelf.h")  # for the kernel's objtool

# The bytes of the image must not depend on who builds it, when, or for which time.
REPRODUCIBLE = {
    "KBUILD_BUILD_TIMESTAMP": "@0",
    "KBUILD_BUILD_USER": "onejob",
    "KBUILD_BUILD_HOST": "onejob",
    "KBUILD_BUILD_VERSION": "1",
}

_STEP = re.compile(r"  (CC|AS|AR|LD|HOSTCC|LDS|OBJCOPY|GEN|[A-Z]{2,10}) +(?:\[\w\] )?(\S+)")
_FAILURE = re.compile(r"\b(fatal )?error\b|undefined reference|No space left|Killed|\*\*\*", re.I)
_MAKE_FAILURE = re.compile(r"make(\[\d+\])?: ")


@dataclass(frozen=True)
class Toolchain:
    """The compiler that builds kernels here."""

    cc: str
    """The value of make's CC: with ccache in front where that is installed."""
    compiler: str
    """First line of ``gcc --version``."""
    identity: str
    """Compiler, linker and make settings: what the bytes depend on beyond source and options."""


def find_toolchain() -> Toolchain:
    """The host's compiler; LacksError names every missing package at once."""
    lacking = [p for tool, p in BUILD_TOOLS.items() if shutil.which(tool) is None]
    if not LIBELF_HEADER.exists():
        lacking.append("libelf-dev")
    if lacking:
        raise LacksError(
            f"cannot build a kernel: not installed: {', '.join(lacking)}",
            hint=f"apt-get install {' '.join(lacking)}",
        )
    compiler, linker = _first_line("gcc"), _first_line("ld")
    cc = "ccache gcc" if shutil.which("ccache") else "gcc"
    settings = sorted(REPRODUCIBLE.items())
    return Toolchain(cc, compiler, f"{compiler}\n{linker}\n{settings}")


def _first_line(tool: str) -> str:
    words = [find_tool(tool, BUILD_TOOLS[tool]), "--version"]
    return run_tool(words, timeout=VERSION_LIMIT_S).partition("\n")[0]


class Make:
    """The kernel's make for one source tree and one object folder, inside the build lock.

    As a context manager it marks the object folder as in use: a folder whose user died in the
    middle may hold half-written objects that look finished, so the next user starts it afresh.
    """

    def __init__(
        self,
        tree: Path,
        objects: Path,
        ccache: Path,
        toolchain: Toolchain,
        log: Path,
        lock: int,
    ) -> None:
        self.tree = tree
        self.objects = objects
        self.ccache = ccache
        self.toolchain = toolchain
        self.log = log
        self.lock = lock
        self._in_use = objects / "onejob-in-use"
        self._torn = False  # make was killed before it could delete half-written objects
        self._steps_file = objects / "onejob-steps"

    @property
    def config(self) -> Path:
        """The .config that it builds."""
        return self.objects / ".config"

    @property
    def image(self) -> Path:
        """Where the finished bzImage is."""
        return self.objects / IMAGE

    def __enter__(self) -> "Make":
        if self._in_use.exists():
            shutil.rmtree(self.objects)
        self.objects.mkdir(parents=True, exist_ok=True)
        self._in_use.touch()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._torn:
            self._in_use.unlink(missing_ok=True)

    def run(self, target: str, environment: Mapping[str, str]) -> None:
        """``make TARGET``, bounded; BuildError with the compiler's or make's own words."""
        for _ in self._lines([target], environment, CONFIGURE_LIMIT_S):
            pass

    def compile_image(self, progress: Callable[[str, float], None]) -> None:
        """Build the bzImage; `progress` gets each step and the fraction done, 0 to 1."""
        expected = self._expected_steps()
        steps = 0
        jobs = f"-j{len(os.sched_getaffinity(0))}"
        for line in self._lines([jobs, "bzImage"], {}, COMPILE_LIMIT_S):
            step = _STEP.match(line)
            if step:
                steps += 1
                progress(f"kernel: {step[1]} {step[2]}", min(steps / expected, 0.99))
        # Only a full build tells how long the next full build will be.
        if steps > self._expected_steps(0):
            self._steps_file.write_text(str(steps))

    def _expected_steps(self, otherwise: int = TYPICAL_STEPS) -> int:
        try:
            return int(self._steps_file.read_text())
        except (OSError, ValueError):
            return otherwise

    def _lines(
        self, words: Sequence[str], environment: Mapping[str, str], limit_s: float
    ) -> Iterator[str]:
        command = [find_tool("make", "make"), "-C", str(self.tree), f"O={self.objects}"]
        command += ["ARCH=x86_64", f"CC={self.toolchain.cc}", *words]
        with (
            self.log.open("a", buffering=1, errors="replace") as log,
            self._started(command, environment, limit_s) as process,
        ):
            assert process.stdout is not None
            yield from _copied(process.stdout, log)
            status = process.wait()
        if status != 0:
            raise self._failure(words[-1], status, limit_s)

    @contextmanager
    def _started(
        self, command: Sequence[str], environment: Mapping[str, str], limit_s: float
    ) -> Iterator[subprocess.Popen[str]]:
        """make in its own process group, ended gently and then for certain, whatever happens.

        It inherits the build lock: should this process be killed outright, the lock stays taken
        until make, too, is gone.
        """
        with start_group(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=self._environment(environment),
            pass_fds=[self.lock],
        ) as process:
            alarm = threading.Timer(limit_s, end_group, [process, STOP_GRACE_S])
            alarm.start()
            try:
                yield process
            finally:
                alarm.cancel()
                end_group(process, STOP_GRACE_S)
                self._torn |= process.returncode == -signal.SIGKILL

    def _environment(self, more: Mapping[str, str]) -> dict[str, str]:
        """Nothing of the caller's but where programs and temporary files are.

        A make around us would hand its own job server and flags down in MAKEFLAGS.
        """
        kept = {name: os.environ[name] for name in ("PATH", "TMPDIR", "HOME") if name in os.environ}
        ccache = {
            "CCACHE_DIR": str(self.ccache),
            "CCACHE_MAXSIZE": "2G",
            # A miss is then compiled once, not preprocessed first: a third less time when cold.
            "CCACHE_DEPEND": "1",
        }
        return {**kept, "LC_ALL": "C", **ccache, **REPRODUCIBLE, **more}

    def _failure(self, target: str, status: int, limit_s: float) -> BuildError:
        lines = self.log.read_text(errors="replace").splitlines()
        if status < 0:
            what = f"make {target} was ended by signal {-status} (its time limit is {limit_s:g} s)"
        else:
            what = f"make {target} failed: {failure_line(lines)}"
        return BuildError(
            f"the kernel did not build: {what}", hint=f"everything it said: {self.log}"
        )


def _copied(stream: IO[str], log: IO[str]) -> Iterator[str]:
    for line in stream:
        log.write(line)
        yield line.rstrip("\n")


def failure_line(lines: Sequence[str]) -> str:
    """The line of make's output that says what went wrong: the compiler's, else make's own."""
    wrong = [line.strip() for line in lines if _FAILURE.search(line) and not _STEP.match(line)]
    own = [line for line in wrong if not _MAKE_FAILURE.match(line)]
    return (own or wrong or [line.strip() for line in lines[-1:]] or ["it printed nothing"])[-1]
