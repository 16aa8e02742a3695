"""The command line: help that fits, errors as one message, explain's answers, hardware by name."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import small_world
from onejob import __version__
from onejob.cli.main import VERBS, app, run_as_program
from onejob.cli.plan import find_hardware
from onejob.cli.show import megabytes, print_error
from onejob.model.errors import InputError, OnejobError
from onejob.model.jsonfile import to_json
from onejob.model.profile_xml import load_profile, write_profile
from onejob.planner.plan import make_plan

Onejob = Callable[..., subprocess.CompletedProcess[str]]


def inside(*words: str) -> Any:
    """The command line in this process, which is much quicker than a process of its own."""
    return CliRunner().invoke(app, words, prog_name="onejob")


@pytest.mark.parametrize("verb", VERBS)
def test_help_fits_and_shows_an_example(verb: str) -> None:
    done = inside(verb, "--help")
    assert done.exit_code == 0
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert re.search(rf"Examples?:\n +onejob {verb}\b", done.stdout)
    assert "\b" not in done.stdout


def test_help_without_a_verb() -> None:
    done = inside("-h")
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert all(f"  {verb} " in done.stdout for verb in VERBS)


def test_version(onejob: Onejob) -> None:
    assert onejob("--version").stdout == f"onejob {__version__}\n"


@pytest.mark.parametrize(
    "words", [["no-such-verb"], ["plan"], ["plan", "a", "b"], ["profile", "--colour"], ["profile"]]
)
def test_wrong_usage_is_status_2(words: list[str]) -> None:
    done = inside(*words)
    assert done.exit_code == 2
    assert done.stderr.strip()


def test_wrong_usage_is_one_message(onejob: Onejob) -> None:
    done = onejob("plan")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "PROFILE" in done.stderr


def test_no_words_at_all_show_the_help() -> None:
    done = inside()
    assert done.exit_code == 2
    assert "Usage: " in done.stdout + done.stderr


IMPORTED = """
import sys
from onejob.cli.main import app
try:
    app(sys.argv[1:])
except SystemExit:
    pass
rooms = [name for name in sys.modules if name.startswith("onejob.")]
print("\\n" + " ".join(sorted(rooms)))
"""


@pytest.mark.parametrize(
    ("words", "room", "others"),
    [
        (["--version"], "onejob.cli.main", ("onejob.model.profile", "onejob.planner")),
        (["merge", "--help"], "onejob.model.profile_merge", ("onejob.planner", "onejob.builder")),
        (["plan", "--help"], "onejob.planner.plan", ("onejob.profiler", "onejob.builder")),
        (["no-such"], "onejob.cli.main", ("onejob.cli.plan", "onejob.model.profile")),
    ],
)
def test_only_the_verb_that_is_asked_for_is_imported(
    words: list[str], room: str, others: tuple[str, ...]
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, *words],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    imported = done.stdout.splitlines()[-1].split()
    assert room in imported
    assert not [name for name in imported if name.startswith(others)]
    verbs = {name.removeprefix("onejob.cli.") for name in imported} & set(VERBS)
    assert verbs == set(words) & set(VERBS)


def test_a_verb_that_is_nearly_one_is_named() -> None:
    done = inside("merg")
    assert done.exit_code == 2
    assert "No such command 'merg'" in done.stderr and "'merge'" in done.stderr


# --- errors --------------------------------------------------------------------------------------


def test_an_error_is_one_message_with_its_hint(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(OnejobError("[red] is [no] colour: " + "x" * 200, "run [this]"))
    assert capsys.readouterr().err == (
        "onejob: [red] is [no] colour: " + "x" * 200 + "\n  → run [this]\n"
    )


@pytest.mark.parametrize("kind", [OnejobError, *OnejobError.__subclasses__()])
def test_each_kind_of_error_has_its_status(
    kind: type[OnejobError], capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise kind("it failed")

    old = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    try:
        assert run_as_program(fail) == kind.exit_code
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM), old, strict=True):
            signal.signal(number, handler)
    assert capsys.readouterr().err == "onejob: it failed\n"


def test_sizes_as_people_read_them() -> None:
    assert megabytes(6_543_210) == "6.54 MB"
    assert megabytes(999) == "1.0 kB"


# --- plan ----------------------------------------------------------------------------------------


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    """The small profile as a file."""
    path = tmp_path / "keeper.profile.xml"
    path.write_text(write_profile(small_world.profile()))
    return path


def test_plan_to_standard_output_and_to_a_file_are_the_same(
    onejob: Onejob, profile: Path, tmp_path: Path
) -> None:
    printed = onejob("plan", profile)
    assert printed.returncode == 0, printed.stderr
    assert onejob("plan", profile, "-o", tmp_path / "plan.json").returncode == 0
    assert (tmp_path / "plan.json").read_text() == printed.stdout
    assert "keeper.pid stays read-only" in printed.stderr


def test_plan_for_another_architecture(onejob: Onejob, profile: Path, tmp_path: Path) -> None:
    (tmp_path / "h.json").write_text(to_json(small_world.hardware(architecture="riscv64")))
    done = onejob("plan", profile, "--hardware", tmp_path / "h.json")
    assert done.returncode == 4
    assert "riscv64" in done.stderr
    assert "Traceback" not in done.stderr


def test_plan_of_a_profile_with_lost_events(tmp_path: Path) -> None:
    path = tmp_path / "lost.xml"
    path.write_text(write_profile(small_world.profile(events_lost=1)))
    assert isinstance(inside("plan", str(path)).exception, InputError)
    assert inside("plan", str(path), "--accept-lost-events").exit_code == 0


def test_a_reader_that_leaves_is_no_error(profile: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "onejob.cli.main", "plan", profile],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        said = process.stderr.read()
        process.wait(60)
    assert "Traceback" not in said
    assert "BrokenPipe" not in said


def test_hardware_by_name(tmp_path: Path) -> None:
    assert find_hardware("qemu-q35").how == "qemu-q35"
    assert find_hardware("this").processors.count == os.cpu_count()
    with pytest.raises(InputError, match="no hardware 'mainframe'") as caught:
        find_hardware("mainframe")
    assert "qemu-microvm, qemu-q35, qemu-q35-uefi, pc, this" in caught.value.hint


# --- explain -------------------------------------------------------------------------------------


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An image folder of the small service."""
    plan = make_plan(small_world.profile(), small_world.hardware(), small_world.components())
    return small_world.make_image(tmp_path / "keeper.onejob", plan)


EXPLAINED = {
    "/usr/lib/libk.so.1": ("from libk1=1.0", "- mapped by /usr/sbin/keeper", "- needed by"),
    "/usr/lib/libk.so": ("symlink -> libk.so.1", "/usr/lib/libk.so.1: file, 9000 bytes"),
    "/lib/libk.so": ("/lib: symlink -> usr/lib", "/usr/lib/libk.so: ", "libk.so.1: file"),
    "/etc/": ("/etc: directory",),
    "/etc/missing.conf": ("is not in the image: it was asked for by", "was not there either"),
    "/nowhere": ("is not in the image: nobody asked for it",),
    "/run/keeper.pid": ("it lies in /run (tmpfs), made at boot",),
    "/var/log/keeper/log": ("it lies in /var/log/keeper (data)",),
    "read": ("read (0) is allowed: made 2 times", "serve"),
    "socket": ("with arguments (2, 1, 0), (10, 1, 0)",),
    "fork": ("fork (57) is refused: nobody made it",),
    "restart_syscall": ("is allowed: the kernel makes it [base]",),
    "CONFIG_INET": ("CONFIG_INET=y: TCP [net: socket(AF_INET) by",),
    "INET": ("CONFIG_INET=y: TCP",),
    "CONFIG_USB": ("CONFIG_USB is not in the kernel",),
}


@pytest.mark.parametrize("thing", EXPLAINED)
def test_explain(image: Path, thing: str) -> None:
    done = inside("explain", str(image), thing)
    assert done.exit_code == 0, done.exception
    for words in EXPLAINED[thing]:
        assert words in done.stdout


OF_A_PROFILE = {
    "read": ("read (0, to read and write)", "serve"),
    "/etc/missing.conf": ("/etc/missing.conf: missing (observed)", "missing"),
    "/nowhere": ("/nowhere: nobody asked for it",),
    "": ("keeper: what it calls the kernel for", "read and write", "network"),
}


@pytest.mark.parametrize("thing", OF_A_PROFILE)
def test_explain_a_profile(tmp_path: Path, thing: str) -> None:
    path = tmp_path / "keeper.profile.xml"
    path.write_text(write_profile(small_world.profile()))
    done = inside("explain", str(path), *([thing] if thing else []))
    assert done.exit_code == 0, done.exception
    for words in OF_A_PROFILE[thing]:
        assert words in done.stdout


def test_explain_nonsense(image: Path) -> None:
    done = inside("explain", str(image), "readd")
    assert isinstance(done.exception, InputError)
    assert "'readd' is no path, system call or kernel option" in done.exception.what
    done = inside("explain", str(image.parent), "read")
    assert isinstance(done.exception, InputError)
    assert "is not an image" in done.exception.what


# --- diff and merge ------------------------------------------------------------------------------


def two_profiles(folder: Path) -> tuple[str, str]:
    """The small service's profile, and one that has a call more."""
    more = small_world.call("getppid")
    first = small_world.profile()
    paths = (folder / "a.xml", folder / "b.xml")
    paths[0].write_text(write_profile(first))
    paths[1].write_text(write_profile(first.model_copy(update={"calls": (*first.calls, more)})))
    return str(paths[0]), str(paths[1])


def test_diff_says_what_was_added_by_status_and_table(tmp_path: Path) -> None:
    a, b = two_profiles(tmp_path)
    assert inside("diff", a, a).exit_code == 0
    done = inside("diff", a, b)
    assert done.exit_code == 1
    assert "getppid" in done.stdout
    assert "1 added, 0 removed, 0 changed" in done.stdout
    assert "0 added, 1 removed, 0 changed" in inside("diff", b, a).stdout
    found = json.loads(inside("diff", a, b, "--json").stdout)["differences"]
    assert [(d["kind"], d["what"], d["fact"]["call_name"]) for d in found] == [
        ("calls", "added", "getppid")
    ]


def test_merge_has_what_any_has_and_names_its_sources(tmp_path: Path) -> None:
    a, b = two_profiles(tmp_path)
    output = tmp_path / "both.xml"
    done = inside("merge", a, b, "-o", str(output))
    assert done.exit_code == 0, done.exception
    both = load_profile(output)
    assert "getppid" in {use.call_name for use in both.calls}
    assert both.provenance is not None
    assert [source.split()[0] for source in both.provenance.sources] == ["a.xml", "b.xml"]


def test_merge_refuses_another_binary(tmp_path: Path) -> None:
    a, _ = two_profiles(tmp_path)
    other = tmp_path / "other.xml"
    other.write_text(write_profile(small_world.profile(program="/usr/sbin/other")))
    done = inside("merge", a, str(other), "-o", str(tmp_path / "both.xml"))
    assert isinstance(done.exception, InputError)
    assert "different binaries: /usr/sbin/keeper, /usr/sbin/other" in done.exception.what
    assert not (tmp_path / "both.xml").exists()
    forced = inside("merge", a, str(other), "-o", str(tmp_path / "both.xml"), "--force")
    assert forced.exit_code == 0


def test_matrix_of_a_plan(tmp_path: Path) -> None:
    plan = Path(__file__).resolve().parents[2] / "golden/keeper.plan.json"
    done = inside("matrix", str(plan))
    assert done.exit_code == 0
    assert "/usr/sbin/keeper" in done.stdout
    assert "bind" in done.stdout
    rows = json.loads(inside("matrix", str(plan), "--json").stdout)
    assert [(row["program"], row["role"]) for row in rows] == [("/usr/sbin/keeper", "main")]
    (tmp_path / "plan").write_text("{}")
    assert inside("matrix", str(tmp_path / "plan")).exit_code != 0
