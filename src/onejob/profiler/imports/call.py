"""One call as a log has it, and what can be told from its arguments and the files they name."""

import os
import re
from functools import lru_cache
from typing import NamedTuple

from onejob.profiler.imports.notation import read_descriptor, read_number
from onejob.profiler.static.names import read_head

_FLAGS = re.compile(r"flags=([^,}]+)")


class Call(NamedTuple):
    """A call that was made by thread `pid`; arguments are written as strace does.

    `result` is None where it is not known; `error` an errno, 0 where there is none; `what` the
    descriptor is that came, where the log says it.
    """

    pid: int
    name: str
    arguments: tuple[str, ...]
    result: int | None
    error: int = 0
    what: str = ""

    def argument(self, index: int) -> str:
        """The argument at `index`; empty where the log has none."""
        return self.arguments[index] if index < len(self.arguments) else ""

    def number(self, index: int) -> int | None:
        """Its value; None where it is not known."""
        return read_number(self.argument(index)) if index < len(self.arguments) else None

    def descriptor(self, index: int) -> int:
        """Its value as a descriptor; -1 where it is none."""
        found = read_descriptor(self.argument(index))
        return found.number if found else -1


def flags_of(call: Call) -> int | None:
    """The flags of a clone or open_how structure, or among clone's named arguments."""
    found = _FLAGS.search(", ".join(call.arguments))
    return read_number(found[1]) if found else None


def clone_flags(arguments: tuple[str, ...]) -> frozenset[str]:
    """The CLONE_ flags in the arguments of a clone, clone3, fork or vfork."""
    return frozenset(re.findall(r"CLONE_\w+", " ".join(arguments)))


@lru_cache(maxsize=4096)
def where_links_end(path: str) -> str:
    """Mapping goes by the descriptor: the links of the path were looked up when it was opened."""
    return os.path.realpath(path)


def program_at(path: str) -> str:
    """The program that runs when `path` is executed, as far as this machine has it: where links
    end, and of a script the interpreter (execve(2))."""
    head = read_head(path, 256) if os.path.isfile(path) else b""
    words = head[2:].split(b"\n")[0].decode(errors="replace").split()
    if head.startswith(b"#!") and words and words[0].startswith("/"):
        path = words[0]
    return os.path.realpath(path)
