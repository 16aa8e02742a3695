"""Work in a child process that has other rights than this one, and its outcome here."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Literal, TypeVar, cast

from onejob.base import linux
from onejob.base.progress import Progress
from onejob.model.errors import ServiceError

Value = TypeVar("Value")
_Word = Literal["stage", "step", "note"]
_PR_SET_PDEATHSIG = 1


class _Told:
    """A Progress that tells another process."""

    def __init__(self, listener: Connection) -> None:
        self._listener = listener

    def stage(self, text: str) -> None:
        self._listener.send(("stage", text))

    def step(self, text: str, fraction: float | None = None) -> None:
        self._listener.send(("step", text, fraction))

    def note(self, text: str) -> None:
        self._listener.send(("note", text))


def done_apart(
    prepare: Callable[[], None], work: Callable[[Progress], Value], progress: Progress
) -> Value:
    """What `work` returns, done by a forked process after `prepare`; what it raises is raised here.

    The value is pickled. An interrupt ends the child, which cleans up after itself first; so does
    the end of this process.
    """
    ours, theirs = multiprocessing.Pipe()
    child = os.fork()
    if child == 0:
        try:
            ours.close()
            _be_child(theirs, prepare, work)
        finally:
            os._exit(0)  # whatever happens: this process has nothing to do in our callers
    theirs.close()
    try:
        return cast(Value, _await_outcome(ours, progress))
    except EOFError:
        raise ServiceError("the process that watched the service ended without a word") from None
    finally:
        ours.close()
        os.kill(child, signal.SIGINT)  # it is still ours to collect, so this is no other process
        os.waitpid(child, 0)


def _be_child(
    told: Connection, prepare: Callable[[], None], work: Callable[[Progress], Any]
) -> None:
    """An interrupt gets out of here; whoever made it does not wait for words."""
    os.setsid()  # a Ctrl-C comes from our parent, and only once
    try:
        linux.check(linux.libc.prctl(_PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0), "prctl")
        prepare()
        told.send(("done", work(_Told(told))))
    except Exception as error:
        told.send(("failed", error))


def _await_outcome(child: Connection, progress: Progress) -> Any:
    while True:
        match child.recv():
            case ("done", value):
                return value
            case ("failed", error):
                raise error
            case (word, *words):
                getattr(progress, cast(_Word, word))(*words)
