"""A Job: a workload that ends. It is no server: it is done when it exits, and its drills are runs.

Part of ``workload.toml`` (docs/workload.md, "Jobs").
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from onejob.model.noun import Noun

# What no profile can show, as it is another one on each machine: granted by rule, with the reason.
RuleName = Literal["console-input", "block-devices", "media", "network"]
After = Literal["reboot", "power-off"]
Text = Annotated[str, Field(pattern=r"^[^\x00]*$")]
Path = Annotated[str, Field(pattern=r"^/[^\x00]*[^/\x00]$")]


class JobRun(Noun):
    """A drill of a job: one run from beginning to end.

    `arguments` come after those of the command, `environment` on top of the workload's; `input` is
    what it reads. It must end with `status`, and have said what is in `says`.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
    arguments: tuple[Text, ...] = ()
    environment: dict[str, Text] = Field(default_factory=dict)
    input: Text = ""
    status: Annotated[int, Field(ge=0, le=255)] = 0
    says: tuple[Text, ...] = ()
    within: Annotated[float, Field(gt=0, le=3600)] = 120.0


class Job(Noun):
    """What the machine does when the job ended well, what it is given by rule, and its drills.

    `apart` are folders of what it works on: nothing in them becomes part of its image.
    """

    after: After = "reboot"
    rules: dict[RuleName, Annotated[str, Field(min_length=3)]] = Field(default_factory=dict)
    apart: tuple[Path, ...] = ()
    drill: Annotated[tuple[JobRun, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [run.name for run in self.drill]
        if len(set(names)) != len(names):
            raise ValueError("two drills of the job have the same name")
        return self


class JobDecision(Noun):
    """What the machine does when the job has ended well, and whether it reads what is typed."""

    after: After
    input: bool = False
    reason: str
    input_reason: str = ""
