"""The plan's grants as process 1 reads them: one Landlock domain for programs that have the same.

Sources: landlock(7), the kernel's include/uapi/linux/landlock.h.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from onejob.model.plan_policy import Grant, Right

# LANDLOCK_ACCESS_FS_*. Not among them: reading, devices (made or controlled), which no plan grants.
RIGHTS: dict[Right, int] = {
    "execute": 1 << 0,
    "write-file": 1 << 1,
    "remove-dir": 1 << 4,
    "remove-file": 1 << 5,
    "make-dir": 1 << 7,
    "make-reg": 1 << 8,
    "make-sock": 1 << 9,
    "make-fifo": 1 << 10,
    "make-sym": 1 << 12,
    "refer": 1 << 13,
    "truncate": 1 << 14,
}


def domains_of(grants: Iterable[Grant], first: str) -> list[dict[str, Any]]:
    """Each domain with its programs and rules: path, and rights as the kernel's bits.

    The domain of program `first`, process 1, is the first.
    """
    rules = defaultdict[str, list[tuple[str, int]]](list)
    for grant in grants:
        rules[grant.program].append((grant.path, sum(RIGHTS[right] for right in grant.rights)))
    programs = defaultdict[tuple[tuple[str, int], ...], list[str]](list)
    for program, found in sorted(rules.items(), key=lambda item: (item[0] != first, item)):
        programs[tuple(sorted(found))].append(program)
    return [{"programs": names, "rules": list(rules)} for rules, names in programs.items()]
