"""Texts of perf-trace(1): calls with named arguments, and the summary of -s and -S."""

import errno
import posixpath
import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

from onejob.profiler.imports.call import Call
from onejob.profiler.imports.follow import STARTS, WANTED, Follower
from onejob.profiler.imports.notation import read_number, split_arguments
from onejob.profiler.imports.tally import UNKNOWN_PROGRAM

# "   0.348 ( 0.017 ms): known/7568 openat(dfd: CWD, ...)   = 3"; no name where there is one thread.
_LINE = re.compile(
    r" *(?:\d{1,12}\.\d{1,9}|\?) \( *(?:\d{1,12}\.\d{1,9} ms)? *\): "
    r"(?:(\(?[^(]{1,62}?)/(-?\d{1,10}) +)?(.*)",
    re.S,
)
_CONTINUED = re.compile(r" *\.\.\. \[continued\]: (\w{1,64})\((.*)", re.S)
_CALL = re.compile(r" *(\w{1,64})\((.*)", re.S)
_RESULT = re.compile(r" *(\?|-?\d{1,20}|0x[0-9a-f]{1,16}|[A-Z][A-Z0-9_|]*|$)(?: (E[A-Z0-9]+))?")
_UNFINISHED = re.compile(r"\)? *\.\.\.$")
_NAMED = re.compile(r"(\w{1,64}): (.*)", re.S)
_LOST = re.compile(r"LOST (\d{1,12}) events!")
_GROUP = re.compile(r" (.{1,64}) \((\d{1,10})\), \d+ events, [\d.]+%.*")
_ROW = re.compile(r" +(\w{1,64}) +(\d{1,14})(?: +(\d{1,14}))?(?: +\d+\.\d+){4} +[\d.]+%")
_NO_CALL = re.compile(
    r" *(?:Summary of events:|syscall +calls .*|\(msec\).*|[- ]*|E[A-Z0-9]+: \d+)"
    r"|[^(]*\([^)]*\): [^(]*(?:maj|min)fault \[.*"
)
_COMM_LENGTH = 15  # TASK_COMM_LEN of linux/sched.h, without its NUL
UNREAD = "lines that are no perf trace"
# What perf leaves out of symbols, by call and argument or by argument alone.
_SYMBOLS = {
    "mmap flags": "MAP_{}", "getrandom flags": "GRND_{}", "memfd_create flags": "MFD_{}",
    "unlinkat flag": "AT_{}", "accept4 flags": "SOCK_{}", "renameat2 flags": "RENAME_{}",
    "access mode": "{}_OK", "faccessat mode": "{}_OK", "fcntl cmd": "F_{}", "bpf cmd": "BPF_{}",
    "ioctl cmd": "{}", "futex op": "FUTEX_{}", "epoll_ctl op": "EPOLL_CTL_{}",
    "arch_prctl option": "ARCH_{}", "seccomp op": "SECCOMP_{}", "setitimer which": "ITIMER_{}",
    "dfd": "AT_FD{}", "olddfd": "AT_FD{}", "newdfd": "AT_FD{}", "flags": "O_{}", "prot": "PROT_{}",
    "clone_flags": "CLONE_{}", "family": "AF_{}", "type": "SOCK_{}", "protocol": "IPPROTO_{}",
    "sig": "SIG{}", "option": "PR_{}", "resource": "RLIMIT_{}", "which": "PRIO_{}",
    "behavior": "MADV_{}", "which_clock": "CLOCK_{}", "clockid": "CLOCK_{}", "policy": "SCHED_{}",
}  # fmt: skip


def is_perf(lines: Iterable[str]) -> bool:
    """Whether any of the first lines of a file is one that perf trace writes."""
    return any(_LINE.fullmatch(line) or line == " Summary of events:" for line in lines)


@cache
def argument_names() -> dict[str, tuple[str, ...]]:
    """The kernel's names of the arguments of each call whose arguments are of use, in order."""
    text = files("onejob.profiler.imports").joinpath("arguments.txt").read_text()
    rows = (line.split() for line in text.splitlines() if not line.startswith("#"))
    return {name: tuple(arguments) for name, *arguments in rows}


class PerfReader:
    """Takes the lines of a text; `end` completes what was never continued."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._tally = follower.tally
        self._pending: dict[int, tuple[str, str]] = {}
        self._summed = UNKNOWN_PROGRAM  # whose table it is
        self._rows: list[tuple[str, str, int, int]] = []
        self.calls = 0

    def line(self, text: str | None) -> None:
        """One line, None for one that was too long."""
        if text is None:
            self._tally.lose(UNREAD, "(longer than any of its lines)")
        elif lost := _LOST.fullmatch(text):
            self._tally.lose("events that perf lost", times=int(lost[1]))
        elif _NO_CALL.fullmatch(text):
            pass
        elif group := _GROUP.fullmatch(text):
            self._summed = self._program(group[1])
        elif row := _ROW.fullmatch(text):
            calls = int(row[2])
            self._rows.append((self._summed, row[1], calls, min(int(row[3] or 0), calls)))
        elif not self._event(text):
            self._tally.lose(UNREAD, text)

    def end(self) -> None:
        """No more lines come; the summary counts only where the calls were not listed (-S)."""
        for tid in list(self._pending):
            self._interrupt(tid)
        for program, name, calls, failed in () if self.calls else self._rows:
            self._tally.call(program, name, 0, calls, failed)

    def _program(self, comm: str) -> str:
        """The program of a thread of that name (comm of proc(5)): the main one where it fits."""
        main = posixpath.basename(self._tally.main)[:_COMM_LENGTH]
        return self._tally.main if comm == main else comm

    def _event(self, text: str) -> bool:
        found = _LINE.fullmatch(text)
        if not found:
            return False
        tid = int(found[2] or 0)
        if continued := _CONTINUED.fullmatch(found[3]):
            name, begun = self._pending.pop(tid, ("", ""))
            if name != continued[1]:
                # A child returns from its parent's call; else the beginning is not in the log.
                if continued[1] in STARTS:
                    self._follower.heard(tid)
                    return True
                begun = ""
            return self._whole(tid, found[1], continued[1], begun, continued[2])
        called = _CALL.fullmatch(found[3])
        if not called:
            return False
        if unfinished := _UNFINISHED.search(called[2]):
            self._interrupt(tid)
            self._enter(tid, found[1])
            self._pending[tid] = called[1], called[2][: unfinished.start()]
            return len(self._pending) < 2**16
        return self._whole(tid, found[1], called[1], "", called[2])

    def _whole(self, tid: int, comm: str | None, name: str, begun: str, text: str) -> bool:
        end = text.rfind("= ")
        arguments = text[: max(end, 0)].rstrip()
        result = _RESULT.match(text, end + 2)
        if end < 0 or not arguments.endswith(")") or not result:
            return False
        value = int(result[1], 0) if result[1].lstrip("-")[:1].isdigit() else None
        number = getattr(errno, result[2], errno.EINTR) if result[2] else 0
        self._enter(tid, comm)
        self._made(tid, name, begun + arguments[:-1], value, number)
        if name == "exit_group":
            self._follower.end_group(tid)
        elif name == "exit":
            self._follower.end(tid)
        return True

    def _enter(self, tid: int, comm: str | None) -> None:
        if comm and not comm.startswith(":"):  # which stands for a name that perf missed
            self._follower.processes.of(tid).group.program = self._program(comm)

    def _made(self, tid: int, name: str, text: str, value: int | None, error: int) -> None:
        self.calls += 1
        arguments = _in_order(name, text) if name in WANTED else ()
        self._follower.take(Call(tid, name, arguments, value, error))

    def _interrupt(self, tid: int) -> None:
        if tid in self._pending:
            name, arguments = self._pending.pop(tid)
            self._made(tid, name, arguments, None, 0)


def _in_order(name: str, text: str) -> tuple[str, ...]:
    """The arguments of a call by place, written as strace does: what perf leaves out is 0."""
    given = {found[1]: found[2] for part in split_arguments(text) if (found := _NAMED.match(part))}
    arguments = [_spelled(name, key, given.get(key, "0")) for key in argument_names().get(name, ())]
    if name == "clone":
        return (f"flags={arguments[0]}",)
    return tuple(arguments)


def _spelled(call: str, key: str, value: str) -> str:
    """``READ|WRITE`` of ``prot`` as ``PROT_READ|PROT_WRITE``."""
    template = _SYMBOLS.get(f"{call} {key}") or _SYMBOLS.get(key)
    if not template or not value[:1].isalpha() or not value.replace("|", "").isascii():
        return value
    spelled = (template.format(symbol) for symbol in value.split("|"))
    plain = value.split("|")
    known = (a if read_number(a) is not None else b for a, b in zip(spelled, plain, strict=True))
    return "|".join(known)
