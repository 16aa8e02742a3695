"""What comes from the host is what was profiled, and no symbolic link leads elsewhere."""

import io
import os
from pathlib import Path

import pytest

from built_plans import host_file, symlink
from onejob.builder.host_file import check_host_symlink, copy_host_file
from onejob.model.errors import BuildError
from onejob.model.plan import PlannedFile


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of the host, as it was profiled."""
    path = tmp_path / "etc/a/file"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"as profiled")
    return path


def copied(planned: PlannedFile) -> bytes:
    """The bytes that the image would get."""
    into = io.BytesIO()
    copy_host_file(planned, into)
    return into.getvalue()


def test_the_bytes_are_copied(file: Path) -> None:
    assert copied(host_file(file)) == b"as profiled"


def test_a_large_file_is_copied_whole(file: Path) -> None:
    file.write_bytes(os.urandom(3 * 1024 * 1024 + 1))
    assert copied(host_file(file)) == file.read_bytes()


def refused(planned: PlannedFile, how: str) -> None:
    """The copy must fail, name the file, say how, and what to do."""
    with pytest.raises(BuildError, match=how) as caught:
        copied(planned)
    assert caught.value.what.startswith(f"{planned.path} changed since it was profiled")
    assert caught.value.hint == "profile the service again"


def test_another_content_is_refused(file: Path) -> None:
    planned = host_file(file)
    file.write_bytes(b"As profiled")
    refused(planned, "another content")


def test_another_size_is_refused(file: Path) -> None:
    planned = host_file(file)
    file.write_bytes(b"as profiled, and more")
    refused(planned, "has 21 bytes, had 11")


def test_a_huge_size_is_refused(file: Path) -> None:
    refused(host_file(file, size=2**62), f"had {2**62}")


def test_a_missing_file_is_refused(file: Path) -> None:
    planned = host_file(file)
    file.unlink()
    refused(planned, "cannot be opened .No such file or directory.")


def test_a_directory_in_place_of_the_file_is_refused(file: Path) -> None:
    planned = host_file(file)
    file.unlink()
    file.mkdir()
    refused(planned, "no longer a regular file")


def test_a_fifo_does_not_hold_up_the_build(file: Path) -> None:
    planned = host_file(file)
    file.unlink()
    os.mkfifo(file)
    refused(planned, "no longer a regular file")


def test_a_symlink_in_place_of_the_file_is_not_followed(file: Path) -> None:
    planned = host_file(file)
    file.rename(file.with_name("other"))
    file.symlink_to("other")
    refused(planned, "cannot be opened")


def test_a_symlink_on_the_way_is_not_followed(file: Path) -> None:
    planned = host_file(file)
    file.parent.rename(file.parent.with_name("b"))
    file.parent.symlink_to("b")
    refused(planned, "is not reached through 'a'")


def test_no_descriptor_is_left_open(file: Path) -> None:
    before = os.listdir("/proc/self/fd")
    copied(host_file(file))
    planned = host_file(file)
    file.parent.rename(file.parent.with_name("b"))
    refused(planned, "not reached")
    assert os.listdir("/proc/self/fd") == before


def test_a_symlink_must_point_where_it_did(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("there")
    check_host_symlink(symlink(str(link), "there", origin="host"))
    with pytest.raises(BuildError, match="points to there, did to elsewhere"):
        check_host_symlink(symlink(str(link), "elsewhere", origin="host"))
    link.unlink()
    with pytest.raises(BuildError, match="no longer a symbolic link"):
        check_host_symlink(symlink(str(link), "there", origin="host"))
