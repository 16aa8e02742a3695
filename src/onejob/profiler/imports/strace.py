"""Logs of strace(1): lines of calls in any of its forms, with or without summary tables."""

import errno
import re
from collections.abc import Iterable

from onejob.model.syscalls import call_name
from onejob.profiler.imports.call import Call
from onejob.profiler.imports.follow import STARTS, WANTED, Follower
from onejob.profiler.imports.notation import read_descriptor, split_arguments
from onejob.profiler.imports.summary import StraceSummary

# [pid 7], 7, 7<comm>; -t, -tt, -ttt, -r; (+ 0.000041) of -r with -t; [00007f3773cc8c47] of -i and
# [ 59] of -n.
_LINE = re.compile(
    r"(?:\[pid +(\d{1,10})(?:<[^<>]{0,64}>)?\] +|(\d{1,10})(?:<[^<>]{0,64}>)?(?: +|$))?"
    r"(?: *(?:\d\d:\d\d:\d\d(?:\.\d{1,9})?|\d{1,12}\.\d{1,9}) +)?(?:\(\+ *\d{1,12}\.\d{1,9}\) +)?"
    r"(?:\[ *(?:[0-9a-f?]{1,16})\] +){0,2}(.*)",
    re.S,
)
_NAME = re.compile(r"([a-z_]\w{0,63})\(")
_RESUMED = re.compile(r"<\.\.\. (\w{1,64}) resumed>,? ?")
_UNFINISHED = re.compile(r"(.*?)(?: |, )?<unfinished \.\.\.>$", re.S)
_RESULT = re.compile(r"(-?\d{1,20}|0x[0-9a-f]{1,16}|\?)(<.*>)?(?: (E[A-Z0-9]{1,32})\b)?")
_UNNAMED = re.compile(r"syscall_0x([0-9a-f]{1,4})")
_OUTSIDE = re.compile(r" /\* (\d{1,10}) in strace's PID NS \*/")
# Without -o, strace says this even within a line, and goes on in the next one.
_TORN = re.compile(r"(?<=[^ ])strace: Process (\d{1,10}) attached$")
_ATTACHED = re.compile(r"(?:strace: )?Process (\d{1,10}) attached")
_SUPERSEDED = re.compile(r"\+\+\+ superseded by execve in pid (\d{1,10}) \+\+\+")
# Stack frames of -k, notes of strace itself, signals, and results that only -T adds to.
_NO_CALL = re.compile(
    r" > |strace: |--- .* ---$|\+\+\+ .*\+\+\+$|$| ?Process \d{1,10} (?:at|de)tached"
)
_GONE = re.compile(r"\+\+\+ (?:exited with|killed by) ")
_PLAUSIBLE = re.compile(r"[a-z_]\w{0,63}\(.*(?:\) += (?:-?\d|0x|\?)|<unfinished \.\.\.>$)", re.S)
_SUMMARY = re.compile(r"% time +")
# Kernel-internal errors that a program sees as EINTR, if at all (include/linux/errno.h).
_RESTARTS = re.compile(r"ERESTART")
_MAX_PENDING_BYTES = 2**26
_MAX_RESULT_TRIES = 4
_MAX_NOTE = 64
UNREAD = "lines that are no strace"
_ONLY = -1  # the process of lines that name none


def is_strace(lines: Iterable[str]) -> bool:
    """Whether any of the first lines of a file is a call or a summary as strace writes them."""
    return any(
        _PLAUSIBLE.match(_LINE.fullmatch(line)[3]) or _SUMMARY.match(line)  # type: ignore[index]
        for line in lines
    )


class StraceReader:
    """Takes the lines of a log; `end` completes what was never resumed."""

    def __init__(self, follower: Follower, owner: int | None = None) -> None:
        """`owner` is the process of a log that is of one alone (strace -ff)."""
        self._follower = follower
        self._tally = follower.tally
        self._owner = owner
        self._pending: dict[int, tuple[str, str]] = {}
        self._pending_bytes = 0
        self._torn = ""
        self._announced: set[int] = set()
        self._summary = StraceSummary(follower.tally)
        self.calls = 0

    def line(self, text: str | None) -> None:
        """One line, None for one that was too long."""
        if text is None:
            self._tally.lose(UNREAD, "(longer than any of its lines)")
            return
        text, self._torn = self._torn + text, ""
        if torn := _TORN.search(text[-_MAX_NOTE:]):
            self._announced.add(int(torn[1]))
            self._torn = text[: -len(torn[0])]
            return
        if self._summary.line(text):
            return
        found = _LINE.fullmatch(text)
        rest = found[3] if found else text
        pid = self._process((found[1] or found[2] or "") if found else "")
        if self._call(pid, rest):
            return
        if attached := _ATTACHED.match(rest):
            self._announced.add(int(attached[1]))
        elif superseded := _SUPERSEDED.match(rest):
            self._supersede(pid, int(superseded[1]))
        elif _GONE.match(rest):
            self._interrupt(pid)
            self._follower.end(pid)
        elif not _NO_CALL.match(rest) and not _NO_CALL.match(text):
            self._tally.lose(UNREAD, text)

    def end(self) -> None:
        """No more lines come."""
        if self._torn:
            self._tally.lose(UNREAD, self._torn)
        for pid in list(self._pending):
            self._interrupt(pid)
        self._summary.end(used=not self.calls)

    def _process(self, number: str) -> int:
        """Who made the call of a line: strace names processes only while there are several."""
        if number:
            pid = int(number)
            if pid not in self._follower.processes:
                self._introduce(pid)
            return pid
        if self._owner is not None:
            return self._owner
        alive = self._follower.processes.numbers()
        return alive[0] if len(alive) == 1 else _ONLY

    def _introduce(self, pid: int) -> None:
        """A number that is new: the first process now that it is named, or a child whose parent
        is still in the call that makes it."""
        processes = self._follower.processes
        if _ONLY in processes and pid not in self._announced:
            processes.rename(_ONLY, pid)
            if _ONLY in self._pending:
                self._pending[pid] = self._pending.pop(_ONLY)
            return
        making = [p for p, (name, _) in self._pending.items() if name in STARTS]
        if making:
            parent = making[-1]
            arguments = split_arguments(self._pending[parent][1])
            self._follower.adopt(pid, processes.of(parent), arguments)

    def _call(self, pid: int, text: str) -> bool:
        """Whether `text` is a call, or the first or the second part of one."""
        if resumed := _RESUMED.match(text):
            name, begun = self._pending.pop(pid, ("", ""))
            self._pending_bytes -= len(begun)
            if name != resumed[1]:
                name, begun = resumed[1], ""  # its beginning is not in the log
            return self._whole(pid, name, begun + text[resumed.end() :])
        named = _NAME.match(text)
        if not named:
            return False
        rest = text[named.end() :]
        if unfinished := _UNFINISHED.fullmatch(rest):
            self._interrupt(pid)
            if self._pending_bytes > _MAX_PENDING_BYTES:
                return False
            self._pending[pid] = named[1], unfinished[1]
            self._pending_bytes += len(unfinished[1])
            return True
        return self._whole(pid, named[1], rest)

    def _whole(self, pid: int, name: str, text: str) -> bool:
        """`text` is what stands behind the bracket of a call."""
        end = len(text)
        for _ in range(_MAX_RESULT_TRIES):
            end = text.rfind("= ", 0, end)
            arguments = text[: max(end, 0)].rstrip()
            if end < 0 or arguments.endswith(")"):
                break
        result = _RESULT.match(text, end + 2)
        if end < 0 or result is None:
            return False
        self._take(pid, name, arguments[:-1], result)
        return True

    def _take(self, pid: int, name: str, arguments: str, result: re.Match[str]) -> None:
        error = result[3] or ""
        number = getattr(errno, error, 0) if error else 0
        if error and not number:
            number = errno.EINTR if _RESTARTS.match(error) else 0
            if not number:
                self._tally.miss("errors that this machine does not know", error)
        value = None if result[1] == "?" else int(result[1], 0 if result[1][:2] == "0x" else 10)
        if name in STARTS and (outside := _OUTSIDE.search(result.string, result.end())):
            value = int(outside[1])
        what = read_descriptor(f"0{result[2]}") if result[2] else None
        self._made(pid, name, arguments, value, number, what.what if what else "")

    def _made(
        self, pid: int, name: str, arguments: str, value: int | None, error: int, what: str = ""
    ) -> None:
        self.calls += 1
        if unnamed := _UNNAMED.fullmatch(name):
            name = call_name(int(unnamed[1], 16))
        split = split_arguments(arguments) if name in WANTED else ()
        self._follower.take(Call(pid, name, split, value, error, what))

    def _interrupt(self, pid: int) -> None:
        """The call that the process was in has no result in the log."""
        if pid in self._pending:
            name, arguments = self._pending.pop(pid)
            self._pending_bytes -= len(arguments)
            self._made(pid, name, arguments, None, 0)

    def _supersede(self, first: int, other: int) -> None:
        """Thread `other` executed a program, and goes on under the number of the first."""
        self._interrupt(first)
        if other in self._pending:
            self._pending[first] = self._pending.pop(other)
        self._follower.end(other)
