"""What a profile says, indexed for the planner's questions."""

from collections import defaultdict
from collections.abc import Iterable
from typing import TypeVar

from onejob.model.file_uses import joined
from onejob.model.job import RuleName
from onejob.model.noun import Noun
from onejob.model.profile import Argument, CallUse, Profile, StartHow
from onejob.model.tomlfile import parse_toml
from onejob.model.workload import Workload

SOCKET_FAMILIES = {
    1: "AF_UNIX", 2: "AF_INET", 10: "AF_INET6", 16: "AF_NETLINK", 17: "AF_PACKET", 38: "AF_ALG",
    40: "AF_VSOCK", 44: "AF_XDP",
}  # fmt: skip  # include/linux/socket.h

NounT = TypeVar("NounT", bound=Noun)


def in_order(profile: Profile) -> Profile:
    """The same facts in one order, so that a plan does not depend on how they were written down."""
    files = (file.model_copy(update={"uses": _sorted(file.uses)}) for file in profile.files)
    return profile.model_copy(
        update={
            "system_calls": _sorted(profile.system_calls),
            "calls": _sorted(profile.calls),
            "role_calls": _sorted(profile.role_calls),
            "arguments": _sorted(profile.arguments),
            "files": tuple(sorted(files, key=lambda file: file.path)),
            "allocations": _sorted(profile.allocations),
            "accounts": _sorted(profile.accounts),
            "groups": _sorted(profile.groups),
            "starts": _sorted(profile.starts),
            "scheduling": _sorted(profile.scheduling),
            "reachable_calls": _sorted(profile.reachable_calls),
        }
    )


def _sorted(nouns: Iterable[NounT]) -> tuple[NounT, ...]:
    """By their fields, in the order of declaration."""
    return tuple(sorted(nouns, key=lambda noun: tuple(vars(noun).values())))


def rules_of(profile: Profile) -> dict[RuleName, str]:
    """What a job is given by rule, and why; nothing to a service."""
    if not profile.workload:
        return {}
    job = parse_toml(profile.workload, Workload, "workload in the profile").job
    return dict(sorted(job.rules.items())) if job else {}


class Evidence:
    """Questions to a profile; built once, pure."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self._calls: defaultdict[str, list[CallUse]] = defaultdict(list)
        for use in profile.calls:
            self._calls[use.call_name].append(use)
        self._arguments: defaultdict[str, list[Argument]] = defaultdict(list)
        for argument in profile.arguments:
            self._arguments[argument.call_name].append(argument)
        self.rules = rules_of(profile)
        self._granted = {use.name for use in profile.capabilities if use.count > use.refused}

    def call_names(self) -> tuple[str, ...]:
        """Every call that was made."""
        return tuple(sorted(self._calls))

    def call_reason(self, name: str) -> str:
        """Who made the call, how often and in which drills; empty where nobody did or may."""
        uses = self._calls.get(name, [])
        if not uses:
            return ""
        total = sum(use.count for use in uses)
        programs = ", ".join(sorted({use.program for use in uses}))
        if not total:
            return f"allowed by the user for {programs}, and never counted"
        return f"made {total} times by {programs} in {joined(use.drill for use in uses)}"

    def succeeded(self, name: str) -> bool:
        """Whether the call was made and did not always fail."""
        return any(use.count > use.failed for use in self._calls.get(name, []))

    def made(self, *names: str) -> bool:
        """Whether any of the calls was made."""
        return any(name in self._calls for name in names)

    def times(self, *names: str) -> int:
        """How often the calls were made and succeeded, added."""
        return sum(use.count - use.failed for name in names for use in self._calls.get(name, ()))

    def knows_capabilities(self) -> bool:
        """Whether the profile holds each question of the kernel for a capability.

        There are always some where the kernel has the tracepoint (cap_capable, 6.14); a partial
        profile may miss others.
        """
        whole = self.profile.provenance is None or not self.profile.provenance.partial
        return whole and bool(self.profile.capabilities)

    def may_have_granted(self, capability: str) -> bool:
        """Whether the kernel granted it, or nobody knows."""
        return capability in self._granted or not self.knows_capabilities()

    def socket_families(self) -> dict[str, str]:
        """The socket families asked for, and the reason for each."""
        found: dict[str, str] = {}
        for name in ("socket", "socketpair"):
            for argument in self._arguments[name]:
                if not argument.values:
                    continue
                family = SOCKET_FAMILIES.get(argument.values[0], f"AF_{argument.values[0]}")
                if argument.count > argument.failed:
                    found.setdefault(family, f"{name}({family}) by {argument.program}")
        return found

    def start_reason(self, how: StartHow) -> str:
        """Who starts a thread, forks or executes, and in which drills; empty where nobody does."""
        rows = [start for start in self.profile.starts if start.how == how]
        programs = ", ".join(sorted({row.program for row in rows}))
        return f"{how} started by {programs} in {joined(r.drill for r in rows)}" if rows else ""

    def facts(self, name: str) -> list[Argument]:
        """The argument facts of one call."""
        return self._arguments.get(name, [])

    def values(self, names: Iterable[str], position: int) -> set[int]:
        """The values at `position` of successful calls of `names`."""
        return {
            argument.values[position]
            for name in names
            for argument in self._arguments[name]
            if len(argument.values) > position and argument.count > argument.failed
        }

    def profile_ports(self) -> set[int]:
        """The ports that the service bound (bind facts are family, port)."""
        return {port for port in self.values(("bind",), 1) if port}

    def paths(self) -> tuple[str, ...]:
        """Every path that was asked for."""
        return tuple(file.path for file in self.profile.files)

    def paths_read(self) -> tuple[str, ...]:
        """Every path that was read, and not only looked for."""
        files = self.profile.files
        return tuple(file.path for file in files if any(use.how == "read" for use in file.uses))
