"""What others may ask a running instance, and how a bad question is answered."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from onejob.model.errors import ServiceError
from onejob.system.asked import LONGEST_QUESTION, MAY_ADMINISTER, answer, answering, ask
from onejob.system.serving import Place


def refuse(do: str, **fields: Any) -> Any:
    raise AssertionError(f"{do} reached process 1")


@pytest.mark.parametrize(
    "do",
    ["stop", "signal", "rename", "remove", "read", "contains", "list", "exists", "readlink",
     "denials", "processes", "shell", ""],
)  # fmt: skip
def test_nothing_but_what_may_be_asked_reaches_process_1(do: str) -> None:
    assert "it is not allowed" in answer(json.dumps({"do": do}).encode(), refuse)["error"]


@pytest.mark.parametrize(
    "line",
    [b"", b"\n", b"nonsense", b"[]", b"{}", b'{"do": 1}', b"\xff\xfe", b"[" * 4000,
     b'{"do": "observations"}' + b" " * LONGEST_QUESTION],
)  # fmt: skip
def test_a_line_that_is_no_question_is_answered(line: bytes) -> None:
    assert answer(line, refuse)["error"].startswith("not a question")


def test_more_than_the_question_is_refused() -> None:
    line = json.dumps({"do": "observations", "path": "/etc/shadow"}).encode()
    assert "observations with path: it is not allowed" in answer(line, refuse)["error"]


def test_an_answer_comes_back_and_an_error_as_such(tmp_path: Path) -> None:
    def reply(do: str) -> Any:
        if tmp_path.joinpath("gone").exists():
            raise ServiceError("control: process 1 is gone")
        return {"asked": do}

    with answering(Place(tmp_path / "socket"), reply):
        assert (tmp_path / "socket").stat().st_mode & 0o777 == 0o600
        assert ask(Place(tmp_path / "socket"), "observations") == {"asked": "observations"}
        with pytest.raises(ServiceError, match="it is not allowed"):
            ask(Place(tmp_path / "socket"), "shell")
        (tmp_path / "gone").touch()
        with pytest.raises(ServiceError, match="process 1 is gone"):
            ask(Place(tmp_path / "socket"), "observations")
    with pytest.raises(ServiceError, match="does not answer"):
        ask(Place(tmp_path / "socket"), "observations")


def test_who_hangs_up_or_says_nothing_disturbs_nobody(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with answering(Place(path), lambda do: do), socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(path))
        for _ in range(5):
            with socket.socket(socket.AF_UNIX) as hasty:
                hasty.connect(str(path))
                hasty.sendall(b'{"do": "observations"}\n')
        assert ask(Place(path), "observations") == "observations"


def test_the_administrator_has_no_more_than_a_challenge_and_a_signature() -> None:
    def passed(do: str, **fields: str) -> str:
        return f"{do} {fields.get('text', '')}"

    def said(**question: object) -> str:
        found = answer(json.dumps(question).encode(), passed, MAY_ADMINISTER)
        return str(found.get("ok") or found["error"])

    assert said(do="challenge") == "challenge "
    assert said(do="shutdown", text="ab") == "shutdown ab"
    for question in (
        {"do": "observations"}, {"do": "stop"}, {"do": "shutdown", "signal": "9"},
        {"do": "shutdown", "text": 7}, {"do": "shutdown", "text": ["a"]},
    ):  # fmt: skip
        assert "it is not allowed" in said(**question)
