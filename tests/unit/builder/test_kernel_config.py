"""Values of kernel options, and the line of make's output that says what went wrong."""

import pytest

from onejob.builder.kernel_config import config_value, is_honoured, options_text
from onejob.builder.kernel_make import failure_line
from onejob.model.plan import KernelOption


def option(name: str, value: str) -> KernelOption:
    return KernelOption(name=name, value=value, reason="a test")


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("y", "y"),
        ("n", "n"),
        ("17", "17"),
        ("-1", "-1"),
        ("0x200000", "0x200000"),
        ("landlock", '"landlock"'),
        ('"landlock"', '"landlock"'),
        ("", '""'),
    ],
)
def test_value_as_the_config_file_writes_it(value: str, written: str) -> None:
    assert config_value(value) == written


@pytest.mark.parametrize(
    ("wanted", "got", "honoured"),
    [
        ("y", {"A": "y"}, True),
        ("y", {}, False),
        ("n", {}, True),
        ("n", {"A": "y"}, False),
        ("15", {"A": "15"}, True),
        ("15", {"A": "16"}, False),
        ("0x200000", {"A": "0x200000"}, True),
        ("2097152", {"A": "0x200000"}, True),
        ("0", {}, False),
        ("landlock", {"A": '"landlock"'}, True),
    ],
)
def test_honoured(wanted: str, got: dict[str, str], honoured: bool) -> None:
    assert is_honoured(option("A", wanted), got) is honoured


def test_options_are_written_sorted_and_once() -> None:
    options = [option("B", "y"), option("A", "n"), option("B", "y")]
    assert options_text(options) == "CONFIG_A=n\nCONFIG_B=y\n"


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        (
            ["  CC x.o", "x.c:1:2: error: no", "make[1]: *** [x.o] Error 1"],
            "x.c:1:2: error: no",
        ),
        (
            ["  CC kernel/error.o", "make: *** No rule to make target 'y'.  Stop."],
            "make: *** No rule to make target 'y'.  Stop.",
        ),
        (
            ["as: x.o: No space left on device", "make[1]: *** [x.o] Error 1"],
            "as: x.o: No space left on device",
        ),
        (["something"], "something"),
        ([], "it printed nothing"),
    ],
)
def test_failure_line(lines: list[str], line: str) -> None:
    assert failure_line(lines) == line
