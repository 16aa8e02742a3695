"""What a person sees: progress, tables, errors. Colours only on a terminal."""

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from onejob.model.errors import OnejobError

_BEGUN = time.monotonic()
_PLAIN_STEP_S = 5.0  # without a terminal, a line at most this often

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


class LiveProgress:
    """Progress on a terminal: one line for each stage, the running one with bar and step."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._task: TaskID | None = None

    def stage(self, text: str) -> None:
        """Finish the stage before and show the new one."""
        self.finish()
        self._task = self._bars.add_task(escape(text), total=None, step="")

    def step(self, text: str, fraction: float | None = None) -> None:
        """Show what the stage does now."""
        if self._task is not None:
            total = None if fraction is None else 1.0
            self._bars.update(self._task, step=escape(text), total=total, completed=fraction or 0)

    def note(self, text: str) -> None:
        """Print it above the bars, where it stays."""
        self._bars.console.print(f"  {escape(text)}", soft_wrap=True)

    def finish(self) -> None:
        """The running stage is done."""
        if self._task is not None:
            self._bars.update(self._task, total=1.0, completed=1.0, step="")
            self._bars.stop_task(self._task)
        self._task = None


class PlainProgress:
    """Progress without a terminal: a line for each stage, and for long steps every few seconds."""

    def __init__(self) -> None:
        self._last = 0.0

    def stage(self, text: str) -> None:
        """Print the stage with the seconds since the beginning."""
        self._print(text)

    def step(self, text: str, fraction: float | None = None) -> None:
        """Print the step if nothing was printed for a while."""
        if time.monotonic() - self._last >= _PLAIN_STEP_S:
            share = "" if fraction is None else f" ({fraction:.0%})"
            self._print(f"  {text}{share}")

    def note(self, text: str) -> None:
        """Print it."""
        self._print(f"  {text}")

    def _print(self, text: str) -> None:
        self._last = time.monotonic()
        seconds = self._last - _BEGUN
        print(f"[{seconds:6.1f} s] {text}", file=sys.stderr, flush=True)


@contextmanager
def progress() -> Iterator[LiveProgress | PlainProgress]:
    """Progress on standard error, as fits what it is connected to."""
    if not err.is_terminal:
        yield PlainProgress()
        return
    columns = (
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description}"),
        BarColumn(bar_width=16),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.fields[step]}"),
    )
    with Progress(*columns, console=err) as bars:
        live = LiveProgress(bars)
        yield live
        live.finish()


def print_table(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table on standard output; every cell is shown as it is."""
    table = Table(title=escape(title) if title else None, title_justify="left")
    for head in heads:
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    out.print(table)


def print_error(error: OnejobError) -> None:
    """What failed, and what to do."""
    err.print(f"[bold red]onejob: {escape(error.what)}", soft_wrap=True)
    if error.hint:
        err.print(f"[yellow]  → {escape(error.hint)}", soft_wrap=True)


def megabytes(size: int) -> str:
    """A size in bytes as people read it (1 MB is 1,000,000 bytes)."""
    return f"{size / 1e6:.2f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"
