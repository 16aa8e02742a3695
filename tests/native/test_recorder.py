"""The malloc recorder, driven from outside with known workloads and with real services."""

import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from recorder_driver import ALLOCATORS, BLOCKS, Recorder, all_freed, basic, compile_workload

from onejob.profiler.allocations import SizeCount, merge_allocations

PAIRS = 100
needs_root = pytest.mark.root


@pytest.fixture(scope="module")
def workload(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_workload(tmp_path_factory.mktemp("recorder"), "workload.c")


def test_23_blocks_of_each_size_are_23(recorder: Recorder, workload: Path) -> None:
    process = recorder.check_one(workload, "blocks")
    for size in (0, 1000, 1009, 2003, 131101, 1000003):
        assert basic(process, size) == all_freed(size, BLOCKS, BLOCKS + PAIRS)
    assert process.program == str(workload)
    assert (process.overflow, process.untagged, process.unrecorded) == (0, 0, 0)


def test_calloc_is_zeroed_and_counted_by_its_product(recorder: Recorder, workload: Path) -> None:
    process = recorder.check_one(workload, "calloc")
    assert basic(process, 1001) == all_freed(1001, BLOCKS, 2 * BLOCKS)
    assert basic(process, 7 * 145) == all_freed(7 * 145, 1, 1)


def test_realloc_moves_a_block_between_sizes(recorder: Recorder, workload: Path) -> None:
    process = recorder.check_one(workload, "realloc")
    for size in (1100, 1101, 300001):
        assert basic(process, size) == all_freed(size, 1, BLOCKS)
    # Reallocated once to the same size: counted, but never two at once. Then 23 failures.
    assert basic(process, 1102) == all_freed(1102, BLOCKS, 2 * BLOCKS)
    assert process.untagged == 0


def test_aligned_blocks_keep_alignment_and_room(recorder: Recorder, workload: Path) -> None:
    process = recorder.check_one(workload, "aligned")
    for size in (1216, 1300, 1301, 1302, 1303):
        assert basic(process, size) == all_freed(size, BLOCKS, BLOCKS)
    assert 1304 not in process.sizes
    assert process.untagged == 0


def test_usable_size_may_be_written(recorder: Recorder, workload: Path) -> None:
    process = recorder.check_one(workload, "usable")
    assert (process.overflow, process.untagged) == (0, 0)
    # Each size once by malloc, once by realloc from the size below.
    assert all(basic(process, size) == all_freed(size, 1, 2) for size in range(2000, 2500))


def test_threads_are_counted_exactly(recorder: Recorder, workload: Path) -> None:
    process = recorder.check_one(workload, "threads")
    assert sum(process.sizes[1400 + kind].allocated for kind in range(3)) == 4000
    assert sum(process.sizes[1400 + kind].freed for kind in range(3)) == 4000
    assert all(1 <= process.sizes[1400 + kind].peak <= 4 for kind in range(3))
    assert basic(process, 1410) == all_freed(1410, 24, 24)


def test_a_forked_child_goes_on_from_its_parents_counts(recorder: Recorder, workload: Path) -> None:
    parent, child = sorted(
        recorder.check(workload, "fork"), key=lambda process: process.sizes[1500].peak
    )
    assert basic(parent, 1500) == all_freed(1500, 11, 11)
    assert 1501 not in parent.sizes
    assert child.sizes[1500] == SizeCount(1500, 23, 13, 23, 13, freed_inherited=10)
    assert basic(child, 1501) == SizeCount(1501, BLOCKS, BLOCKS, 0)
    assert child.pid != parent.pid
    assert child.program == parent.program
    (program,) = merge_allocations((parent, child))
    assert program.processes == 2
    # The parent's ten before the fork once, its one and the child's thirteen after it; the child
    # freed its copies of the ten, too.
    assert program.sizes[1500] == SizeCount(1500, 23, 24, 34, 24, freed_inherited=10)


@pytest.mark.parametrize("allocator", ["", *ALLOCATORS])
def test_fork_while_other_threads_allocate(
    recorder: Recorder, workload: Path, allocator: str
) -> None:
    processes = recorder.check(workload, "fork-with-threads", LD_PRELOAD=allocator)
    children = [process for process in processes if 1451 in process.sizes]
    assert len(children) == 20
    assert all(basic(child, 1451) == all_freed(1451, BLOCKS, BLOCKS) for child in children)


def test_exec_begins_a_new_recording(recorder: Recorder, workload: Path) -> None:
    one, other = recorder.check(workload, "exec")
    before, after = (one, other) if 1700 in one.sizes else (other, one)
    assert before.pid == after.pid
    assert basic(before, 1700) == SizeCount(1700, BLOCKS, BLOCKS, 0)
    assert 1700 not in after.sizes
    assert after.sizes[1001].peak == BLOCKS


def test_many_execs_in_one_pid_at_once_are_all_recorded(recorder: Recorder, workload: Path) -> None:
    processes = recorder.check(workload, "exec-chain", "50")
    assert len(processes) == 50
    assert len({process.pid for process in processes}) == 1
    assert {process.sizes[1700].peak for process in processes} == {BLOCKS}


@pytest.mark.parametrize(("end", "status"), [("_exit", 0), ("SIGKILL", -signal.SIGKILL)])
def test_counts_survive_a_sudden_end(
    recorder: Recorder, workload: Path, end: str, status: int
) -> None:
    assert recorder.run(workload, end).returncode == status
    (process,) = recorder.read()
    assert basic(process, 1700) == SizeCount(1700, BLOCKS, BLOCKS, 0)


@needs_root
def test_a_child_without_rights_is_recorded_in_an_open_folder(
    recorder: Recorder, workload: Path
) -> None:
    parent, child = sorted(recorder.check(workload, "setuid"), key=lambda one: 1802 in one.sizes)
    assert parent.sizes[1800].peak == parent.sizes[1801].peak == BLOCKS
    assert parent.unrecorded == 0
    assert child.sizes[1802].peak == BLOCKS


@needs_root
def test_a_child_that_cannot_be_recorded_runs_on_and_is_reported(
    tmp_path: Path, workload: Path
) -> None:
    process = Recorder(tmp_path / "closed", mode=0o700).check_one(workload, "setuid")
    assert process.sizes[1801].peak == BLOCKS
    assert 1802 not in process.sizes
    assert process.unrecorded == 1


@needs_root
def test_daemon_that_changes_root_and_closes_all_descriptors(
    recorder: Recorder, workload: Path, tmp_path: Path
) -> None:
    process = recorder.check_one(workload, "daemon", tmp_path)
    assert process.sizes[1900].peak == BLOCKS
    assert process.unrecorded == 1


def test_file_size_limit_does_not_kill_a_child(recorder: Recorder, workload: Path) -> None:
    assert recorder.check_one(workload, "file-limit").unrecorded == 1


def test_more_sizes_than_slots_are_rounded_up_and_none_is_missed(
    recorder: Recorder, workload: Path
) -> None:
    """Sizes from 10000 on, each once: the first have a slot each, the rest one of each eighth."""
    process = recorder.check_one(workload, "many-sizes")
    counted = {size: count for size, count in process.sizes.items() if 10000 <= size < 15361}
    exact = [size for size, count in counted.items() if count.allocated == 1]
    assert 2400 < len(exact) <= 2560
    assert exact == list(range(10000, 10000 + len(exact)))
    classes = counted.keys() - set(exact)
    assert classes == {13312, 14336, 15360}
    assert sum(count.allocated for count in counted.values()) == 5000
    assert all(basic(process, size) == all_freed(size, 1, 1) for size in exact)
    assert all(count.freed == count.allocated for count in counted.values())
    assert process.overflow == 0


def test_blocks_from_behind_the_recorders_back_are_only_counted(
    recorder: Recorder, workload: Path
) -> None:
    process = recorder.check_one(workload, "untagged")
    assert process.untagged == 2 * BLOCKS
    assert 2100 not in process.sizes
    assert basic(process, 2101) == all_freed(2101, 1, BLOCKS)


@pytest.mark.parametrize("folder", ["missing", "relative", "file", "unset"])
def test_without_a_folder_the_program_runs_unrecorded(
    recorder: Recorder, workload: Path, tmp_path: Path, folder: str
) -> None:
    (tmp_path / "file").touch()
    places = {"relative": "recordings", "unset": ""}
    for command in ("realloc", "aligned", "usable", "fork", "threads"):
        place = places.get(folder, str(tmp_path / folder))
        assert recorder.check(workload, command, ONEJOB_RECORDER_DIR=place) == ()


@pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")
def test_new_and_delete(recorder: Recorder, tmp_path: Path) -> None:
    process = recorder.check_one(compile_workload(tmp_path, "new_delete.cc"))
    for size in (2203, 2304, 2404):
        assert basic(process, size) == all_freed(size, BLOCKS, BLOCKS)
    assert process.untagged == 0


PYTHON_PROGRAM = """
import json, subprocess, sys, threading
held = [bytes(5000 - 33) for _ in range(23)]      # a bytes object has 33 bytes besides its data
threads = [threading.Thread(target=lambda: json.dumps(list(range(10000)))) for _ in range(4)]
[thread.start() for thread in threads]; [thread.join() for thread in threads]
subprocess.run([sys.executable, "-c", "import ctypes"], check=True)
"""


def test_python_with_plain_malloc(recorder: Recorder) -> None:
    done = recorder.check(sys.executable, "-c", PYTHON_PROGRAM, PYTHONMALLOC="malloc")
    assert max(process.sizes[5000].peak for process in done if 5000 in process.sizes) == BLOCKS
    assert [process.overflow for process in done] == [0] * len(done)
    assert [process.untagged for process in done] == [0] * len(done)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def ask(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(request)
        return connection.recv(65536)


@contextmanager
def running(recorder: Recorder, command: list[str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A service with the recorder preloaded, from its readiness on; must have ended by itself."""
    with subprocess.Popen(command, env=recorder.environment()) as service:
        try:
            wait_until(lambda: service.poll() is None and is_open(port))
            yield service
            assert service.wait(timeout=10) == 0
        finally:
            service.kill()


def is_open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


NGINX_CONFIG = """
daemon off; pid {folder}/nginx.pid; error_log stderr; worker_processes 2;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
    uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
    server {{ listen 127.0.0.1:{port}; location / {{ return 200 "served"; }} }}
}}
"""


@needs_root
@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
def test_nginx_serves(recorder: Recorder, tmp_path: Path) -> None:
    port = free_port()
    config = tmp_path / "nginx.conf"
    config.write_text(NGINX_CONFIG.format(folder=tmp_path, port=port))
    command = ["nginx", "-e", "stderr", "-p", str(tmp_path), "-c", str(config)]
    with running(recorder, command, port) as service:
        for _ in range(BLOCKS):
            answer = ask(port, b"GET / HTTP/1.0\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200 OK")
            assert answer.endswith(b"served")
        service.send_signal(signal.SIGQUIT)
    (program,) = merge_allocations(recorder.read())
    assert program.program == str(Path(shutil.which("nginx") or "").resolve())
    assert program.processes == 3
    assert program.sizes[512].peak >= 1  # connection_pool_size: one pool per connection
    assert program.sizes[512].allocated >= BLOCKS
    assert (program.overflow, program.untagged, program.unrecorded) == (0, 0, 0)


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")
def test_redis_with_its_own_allocator_serves(recorder: Recorder, tmp_path: Path) -> None:
    port = free_port()
    server = shutil.which("redis-server") or ""
    quiet = ["--save", "", "--dir", str(tmp_path), "--logfile", str(tmp_path / "log")]
    with running(recorder, [server, "--port", str(port), *quiet], port):
        for index in range(BLOCKS):
            assert ask(port, b"SET key%d %s\r\n" % (index, b"x" * 7000)) == b"+OK\r\n"
        assert ask(port, b"STRLEN key0\r\n") == b":7000\r\n"
        assert ask(port, b"BGSAVE\r\n").startswith(b"+Background")
        wait_until(lambda: b"rdb_bgsave_in_progress:0" in ask(port, b"INFO persistence\r\n"))
        assert b"rdb_last_bgsave_status:ok" in ask(port, b"INFO persistence\r\n")
        ask(port, b"SHUTDOWN NOSAVE\r\n")
    processes = recorder.read()
    assert len(processes) == 2  # the server and its child that saved
    assert [process.untagged for process in processes] == [0, 0]
    (program,) = merge_allocations(processes)
    # A string of 7000 bytes is one block of a little more; 23 of them are alive.
    assert any(count.peak == BLOCKS for size, count in program.sizes.items() if 7000 < size < 7020)
