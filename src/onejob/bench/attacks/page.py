"""``make attacks``: tries every attack in every place, and writes docs/attacks.md.

With ``--without-qemu``, the places that need no kernel to be built.
"""

import sys
from pathlib import Path

from onejob.base.files import write_atomically
from onejob.bench.attacks.measure import Row, try_all
from onejob.bench.tables import replace_table
from onejob.cli.main import run_as_program
from onejob.cli.show import out, print_table, progress

HEADS = ("attack", "it succeeded where", "stock", "image, host", "image, QEMU", "stopped by")
_PAGE = Path(__file__).parents[4] / "docs" / "attacks.md"


def show_attacks(page: Path, *, in_qemu: bool) -> None:
    """Print the table, and put it into `page` between its marks."""
    with progress() as shown:
        rows = try_all(shown, in_qemu=in_qemu)
    print_table("", HEADS[:1] + HEADS[2:5], [_cells(row)[:1] + _cells(row)[2:5] for row in rows])
    write_atomically(page, with_table(page.read_text(), rows).encode())
    out.print(f"written to {page}")


def with_table(text: str, rows: tuple[Row, ...]) -> str:
    """`text` with `rows` in the place of the table that it has."""
    return replace_table(text, "make attacks", HEADS, map(_cells, rows))


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.name,
        row.effect,
        _word(row.stock),
        _word(row.host),
        _word(row.guest),
        "" if row.host or row.guest else row.stopped_by,
    )


def _word(succeeded: bool | None) -> str:
    if succeeded is None:
        return "not tried"
    return "succeeds" if succeeded else "fails"


if __name__ == "__main__":
    sys.exit(run_as_program(lambda: show_attacks(_PAGE, in_qemu="--without-qemu" not in sys.argv)))
