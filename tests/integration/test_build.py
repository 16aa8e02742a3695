"""``build_image``: whole, reproducible, and harmless where it fails."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from built_plans import folder, host_file, make_plan, symlink, text_file
from onejob.base.linux import MNT_DETACH, mount, unmount
from onejob.base.natives import cache_path
from onejob.base.progress import Quiet
from onejob.base.verity import check_root
from onejob.builder.image import build_image, image_facts
from onejob.model.errors import BuildError, InputError, LacksError
from onejob.model.image import Image, open_image
from onejob.model.plan import KernelOption, Plan, PlannedFile

pytestmark = pytest.mark.root

XML = "<java/>\n"
NOISE_BYTES = 3 * 1024 * 1024  # what no packer can make smaller


class Interrupting:
    """A Progress by which Ctrl-C comes when `word` is shown."""

    def __init__(self, word: str) -> None:
        self.word = word

    def stage(self, text: str) -> None:
        self.step(text)

    def step(self, text: str, fraction: float | None = None) -> None:
        if self.word in text:
            raise KeyboardInterrupt

    def note(self, text: str) -> None:
        self.step(text)


def true_plan(*more: PlannedFile) -> Plan:
    """A small plan that can be built."""
    files = (
        host_file("/usr/bin/true"),
        symlink("/bin", "usr/bin"),
        folder("/var/log/truth", uid=33),
        text_file("/etc/ld.so.cache", origin="ldconfig", text=""),
    )
    return make_plan(files=(*files, *more))


def build(plan: Plan, destination: Path, progress: Quiet | Interrupting | None = None) -> Image:
    """Build without kernel."""
    return build_image(
        plan, XML, destination, with_kernel=False, cache=destination.parent / "cache",
        progress=progress or Quiet(),
    )  # fmt: skip


def hashes(image: Path) -> dict[str, str]:
    """Every file of an image folder with its hash."""
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in image.iterdir()}


def test_an_image_is_whole(tmp_path: Path) -> None:
    image = build(true_plan(), tmp_path / "truth.onejob")
    assert image == open_image(tmp_path / "truth.onejob")
    assert image.plan == true_plan()
    assert image.profile.read_text() == XML
    check_root(image.root, image.manifest.verity)
    found = hashes(image.folder)
    assert found.pop("manifest.json")
    assert found == {content.name: content.sha256 for content in image.manifest.contents}
    assert os.listdir(tmp_path) == ["truth.onejob"]


def test_the_root_is_as_private_as_what_is_in_it(tmp_path: Path) -> None:
    image = build(true_plan(), tmp_path / "truth.onejob")
    assert {p.name: oct(p.stat().st_mode & 0o777) for p in image.folder.iterdir()} == {
        "manifest.json": "0o644", "plan.json": "0o644", "profile.xml": "0o644", "root.img": "0o600",
    }  # fmt: skip
    assert oct(image.folder.stat().st_mode & 0o777) == "0o755"


def test_figures_and_packages(tmp_path: Path) -> None:
    image = build(true_plan(), tmp_path / "truth.onejob")
    facts = image_facts(image)
    assert (facts.files, facts.calls, facts.kernel_bytes, facts.kernel_calls) == (5, 4, None, None)
    assert facts.bytes == facts.root_bytes == image.root.stat().st_size
    assert [(p.name, p.paths) for p in image.manifest.packages] == [("coreutils", 1)]


def test_same_plan_same_image(tmp_path: Path) -> None:
    one = build(true_plan(), tmp_path / "one.onejob")
    (tmp_path / "elsewhere").mkdir()
    other = build(true_plan(), tmp_path / "elsewhere/other.onejob")
    assert hashes(one.folder) == hashes(other.folder)


def test_an_image_is_replaced(tmp_path: Path) -> None:
    build(true_plan(), tmp_path / "truth.onejob")
    image = build(true_plan(text_file("/etc/new")), tmp_path / "truth.onejob")
    assert image_facts(image).files == 6
    assert os.listdir(tmp_path) == ["truth.onejob"]


def test_a_folder_that_is_no_image_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home/letter").write_text("precious")
    with pytest.raises(InputError, match="home exists and is no image"):
        build(true_plan(), tmp_path / "home")
    assert (tmp_path / "home/letter").read_text() == "precious"
    assert os.listdir(tmp_path) == ["home"]


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Path]:
    """An image that must be there, untouched and alone, whatever the test does."""
    image = build(true_plan(), tmp_path / "truth.onejob")
    before = hashes(image.folder)
    yield image.folder
    assert hashes(image.folder) == before
    assert os.listdir(tmp_path) == ["truth.onejob"]


@pytest.mark.parametrize("moment", ["root", "/usr/bin/true", "packing", "hash tree", "image"])
def test_ctrl_c_at_any_moment_leaves_the_old_image(old: Path, moment: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        build(true_plan(text_file("/etc/new")), old, Interrupting(moment))


def test_a_changed_host_leaves_the_old_image(old: Path) -> None:
    with pytest.raises(BuildError, match="/usr/bin/cat changed since it was profiled"):
        build(true_plan(host_file("/usr/bin/cat", sha256="0" * 64)), old)


@pytest.mark.kernel
def test_a_wrong_kernel_option_leaves_the_old_image(old: Path, tmp_path: Path) -> None:
    """Refused before anything is compiled."""
    options = tuple(KernelOption(name="NET", value=v, reason=f"says {v}") for v in ("y", "n"))
    plan = true_plan().model_copy(update={"kernel_options": options})
    with pytest.raises(BuildError, match=r"kernel option NET is asked for as y .* and as n"):
        build_image(plan, XML, old, with_kernel=True, cache=cache_path(), progress=Quiet())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount("tmpfs", place, "tmpfs", 0, "size=4m")
    yield place
    unmount(place, MNT_DETACH)


@pytest.mark.parametrize("room_kib", [3 * 1024 + 600, 3 * 1024 + 300, 100, 0])
def test_a_full_disk_leaves_the_old_image(tmp_path: Path, small_disk: Path, room_kib: int) -> None:
    """Full while packing, while copying, and before anything."""
    noise = tmp_path / "noise"
    noise.write_bytes(os.urandom(NOISE_BYTES))
    old = build(true_plan(), small_disk / "truth.onejob")
    before = hashes(old.folder)
    fill(small_disk, room_kib * 1024)
    with pytest.raises(LacksError, match=r"no space left in .*/disk|MiB free, the root needs"):
        build(true_plan(host_file(noise)), old.folder)
    assert hashes(old.folder) == before
    assert sorted(os.listdir(small_disk)) == ["filler", "truth.onejob"]


def fill(disk: Path, room: int) -> None:
    """Leave `room` bytes free."""
    state = os.statvfs(disk)
    (disk / "filler").write_bytes(bytes(max(0, state.f_bavail * state.f_frsize - room)))


def test_the_kernel_is_in_the_image_with_its_configuration(nginx_image: Path) -> None:
    image = open_image(nginx_image)
    kernel = image.manifest.kernel
    assert kernel is not None
    found = hashes(nginx_image)
    assert found["kernel.config"] == kernel.config_sha256
    assert found["kernel"] == {c.name: c.sha256 for c in image.manifest.contents}["kernel"]
    assert image_facts(image).kernel_calls == kernel.system_calls > 300
    config = (nginx_image / "kernel.config").read_text().splitlines()
    for option in image.plan.kernel_options:
        if option.value == "y":
            assert f"CONFIG_{option.name}=y" in config


def test_the_root_is_the_same_without_a_kernel(nginx_image: Path, tmp_path: Path) -> None:
    """An image can be completed later: its root need not change for that."""
    whole = open_image(nginx_image)
    bare = build(whole.plan, tmp_path / "bare.onejob")
    assert hashes(bare.folder)["root.img"] == hashes(whole.folder)["root.img"]
    assert bare.manifest.verity == whole.manifest.verity
