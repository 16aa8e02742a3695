"""Facts that are counted as they come, up to a number of them and of their characters."""

from collections import Counter
from collections.abc import ItemsView
from typing import Generic, TypeVar

from onejob.profiler.imports.tally import MAX_DISTINCT, Tally

MAX_CHARACTERS = 2**26  # of all texts of one kind of fact
KeyT = TypeVar("KeyT")


class Rows(Generic[KeyT]):
    """How often each fact came; what is too much counts as lost in a tally."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._counts: Counter[KeyT] = Counter()
        self._characters = 0

    def add(self, key: KeyT, characters: int, count: int = 1) -> bool:
        """Whether the fact, whose texts have so many characters, is kept."""
        if key not in self._counts:
            self._characters += characters
            if len(self._counts) >= MAX_DISTINCT or self._characters > MAX_CHARACTERS:
                self._tally.lose(f"facts beyond {MAX_DISTINCT} of a kind")
                return False
        self._counts[key] += count
        return True

    def __contains__(self, key: KeyT) -> bool:
        return key in self._counts

    def __len__(self) -> int:
        return len(self._counts)

    def items(self) -> ItemsView[KeyT, int]:
        """The facts with how often each came."""
        return self._counts.items()
