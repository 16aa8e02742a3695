"""Static completion: what the observed files say about calls and files that no drill brought.

Programs and libraries are read for the system calls in their code; they, scripts, modules and
configuration files also for the names of further files. A file that is found so is described like
the others, with where it was named, and searched in turn, for a few rounds.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import NamedTuple

from onejob.model.profile import FileUse, ReachableCall, Unfollowed
from onejob.profiler.describe import Describer, follow
from onejob.profiler.static.java_archives import java_archives
from onejob.profiler.static.loaded import (
    certificates,
    converters,
    loaded_libraries,
    locales,
    name_services,
    time_zones,
)
from onejob.profiler.static.names import MAX_NAMED, Found, Named, View, is_output
from onejob.profiler.static.node_modules import node_modules
from onejob.profiler.static.perl_modules import perl_modules
from onejob.profiler.static.python_modules import python_modules
from onejob.profiler.static.reach import reachable_calls, summaries, unfollowed_code
from onejob.profiler.static.texts import interpreters, named_in_texts

_ROUNDS = 5
_SEARCHES: tuple[Callable[[View], Iterator[Found]], ...] = (
    loaded_libraries, name_services, time_zones, locales, certificates, converters, interpreters,
    named_in_texts, python_modules, perl_modules, node_modules, java_archives,
)  # fmt: skip


class Completion(NamedTuple):
    """The observed files with those that were named, and what the code can do."""

    files: tuple[FileUse, ...]
    reachable_calls: tuple[ReachableCall, ...]
    unfollowed: tuple[Unfollowed, ...]


def complete(
    observed: Iterable[FileUse], environment: Mapping[str, str], program: str
) -> Completion:
    """Complete what was observed of `program`, which runs with the variables of `environment`.

    The observed files stay as they are.
    """
    files = {file.path: file for file in observed}
    notes: dict[Unfollowed, None] = {}
    for round_ in range(_ROUNDS):
        view = View(files, summaries(files.values()), environment, os.path.realpath(program))
        named, cuts = _search(view)
        new = _described(named, files)
        notes |= dict.fromkeys(cuts)
        if not new:
            break
        files |= new
        if round_ == _ROUNDS - 1:
            why = f"named in round {_ROUNDS} of the search, and not searched itself"
            notes |= dict.fromkeys(Unfollowed(object=path, reason=why) for path in sorted(new))
    objects = summaries(files.values())
    return Completion(
        files=tuple(files[path] for path in sorted(files)),
        reachable_calls=reachable_calls(objects),
        unfollowed=(*unfollowed_code(objects), *notes),
    )


def _search(view: View) -> tuple[dict[str, list[str]], list[Unfollowed]]:
    """Path -> by what it is named, of all searches; and what they left."""
    found: dict[str, list[str]] = {}
    cuts: list[Unfollowed] = []
    for search in _SEARCHES:
        results = search(view)
        for result in islice(results, MAX_NAMED):
            if isinstance(result, Named):
                found.setdefault(result.path, []).append(result.by)
            else:
                cuts.append(result)
        if next(results, None) is not None:
            title = search.__name__.replace("_", " ")
            why = f"more than {MAX_NAMED} {title}: the rest is left"
            cuts.append(Unfollowed(object=view.program, reason=why))
    return found, cuts


def _described(named: Mapping[str, list[str]], known: Mapping[str, FileUse]) -> dict[str, FileUse]:
    """What is new of `named`, the links on the way, what they need, and the folders above."""
    reasons: dict[str, list[str]] = {}
    describer = Describer()
    for path, by in named.items():
        *links, end = follow(path)
        if is_output(end) or not os.path.lexists(end):
            continue
        for step in (*links, end):
            reasons.setdefault(step, []).extend(by)
        if end not in known or any(link not in known for link in links):
            describer.add_needed(path, "static")
    new = {file.path: file for file in describer.complete() if file.path not in known}
    for file in new.values():
        for need in (*file.needed, *([file.interpreter] if file.interpreter else [])):
            for step in follow(need):
                reasons.setdefault(step, []).append(f"needed by {file.path}")
    return {
        path: file.model_copy(
            update={"named_by": tuple(dict.fromkeys(reasons.get(path, ["on the way of others"])))}
        )
        for path, file in new.items()
        if file.kind != "missing"
    }
