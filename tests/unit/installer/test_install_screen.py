"""The text screen: numbered choices with defaults; nothing is done before a whole yes."""

import hashlib
import io
from pathlib import Path

import pytest

from onejob.installer.questions import ask_rest, ask_trust
from onejob.installer.screen import Screen
from onejob.model.answers import Answers, DiskAnswer
from onejob.model.errors import InputError
from onejob.model.hardware import Disk


def screen(typed: str) -> tuple[Screen, io.StringIO]:
    shown = io.StringIO()
    return Screen(io.StringIO(typed), shown), shown


def test_a_number_is_chosen_and_nonsense_is_asked_again() -> None:
    asked, shown = screen("x\n0\n3\n2\n")
    assert asked.choose("Which?", ["one", "two"]) == 1
    assert shown.getvalue().count("That is none of the numbers.") == 3
    assert "  2) two\n" in shown.getvalue()


def test_an_empty_line_takes_the_default() -> None:
    assert screen("\n")[0].choose("Which?", ["one", "two"], 1) == 1
    assert screen("\n")[0].ask("Address", "dhcp") == "dhcp"
    assert screen("\n")[0].confirm("Go on?", default=True)


@pytest.mark.parametrize(("typed", "answer"), [("y\n\nyes\n", True), ("Y\nNO\n", False)])
def test_what_cannot_be_undone_takes_a_whole_word(typed: str, answer: bool) -> None:
    asked, shown = screen(typed)
    assert asked.confirm("Erase it?") is answer
    assert "Please type yes or no." in shown.getvalue()


def test_a_console_that_is_closed_confirms_nothing() -> None:
    with pytest.raises(InputError, match="console was closed"):
        screen("")[0].confirm("Go on?", default=True)


def test_it_is_plain_text() -> None:
    asked, shown = screen("1\n")
    asked.choose("Which?", ["[bold]one"])
    assert shown.getvalue() == "Which?\n  1) [bold]one\nNumber, 1 to 1: "


def test_what_is_open_is_asked_in_turn() -> None:
    """Of disks that no machine has: nothing could be written to them."""
    disks = tuple(Disk(name=f"no-such-{n}", size_bytes=n * 10**9) for n in (1, 2))
    asked, shown = screen("2\n2\n192.0.2.7\n")
    with pytest.raises(InputError, match="disk /dev/no-such-2: No such file"):
        ask_rest(Answers(), lambda: ["mail", "web"], disks, asked)
    assert "Which service?\n  1) mail\n  2) web\nNumber, 1 to 2 [1]: " in shown.getvalue()
    assert "  2) /dev/no-such-2: 2.0 GB; disk /dev/no-such-2: No such file" in shown.getvalue()
    assert shown.getvalue().endswith("(the kernel's ip=).\nAddress [dhcp]: ")


def test_nothing_is_asked_where_all_is_answered() -> None:
    answers = Answers(service="web", disk=DiskAnswer(serial="S", erase=True))
    asked, shown = screen("")
    assert ask_rest(answers, list, (), asked) == answers
    assert shown.getvalue() == ""


def test_a_kit_is_trusted_by_a_whole_yes(tmp_path: Path) -> None:
    root = tmp_path / "root.json"
    root.write_text("{}")
    asked, shown = screen("yes\n")
    assert ask_trust(root, asked) == str(root)
    assert hashlib.sha256(b"{}").hexdigest() in shown.getvalue()
    with pytest.raises(InputError, match="the kit is not trusted"):
        ask_trust(root, screen("no\n")[0])
