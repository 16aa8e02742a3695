"""A disk for data has room for all of it, whatever the logs take and the file system itself."""

import re
import subprocess
from pathlib import Path

import pytest

from built_plans import DIMENSIONS, dimension, make_plan
from onejob.base.data_disk import data_mib, make_data_disk
from onejob.model.plan import LEAST_DATA_MIB

MIB = 1 << 20


def free_bytes(disk: Path) -> int:
    text = subprocess.run(
        ["dumpe2fs", "-h", disk], check=True, capture_output=True, text=True, timeout=60
    ).stdout
    found = {
        name: int(n) for name, n in re.findall(r"^(Free blocks|Block size): +(\d+)", text, re.M)
    }
    return found["Free blocks"] * found["Block size"]


@pytest.mark.parametrize(
    ("data", "logs"),
    [(0, 0), (0, 16), (0, 100), (0, 700), (0, 2100), (65, 0), (943, 0), (943, 16), (300, 20_000)],
)
def test_the_disk_has_room_for_data_and_logs(tmp_path: Path, data: int, logs: int) -> None:
    rows = [dimension("share", name, mib << 10) for name, mib in (("data", data), ("logs", logs))]
    plan = make_plan(dimensions=(*DIMENSIONS, *(row for row in rows if row.value != "0")))
    make_data_disk(tmp_path / "disk", data_mib(plan))
    assert free_bytes(tmp_path / "disk") >= (max(data, LEAST_DATA_MIB) + logs) * MIB
