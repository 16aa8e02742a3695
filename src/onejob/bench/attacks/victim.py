"""The service that is attacked: compiled, profiled under ordinary drills only, made an image."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from onejob.base.natives import cache_path, data_path
from onejob.base.process import find_tool, run_tool
from onejob.base.progress import Progress
from onejob.builder.image import build_image
from onejob.model.component import load_components
from onejob.model.hardware import load_hardware
from onejob.model.image import Image
from onejob.model.profile import Profile
from onejob.model.profile_xml import write_profile
from onejob.model.tomlfile import parse_toml
from onejob.model.workload import Workload
from onejob.planner.plan import make_plan
from onejob.profiler.profile import take_profile

PORT = 7007
MARK = "taken-over"  # as in victim/victim.h
GREETING = "hello world"  # from the main process's memory, and from the backend
DATA = "/var/lib/onejob-attack"
LOGS = f"{DATA}/log"
COUNTS = f"{DATA}/count"

_SOURCES = Path(__file__).with_name("victim")
_PROGRAMS = {
    "service": ("service", "files", "processes", "kernel", "memory", "network"),
    "helper": ("helper",),
}
_COMPILE_TIMEOUT_S = 120.0
_WORKLOAD = f"""
name = "vulnerable"
command = ["{{folder}}/service", "{LOGS}", "{COUNTS}"]
ports = [{PORT}]
ready = {{ tcp = {PORT} }}
include = ["{{folder}}/service.conf"]
folders = [{{ path = "{LOGS}" }}, {{ path = "{COUNTS}" }}]

[[drill]]
name = "greet"
run = {{ command = ["bash", "-c", '''{{hello}}'''], contains = "{GREETING}" }}

[[drill]]
name = "cgi"
run = {{ command = ["bash", "-c", '''{{cgi}}'''], contains = "call 1" }}

[[drill]]
name = "rotate-logs"
inside = ["rename", "{LOGS}/access.log", "{LOGS}/access.log.1"]
signal = "USR1"
[drill.expect]
run = {{ command = ["bash", "-c", '''{{hello}}'''], contains = "{GREETING}" }}
files = [{{ path = "{LOGS}/access.log", contains = "hello from" }}]
"""
_TALK = "exec 3<>/dev/tcp/{host:7007}/{port:7007}; echo WORDS >&3; cat <&3"


@dataclass(frozen=True)
class Victim:
    """The service in `folder`, which an image has at the same path; `text` is its workload."""

    folder: Path
    text: str

    @property
    def names(self) -> dict[str, str]:
        """What attacks call the paths that they are about."""
        library = library_of(self.folder / "service")
        fixed = {"logs": LOGS, "counts": COUNTS, "mark": MARK, "library": library}
        return {"folder": str(self.folder), **fixed}

    @property
    def workload(self) -> Workload:
        """How it is started and driven."""
        return parse_toml(self.text, Workload, "workload of the vulnerable service")


@contextmanager
def vulnerable_service() -> Iterator[Victim]:
    """Its programs and configuration, compiled to a folder of this machine; gone at the end.

    Not in a temporary folder: what is there would not be taken for a program of the system.
    """
    folder = Path(tempfile.mkdtemp(prefix="onejob-attack-", dir="/opt"))
    try:
        folder.chmod(0o755)
        _compile(folder)
        (folder / "service.conf").write_text("hello\n")
        words = {name: _TALK.replace("WORDS", name) for name in ("hello", "cgi")}
        text = _WORKLOAD.replace("{folder}", str(folder))
        for name, command in words.items():
            text = text.replace(f"{{{name}}}", command)
        yield Victim(folder, text)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _compile(folder: Path) -> None:
    gcc = find_tool("gcc", "gcc")
    for program, names in _PROGRAMS.items():
        sources = [_SOURCES / f"{name}.c" for name in names]
        run_tool([gcc, "-O1", "-o", folder / program, *sources], timeout=_COMPILE_TIMEOUT_S)


def profile_victim(victim: Victim, progress: Progress) -> Profile:
    """Its profile, taken while nobody attacks it."""
    return take_profile(victim.workload, victim.text, progress)


def build_victim(profile: Profile, place: Path, with_kernel: bool, progress: Progress) -> Image:
    """Its image at `place`, planned and built as that of any service."""
    plan = make_plan(
        profile,
        load_hardware(data_path("hardware") / "qemu-microvm.json"),
        load_components(data_path("components")),
    )
    xml = write_profile(profile)
    return build_image(
        plan, xml, place, with_kernel=with_kernel, cache=cache_path(), progress=progress
    )


def library_of(program: Path) -> str:
    """Where the C library that `program` loads really lies."""
    words = run_tool([find_tool("ldd", "libc-bin"), program], timeout=30).split()
    return os.path.realpath(words[words.index("libc.so.6") + 2])
