"""How a file was used, in words: who changed it, how often, in which drills."""

from collections import defaultdict
from collections.abc import Iterable

from onejob.model.profile import FileUse, How, Use

# Ways of use after which the file, or its folder, is not what it was.
WRITES: frozenset[How] = frozenset(
    {"written", "appended", "created", "renamed-from", "renamed-to", "removed", "changed", "bound"}
)
_NUMBER_OF_WORDS = 4


def is_written(file: FileUse) -> bool:
    """Whether anybody changed the file or its entry."""
    return any(use.how in WRITES for use in file.uses)


def is_code(file: FileUse) -> bool:
    """Whether the file was executed, or mapped as libraries are."""
    return any(use.how in ("executed", "mapped") for use in file.uses)


def write_reason(file: FileUse) -> str:
    """The first of the reasons that say how the file was changed."""
    changes = file.model_copy(update={"uses": tuple(u for u in file.uses if u.how in WRITES)})
    return file_reasons(changes)[0]


def file_reasons(file: FileUse) -> tuple[str, ...]:
    """Each way of use with program, drills and count."""
    groups: defaultdict[tuple[str, str], list[Use]] = defaultdict(list)
    for use in file.uses:
        groups[use.how, use.program].append(use)
    return tuple(
        f"{how} by {program} in {joined(use.drill for use in uses)} ({_times(uses)})"
        for (how, program), uses in sorted(groups.items())
    )


def _times(uses: list[Use]) -> str:
    total = sum(use.count for use in uses)
    return "once" if total == 1 else f"{total} times"


def joined(drills: Iterable[str]) -> str:
    """The names, each once, the first few of them."""
    names = list(dict.fromkeys(drills))
    shown = ", ".join(names[:_NUMBER_OF_WORDS])
    return f"{shown} and {len(names) - _NUMBER_OF_WORDS} more" if len(names) > 4 else shown
