"""Media of an installer: found by their folder, mounted so that nothing on them runs or changes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.root]

# In a process of its own, as it enters a mount namespace.
PROGRAM = """
import json, pathlib, sys
from onejob.installer.medium import mounted_media
with mounted_media(sys.argv[1:]) as media:
    mounts = [line.split() for line in pathlib.Path("/proc/self/mounts").read_text().splitlines()]
    flags = {row[0]: row[3].split(",") for row in mounts if "/onejob-media-" in row[1]}
    found = [
        [each.device, each.disk, bool(each.repository), bool(each.trust), bool(each.answers)]
        for each in media
    ]
    left = str(media[0].folder.parent.parent) if media else ""
print(json.dumps([found, flags, left and pathlib.Path(left).exists()]))
"""


def make_medium(path: Path, folder: Path, *words: str) -> str:
    """A loop device of an ext4 in `path` that has the content of `folder`."""
    subprocess.run(["mkfs.ext4", "-q", "-d", folder, *words, path, "8M"], check=True, timeout=60)
    done = subprocess.run(
        ["losetup", "--find", "--show", path],
        check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return done.stdout.strip()


def test_media_are_found_and_nothing_is_written_to_them(tmp_path: Path) -> None:
    kit, other = tmp_path / "kit", tmp_path / "other"
    (kit / "onejob/metadata").mkdir(parents=True)
    (kit / "onejob/root.json").write_text("{}")
    (other / "documents").mkdir(parents=True)
    devices = [make_medium(tmp_path / f"{each.name}.img", each) for each in (kit, other)]
    try:
        before = [Path(each).read_bytes() for each in devices]
        names = [each.rpartition("/")[2] for each in devices]
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *names, "no-such-device"],
            check=True, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        found, flags, left = json.loads(done.stdout)
        assert found == [[names[0], names[0], True, True, False]]
        assert list(flags) == [devices[0]], "what is no medium is left mounted"
        assert {"ro", "nosuid", "nodev", "noexec"} <= set(flags[devices[0]])
        assert not left
        assert [Path(each).read_bytes() for each in devices] == before
        assert "onejob-media" not in Path("/proc/self/mounts").read_text()
    finally:
        for device in devices:
            subprocess.run(["losetup", "--detach", device], check=True, timeout=60)
