"""Partition tables: read as written, agreed with by sgdisk, refused where anything is changed."""

import subprocess
import uuid
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onejob.disk.device import MIB, SECTOR, new_raw, open_device
from onejob.disk.gpt import Partition, read_table, table_bytes, wipe_table, write_table
from onejob.model.errors import InputError

KIND = "0fc63daf-8483-4772-8e79-3d69d8477de4"
DISK = uuid.UUID(int=23)
SIZE = 64 * MIB
names = st.text(st.characters(min_codepoint=33, max_codepoint=0x24F), min_size=1, max_size=36)


@st.composite
def tables(draw: st.DrawFn) -> list[Partition]:
    """Partitions one after the other, of up to 4 MiB each."""
    found, start = [], MIB
    for number in range(1, draw(st.integers(1, 12)) + 1):
        size = draw(st.integers(1, 8 * 1024)) * SECTOR
        identity = str(draw(st.uuids()))
        found.append(Partition(number, draw(names), KIND, start, size, identity))
        start += size
    return found


def written(path: Path, places: list[Partition]) -> Path:
    path.unlink(missing_ok=True)
    new_raw(path, SIZE)
    with open_device(path, write=True) as device:
        write_table(device, places, DISK, b"boot code")
    return path


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tables())
def test_a_table_is_read_as_written(tmp_path: Path, places: list[Partition]) -> None:
    with open_device(written(tmp_path / "disk", places)) as device:
        assert list(read_table(device)) == places


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tables())
def test_sgdisk_finds_what_was_written(tmp_path: Path, places: list[Partition]) -> None:
    disk = written(tmp_path / "disk", places)
    said = subprocess.run(
        ["sgdisk", "--verify", "--print", disk], capture_output=True, text=True, check=True
    ).stdout
    assert "No problems found" in said
    for place in places:
        words = ["sgdisk", f"--info={place.number}", disk]
        info = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        assert f"First sector: {place.start // SECTOR} " in info
        assert f"Partition size: {place.size // SECTOR} sectors" in info
        assert f"Partition unique GUID: {place.identity.upper()}" in info
        assert f"Partition name: '{place.name}'" in info


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_changed_byte_is_noticed(tmp_path: Path, data: st.DataObject) -> None:
    places = [Partition(1, "root-a", KIND, MIB, MIB, str(DISK))]
    disk = written(tmp_path / "disk", places)
    # The header's reserved rest and what is before it say nothing.
    at = data.draw(st.one_of(st.integers(SECTOR, SECTOR + 91), st.integers(1024, 1024 + 127)))
    with disk.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ data.draw(st.integers(1, 255))]))
    with open_device(disk) as device, pytest.raises(InputError, match="partition table"):
        read_table(device)


def test_a_wiped_table_is_none(tmp_path: Path) -> None:
    disk = written(tmp_path / "disk", [Partition(1, "esp", KIND, MIB, MIB, str(DISK))])
    with open_device(disk, write=True) as device:
        wipe_table(device)
        with pytest.raises(InputError, match="no GUID partition table"):
            read_table(device)
        length = table_bytes(SECTOR)
        assert not any(device.read_at(0, length) + device.read_at(SIZE - length, length))
