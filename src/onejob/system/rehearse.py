"""Rehearse an image: boot it, replay the drills from outside, compare with the profile."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeVar

from onejob.base.progress import Progress
from onejob.drive.drills import DrillResult, run_drills
from onejob.drive.probe import check_probe
from onejob.drive.ready import wait_ready
from onejob.model.errors import LacksError, OnejobError, ServiceError
from onejob.model.image import Image
from onejob.model.profile import Profile
from onejob.model.profile_xml import load_profile
from onejob.model.tomlfile import parse_toml
from onejob.model.workload import Drill, Expect, Ready, Stop, Workload
from onejob.system.findings import (
    Finding,
    asked_in_vain,
    denied,
    left_out,
    not_narrowed,
    refused_files,
)
from onejob.system.host import HostInstance, host_instance
from onejob.system.instance import Denial, sorted_denials
from onejob.system.qemu import QemuInstance, qemu_instance

Where = Literal["host", "qemu"]
# A workload's time limits are for a real processor; an emulated one takes many times as long.
EMULATION_PATIENCE = 4.0
PartT = TypeVar("PartT", Ready, Stop, Drill, Expect)


@dataclass(frozen=True)
class RehearsalReport:
    """What came of a rehearsal. `ready_seconds`: from the start to ready, None if it never was."""

    name: str
    where: Where
    drills: tuple[DrillResult, ...]
    ready_seconds: float | None
    denials: tuple[Denial, ...]
    findings: tuple[Finding, ...]
    memory_mib: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether there is nothing to find fault with."""
        return not self.findings

    @property
    def requests(self) -> int:
        """Requests known to be answered in all drills together."""
        return sum(drill.requests for drill in self.drills)


def rehearse(
    image: Image, where: Where, progress: Progress, memory_mib: int | None = None
) -> RehearsalReport:
    """Run `image` on this host or in QEMU and put it through its workload's drills.

    What is wrong with the image is in the findings; an exception is about this machine
    (LacksError) or a file that cannot be used (InputError).
    """
    profile = load_profile(image.profile)
    run = _Rehearsal(image, where, profile, embedded_workload(image, profile), progress)
    with tempfile.TemporaryDirectory(prefix="onejob-rehearse-") as folder:
        recording = run.choose_recording(Path(folder))
        try:
            with run.start(memory_mib, recording) as instance:
                run.play(instance)
        except LacksError:
            raise
        except ServiceError as error:
            run.failed(error)
        if recording is not None and recording.exists():
            run.findings += asked_in_vain(recording, profile, image.plan)
            run.findings += refused_files(recording, profile, image.plan)
    return run.report()


def embedded_workload(image: Image, profile: Profile) -> Workload:
    """The workload that `profile`, the image's, was taken with."""
    return parse_toml(profile.workload, Workload, f"workload in {image.profile}")


def load_embedded_workload(image: Image) -> Workload:
    """The same, the profile read first."""
    return embedded_workload(image, load_profile(image.profile))


def patient(workload: Workload) -> Workload:
    """`workload` with every time limit as long as an emulated processor needs."""

    def longer(part: PartT) -> PartT:
        return part.model_copy(update={"within": part.within * EMULATION_PATIENCE})

    drills = [
        longer(drill).model_copy(update={"expect": longer(drill.expect)})
        for drill in workload.drill
    ]
    changes = {"ready": workload.ready and longer(workload.ready), "stop": longer(workload.stop)}
    return workload.model_copy(update={**changes, "drill": tuple(drills)})


@dataclass
class _Rehearsal:
    """One rehearsal while it runs; also the drills' Observer."""

    image: Image
    where: Where
    profile: Profile
    workload: Workload
    progress: Progress
    drills: list[DrillResult] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    denials: tuple[Denial, ...] = ()
    ready_seconds: float | None = None
    memory_mib: int | None = None
    instance: HostInstance | QemuInstance | None = None

    def choose_recording(self, folder: Path) -> Path | None:
        """Where the eBPF probe is to write; None where there can be none, which is noted."""
        if self.where != "host":
            return None
        try:
            check_probe()
        except OnejobError as error:
            self.notes.append(f"file accesses were not watched: {error.what}")
            return None
        return folder / "recording.json"

    @contextmanager
    def start(
        self, memory_mib: int | None, recording: Path | None
    ) -> Iterator[HostInstance | QemuInstance]:
        """The instance, as long as the context lasts."""
        if self.where == "host":
            self.progress.stage(f"rehearsing {self.image.plan.name} on this host")
            shared = self.workload.network == "host"
            with host_instance(self.image, host_network=shared, recording=recording) as host:
                yield host
            return
        self.progress.stage(f"rehearsing {self.image.plan.name} in QEMU")
        self.progress.step("looking for an accelerator that works")
        with qemu_instance(self.image, memory_mib=memory_mib) as guest:
            self.memory_mib = guest.memory_mib
            self.notes.append(f"{guest.accelerator.name}: {guest.accelerator.reason}")
            if guest.accelerator.name == "tcg":
                self.workload = patient(self.workload)
            yield guest

    def play(self, instance: HostInstance | QemuInstance) -> None:
        """Ready, then drill by drill. ServiceError where one fails."""
        self.instance = instance
        try:
            self.progress.step("waiting until it is ready")
            ready = self.workload.readiness()
            if isinstance(instance, QemuInstance) and ready.tcp:
                instance.await_listening(ready.tcp, ready.within)
            self.ready_seconds = wait_ready(instance, self.workload, instance.since)
            run_drills(instance, self.workload, self)
        finally:
            self._collect_denials()

    def drill_begins(self, drill: Drill) -> None:
        """Before the last drill is the last moment to ask process 1."""
        names = [each.name for each in self.workload.drills()]
        self.progress.step(f"drill {drill.name}", names.index(drill.name) / len(names))
        if drill.name == "stop":
            self._collect_denials()

    def drill_ended(self, result: DrillResult) -> None:
        """Keep the result."""
        self.drills.append(result)

    def _collect_denials(self) -> None:
        """The larger count of each: events after the last question tell only of new ones."""
        if self.instance is None:
            return
        kept = {replace(denial, count=0): denial for denial in self.denials}
        for denial in self.instance.denials():
            kind = replace(denial, count=0)
            kept[kind] = max(kept.get(kind, kind), denial, key=lambda each: each.count)
        self.denials = sorted_denials(kept.values())

    def failed(self, error: ServiceError) -> None:
        """Being ready, or a drill, came to nothing."""
        kind = "drill" if self.ready_seconds is not None else "ready"
        remedy = error.hint or "see the refused calls and missing files, if any; else its output"
        self.findings.append(Finding(kind, error.what, remedy))

    def report(self) -> RehearsalReport:
        """Everything that came of it."""
        missing = left_out(self.profile, self.image.plan)
        events = self.instance.control.events("unnarrowed") if self.instance else ()
        return RehearsalReport(
            name=self.image.plan.name,
            where=self.where,
            drills=tuple(self.drills),
            ready_seconds=self.ready_seconds,
            denials=self.denials,
            findings=(
                *denied(self.denials, self.image.plan.argument_checks),
                *not_narrowed(events),
                *missing,
                *self.findings,
            ),
            memory_mib=self.memory_mib,
            notes=tuple(self.notes),
        )
