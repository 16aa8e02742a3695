"""``make gallery``: rehearses all images of the gallery, and makes their table anew.

With a folder: images that lie in it are taken, and those that are made are left there.
"""

import sys
from pathlib import Path

from onejob.base.files import write_atomically
from onejob.bench.gallery.measure import Rehearsed, Row, rehearse_gallery
from onejob.bench.tables import replace_table
from onejob.cli.main import run_as_program
from onejob.cli.show import out, print_table, progress

COMMAND = "make gallery"
HEADS = (
    "service", "calls", "files", "kernel and root", "memory", "on this host", "in QEMU", "denials",
)  # fmt: skip
_PAGE = Path(__file__).parents[4] / "SPECIFICATION.md"


def show_gallery(page: Path, folder: Path) -> None:
    """Print the table, and put it into `page` between its marks."""
    folder.mkdir(parents=True, exist_ok=True)
    with progress() as shown:
        rows = [cells_of(row) for row in rehearse_gallery(folder, shown)]
    print_table("", HEADS, rows)
    write_atomically(page, replace_table(page.read_text(), COMMAND, HEADS, rows).encode())
    out.print(f"written to {page}")


def cells_of(row: Row) -> tuple[str, ...]:
    """One line of the table, under HEADS."""
    return (
        row.service, str(row.calls), str(row.files), f"{row.bytes / 1e6:.2f} MB",
        f"{row.memory_mib} MiB", _words(row.host), _words(row.guest),
        str(row.host.denials + row.guest.denials),
    )  # fmt: skip


def _words(rehearsed: Rehearsed) -> str:
    if rehearsed.found:
        return f"does not pass: {rehearsed.found}".replace("|", "/")
    return f"passes, {rehearsed.requests:,} requests" if rehearsed.requests else "passes"


if __name__ == "__main__":
    _, *_folder = sys.argv
    sys.exit(run_as_program(lambda: show_gallery(_PAGE, Path(*_folder or ("build/gallery",)))))
