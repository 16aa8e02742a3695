"""Plain questions on a console: numbered choices and defaults, no colours, any terminal will do."""

from collections.abc import Sequence
from typing import TextIO

from onejob.model.errors import InputError

_YES, _NO = {"y", "yes"}, {"n", "no"}


class Screen:
    """Asks on `output`, and reads answers from `input`, line by line."""

    def __init__(self, input: TextIO, output: TextIO) -> None:
        self._input, self._output = input, output

    def say(self, text: str = "") -> None:
        """A line or more."""
        self._output.write(text + "\n")
        self._output.flush()

    def ask(self, question: str, default: str = "") -> str:
        """A line of text; the default where nothing is typed. InputError where nobody is there."""
        shown = f" [{default}]" if default else ""
        self._output.write(f"{question}{shown}: ")
        self._output.flush()
        line = self._input.readline()
        if not line:
            raise InputError(
                "the console was closed before all was answered", "nothing was written"
            )
        return line.strip() or default

    def choose(self, title: str, choices: Sequence[str], default: int | None = None) -> int:
        """The index of one of `choices`, asked for until it is one."""
        self.say(title)
        for number, choice in enumerate(choices, start=1):
            self.say(f"  {number}) {choice}")
        shown = "" if default is None else str(default + 1)
        while True:
            answer = self.ask(f"Number, 1 to {len(choices)}", shown)
            if answer.isdecimal() and 1 <= int(answer) <= len(choices):
                return int(answer) - 1
            self.say("That is none of the numbers.")

    def confirm(self, question: str, *, default: bool | None = None) -> bool:
        """Yes or no; without a default, one of them has to be typed as a whole word."""
        shown = "" if default is None else "yes" if default else "no"
        while True:
            answer = self.ask(f"{question} (yes or no)", shown).lower()
            if default is None and answer in ("yes", "no"):
                return answer == "yes"
            if default is not None and answer in _YES | _NO:
                return answer in _YES
            self.say("Please type yes or no.")
