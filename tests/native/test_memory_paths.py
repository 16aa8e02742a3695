"""Paths that are asked for in vain, driven from outside: so many asked for, so many noted."""

import errno
import os
from pathlib import Path

import pytest
from memory_driver import ARRAYS, Manager, compile_program

from onejob.model.absent import MOST_PATH, AbsentPaths
from onejob.model.observations import UnexpectedFile
from onejob.system.memory import read_unexpected_files

HOW = {
    "creat": "created", "openat64": "appended", "fopen64": "written", "opendir": "listed",
    "execve": "executed", "posix_spawn": "executed", "unlink": "removed", "chmod": "changed",
    "rename": "renamed-from", "truncate": "written", "mkdir": "created",
    **dict.fromkeys(("open", "open64", "openat", "fopen"), "read"),
}  # fmt: skip


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_program(tmp_path_factory.mktemp("paths"), "paths.c")


@pytest.fixture
def manager(tmp_path: Path) -> Manager:
    return Manager(tmp_path)


def noted(
    manager: Manager, program: Path, what: str, *absent: str
) -> tuple[tuple[UnexpectedFile, ...], int]:
    """What is noted of `program` doing `what` in the test's folder."""
    folder = manager.plan.parent
    rows = [AbsentPaths(program=str(program), paths=absent, reason="a test")]
    manager.write_plan(program, ARRAYS, absent=rows)
    manager.check(program, what, folder)
    return read_unexpected_files(manager.counts / "1.counts")


def test_23_paths_that_23_functions_ask_for_are_noted(manager: Manager, program: Path) -> None:
    found, others = noted(manager, program, "each")
    assert (len(found), others) == (23, 0)
    for each in found:
        function = os.path.basename(each.path).partition("-")[2]
        assert each.path.startswith(f"{manager.plan.parent}/")
        assert each.how == HOW.get(function, "looked-up"), each
        assert (each.error, each.count, each.program) == (errno.ENOENT, 1, str(program))


def test_absent_paths_of_the_plan_are_no_news(manager: Manager, program: Path) -> None:
    folder = manager.plan.parent
    known = [f"{folder}/{name}" for name in ("01-open", "09-stat", "none/23-mkdir", "other")]
    found, others = noted(manager, program, "each", *known)
    assert (len(found), others) == (20, 0)
    assert not {each.path for each in found} & set(known)


def test_a_path_is_one_however_it_is_spelt(manager: Manager, program: Path) -> None:
    found, others = noted(manager, program, "spellings")
    assert [(each.path, each.count) for each in found] == [(f"{manager.plan.parent}/same", 3)]
    assert others == 0
    assert noted(manager, program, "spellings", f"{manager.plan.parent}/same")[0] == found


def test_threads_and_children_add_up(manager: Manager, program: Path) -> None:
    found, others = noted(manager, program, "threads")
    assert [each.count for each in found] == [800] * 5
    assert others == 0


def test_a_handler_of_a_signal_may_ask(manager: Manager, program: Path) -> None:
    found, _ = noted(manager, program, "handler")
    assert [each.path for each in found] == ["/nothing-for-a-handler"]


def test_one_folder_cannot_take_the_place_of_all(manager: Manager, program: Path) -> None:
    found, others = noted(manager, program, "one-folder")
    assert (len(found), others) == (32, 68)


def test_more_paths_than_there_is_room_for_are_counted(manager: Manager, program: Path) -> None:
    found, others = noted(manager, program, "many-folders")
    assert 100 <= len(found) <= 128
    assert len(found) + others == 400


def test_a_long_path_is_cut(manager: Manager, program: Path) -> None:
    [found], _ = noted(manager, program, "long")
    assert len(found.path) == MOST_PATH
    assert noted(manager, program, "long", found.path + "xxx")[0] == (found,)


@pytest.mark.root
def test_what_is_refused_is_noted_with_its_error(manager: Manager, program: Path) -> None:
    folder = manager.plan.parent
    (folder / "file").touch()
    found, _ = noted(manager, program, "refused", f"{folder}/secret")
    assert {(each.path, each.error_name, each.how) for each in found} == {
        (f"{folder}/file/below", "ENOTDIR", "looked-up"),
        ("/proc/version", "EPERM", "removed"),
        ("/proc/self/mem/x", "ENOTDIR", "read"),
        (f"{folder}/secret", "EACCES", "created"),
    }
