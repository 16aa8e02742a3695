"""What the static memory manager stops at, and what it says: wrong frees, wrong plans."""

import re
import resource
import signal
from pathlib import Path

import pytest
from memory_driver import Manager, compile_program

from onejob.builder.memory import MemoryOptions

BAD_PLAN = 78
HEAD = "onejob-memory 1\n"


@pytest.fixture(scope="module")
def workload(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_program(tmp_path_factory.mktemp("memory"), "workload.c")


@pytest.fixture
def manager(tmp_path: Path) -> Manager:
    return Manager(tmp_path)


FREE = r"of 0x[0-9a-f]{6,16}: the block of 1008 bytes there is free already \(double free\)"
FOREIGN = r"free of 0x[0-9a-f]{6,16}: no block of this process begins there \(foreign pointer\)"
INSIDE = r"free of 0x[0-9a-f]{6,16}: it lies %d bytes into a block of 1008 bytes \(misaligned"
FAULTS = {
    "double": f"free {FREE}",
    "double-in-store": f"free {FREE}".replace("1008", "4096"),
    "double-by-thread": f"free {FREE}",
    "realloc-freed": f"realloc {FREE}",
    "usable-freed": f"malloc_usable_size {FREE}",
    "misaligned": INSIDE % 8,
    "inside": INSIDE % 496,
    "foreign-stack": FOREIGN,
    "foreign-mapping": FOREIGN,
    "double-large": FOREIGN,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_free_stops_the_process_and_says_which(
    manager: Manager, workload: Path, fault: str
) -> None:
    manager.write_plan(workload)
    done = manager.run(workload, fault)
    assert done.returncode == -signal.SIGABRT
    message = rf"onejob memory: {FAULTS[fault]}.*; process \d+ is stopped\n"
    assert re.fullmatch(message, done.stderr), done.stderr
    assert manager.read().faults == 1


@pytest.mark.parametrize("fault", FAULTS)
def test_with_unsafe_free_a_wrong_free_is_counted_and_let_pass(
    manager: Manager, workload: Path, fault: str
) -> None:
    manager.write_plan(workload, options=MemoryOptions(unsafe_free=True))
    assert manager.check(workload, fault).faults == 1


def test_delayed_reuse_finds_writes_to_freed_blocks(manager: Manager, workload: Path) -> None:
    manager.write_plan(workload, options=MemoryOptions(delay=16))
    done = manager.run(workload, "use-after-free")
    assert done.returncode == -signal.SIGABRT
    assert re.search(
        r"malloc of 0x\w+: the block of 1008 bytes there was written to after it was freed",
        done.stderr,
    )


def test_delayed_blocks_are_not_the_next_ones_and_not_lost(
    manager: Manager, workload: Path
) -> None:
    manager.write_plan(workload, options=MemoryOptions(delay=16))
    counts = manager.check(workload, "delay")
    assert counts.dynamic == 0


BAD_PLANS = {
    "": (1, "the first line is not: onejob-memory 1"),
    "onejob-memory 2\nend\n": (1, "the first line is not"),
    HEAD: (2, "a line is: KEY VALUE"),
    HEAD[:-1]: (1, "the last line is not: end"),
    f"{HEAD}end\nmore": (3, "something behind the end"),
    f"{HEAD}end\n\n\n": (3, "something behind the end"),
    f"{HEAD}colour red\nend\n": (2, "a setting of this name is not known"),
    f"{HEAD}delay 1\ndelay 1\nend\n": (3, "the setting was given before"),
    f"{HEAD}delay 257\nend\n": (2, "the number is too large"),
    f"{HEAD}delay -1\nend\n": (2, "a number of at most 15 digits is missing"),
    f"{HEAD}unsafe-free maybe\nend\n": (2, "neither yes nor no"),
    f"{HEAD}counts run\nend\n": (2, "the path is not absolute"),
    f"{HEAD}array 1 16 1 0\nend\n": (2, "an array belongs to a program"),
    f"{HEAD}program /p\ndelay 1\nend\n": (3, "no setting may follow the first program"),
    f"{HEAD}program p\nend\n": (2, "the path is not absolute"),
    f"{HEAD}program /p\narray 1 16\nend\n": (3, "a number of at most 15 digits is missing"),
    f"{HEAD}program /p\narray 1 16 9 1 1\nend\n": (3, "an array is: array SMALLEST SIZE BLOCKS"),
    f"{HEAD}program /p\narray 1 16  1 0\nend\n": (3, "a number of at most 15 digits is missing"),
    f"{HEAD}program /p\narray 1 24 1 0\nend\n": (3, "a block size is a multiple of 16"),
    f"{HEAD}program /p\narray 1 0 1 0\nend\n": (3, "a block size is a multiple of 16"),
    f"{HEAD}program /p\narray 16 16 1 0\nend\n": (3, "the smallest request is one more"),
    f"{HEAD}program /p\narray 17 16 1 0\nend\n": (3, "the smallest request is one more"),
    f"{HEAD}program /p\narray 1 16 0 0\nend\n": (3, "an array has at least one block"),
    f"{HEAD}program /p\narray 1 16 8\nend\n": (3, "a number of at most 15 digits is missing"),
    f"{HEAD}program /p\narray 1 16 8 8\nend\n": (3, "not all blocks of an array can be spare"),
    f"{HEAD}program /p\narray 1 16 999999999 0\nend\n": (3, "the number is too large"),
    f"{HEAD}program /p\narray 1 262160 1 0\nend\n": (3, "the number is too large"),
    f"{HEAD}program /p\narray 1 262144 60000000 0\nend\n": (3, "more than 32 GiB"),
    f"{HEAD}program /p\narray 17 32 1 0\narray 1 16 1 0\nend\n": (4, "arrays go from small to"),
    f"{HEAD}program /p\narray 1 32 1 0\narray 17 48 1 0\nend\n": (4, "arrays go from small to"),
    f"{HEAD}kernel-from 32\nprogram /p\narray 1 32 1 0\nend\n": (4, "come from the kernel"),
    f"{HEAD}program PROGRAM\nprogram PROGRAM\nend\n": (3, "the program was planned before"),
    f"{HEAD}absent {23:016x}\nend\n": (2, "an absent path belongs to a program"),
    f"{HEAD}program /p\nabsent 23\nend\n": (3, "absent, and 16 hexadecimal digits"),
    f"{HEAD}program /p\nabsent {'A' * 16}\nend\n": (3, "absent, and 16 hexadecimal digits"),
    f"{HEAD}program /p\nabsent {2:016x}\nabsent {2:016x}\nend\n": (4, "from small to large"),
    f"{HEAD}program /p\nabsent {2:016x}\narray 1 16 1 0\nend\n": (4, "before absent paths"),
    HEAD + "program PROGRAM\n" + "".join(
        f"array {size - 15} {size} 1 0\n" for size in range(16, 16 * 65, 16)
    ) + "end\n": (66, "a program has at most 63 arrays"),
}  # fmt: skip


@pytest.mark.parametrize("text", BAD_PLANS)
def test_a_bad_plan_stops_the_program_before_it_starts(
    manager: Manager, workload: Path, text: str
) -> None:
    line, reason = BAD_PLANS[text]
    manager.plan.write_text(text.replace("PROGRAM", str(workload)))
    done = manager.run(workload, "blocks")
    assert done.returncode == BAD_PLAN
    assert done.stderr.startswith(f"onejob memory: plan {manager.plan}: line {line}: ")
    assert reason in done.stderr


@pytest.mark.parametrize(
    ("text", "reason"),
    [(b"\0" * 262145, "is larger than 256 KiB"), (b"\xff\xfe" * 1000, "line 1: the first line")],
)
def test_a_plan_that_is_no_text_stops_the_program(
    manager: Manager, workload: Path, text: bytes, reason: str
) -> None:
    manager.plan.write_bytes(text)
    done = manager.run(workload, "blocks")
    assert done.returncode == BAD_PLAN
    assert reason in done.stderr


def test_a_plan_that_is_not_there_or_a_folder_stops_the_program(
    manager: Manager, workload: Path
) -> None:
    done = manager.run(workload, "blocks")
    assert (done.returncode, "cannot be opened (error 2)" in done.stderr) == (BAD_PLAN, True)
    manager.plan.mkdir()
    done = manager.run(workload, "blocks")
    assert (done.returncode, "cannot be read (error 21)" in done.stderr) == (BAD_PLAN, True)


def test_too_little_memory_is_said_at_the_start(manager: Manager, workload: Path) -> None:
    manager.write_plan(workload, [(993, 1008, 1_000_000)])
    limit = f"--as={512 << 20}"
    done = manager.run("prlimit", limit, workload, "blocks")
    assert done.returncode == BAD_PLAN
    assert re.search(r"its arrays need \d{7} KiB, which the machine does not give", done.stderr)


def test_without_a_folder_for_counts_the_service_runs(manager: Manager, workload: Path) -> None:
    manager.write_plan(workload)
    manager.counts.rmdir()
    done = manager.run(workload, "blocks")
    assert done.returncode == 0
    assert "no counts are kept, for their file cannot be made" in done.stderr


def test_counts_on_a_full_disk_do_not_stop_the_service(manager: Manager, workload: Path) -> None:
    manager.write_plan(workload)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    assert soft == resource.RLIM_INFINITY, hard
    # A file that may not be so long is one for which there is no room.
    done = manager.run("sh", "-c", f"trap '' XFSZ; ulimit -f 16; exec {workload} blocks")
    assert done.returncode == 0
    assert "no counts are kept" in done.stderr
