"""How long work tells what it is doing: stages, and steps within the current stage."""

from typing import Protocol


class Progress(Protocol):
    """Whoever watches; the command line shows it, tests and scripts need not."""

    def stage(self, text: str) -> None:
        """A new stage begins; the one before it is done."""

    def step(self, text: str, fraction: float | None = None) -> None:
        """What the stage does now; `fraction` of the stage that is done (0 to 1), where known."""

    def note(self, text: str) -> None:
        """Something that was found out, and that is worth to stay on the screen."""


class Quiet:
    """A Progress that nobody watches."""

    def stage(self, text: str) -> None:
        """Say nothing."""

    def step(self, text: str, fraction: float | None = None) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""
