"""Drives `onejob-probe` from outside, and asks its recordings by the names of calls."""

import ctypes
import errno
import json
import os
import re
import select
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from onejob.base.natives import native_path

CALL_NUMBERS = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
SYS_BPF, BPF_PROG_GET_FD_BY_ID = 321, 13
PATIENCE = 20  # seconds; only a hanging probe takes as long


def read_call_numbers() -> dict[str, int]:
    lines = re.findall(r"#define __NR_(\w+) (\d+)", CALL_NUMBERS.read_text())
    return {name: int(number) for name, number in lines}


NR = read_call_numbers()


class Recording:
    """A finished recording, asked by the name of a call."""

    def __init__(self, path: Path) -> None:
        self.data: dict[str, Any] = json.loads(path.read_text())
        self.peaks: dict[str, int] = self.data["peaks"]
        self.objects: list[str] = [program["path"] for program in self.data["programs"]]
        ran = {row["program"] for row in self.data["calls"]}
        self.programs = [path for id, path in enumerate(self.objects) if id in ran]

    def program_peaks(self, program: str) -> tuple[int, int, int]:
        """Processes, threads and descriptors at their most, of those that ran the program."""
        number = self.objects.index(program)
        (row,) = [row for row in self.data["program_peaks"] if row["program"] == number]
        return row["processes"], row["threads"], row["descriptors"]

    def rows(self, kind: str, name: str, **where: object) -> list[dict[str, Any]]:
        rows = [row for row in self.data[kind] if row["nr"] == NR[name]]
        return [row for row in rows if all(row[key] == value for key, value in where.items())]

    def count(self, name: str, **where: object) -> int:
        return sum(row["count"] for row in self.rows("calls", name, **where))

    def errors(self, name: str) -> dict[int, int]:
        errors: Counter[int] = Counter()
        for row in self.rows("calls", name):
            errors.update({int(errno): n for errno, n in row.get("errors", {}).items()})
        return dict(errors)

    def files(self, name: str, **where: object) -> dict[str, int]:
        files: Counter[str] = Counter()
        for row in self.rows("files", name, **where):
            files[row["path"]] += row["count"]
        return dict(files)

    def facts(self, name: str) -> dict[tuple[int, ...], int]:
        return {tuple(row["args"]): row["count"] for row in self.rows("facts", name)}

    def lost(self) -> dict[str, int]:
        return {what: count for what, count in self.data["lost"].items() if count}


class Probe:
    """A running `onejob-probe record`; leaving the block ends it."""

    def __init__(
        self,
        folder: Path,
        *command: str | Path,
        first_drill: str = "start",
        pass_fds: Sequence[int] = (),
        log: Path | None = None,
        new_session: bool = False,
        user: str = "",
        backend: str = "ebpf",
        settling: str = "",
    ) -> None:
        self.backend = backend
        self.output = folder / "recording.json"
        self.log = log or folder / "log"
        options = ["--output", str(self.output), "--first-drill", first_drill]
        options += ["--backend", backend]
        options += ["--settling", settling] if settling else []
        options += [*(["--user", user] if user else []), "--"]
        with self.log.open("w") as said:
            self.process = subprocess.Popen(
                [str(native_path("onejob-probe")), "record", *options, *map(str, command)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                pass_fds=pass_fds,
                start_new_session=new_session,
            )
        self.unread = b""

    def __enter__(self) -> "Probe":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        try:
            self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()

    def read(self) -> dict[str, Any]:
        """The next line that the probe says."""
        assert self.process.stdout is not None
        while b"\n" not in self.unread:
            ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
            chunk = os.read(self.process.stdout.fileno(), 4096) if ready else b""
            assert chunk, f"the probe says nothing more; its log: {self.log.read_text()}"
            self.unread += chunk
        line, _, self.unread = self.unread.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def expect(self, key: str) -> Any:
        answer = self.read()
        # The tracer also says to which processor it keeps what it has started.
        more = {"processor"} if (key, self.backend) == ("started", "ptrace") else set()
        assert answer.keys() == {key} | more, answer
        return answer[key]

    def ask(self, **request: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()

    def wait_for_log(self, text: str, times: int = 1) -> str:
        deadline = time.monotonic() + PATIENCE
        while (log := self.log.read_text()).count(text) < times:
            assert time.monotonic() < deadline, f"no {text!r} in {log!r}"
            time.sleep(0.01)
        return log

    def finish(self) -> Recording:
        self.ask(finish=True)
        while (answer := self.read()).keys() != {"recorded"}:
            assert answer.keys() == {"exited"}, answer
        assert answer["recorded"] == str(self.output)
        assert self.process.wait(PATIENCE) == 0
        return Recording(self.output)


class Attach(Probe):
    """A running `onejob-probe attach`, with the words that choose what it watches."""

    def __init__(self, folder: Path, *chosen: str | Path) -> None:
        self.backend = "ebpf"
        self.output = folder / "recording.json"
        self.log = folder / "probe.log"
        words = [str(native_path("onejob-probe")), "attach", "--output", str(self.output)]
        with self.log.open("w") as said:
            self.process = subprocess.Popen(
                [*words, *map(str, chosen)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
            )
        self.unread = b""


def record(
    folder: Path,
    *command: str | Path,
    status: int = 0,
    backend: str = "ebpf",
    settling: str = "",
) -> Recording:
    """Records a command until its own end."""
    with Probe(folder, *command, backend=backend, settling=settling) as probe:
        probe.expect("started")
        assert probe.expect("exited") == {"status": status}
        recording = probe.finish()
    assert recording.lost() == {}
    assert recording.data["backend"] == backend
    return recording


def compile_known(folder: Path) -> Path:
    """The known workload."""
    program = folder / "known"
    options = ["-O1", "-Wall", "-Werror", "-pthread", "-o", str(program)]
    source = Path(__file__).parent / "workload_known.c"
    subprocess.run(["gcc", *options, str(source)], check=True, timeout=60)
    return program


def wait_until(true: Callable[[], object], otherwise: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.01)


def bpf_programs_of(pid: int) -> set[int]:
    """The ids of the eBPF programs that a process holds."""
    texts = [path.read_text() for path in Path(f"/proc/{pid}/fdinfo").iterdir()]
    return {int(number) for text in texts for number in re.findall(r"prog_id:\t(\d+)", text)}


def is_loaded(program: int) -> bool:
    """Whether the kernel still has the eBPF program (bpf(2), BPF_PROG_GET_FD_BY_ID)."""
    attributes = (ctypes.c_uint32 * 3)(program, 0, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.syscall(SYS_BPF, BPF_PROG_GET_FD_BY_ID, attributes, 12)
    if descriptor < 0:
        assert ctypes.get_errno() == errno.ENOENT
        return False
    os.close(descriptor)
    return True


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
