"""What an image built of nginx's profile has no more: rights, accounts, shells, capabilities."""

import re
import subprocess
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from onejob.base.natives import data_path
from onejob.base.process import find_tool
from onejob.model.component import load_components
from onejob.model.image import Image, open_image
from onejob.model.profile_xml import load_profile
from running import must, run_onejob

pytestmark = [pytest.mark.root, pytest.mark.ebpf]


@pytest.fixture(scope="module")
def image(nginx_profile: Path, tmp_path_factory: pytest.TempPathFactory) -> Image:
    place = tmp_path_factory.mktemp("few") / "nginx.onejob"
    must(run_onejob("build", nginx_profile, "--without-kernel", "-o", place, timeout=300))
    return open_image(place)


def unpacked(image: Image, *words: str) -> str:
    command = [find_tool("unsquashfs", "squashfs-tools"), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout


def test_no_file_has_the_rights_of_its_owner_and_no_shell_is_there(image: Image) -> None:
    lines = unpacked(image, "-lln", str(image.root)).splitlines()
    files = [line for line in lines if re.match(r"[-l][r-][w-]", line)]
    assert len(files) >= 20
    assert not [line for line in files if "s" in line.split()[0].lower()]
    (component,) = [c for c in load_components(data_path("components")) if c.leave_out]
    paths = [re.sub(r" -> .*", "", line).split("squashfs-root")[-1] for line in files]
    assert "/usr/sbin/nginx" in paths
    for rule in component.leave_out:
        assert not [path for path in paths if fnmatchcase(path, rule.path)]


def test_accounts_are_those_of_the_profile_without_password_and_shell(image: Image) -> None:
    rows = unpacked(image, "-cat", str(image.root), "etc/passwd").splitlines()
    accounts = {row.split(":")[0]: row.split(":")[1:] for row in rows}
    profiled = load_profile(image.profile).accounts
    assert {"root", "www-data"} <= set(accounts) <= {"root", *(row.name for row in profiled)}
    assert {fields[-1] for fields in accounts.values()} == {"/nonexistent"}
    assert {fields[0] for fields in accounts.values()} == {"x"}
    assert not [file.path for file in image.plan.files if "shadow" in file.path]


def test_each_capability_was_seen_to_be_granted(image: Image) -> None:
    used = load_profile(image.profile).capabilities
    if not used:
        pytest.skip("this kernel does not tell of capabilities (6.14)")
    granted = {use.name for use in used if use.count > use.refused}
    assert image.plan.capabilities
    assert {capability.name for capability in image.plan.capabilities} <= granted
