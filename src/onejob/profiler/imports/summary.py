"""The table that strace -c and -C write: calls, how often, how often they failed."""

import re

from onejob.profiler.imports.tally import UNKNOWN_PROGRAM, Tally

_HEAD = re.compile(r"% time +\w")
_RULE = re.compile(r"-[- ]*")
_NUMBER = re.compile(r"\d{1,14}")
_NEVER_RETURN = "strace -c does not count calls that never return, such as exit_group"
_CALL = re.compile(r"\w{1,64}")


class StraceSummary:
    """Reads such tables, which are of all processes together."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._heads: list[str] = []
        self._ends: list[int] = []  # where the columns end
        self._open = False
        self._rows: list[tuple[str, int, int]] = []

    def line(self, text: str) -> bool:
        """Whether the line belongs to such a table."""
        if _HEAD.match(text):
            self._heads = text.replace("% time", "time").split()
            self._open, self._ends = True, []
            return True
        if not self._open:
            return False
        if not self._ends and _RULE.fullmatch(text):
            self._ends = [column.end() for column in re.finditer("-+", text)]
            return len(self._ends) == len(self._heads)
        if _RULE.fullmatch(text):
            return True
        if text.endswith(" total"):
            self._open = False
            return True
        return self._row(text)

    def _row(self, text: str) -> bool:
        begins = [0, *self._ends]
        ends = [*self._ends[:-1], len(text)]
        cells = {
            head: text[begin:end].strip()
            for head, begin, end in zip(self._heads, begins, ends, strict=False)
        }
        name, calls, errors = (cells.get(head, "") for head in ("syscall", "calls", "errors"))
        if not _CALL.fullmatch(name) or not _NUMBER.fullmatch(calls):
            return False
        failed = int(errors) if _NUMBER.fullmatch(errors) else 0
        self._rows.append((name, int(calls), min(failed, int(calls))))
        return True

    def end(self, *, used: bool) -> None:
        """Give the counts to the tally where they are `used`: not where the calls themselves stood
        in the log, too (strace -C)."""
        if not used or not self._rows:
            return
        self._tally.notes.append(_NEVER_RETURN)
        for name, calls, failed in self._rows:
            self._tally.call(UNKNOWN_PROGRAM, name, 0, calls, failed)
