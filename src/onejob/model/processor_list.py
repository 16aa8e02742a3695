"""Sets of processors in the kernel's list format, ``0-3,7`` (cpuset(7))."""

from collections.abc import Iterable

_MOST = 8192  # NR_CPUS of the largest kernels


def as_list(numbers: Iterable[int]) -> str:
    """``0-3,7`` for 0, 1, 2, 3 and 7."""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in found)


def parse_list(text: str) -> set[int]:
    """The numbers of ``0-3,7``; what is no number is left out."""
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        last = last if dash else first
        if first.isdecimal() and last.isdecimal():
            found |= set(range(int(first), min(int(last), _MOST) + 1))
    return found
