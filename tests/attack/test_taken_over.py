"""A service that an attacker has taken over: what works on the stock system fails in the image.

The attacks are those of onejob.bench.attacks, one by one.
"""

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from onejob.base.progress import Quiet
from onejob.base.verity import check_root
from onejob.bench.attacks.attempt import attempt, attempt_all
from onejob.bench.attacks.scene import guest_scene, host_scene, secret_folder, stock_scene
from onejob.bench.attacks.table import ATTACKS, Attack
from onejob.bench.attacks.victim import Victim, build_victim, profile_victim, vulnerable_service
from onejob.model.errors import OnejobError
from onejob.model.image import Image, open_image
from onejob.model.profile import Profile
from onejob.system.host import host_instance

pytestmark = [pytest.mark.root, pytest.mark.ebpf, pytest.mark.runc]


@pytest.fixture(scope="module")
def victim() -> Iterator[Victim]:
    with vulnerable_service() as made:
        yield made


@pytest.fixture(scope="module")
def secret() -> Iterator[Path]:
    with secret_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def profile(victim: Victim) -> Profile:
    return profile_victim(victim, Quiet())


@pytest.fixture(scope="module")
def image(profile: Profile, tmp_path_factory: pytest.TempPathFactory) -> Image:
    return build_victim(profile, tmp_path_factory.mktemp("attack") / "v.onejob", False, Quiet())


def each_attack(attacks: Iterable[Attack]) -> list[object]:
    return [pytest.param(attack, id=attack.name) for attack in attacks]


@pytest.mark.parametrize("attack", each_attack(a for a in ATTACKS if not a.not_on_host))
def test_it_succeeds_on_the_stock_system(attack: Attack, victim: Victim, secret: Path) -> None:
    """Each attack works where nothing prevents it, so that its failure means something."""
    with stock_scene(victim, secret) as scene:
        outcome = attempt(scene, attack)
    assert outcome.succeeded, outcome.answer


@pytest.mark.parametrize("attack", each_attack(ATTACKS))
def test_it_fails_in_an_image_on_the_host(
    attack: Attack, victim: Victim, image: Image, secret: Path
) -> None:
    with host_scene(victim, image, secret) as scene:
        outcome = attempt(scene, attack)
    assert not outcome.succeeded, outcome.answer
    assert outcome.served, "the service goes on"


@pytest.mark.qemu
@pytest.mark.kernel
@pytest.mark.slow
def test_they_fail_in_an_image_in_qemu(
    victim: Victim, profile: Profile, secret: Path, tmp_path: Path
) -> None:
    """All in one guest, as long as it stands them: its boot is the slow part."""
    image = build_victim(profile, tmp_path / "v.onejob", True, Quiet())
    found = attempt_all(lambda: guest_scene(victim, image, secret), ATTACKS, Quiet())
    assert {name for name, succeeded in found.items() if succeeded} == set()


def test_flipped_byte_is_an_error(image: Image, tmp_path: Path) -> None:
    """A changed byte of the root is found before anything is run from it."""
    copy = tmp_path / "root.img"
    shutil.copyfile(image.root, copy)
    check_root(copy, image.manifest.verity)
    with copy.open("r+b") as file:
        file.seek(9000)
        byte = file.read(1)
        file.seek(9000)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(OnejobError, match="block 2"):
        check_root(copy, image.manifest.verity)


def test_a_changed_image_is_not_run_on_a_host(image: Image, tmp_path: Path) -> None:
    """Neither with another root nor with another plan."""
    folder = tmp_path / "changed.onejob"
    shutil.copytree(image.folder, folder)
    with (folder / "root.img").open("r+b") as file:
        file.write(b"\0")
    with pytest.raises(OnejobError, match="block 0"), host_instance(open_image(folder)):
        pytest.fail("it ran")
    plan = folder / "plan.json"
    plan.write_text(plan.read_text().replace('"reason"', '"Reason"', 1))
    with pytest.raises(OnejobError, match=r"plan\.json is not what the manifest says"):
        open_image(folder)
