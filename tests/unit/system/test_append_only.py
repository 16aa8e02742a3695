"""A data folder can be removed when its instance has ended, whatever the service left in it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from built_plans import make_plan
from onejob.model.plan_policy import Log
from onejob.system.append_only import lift_append_only

pytestmark = pytest.mark.root

PLAN = make_plan(logs=(Log(path="/var/log/job/log", reason="x"),))


def protect(path: Path) -> None:
    path.write_text("x")
    subprocess.run(["chattr", "+a", path], check=True, timeout=60)


def test_logs_and_those_that_were_rotated_can_be_removed(tmp_path: Path) -> None:
    folder = tmp_path / "data/var/log/job"
    folder.mkdir(parents=True)
    for name in ("log", "log.1"):
        protect(folder / name)
    os.mkfifo(folder / "pipe")  # nobody writes to it
    lift_append_only(PLAN, tmp_path / "data")
    shutil.rmtree(tmp_path / "data")


def test_no_link_of_the_service_is_followed(tmp_path: Path) -> None:
    outside = tmp_path / "log"
    protect(outside)
    folder = tmp_path / "data/var/log/job"
    folder.mkdir(parents=True)
    (folder / "log").symlink_to(outside)
    (tmp_path / "other/var").mkdir(parents=True)
    (tmp_path / "other/var/log").symlink_to(folder.parent)
    try:
        for data in ("data", "other", "absent"):
            lift_append_only(PLAN, tmp_path / data)
        with pytest.raises(PermissionError):
            outside.write_text("y")
    finally:
        subprocess.run(["chattr", "-a", outside], check=True, timeout=60)
