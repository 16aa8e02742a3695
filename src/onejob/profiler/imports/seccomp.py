"""Seccomp profiles as OCI runtimes and container engines have them: what somebody allowed.

https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md#seccomp
"""

import json
from typing import Any, NamedTuple

from onejob.model.errors import InputError
from onejob.model.syscalls import call_number
from onejob.profiler.imports.tally import Tally

_ACTIONS = {
    "SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_NOTIFY", "SCMP_ACT_TRACE", "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_TRAP",
}  # fmt: skip
_ALLOWING = {"SCMP_ACT_ALLOW", "SCMP_ACT_LOG"}
_X86_64 = {"SCMP_ARCH_X86_64", "amd64"}
_MAX_NAMES = 10_000
OTHER_MACHINE = "calls that x86_64 does not have"


class Rule(NamedTuple):
    """One entry of ``syscalls``."""

    names: tuple[str, ...]
    action: str
    conditional: bool  # on arguments
    applies: bool  # to x86_64 and no special capability


def is_seccomp(head: bytes) -> bool:
    """Whether a file that begins so is such a profile."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    return text.startswith(b"{") and (b'"defaultAction"' in text or b'"syscalls"' in text)


def read_seccomp(data: bytes, name: str, tally: Tally) -> frozenset[str]:
    """The calls that the profile in `data` allows; `tally` learns what is not exact about it."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name}: no JSON: {error}") from error
    if isinstance(document, dict):  # a whole OCI configuration has it further inside
        linux = document.get("linux")
        inner = linux.get("seccomp") if isinstance(linux, dict) else None
        document = inner if isinstance(inner, dict) else document
    if not isinstance(document, dict) or document.get("defaultAction") not in _ACTIONS:
        raise InputError(f"{name}: no seccomp profile: defaultAction is missing or not known")
    if document["defaultAction"] in _ALLOWING:
        raise InputError(
            f"{name}: its defaultAction is {document['defaultAction']}: it allows what it does not"
            " name, and so says nothing of what the service needs",
            "import a profile that names what is allowed",
        )
    rules = [_rule(row, name) for row in _list(document.get("syscalls", []), name, "syscalls")]
    return _allowed(rules, tally)


def _allowed(rules: list[Rule], tally: Tally) -> frozenset[str]:
    allowed: set[str] = set()
    for rule in rules:
        if rule.action not in _ALLOWING:
            continue
        for call in rule.names:
            if not rule.applies:
                tally.miss("calls allowed only elsewhere or with a capability", call)
            elif call_number(call) is None:
                tally.miss(OTHER_MACHINE, call)
            else:
                allowed.add(call)
                if rule.conditional:
                    tally.miss("calls allowed only with certain arguments", call)
    return frozenset(allowed)


def _rule(row: Any, name: str) -> Rule:
    if not isinstance(row, dict):
        raise InputError(f"{name}: an entry of syscalls is no object")
    single = [row["name"]] if "name" in row else []  # of engines before 2016
    names = [*_list(row.get("names") or [], name, "names"), *single]
    if not all(isinstance(text, str) for text in names) or row.get("action") not in _ACTIONS:
        raise InputError(f"{name}: an entry of syscalls has no names, or no known action")
    includes = row.get("includes") or {}
    machines = includes.get("arches") if isinstance(includes, dict) else None
    capabilities = includes.get("caps") if isinstance(includes, dict) else None
    here = not machines or bool(_X86_64 & {str(machine) for machine in machines})
    return Rule(tuple(names), row["action"], bool(row.get("args")), here and not capabilities)


def _list(value: Any, name: str, key: str) -> list[Any]:
    if not isinstance(value, list) or len(value) > _MAX_NAMES:
        raise InputError(f"{name}: {key} is no list, or one of more than {_MAX_NAMES}")
    return value
