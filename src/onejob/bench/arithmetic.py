"""Side-by-side measuring: who goes when, and what is made of the figures."""

import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple


class Spread(NamedTuple):
    """The middle and the ends of some figures."""

    median: float
    least: float
    most: float


def spread(values: Sequence[float]) -> Spread:
    """Median, least and most of at least one value."""
    return Spread(statistics.median(values), min(values), max(values))


def ratios(values: Sequence[float], bases: Sequence[float]) -> list[float]:
    """Each value by the base that was measured beside it."""
    return [value / base for value, base in zip(values, bases, strict=True)]


def take_turns(names: Sequence[str], rounds: int) -> list[str]:
    """Each name once a round; every round another begins, so that drift hits all alike."""
    turns: list[str] = []
    for number in range(rounds):
        first = number % len(names)
        turns += [*names[first:], *names[:first]]
    return turns


def alternate(counts: dict[str, int]) -> list[str]:
    """Each name as often as `counts` says, mixed as evenly as they go."""
    marks = [
        ((number + 0.5) / count, order, name)
        for order, (name, count) in enumerate(counts.items())
        for number in range(count)
    ]
    return [name for _, _, name in sorted(marks)]


def find_least(least: int, most: int, step: int, passes: Callable[[int], bool]) -> int | None:
    """The least of ``least, least + step, .. most`` that passes, by bisection; None: not even most.

    Takes it that whatever is more than something that passes does pass.
    """
    candidates = range(least, most + 1, step)
    low, high = 0, len(candidates)  # all below low fail, high and all above pass
    if not passes(candidates[-1]):
        return None
    high -= 1
    while low < high:
        middle = (low + high) // 2
        if passes(candidates[middle]):
            high = middle
        else:
            low = middle + 1
    return candidates[high]
