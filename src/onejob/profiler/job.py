"""A job under the probe: each of its drills is a run of its own, from beginning to end.

What the runs have shown becomes one profile, as profiles are merged. Memory is not recorded: what a
program has allocated when it ends says little of one that is run once for each boot.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from onejob.base.progress import Progress
from onejob.drive.probe import Backend, Probe
from onejob.model.errors import ServiceError
from onejob.model.job import Job, JobRun
from onejob.model.paths import is_below
from onejob.model.profile import Profile
from onejob.model.profile_merge import Labelled, merge_profiles
from onejob.model.workload import Workload
from onejob.profiler.assemble import assemble
from onejob.profiler.observe import (
    Watched,
    other_identity,
    sandbox_words,
    service_environment,
)
from onejob.profiler.place import ProfiledService
from onejob.profiler.recording import read_recording
from onejob.profiler.resident import repeated
from onejob.profiler.sandbox_folder import run_folder
from onejob.profiler.subject import Subject
from onejob.profiler.words import words_to

UNRECORDED = "it is a job, whose memory nobody records"
_POLL_S = 0.05
_SHOWN = 2000


def profile_job(
    workload: Workload, job: Job, subject: Subject, progress: Progress, backend: Backend
) -> Profile:
    """Run `job` of `workload` once for each of its drills, and describe what it used.

    ServiceError where a run ends otherwise than its drill says.
    """
    profiles = []
    for run in job.drill:
        progress.stage(f"{workload.name}: {run.name}")
        with run_folder() as folder:
            watched = _watch(workload, run, subject.program, folder, backend)
        progress.step("describing what it used")
        about = replace(subject, unrecorded=UNRECORDED)
        taken = watched.looked.added_to(assemble(about, watched.recording, ()))
        profiles.append(Labelled(run.name, _without(taken, job.apart)))
    return merge_profiles(profiles)


def _watch(
    workload: Workload, run: JobRun, program: str, folder: Path, backend: Backend
) -> Watched:
    log, typed = folder / "output", folder / "keep" / "input"
    typed.write_text(run.input)
    with words_to(log, other_identity(workload)) as words:
        probe = Probe(
            [program, *workload.command[1:], *run.arguments],
            folder / "keep" / "recording.json",
            output=words.descriptor,
            first_drill=run.name,
            prefix=[*sandbox_words(workload, folder), "--"],
            environment={**service_environment(workload), **run.environment},
            identity=other_identity(workload),
            backend=backend,
            standard_input=typed,
        )
        with probe:
            job = ProfiledService(
                probe.pid, None, probe.exited, lambda _drill: None, log, probe.processor
            )
            with repeated(job.note_memory):
                _await_end(job, workload.name, run)
            recording = read_recording(probe.finish())
    return Watched(recording, job.looks.looked(), "")


def _await_end(job: ProfiledService, name: str, run: JobRun) -> None:
    deadline = time.monotonic() + run.within
    while (ended := job.exited()) is None:
        if time.monotonic() > deadline:
            raise _failed(job, name, run, f"it still runs after {run.within:g} s")
        time.sleep(_POLL_S)
    if ended.status != run.status:
        raise _failed(job, name, run, f"expected exit status {run.status}, it ended with {ended}")
    said = job.output()
    for text in run.says:
        if text not in said:
            raise _failed(job, name, run, f"it did not say {text!r}")


def _failed(job: ProfiledService, name: str, run: JobRun, what: str) -> ServiceError:
    return ServiceError(f"job {name}, drill {run.name}: {what}\n{job.output()[-_SHOWN:]}")


def _without(profile: Profile, folders: Sequence[str]) -> Profile:
    """`profile` without what it worked on."""
    kept = [file for file in profile.files if not any(is_below(file.path, f) for f in folders)]
    return profile.model_copy(update={"files": tuple(kept)})
