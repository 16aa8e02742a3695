"""The command line: one verb per file; here alone errors are printed and the program exits."""

import importlib
import os
import signal
import sys
from collections.abc import Callable, Iterator, MutableMapping
from types import FrameType
from typing import Any

import typer
from typer.core import TyperGroup

from onejob import __version__
from onejob.cli.show import err, print_error
from onejob.model.errors import OnejobError

VERBS = (
    "doctor", "profile", "merge", "diff", "survey", "plan", "build", "rehearse", "run", "export",
    "status", "logs", "drift", "explain", "matrix", "files", "dimensions", "shutdown",
    "push", "pull", "install", "upgrade", "bench",
)  # fmt: skip


class _Verbs(MutableMapping[str, Any]):
    """The verbs by name; one is imported when it is asked for, and with it all that it needs."""

    def __init__(self) -> None:
        self._commands: dict[str, Any] = dict.fromkeys(VERBS)

    def __getitem__(self, verb: str) -> Any:
        if self._commands[verb] is None:
            module = importlib.import_module(f"onejob.cli.{verb}")
            alone = typer.Typer(add_completion=False, rich_markup_mode=None)
            alone.command(verb)(getattr(module, verb))
            self._commands[verb] = typer.main.get_command(alone)
        return self._commands[verb]

    def __setitem__(self, verb: str, command: Any) -> None:
        self._commands[verb] = command

    def __delitem__(self, verb: str) -> None:
        del self._commands[verb]

    def __iter__(self) -> Iterator[str]:
        return iter(self._commands)

    def __len__(self) -> int:
        return len(self._commands)


class _Group(TyperGroup):
    """The command line itself."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _Verbs()


app = typer.Typer(
    name="onejob",
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
    help="Turn an unmodified service into an operating system with one job.",
)


class _Stopped(BaseException):
    """SIGINT or SIGTERM. Not a KeyboardInterrupt, which typer would make an exit of its own."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


def _on_stop(number: int, _frame: FrameType | None) -> None:
    """Unwind, so that everything is cleaned up."""
    raise _Stopped(number)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"onejob {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Turn an unmodified service into an operating system with one job.

    \b
    onejob profile --workload services/nginx/workload.toml -o nginx.profile.xml
    onejob build nginx.profile.xml -o nginx.onejob
    onejob rehearse nginx.onejob --on host
    onejob run nginx.onejob --on qemu --publish 8080:80
    """


def main() -> None:
    """Run one verb; the exit status is as docs/exit-codes.md says."""
    sys.exit(run_as_program(app))


def run_as_program(work: Callable[[], object]) -> int:
    """Do `work`; its exit status. The one place where errors are printed.

    Wrong usage is printed by typer itself, which exits with 2.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _on_stop)
    try:
        work()
    except OnejobError as error:
        print_error(error)
        return error.exit_code
    except _Stopped as stopped:
        err.print("onejob: interrupted; everything that was started is stopped")
        return stopped.exit_code
    except BrokenPipeError:
        # The reader of our output left (for example `| head`): nothing to say, nowhere to say it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        print_error(OnejobError(f"the system refused something: {error}"))
        return OnejobError.exit_code
    return 0


if __name__ == "__main__":
    main()
