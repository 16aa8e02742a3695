"""The memory manager in an image: counted from outside, wrong frees stopped, and switched off."""

import base64
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from built_plans import host_file
from onejob.base.progress import Quiet
from onejob.builder.image import build_image
from onejob.model.absent import AbsentPaths
from onejob.model.image import Image
from onejob.model.observations import MemoryUse
from onejob.model.plan import Mount, PlannedFile
from onejob.model.plan_policy import CallDecision, Grant
from onejob.model.profile import ProgramAllocation
from onejob.model.profile_xml import write_profile
from onejob.model.syscalls import call_number
from onejob.model.tomlfile import parse_toml
from onejob.model.workload import Workload
from onejob.planner.memory import plan_arrays
from onejob.planner.memory_manager import (
    manager_changes,
    manager_files,
    manager_mounts,
    plan_manager,
)
from onejob.system.host import HostInstance, host_instance
from onejob.system.memory import FILE_SIZE, read_memory_counts

from .small_image import CALLS, MOUNTS, plan_of, profile_of

pytestmark = [pytest.mark.root, pytest.mark.runc]
SECONDS = 60.0
LOADER = Path("/lib64/ld-linux-x86-64.so.2")
OF_LOADER = ("access", "pread64", "lseek", "madvise", "mremap", "pause", "write")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("allocating") / "allocating"
    source = Path(__file__).with_name("allocating_service.c")
    # Asked for where it really lies: the root of the test has no symbolic links.
    loader = f"-Wl,--dynamic-linker={LOADER.resolve()}"
    subprocess.run(["cc", "-O0", "-w", loader, "-o", program, source], check=True, timeout=120)
    return program


def build(program: Path, place: Path, argument: str = "once", **changes: Any) -> Image:
    rows = [ProgramAllocation(program=str(program), block_size=100, peak=1, allocated=97, freed=97)]
    arrays = tuple(plan_arrays(str(program), rows))
    profile = profile_of(program, "", 200)
    workload = parse_toml(profile.workload, Workload, "test")
    manager = plan_manager(profile, workload, arrays, False)
    manager = manager.model_copy(update=changes)
    plan = plan_of(
        program, argument, memory=arrays, memory_manager=manager, absent=(absent_of(program),),
        mounts=(*MOUNTS, RUN, *manager_mounts(manager, arrays)), calls=calls(*CALLS, *OF_LOADER),
    )  # fmt: skip
    files = (*plan.files, *libraries(program), *manager_files(manager))
    grants = (
        *plan.grants,
        grant(LOADER.resolve(), "execute"),
        *(grant(change[1], *change[2]) for change in manager_changes(manager, arrays)),
    )
    return build_image(
        plan.model_copy(update={"files": files, "grants": grants}), write_profile(profile), place,
        with_kernel=False, cache=place.parent / "cache", progress=Quiet(),
    )  # fmt: skip


def absent_of(program: Path) -> AbsentPaths:
    return AbsentPaths(program=str(program), paths=("/etc/absent",), reason="for a test")


def grant(path: Path | str, *rights: Any) -> Grant:
    """As process 1 has it for the programs that it starts."""
    return Grant(program="/.onejob/init", path=str(path), rights=rights, reason="for a test")


RUN = Mount(path="/run", kind="tmpfs", size_kib=64, mode=0o755, reason="as most services have it")


def calls(*names: str) -> tuple[CallDecision, ...]:
    numbers = {name: call_number(name) or 0 for name in names}
    return tuple(CallDecision(name=n, number=numbers[n], reason="used") for n in numbers)


def libraries(program: Path) -> list[PlannedFile]:
    """What ldd(1) finds, where it really lies."""
    said = subprocess.check_output(["ldd", program], text=True, timeout=SECONDS)
    found = {Path(word).resolve() for word in said.split() if word.startswith("/")}
    return [host_file(path, mode=0o755) for path in sorted(found)]


def await_output(instance: HostInstance, text: str) -> None:
    until = time.monotonic() + SECONDS
    while text not in instance.output() and time.monotonic() < until:
        time.sleep(0.02)
    assert text in instance.output()


def counts_of(instance: HostInstance, folder: Path) -> MemoryUse | None:
    """By process 1, as from a guest: in pieces, for an answer has a limit."""
    piece, data = 32 * 1024, b""
    while len(data) < FILE_SIZE:
        reply = instance.control.request(
            "read", path="/run/onejob/memory/1.counts", offset=len(data), length=piece
        )
        data += base64.b64decode(reply["data"])
    (folder / "1.counts").write_bytes(data)
    return read_memory_counts(folder / "1.counts")


def test_23_files_that_a_running_image_looks_for_in_vain_are_told(
    program: Path, tmp_path: Path
) -> None:
    with host_instance(build(program, tmp_path / "small.onejob", "look")) as instance:
        await_output(instance, "allocated")
        found = instance.observations()
        assert instance.denials() == ()
    missing = [each for each in found.unexpected_files if each.is_missing]
    [refused] = [each for each in found.unexpected_files if not each.is_missing]
    assert {each.path for each in missing} == {f"/etc/unexpected-{n}" for n in range(23)}
    assert {(each.program, each.how, each.count) for each in missing} == {(str(program), "read", 2)}
    assert (refused.path, refused.how, refused.count) == ("/etc/evil", "created", 1)
    assert refused.error_name in ("EROFS", "EACCES")


def test_blocks_of_a_running_image_are_counted(program: Path, tmp_path: Path) -> None:
    with host_instance(build(program, tmp_path / "small.onejob")) as instance:
        await_output(instance, "allocated")
        counts = counts_of(instance, tmp_path)
        assert instance.denials() == ()
    assert counts is not None
    assert (counts.program, counts.by_size) == (str(program), {5000: 13})
    assert [array.given for array in counts.arrays] == [97]


def test_a_double_free_stops_the_service(program: Path, tmp_path: Path) -> None:
    with host_instance(build(program, tmp_path / "small.onejob", "twice")) as instance:
        await_output(instance, "is free already (double free)")
        assert "nobody minded" not in instance.output()


def test_with_unsafe_free_it_is_counted_and_let_pass(program: Path, tmp_path: Path) -> None:
    image = build(program, tmp_path / "small.onejob", "twice", unsafe_free=True)
    with host_instance(image) as instance:
        await_output(instance, "nobody minded\nallocated")
        counts = counts_of(instance, tmp_path)
    assert counts is not None and counts.faults == 1
