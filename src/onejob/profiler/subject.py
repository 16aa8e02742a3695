"""What a profile is of, apart from what was seen of it: with a workload file, or without one."""

from dataclasses import dataclass, field
from typing import Self

from onejob.base.accounts import group_of, identity_of
from onejob.model.workload import Workload


@dataclass(frozen=True)
class Subject:
    """A service, its main program by path, and what its profile must hold though nobody saw it.

    `workload` is the text of the workload file, empty where the service was watched without one;
    `users` and `groups` are ids that the profile names in any case. `partial` and `sources` are
    those of onejob.model.profile.Provenance. `unrecorded`: why nobody recorded memory, if so.
    """

    name: str
    program: str
    workload: str = ""
    include: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    users: frozenset[int] = frozenset()
    groups: frozenset[int] = frozenset()
    partial: str = ""
    unrecorded: str = ""
    sources: tuple[str, ...] = ()

    @classmethod
    def of_workload(cls, workload: Workload, text: str, program: str) -> Self:
        """The service of `workload`, whose file is `text`; InputError for an unknown account."""
        owners = {workload.user, *(folder.user for folder in workload.folders)}
        return cls(
            name=workload.name,
            program=program,
            workload=text,
            include=workload.include,
            packages=workload.packages,
            environment=dict(workload.environment),
            users=frozenset(identity_of(user).uid for user in owners),
            groups=frozenset(group_of(folder.group) for folder in workload.folders),
        )
