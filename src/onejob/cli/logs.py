"""``onejob logs``: the last words of an instance, that runs or that has crashed."""

import time
from pathlib import Path
from typing import Annotated

import typer

from onejob.cli.show import out
from onejob.model.errors import InputError
from onejob.report.status import shown
from onejob.system.cores import take_core
from onejob.system.logs import Piece, read_log
from onejob.system.registry import find


def logs(
    subject: Annotated[
        str, typer.Argument(metavar="INSTANCE|DATA", help="A running one, or where its data is.")
    ],
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=0, help="Only the last so many; 0: all.")
    ] = 0,
    times: Annotated[bool, typer.Option("--times", help="Say when, every 4 KB.")] = False,
    core: Annotated[
        int | None, typer.Option("--core", min=1, max=100, help="Copy this core file to --output.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Default: core.N, here.")
    ] = None,
) -> None:
    """Show what the service, its kernel and process 1 printed last.

    The last megabyte of it is kept on the data partition, over crashes and
    power cuts, and read from there. So are core files, of an image that was
    planned with --core-dumps.

    \b
    Examples:
      onejob logs nginx
      onejob logs /srv/nginx-data -n 50
      onejob logs nginx-data.img --times
      onejob logs nginx-data.img --core 1 -o nginx.core
    """
    if core is not None:
        place = output or Path(f"core.{core}")
        size = take_core(_data_of(subject), core, place)
        out.print(f"{place}: {size} bytes, for its owner alone", soft_wrap=True)
        return
    pieces = read_log(_data_of(subject))
    found = _with_times(pieces) if times else b"".join(piece.text for piece in pieces)
    text = found.decode(errors="replace").splitlines()
    for line in text[-lines:]:
        print(shown(line.replace("\t", "    ")))


def _data_of(subject: str) -> Path:
    """Of a path the path; else of the instance of that name."""
    if "/" in subject or Path(subject).exists():
        return Path(subject)
    entry = find(subject)
    if not entry.data:
        raise InputError(f"{subject} keeps no data")
    return Path(entry.data)


def _with_times(pieces: tuple[Piece, ...]) -> bytes:
    """Between the pieces, which begin anywhere in a line, when each began."""
    return b"".join(
        f"[since {_clock(piece.since)}] ".encode() + piece.text + b"\n" for piece in pieces
    )


def _clock(seconds: int) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
    except (OverflowError, ValueError, OSError):
        return f"{seconds} s"
