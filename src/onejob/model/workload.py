"""The Workload: how to start a service, know it is ready, drive it through drills, stop it.

Its file form is the hand-written ``workload.toml`` (docs/workload.md documents every key).
"""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from onejob.model.errors import InputError
from onejob.model.job import Job
from onejob.model.noun import Noun, read_text
from onejob.model.syscalls import call_number
from onejob.model.tomlfile import parse_toml

NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,62}$"
SIGNALS = {
    "HUP": 1, "INT": 2, "QUIT": 3, "KILL": 9, "USR1": 10, "USR2": 12, "TERM": 15,
    "SEGV": 11, "CONT": 18, "STOP": 19, "WINCH": 28, "PWR": 30,
}  # fmt: skip  # x86_64 numbers, signal(7); the target's, whatever runs the planner

# What the kernel takes: a string ends at its first NUL.
Text = Annotated[str, Field(pattern=r"^[^\x00]*$")]
VariableName = Annotated[str, Field(pattern=r"^[^=\x00]+$")]
AccountName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,31}$")]
Argv = Annotated[tuple[Text, ...], Field(min_length=1)]
SignalName = Literal[
    "HUP", "INT", "QUIT", "KILL", "USR1", "USR2", "TERM", "SEGV", "CONT", "STOP", "WINCH", "PWR"
]
Seconds = Annotated[float, Field(gt=0, le=3600)]
Port = Annotated[int, Field(ge=1, le=65535)]

_VARIABLE = re.compile(r"(?<!%)\{([a-z_]+)(?::([^}]*))?\}")
_OF_PORTS = ("address", "host", "port")
_HERE = re.compile(r"(?<!%)\{here\}")
INSIDE_VERBS = {"rename": 2, "remove": 1}


class Ready(Noun):
    """How to know that the service is ready; exactly one way.

    `says`: what it says first to whoever connects to its port `tcp`.
    """

    http: str | None = None
    tcp: Port | None = None
    log: str | None = None
    says: str | None = None
    within: Seconds = 30.0

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if sum(way is not None for way in (self.http, self.tcp, self.log)) != 1:
            raise ValueError("give exactly one of http, tcp, log")
        if self.says is not None and (self.tcp is None or not self.says):
            raise ValueError("says is a text that comes from the port tcp")
        return self


class Stop(Noun):
    """How the service is asked to end, and with which exit status it then does."""

    signal: SignalName = "TERM"
    within: Seconds = 20.0
    status: Annotated[int, Field(ge=0, le=255)] = 0


class Restart(Noun):
    """How often in a row the service is started again when it fails, and after which rest.

    `first` seconds, then twice as long each time, up to `longest`. After a life of `steady` seconds
    it begins anew; None leaves that to the planner.
    """

    attempts: Annotated[int, Field(ge=0, le=20)] = 6
    first: Seconds = 1.0
    longest: Seconds = 60.0
    steady: Seconds | None = None


class Command(Noun):
    """One command of a drill, run outside the service, with what must come of it."""

    command: Argv
    status: Annotated[int, Field(ge=0, le=255)] = 0
    prints: str | None = None
    contains: str | None = None


class Folder(Noun):
    """A folder that whoever starts the service makes for it, if it is not there."""

    path: Annotated[str, Field(pattern=r"^/[^\x00]*[^/\x00]$")]
    user: AccountName = "root"
    group: AccountName = "root"
    mode: Annotated[int, Field(ge=0, le=0o7777)] = 0o755


class InFlight(Noun):
    """A request begun before the drill acts and completed after; it must be answered."""

    http: str
    status: Annotated[int, Field(ge=100, le=599)] = 200


class FileCheck(Noun):
    """What must be true of a file where the service's files are, once the drill has acted."""

    path: Annotated[str, Field(pattern="^/")]
    contains: str | None = None
    lacks: str | None = None
    exists: bool | None = None


class Expect(Noun):
    """The effects of a drill, looked for until they hold or `within` seconds are over.

    `request` is made before each look, with a fresh ``{nonce}``, and must be answered; the commands
    `run` are run before each look, and must do what they say.
    """

    request: str | None = None
    run: tuple[Command, ...] = ()
    workers: Literal["renewed", "replaced", "restored", "same"] | None = None
    files: tuple[FileCheck, ...] = ()
    within: Seconds = 10.0

    @field_validator("run", mode="before")
    @classmethod
    def _run_list(cls, value: object) -> object:
        return _commands(value)


class Drill(Noun):
    """One named stretch of the service's life.

    Steps, always in this order: `in_flight` begins, `inside`, `signal`, `run`, `in_flight`
    completes, `expect`. The signal goes `to` the main process, or the worker that it forked last.
    """

    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    in_flight: InFlight | None = None
    inside: tuple[tuple[str, ...], ...] = ()
    signal: SignalName | None = None
    to: Literal["main", "worker"] = "main"
    run: tuple[Command, ...] = ()
    expect: Expect = Expect()
    within: Seconds = 60.0

    @model_validator(mode="after")
    def _signal_for_worker(self) -> Self:
        if self.to == "worker" and self.signal is None:
            raise ValueError(f"drill {self.name}: there is no signal that would go `to` a worker")
        return self

    @field_validator("inside", mode="before")
    @classmethod
    def _inside_list(cls, value: object) -> object:
        return _list_of_lists(value)

    @field_validator("inside")
    @classmethod
    def _inside_known(cls, value: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], ...]:
        for verb, *paths in value:
            if INSIDE_VERBS.get(verb) != len(paths):
                known = ", ".join(f"{v} ({n} paths)" for v, n in INSIDE_VERBS.items())
                raise ValueError(f"{' '.join([verb, *paths])!r} is not one of: {known}")
            if not all(path.startswith("/") for path in paths):
                raise ValueError(f"{verb}: paths must be absolute")
        return value

    @field_validator("run", mode="before")
    @classmethod
    def _run_list(cls, value: object) -> object:
        return _commands(value)


class Workload(Noun):
    """All that is known beforehand of one service."""

    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    command: Argv
    user: AccountName = "root"
    folders: tuple[Folder, ...] = ()
    packages: tuple[str, ...] = ()
    ports: tuple[Port, ...] = ()
    ready: Ready | None = None
    job: Job | None = None
    settles: tuple[str, ...] = ()
    stop: Stop = Stop()
    restart: Restart = Restart()
    include: tuple[str, ...] = ()
    environment: dict[VariableName, Text] = Field(default_factory=dict)
    directory: str = "/"
    network: Literal["private", "host"] = "private"
    set_user_id: dict[Text, Annotated[str, Field(min_length=3)]] = Field(default_factory=dict)
    drill: tuple[Drill, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        self._check_kind()
        self._check_drills()
        self._check_paths()
        if self.ready and self.ready.tcp is not None and self.ready.tcp not in self.ports:
            raise ValueError(f"ready.tcp {self.ready.tcp} is not in ports")
        for name in self.settles:
            if call_number(name) is None:
                raise ValueError(f"settles: there is no system call {name!r}")
        for place, text in self._templates():
            check_variables(text, self.ports, place)
        return self

    def _check_kind(self) -> None:
        if (self.ready is None) == (self.job is None):
            raise ValueError("ready: a service says how it is known to be ready, a job has [job]")
        if self.job and (self.ports or self.drill or self.settles):
            raise ValueError("a job has no ports, settles or drill: its drills are [[job.drill]]")

    def _check_drills(self) -> None:
        names = [drill.name for drill in self.drill]
        if len(set(names)) != len(names):
            raise ValueError("two drills have the same name")
        if "start" in names and names[0] != "start":
            raise ValueError("the drill start must come first")
        if "stop" in names and names[-1] != "stop":
            raise ValueError("the drill stop must come last")
        if any(d.name == "stop" and (d.signal or d.run) for d in self.drill):
            raise ValueError("the drill stop takes its signal from [stop] and runs nothing")

    def _check_paths(self) -> None:
        for path in (*self.include, self.directory, *(folder.path for folder in self.folders)):
            if not path.startswith("/") or "/../" in f"{path}/":
                raise ValueError(f"{path!r} must be an absolute path without '..'")
        if "/" in self.command[0] and not self.command[0].startswith("/"):
            raise ValueError(f"command {self.command[0]!r} must be absolute or found in PATH")

    def _templates(self) -> list[tuple[str, str]]:
        texts = [("ready.http", (self.ready.http if self.ready else None) or "")]
        for drill in self.drill:
            commands = (*drill.run, *drill.expect.run)
            texts += [(f"drill {drill.name}", text) for c in commands for text in _texts_of(c)]
            texts += [(f"drill {drill.name}", f.http) for f in [drill.in_flight] if f]
            texts += [(f"drill {drill.name}", drill.expect.request or "")]
            for check in drill.expect.files:
                texts += [(f"drill {drill.name}", t or "") for t in (check.contains, check.lacks)]
        return texts

    def readiness(self) -> Ready:
        """How the service is known to be ready; InputError for a job, which never is."""
        if self.ready is None:
            raise InputError(
                f"{self.name} is a job: it ends, and is never ready",
                "run it: onejob run IMAGE; its drills are for onejob profile",
            )
        return self.ready

    def drills(self) -> tuple[Drill, ...]:
        """The drills as run: always with `start` first and `stop` last."""
        first = () if self.drill and self.drill[0].name == "start" else (Drill(name="start"),)
        last = () if self.drill and self.drill[-1].name == "stop" else (Drill(name="stop"),)
        return (*first, *self.drill, *last)


def load_workload(path: Path) -> Workload:
    """Read `path`; InputError names file and line of every unknown key or wrong value."""
    return parse_toml(workload_text(path), Workload, str(path))


def workload_text(path: Path) -> str:
    """The text of `path` with ``{here}`` filled in: what a profile keeps, to be read anywhere."""
    text = read_text(path, "workload")
    here = str(path.absolute().parent.resolve())
    if _HERE.search(text) and re.search(r"[\\\"'{}\x00-\x1f]", here):
        raise InputError(
            f"{path}: {{here}} would be {here!r}, which has characters that TOML or variables use",
            "move the workload to a folder with a plainer name",
        )
    return _HERE.sub(lambda _: here, text)


def check_variables(text: str, ports: tuple[int, ...], place: str) -> None:
    """ValueError for a ``{...}`` in `text` that means nothing (curl's ``%{...}`` is left alone)."""
    for name, argument in _VARIABLE.findall(text):
        if name in _OF_PORTS and argument.isdigit():
            if int(argument) not in ports:
                raise ValueError(f"{place}: {{{name}:{argument}}} but {argument} is not in ports")
        elif name != "nonce" or argument:
            known = ", ".join([*(f"{{{name}:PORT}}" for name in _OF_PORTS), "{nonce}"])
            raise ValueError(f"{place}: unknown variable in {text!r}; known: {known}")


def fill(text: str, addresses: dict[int, str], nonce: str) -> str:
    """`text` with its variables: ``{address:PORT}``, the halves of that, and ``{nonce}``."""

    def value(match: re.Match[str]) -> str:
        if match[1] == "nonce":
            return nonce
        address = addresses[int(match[2])]
        host, _, port = address.rpartition(":")
        return {"address": address, "host": host.strip("[]"), "port": port}[match[1]]

    return _VARIABLE.sub(value, text)


def _texts_of(command: Command) -> tuple[str, ...]:
    """The texts of a command in which variables are filled in."""
    return (*command.command, *(t for t in (command.prints, command.contains) if t is not None))


def _list_of_lists(value: object) -> object:
    """``["verb", "path"]`` is short for ``[["verb", "path"]]``."""
    if isinstance(value, list | tuple) and value and all(isinstance(v, str) for v in value):
        return (value,)
    return value


def _commands(value: object) -> object:
    """A command may be an argument list, or a table with what must come of it; one or several."""
    if isinstance(value, dict):
        value = [value]
    listed = _list_of_lists(value)
    if not isinstance(listed, list | tuple):
        return listed
    return tuple({"command": c} if isinstance(c, list | tuple) else c for c in listed)
