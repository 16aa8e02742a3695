"""Calls of a log, one after the other, become facts: paths are completed, children known."""

import errno
import os
import re
from collections.abc import Callable

from onejob.profiler.imports.call import (
    Call,
    clone_flags,
    flags_of,
    program_at,
    where_links_end,
)
from onejob.profiler.imports.call_rules import PathAt, call_rules, rule_of
from onejob.profiler.imports.notation import read_descriptor, read_number, read_text
from onejob.profiler.imports.processes import Handle, Processes, Thread
from onejob.profiler.imports.tally import MAX_DISTINCT, ListenerKey, Tally
from onejob.profiler.recording import Role

_AT_FDCWD = -100
_AF_UNIX, _AF_INET6 = 1, 10
_SOCK_CLOEXEC = 0o2000000
_F_DUPFD, _F_SETFD, _F_DUPFD_CLOEXEC = 0, 2, 1030
_CLOSE_RANGE_CLOEXEC = 4
_MAP_ANONYMOUS = 0x20
_MAX_DESCRIPTOR = 2**20  # fs.nr_open
_NO_ID = 2**32 - 1
STARTS = {"fork", "vfork", "clone", "clone3"}
_EXECS = {"execve", "execveat"}
SILENT = "children whose calls are not in the log (strace -f has them)"
_PAIR = re.compile(r"\[(\d{1,7})(?:<.*?>)?, (\d{1,7})")
_FAMILY = re.compile(r"sa_family=(\w+)")
_PORT = re.compile(r"sin6?_port=htons\((\d{1,5})\)")
_IPV4 = re.compile(r'sin_addr=inet_addr\("([0-9.]{7,15})"\)')
_IPV6 = re.compile(r'inet_pton\(AF_INET6, "([0-9a-fA-F:.]{2,45})"')
_UNIX = re.compile(r'sun_path=(@?)("(?:[^"\\]|\\.)*+")(\.\.\.)?')
_ADDRESS = re.compile(r"0x[0-9a-f]+")


class Follower:
    """Turns calls into the facts of a tally; `main` is the main program where it is known."""

    def __init__(self, tally: Tally, main: str) -> None:
        self.tally = tally
        self.processes = Processes(tally)
        self._existing: set[str] = set()
        self._silent: set[int] = set()  # children of which nothing was heard
        self._early: set[int] = set()  # children that were heard before the call that made them
        tally.main = main

    def take(self, call: Call) -> None:
        """One call, in the order in which they returned."""
        thread = self.processes.of(call.pid)
        self.heard(call.pid)
        if call.name in _EXECS:
            self._execute(thread, call)
            return
        number = self.tally.call(thread.group.program, call.name, call.error)
        if number < 0 or call.name not in WANTED:
            return
        self._facts(thread, call, number)
        if rule_of(call.name).descriptor and call.name not in _AFTER:
            self._open(thread, call, Handle("other", call.what if call.what[:1] == "/" else ""))
        self._paths(thread, call, number)
        if call.name in _AFTER and (not call.error or call.name in ("connect", "bind")):
            _AFTER[call.name](self, thread, call, number)

    def heard(self, pid: int) -> None:
        """The log has something of this thread."""
        self._silent.discard(pid)

    def end(self, pid: int) -> None:
        """The thread is gone."""
        self.heard(pid)
        self.processes.end(pid)

    def end_group(self, pid: int) -> None:
        """The process is gone with all its threads."""
        for other in self.processes.same_group(pid):
            self.end(other)

    def finish(self) -> None:
        """No more calls come."""
        if self._silent:
            self.tally.lose(SILENT, times=len(self._silent))

    # --- facts and paths -------------------------------------------------------------------------

    def _facts(self, thread: Thread, call: Call, number: int) -> None:
        places = rule_of(call.name).facts
        if call.name in ("clone", "clone3"):
            values = [flags_of(call)]
        else:
            values = [call.number(place) for place in places]
        known = tuple(value for value in values if value is not None)
        if len(known) < len(values):
            self.tally.miss("arguments whose value is not known", f"{call.name} {call.arguments}")
        elif known:
            self.tally.fact(thread.group.program, number, known, call.error != 0)

    def _paths(self, thread: Thread, call: Call, number: int) -> None:
        rule = rule_of(call.name)
        if not rule.paths:
            return
        flags = self._open_flags(call, rule.flags)
        for at in rule.paths:
            path = self._path_at(thread, call, at)
            if call.name == "chdir" and not call.error:
                thread.place.folder = path
            if not path:
                continue
            created = bool(flags & os.O_CREAT) and rule.descriptor and not call.error
            created = created and (bool(flags & os.O_EXCL) or path not in self._existing)
            self.tally.file(thread.group.program, number, at.role, path, call.error, flags, created)
            self._remember(path, call, at.role)
            if rule.descriptor and not call.error:
                here = call.what if call.what[:1] == "/" else path
                self._open(thread, call, Handle("file", here), by_exec=bool(flags & os.O_CLOEXEC))

    def _open_flags(self, call: Call, place: int | None) -> int:
        if call.name == "creat":
            return os.O_CREAT
        if call.name == "openat2":
            value = flags_of(call)
        else:
            value = call.number(place) if place is not None else 0
        if value is None:
            self.tally.miss("arguments whose value is not known", f"{call.name} {call.arguments}")
        return value or 0

    def _remember(self, path: str, call: Call, role: Role) -> None:
        """Which paths exist by now: who opens one with O_CREAT may create it."""
        gone = call.name in ("unlink", "unlinkat", "rmdir") or role == "from"
        missing = call.error in (errno.ENOENT, errno.ENOTDIR)
        if missing or (gone and not call.error and "link" != call.name != "linkat"):
            self._existing.discard(path)
        elif not call.error and len(self._existing) < MAX_DISTINCT:
            self._existing.add(path)

    def _path_at(self, thread: Thread, call: Call, at: PathAt) -> str:
        """The whole path of an argument; empty where there is none or it is not known."""
        folder = self._folder(thread, call, at.dirfd)
        text = read_text(call.argument(at.path))
        if text is None:
            if _ADDRESS.fullmatch(call.argument(at.path)) and call.error != errno.EFAULT:
                self.tally.miss("paths that the log does not hold")
            return ""
        if text.cut:
            self.tally.miss("paths that are cut short", text.text)
            return ""
        return self._complete(folder, text.text) if text.text else ""

    def _folder(self, thread: Thread, call: Call, dirfd: int | None) -> str:
        found = read_descriptor(call.argument(dirfd)) if dirfd is not None else None
        if found is None or found.number == _AT_FDCWD:
            if found and found.what[:1] == "/":
                thread.place.folder = found.what
            return thread.place.folder
        if found.what[:1] == "/":
            return found.what
        handle = thread.files.open.get(found.number)
        return handle.path if handle else ""

    def _complete(self, folder: str, path: str) -> str:
        if path.startswith("/"):
            return path
        if not folder:
            self.tally.miss("relative paths whose folder is not known", path)
            return ""
        return f"{folder.rstrip('/')}/{path}"

    # --- what calls change -----------------------------------------------------------------------

    def _open(self, thread: Thread, call: Call, handle: Handle, *, by_exec: bool = False) -> None:
        if call.result is not None and not call.error and 0 <= call.result < _MAX_DESCRIPTOR:
            self.processes.open(thread.files, call.result, handle, by_exec=by_exec)

    def _execute(self, thread: Thread, call: Call) -> None:
        """A program starts; the call that did it is counted as its own first one."""
        first = not thread.group.program
        at = rule_of(call.name).paths[0]
        path = self._path_at(thread, call, at) or (self.tally.main if first else "")
        if call.result == 0 and not call.error:
            text = read_text(call.argument(at.path))
            program = program_at(path) if path else text.text if text else thread.group.program
            if not first:
                self.tally.start(thread.group.program, program, "exec")
            thread.group.program = program
            self.tally.main = self.tally.main or (program if path else "")
            self.processes.close(thread.files, list(thread.files.closed_by_exec))
            thread.files.closed_by_exec.clear()
        number = self.tally.call(thread.group.program, call.name, call.error)
        if path:
            self.tally.file(thread.group.program, number, at.role, path, call.error)

    def _start(self, thread: Thread, call: Call, number: int) -> None:
        if not call.result:
            return
        if call.result in self._early:  # and may be gone by now
            self._early.remove(call.result)
        elif call.result not in self.processes and len(self._silent) < MAX_DISTINCT:
            self._adopt(call.result, thread, call.arguments)
            self._silent.add(call.result)
        program, flags = thread.group.program, clone_flags(call.arguments)
        if flags or call.name != "clone3":  # else nobody says which it is
            self.tally.start(program, program, "thread" if "CLONE_THREAD" in flags else "fork")

    def adopt(self, number: int, parent: Thread, arguments: tuple[str, ...]) -> None:
        """Thread `number` is a child of `parent`, made by a call that has not returned yet."""
        self._adopt(number, parent, arguments)
        if len(self._early) < MAX_DISTINCT:
            self._early.add(number)

    def _adopt(self, number: int, parent: Thread, arguments: tuple[str, ...]) -> None:
        self.processes.start(number, parent, clone_flags(arguments))

    def _close(self, thread: Thread, call: Call, number: int) -> None:
        self.processes.close(thread.files, [call.descriptor(0)])

    def _close_range(self, thread: Thread, call: Call, number: int) -> None:
        first, last, flags = call.number(0), call.number(1), call.number(2)
        if first is None or last is None:
            return
        numbers = [n for n in thread.files.open if first <= n <= last]
        if flags and flags & _CLOSE_RANGE_CLOEXEC:
            thread.files.closed_by_exec.update(numbers)
        else:
            self.processes.close(thread.files, numbers)

    def _duplicate(self, thread: Thread, call: Call, number: int) -> None:
        handle = thread.files.open.get(call.descriptor(0)) or Handle("other")
        by_exec = call.name == "dup3" and "O_CLOEXEC" in call.argument(2)
        if call.result != call.descriptor(0):  # dup2 onto itself changes nothing
            self._open(thread, call, handle, by_exec=by_exec)

    def _control(self, thread: Thread, call: Call, number: int) -> None:
        command = call.number(1)
        if command in (_F_DUPFD, _F_DUPFD_CLOEXEC):
            handle = thread.files.open.get(call.descriptor(0)) or Handle("other")
            self._open(thread, call, handle, by_exec=command == _F_DUPFD_CLOEXEC)
        elif command == _F_SETFD:
            marks = thread.files.closed_by_exec
            (marks.add if call.number(2) else marks.discard)(call.descriptor(0))

    def _pair(self, thread: Thread, call: Call, number: int) -> None:
        found = _PAIR.search(call.arguments[-1] if call.name == "socketpair" else call.argument(0))
        if not found:
            return
        sockets, by_exec = call.name == "socketpair", "CLOEXEC" in " ".join(call.arguments)
        handle = Handle("socket" if sockets else "pipe")
        for text in found.groups():
            end = Handle("socket") if sockets else handle
            self.processes.open(thread.files, int(text), end, by_exec=by_exec)

    def _socket(self, thread: Thread, call: Call, number: int) -> None:
        kind = call.number(1) or 0
        handle = Handle("socket", family=call.number(0) or 0, type=kind & 0xF)
        self._open(thread, call, handle, by_exec=bool(kind & _SOCK_CLOEXEC))

    def _accept(self, thread: Thread, call: Call, number: int) -> None:
        listening = thread.files.open.get(call.descriptor(0))
        if listening and listening.kind == "socket" and listening.type:
            key = _listener(thread, listening)
            self.tally.listener(key, accepted=1)
            handle = Handle("socket", family=listening.family, type=listening.type)
        else:
            handle = Handle("socket")
        self._open(thread, call, handle, by_exec="SOCK_CLOEXEC" in call.argument(3))

    def _address(self, thread: Thread, call: Call, number: int) -> None:
        text = call.argument(1)
        found = _FAMILY.search(text)
        family = read_number(found[1]) if found else None
        if family is None:
            if text not in ("NULL", ""):
                self.tally.miss("addresses that the log does not hold")
            return
        port = _PORT.search(text)
        program = thread.group.program
        values = family, int(port[1]) & 0xFFFF if port else 0
        self.tally.fact(program, number, values, call.error != 0)
        unix = _UNIX.search(text) if family == _AF_UNIX else None
        role: Role = "bind" if call.name == "bind" else "connect"
        name = self._unix_path(thread, call, number, unix, role) if unix else ""
        handle = thread.files.open.get(call.descriptor(0))
        if handle and call.name == "bind" and not call.error:
            ip = (_IPV6 if family == _AF_INET6 else _IPV4).search(text)
            handle.address, handle.port = ip[1] if ip else name, values[1]

    def _unix_path(
        self, thread: Thread, call: Call, number: int, found: re.Match[str], role: Role
    ) -> str:
        text = read_text(found[2])
        if text is None or found[3]:
            self.tally.miss("paths that are cut short", found[2])
            return ""
        if found[1]:  # an abstract name is no file
            return f"@{text.text}"
        path = self._complete(thread.place.folder, text.text) if text.text else ""
        if path:
            self.tally.file(thread.group.program, number, role, path, call.error)
        return text.text

    def _listen(self, thread: Thread, call: Call, number: int) -> None:
        handle = thread.files.open.get(call.descriptor(0))
        if handle and handle.kind == "socket" and handle.type:
            backlog = call.number(1) or 0
            self.tally.listener(_listener(thread, handle), backlog=backlog)
        else:
            self.tally.miss("sockets that were listened on, and not seen to be made")

    def _map(self, thread: Thread, call: Call, number: int) -> None:
        flags, found = call.number(3), read_descriptor(call.argument(4))
        if flags is None or flags & _MAP_ANONYMOUS or found is None:
            return
        handle = thread.files.open.get(found.number)
        opened = where_links_end(handle.path) if handle and handle.path else ""
        if path := found.what if found.what[:1] == "/" else opened:
            self.tally.file(thread.group.program, number, "map", path, flags=call.number(2) or 0)
        else:
            self.tally.miss("mapped files whose path is not known")

    def _change_folder(self, thread: Thread, call: Call, number: int) -> None:
        if call.name == "fchdir":
            handle = thread.files.open.get(call.descriptor(0))
            thread.place.folder = handle.path if handle else ""
        elif call.name == "getcwd":
            text = read_text(call.argument(0))
            if text and not text.cut and text.text.startswith("/"):
                thread.place.folder = text.text

    def _identity(self, thread: Thread, call: Call, number: int) -> None:
        """Effective ids, from what was asked and what was set (credentials(7))."""
        if call.name in ("geteuid", "getegid"):
            value = call.result
        else:  # the effective id is the first argument, of two and three the second
            value = call.number(0 if len(call.arguments) == 1 else 1)
        if value is None or not 0 <= value < _NO_ID:
            return
        if "uid" in call.name:
            thread.group.uid = value
        else:
            thread.group.gid = value
        if thread.group.uid is not None and thread.group.gid is not None:
            self.tally.identity(thread.group.program, thread.group.uid, thread.group.gid)


_After = Callable[[Follower, Thread, Call, int], None]
_HANDLERS: dict[_After, str] = {
    Follower._start: "fork vfork clone clone3",
    Follower._close: "close",
    Follower._close_range: "close_range",
    Follower._duplicate: "dup dup2 dup3",
    Follower._control: "fcntl",
    Follower._pair: "pipe pipe2 socketpair",
    Follower._socket: "socket",
    Follower._accept: "accept accept4",
    Follower._address: "bind connect",
    Follower._listen: "listen",
    Follower._map: "mmap",
    Follower._change_folder: "fchdir getcwd",
    Follower._identity: "geteuid getegid setuid setgid setreuid setregid setresuid setresgid",
}
_AFTER = {name: handler for handler, names in _HANDLERS.items() for name in names.split()}
# The calls whose arguments are of use; those of others need not be taken apart.
WANTED = frozenset({*call_rules(), *_AFTER})


def _listener(thread: Thread, handle: Handle) -> ListenerKey:
    return ListenerKey(
        thread.group.program, handle.family, handle.type, handle.address, handle.port
    )
